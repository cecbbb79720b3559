//! The run that is on: what was taken and not written yet, and in which order it is written.
//!
//! It does not know what is recorded of nodes; it knows which events cannot wait.

use crate::event::uptime;
use crate::event_file::EventWriter;
use crate::store::{Batch, LastRun, Store};
use crate::{Event, EventKind, NodeId, NodeRecord, Outcome, RunId, StateDir};
use anyhow::{Result, bail};
use jiff::Timestamp;
use std::fs::File;
use std::io::Write;
use std::path::Path;

/// Events that changed nothing are kept back for so many milliseconds at the most before others see them,
const PATIENCE: i64 = 100;
/// and while they are not more bytes than these.
const ROOM: usize = 64 << 10;

/// The run that is on.
#[derive(Debug)]
pub(crate) struct Current {
    run: LastRun,
    seq: u64,
    file: EventWriter,
    /// Events that are not written yet, as lines for the events file.
    lines: Vec<u8>,
    /// Those of them that the journal keeps.
    kept: Vec<u8>,
    /// The place of the first of those.
    kept_seq: u64,
    /// What they did to nodes.
    records: Vec<(NodeId, NodeRecord)>,
    /// The time of the last event that was placed, and as text.
    now: Timestamp,
    now_text: String,
    written: Timestamp,
    /// Whether this run has changed the world, or is about to.
    changed: bool,
    /// Whether writing has failed: what came after it would leave a gap.
    failed: bool,
}

impl Current {
    pub(crate) fn begin(dir: &StateDir, id: RunId) -> Result<Self> {
        Ok(Self {
            run: LastRun { id, length: 0, ended: false },
            seq: 0,
            file: EventWriter::create(dir, id)?,
            lines: Vec::new(),
            kept: Vec::new(),
            kept_seq: 0,
            records: Vec::new(),
            now: Timestamp::UNIX_EPOCH,
            now_text: Timestamp::UNIX_EPOCH.to_string(),
            written: Timestamp::UNIX_EPOCH,
            changed: false,
            failed: false,
        })
    }

    pub(crate) fn id(&self) -> RunId {
        self.run.id
    }

    /// The file of its events.
    pub(crate) fn held(&self) -> (&File, &Path) {
        self.file.held()
    }

    /// What is recorded of it now.
    pub(crate) fn run(&self) -> LastRun {
        self.run
    }

    /// Gives an event its place and time.
    pub(crate) fn place(&mut self, kind: EventKind) -> Result<Event> {
        let now = Timestamp::from_millisecond(Timestamp::now().as_millisecond())?;
        if now != self.now {
            (self.now, self.now_text) = (now, now.to_string());
        }
        Ok(Event { run: self.run.id, seq: self.seq, at: now, up: Some(uptime()), kind })
    }

    /// Takes an event that was placed, and what it made of its node.
    pub(crate) fn add(&mut self, event: &Event, record: Option<NodeRecord>) -> Result<()> {
        let start = self.lines.len();
        // The same as the event's own serialization, which would buffer its kind to flatten it.
        write!(self.lines, "{{\"run\":{},\"seq\":{},\"at\":\"{}\",", self.run.id, self.seq, self.now_text)?;
        if let Some(up) = event.up {
            write!(self.lines, "\"up\":{up},")?;
        }
        let brace = self.lines.len();
        serde_json::to_writer(&mut self.lines, &event.kind)?;
        self.lines.remove(brace);
        self.lines.push(b'\n');
        let ended = matches!(event.kind, EventKind::RunFinished { .. });
        if cannot_wait(&event.kind) || (ended && self.changed) {
            if self.kept.is_empty() {
                self.kept_seq = self.seq;
            }
            self.kept.extend_from_slice(&self.lines[start..]);
        }
        self.records.extend(event.kind.node().cloned().zip(record));
        self.run.ended |= ended;
        self.seq += 1;
        Ok(())
    }

    /// Makes durable what cannot wait, and shows what has waited long enough.
    pub(crate) fn settle(&mut self, store: &mut Store) -> Result<()> {
        let waited = self.now.as_millisecond().abs_diff(self.written.as_millisecond());
        if !self.kept.is_empty()
            || self.run.ended
            || self.lines.len() > ROOM
            || waited > PATIENCE.unsigned_abs()
        {
            self.write_out(store)?;
        }
        Ok(())
    }

    /// Writes what was taken: to the journal, durably if it cannot wait, then where others can see it.
    pub(crate) fn write_out(&mut self, store: &mut Store) -> Result<()> {
        if self.lines.is_empty() {
            return Ok(());
        }
        if self.failed {
            bail!("nothing more can be recorded of run {} since that has failed", self.run.id);
        }
        self.failed = true;
        self.write(store)?;
        self.failed = false;
        self.lines.clear();
        self.kept.clear();
        self.records.clear();
        self.written = self.now;
        Ok(())
    }

    fn write(&mut self, store: &mut Store) -> Result<()> {
        let first_change = !self.kept.is_empty() && !self.changed;
        self.changed |= first_change;
        if first_change {
            // From here on the journal can mend the file, but for what stands in it already.
            self.file.sync()?;
        }
        self.run.length += self.lines.len() as u64;
        if !self.kept.is_empty() || !self.records.is_empty() || self.run.ended {
            let (seq, lines) = (self.kept_seq, self.kept.as_slice());
            store.put(&Batch { seq, lines, nodes: &self.records, run: self.run })?;
        }
        if !self.kept.is_empty() {
            store.sync()?;
        }
        self.file.append(&self.lines)?;
        if self.run.ended && self.changed {
            self.file.sync()?;
            store.sync_mark()?;
        }
        Ok(())
    }
}

/// Whether it must be durable before anybody goes on: it says that the world was changed, or is about to be.
fn cannot_wait(kind: &EventKind) -> bool {
    match kind {
        EventKind::Started { .. } => true,
        EventKind::RunStarted { .. }
        | EventKind::RunFinished { .. }
        | EventKind::Retrying { .. }
        | EventKind::Silent { .. }
        | EventKind::Remark { .. }
        | EventKind::Warning { .. }
        | EventKind::Programs { .. } => false,
        EventKind::Finished { outcome, .. } => {
            !matches!(outcome, Outcome::Unchanged | Outcome::Adopted | Outcome::Blocked { .. })
        }
    }
}
