//! What a worker does with a node, and what it says of it to the coordinator.
//!
//! It owns nothing, and does not know the schedule, the journal, or what else is going on.

use crate::failure::Stop;
use crate::run::front::Front;
use crate::run::inbox::{Inbox, Voice};
use crate::run::turns::{Turn, Turns};
use crate::{Check, Cx, Mark, Node, Scope, Sweep, Work, run_step};
use drover_state::{EventKind, Failure, NodeRecord, RunId, StateDir};
use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// What a worker says to the coordinator.
#[derive(Debug)]
pub(crate) enum Message {
    /// A node was checked.
    Checked { node: usize, answer: Result<Check, Stop>, took: Duration },
    /// An attempt failed and is made again after the delay.
    Retrying { node: usize, class: String, message: String, delay: Duration },
    /// A node that is being applied says something worth keeping.
    Told { node: usize, event: EventKind },
    /// A node was applied.
    Applied { node: usize, answer: Result<(), Stop>, took: Duration },
}

/// All that workers share, for reading only.
#[derive(Debug)]
pub(crate) struct Worker<'a> {
    pub(crate) work: &'a Work<'a>,
    pub(crate) run: RunId,
    /// The nodes that this host can never do, and why; nobody asks whether they are done.
    pub(crate) unmet: HashMap<usize, Failure>,
    /// The nodes whose preconditions are to be asked for again when it is their turn.
    pub(crate) postponed: HashSet<usize>,
    /// What was recorded of each node before this run.
    pub(crate) records: Vec<Option<NodeRecord>>,
    /// The fingerprint of each node's step.
    pub(crate) prints: Vec<u64>,
    pub(crate) state: Arc<StateDir>,
    pub(crate) cache: Arc<Path>,
    pub(crate) mark: Mark,
    /// That of all checks.
    pub(crate) looking: Mark,
    pub(crate) sweep: Sweep,
    pub(crate) inbox: Arc<Inbox<Message>>,
}

impl Worker<'_> {
    /// Does what is to be done until the run has ended.
    pub(crate) fn work(&self, front: &Front<'_>, turns: &Turns) {
        while let Some(turn) = turns.next() {
            match turn {
                Turn::Check => self.check(front, turns),
                Turn::Apply(node) => self.apply(node, turns),
            }
        }
    }

    /// Checks nodes until there is none left. Once the run is to stop, nothing is looked at any more.
    fn check(&self, front: &Front<'_>, turns: &Turns) {
        while let Some(node) = front.next() {
            let begun = Instant::now();
            let answer = match self.work.options.interrupt.level() {
                0 => self.ask(node),
                _ => Err(Stop::Interrupted),
            };
            let is_done = answer == Ok(Check::Satisfied);
            self.inbox.post(Message::Checked { node, answer, took: begun.elapsed() }, false);
            // Only after that, so that the coordinator hears of nodes in an order in which they can be done.
            for _ in 0..if is_done { front.pass(node) } else { 0 } {
                turns.give(Turn::Check);
            }
        }
        self.inbox.wake();
    }

    /// Is the node done already?
    fn ask(&self, node: usize) -> Result<Check, Stop> {
        if let Some(failure) = self.unmet.get(&node) {
            return Err(Stop::Failed(Box::new(failure.clone())));
        }
        let (step, cx) = (self.node(node).step.as_ref(), self.cx(node, self.looking.clone()));
        let ready = if self.postponed.contains(&node) { run_step::ready(step, &cx) } else { Ok(()) };
        let answer = ready.and_then(|()| run_step::check(step, &cx));
        answer.map_err(|stop| self.complete(stop, node))
    }

    /// Applies a node whose start is recorded.
    fn apply(&self, node: usize, turns: &Turns) {
        let begun = Instant::now();
        let mut retry = 0;
        let again = |failure: &Failure| {
            retry += 1;
            self.wait_to_retry(node, failure, retry - 1)
        };
        let mark = self.mark.of_attempt(&self.node(node).id, self.attempt(node));
        let cx = || self.cx(node, mark.clone());
        let answer = run_step::apply(self.node(node).step.as_ref(), cx, again);
        let answer = answer.map_err(|stop| self.complete(stop, node));
        let is_urgent = !turns.applied();
        self.inbox.post(Message::Applied { node, answer, took: begun.elapsed() }, is_urgent);
    }

    fn node(&self, node: usize) -> &Node {
        &self.work.graph.nodes()[node]
    }

    /// The number of this run's attempt at the node, over all runs.
    pub(crate) fn attempt(&self, node: usize) -> u32 {
        self.records[node].as_ref().map_or(0, |record| record.attempts) + 1
    }

    fn cx(&self, node: usize, mark: Mark) -> Cx {
        let Node { id, step, .. } = self.node(node);
        let voice = Voice {
            inbox: Arc::clone(&self.inbox),
            node,
            id: id.clone(),
            attempt: self.attempt(node),
            run: self.run,
            state: Arc::clone(&self.state),
        };
        Cx::new(Scope {
            attempt: Arc::new(voice),
            interrupt: self.work.options.interrupt.clone(),
            deadline: Instant::now() + step.timeout(),
            cache: Arc::clone(&self.cache),
            environment: self.work.options.environment.clone(),
            mark,
            sweep: self.sweep.clone(),
        })
    }

    /// The log of this run's attempt at the node, if anything was written to it.
    fn written(&self, node: usize) -> Option<PathBuf> {
        let log = self.work.state.log(self.run, &self.node(node).id, self.attempt(node));
        log.exists().then_some(log)
    }

    /// Adds to a failure what the step does not know of it.
    fn complete(&self, stop: Stop, node: usize) -> Stop {
        match stop {
            Stop::Interrupted => Stop::Interrupted,
            Stop::Failed(mut failure) => {
                failure.log = self.written(node);
                failure.remedy = (self.work.options.diagnose)(&failure);
                Stop::Failed(failure)
            }
        }
    }

    /// Waits until it is time for retry number `retry`. Returns false at once if another attempt would not help, and
    /// early when the run is to stop: a retry would be something new.
    fn wait_to_retry(&self, node: usize, failure: &Failure, retry: u32) -> bool {
        let options = self.work.options;
        let transient = (options.diagnose)(failure).filter(|remedy| remedy.transient);
        let Some(remedy) = transient.filter(|_| retry < options.retries.count) else { return false };
        let delay = options.retries.delay(retry);
        let message = failure.message.clone();
        self.inbox.post(Message::Retrying { node, class: remedy.class, message, delay }, true);
        let until = Instant::now() + delay;
        while options.interrupt.level() == 0 {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return true;
            }
            std::thread::sleep(left.min(Duration::from_millis(50)));
        }
        false
    }
}
