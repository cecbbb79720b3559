//! A step placed in the graph.

use crate::Step;
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
}
