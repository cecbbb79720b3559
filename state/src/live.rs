//! The runs that are on now on this host, whatever their state directories: found by the locks that they hold.
//!
//! A state directory that was deleted, renamed or replaced tells nothing of its run any more; the run's open lock does.

use crate::Holder;
use anyhow::{Context, Result};
use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// What a lock file is called.
pub(crate) const LOCK: &str = "drover.lock";

/// A run that is on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Live {
    /// Its process.
    pub pid: u32,
    /// What it has said of itself, if it has yet.
    pub holder: Option<Holder>,
    /// The state directory that it was started with, as it was called then.
    pub state: PathBuf,
}

/// All runs that are on and that this process may see: root sees all, others their own.
///
/// # Errors
/// When the kernel does not tell which locks there are.
pub fn live() -> Result<Vec<Live>> {
    let table =
        fs::read_to_string("/proc/locks").context("cannot see which locks are held: `/proc/locks`")?;
    let holders: BTreeSet<_> = table.lines().filter_map(holder_of).collect();
    Ok(holders.into_iter().filter_map(|(pid, inode)| look(pid, inode)).collect())
}

/// Process and inode, if the line is of a file that somebody holds as a whole and alone.
fn holder_of(line: &str) -> Option<(u32, u64)> {
    let mut fields = line.split_whitespace().skip(1);
    if [fields.next()?, fields.next()?, fields.next()?] != ["FLOCK", "ADVISORY", "WRITE"] {
        return None;
    }
    let pid = fields.next()?.parse().ok()?;
    Some((pid, fields.next()?.rsplit(':').next()?.parse().ok()?))
}

/// The run of this process, if the file with this inode that it holds is the lock of a state directory. A process that has
/// ended meanwhile, or is somebody else's, has nothing to tell.
fn look(pid: u32, inode: u64) -> Option<Live> {
    for entry in fs::read_dir(format!("/proc/{pid}/fd")).ok()? {
        let descriptor = entry.ok()?.path();
        let Some(lock) = fs::read_link(&descriptor).ok().as_deref().and_then(lock_path) else { continue };
        if fs::metadata(&descriptor).ok()?.ino() != inode {
            continue;
        }
        let holder: Option<Holder> =
            fs::read(&descriptor).ok().and_then(|text| serde_json::from_slice(&text).ok());
        let directory = lock.parent()?.to_owned();
        let told = holder.as_ref().map(|holder| holder.state.clone()).filter(|state| state.is_absolute());
        return Some(Live { pid, state: told.unwrap_or(directory), holder });
    }
    None
}

/// The path of a lock, if that is what a descriptor is of.
fn lock_path(link: &Path) -> Option<PathBuf> {
    let bytes = link.as_os_str().as_bytes();
    let path = Path::new(OsStr::from_bytes(bytes.strip_suffix(b" (deleted)").unwrap_or(bytes)));
    (path.file_name()? == LOCK).then(|| path.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Lock, StateDir};

    #[test]
    fn lines_of_the_table_are_told_apart() {
        assert_eq!(holder_of("3: FLOCK  ADVISORY  WRITE 812 fe:01:4711 0 EOF"), Some((812, 4711)));
        assert_eq!(holder_of("3: -> FLOCK  ADVISORY  WRITE 813 fe:01:4711 0 EOF"), None);
        assert_eq!(holder_of("4: POSIX  ADVISORY  WRITE 812 fe:01:4712 0 EOF"), None);
        assert_eq!(holder_of("5: FLOCK  ADVISORY  READ 812 fe:01:4713 0 EOF"), None);
        assert_eq!(lock_path(Path::new("/s/drover.lock (deleted)")), Some("/s/drover.lock".into()));
        assert_eq!(lock_path(Path::new("/s/other.lock")), None);
    }

    #[test]
    fn a_run_is_seen_also_when_its_directory_is_gone() -> Result<()> {
        let scratch = tempfile::tempdir()?;
        let path = scratch.path().join("state");
        let dir = StateDir::open(&path)?;
        let found = || anyhow::Ok(live()?.into_iter().find(|live| live.state == path));
        assert_eq!(found()?, None);
        let lock = Lock::acquire(&dir)?;
        assert_eq!(found()?.map(|live| live.pid), Some(std::process::id()));
        fs::rename(&path, scratch.path().join("elsewhere"))?;
        assert!(found()?.is_some_and(|live| live.holder.is_some()));
        fs::remove_dir_all(scratch.path().join("elsewhere"))?;
        assert!(found()?.is_some_and(|live| live.holder.is_some()));
        drop(lock);
        assert_eq!(found()?, None);
        Ok(())
    }
}
