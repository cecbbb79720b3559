//! For how long the nodes that are being applied have said nothing.
//!
//! It does not know what is done about that.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// The silence of each node that is being applied.
#[derive(Debug)]
pub(super) struct Silences {
    /// Since when each has said nothing, and how long that may be before it is worth a word.
    nodes: BTreeMap<usize, (Instant, Duration)>,
    bearable: Duration,
}

impl Silences {
    /// Silence is worth a word after this time, and again after twice as much.
    pub(super) fn new(bearable: Duration) -> Self {
        Self { nodes: BTreeMap::new(), bearable }
    }

    /// A node begins.
    pub(super) fn begin(&mut self, node: usize) {
        self.nodes.insert(node, (Instant::now(), self.bearable));
    }

    /// A node has said something.
    pub(super) fn heard(&mut self, node: usize) {
        if self.is_on(node) {
            self.begin(node);
        }
    }

    /// A node has ended.
    pub(super) fn end(&mut self, node: usize) {
        self.nodes.remove(&node);
    }

    /// Whether a node is being applied.
    pub(super) fn is_on(&self, node: usize) -> bool {
        self.nodes.contains_key(&node)
    }

    /// The nodes whose silence is worth a word now, and how long it is.
    pub(super) fn due(&mut self) -> Vec<(usize, Duration)> {
        let mut due = Vec::new();
        for (node, (since, bearable)) in &mut self.nodes {
            let silent = since.elapsed();
            if silent >= *bearable {
                due.push((*node, silent));
                *bearable *= 2;
            }
        }
        due
    }
}
