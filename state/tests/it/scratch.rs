//! A state directory of its own for each test, and the events that tests are made of.

use anyhow::Result;
use drover_state::{EventKind, Journal, Lock, NodeId, Outcome, StateDir};
use std::path::Path;
use tempfile::TempDir;

/// A state directory that goes away with the test.
pub(crate) struct Scratch {
    pub(crate) dir: StateDir,
    _space: TempDir,
}

impl Scratch {
    pub(crate) fn new() -> Result<Self> {
        // In memory where that can be: what is tested here is not the disk, and disks are slow.
        let memory = Path::new("/dev/shm");
        let space = if memory.is_dir() { tempfile::tempdir_in(memory)? } else { tempfile::tempdir()? };
        Ok(Self { dir: StateDir::open(&space.path().join("state"))?, _space: space })
    }

    pub(crate) fn journal(&self) -> Result<(Journal, Vec<String>)> {
        Journal::open(&self.dir, Lock::acquire(&self.dir)?)
    }

    /// As a run would begin: the directory is opened, too.
    pub(crate) fn reopened(&self) -> Result<(Journal, Vec<String>)> {
        let dir = StateDir::open(self.dir.path())?;
        Journal::open(&dir, Lock::acquire(&dir)?)
    }

    /// The journal, which is expected to be fine.
    pub(crate) fn sound(&self) -> Result<Journal> {
        let (journal, notes) = self.journal()?;
        assert_eq!(notes, Vec::<String>::new());
        Ok(journal)
    }
}

/// Nodes named after numbers, each with its number as fingerprint.
pub(crate) fn nodes(count: u64) -> Vec<(NodeId, u64)> {
    (0..count).map(|number| (node(number), number)).collect()
}

pub(crate) fn node(number: u64) -> NodeId {
    NodeId::new(&format!("layer-{}", number / 100), &format!("touch-{number}"))
}

pub(crate) fn started(node: &NodeId, attempt: u32) -> EventKind {
    EventKind::Started { node: node.clone(), attempt, reason: "its file is missing".into(), diff: None }
}

pub(crate) fn finished(node: &NodeId, outcome: Outcome) -> EventKind {
    EventKind::Finished { node: node.clone(), outcome, millis: 7 }
}
