//! The directory that base systems are made in: whether it will do (devices and programs allowed, and room enough), and how
//! it is made.
//!
//! It does not know what is made there.

use crate::base::Base;
use anyhow::{Context, Result, ensure};
use rustix::fs::{IFlags, StatVfsMountFlags, ioctl_getflags, ioctl_setflags, statvfs};
use std::fs::{self, File};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

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

/// That what is in a directory does not belong together: ext4 then puts what is in each of its directories somewhere else on
/// the disk (chattr(1), `T`; `EXT4_TOPDIR_FL` of Linux, which has no name here).
const UNRELATED: IFlags = IFlags::from_bits_retain(0x0002_0000);

/// The directory itself.
fn of(base: &Base) -> Result<PathBuf> {
    base.rootfs().parent().map(Path::to_owned).context("a base system is in a directory")
}

/// Makes the directory, unless it is there, as one whose entries do not belong together, where the file system knows that.
pub(super) fn make(base: &Base) -> Result<()> {
    let place = of(base)?;
    let failed = || format!("make `{}`", place.display());
    fs::create_dir_all(&base.farm.lxc_cache).with_context(failed)?;
    match fs::create_dir(&place) {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => return Ok(()),
        made => made.with_context(failed)?,
    }
    let directory = File::open(&place).with_context(failed)?;
    // A hint: most file systems know none of that, and all goes well without.
    if let Ok(flags) = ioctl_getflags(&directory) {
        let _ = ioctl_setflags(&directory, flags | UNRELATED);
    }
    Ok(())
}

/// Whether entries of the directory are somewhere else on the disk than others.
pub(super) fn is_spread(base: &Base) -> Result<bool> {
    let place = of(base)?;
    let directory = File::open(&place).with_context(|| format!("open `{}`", place.display()))?;
    // Where nothing can be asked for, nothing is spread.
    Ok(ioctl_getflags(&directory).is_ok_and(|flags| flags.contains(UNRELATED)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::architecture::Architecture;
    use crate::farm::Farm;
    use crate::release::{Distribution, find};
    use std::sync::Arc;

    #[test]
    fn a_directory_of_ours_is_spread_and_one_that_was_there_is_left_as_it_is() -> Result<()> {
        // Where this program is, since what is temporary may be in memory.
        let program = std::env::current_exe()?;
        let cache = tempfile::tempdir_in(program.parent().context("it is in a directory")?)?;
        let release = find(Distribution::Debian, "bookworm").context("it is in the table")?;
        let farm = Arc::new(Farm { lxc_cache: cache.path().join("lxc"), ..Farm::default() });
        let base = Base { release, arch: Architecture::Amd64, mirrors: Vec::new(), keyring: None, farm };
        make(&base)?;
        make(&base)?;
        let other = cache.path().join("other");
        fs::create_dir(&other)?;
        let is_known = ioctl_setflags(File::open(&other)?, UNRELATED).is_ok();
        assert_eq!(is_spread(&base)?, is_known);

        fs::remove_dir(cache.path().join("lxc/debian"))?;
        fs::create_dir(cache.path().join("lxc/debian"))?;
        make(&base)?;
        assert!(!is_spread(&base)?);
        Ok(())
    }
}
