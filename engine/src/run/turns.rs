//! What workers are to do next, and how they wait for it.
//!
//! Workers that wait here sleep. To hand each node to the pool instead would cost more than a small command: its
//! threads look around for a while before they sleep, and take the processors from what runs. It does not know who
//! works, nor how.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// What a worker does next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Turn {
    /// Checks what is on the front.
    Check,
    /// Applies this node, and says [`Turns::applied`] when that has ended.
    Apply(usize),
}

/// What workers take until it is closed, and how many of them apply at the same time.
#[derive(Debug)]
pub(crate) struct Turns {
    queue: Mutex<Queue>,
    more: Condvar,
    jobs: usize,
}

#[derive(Debug, Default)]
struct Queue {
    checks: usize,
    /// Nodes that may begin as soon as there is a job for them, in this order.
    cleared: VecDeque<usize>,
    applying: usize,
    closed: bool,
}

/// Closes the queue when it goes, however its owner ends: else workers would wait for ever.
pub(crate) struct Closing<'a>(&'a Turns);

impl Turns {
    /// Nothing to do yet. Not more than `jobs` workers will apply at the same time.
    pub(crate) fn new(jobs: usize) -> Self {
        Self { queue: Mutex::default(), more: Condvar::new(), jobs }
    }

    /// One more; a worker that waits is woken if it can be taken now.
    pub(crate) fn give(&self, turn: Turn) {
        let mut queue = self.lock();
        match turn {
            Turn::Check => queue.checks += 1,
            Turn::Apply(node) => queue.cleared.push_back(node),
        }
        if queue.checks > 0 || queue.applying < self.jobs {
            self.more.notify_one();
        }
    }

    /// The next one, as soon as there is one; `None` ends the worker.
    pub(crate) fn next(&self) -> Option<Turn> {
        let is_idle = |queue: &mut Queue| !queue.closed && !queue.can_be_taken(self.jobs);
        let waiting = self.more.wait_while(self.lock(), is_idle);
        waiting.unwrap_or_else(PoisonError::into_inner).take(self.jobs)
    }

    /// A worker has applied a node, and is free for the next one. Answers whether enough of them are cleared, so that
    /// nobody need hurry for more.
    pub(crate) fn applied(&self) -> bool {
        let mut queue = self.lock();
        queue.applying -= 1;
        queue.cleared.len() > self.jobs
    }

    /// Takes back what is cleared and has no job yet.
    pub(crate) fn withdraw(&self) -> Vec<usize> {
        let mut queue = self.lock();
        let free = self.jobs.saturating_sub(queue.applying).min(queue.cleared.len());
        queue.cleared.split_off(free).into()
    }

    /// Lets workers end when the result goes, whatever was given and not taken.
    pub(crate) fn closing(&self) -> Closing<'_> {
        Closing(self)
    }

    /// A thread that panicked has left the queue whole: every change to it is a single one.
    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Queue {
    fn can_be_taken(&self, jobs: usize) -> bool {
        self.checks > 0 || (!self.cleared.is_empty() && self.applying < jobs)
    }

    fn take(&mut self, jobs: usize) -> Option<Turn> {
        if self.closed {
            return None;
        }
        if self.applying < jobs
            && let Some(node) = self.cleared.pop_front()
        {
            self.applying += 1;
            return Some(Turn::Apply(node));
        }
        self.checks = self.checks.checked_sub(1)?;
        Some(Turn::Check)
    }
}

impl Drop for Closing<'_> {
    fn drop(&mut self) {
        self.0.lock().closed = true;
        self.0.more.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cleared_node_waits_for_a_job_and_checks_wait_for_none() {
        let turns = Turns::new(1);
        [Turn::Apply(7), Turn::Apply(8), Turn::Check].into_iter().for_each(|turn| turns.give(turn));
        assert_eq!([turns.next(), turns.next()], [Some(Turn::Apply(7)), Some(Turn::Check)]);
        assert!(!turns.applied());
        assert_eq!(turns.next(), Some(Turn::Apply(8)));
    }

    #[test]
    fn what_has_no_job_yet_can_be_taken_back() {
        let turns = Turns::new(2);
        (5..9).for_each(|node| turns.give(Turn::Apply(node)));
        assert_eq!(turns.next(), Some(Turn::Apply(5)));
        assert_eq!(turns.withdraw(), [7, 8]);
        assert_eq!(turns.next(), Some(Turn::Apply(6)));
        assert!(turns.withdraw().is_empty());
    }

    #[test]
    fn whoever_waits_ends_with_the_queue() {
        let turns = Turns::new(1);
        std::thread::scope(|scope| {
            let closing = turns.closing();
            let worker = scope.spawn(|| std::iter::from_fn(|| turns.next()).collect::<Vec<_>>());
            turns.give(Turn::Apply(7));
            while !turns.lock().cleared.is_empty() {
                std::thread::yield_now();
            }
            turns.give(Turn::Apply(8));
            drop(closing);
            assert_eq!(worker.join().expect("waiting does not panic"), [Turn::Apply(7)]);
        });
    }
}
