//! Programs of ours that stand in for others while the template of `lxc-create` runs: each in a directory of its own, which
//! can stand first in PATH. What each is for is in the manual of the step `LxcCreate`; how that is called, they do not know.

use crate::container::Container;
use crate::guest::emulate::Guest;
use crate::{program, snapshot};
use anyhow::{Context, Result};
use drover_engine::{Cx, HostFile};
use std::path::PathBuf;

/// The `wget` of ours.
pub(super) fn polite_wget(cx: &Cx) -> Result<PathBuf> {
    let real = program::find("wget").context("`wget` was here a moment ago")?;
    let directory = cx.cache("wget-for-lxc-create");
    let script = format!(
        "#!/bin/sh\n\
         # In PATH of the template of lxc-create only; see the manual of the step LxcCreate.\n\
         for argument; do\n\
         \tcase $argument in */dists/testing/main/binary-*/Release) exit 0 ;; esac\n\
         done\n\
         exec '{}' \"$@\"\n",
        real.display()
    );
    HostFile::new(directory.join("wget")).mode(0o755).write(&script)?;
    Ok(directory)
}

/// The `rsync` of ours, which copies the base system more cheaply.
pub(super) fn cheap_rsync(cx: &Cx, at: &Container) -> Result<PathBuf> {
    let real = program::find("rsync").context("`rsync` was here a moment ago")?;
    let directory = cx.cache("rsync-for-lxc-create").join(at.base.id());
    HostFile::new(directory.join("rsync")).mode(0o755).write(&snapshot::rsync(&at.base.rootfs(), &real)?)?;
    Ok(directory)
}

/// The `chroot` of ours, which runs what the template runs in the container as `guest` would run it in the base system.
pub(super) fn assisted_chroot(cx: &Cx, at: &Container, guest: &Guest) -> Result<PathBuf> {
    let real = program::find("chroot").context("this host has no `chroot`")?;
    let directory = cx.cache("chroot-for-lxc-create").join(&at.name);
    let script = format!(
        "#!/bin/sh\n\
         # In PATH of the template of lxc-create only; see the manual of the step LxcCreate.\n\
         [ \"$1\" = '{root}' ] || exec '{real}' \"$@\"\n\
         shift\n\
         exec {line}\n",
        root = at.rootfs().display(),
        real = real.display(),
        line = guest.line(&at.rootfs())?
    );
    HostFile::new(directory.join("chroot")).mode(0o755).write(&script)?;
    Ok(directory)
}
