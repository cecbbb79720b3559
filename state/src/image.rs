//! What is remembered of all nodes, in one file beside the database: read at once, where the database would have
//! thousands of pages read.
//!
//! A copy, never the truth. It counts only while it is whole and of the very commit that the database ends with; so it is
//! removed before anything is written, and made again when a run ends.

use crate::record::{Fields, Known, seal, unseal};
use crate::{NodeId, NodeRecord, StateDir};
use anyhow::{Context, Result, ensure};
use std::collections::HashMap;
use std::io::{ErrorKind, Write};
use std::path::PathBuf;

/// The file.
#[derive(Debug)]
pub(crate) struct Image {
    path: PathBuf,
    /// Whether it may be there.
    is_there: bool,
}

impl Image {
    pub(crate) fn of(dir: &StateDir) -> Self {
        Self { path: dir.image(), is_there: true }
    }

    /// What it holds, if it is of this commit.
    pub(crate) fn read(&self, commit: u64) -> Result<Option<HashMap<NodeId, Known>>> {
        match std::fs::read(&self.path) {
            // Torn, or of another commit: the database is asked.
            Ok(bytes) => Ok(decode(&bytes, commit).ok()),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error).with_context(|| format!("`{}` cannot be read", self.path.display())),
        }
    }

    /// To be called before what it is a copy of changes.
    pub(crate) fn remove(&mut self) -> Result<()> {
        if !self.is_there {
            return Ok(());
        }
        match std::fs::remove_file(&self.path) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                return Err(error).with_context(|| format!("`{}` cannot be removed", self.path.display()));
            }
            _ => self.is_there = false,
        }
        Ok(())
    }

    /// Copies what is remembered as of this commit.
    pub(crate) fn write<'a>(
        &mut self,
        commit: u64,
        nodes: impl Iterator<Item = (&'a NodeId, &'a NodeRecord)>,
    ) -> Result<()> {
        let write = || {
            let directory = self.path.parent().context("it has no directory")?;
            let mut file = tempfile::NamedTempFile::new_in(directory)?;
            file.write_all(&encode(commit, nodes))?;
            file.persist(&self.path)?;
            anyhow::Ok(())
        };
        self.is_there = true;
        write().with_context(|| format!("`{}` cannot be written", self.path.display()))
    }
}

/// The commit, how many nodes there are, and each one's name and record, both after their length.
fn encode<'a>(commit: u64, nodes: impl Iterator<Item = (&'a NodeId, &'a NodeRecord)>) -> Vec<u8> {
    let (mut parts, mut count) = (Vec::new(), 0u64);
    for (node, record) in nodes {
        count += 1;
        for part in [node.as_str().as_bytes(), &record.to_bytes()] {
            parts.extend_from_slice(&(part.len() as u64).to_le_bytes());
            parts.extend_from_slice(part);
        }
    }
    seal(&[&commit.to_le_bytes()[..], &count.to_le_bytes(), &parts].concat())
}

fn decode(bytes: &[u8], commit: u64) -> Result<HashMap<NodeId, Known>> {
    let mut fields = Fields(unseal(bytes)?);
    ensure!(u64::from_le_bytes(fields.take()?) == commit, "it is of another commit");
    let count = u64::from_le_bytes(fields.take()?);
    let mut nodes = HashMap::new();
    for _ in 0..count {
        let node = NodeId::from(std::str::from_utf8(part(&mut fields)?)?);
        nodes.insert(node, NodeRecord::from_bytes(part(&mut fields)?)?.into());
    }
    Ok(nodes)
}

fn part<'a>(fields: &mut Fields<'a>) -> Result<&'a [u8]> {
    let length = u64::from_le_bytes(fields.take()?);
    let (part, rest) = fields.0.split_at_checked(usize::try_from(length)?).context("it is too short")?;
    fields.0 = rest;
    Ok(part)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{RunId, Status};
    use jiff::Timestamp;

    #[test]
    fn it_counts_only_while_it_is_whole_and_of_that_commit() -> Result<()> {
        let scratch = tempfile::tempdir()?;
        let dir = StateDir::open(scratch.path())?;
        let record = NodeRecord {
            status: Status::Done,
            fingerprint: Some(7),
            run: RunId(1),
            attempts: 1,
            millis: Some(12),
            at: Timestamp::UNIX_EPOCH,
        };
        let node = NodeId::new("host", "bridge");
        let mut image = Image::of(&dir);
        assert!(image.read(5)?.is_none());
        image.write(5, [(&node, &record)].into_iter())?;
        assert_eq!(image.read(5)?.context("it is whole")?[&node].record, Some(record));
        assert!(image.read(6)?.is_none(), "it is of another commit");
        let whole = std::fs::read(dir.image())?;
        std::fs::write(dir.image(), &whole[..whole.len() - 1])?;
        assert!(image.read(5)?.is_none(), "it is torn");
        image.remove()?;
        image.remove()?;
        assert!(!dir.image().exists());
        Ok(())
    }
}
