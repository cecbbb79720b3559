//! Opening the journal after whatever happened to it: put aside, made anew, filled from the events of the runs.
//!
//! It knows what may be lost and where it still stands; how to write it is known to `store`.

use crate::record::{Known, Nodes};
use crate::store::{Batch, LastRun, Newer, Opened, Store};
use crate::{Event, History, NodeId, NodeRecord, RunId, StateDir, damage};
use anyhow::{Context, Result};
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
        recovered => recovered.map_err(|error| match error.is::<Newer>() {
            true => error,
            false => error.context(format!("what is remembered cannot be used; {}", dir.way_out())),
        }),
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
            Ok(file) if file.is_file() => {
                std::fs::read(&path).with_context(|| format!("`{}` cannot be read", path.display()))?
            }
            Ok(_) => {
                self.notes.push(not_mended(dir, &path, "it is no regular file"));
                return Ok(());
            }
            Err(error) if error.kind() == ErrorKind::NotFound => Vec::new(),
            Err(error) => {
                self.notes.push(not_mended(dir, &path, &error.to_string()));
                return Ok(());
            }
        };
        let recorded = self.store.lines(last.id)?;
        let Merged { lines, damaged, added } = merge(&found, &recorded);
        if is_older && added == 0 {
            return Ok(());
        }
        if added > 0 || damaged > 0 {
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
        let history = History::read(dir)?;
        let untold = history.notes(dir);
        let History { records, ended, .. } = history;
        if lost == 0 && records.is_empty() && untold.is_empty() {
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
        self.notes.extend(untold);
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

/// What to say of a file of events that is in no state to be mended.
fn not_mended(dir: &StateDir, path: &Path, why: &str) -> String {
    format!("events file `{}` cannot be mended from the journal: {why}; {}", path.display(), dir.way_out())
}

/// The events of a run, from its file and from the journal.
pub(crate) struct Merged<'a> {
    /// The lines, by their place in the run.
    pub(crate) lines: BTreeMap<u64, &'a [u8]>,
    /// How many lines of the file are no events.
    pub(crate) damaged: usize,
    /// How many the journal has that the file lacks, or has otherwise.
    pub(crate) added: usize,
}

/// Puts together what stands in the file of a run and what the journal has of it, which counts more.
pub(crate) fn merge<'a>(file: &'a [u8], journal: &'a [u8]) -> Merged<'a> {
    let (mut lines, mut recorded) = (BTreeMap::new(), BTreeMap::new());
    let damaged = collect_lines(file, &mut lines);
    collect_lines(journal, &mut recorded);
    let added = recorded.iter().filter(|(seq, line)| lines.get(seq) != Some(line)).count();
    lines.append(&mut recorded);
    Merged { lines, damaged, added }
}

/// Adds the lines that are whole events by their place in the run; returns how many are not.
fn collect_lines<'a>(text: &'a [u8], lines: &mut BTreeMap<u64, &'a [u8]>) -> usize {
    let mut damaged = 0;
    for line in text.split_inclusive(|byte| *byte == b'\n') {
        match serde_json::from_slice::<Event>(line) {
            Ok(event) if line.ends_with(b"\n") => drop(lines.insert(event.seq, line)),
            _ => damaged += 1,
        }
    }
    damaged
}

pub(crate) fn write_anew<'a>(path: &Path, lines: impl Iterator<Item = &'a [u8]>) -> Result<()> {
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
