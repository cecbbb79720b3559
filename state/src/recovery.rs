//! Opening the journal after whatever happened to it: put aside, made anew, filled from the events of the runs.
//!
//! It knows what may be lost and where it still stands; how to write it is known to `store`.

use crate::record::{Known, Nodes};
use crate::store::{Batch, LastRun, Opened, Store};
use crate::{Event, EventKind, EventReader, NodeId, NodeRecord, RunId, StateDir, damage};
use anyhow::{Context, Result};
use indexmap::IndexMap;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::io::{BufWriter, ErrorKind, Write};
use std::path::Path;

/// A journal that can be worked with.
pub(crate) struct Recovered {
    pub(crate) store: Store,
    pub(crate) nodes: Nodes,
    pub(crate) last: Option<LastRun>,
    /// What had to be mended.
    pub(crate) notes: Vec<String>,
}

/// Opens the journal of `dir`; the caller holds its lock.
pub(crate) fn open(dir: &StateDir) -> Result<Recovered> {
    match open_whole(dir) {
        Err(error) if error.is::<damage::Damaged>() => {
            let aside = damage::set_aside(dir)?;
            let mut recovered = open_whole(dir)?;
            let note = format!("{error:#}; it was moved to `{}`, and a new one begun", aside.display());
            recovered.notes.insert(0, note);
            Ok(recovered)
        }
        recovered => recovered,
    }
}

fn open_whole(dir: &StateDir) -> Result<Recovered> {
    let Opened { store, records, last, is_older, lost } = Store::open(dir)?;
    let mut nodes = Nodes::with_capacity_and_hasher(records.len(), <_>::default());
    nodes.extend(records.into_iter().map(|(node, record)| (node, Known::from(record))));
    let mut recovered = Recovered { store, nodes, last, notes: Vec::new() };
    // Events are written alike by all: an older journal has those that the file of its last run may have lost.
    let of_older =
        || dir.runs().map(|runs| runs.last().map(|id| LastRun { id: *id, length: 0, ended: false }));
    if let Some(last) = if is_older { of_older()? } else { last } {
        recovered.mend_events(dir, last, is_older)?;
    }
    if lost > 0 || is_older || last.is_none() {
        recovered.rebuild(dir, lost, is_older)?;
        recovered.store.set_schema()?;
    }
    Ok(recovered)
}

impl Recovered {
    /// Makes the events file of a run that was cut off hold all that the journal holds of it.
    /// What cannot be read of it goes, unless the journal may know nothing of the run.
    fn mend_events(&mut self, dir: &StateDir, last: LastRun, is_older: bool) -> Result<()> {
        let path = dir.events(last.id);
        let found = match std::fs::metadata(&path) {
            // A run that ended left its file as it is now.
            Ok(file) if last.ended && file.len() == last.length => return Ok(()),
            Ok(_) => std::fs::read(&path).with_context(|| format!("`{}` cannot be read", path.display()))?,
            Err(error) if error.kind() == ErrorKind::NotFound => Vec::new(),
            Err(error) => return Err(error).with_context(|| format!("`{}` cannot be read", path.display())),
        };
        let recorded = self.store.lines(last.id)?;
        let mut lines = BTreeMap::new();
        let damaged = collect_lines(&found, &mut lines);
        let before = lines.len();
        collect_lines(&recorded, &mut lines);
        let is_more = lines.len() > before;
        if is_older && !is_more {
            return Ok(());
        }
        if is_more || damaged > 0 {
            write_anew(&path, lines.values().copied())
                .with_context(|| format!("events file `{}` cannot be mended", path.display()))?;
        }
        // The last line of a run that was killed may be torn; more than that is worth a word.
        if damaged > 1 {
            let name = path.display();
            self.notes.push(format!("events file `{name}` was damaged; it was mended from the journal"));
        }
        Ok(())
    }

    /// Takes from the events of all runs what the journal does not know, and says so.
    fn rebuild(&mut self, dir: &StateDir, lost: u64, is_older: bool) -> Result<()> {
        let runs = dir.runs()?;
        let Replay { records, ended, ignored } = replay(dir, &runs)?;
        if lost == 0 && records.is_empty() && ignored == 0 {
            // There were no runs, or none that changed anything.
            return Ok(());
        }
        let newer: Vec<_> = records.into_iter().filter_map(|entry| self.newer(entry)).collect();
        let id = runs.last().copied().max(self.last.map(|last| last.id)).unwrap_or(RunId(0));
        let length = std::fs::metadata(dir.events(id)).map_or(0, |file| file.len());
        let last = LastRun { id, length, ended };
        self.store.put(&Batch { seq: 0, lines: &[], nodes: &newer, run: last })?;
        self.store.sync()?;
        self.last = Some(last);
        let why = match lost {
            0 if is_older => "journal is new here, or was an older drover's".to_owned(),
            0 => "journal was empty after earlier runs".to_owned(),
            lost => format!("journal had lost its last {lost} commits"),
        };
        self.notes.push(format!("{why}; {} records were taken from the events of the runs", newer.len()));
        if ignored > 0 {
            self.notes
                .push(format!("{ignored} events of the runs could not be understood and were left out"));
        }
        self.nodes.extend(newer.into_iter().map(|(node, record)| (node, record.into())));
        Ok(())
    }

    /// A record that was made from events, if the journal does not know better.
    fn newer(&self, (node, mut record): (NodeId, NodeRecord)) -> Option<(NodeId, NodeRecord)> {
        if let Some(known) = self.nodes.get(&node).and_then(|known| known.record.as_ref()) {
            if (known.run, known.attempts) == (record.run, record.attempts) {
                record.fingerprint = known.fingerprint;
            }
            if known.at > record.at || *known == record {
                return None;
            }
        }
        Some((node, record))
    }
}

/// Adds the lines that are whole events by their place in the run; returns how many are not.
fn collect_lines<'a>(text: &'a [u8], lines: &mut BTreeMap<u64, &'a [u8]>) -> usize {
    #[derive(Deserialize)]
    struct Place {
        seq: u64,
    }
    let mut damaged = 0;
    for line in text.split_inclusive(|byte| *byte == b'\n') {
        match serde_json::from_slice::<Place>(line) {
            Ok(place) if line.ends_with(b"\n") => drop(lines.insert(place.seq, line)),
            _ => damaged += 1,
        }
    }
    damaged
}

fn write_anew<'a>(path: &Path, lines: impl Iterator<Item = &'a [u8]>) -> Result<()> {
    let parent = path.parent().context("events file has no directory")?;
    crate::directory::make(parent, 0o700)?;
    let mut file = BufWriter::new(tempfile::NamedTempFile::new_in(parent)?);
    for line in lines {
        file.write_all(line)?;
    }
    let file = file.into_inner()?;
    file.as_file().sync_all()?;
    file.persist(path)?;
    Ok(())
}

/// What the events of all runs say.
#[derive(Default)]
struct Replay {
    records: IndexMap<NodeId, NodeRecord>,
    /// Whether the last run ended by itself.
    ended: bool,
    /// How many events could not be used.
    ignored: usize,
}

fn replay(dir: &StateDir, runs: &[RunId]) -> Result<Replay> {
    let mut replay = Replay::default();
    for run in runs {
        let mut reader = EventReader::new(dir, *run);
        replay.ended = false;
        for event in reader.read()? {
            replay.take(&event);
        }
        replay.ignored += reader.damaged();
    }
    Ok(replay)
}

impl Replay {
    fn take(&mut self, event: &Event) {
        self.ended |= matches!(event.kind, EventKind::RunFinished { .. });
        let Some(node) = event.kind.node() else { return };
        // The fingerprint is not in the events: whether the step still reads the same is not known.
        match NodeRecord::after(self.records.get(node), event, None) {
            Ok(Some(record)) => drop(self.records.insert(node.clone(), record)),
            Ok(None) => {}
            Err(_) => self.ignored += 1,
        }
    }
}
