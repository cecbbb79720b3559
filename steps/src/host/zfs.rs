//! Datasets of ZFS: whether they can be there, whether they are as they should be, and making them so.
//!
//! None of it could be carried out where it was written, for want of ZFS; its preconditions could. It does not know what
//! is kept in a dataset.

use super::zfs_txg_timeout::require_zfs;
use crate::{mounts, program};
use anyhow::{Context, Result, ensure};
use drover_engine::{Check, Cmd, Cx};
use std::path::{Path, PathBuf};

/// A dataset, as it should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Dataset<'a> {
    /// Its name, beginning with the pool's: `tank/libvirt`.
    pub(super) name: &'a str,
    /// Where it is mounted.
    pub(super) path: PathBuf,
    /// Its other properties.
    pub(super) properties: Vec<(&'static str, String)>,
}

/// Complains about what cannot be the name of a dataset below a pool.
pub(super) fn ensure_name(name: &str) -> Result<()> {
    let legal = |c: char| c.is_ascii_alphanumeric() || "_.:-".contains(c);
    let is_part =
        |part: &str| part.starts_with(|c: char| c.is_ascii_alphanumeric()) && part.chars().all(legal);
    ensure!(
        name.contains('/') && name.split('/').all(is_part),
        "`{name}` cannot be a dataset of ours: write `POOL/NAME`, such as `tank/libvirt`"
    );
    Ok(())
}

impl Dataset<'_> {
    fn pool(&self) -> &str {
        self.name.split('/').next().unwrap_or(self.name)
    }

    /// Complains if this host has no ZFS, or no such pool. Returns the pool's size, in bytes.
    pub(super) fn precondition(&self, cx: &Cx, what: &str) -> Result<u64> {
        require_zfs(what)?;
        program::require(what, &[("zfs", "zfsutils-linux"), ("zpool", "zfsutils-linux")])?;
        let pools = cx.read(&Cmd::new("zpool").args(["list", "-H", "-p", "-o", "name,size"]))?;
        let known = pools.lines().filter_map(|line| line.split_once('\t'));
        let size = known.clone().find(|(name, _)| *name == self.pool()).map(|(_, size)| size);
        let names: Vec<_> = known.map(|(name, _)| name).collect();
        let size = size.with_context(|| {
            format!(
                "{what} needs the pool `{0}`, and there is none (there are: {1}): make it of a disk that nobody needs, `zpool \
                 create {0} /dev/disk/by-id/DISK`",
                self.pool(),
                names.join(", ")
            )
        })?;
        if let Some(mountpoint) = self.property(cx, "mountpoint")? {
            ensure!(
                mounts::real(Path::new(&mountpoint)) == mounts::real(&self.path),
                "the dataset `{0}` is mounted at `{mountpoint}`, not at `{1}`: name another, or `zfs set mountpoint={1} {0}`",
                self.name,
                self.path.display()
            );
        }
        size.trim().parse().with_context(|| format!("zpool says that `{}` has {size} bytes", self.pool()))
    }

    /// A property of the dataset; `None` if it is not there.
    fn property(&self, cx: &Cx, name: &str) -> Result<Option<String>> {
        let output = cx.probe(&Cmd::new("zfs").args(["get", "-H", "-p", "-o", "value", name, self.name]))?;
        Ok(output.status.success().then(|| output.stdout.trim().to_owned()))
    }

    pub(super) fn check(&self, cx: &Cx) -> Result<Check> {
        let name = self.name;
        if program::find("zfs").is_none() {
            return Ok(Check::needed("`zfs` is not installed"));
        }
        for (property, wanted) in &self.properties {
            match self.property(cx, property)? {
                None => return Ok(Check::needed(format!("there is no dataset {name}"))),
                Some(found) if found != *wanted => {
                    return Ok(Check::needed(format!(
                        "{property} of the dataset {name} is {found}, not {wanted}"
                    )));
                }
                Some(_) => {}
            }
        }
        Ok(match self.property(cx, "mounted")?.as_deref() {
            Some("yes") => Check::Satisfied,
            _ => Check::needed(format!("the dataset {name} is not mounted")),
        })
    }

    /// The command that makes it.
    fn create(&self) -> Cmd {
        let mountpoint = ("mountpoint", self.path.display().to_string());
        let options = std::iter::once(&mountpoint).chain(&self.properties);
        let options = options.flat_map(|(name, value)| ["-o".to_owned(), format!("{name}={value}")]);
        Cmd::new("zfs").args(["create", "-p"]).args(options).arg(self.name)
    }

    pub(super) fn apply(&self, cx: &Cx) -> Result<()> {
        if self.property(cx, "mountpoint")?.is_none() {
            return cx.run(&self.create());
        }
        for (property, wanted) in &self.properties {
            if self.property(cx, property)?.as_ref() != Some(wanted) {
                cx.run(&Cmd::new("zfs").args(["set", &format!("{property}={wanted}"), self.name]))?;
            }
        }
        if self.property(cx, "mounted")?.as_deref() != Some("yes") {
            cx.run(&Cmd::new("zfs").args(["mount", self.name]))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dataset() -> Dataset<'static> {
        let properties = vec![("compression", "lz4".to_owned())];
        Dataset { name: "tank/libvirt", path: "/srv/libvirt".into(), properties }
    }

    #[test]
    fn names_have_a_pool() {
        assert!(ensure_name("tank/libvirt").is_ok() && ensure_name("tank/ci/home-1.0").is_ok());
        for bad in ["tank", "", "tank/", "/tank", "tank/a b", "tank/-x", "tank/a@b"] {
            assert!(ensure_name(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn it_is_made_with_all_that_it_should_have() {
        let expected = "zfs create -p -o mountpoint=/srv/libvirt -o compression=lz4 tank/libvirt";
        assert_eq!(dataset().create().to_string(), expected);
    }

    /// Where there is ZFS, there is hardly a pool of this name.
    #[test]
    fn what_is_missing_is_named_with_what_mends_it() {
        let complaint = dataset().precondition(&Cx::to_look(), "Storage").expect_err("no such pool");
        let complaint = format!("{complaint:#}");
        assert!(
            ["modprobe zfs", "zpool create tank", "apt-get install"].iter().any(|it| complaint.contains(it))
        );
        if !Path::new("/sys/module/zfs").exists() {
            println!("not exercised: anything beyond preconditions, for want of ZFS");
            assert!(complaint.contains("zfs-dkms"), "{complaint}");
        }
    }
}
