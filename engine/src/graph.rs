//! The graph: nodes, and who must come before whom. Edges follow from what steps need and provide.
//!
//! It does no I/O (what a step needs may depend on what the host has, which the step finds out), starts no threads, and does not
//! know what has been done already.

mod edges;
mod error;

pub use error::{GraphError, Link};

use crate::Node;
use drover_state::NodeId;
use edges::connect;
use foldhash::{HashMap, HashMapExt};
use petgraph::algo::toposort;
use petgraph::graph::{DiGraph, NodeIndex};
use petgraph::visit::{Dfs, EdgeFiltered, EdgeRef, IntoNeighbors, Reversed, Visitable};
use petgraph::{Direction, visit::GraphBase};

/// Nodes in an order in which they can be done.
///
/// A node is known by its place in the plan: an index into [`Graph::nodes`].
#[derive(Debug)]
pub struct Graph {
    nodes: Vec<Node>,
    by_id: HashMap<NodeId, usize>,
    edges: DiGraph<(), Edge>,
    order: Vec<usize>,
}

/// Why one node comes before another, after the [`crate::Need`] that says so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Edge {
    /// The later one cannot do without the earlier one.
    Must,
    /// The later one uses what the earlier one provides, since it is in the plan.
    IfAny,
    /// The later one does better with what the earlier one provides, but also without.
    Helps,
    /// The later one only waits for the end of the earlier one, however it ends.
    After,
}

impl Edge {
    /// Whether the later node may start only if the earlier one ended well.
    pub fn is_hard(self) -> bool {
        matches!(self, Self::Must | Self::IfAny)
    }
}

impl Graph {
    /// Finds out who needs whom.
    ///
    /// # Errors
    /// All at once: ids given twice, needs that nothing provides, and cycles.
    pub fn new(nodes: Vec<Node>) -> Result<Self, Vec<GraphError>> {
        let mut errors = Vec::new();
        let by_id = index_ids(&nodes, &mut errors);
        let edges = connect(&nodes, &by_id, &mut errors);
        let order = match toposort(Reversed(&edges), None) {
            // Along the needs, from each node in the plan's order: what comes out last comes first, and the plan's
            // order is kept wherever the needs leave a choice.
            Ok(order) => order.into_iter().rev().map(NodeIndex::index).collect(),
            Err(_) => {
                errors.extend(error::cycles(&nodes, &edges));
                Vec::new()
            }
        };
        if errors.is_empty() { Ok(Self { nodes, by_id, edges, order }) } else { Err(errors) }
    }

    /// All nodes, in the plan's order.
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// The node called `id`.
    pub fn find(&self, id: &str) -> Option<usize> {
        self.by_id.get(id).copied()
    }

    /// All nodes, each after what it needs, and otherwise in the plan's order.
    pub fn order(&self) -> &[usize] {
        &self.order
    }

    /// The nodes that wait for `node`, and why. One that waits for two reasons is named twice.
    pub fn after(&self, node: usize) -> impl Iterator<Item = (usize, Edge)> {
        let edges = self.edges.edges_directed(NodeIndex::new(node), Direction::Outgoing);
        edges.map(|edge| (edge.target().index(), *edge.weight()))
    }

    /// The nodes that `node` waits for, and why. One that it waits for for two reasons is named twice.
    pub fn before(&self, node: usize) -> impl Iterator<Item = (usize, Edge)> {
        let edges = self.edges.edges_directed(NodeIndex::new(node), Direction::Incoming);
        edges.map(|edge| (edge.source().index(), *edge.weight()))
    }

    /// Adds to the set all that waits for a member of it by such edges.
    pub fn add_downstream(&self, set: &mut [bool], edge: impl Fn(Edge) -> bool) {
        spread(&EdgeFiltered::from_fn(&self.edges, |reference| edge(*reference.weight())), set);
    }

    /// Adds to the set all that a member of it waits for by such edges.
    pub fn add_upstream(&self, set: &mut [bool], edge: impl Fn(Edge) -> bool) {
        let reversed = Reversed(&self.edges);
        spread(&EdgeFiltered::from_fn(reversed, |reference| edge(*reference.weight())), set);
    }
}

/// Adds to the set all that can be reached from a member of it.
fn spread<G>(graph: G, set: &mut [bool])
where
    G: IntoNeighbors + Visitable + GraphBase<NodeId = NodeIndex>,
{
    let mut dfs = Dfs::empty(graph);
    dfs.stack = (0..set.len()).filter(|node| set[*node]).map(NodeIndex::new).collect();
    while let Some(node) = dfs.next(graph) {
        set[node.index()] = true;
    }
}

fn index_ids(nodes: &[Node], errors: &mut Vec<GraphError>) -> HashMap<NodeId, usize> {
    let mut by_id = HashMap::with_capacity(nodes.len());
    for (index, node) in nodes.iter().enumerate() {
        if let Some(first) = by_id.insert(node.id.clone(), index) {
            by_id.insert(node.id.clone(), first);
            errors.push(GraphError::duplicate(&nodes[first], node));
        }
    }
    by_id
}

#[cfg(test)]
mod tests;
