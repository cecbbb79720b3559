//! What is known of a node, as a pure function of the events about it.
//!
//! No I/O: the same table serves the run, the journal that is read back, and the reports.

use crate::{EventKind, Outcome};
use anyhow::{Result, bail};
use serde::{Deserialize, Serialize};

/// What the journal says of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Status {
    /// Nothing is recorded.
    #[default]
    Unknown,
    /// It was started, and no end is recorded: it runs now, or its run was killed.
    Started,
    /// It ended well.
    Done,
    /// Its last attempt failed.
    Failed,
    /// Its last attempt was interrupted.
    Interrupted,
}

impl Status {
    /// The status after `event`, or an error if that cannot follow.
    ///
    /// A node may be started whatever was recorded, since the world decides; but it changes the world only between
    /// a start and an end.
    pub fn next(self, event: &EventKind) -> Result<Self> {
        Ok(match (self, event) {
            (_, EventKind::Started { .. }) => Self::Started,
            (
                Self::Started,
                EventKind::Retrying { .. }
                | EventKind::Silent { .. }
                | EventKind::Remark { .. }
                | EventKind::Warning { .. }
                | EventKind::Programs { .. },
            ) => Self::Started,
            (status, EventKind::Finished { outcome, .. }) => status.ended(outcome)?,
            (status, EventKind::RunStarted { .. } | EventKind::RunFinished { .. }) => status,
            (status, event) => bail!("event {event:?} cannot follow status {status:?}"),
        })
    }

    fn ended(self, outcome: &Outcome) -> Result<Self> {
        Ok(match (self, outcome) {
            (_, Outcome::Unchanged | Outcome::Adopted | Outcome::TakenOver) => Self::Done,
            (Self::Started, Outcome::Changed | Outcome::Drifted) => Self::Done,
            (_, Outcome::Undone | Outcome::Kept) => Self::Unknown,
            // A failed check or precondition comes before any start.
            (_, Outcome::Failed { .. }) => Self::Failed,
            (_, Outcome::Interrupted) => Self::Interrupted,
            // Not tried: what was known stays known.
            (status, Outcome::Blocked { .. }) => status,
            (status, outcome) => bail!("outcome `{}` cannot follow status {status:?}", outcome.word()),
        })
    }
}
