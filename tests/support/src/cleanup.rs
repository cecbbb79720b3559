//! Removing what hosts leave on disk.

use anyhow::{Context, Result, bail};
use std::fs;
use std::path::Path;

/// Removes `path` and all below it, unless something is mounted there. Nothing there is fine.
pub(crate) fn remove_tree(path: &Path) -> Result<()> {
    if !path.exists() {
        return Ok(());
    }
    let mounts = fs::read_to_string("/proc/self/mountinfo")?;
    let below = mounts
        .lines()
        .filter_map(|line| line.split(' ').nth(4))
        .find(|target| Path::new(target).starts_with(path));
    if let Some(target) = below {
        bail!("`{}` cannot be removed: `{target}` is mounted below it", path.display());
    }
    let removed = if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) };
    removed.with_context(|| format!("`{}` cannot be removed", path.display()))
}
