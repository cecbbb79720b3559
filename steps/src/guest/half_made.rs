//! What an interrupted `lxc-create` leaves: a container's directory with the mark `partial` in it.
//!
//! It does not know what makes containers, only how to remove one that is so marked and that nobody works on.

use anyhow::{Context, Result, bail, ensure};
use drover_engine::{Cx, mount_at_or_below};
use rustix::process::{Flock, FlockType, fcntl_getlk};
use std::fs::{self, File};
use std::io::ErrorKind;
use std::path::Path;

/// LXC's own mark for a container that is being made; locked as long as somebody is at it.
pub(crate) const MARK: &str = "partial";

/// Marks a container as half-made, so that whoever meets what is left of it after a kill removes the rest.
///
/// # Errors
/// When the mark cannot be made.
pub(crate) fn mark(directory: &Path) -> Result<()> {
    let mark = directory.join(MARK);
    let made = File::options().create(true).append(true).open(&mark);
    made.map(drop).with_context(|| format!("cannot make `{}`", mark.display()))
}

/// Removes the container in `directory` if it is marked as half-made. The mark goes last, so that this, too, may be
/// interrupted.
///
/// # Errors
/// When somebody still works on it, something is mounted below it, or it cannot be removed.
pub(crate) fn remove(cx: &Cx, directory: &Path) -> Result<()> {
    let mark = directory.join(MARK);
    if !mark.try_exists()? {
        return Ok(());
    }
    ensure!(!is_locked(&mark)?, "another lxc-create is still making `{}`: wait for it", directory.display());
    if let Some(mount) = mount_at_or_below(directory)? {
        bail!(
            "`{}` is half-made, but `{}` is mounted in it: umount it first",
            directory.display(),
            mount.display()
        );
    }
    cx.note(&format!("removing the half-made container in {}", directory.display()));
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        if path != mark {
            cx.remove_tree(&path)?;
        }
    }
    fs::remove_file(&mark).with_context(|| format!("cannot remove `{}`", mark.display()))?;
    fs::remove_dir(directory).with_context(|| format!("cannot remove `{}`", directory.display()))
}

/// Whether somebody holds LXC's lock on the mark. Looks without taking it.
pub(crate) fn is_locked(mark: &Path) -> Result<bool> {
    let file = match File::open(mark) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(error).with_context(|| format!("cannot open `{}`", mark.display())),
    };
    let wanted = Flock::from(FlockType::WriteLock);
    let held = fcntl_getlk(&file, &wanted);
    let held = held.with_context(|| format!("cannot see who locks `{}`", mark.display()))?;
    Ok(held.is_some())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sees_locks() {
        let directory = tempfile::tempdir().expect("directory");
        let mark = directory.path().join(MARK);
        assert!(!is_locked(&mark).expect("absent"));
        fs::write(&mark, "").expect("mark");
        assert!(!is_locked(&mark).expect("free"));
    }
}
