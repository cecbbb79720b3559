//! The front: the nodes whose turn it is to be checked.
//!
//! Where all is found done, the workers move the front forward by themselves, and the coordinator learns of it in
//! bunches: to wake it for every node would cost more than the checks. What is to be applied stops the front until the
//! coordinator has seen to it. It does not know what a check is.

use crate::Graph;
use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// The nodes to be checked, and how many workers see to that.
#[derive(Debug)]
pub(crate) struct Front<'a> {
    graph: &'a Graph,
    selected: &'a [bool],
    /// How many edges lead to each node from nodes that no worker has found done.
    waits: Vec<AtomicU32>,
    /// Whether each node is, or was, on the front.
    reached: Vec<AtomicBool>,
    most: usize,
    queue: Mutex<Queue>,
}

#[derive(Debug, Default)]
struct Queue {
    nodes: VecDeque<usize>,
    workers: usize,
}

impl<'a> Front<'a> {
    /// A front that has not reached any node. There will be `most` workers, at the most.
    pub(crate) fn new(graph: &'a Graph, selected: &'a [bool], most: usize) -> Self {
        let count = graph.nodes().len();
        let waits = (0..count).map(|node| graph.before(node).count());
        Self {
            graph,
            selected,
            waits: waits.map(|count| AtomicU32::new(u32::try_from(count).unwrap_or(u32::MAX))).collect(),
            reached: (0..count).map(|_| AtomicBool::new(false)).collect(),
            most,
            queue: Mutex::default(),
        }
    }

    /// Has these nodes checked, unless the front has reached them before. Returns how many workers must be started.
    pub(crate) fn reach(&self, nodes: impl Iterator<Item = usize>) -> usize {
        self.add(nodes, 0)
    }

    /// The node was found done: has those checked that waited for nothing else. Returns how many workers must be started
    /// besides the one that asks, which goes on.
    pub(crate) fn pass(&self, node: usize) -> usize {
        let after = self.graph.after(node).map(|(next, _)| next);
        let free = after.filter(|next| self.waits[*next].fetch_sub(1, Ordering::AcqRel) == 1);
        // What passes on through nodes that are not selected is left to the coordinator.
        self.add(free.filter(|next| self.selected[*next]), 1)
    }

    /// The next node; `None` ends the worker.
    pub(crate) fn next(&self) -> Option<usize> {
        let mut queue = self.lock();
        let node = queue.nodes.pop_front();
        if node.is_none() {
            queue.workers -= 1;
        }
        node
    }

    /// Adds nodes to the queue, for one of which each of `idle` workers is at hand.
    fn add(&self, nodes: impl Iterator<Item = usize>, idle: usize) -> usize {
        let mut new = nodes.filter(|node| !self.reached[*node].swap(true, Ordering::AcqRel)).peekable();
        if new.peek().is_none() {
            return 0;
        }
        let mut queue = self.lock();
        queue.nodes.extend(new);
        let wanted = queue.nodes.len().saturating_sub(idle).min(self.most.saturating_sub(queue.workers));
        queue.workers += wanted;
        wanted
    }

    /// A thread that panicked has left the queue whole: it is changed by nothing that can panic.
    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::toy;

    #[test]
    fn it_moves_on_where_all_is_done_and_reaches_each_node_once() {
        let graph = toy::graph("a b c:a,b d:c e:c").expect("sound");
        let selected = [true, true, true, false, true];
        let front = Front::new(&graph, &selected, 2);
        assert_eq!(front.reach([0, 1].into_iter()), 2);
        assert_eq!([front.next(), front.next()], [Some(0), Some(1)]);
        assert_eq!(front.pass(0), 0);
        assert_eq!(front.next(), None);
        assert_eq!(front.pass(1), 0);
        // The coordinator is late.
        assert_eq!(front.reach([2].into_iter()), 0);
        assert_eq!(front.next(), Some(2));
        front.pass(2);
        assert_eq!([front.next(), front.next()], [Some(4), None]);
    }
}
