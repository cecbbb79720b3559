//! The journal's database: sled, written so that what was acknowledged survives a kill and a power cut.
//!
//! sled's own flush does not reach the disk on Linux: it ends with `sync_file_range`, so every commit is followed by
//! an `fdatasync` of the database file. It knows keys and values, not what events mean.

use crate::record::{Fields, Known, SCHEMA, seal, unseal};
use crate::{NodeId, NodeRecord, RunId, StateDir, damage, high::HighMark};
use anyhow::{Context, Result, bail};
use std::collections::HashMap;
use std::fs::File;
use std::path::{Path, PathBuf};

/// Values stay far below the size from which sled puts them into files of their own, which it never deletes.
const CHUNK: usize = 4096;

/// The run that was written last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LastRun {
    pub(crate) id: RunId,
    /// How many bytes its events file has.
    pub(crate) length: u64,
    /// Whether it ended by itself.
    pub(crate) ended: bool,
}

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
/// has a record for each node; `meta` says how far it goes.
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
    commit: u64,
    high: HighMark,
}

/// What stands in a database that was opened.
pub(crate) struct Opened {
    pub(crate) store: Store,
    pub(crate) nodes: HashMap<NodeId, Known>,
    pub(crate) last: Option<LastRun>,
    /// How many commits are missing that once were there.
    pub(crate) lost: u64,
}

impl Store {
    /// Opens what is there, or makes it. The caller holds the lock.
    pub(crate) fn open(dir: &StateDir) -> Result<Opened> {
        let path = dir.journal();
        let is_new = !path.join("db").exists();
        damage::remove_unfinished_snapshots(&path)?;
        let db = damage::open(&path)?;
        let tree = |name| db.open_tree(name).map_err(|error| explain(error, &path));
        let (events, nodes, meta) = (tree("events")?, tree("nodes")?, tree("meta")?);
        if is_new {
            sync_directories(&path)?;
        }
        let file = open_data(&path)?;
        let high = HighMark::open(&dir.high())?;
        let mut store = Self { events, nodes, meta, db, file, path, commit: 0, high };
        store.check_schema()?;
        let (commit, last) = store.meta("last", read_last)?.unzip();
        let lost = store.high.value().saturating_sub(commit.unwrap_or(0));
        // Numbers that were given once are not given again.
        store.commit = store.high.value().max(commit.unwrap_or(0));
        let nodes = store.load_nodes()?;
        Ok(Opened { store, nodes, last, lost })
    }

    /// Writes a batch. It may already be seen; a kill may still tear it, and a power cut undo it.
    pub(crate) fn put(&mut self, batch: &Batch<'_>) -> Result<()> {
        let write = || {
            for (node, record) in batch.nodes {
                self.nodes.insert(node.as_str(), record.to_bytes())?;
            }
            for (part, chunk) in (0..).zip(batch.lines.chunks(CHUNK)) {
                self.events.insert(event_key(batch.run.id, batch.seq, part), seal(chunk))?;
            }
            self.meta.insert("last", last_bytes(self.commit + 1, batch.run))
        };
        write().map_err(|error| explain(error, &self.path))?;
        self.commit += 1;
        Ok(())
    }

    /// Makes all that was put durable.
    pub(crate) fn sync(&mut self) -> Result<()> {
        self.db.flush().map_err(|error| explain(error, &self.path))?;
        self.file.sync_data().map_err(|error| explain(error.into(), &self.path))?;
        self.high.raise(self.commit)
    }

    /// Makes the mark of how far the journal has gone durable, too.
    pub(crate) fn sync_mark(&self) -> Result<()> {
        self.high.sync()
    }

    /// The events of a run that are kept here, as lines. The last one may be torn.
    pub(crate) fn lines(&self, run: RunId) -> Result<Vec<u8>> {
        let mut lines = Vec::new();
        for chunk in self.events.scan_prefix(run.0.to_be_bytes()) {
            let (_, chunk) = chunk.map_err(|error| explain(error, &self.path))?;
            lines.extend_from_slice(unseal(&chunk).map_err(damage::found)?);
        }
        Ok(lines)
    }

    fn check_schema(&self) -> Result<()> {
        let schema = self.meta("schema", |bytes| Ok(u64::from_le_bytes(bytes.try_into()?)))?.unwrap_or(0);
        if schema > u64::from(SCHEMA) {
            bail!(
                "journal `{}` was written by a newer drover (schema {schema}, this one knows {SCHEMA}); use that \
                 one, or give another directory with `--state DIR`",
                self.path.display()
            );
        }
        if schema < u64::from(SCHEMA) {
            let schema = seal(&u64::from(SCHEMA).to_le_bytes());
            self.meta.insert("schema", schema).map_err(|error| explain(error, &self.path))?;
        }
        Ok(())
    }

    fn load_nodes(&self) -> Result<HashMap<NodeId, Known>> {
        let mut nodes = HashMap::new();
        for entry in &self.nodes {
            let (node, record) = entry.map_err(|error| explain(error, &self.path))?;
            let node = std::str::from_utf8(&node).map_err(|error| damage::found(error.into()))?;
            let record = NodeRecord::from_bytes(&record).map_err(damage::found)?;
            nodes.insert(NodeId::from(node), record.into());
        }
        Ok(nodes)
    }

    fn meta<T>(&self, name: &str, read: impl FnOnce(&[u8]) -> Result<T>) -> Result<Option<T>> {
        let value = self.meta.get(name).map_err(|error| explain(error, &self.path))?;
        value.map(|value| unseal(&value).and_then(read)).transpose().map_err(damage::found)
    }
}

fn last_bytes(commit: u64, run: LastRun) -> Vec<u8> {
    let mut bytes = commit.to_le_bytes().to_vec();
    bytes.extend_from_slice(&run.id.0.to_le_bytes());
    bytes.extend_from_slice(&run.length.to_le_bytes());
    bytes.push(u8::from(run.ended));
    seal(&bytes)
}

fn read_last(bytes: &[u8]) -> Result<(u64, LastRun)> {
    let mut fields = Fields(bytes);
    let commit = u64::from_le_bytes(fields.take()?);
    let run = LastRun {
        id: RunId(u32::from_le_bytes(fields.take()?)),
        length: u64::from_le_bytes(fields.take()?),
        ended: fields.take::<1>()? != [0],
    };
    Ok((commit, run))
}

/// Big-endian, so that the order of keys is that of history.
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

/// The names of new files are durable only once their directories are.
fn sync_directories(path: &Path) -> Result<()> {
    for directory in path.ancestors().take(2) {
        File::open(directory)
            .and_then(|directory| directory.sync_all())
            .with_context(|| format!("directory `{}` cannot be flushed", directory.display()))?;
    }
    Ok(())
}

/// What to say of a full disk.
pub(crate) fn no_space(path: &Path) -> String {
    format!(
        "`{}` cannot be written: no space is left on its disk; free some and run again, nothing that was recorded is \
         lost",
        path.display()
    )
}

/// What an error of sled means for the user.
pub(crate) fn explain(error: sled::Error, path: &Path) -> anyhow::Error {
    let text = error.to_string();
    if text.contains("StorageFull") || text.contains("code: 28") || text.contains("os error 28") {
        return anyhow::Error::new(error).context(no_space(path));
    }
    match error {
        sled::Error::Io(_) | sled::Error::Unsupported(_) => {
            anyhow::Error::new(error).context(format!("journal `{}` cannot be used", path.display()))
        }
        damaged => damage::found(damaged.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_newer_journal_is_left_alone() -> Result<()> {
        let scratch = tempfile::tempdir()?;
        let dir = StateDir::open(scratch.path())?;
        let store = Store::open(&dir)?.store;
        store.meta.insert("schema", seal(&3u64.to_le_bytes()))?;
        drop(store);
        let Err(error) = Store::open(&dir) else { bail!("it was opened") };
        assert!(error.to_string().contains("newer drover (schema 3"), "{error:#}");
        assert!(!error.is::<damage::Damaged>());
        Ok(())
    }
}
