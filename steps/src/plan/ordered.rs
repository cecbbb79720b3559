//! `after`: an order of steps that no resource expresses, on any step of a plan.
//!
//! What is named must have ended well first. It does not know what the steps are.

use super::diagnostic::Diagnostic;
use super::nodes::Nodes;
use super::scan::Value;
use super::suggest::did_you_mean;
use crate::registry::Kind;
use anyhow::Result;
use drover_engine::{Check, Claim, Cx, Need, Node, Resource, Step};
use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// The kind of resource that a node is to those that come after it; named after the node's id.
const NODE: &str = "step";

/// What a node said that it comes after.
pub(super) struct Wish {
    /// The node, by its place among the nodes.
    pub(super) node: usize,
    /// What it named.
    pub(super) after: Vec<Value>,
}

/// Puts the nodes in the order that they ask for; names that are no step's go to `wrong`.
pub(super) fn order(nodes: &mut Nodes, wrong: &mut Vec<Diagnostic>) {
    let mut told = BTreeSet::new();
    let mut edges = Vec::new();
    for wish in std::mem::take(&mut nodes.wishes) {
        for value in &wish.after {
            let Some(name) = value.string(wrong) else { continue };
            let found = find(&nodes.nodes, wish.node, &name);
            if found.is_empty() && told.insert((value.span.location(), name.clone())) {
                wrong.push(unknown(&nodes.nodes[wish.node], &nodes.nodes, &name, value));
            }
            edges.extend(found.into_iter().map(|earlier| (earlier, wish.node)));
        }
    }
    let earlier: BTreeSet<_> = edges.iter().map(|(earlier, _)| *earlier).collect();
    for node in earlier {
        let id = nodes.nodes[node].id.to_string();
        wrap(&mut nodes.nodes[node], |ordered| ordered.known_as = Some(Resource::new(NODE, id)));
    }
    for (earlier, later) in edges {
        let need = Need::Must(Resource::new(NODE, nodes.nodes[earlier].id.to_string()));
        wrap(&mut nodes.nodes[later], |ordered| ordered.after.push(need));
    }
}

/// The nodes that `name` means to the node at `from`: a node's id; or the steps of that name, at the same place, else on the
/// host, else, for a step of the host, of every container.
fn find(nodes: &[Node], from: usize, name: &str) -> Vec<usize> {
    let others = || (0..nodes.len()).filter(|node| *node != from);
    if name.contains('/') {
        return others().filter(|node| nodes[*node].id.as_str() == name).collect();
    }
    let Some(kind) = Kind::find(name) else { return Vec::new() };
    let is_kind = |node: &usize| {
        let rest = nodes[*node].id.step().strip_prefix(kind.slug);
        rest.is_some_and(|rest| rest.is_empty() || (kind.is_many() && rest.starts_with('-')))
    };
    let place = nodes[from].id.place();
    let at = |wanted: &str| -> Vec<usize> {
        others().filter(|node| nodes[*node].id.place() == wanted).filter(is_kind).collect()
    };
    let here = at(place);
    match (here.is_empty(), place) {
        (false, _) => here,
        (true, "host") => others().filter(is_kind).collect(),
        (true, _) => at("host"),
    }
}

fn unknown(node: &Node, nodes: &[Node], name: &str, value: &Value) -> Diagnostic {
    let message = format!("`{}` comes after `{name}`, which is no step of this plan", node.id);
    let slugs: BTreeSet<_> = nodes.iter().map(|node| node.id.step().to_owned()).collect();
    let kinds: Vec<_> = crate::registry::KINDS
        .iter()
        .filter(|kind| slugs.iter().any(|slug| slug.starts_with(kind.slug)))
        .map(|kind| kind.name)
        .collect();
    let help = if name.contains('/') {
        let others = nodes.iter().filter(|other| other.id != node.id);
        let ids: Vec<_> = others.map(|other| other.id.as_str()).collect();
        did_you_mean(name, &ids)
    } else {
        did_you_mean(name, &kinds)
    };
    Diagnostic::new(message, &value.span).maybe_help(help)
}

fn wrap(node: &mut Node, change: impl FnOnce(&mut Ordered)) {
    let mut ordered = Ordered { step: node.step.clone(), after: Vec::new(), known_as: None };
    change(&mut ordered);
    node.step = Arc::new(ordered);
}

/// A step with a place in an order.
struct Ordered {
    step: Arc<dyn Step>,
    after: Vec<Need>,
    known_as: Option<Resource>,
}

/// What a step is does not depend on when it is done.
impl fmt::Debug for Ordered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.step.fmt(f)
    }
}

impl Step for Ordered {
    fn title(&self) -> String {
        self.step.title()
    }

    fn needs(&self) -> Vec<Need> {
        self.step.needs().into_iter().chain(self.after.iter().cloned()).collect()
    }

    fn provides(&self) -> Vec<Resource> {
        self.step.provides().into_iter().chain(self.known_as.clone()).collect()
    }

    fn claims(&self) -> Vec<Claim> {
        self.step.claims()
    }

    fn estimate(&self) -> Duration {
        self.step.estimate()
    }

    fn timeout(&self) -> Duration {
        self.step.timeout()
    }

    fn is_local(&self) -> bool {
        self.step.is_local()
    }

    fn precondition(&self, cx: &Cx) -> Result<()> {
        self.step.precondition(cx)
    }

    fn check(&self, cx: &Cx) -> Result<Check> {
        self.step.check(cx)
    }

    fn apply(&self, cx: &Cx) -> Result<()> {
        self.step.apply(cx)
    }

    fn verify(&self, cx: &Cx) -> Result<()> {
        self.step.verify(cx)
    }
}
