//! Whether the directory that base systems are made in will do: devices and programs allowed, and room enough.

use crate::base::Base;
use anyhow::{Context, Result, ensure};
use rustix::fs::{StatVfsMountFlags, statvfs};

/// What a base system takes while it is made.
const ROOM: u64 = 600 << 20;

/// Ends well if a base system can be made where it is to stand.
pub(super) fn ensure_fit(base: &Base) -> Result<()> {
    if base.rootfs().exists() {
        return Ok(());
    }
    let partial = base.partial();
    let place = partial.ancestors().find(|path| path.exists()).context("there is no root directory")?;
    let shown = place.display();
    let found = statvfs(place).with_context(|| format!("look at the file system of `{shown}`"))?;
    let forbidden = [(StatVfsMountFlags::NODEV, "nodev"), (StatVfsMountFlags::NOEXEC, "noexec")];
    for (flag, name) in forbidden {
        ensure!(
            !found.f_flag.contains(flag),
            "`{shown}` is mounted {name}: a system needs devices and programs; mount it otherwise or relocate the cache"
        );
    }
    let room = found.f_bavail * found.f_frsize;
    ensure!(
        room >= ROOM,
        "`{shown}` has {} MiB left, {} takes {} MiB: make room there",
        room >> 20,
        base.id(),
        ROOM >> 20
    );
    Ok(())
}
