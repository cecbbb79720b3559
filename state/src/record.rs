//! What is remembered of a node, how it follows from events, and how it stands in the journal.
//!
//! It does not know where it is stored.

use crate::{Event, EventKind, Outcome, RunId, Status};
use anyhow::{Context, Result, bail, ensure};
use jiff::Timestamp;

/// The version of what stands in the journal. Older ones are read, newer ones refused.
pub(crate) const SCHEMA: u16 = 2;

/// What the journal remembers of a node.
#[derive(Clone, Debug, PartialEq, Eq)]
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
    pub at: Timestamp,
}

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

    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(48);
        bytes.push(status_code(self.status));
        bytes.extend_from_slice(&self.run.0.to_le_bytes());
        bytes.extend_from_slice(&self.attempts.to_le_bytes());
        bytes.extend_from_slice(&self.at.as_millisecond().to_le_bytes());
        for number in [self.fingerprint, self.millis] {
            bytes.push(u8::from(number.is_some()));
            bytes.extend_from_slice(&number.unwrap_or(0).to_le_bytes());
        }
        seal(&bytes)
    }

    pub(crate) fn from_bytes(sealed: &[u8]) -> Result<Self> {
        let mut fields = Fields(unseal(sealed)?);
        let record = Self {
            status: status_of(fields.take::<1>()?[0])?,
            run: RunId(u32::from_le_bytes(fields.take()?)),
            attempts: u32::from_le_bytes(fields.take()?),
            at: Timestamp::from_millisecond(i64::from_le_bytes(fields.take()?))?,
            fingerprint: fields.number()?,
            millis: fields.number()?,
        };
        ensure!(fields.0.is_empty(), "record is too long");
        Ok(record)
    }
}

/// Puts the schema and a checksum before a value.
pub(crate) fn seal(payload: &[u8]) -> Vec<u8> {
    let mut sealed = Vec::with_capacity(payload.len() + 6);
    sealed.extend_from_slice(&SCHEMA.to_le_bytes());
    sealed.extend_from_slice(&crc32fast::hash(payload).to_le_bytes());
    sealed.extend_from_slice(payload);
    sealed
}

/// The value that was sealed, if it is whole.
pub(crate) fn unseal(sealed: &[u8]) -> Result<&[u8]> {
    let mut fields = Fields(sealed);
    let schema = u16::from_le_bytes(fields.take()?);
    ensure!(schema <= SCHEMA, "record has schema {schema}; this program knows {SCHEMA}");
    let crc = u32::from_le_bytes(fields.take()?);
    ensure!(crc32fast::hash(fields.0) == crc, "record does not match its checksum");
    Ok(fields.0)
}

/// Bytes that are taken off a record one field after the other.
pub(crate) struct Fields<'a>(pub(crate) &'a [u8]);

impl Fields<'_> {
    pub(crate) fn take<const N: usize>(&mut self) -> Result<[u8; N]> {
        let (field, rest) = self.0.split_first_chunk().context("record is too short")?;
        self.0 = rest;
        Ok(*field)
    }

    fn number(&mut self) -> Result<Option<u64>> {
        let known = self.take::<1>()?[0] != 0;
        let number = u64::from_le_bytes(self.take()?);
        Ok(known.then_some(number))
    }
}

fn status_code(status: Status) -> u8 {
    match status {
        Status::Unknown => 0,
        Status::Started => 1,
        Status::Done => 2,
        Status::Failed => 3,
        Status::Interrupted => 4,
    }
}

fn status_of(code: u8) -> Result<Status> {
    Ok(match code {
        0 => Status::Unknown,
        1 => Status::Started,
        2 => Status::Done,
        3 => Status::Failed,
        4 => Status::Interrupted,
        _ => bail!("record has the unknown status {code}"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(run: u32, kind: EventKind) -> Event {
        Event { run: RunId(run), seq: 0, at: Timestamp::UNIX_EPOCH, kind }
    }

    fn finished(outcome: Outcome) -> EventKind {
        EventKind::Finished { node: "host/bridge".into(), outcome, millis: 12 }
    }

    fn started(attempt: u32) -> EventKind {
        EventKind::Started { node: "host/bridge".into(), attempt, reason: "absent".into(), diff: None }
    }

    #[test]
    fn a_record_comes_back_as_it_was_and_damage_is_seen() -> Result<()> {
        let record = NodeRecord {
            status: Status::Done,
            fingerprint: Some(u64::MAX),
            run: RunId(3),
            attempts: 2,
            millis: None,
            at: Timestamp::from_millisecond(1_790_000_000_123)?,
        };
        let bytes = record.to_bytes();
        assert_eq!(NodeRecord::from_bytes(&bytes)?, record);
        for index in 0..bytes.len() {
            let mut damaged = bytes.clone();
            damaged[index] ^= 1;
            // A lower schema would be an older one: the first byte alone may be damaged unseen, to zero.
            assert!(NodeRecord::from_bytes(&damaged).is_err() || index == 0, "byte {index}");
            assert!(NodeRecord::from_bytes(&bytes[..index]).is_err(), "length {index}");
        }
        Ok(())
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
        let blocked = event(2, finished(Outcome::Blocked { by: "host/x".into() }));
        assert_eq!(NodeRecord::after(None, &blocked, Some(6))?, None);
        assert!(NodeRecord::after(None, &event(1, finished(Outcome::Changed)), Some(5)).is_err());
        Ok(())
    }
}
