//! How many nodes are cleared to begin before a job is free for them.
//!
//! That a node begins is durable before it does, and that takes a flush of the disk: dear, where nodes take little more
//! themselves. There, so many are cleared together that flushes are a small part of the time, and workers need not wait
//! for the disk. Where nodes take longer, that is none. It knows no clock, only what was measured, and no nodes: which of them
//! may be cleared ahead is for the schedule to say.

use std::time::Duration;

/// So many times longer than a flush should be what is done between two of them.
const WORTH: u32 = 10;
/// Of what was measured, so much at the most: what is cleared is called started, and is not yet.
const PATIENCE: Duration = Duration::from_millis(50);
/// So many for each job at the most.
const MOST: usize = 32;

/// How long things took of late.
#[derive(Debug, Default)]
pub(super) struct Pace {
    flush: Average,
    apply: Average,
}

impl Pace {
    /// Starts were made durable.
    pub(super) fn flushed(&mut self, took: Duration) {
        self.flush.add(took);
    }

    /// A node was applied.
    pub(super) fn applied(&mut self, took: Duration) {
        self.apply.add(took);
    }

    /// How many nodes `jobs` workers are to find cleared.
    pub(super) fn ahead(&self, jobs: usize) -> usize {
        let (Some(flush), Some(apply)) = (self.flush.0, self.apply.0) else { return 0 };
        let meanwhile = (flush * WORTH).min(PATIENCE);
        let each = meanwhile.as_nanos() / apply.as_nanos().max(1);
        usize::try_from(each).unwrap_or(MOST).min(MOST) * jobs
    }
}

/// An average in which older values weigh less.
#[derive(Clone, Copy, Debug, Default)]
struct Average(Option<Duration>);

impl Average {
    fn add(&mut self, value: Duration) {
        self.0 = Some(self.0.map_or(value, |average| (average * 7 + value) / 8));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ahead(flush: Duration, apply: Duration) -> usize {
        let mut pace = Pace::default();
        pace.flushed(flush);
        pace.applied(apply);
        pace.ahead(2)
    }

    #[test]
    fn only_what_is_hardly_longer_than_a_flush_is_cleared_ahead() {
        let [flush, second] = [Duration::from_micros(400), Duration::from_secs(1)];
        assert_eq!(Pace::default().ahead(2), 0);
        assert_eq!(ahead(flush, second), 0);
        assert_eq!(ahead(flush, Duration::from_micros(1600)), 4);
        assert_eq!(ahead(flush, Duration::ZERO), 64);
        // A disk that is slow, as when others write a lot, changes nothing for what takes long.
        assert_eq!(ahead(Duration::from_millis(200), second), 0);
    }
}
