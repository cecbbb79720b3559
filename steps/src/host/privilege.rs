//! Who may change the host.

use anyhow::{Result, ensure};

/// Complains unless this is run by root.
pub(super) fn require_root() -> Result<()> {
    let root = rustix::process::geteuid().is_root();
    ensure!(root, "the host can only be changed by root: run it again with `sudo`");
    Ok(())
}
