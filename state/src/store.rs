//! The journal's database: sled, written so that what was acknowledged survives a kill and a power cut.
//!
//! sled's own flush does not reach the disk on Linux: it ends with `sync_file_range`, so every commit is followed by
//! an `fdatasync` of the database file. It knows keys and values, not what events mean.

use crate::damage::{calmly, explain};
use crate::pack::{ROOM, pack, unpack};
use crate::seal::{ALIKE, SCHEMA, seal, unseal, unseal_any};
use crate::{NodeId, NodeRecord, RunId, StateDir, damage, high::HighMark};
use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use std::fs::{File, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// The run that was written last. How it stands in the database follows from the order of its fields: to change that is
/// to change the schema.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct LastRun {
    pub(crate) id: RunId,
    /// How many bytes its events file has.
    pub(crate) length: u64,
    /// Whether it ended by itself.
    pub(crate) ended: bool,
}

/// Where the number of the last commit is kept, and the run that it was part of.
const LAST: &str = "last";
/// So many values are quickly read, however few nodes there are;
const FEW: usize = 16;
/// of more, there may be one for so many nodes, which is a quarter of what a value holds.
const DENSE: usize = 16;

/// A journal that a newer Drover wrote, which is left as it is. Found with `error.is::<Newer>()`.
#[derive(Debug)]
pub(crate) struct Newer {
    path: PathBuf,
    schema: u16,
}

impl std::fmt::Display for Newer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "journal `{}` was written by a newer drover (schema {}, this one knows {SCHEMA}); use that one, or give \
             another directory with `--state DIR`",
            self.path.display(),
            self.schema
        )
    }
}

impl std::error::Error for Newer {}

/// What is written together.
pub(crate) struct Batch<'a> {
    /// The place in the run of the first event,
    pub(crate) seq: u64,
    /// and the events, as lines.
    pub(crate) lines: &'a [u8],
    pub(crate) nodes: &'a [(NodeId, NodeRecord)],
    pub(crate) run: LastRun,
}

/// The database.
///
/// `events` has what changed the world, as lines of JSON, by run, place in the run, and part, all big-endian; `nodes`
/// has records of nodes, by commit and part, of which the last one of a node counts; `meta` says how far it goes.
///
/// There are no transactions: sled gives them a write of their own to the disk, which doubles the cost of a commit.
/// What is written is written in order, each record is judged alone, and what is there without having been
/// acknowledged is true all the same: a node that was started, or one that is done.
#[derive(Debug)]
pub(crate) struct Store {
    events: sled::Tree,
    nodes: sled::Tree,
    meta: sled::Tree,
    db: sled::Db,
    file: File,
    path: PathBuf,
    data: PathBuf,
    commit: u64,
    /// In how many values the records are.
    values: usize,
    high: HighMark,
}

/// What stands in a database that was opened.
pub(crate) struct Opened {
    pub(crate) store: Store,
    /// Records of nodes, the last one of each behind all others.
    pub(crate) records: Vec<(NodeId, NodeRecord)>,
    pub(crate) last: Option<LastRun>,
    /// Whether an older Drover wrote it, in another way: then there are no records.
    pub(crate) is_older: bool,
    /// How many commits are missing that once were there.
    pub(crate) lost: u64,
}

impl Store {
    /// Opens what is there, or makes it. The caller holds the lock.
    pub(crate) fn open(dir: &StateDir) -> Result<Opened> {
        calmly(|| Self::open_loudly(dir))
    }

    /// As [`Store::open`], but that the database may panic.
    fn open_loudly(dir: &StateDir) -> Result<Opened> {
        let path = dir.journal();
        let is_new = !path.join("db").exists();
        damage::prepare(&path)?;
        let db = damage::open(&path)?;
        let tree = |name| db.open_tree(name).map_err(|error| explain(error, &path));
        let (events, nodes, meta) = (tree("events")?, tree("nodes")?, tree("meta")?);
        if is_new {
            sync_directories(&path)?;
        }
        let file = open_data(&path)?;
        close_to_others(&path)?;
        let high = HighMark::open(&dir.high())?;
        let data = path.join("db");
        let mut store = Self { events, nodes, meta, db, file, path, data, commit: 0, values: 0, high };
        let is_older = store.is_older()?;
        if is_older {
            store.forget()?;
        }
        let (commit, last) = store.meta(LAST, read_last)?.unzip();
        let lost = if is_older { 0 } else { store.high.value().saturating_sub(commit.unwrap_or(0)) };
        let (records, newest) = store.records()?;
        // Numbers that were given once are not given again, also not one of which a kill has left a part.
        store.commit = store.high.value().max(commit.unwrap_or(0)).max(newest);
        Ok(Opened { store, records, last, is_older, lost })
    }

    /// The file that is written, wherever its name leads by now.
    pub(crate) fn held(&self) -> (&File, &Path) {
        (&self.file, &self.data)
    }

    /// Writes a batch. It may already be seen; a kill may still tear it, and a power cut undo it.
    pub(crate) fn put(&mut self, batch: &Batch<'_>) -> Result<()> {
        let (commit, values) = (self.commit + 1, pack(batch.nodes)?);
        let last = postcard::to_allocvec(&(commit, batch.run)).context("run cannot be written")?;
        let write = || {
            for (part, value) in (0..).zip(&values) {
                self.nodes.insert(node_key(commit, part), value.as_slice())?;
            }
            for (part, chunk) in (0..).zip(batch.lines.chunks(ROOM)) {
                self.events.insert(event_key(batch.run.id, batch.seq, part), seal(chunk))?;
            }
            self.meta.insert(LAST, seal(&last))
        };
        calmly(|| write().map_err(|error| explain(error, &self.path)))?;
        self.commit = commit;
        self.values += values.len();
        Ok(())
    }

    /// Whether the records of so many nodes lie in more values than are quickly read.
    pub(crate) fn is_scattered(&self, nodes: usize) -> bool {
        self.values > FEW + nodes / DENSE
    }

    /// Writes the records of all nodes anew, in as few values as hold them, in place of those that are there.
    pub(crate) fn gather(&mut self, nodes: &[(NodeId, NodeRecord)], run: LastRun) -> Result<()> {
        let keys = || self.nodes.iter().keys().collect::<sled::Result<Vec<_>>>();
        let keys = calmly(|| keys().map_err(|error| explain(error, &self.path)))?;
        self.put(&Batch { seq: 0, lines: &[], nodes, run })?;
        self.sync()?;
        // Only now: whatever is left of them when this is cut short, what stands behind it says the same.
        let remove = || keys.iter().try_for_each(|key| self.nodes.remove(key).map(drop));
        calmly(|| remove().map_err(|error| explain(error, &self.path)))?;
        self.values -= keys.len();
        self.sync()
    }

    /// Makes all that was put durable.
    pub(crate) fn sync(&mut self) -> Result<()> {
        calmly(|| self.db.flush().map_err(|error| explain(error, &self.path)))?;
        self.file.sync_data().map_err(|error| explain(error.into(), &self.path))?;
        self.high.raise(self.commit)
    }

    /// Makes the mark of how far the journal has gone durable, too.
    pub(crate) fn sync_mark(&self) -> Result<()> {
        self.high.sync()
    }

    /// The events of a run that are kept here, as lines. The last one may be torn.
    pub(crate) fn lines(&self, run: RunId) -> Result<Vec<u8>> {
        calmly(|| {
            let mut lines = Vec::new();
            for chunk in self.events.scan_prefix(run.0.to_be_bytes()) {
                let (_, chunk) = chunk.map_err(|error| explain(error, &self.path))?;
                lines.extend_from_slice(unseal(&chunk).map_err(damage::found)?);
            }
            Ok(lines)
        })
    }

    /// Notes that what is there is written as this Drover writes it.
    pub(crate) fn set_schema(&self) -> Result<()> {
        let schema = seal(&u64::from(SCHEMA).to_le_bytes());
        self.meta.insert("schema", schema).map(drop).map_err(|error| explain(error, &self.path))
    }

    /// Drops what an older Drover wrote in another way.
    fn forget(&self) -> Result<()> {
        let forget = || self.meta.remove(LAST).and_then(|_| self.nodes.clear());
        forget().map_err(|error| explain(error, &self.path))
    }

    /// Whether an older Drover wrote it.
    fn is_older(&self) -> Result<bool> {
        let value = self.meta.get("schema").map_err(|error| explain(error, &self.path))?;
        let Some(value) = value else { return Ok(true) };
        let (schema, payload) = unseal_any(&value).map_err(damage::found)?;
        let told = payload.try_into().ok().map(u64::from_le_bytes);
        if told == Some(u64::from(schema)) && schema > SCHEMA {
            return Err(Newer { path: self.path.clone(), schema }.into());
        }
        let told = told.filter(|told| schema <= SCHEMA && *told <= u64::from(SCHEMA));
        let told = told.context("the journal does not say how it is written").map_err(damage::found)?;
        if told < u64::from(SCHEMA) && told >= u64::from(ALIKE) {
            self.set_schema()?;
        }
        Ok(told < u64::from(ALIKE))
    }

    /// All records, and the last commit that any of them is part of.
    fn records(&mut self) -> Result<(Vec<(NodeId, NodeRecord)>, u64)> {
        let (mut records, mut newest) = (Vec::new(), 0);
        for entry in &self.nodes {
            let (key, value) = entry.map_err(|error| explain(error, &self.path))?;
            let commit = key.first_chunk().context("key of a record is too short").map_err(damage::found)?;
            newest = u64::from_be_bytes(*commit);
            unpack(&value, &mut records).map_err(damage::found)?;
            self.values += 1;
        }
        Ok((records, newest))
    }

    fn meta<T>(&self, name: &str, read: impl FnOnce(&[u8]) -> Result<T>) -> Result<Option<T>> {
        let value = self.meta.get(name).map_err(|error| explain(error, &self.path))?;
        value.map(|value| unseal(&value).and_then(read)).transpose().map_err(damage::found)
    }
}

fn read_last(bytes: &[u8]) -> Result<(u64, LastRun)> {
    postcard::from_bytes(bytes).context("last run cannot be read")
}

/// Big-endian, so that the order of keys is that of history.
fn node_key(commit: u64, part: u16) -> [u8; 10] {
    let mut key = [0; 10];
    key[..8].copy_from_slice(&commit.to_be_bytes());
    key[8..].copy_from_slice(&part.to_be_bytes());
    key
}

/// As [`node_key`].
fn event_key(run: RunId, seq: u64, part: u16) -> [u8; 14] {
    let mut key = [0; 14];
    key[..4].copy_from_slice(&run.0.to_be_bytes());
    key[4..12].copy_from_slice(&seq.to_be_bytes());
    key[12..].copy_from_slice(&part.to_be_bytes());
    key
}

/// A second descriptor of the database's file: flushing it flushes what sled wrote through its own.
fn open_data(path: &Path) -> Result<File> {
    let data = path.join("db");
    File::open(&data).with_context(|| format!("`{}` cannot be opened", data.display()))
}

/// What the database makes, it makes for everybody to read.
fn close_to_others(path: &Path) -> Result<()> {
    let close = |path: &Path, mode| {
        let closed = std::fs::set_permissions(path, Permissions::from_mode(mode));
        closed.with_context(|| format!("`{}` cannot be closed to others", path.display()))
    };
    close(path, 0o700)?;
    for entry in std::fs::read_dir(path).with_context(|| format!("`{}` cannot be read", path.display()))? {
        let entry = entry.with_context(|| format!("`{}` cannot be read", path.display()))?;
        match entry.file_type().with_context(|| format!("`{}` cannot be read", path.display()))? {
            kind if kind.is_dir() => close(&entry.path(), 0o700)?,
            kind if kind.is_file() => close(&entry.path(), 0o600)?,
            _ => {}
        }
    }
    Ok(())
}

/// The names of new files are durable only once their directories are.
fn sync_directories(path: &Path) -> Result<()> {
    for directory in path.ancestors().take(2) {
        File::open(directory)
            .and_then(|directory| directory.sync_all())
            .with_context(|| format!("directory `{}` cannot be flushed", directory.display()))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{EventKind, Journal, Lock, Outcome, Status, check, repair};
    use anyhow::bail;
    use jiff::Timestamp;

    fn record(attempts: u32) -> NodeRecord {
        let at = Timestamp::UNIX_EPOCH;
        NodeRecord { status: Status::Done, fingerprint: None, run: RunId(1), attempts, millis: None, at }
    }

    #[test]
    fn what_a_kill_left_of_a_commit_never_counts_more_than_a_later_one() -> Result<()> {
        let scratch = tempfile::tempdir()?;
        let dir = StateDir::open(scratch.path())?;
        let node = NodeId::new("host", "bridge");
        let store = Store::open(&dir)?.store;
        let torn = pack(&[(node.clone(), record(1))])?.remove(0);
        store.nodes.insert(node_key(store.commit + 1, 3), torn)?;
        store.set_schema()?;
        drop(store);
        let mut store = Store::open(&dir)?.store;
        let run = LastRun { id: RunId(1), length: 0, ended: false };
        store.put(&Batch { seq: 0, lines: &[], nodes: &[(node.clone(), record(2))], run })?;
        drop(store);
        assert_eq!(Store::open(&dir)?.records.last(), Some(&(node, record(2))));
        Ok(())
    }

    #[test]
    fn records_that_lie_scattered_are_gathered() -> Result<()> {
        let scratch = tempfile::tempdir()?;
        let dir = StateDir::open(scratch.path())?;
        let mut journal = Journal::open(&dir, Lock::acquire(&dir)?)?.0;
        let nodes: Vec<_> = (0..100).map(|number| NodeId::new("host", &format!("step-{number}"))).collect();
        journal.begin_run("pair", "none", nodes.iter().map(|node| (node.clone(), 7)).collect())?;
        for node in &nodes {
            let started =
                EventKind::Started { node: node.clone(), attempt: 1, reason: String::new(), diff: None };
            journal.commit(vec![started])?;
        }
        journal.commit(vec![EventKind::RunFinished { code: 0 }])?;
        let before: Vec<_> = journal.nodes().map(|(node, record)| (node.clone(), record.clone())).collect();
        journal.close()?;
        let opened = Store::open(&dir)?;
        assert!(opened.store.values < FEW && opened.store.values == opened.store.nodes.len());
        assert_eq!(opened.records, before);
        Ok(())
    }

    #[test]
    fn a_gathering_that_is_cut_short_changes_no_record() -> Result<()> {
        let scratch = tempfile::tempdir()?;
        let dir = StateDir::open(scratch.path())?;
        let mut store = Store::open(&dir)?.store;
        store.set_schema()?;
        let node = |number: u32| NodeId::new("host", &number.to_string());
        let run = LastRun { id: RunId(1), length: 0, ended: true };
        for number in 0..40 {
            let nodes = [(node(number % 20), record(number))];
            store.put(&Batch { seq: 0, lines: &[], nodes: &nodes, run })?;
        }
        let newest: Vec<_> = (0..20).map(|number| (node(number), record(number + 20))).collect();
        let keys: Vec<_> = store.nodes.iter().keys().collect::<sled::Result<_>>()?;
        store.put(&Batch { seq: 0, lines: &[], nodes: &newest, run })?;
        for (removed, key) in keys.iter().enumerate() {
            let records = store.records()?.0;
            let last =
                |wanted: &NodeId| records.iter().rfind(|(node, _)| node == wanted).map(|(_, it)| it.clone());
            assert!(newest.iter().all(|(node, it)| last(node).as_ref() == Some(it)), "{removed} are removed");
            store.nodes.remove(key)?;
        }
        assert_eq!(store.records()?.0, newest);
        Ok(())
    }

    #[test]
    fn events_of_an_earlier_run_that_cannot_be_read_are_found_and_the_journal_is_begun_anew() -> Result<()> {
        let scratch = tempfile::tempdir()?;
        let dir = StateDir::open(scratch.path())?;
        let node = NodeId::new("host", "bridge");
        for attempt in 1..=2 {
            let mut journal = Journal::open(&dir, Lock::acquire(&dir)?)?.0;
            journal.begin_run("pair", "none", vec![(node.clone(), 7)])?;
            let started =
                EventKind::Started { node: node.clone(), attempt, reason: String::new(), diff: None };
            let finished = EventKind::Finished { node: node.clone(), outcome: Outcome::Changed, millis: 5 };
            journal.commit(vec![started, finished, EventKind::RunFinished { code: 0 }])?;
        }
        let recorded = Journal::open(&dir, Lock::acquire(&dir)?)?.0.node(&node).cloned();
        assert_eq!(recorded.as_ref().and_then(|record| record.fingerprint), Some(7));
        for is_file_damaged in [false, true] {
            let store = Store::open(&dir)?.store;
            store.events.insert(event_key(RunId(1), 0, 0), b"not sealed")?;
            drop(store);
            let lines = std::fs::read_to_string(dir.events(RunId(1)))?;
            if is_file_damaged {
                std::fs::write(dir.events(RunId(1)), format!("{lines}garbled\n"))?;
            }
            assert!(Journal::open(&dir, Lock::acquire(&dir)?)?.1.is_empty(), "no run finds out");
            assert_eq!(check(&dir)?.0.len(), 1 + usize::from(is_file_damaged));
            let told = repair(dir.path())?;
            assert!(
                told.iter().any(|line| line.contains("the events of run 1; it was moved to")),
                "{told:?}"
            );
            assert_eq!(check(&dir)?.0, []);
            assert_eq!(std::fs::read_to_string(dir.events(RunId(1)))?, lines);
            let (journal, notes) = Journal::open(&dir, Lock::acquire(&dir)?)?;
            assert_eq!((journal.node(&node), notes), (recorded.as_ref(), Vec::new()), "nothing is lost");
        }
        Ok(())
    }

    #[test]
    fn how_the_last_run_is_written_is_part_of_the_schema() -> Result<()> {
        let last = (300, LastRun { id: RunId(2), length: 129, ended: true });
        let bytes = [0xac, 0x02, 0x02, 0x81, 0x01, 0x01];
        assert_eq!((postcard::to_allocvec(&last)?, read_last(&bytes)?), (bytes.to_vec(), last));
        Ok(())
    }

    #[test]
    fn an_older_journal_is_made_anew_from_the_events() -> Result<()> {
        let scratch = tempfile::tempdir()?;
        let dir = StateDir::open(scratch.path())?;
        let mut journal = Journal::open(&dir, Lock::acquire(&dir)?)?.0;
        let node = NodeId::new("host", "bridge");
        journal.begin_run("pair", "none", vec![(node.clone(), 7)])?;
        let started =
            EventKind::Started { node: node.clone(), attempt: 1, reason: String::new(), diff: None };
        let finished = EventKind::Finished { node: node.clone(), outcome: Outcome::Changed, millis: 5 };
        journal.commit(vec![started, finished])?;
        let written = journal.node(&node).cloned().context("nothing is recorded")?;
        drop(journal);
        // The file of events lost its end in a power cut: the older journal still has it.
        let file = std::fs::OpenOptions::new().write(true).open(dir.events(RunId(1)))?;
        file.set_len(file.metadata()?.len() - 10)?;
        let store = Store::open(&dir)?.store;
        store.meta.insert("schema", seal(&2u64.to_le_bytes()))?;
        store.meta.insert(LAST, seal(b"of another form"))?;
        store.nodes.insert("host/bridge", seal(b"of another form"))?;
        drop(store);
        for told in [1, 0] {
            let (journal, notes) = Journal::open(&dir, Lock::acquire(&dir)?)?;
            assert_eq!(notes.len(), told, "{notes:?}");
            assert_eq!(journal.node(&node), Some(&NodeRecord { fingerprint: None, ..written.clone() }));
        }
        Ok(())
    }

    #[test]
    fn a_newer_journal_is_left_alone_and_one_that_only_says_so_is_damaged() -> Result<()> {
        let newer = (SCHEMA + 1).to_le_bytes();
        let payload = (u64::from(SCHEMA) + 1).to_le_bytes();
        // As a newer drover seals it: its own schema stands before it, too.
        let theirs = [&newer[..], &crc32fast::hash(&payload).to_le_bytes(), &payload].concat();
        let flipped = [&newer[..], &seal(&u64::from(SCHEMA).to_le_bytes())[2..]].concat();
        for (value, is_newer) in [(theirs, true), (flipped, false), (seal(&payload), false)] {
            let scratch = tempfile::tempdir()?;
            let dir = StateDir::open(scratch.path())?;
            let store = Store::open(&dir)?.store;
            store.meta.insert("schema", value)?;
            drop(store);
            let Err(error) = Store::open(&dir) else { bail!("it was opened") };
            assert_eq!(error.is::<Newer>(), is_newer, "{error:#}");
            assert_eq!(error.is::<damage::Damaged>(), !is_newer, "{error:#}");
        }
        Ok(())
    }
}
