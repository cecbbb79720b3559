//! A step placed in the graph.

use crate::{Need, Step};
use drover_state::NodeId;
use std::sync::Arc;

/// A step placed in the graph.
#[derive(Clone, Debug)]
pub struct Node {
    /// Its name, unique in the graph.
    pub id: NodeId,
    /// What it does.
    pub step: Arc<dyn Step>,
    /// Where the plan asks for it, as `plans/debian-pair.ron:12:9`; for messages.
    pub origin: String,
    /// The nodes that must end well first although no resource says so: `after` in a plan. That is a fact of the node, not
    /// of its step, which is the same whenever it is done.
    pub after: Vec<NodeId>,
}

impl Node {
    /// All that must come before this node: what its step needs, and what the plan puts before it.
    pub fn needs(&self) -> Vec<Need> {
        self.step.needs().into_iter().chain(self.after.iter().cloned().map(Need::Node)).collect()
    }
}
