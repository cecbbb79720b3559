//! Removing a whole tree, and never more than it: nothing below a mount, nothing on another file system.
//!
//! It does not know what the tree holds.

use anyhow::{Context, Result, ensure};
use drover_engine::{Cmd, Cx};
use std::fs;
use std::path::{Path, PathBuf};

/// Removes the tree at `path`; nothing there is fine.
///
/// # Errors
/// When something is mounted in it, or it cannot be removed.
pub fn remove(cx: &Cx, path: &Path) -> Result<()> {
    if fs::symlink_metadata(path).is_err_and(|error| error.kind() == std::io::ErrorKind::NotFound) {
        return Ok(());
    }
    let inside = mount_inside_of(path)?;
    ensure!(
        inside.is_none(),
        "remove `{}`: something is mounted at `{}`; umount it first",
        path.display(),
        inside.unwrap_or_default().display()
    );
    cx.run(&Cmd::new("rm").args(["-rf", "--one-file-system", "--"]).arg(path))
}

/// A mount point at or below `path`, as this process sees it, if there is one.
///
/// # Errors
/// When the table of mounts cannot be read.
pub fn mount_inside_of(path: &Path) -> Result<Option<PathBuf>> {
    let mounts = fs::read_to_string("/proc/self/mountinfo").context("read `/proc/self/mountinfo`")?;
    Ok(mount_inside(&mounts, path))
}

/// A mount point at or below `path`, if there is one.
fn mount_inside(mountinfo: &str, path: &Path) -> Option<PathBuf> {
    let points = mountinfo.lines().filter_map(|line| line.split(' ').nth(4)).map(unescaped);
    points.map(PathBuf::from).find(|point| point.starts_with(path))
}

/// The kernel writes spaces and the like as three octal digits.
fn unescaped(text: &str) -> String {
    [("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")]
        .iter()
        .fold(text.to_owned(), |text, (code, char)| text.replace(code, char))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mount_inside_is_seen_and_one_beside_is_not() {
        let info = "22 1 0:21 / / rw - overlay overlay rw\n23 22 0:5 / /srv/a\\040b/proc rw - proc proc rw\n";
        let inside = |path: &str| mount_inside(info, Path::new(path));
        assert_eq!(inside("/srv/a b"), Some(PathBuf::from("/srv/a b/proc")));
        assert_eq!(inside("/srv/a b/proc"), Some(PathBuf::from("/srv/a b/proc")));
        assert_eq!(inside("/srv/a"), None);
    }
}
