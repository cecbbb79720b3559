//! The wish to stop: how often it was expressed, and the error that a step ends with because of it.
//!
//! It does not know signals: whoever receives them calls [`Interrupt::raise`].

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

/// How urgently a run is to stop; clones share one level.
///
/// Level 0: go on. 1: nothing new starts, running steps end by themselves. 2: the process groups of running commands
/// get SIGTERM, and SIGKILL ten seconds later. 3: SIGKILL at once.
#[derive(Clone, Debug, Default)]
pub struct Interrupt(Arc<AtomicU8>);

impl Interrupt {
    /// The highest level: everything is killed.
    pub const HIGHEST: u8 = 3;

    /// Makes it more urgent by one level, up to the highest. Returns the level reached.
    pub fn raise(&self) -> u8 {
        let above = |level| (level < Self::HIGHEST).then_some(level + 1);
        match self.0.fetch_update(Ordering::SeqCst, Ordering::SeqCst, above) {
            Ok(before) => before + 1,
            Err(highest) => highest,
        }
    }

    /// The level, 0 to 3.
    pub fn level(&self) -> u8 {
        self.0.load(Ordering::SeqCst)
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
        assert_eq!(interrupt.level(), 3);
    }
}
