//! What workers are to do next, and how they wait for it.
//!
//! Workers that wait here sleep. To hand each node to the pool instead would cost more than a small command: its
//! threads look around for a while before they sleep, and take the processors from what runs. It does not know who
//! works, nor how.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// What a worker does next.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Turn {
    /// Checks what is on the front.
    Check,
    /// Applies this node.
    Apply(usize),
}

/// A queue that workers take from until it is closed.
#[derive(Debug, Default)]
pub(crate) struct Turns {
    queue: Mutex<(VecDeque<Turn>, bool)>,
    more: Condvar,
}

/// Closes the queue when it goes, however its owner ends: else workers would wait for ever.
pub(crate) struct Closing<'a>(&'a Turns);

impl Turns {
    /// One more; a worker that waits is woken.
    pub(crate) fn give(&self, turn: Turn) {
        self.lock().0.push_back(turn);
        self.more.notify_one();
    }

    /// The next one, as soon as there is one; `None` ends the worker.
    pub(crate) fn next(&self) -> Option<Turn> {
        let waiting = self.more.wait_while(self.lock(), |(turns, closed)| turns.is_empty() && !*closed);
        waiting.unwrap_or_else(PoisonError::into_inner).0.pop_front()
    }

    /// Lets workers end, after what was given, when the result goes.
    pub(crate) fn closing(&self) -> Closing<'_> {
        Closing(self)
    }

    /// A thread that panicked has left the queue whole: every change to it is a single one.
    fn lock(&self) -> MutexGuard<'_, (VecDeque<Turn>, bool)> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Closing<'_> {
    fn drop(&mut self) {
        self.0.lock().1 = true;
        self.0.more.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_waits_ends_with_the_queue_and_not_before_what_was_given() {
        let turns = Turns::default();
        std::thread::scope(|scope| {
            let closing = turns.closing();
            let worker = scope.spawn(|| std::iter::from_fn(|| turns.next()).collect::<Vec<_>>());
            turns.give(Turn::Apply(7));
            turns.give(Turn::Check);
            drop(closing);
            assert_eq!(worker.join().expect("waiting does not panic"), [Turn::Apply(7), Turn::Check]);
        });
    }
}
