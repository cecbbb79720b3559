//! The wish to stop: how often it was expressed, by which signal first, and the error that a step ends with because of
//! it.
//!
//! It does not listen to signals: whoever receives them calls [`Interrupt::signal`].

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

/// How urgently a run is to stop; clones share one level.
///
/// Level 0: go on. 1: nothing new starts, running steps end by themselves. 2: the process groups of running commands
/// get SIGTERM, and SIGKILL ten seconds later. 3: SIGKILL at once.
#[derive(Clone, Debug, Default)]
pub struct Interrupt(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    level: AtomicU8,
    /// The number of the first signal that raised it; 0 if none did.
    signal: AtomicU8,
}

impl Interrupt {
    /// The highest level: everything is killed.
    pub const HIGHEST: u8 = 3;
    /// The number of SIGINT.
    pub const SIGINT: u8 = 2;
    /// The number of SIGTERM.
    pub const SIGTERM: u8 = 15;

    /// Takes a signal that asks the run to stop. SIGTERM, which is sent by programs and mostly once, goes straight to
    /// level 2; every other signal raises by one level. Returns the level reached.
    pub fn signal(&self, signal: u8) -> u8 {
        let _ = self.0.signal.compare_exchange(0, signal, Ordering::SeqCst, Ordering::SeqCst);
        if signal == Self::SIGTERM && self.level() == 0 {
            self.raise();
        }
        self.raise()
    }

    /// The signal that came first, if the run is to stop at all. Where it was raised without one, that counts as SIGINT.
    pub fn first_signal(&self) -> Option<u8> {
        match (self.level(), self.0.signal.load(Ordering::SeqCst)) {
            (0, _) => None,
            (_, 0) => Some(Self::SIGINT),
            (_, signal) => Some(signal),
        }
    }

    /// Makes it more urgent by one level, up to the highest. Returns the level reached.
    pub fn raise(&self) -> u8 {
        let above = |level| (level < Self::HIGHEST).then_some(level + 1);
        match self.0.level.fetch_update(Ordering::SeqCst, Ordering::SeqCst, above) {
            Ok(before) => before + 1,
            Err(highest) => highest,
        }
    }

    /// The level, 0 to 3.
    pub fn level(&self) -> u8 {
        self.0.level.load(Ordering::SeqCst)
    }

    /// Whether running commands are to end.
    pub fn stops_commands(&self) -> bool {
        self.level() >= 2
    }
}

/// The error of a step that was stopped by an interrupt; found by downcasting, whatever its context.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Interrupted;

impl fmt::Display for Interrupted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("interrupted")
    }
}

impl std::error::Error for Interrupted {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clones_share_one_level_that_ends_at_three() {
        let interrupt = Interrupt::default();
        let other = interrupt.clone();
        assert_eq!([0; 4].map(|_| other.raise()), [1, 2, 3, 3]);
        assert_eq!((interrupt.level(), interrupt.first_signal()), (3, Some(2)));
    }

    #[test]
    fn sigterm_stops_what_runs_at_once_and_the_first_signal_is_kept() {
        let interrupt = Interrupt::default();
        assert_eq!(interrupt.first_signal(), None);
        assert_eq!([15, 2].map(|signal| interrupt.signal(signal)), [2, 3]);
        assert_eq!(interrupt.first_signal(), Some(15));
        let interrupt = Interrupt::default();
        assert_eq!([2, 15, 2].map(|signal| interrupt.signal(signal)), [1, 2, 3]);
        assert_eq!(interrupt.first_signal(), Some(2));
    }
}
