//! What can be wrong with a graph, told so that the plan can be mended.
//!
//! It does not know how the graph is built.

use super::Edge;
use crate::{Need, Node, Resource};
use drover_state::NodeId;
use petgraph::algo::{astar, tarjan_scc};
use petgraph::graph::{DiGraph, NodeIndex};
use petgraph::visit::{NodeFiltered, Reversed};
use std::collections::HashSet;
use std::fmt;

/// What is wrong with a graph.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GraphError {
    /// Two nodes have the same id.
    Duplicate {
        /// The id.
        id: NodeId,
        /// Where the plan asks for each of them.
        origins: [String; 2],
    },
    /// Nothing in the plan provides what a node must have.
    Unmet {
        /// Which.
        id: NodeId,
        /// Where the plan asks for it.
        origin: String,
        /// What it must have.
        resource: Resource,
    },
    /// A node is to come after one that is not there.
    Absent {
        /// Which.
        id: NodeId,
        /// Where the plan asks for it.
        origin: String,
        /// What it is to come after.
        earlier: NodeId,
    },
    /// Nodes wait for each other in a circle.
    Cycle(Vec<Link>),
}

/// A node of a cycle, and why it waits for the next one; the last one waits for the first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// Which.
    pub id: NodeId,
    /// Where the plan asks for it.
    pub origin: String,
    /// What the next one has to do with it.
    pub need: Need,
}

impl GraphError {
    pub(super) fn duplicate(first: &Node, second: &Node) -> Self {
        Self::Duplicate { id: first.id.clone(), origins: [first.origin.clone(), second.origin.clone()] }
    }

    pub(super) fn unmet(node: &Node, resource: &Resource) -> Self {
        Self::Unmet { id: node.id.clone(), origin: node.origin.clone(), resource: resource.clone() }
    }

    pub(super) fn absent(node: &Node, earlier: &NodeId) -> Self {
        Self::Absent { id: node.id.clone(), origin: node.origin.clone(), earlier: earlier.clone() }
    }
}

impl fmt::Display for GraphError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Duplicate { id, origins: [first, second] } => {
                write!(
                    f,
                    "{second}: `{id}` is in the plan already, from {first}; remove or rename one of them"
                )
            }
            Self::Unmet { id, origin, resource } => {
                write!(
                    f,
                    "{origin}: `{id}` needs {resource}, which no step of the plan provides; add the step that does"
                )
            }
            Self::Absent { id, origin, earlier } => {
                write!(f, "{origin}: `{id}` comes after `{earlier}`, which is no step of the plan")
            }
            Self::Cycle(links) => {
                let ids: Vec<_> = links.iter().chain(links.first()).map(|link| link.id.as_str()).collect();
                write!(f, "steps wait for each other: `{}`; remove one of these needs:", ids.join(" -> "))?;
                let next = links.iter().cycle().skip(1);
                links.iter().zip(next).try_for_each(|(link, next)| write!(f, "\n  {link} `{}`", next.id))
            }
        }
    }
}

/// All but the name of the one that it waits for.
impl fmt::Display for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { id, origin, need } = self;
        match need {
            Need::Must(resource) => write!(f, "{origin}: `{id}` needs {resource} of"),
            Need::IfAny(resource) => write!(f, "{origin}: `{id}` uses {resource} of"),
            Need::Helps(resource) => write!(f, "{origin}: `{id}` is helped by {resource} of"),
            Need::After(kind) => write!(f, "{origin}: `{id}` comes after every {kind}, such as that of"),
            Need::Node(_) => write!(f, "{origin}: `{id}` comes after"),
        }
    }
}

impl std::error::Error for GraphError {}

/// The shortest cycle of each knot.
pub(super) fn cycles(nodes: &[Node], edges: &DiGraph<(), Edge>) -> Vec<GraphError> {
    let mut cycles: Vec<_> = tarjan_scc(edges).iter().filter_map(|knot| shortest(knot, edges)).collect();
    cycles.sort();
    cycles.iter().map(|cycle| GraphError::Cycle(links(nodes, cycle))).collect()
}

/// The shortest cycle in `knot`, along the needs, from the first node of the plan that is on it.
fn shortest(knot: &[NodeIndex], edges: &DiGraph<(), Edge>) -> Option<Vec<usize>> {
    let members: HashSet<_> = knot.iter().copied().collect();
    let inside = NodeFiltered::from_fn(Reversed(edges), |node| members.contains(&node));
    let first = *knot.iter().min()?;
    let needed = edges.neighbors_directed(first, petgraph::Direction::Incoming);
    let paths = needed.filter_map(|next| astar(&inside, next, |node| node == first, |_| 1, |_| 0));
    let (_, path) = paths.min_by_key(|(length, _)| *length)?;
    // The path ends where it has to begin.
    let (last, path) = path.split_last()?;
    Some(std::iter::once(last).chain(path).map(|node| node.index()).collect())
}

fn links(nodes: &[Node], cycle: &[usize]) -> Vec<Link> {
    let next = cycle.iter().cycle().skip(1);
    let links = cycle.iter().zip(next).filter_map(|(node, next)| {
        let (node, next) = (&nodes[*node], &nodes[*next]);
        let provides = next.step.provides();
        let need = node.needs().into_iter().find(|need| asks_for(need, &next.id, &provides))?;
        Some(Link { id: node.id.clone(), origin: node.origin.clone(), need })
    });
    links.collect()
}

/// Whether the node called `id`, which provides these resources, is one that `need` asks for.
fn asks_for(need: &Need, id: &NodeId, provides: &[Resource]) -> bool {
    match need {
        Need::Must(resource) | Need::IfAny(resource) | Need::Helps(resource) => provides.contains(resource),
        Need::After(kind) => provides.iter().any(|resource| resource.kind == *kind),
        Need::Node(earlier) => earlier == id,
    }
}
