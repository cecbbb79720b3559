//! Who must come before whom, from what steps say that they need and provide.

use super::{Edge, GraphError};
use crate::{Need, Node, Resource};
use drover_state::NodeId;
use foldhash::{HashMap, HashSet};
use petgraph::graph::{DiGraph, NodeIndex};
use smallvec::SmallVec;

/// The edges between these nodes.
pub(super) fn connect(
    nodes: &[Node],
    by_id: &HashMap<NodeId, usize>,
    errors: &mut Vec<GraphError>,
) -> DiGraph<(), Edge> {
    let needs: Vec<Vec<Need>> = nodes.iter().map(Node::needs).collect();
    let kinds = needs.iter().flatten().filter_map(|need| match need {
        Need::After(kind) => Some(*kind),
        Need::Must(_) | Need::IfAny(_) | Need::Helps(_) | Need::Node(_) => None,
    });
    let providers = Providers::new(nodes, &kinds.collect());
    let mut edges = DiGraph::with_capacity(nodes.len(), needs.iter().map(Vec::len).sum());
    for _ in nodes {
        edges.add_node(());
    }
    for (index, needs) in (0..).zip(&needs) {
        for need in needs {
            if let Need::Node(id) = need {
                match by_id.get(id) {
                    Some(earlier) => drop(edges.add_edge(NodeIndex::new(*earlier), index.into(), edge(need))),
                    None => errors.push(GraphError::absent(&nodes[index as usize], id)),
                }
                continue;
            }
            let found = providers.find(need);
            if let (Need::Must(resource), true) = (need, found.is_empty()) {
                errors.push(GraphError::unmet(&nodes[index as usize], resource));
            }
            // That a step comes after its own kind, or uses what it makes itself, means the others.
            let found = found.iter().filter(|one| matches!(need, Need::Must(_)) || **one != index);
            edges.extend_with_edges(found.map(|one| (*one, index, edge(need))));
        }
    }
    edges
}

/// Who provides what, looked up by whole resources and, where somebody asks for that, by their kind.
#[derive(Default)]
struct Providers {
    /// Mostly one for each.
    by_resource: HashMap<Resource, SmallVec<[u32; 2]>>,
    by_kind: HashMap<&'static str, Vec<u32>>,
}

impl Providers {
    /// Resources of the kinds in `kinds` are also found by kind.
    fn new(nodes: &[Node], kinds: &HashSet<&'static str>) -> Self {
        let mut providers = Self::default();
        providers.by_resource.reserve(nodes.len());
        for (index, node) in (0..).zip(nodes) {
            for resource in node.step.provides() {
                if kinds.contains(resource.kind) {
                    providers.by_kind.entry(resource.kind).or_default().push(index);
                }
                providers.by_resource.entry(resource).or_default().push(index);
            }
        }
        providers
    }

    /// Those that `need` asks for.
    fn find(&self, need: &Need) -> &[u32] {
        let found = match need {
            Need::Must(resource) | Need::IfAny(resource) | Need::Helps(resource) => {
                self.by_resource.get(resource).map(SmallVec::as_slice)
            }
            Need::After(kind) => self.by_kind.get(kind).map(Vec::as_slice),
            Need::Node(_) => None,
        };
        found.unwrap_or_default()
    }
}

fn edge(need: &Need) -> Edge {
    match need {
        Need::Must(_) | Need::Node(_) => Edge::Must,
        Need::IfAny(_) => Edge::IfAny,
        Need::Helps(_) => Edge::Helps,
        Need::After(_) => Edge::After,
    }
}
