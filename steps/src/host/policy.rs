//! The rule that no service starts while packages are installed, for whoever asks in the installation's own mounts.
//!
//! The host's own policy is never changed: ours is mounted over it, privately. Only a mount point may have to be made,
//! and without being executable it means nothing to anybody.

use crate::service;
use anyhow::{Context, Result};
use drover_engine::{Cx, HostFile, Jail};
use std::io::ErrorKind;
use std::path::Path;

/// Where invoke-rc.d and deb-systemd-invoke look for a policy.
pub(super) const PATH: &str = "/usr/sbin/policy-rc.d";

/// What a mount point of ours holds.
const MOUNT_POINT: &str =
    "# Drover mounts a policy here, privately, while it installs packages. May be removed.\n";

/// 101 is "forbidden by policy".
const POLICY: &str = "#!/bin/sh\nexit 101\n";

/// The host with that rule, and with mounts of its own.
pub(super) fn jail(cx: &Cx) -> Result<Jail> {
    let policy = HostFile::new(cx.cache("host").join("policy-rc.d")).mode(0o755);
    policy.write(POLICY)?;
    let target = HostFile::new(PATH);
    if target.read()?.is_none() {
        target.write(MOUNT_POINT)?;
    }
    Ok(mounts().bind(policy.path(), PATH))
}

/// The host with mounts of its own, and, unless packages' scripts have to talk to systemd, with processes of its own.
pub(super) fn mounts() -> Jail {
    if service::systemd_runs() { Jail::mounts_of_host() } else { Jail::host() }
}

/// Whether a mount point of ours is there.
pub(super) fn is_left_behind() -> Result<bool> {
    Ok(HostFile::new(PATH).read()?.as_deref() == Some(MOUNT_POINT))
}

/// Removes the mount point, if it is ours.
pub(super) fn clean_up() -> Result<()> {
    if !is_left_behind()? {
        return Ok(());
    }
    match std::fs::remove_file(Path::new(PATH)) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot remove `{PATH}`"))
        }
        _ => Ok(()),
    }
}
