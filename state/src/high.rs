//! How far the journal has gone, noted outside of it: a database that silently went back is found out.
//!
//! It knows a number and nothing else.

use crate::damage::no_space;
use crate::seal::{seal, unseal};
use anyhow::{Context, Result};
use std::fs::{File, OpenOptions};
use std::io::ErrorKind;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;

/// The number of the last commit that was durable.
#[derive(Debug)]
pub(crate) struct HighMark {
    file: File,
    value: u64,
}

impl HighMark {
    /// Opens the mark, or makes it. One that is torn or empty counts as zero: it can only accuse, never excuse.
    pub(crate) fn open(path: &Path) -> Result<Self> {
        let open = || {
            let file = OpenOptions::new()
                .create(true)
                .truncate(false)
                .read(true)
                .write(true)
                .mode(0o600)
                .open(path)?;
            let mut bytes = [0; 14];
            let length = file.read_at(&mut bytes, 0)?;
            std::io::Result::Ok((file, bytes[..length].to_vec()))
        };
        let (file, bytes) = open().with_context(|| format!("`{}` cannot be opened", path.display()))?;
        let value = unseal(&bytes).ok().and_then(|bytes| bytes.try_into().ok()).map_or(0, u64::from_le_bytes);
        Ok(Self { file, value })
    }

    pub(crate) fn value(&self) -> u64 {
        self.value
    }

    /// Notes that `commit` is durable. A power cut may undo the note, which only makes it less strict.
    pub(crate) fn raise(&mut self, commit: u64) -> Result<()> {
        self.value = commit;
        self.file.write_all_at(&seal(&commit.to_le_bytes()), 0).map_err(|error| {
            let context = match error.kind() {
                ErrorKind::StorageFull => no_space(Path::new("journal.high")),
                _ => "`journal.high` cannot be written".to_owned(),
            };
            anyhow::Error::new(error).context(context)
        })
    }

    pub(crate) fn sync(&self) -> Result<()> {
        self.file.sync_data().context("`journal.high` cannot be flushed")
    }
}
