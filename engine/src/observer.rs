//! Who watches a run: a display, most of the time.
//!
//! It does not know where the events come from.

use crate::Leftover;
use drover_state::{Event, NodeId};

/// Who watches a run. All is called by the coordinator's thread, and holds it up.
pub trait Observer {
    /// Something happened, and is recorded.
    fn event(&mut self, event: &Event);

    /// The last line that a step wrote.
    fn line(&mut self, node: &NodeId, line: &str);

    /// How far a step is: `done` of `total`.
    fn progress(&mut self, node: &NodeId, done: u64, total: u64);

    /// Time passes: called ten times a second, and whenever something happened.
    fn tick(&mut self) {}

    /// The last run was killed, and these processes that it left behind were killed as well; often none.
    fn swept(&mut self, leftovers: &[Leftover]);
}
