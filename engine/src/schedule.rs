//! What may be done next: the nodes whose turn it is, the most urgent first.
//!
//! Pure: no I/O, no threads, no clock. It does not know what a check or an apply is, only that the first is quick and
//! the second takes a job and what it claims.

use crate::pools::{Pools, Urgency};
use crate::{Edge, Graph};
use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::time::Duration;

/// How much may go on at the same time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// How many steps change the world at the same time, at least 1.
    pub jobs: usize,
    /// The capacities of pools. One that is not named has room for one.
    pub pools: BTreeMap<String, u32>,
}

/// What is expected to take less than this may be cleared before there is a job for it: others do not wait long for it.
const BRIEF: Duration = Duration::from_secs(1);

/// How a node ended, as far as others are concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// What needs it may start.
    Well,
    /// What needs it is blocked.
    Badly,
    /// It is not known: nothing that waits for it is decided. Only in a run that is being stopped.
    Open,
}

/// A node that cannot be done any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Blocked {
    /// Which.
    pub(crate) node: usize,
    /// What failed.
    pub(crate) by: usize,
}

/// The state of all nodes of a run.
///
/// A node waits for others, is checked, and then has ended, or waits for a job and its pools, is applied, and has ended.
/// A node that is not selected passes on what it waits for, and that is all.
#[derive(Debug)]
pub(crate) struct Schedule<'a> {
    graph: &'a Graph,
    selected: &'a [bool],
    /// How many edges lead to each node from nodes that have not ended.
    waits: Vec<u32>,
    /// Whether each node is beyond waiting for others.
    left: Vec<bool>,
    /// Whether each node is expected to take less than [`BRIEF`].
    brief: Vec<bool>,
    /// The longest path from each node to the end of the plan, itself included, in milliseconds.
    paths: Vec<u64>,
    to_check: BinaryHeap<Urgency>,
    to_apply: BinaryHeap<Urgency>,
    pools: Pools,
    jobs: usize,
    ahead: usize,
    checking: usize,
    applying: usize,
    stopped: bool,
}

impl<'a> Schedule<'a> {
    /// The selected nodes of the graph, none of them done. `weight` says how long a node is expected to take.
    pub(crate) fn new(
        graph: &'a Graph,
        selected: &'a [bool],
        limits: &Limits,
        weight: impl Fn(usize) -> Duration,
    ) -> Self {
        let count = graph.nodes().len();
        let claims = graph.nodes().iter().zip(selected);
        let claims = claims.map(|(node, selected)| if *selected { node.step.claims() } else { Vec::new() });
        let waits = (0..count).map(|node| u32::try_from(graph.before(node).count()).unwrap_or(u32::MAX));
        let mut schedule = Self {
            graph,
            selected,
            waits: waits.collect(),
            left: vec![false; count],
            brief: (0..count).map(|node| weight(node) < BRIEF).collect(),
            paths: paths(graph, |node| if selected[node] { weight(node) } else { Duration::ZERO }),
            to_check: BinaryHeap::new(),
            to_apply: BinaryHeap::new(),
            pools: Pools::new(claims, &limits.pools),
            jobs: limits.jobs.max(1),
            ahead: 0,
            checking: 0,
            applying: 0,
            stopped: false,
        };
        let first: Vec<_> = (0..count).filter(|node| schedule.waits[*node] == 0).collect();
        let passed = first.into_iter().filter_map(|node| schedule.leave(node)).collect();
        let _none_failed = schedule.pass_on(passed);
        schedule
    }

    /// A node to be checked now.
    pub(crate) fn next_check(&mut self) -> Option<usize> {
        let (_, Reverse(node)) = self.to_check.pop()?;
        self.checking += 1;
        Some(node)
    }

    /// The check said that the node is needed: it waits for a job and for what it claims.
    pub(crate) fn needed(&mut self, node: usize) {
        self.checking -= 1;
        self.to_apply.push(self.urgency(node));
    }

    /// So many nodes may be taken to be applied before there is a job for them, if they are brief.
    pub(crate) fn look_ahead(&mut self, nodes: usize) {
        self.ahead = nodes;
    }

    /// A node to be applied now, or as soon as there is a job for it.
    pub(crate) fn next_apply(&mut self) -> Option<usize> {
        while !self.stopped && self.applying < self.jobs + self.ahead {
            let (_, Reverse(node)) = self.to_apply.peek()?;
            if self.applying >= self.jobs && !self.brief[*node] {
                return None;
            }
            let next = self.to_apply.pop()?;
            if self.pools.take_or_park(next, &mut self.to_apply) {
                self.applying += 1;
                return Some(next.1.0);
            }
        }
        None
    }

    /// The node's check was its end. Returns what is blocked by that.
    pub(crate) fn checked(&mut self, node: usize, end: End) -> Vec<Blocked> {
        self.checking -= 1;
        self.end(node, end)
    }

    /// The node was applied, and has ended. Returns what is blocked by that.
    pub(crate) fn applied(&mut self, node: usize, end: End) -> Vec<Blocked> {
        self.applying -= 1;
        self.pools.give_back(node, &mut self.to_apply);
        self.end(node, end)
    }

    /// Nothing is to be applied from now on. Checks change nothing: those may go on.
    pub(crate) fn stop(&mut self) {
        self.stopped = true;
    }

    /// Whether something goes on, or may still be started.
    pub(crate) fn unfinished(&self) -> bool {
        let startable = !self.to_apply.is_empty() && !self.stopped;
        self.checking + self.applying > 0 || !self.to_check.is_empty() || startable
    }

    /// How many nodes are being checked.
    pub(crate) fn checking(&self) -> usize {
        self.checking
    }

    fn urgency(&self, node: usize) -> Urgency {
        (self.paths[node], Reverse(node))
    }

    fn end(&mut self, node: usize, end: End) -> Vec<Blocked> {
        match end {
            End::Well => self.pass_on(vec![(node, None)]),
            End::Badly => self.pass_on(vec![(node, Some(node))]),
            End::Open => Vec::new(),
        }
    }

    /// The node waits for nobody any more. One that is not selected has ended with that.
    fn leave(&mut self, node: usize) -> Option<(usize, Option<usize>)> {
        self.left[node] = true;
        if self.selected[node] {
            self.to_check.push(self.urgency(node));
            return None;
        }
        Some((node, None))
    }

    /// Tells those that wait for nodes that have ended, each with what failed, if anything did.
    fn pass_on(&mut self, mut ended: Vec<(usize, Option<usize>)>) -> Vec<Blocked> {
        let mut blocked = Vec::new();
        while let Some((node, failed)) = ended.pop() {
            for (next, edge) in self.graph.after(node) {
                self.waits[next] -= 1;
                match failed.filter(|_| Edge::is_hard(edge)) {
                    _ if self.left[next] => {}
                    Some(by) => {
                        self.left[next] = true;
                        blocked.push(Blocked { node: next, by });
                        ended.push((next, Some(by)));
                    }
                    None if self.waits[next] == 0 => ended.extend(self.leave(next)),
                    None => {}
                }
            }
        }
        blocked.retain(|blocked| self.selected[blocked.node]);
        blocked.sort_unstable();
        blocked
    }
}

/// The longest path from each node to the end of the plan, in milliseconds.
fn paths(graph: &Graph, weight: impl Fn(usize) -> Duration) -> Vec<u64> {
    let mut paths = vec![0_u64; graph.nodes().len()];
    for &node in graph.order().iter().rev() {
        let rest = graph.after(node).map(|(next, _)| paths[next]).max().unwrap_or(0);
        paths[node] = rest.saturating_add(u64::try_from(weight(node).as_millis()).unwrap_or(u64::MAX));
    }
    paths
}

#[cfg(test)]
mod tests;
