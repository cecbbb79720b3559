//! A private copy of the database, which cannot be opened without being written.

use crate::StateDir;
use anyhow::{Context, Result};
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use tempfile::TempDir;

/// A state directory with a copy of the database of another one in it, and nothing else. It goes with this.
pub(super) struct Copied {
    dir: StateDir,
    _space: TempDir,
}

impl Copied {
    pub(super) fn of(dir: &StateDir) -> Result<Self> {
        let space = tempfile::tempdir().context("no room for a copy of the journal")?;
        let copy = StateDir::open(space.path())?;
        copy_tree(&dir.journal(), &copy.journal())?;
        if dir.high().is_file() {
            copy_file(&dir.high(), &copy.high())?;
        }
        Ok(Self { dir: copy, _space: space })
    }

    pub(super) fn dir(&self) -> &StateDir {
        &self.dir
    }
}

fn copy_tree(from: &Path, to: &Path) -> Result<()> {
    let failed = || format!("`{}` cannot be copied", from.display());
    fs::create_dir(to).with_context(failed)?;
    for entry in from.read_dir().with_context(failed)? {
        let entry = entry.with_context(failed)?;
        let target = to.join(entry.file_name());
        match entry.path().metadata() {
            Ok(found) if found.is_dir() => copy_tree(&entry.path(), &target)?,
            Ok(found) if found.is_file() => copy_file(&entry.path(), &target)?,
            // What is neither is in the way there as it is here.
            _ => symlink("nowhere", &target).with_context(failed)?,
        }
    }
    Ok(())
}

fn copy_file(from: &Path, to: &Path) -> Result<()> {
    fs::copy(from, to).map(drop).with_context(|| format!("`{}` cannot be copied", from.display()))
}
