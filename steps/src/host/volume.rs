//! The file system below a path that may not exist yet: what it can hold, and how much.

use anyhow::{Context, Result, bail, ensure};
use rustix::fs::{StatFs, StatVfsMountFlags, statfs, statvfs};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// A mounted file system.
pub(super) struct Volume {
    /// What it was asked for.
    path: PathBuf,
    /// The nearest directory above that exists.
    existing: PathBuf,
    device: u64,
}

impl Volume {
    /// The file system that `path` is on, or would be.
    pub(super) fn of(path: &Path) -> Result<Self> {
        let existing = path.ancestors().find(|ancestor| ancestor.exists()).unwrap_or(Path::new("/"));
        let data = existing.metadata().with_context(|| format!("cannot look at `{}`", existing.display()))?;
        Ok(Self { path: path.to_owned(), existing: existing.to_owned(), device: data.dev() })
    }

    /// Whether `path` is, or would be, on it too.
    pub(super) fn holds(&self, path: &Path) -> Result<bool> {
        Ok(Self::of(path)?.device == self.device)
    }

    /// Complains if no system can live on it.
    pub(super) fn require_rootfs(&self) -> Result<()> {
        let (path, at) = (self.path.display(), self.existing.display());
        let data: StatFs = statfs(&self.existing).with_context(|| format!("cannot look at `{at}`"))?;
        if let Some(name) = network_name(u64::from(data.f_type as u32)) {
            bail!(
                "`{path}` is on {name}, which keeps neither devices nor owners: mount a local file system there"
            );
        }
        let flags = statvfs(&self.existing).with_context(|| format!("cannot look at `{at}`"))?.f_flag;
        match obstacle(flags) {
            None => Ok(()),
            Some((fault, option)) => {
                bail!(
                    "`{at}` is mounted {fault}, no system can be kept there: `mount -o remount,{option} {at}`"
                )
            }
        }
    }

    /// Complains if there is no room for so many bytes.
    pub(super) fn require_space(&self, bytes: u64) -> Result<()> {
        let at = self.existing.display();
        let data = statvfs(&self.existing).with_context(|| format!("cannot look at `{at}`"))?;
        ensure_room(&self.path, data.f_bavail.saturating_mul(data.f_frsize), bytes)
    }
}

/// Complains if `free` bytes at `path` are not enough for `bytes`.
pub(super) fn ensure_room(path: &Path, free: u64, bytes: u64) -> Result<()> {
    ensure!(
        bytes <= free,
        "`{}` has {} free, the plan's containers are going to take about {}: make room or give another storage",
        path.display(),
        gibibytes(free),
        gibibytes(bytes)
    );
    Ok(())
}

/// What a network file system is called, by the magic number that statfs(2) lists.
fn network_name(magic: u64) -> Option<&'static str> {
    Some(match magic {
        0x6969 => "NFS",
        0x517b | 0xff53_4d42 | 0xfe53_4d42 => "SMB",
        0x0102_1997 => "9p",
        0x00c3_6400 => "Ceph",
        0x5346_414f => "AFS",
        _ => return None,
    })
}

/// What in these mount options no root file system can live with, and the option that lifts it.
fn obstacle(flags: StatVfsMountFlags) -> Option<(&'static str, &'static str)> {
    let obstacles = [
        (StatVfsMountFlags::RDONLY, ("read-only", "rw")),
        (StatVfsMountFlags::NODEV, ("nodev", "dev")),
        (StatVfsMountFlags::NOEXEC, ("noexec", "exec")),
        (StatVfsMountFlags::NOSUID, ("nosuid", "suid")),
    ];
    obstacles.into_iter().find(|(flag, _)| flags.contains(*flag)).map(|(_, words)| words)
}

fn gibibytes(bytes: u64) -> String {
    let tenths = bytes * 10 / (1 << 30);
    format!("{}.{} GiB", tenths / 10, tenths % 10)
}

#[cfg(test)]
mod tests {
    use super::{Volume, gibibytes, network_name, obstacle};
    use rustix::fs::StatVfsMountFlags;
    use std::path::Path;

    #[test]
    fn a_path_that_does_not_exist_is_on_what_is_above_it() -> anyhow::Result<()> {
        let directory = tempfile::tempdir()?;
        let volume = Volume::of(&directory.path().join("a/b"))?;
        assert_eq!(volume.existing, directory.path());
        assert!(volume.holds(directory.path())?);
        assert!(!volume.holds(Path::new("/proc"))?);
        Ok(())
    }

    #[test]
    fn a_lack_of_room_is_said_in_figures() -> anyhow::Result<()> {
        let volume = Volume::of(Path::new("/tmp"))?;
        volume.require_space(1)?;
        let error = volume.require_space(1 << 60).expect_err("nobody has that much").to_string();
        assert!(error.contains("about 1073741824.0 GiB"), "{error}");
        Ok(())
    }

    #[test]
    fn mounts_that_hold_no_system_are_recognised() {
        assert_eq!(obstacle(StatVfsMountFlags::NOSUID | StatVfsMountFlags::NODEV), Some(("nodev", "dev")));
        assert_eq!(obstacle(StatVfsMountFlags::RDONLY), Some(("read-only", "rw")));
        assert_eq!(obstacle(StatVfsMountFlags::empty()), None);
    }

    #[test]
    fn names_and_figures() {
        assert_eq!(network_name(0x6969), Some("NFS"));
        assert_eq!(network_name(0xef53), None);
        assert_eq!(gibibytes(5_905_580_032), "5.5 GiB");
    }
}
