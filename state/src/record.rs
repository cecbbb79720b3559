//! What is remembered of a node, and how it follows from events.
//!
//! It does not know where it is stored.

use crate::{Event, EventKind, NodeId, Outcome, RunId, Status};
use anyhow::Result;
use indexmap::IndexMap;
use jiff::Timestamp;
use jiff::fmt::serde::timestamp::millisecond;
use serde::{Deserialize, Serialize};

/// What the journal remembers of a node. How it stands in the database follows from the order of its fields, and of the
/// variants of [`Status`]: to change that is to change the schema.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeRecord {
    /// How its last attempt ended, if it did.
    pub status: Status,
    /// The fingerprint of the step that was last started or found done; `None` if it is not known, as after the
    /// journal had to be rebuilt from the events.
    pub fingerprint: Option<u64>,
    /// The run that last changed this record. Being found unchanged does not.
    pub run: RunId,
    /// How often it was started, over all runs since it was last undone. Not at all: what is there is somebody else's.
    pub attempts: u32,
    /// How long it took when it was last done, check and all, in milliseconds.
    pub millis: Option<u64>,
    /// When this record last changed.
    #[serde(with = "millisecond::required")]
    pub at: Timestamp,
}

/// What is known of each node while the journal is open, in the order in which they came first: mostly that of the plan.
pub(crate) type Nodes = IndexMap<NodeId, Known, foldhash::fast::RandomState>;

/// What is known of a node while the journal is open.
#[derive(Debug, Default)]
pub(crate) struct Known {
    pub(crate) record: Option<NodeRecord>,
    /// The fingerprint of its step, if it is part of the run that is on.
    pub(crate) fingerprint: Option<u64>,
}

impl From<NodeRecord> for Known {
    fn from(record: NodeRecord) -> Self {
        Self { record: Some(record), fingerprint: None }
    }
}

impl NodeRecord {
    /// The record after `event`, or `None` if the event leaves it as it is.
    ///
    /// # Errors
    /// When the event cannot follow what is recorded.
    pub fn after(old: Option<&Self>, event: &Event, fingerprint: Option<u64>) -> Result<Option<Self>> {
        let status = old.map_or(Status::Unknown, |old| old.status);
        let next = status.next(&event.kind)?;
        let mut new = old.cloned().unwrap_or_else(|| Self::unknown(event));
        new.status = next;
        match &event.kind {
            EventKind::Started { attempt, .. } => {
                new.attempts = *attempt;
                new.fingerprint = fingerprint;
            }
            EventKind::Finished { outcome, millis, .. } if outcome.is_done() => {
                new.fingerprint = fingerprint;
                if *outcome == Outcome::TakenOver {
                    new.attempts = new.attempts.max(1);
                }
                if matches!(outcome, Outcome::Changed | Outcome::Drifted) {
                    new.millis = Some(*millis);
                }
            }
            EventKind::Finished { outcome: Outcome::Undone, .. } => {
                // How long it takes is still worth knowing; what was made is made no more.
                (new.attempts, new.fingerprint) = (0, None);
            }
            _ => {}
        }
        if old == Some(&new) || (old.is_none() && next == Status::Unknown) {
            return Ok(None);
        }
        (new.run, new.at) = (event.run, event.at);
        Ok(Some(new))
    }

    /// Whether we made what is there, or at least began to.
    pub fn is_made(&self) -> bool {
        self.attempts > 0
    }

    fn unknown(event: &Event) -> Self {
        Self {
            status: Status::Unknown,
            fingerprint: None,
            run: event.run,
            attempts: 0,
            millis: None,
            at: event.at,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(run: u32, kind: EventKind) -> Event {
        Event { run: RunId(run), seq: 0, at: Timestamp::UNIX_EPOCH, up: None, kind }
    }

    fn finished(outcome: Outcome) -> EventKind {
        EventKind::Finished { node: "host/bridge".into(), outcome, millis: 12 }
    }

    fn started(attempt: u32) -> EventKind {
        EventKind::Started { node: "host/bridge".into(), attempt, reason: "absent".into(), diff: None }
    }

    #[test]
    fn unchanged_leaves_the_record_alone_unless_the_step_reads_differently() -> Result<()> {
        let first = NodeRecord::after(None, &event(1, started(1)), Some(5))?.expect("a start is recorded");
        let done = event(1, finished(Outcome::Changed));
        let done = NodeRecord::after(Some(&first), &done, Some(5))?.expect("an end is recorded");
        assert_eq!((done.status, done.attempts, done.millis), (Status::Done, 1, Some(12)));
        let unchanged = event(2, finished(Outcome::Unchanged));
        assert_eq!(NodeRecord::after(Some(&done), &unchanged, Some(5))?, None);
        let other =
            NodeRecord::after(Some(&done), &unchanged, Some(6))?.expect("a new fingerprint is recorded");
        assert_eq!((other.run, other.fingerprint), (RunId(2), Some(6)));
        let undone = event(3, finished(Outcome::Undone));
        let undone = NodeRecord::after(Some(&done), &undone, Some(5))?.expect("an undoing is recorded");
        assert_eq!((undone.status, undone.is_made(), undone.millis), (Status::Unknown, false, Some(12)));
        let kept = NodeRecord::after(Some(&done), &event(3, finished(Outcome::Kept)), Some(5))?;
        let kept = kept.expect("that something stays is recorded");
        assert_eq!((kept.status, kept.is_made()), (Status::Unknown, true));
        let adopted = NodeRecord::after(None, &event(4, finished(Outcome::Adopted)), None)?;
        let adopted = adopted.expect("what is found is recorded");
        let ours = NodeRecord::after(Some(&adopted), &event(5, finished(Outcome::TakenOver)), Some(5))?;
        let ours = ours.expect("that it is ours is recorded");
        assert_eq!((adopted.is_made(), ours.is_made(), ours.status), (false, true, Status::Done));
        let blocked = event(2, finished(Outcome::Blocked { by: "host/x".into() }));
        assert_eq!(NodeRecord::after(None, &blocked, Some(6))?, None);
        assert!(NodeRecord::after(None, &event(1, finished(Outcome::Changed)), Some(5)).is_err());
        Ok(())
    }
}
