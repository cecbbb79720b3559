//! `after`: an order of steps that no resource expresses, on any step of a plan.
//!
//! What is named must have ended well first. It does not know what the steps are.

use super::diagnostic::Diagnostic;
use super::nodes::Nodes;
use super::scan::Value;
use super::suggest::{did_you_mean, nearest};
use crate::registry::{KINDS, Kind, Parse};
use drover_engine::Node;
use std::collections::BTreeSet;

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
    for (earlier, later) in edges {
        let earlier = nodes.nodes[earlier].id.clone();
        nodes.nodes[later].after.push(earlier);
    }
}

/// The nodes that `name` means to the node at `from`: a node's id; or the steps of that name, at the same place, else on the
/// host, else, for a step of the host, of every container. `Bootstrap` means every base system.
fn find(nodes: &[Node], from: usize, name: &str) -> Vec<usize> {
    let others = || (0..nodes.len()).filter(|node| *node != from);
    if name.contains('/') {
        return others().filter(|node| nodes[*node].id.as_str() == name).collect();
    }
    let Some(kind) = Kind::find(name) else { return Vec::new() };
    if let Parse::Bootstrap = kind.parse {
        let last = crate::bootstrap::chain().last().map_or("", |(slug, _)| *slug);
        let ends = |node: &usize| {
            nodes[*node].id.as_str().starts_with("bootstrap/") && nodes[*node].id.step() == last
        };
        return others().filter(ends).collect();
    }
    let is_kind = |node: &usize| is_of(&nodes[*node], kind);
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
    if node.id.as_str() == name || Kind::find(name).is_some_and(|kind| is_of(node, kind)) {
        let message = format!("`{}` comes after itself", node.id);
        return Diagnostic::new(message, &value.span).help("name another step");
    }
    let message = format!("`{}` comes after `{name}`, which is no step of this plan", node.id);
    Diagnostic::new(message, &value.span).maybe_help(meant(node, nodes, name))
}

/// What was probably meant by `name`: the kind or the id of another step.
fn meant(node: &Node, nodes: &[Node], name: &str) -> Option<String> {
    let others = || nodes.iter().filter(|other| other.id != node.id);
    let ids: Vec<_> = others().map(|other| other.id.as_str()).collect();
    if name.contains('/') {
        return did_you_mean(name, &ids);
    }
    // The end of an id means that of the same place first, then that of the host, as the kind of a step does.
    let place = node.id.place();
    let mut near: Vec<_> = others().filter(|other| [place, "host"].contains(&other.id.place())).collect();
    near.sort_by_key(|other| other.id.place() != place);
    let kinds = KINDS.iter().filter(|kind| others().any(|other| is_of(other, kind))).map(|kind| kind.name);
    let kinds: Vec<_> = kinds.collect();
    // What begins with a capital letter was meant as a kind.
    if name.starts_with(|c: char| c.is_ascii_uppercase()) {
        return did_you_mean(name, &kinds);
    }
    let names = kinds.iter().copied().chain(near.iter().map(|other| other.id.step()));
    match nearest(name, names) {
        Some(step) => match near.iter().find(|other| other.id.step() == step) {
            Some(other) => Some(format!("did you mean `{}`?", other.id)),
            None => Some(format!("did you mean `{step}`?")),
        },
        None => did_you_mean(name, &kinds),
    }
}

/// Whether a node is a step of that kind.
fn is_of(node: &Node, kind: &Kind) -> bool {
    kind.is_called(node.id.step())
}
