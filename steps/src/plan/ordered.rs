//! `after`: an order of steps that no resource expresses, on any step of a plan.
//!
//! What is named must have ended well first. It does not know what the steps are.

use super::diagnostic::Diagnostic;
use super::nodes::Nodes;
use super::scan::Value;
use super::suggest::{did_you_mean, nearest};
use crate::registry::{KINDS, Kind, Parse};
use drover_engine::Node;
use std::collections::{BTreeSet, HashMap};

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
    let wishes = std::mem::take(&mut nodes.wishes);
    let mut places = Places::new(&nodes.nodes);
    for wish in wishes {
        for value in &wish.after {
            let Some(name) = value.string(wrong) else { continue };
            let found = places.find(wish.node, &name);
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

/// The nodes, by what they may be called.
struct Places<'a> {
    nodes: &'a [Node],
    by_id: HashMap<&'a str, usize>,
    by_place: HashMap<&'a str, Vec<usize>>,
    /// The last step of every base system's bootstrap.
    bases: Vec<usize>,
    /// The nodes of a kind at a place, once somebody has asked for them.
    of_kind: HashMap<(&'a str, &'static str), Vec<usize>>,
}

impl<'a> Places<'a> {
    fn new(nodes: &'a [Node]) -> Self {
        let mut by_place: HashMap<_, Vec<_>> = HashMap::new();
        for (index, node) in nodes.iter().enumerate() {
            by_place.entry(node.id.place()).or_default().push(index);
        }
        let by_id = nodes.iter().enumerate().map(|(index, node)| (node.id.as_str(), index)).collect();
        let last = crate::bootstrap::chain().last().map_or("", |(slug, _)| *slug);
        let ends = |node: &usize| {
            nodes[*node].id.as_str().starts_with("bootstrap/") && nodes[*node].id.step() == last
        };
        let bases = (0..nodes.len()).filter(ends).collect();
        Self { nodes, by_id, by_place, bases, of_kind: HashMap::new() }
    }

    /// The nodes that `name` means to the node at `from`: a node's id; or the steps of that name, at the same place, else on the
    /// host, else, for a step of the host, of every container. `Bootstrap` means every base system.
    fn find(&mut self, from: usize, name: &str) -> Vec<usize> {
        if name.contains('/') {
            return self.by_id.get(name).copied().filter(|node| *node != from).into_iter().collect();
        }
        let Some(kind) = Kind::find(name) else { return Vec::new() };
        if let Parse::Bootstrap = kind.parse {
            return self.bases.iter().copied().filter(|node| *node != from).collect();
        }
        let place = self.nodes[from].id.place();
        let here = self.at(place, kind, from);
        match (here.is_empty(), place) {
            (false, _) => here,
            (true, "host") => {
                let all = 0..self.nodes.len();
                all.filter(|node| *node != from && is_of(&self.nodes[*node], kind)).collect()
            }
            (true, _) => self.at("host", kind, from),
        }
    }

    /// The nodes of that kind at a place, but for the one that asks.
    fn at(&mut self, place: &'a str, kind: &'static Kind, from: usize) -> Vec<usize> {
        let (nodes, by_place) = (self.nodes, &self.by_place);
        let there = self.of_kind.entry((place, kind.name)).or_insert_with(|| {
            let there = by_place.get(place).into_iter().flatten().copied();
            there.filter(|node| is_of(&nodes[*node], kind)).collect()
        });
        there.iter().copied().filter(|node| *node != from).collect()
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
