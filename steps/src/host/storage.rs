//! # Storage
//! Where the containers are kept.
//!
//! The document: "Prepare an LVM partition (or preferably some other tech like ZFS) as `/srv/libvirt` and create a
//! `/srv/libvirt/rootfs` to hold the containers".
//!
//! ```ron
//! Storage(Directory("/srv/libvirt"))
//! Storage(Btrfs(path: "/srv/libvirt", on: Loop(file: "/var/lib/drover-storage.img", size: "100 GiB")))
//! Storage(Btrfs(path: "/srv/libvirt", on: Device("/dev/vdb")))
//! Storage(Lvm(path: "/srv/libvirt", volume: (group: "vg0", name: "libvirt", size: "100 GiB")))
//! Storage(Zfs(path: "/srv/libvirt", dataset: "tank/libvirt"))
//! ```
//!
//! | storage | meaning |
//! | --- | --- |
//! | `Directory(PATH)` | a directory of a file system that is there and mounted |
//! | `Btrfs` | a file system in a file, which takes what is written to it, or on a device |
//! | `Lvm` | a volume of a volume group that is there, with ext4 on it |
//! | `Zfs` | a dataset of a pool that is there, compressed with lz4 |
//!
//! **Nothing that holds data is ever formatted.** A file, device or volume is looked at first: one that has any signature, or
//! any data where those would be, is refused by name; one that has a file system called `drover-storage` is used as it is.
//! A directory that holds something is not mounted upon.
//!
//! **On Btrfs, copies cost nothing.** Where the cache of base systems is there as well (`RelocateCache`), `Bootstrap` makes
//! each base system a subvolume, and `LxcCreate` makes a container's root file system a snapshot of it: in a moment, and
//! with room for only what differs.
//!
//! Before anything runs it is found out whether the file system can hold root file systems at all (not read-only, no
//! network file system, which keeps neither devices nor owners; not mounted `nodev`, `noexec` or `nosuid`) and has room: 600
//! MiB for each container that is not there yet, and 400 MiB for each base system where that is kept on it as well. Where the
//! kernel lacks Btrfs, the device mapper or ZFS, or the group or pool is not there, that is said with what mends it.
//!
//! **Changes** makes what is to be mounted, one line in `/etc/fstab` (marked; ZFS has its own table), mounts it, and makes
//! the directory and `rootfs` in it, mode 755, owned by root; what is there stays as it is. The host starts without it,
//! too, should it be missing then (`nofail`).
//!
//! **To take it back** `drover destroy`, which leaves a storage in which something is left, and volumes and datasets; or destroy
//! the containers, `umount` it, remove the line; then the file, the volume (`lvremove`) or the dataset (`zfs destroy`), and
//! `rmdir` the directories.

mod btrfs;
mod lvm;

use super::fstab::{Mount, ensure_plain};
use super::program;
use super::volume::Volume;
use super::zfs::{self, Dataset};
use crate::farm::Farm;
use crate::ours;
use crate::resource::{PACKAGES, STORAGE};
use crate::step::FarmStep;
use crate::words;
use anyhow::{Context, Result, ensure};
use btrfs::On;
use drover_engine::{Check, Claim, Cmd, Cx, Inputs, Need, Resource, Undo};
use serde::{Deserialize, Serialize};
use std::fs;
use std::path::{Path, PathBuf};

/// What a container takes, with the package set `comfort`, in bytes: 300 MiB were measured for a bare one.
const PER_CONTAINER: u64 = 600 << 20;
/// What a base system takes in the cache, in bytes: 330 MiB were measured.
const PER_BASE: u64 = 400 << 20;

/// See the manual above.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Storage(pub Backing);

/// What the storage is kept on.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub enum Backing {
    /// A directory of a file system that is there.
    Directory(#[serde(deserialize_with = "crate::words::de_path")] PathBuf),
    /// A file system of Btrfs.
    Btrfs {
        /// Where it is mounted.
        #[serde(deserialize_with = "crate::words::de_path")]
        path: PathBuf,
        /// What holds it.
        on: On,
    },
    /// A volume of LVM.
    Lvm {
        /// Where it is mounted.
        #[serde(deserialize_with = "crate::words::de_path")]
        path: PathBuf,
        /// The volume.
        volume: lvm::Volume,
    },
    /// A dataset of ZFS.
    Zfs {
        /// Where it is mounted.
        #[serde(deserialize_with = "crate::words::de_path")]
        path: PathBuf,
        /// The dataset.
        dataset: String,
    },
}

/// What is to be mounted at `path`.
fn mount(source: String, path: &Path, kind: &'static str, options: &str) -> Mount {
    Mount { source, path: path.to_owned(), kind, options: options.to_owned(), step: "Storage" }
}

/// Complains if the kernel neither lists `module` in `table` nor has a module of that kind to load.
fn require_module(cx: &Cx, module: &str, table: &str) -> Result<()> {
    let known = fs::read_to_string(table).with_context(|| format!("read `{table}`"))?;
    if known.split_whitespace().any(|word| word == module) {
        return Ok(());
    }
    let name = if module == "device-mapper" { "dm_mod" } else { module };
    let can_load = program::find("modprobe").is_some()
        && cx.probe(&Cmd::new("modprobe").args(["--dry-run", "--quiet", name]))?.status.success();
    ensure!(
        can_load,
        "this kernel has no {module} ({table} does not list it, and there is no module `{name}`): run a kernel that has it, such \
         as Debian's own (`apt-get install linux-image-$(dpkg --print-architecture)`), or use `Storage(Directory(...))`"
    );
    Ok(())
}

impl FarmStep<Farm> for Storage {
    fn title(&self, _at: &Farm) -> String {
        format!("prepare {} for the containers", self.path().display())
    }

    fn facts(&self, _at: &Farm) -> Inputs {
        Inputs::default()
    }

    fn shape(&self, at: &mut Farm) -> Result<()> {
        let path = self.path();
        words::path(&path.to_string_lossy(), "the storage")?;
        match &self.0 {
            Backing::Directory(_) => {}
            Backing::Btrfs { on, .. } => {
                ensure_plain(path, "the storage")?;
                on.ensure_sound()?;
                at.tool_packages.push("btrfs-progs");
            }
            Backing::Lvm { volume, .. } => {
                ensure_plain(path, "the storage")?;
                volume.ensure_sound()?;
            }
            Backing::Zfs { dataset, .. } => zfs::ensure_name(dataset)?,
        }
        path.clone_into(&mut at.storage);
        Ok(())
    }

    fn needs(&self, _at: &Farm) -> Vec<Need> {
        match self.0 {
            Backing::Directory(_) => Vec::new(),
            _ => vec![Need::IfAny(Resource::new(PACKAGES, "host"))],
        }
    }

    fn provides(&self, at: &Farm) -> Vec<Resource> {
        vec![Resource::new(STORAGE, at.storage.display().to_string())]
    }

    fn claims(&self, _at: &Farm) -> Vec<Claim> {
        vec![Mount::lock()]
    }

    fn precondition(&self, cx: &Cx, at: &Farm) -> Result<()> {
        for directory in directories(at) {
            let free = directory.is_dir() || directory.symlink_metadata().is_err();
            ensure!(free, "`{}` is there and is no directory: move it out of the way", directory.display());
        }
        if self.is_to_be_made()? {
            let tools = ["lvm2", "zfsutils-linux", "zfs-dkms"];
            return self.ensure_possible(cx, at).map_err(at.until_installed(&tools));
        }
        let volume = Volume::of(&at.storage)?;
        volume.require_rootfs()?;
        volume.require_space(missing_space(at, &volume)?)
    }

    fn check(&self, cx: &Cx, at: &Farm) -> Result<Check> {
        let mounted = match (self.mount(), self.dataset()) {
            (Some(mount), _) => mount.check_line()?.and_then(|| {
                Ok(match mount.is_mounted()? {
                    true => Check::Satisfied,
                    false => {
                        Check::needed(format!("{} is not mounted at {}", mount.source, mount.path.display()))
                    }
                })
            })?,
            (None, Some(dataset)) => dataset.check(cx)?,
            (None, None) => Check::Satisfied,
        };
        mounted.and_then(|| {
            let missing = directories(at).into_iter().find(|directory| !directory.is_dir());
            Ok(missing
                .map_or(Check::Satisfied, |it| Check::needed(format!("{} does not exist", it.display()))))
        })
    }

    fn apply(&self, cx: &Cx, at: &Farm) -> Result<()> {
        if let Some(mount) = self.mount() {
            if !mount.is_mounted()? {
                self.make(cx)?;
                mount.ensure_hides_nothing()?;
                ours::make_directories(cx, &mount.path, 0o755)?;
                mount.mount(cx)?;
            }
            mount.write_line()?;
        }
        if let Some(dataset) = self.dataset() {
            dataset.apply(cx)?;
        }
        ours::make_directories(cx, &at.containers(), 0o755)
    }

    fn undo<'a>(&'a self, cx: &Cx, at: &'a Farm) -> Result<Undo<'a>> {
        let directories = ours::undo_directories(cx)?;
        if let Some(dataset) = self.dataset() {
            return Ok(directories.keep(format!("the dataset {0} stays: `zfs destroy {0}`", dataset.name)));
        }
        let Some(mount) = self.mount() else { return Ok(directories) };
        if !mount.is_ours_to_undo(cx)? {
            return Ok(directories);
        }
        let what = format!("umount {}, if nothing is left in it", mount.path.display());
        Ok(Undo::default().act_if(what, move |cx| self.unmount(cx, at, &mount)).and(directories))
    }
}

impl Storage {
    fn path(&self) -> &Path {
        match &self.0 {
            Backing::Directory(path) => path,
            Backing::Btrfs { path, .. } | Backing::Lvm { path, .. } | Backing::Zfs { path, .. } => path,
        }
    }

    /// What is to be mounted by us.
    fn mount(&self) -> Option<Mount> {
        match &self.0 {
            Backing::Btrfs { path, on } => Some(on.mount(path)),
            Backing::Lvm { path, volume } => Some(volume.mount(path)),
            Backing::Directory(_) | Backing::Zfs { .. } => None,
        }
    }

    fn dataset(&self) -> Option<Dataset<'_>> {
        let Backing::Zfs { path, dataset } = &self.0 else { return None };
        // What root file systems need: lists of access, which journald sets, kept with the file.
        let properties = [("compression", "lz4"), ("acltype", "posix"), ("xattr", "sa")];
        let properties = properties.map(|(name, value)| (name, value.to_owned())).into();
        Some(Dataset { name: dataset, path: path.clone(), properties })
    }

    /// Whether something has yet to be mounted there.
    fn is_to_be_made(&self) -> Result<bool> {
        match self.mount() {
            Some(mount) => Ok(!mount.is_mounted()?),
            None => Ok(matches!(self.0, Backing::Zfs { .. })),
        }
    }

    fn ensure_possible(&self, cx: &Cx, at: &Farm) -> Result<()> {
        if let Some(mount) = self.mount() {
            mount.ensure_ours()?;
            mount.ensure_hides_nothing()?;
        }
        let bytes = all_space(at);
        match &self.0 {
            Backing::Directory(_) => Ok(()),
            Backing::Btrfs { on, .. } => on.precondition(cx, bytes),
            Backing::Lvm { volume, .. } => volume.precondition(cx, bytes),
            Backing::Zfs { .. } => match self.dataset() {
                Some(dataset) => dataset.precondition(cx, "a storage on ZFS").map(drop),
                None => Ok(()),
            },
        }
    }

    /// Says what is left in it, or takes it away: the mount, its line, and a file that was made for it.
    fn unmount(&self, cx: &Cx, at: &Farm, mount: &Mount) -> Result<Option<String>> {
        let rootfs = at.containers();
        if ours::made_directory(cx, &rootfs)? && rootfs.is_dir() {
            let left = ours::remove_empty(&rootfs)?;
            if left.is_some() {
                return Ok(left);
            }
        }
        if is_used(&mount.path)? {
            return Ok(Some(format!("{} stays, with what is in it", mount.path.display())));
        }
        mount.unmount(cx)?;
        match &self.0 {
            Backing::Btrfs { on, .. } => on.remove(cx),
            Backing::Lvm { .. } => Ok(Some(format!("the volume {0} stays: `lvremove {0}`", mount.source))),
            Backing::Directory(_) | Backing::Zfs { .. } => Ok(None),
        }
    }

    fn make(&self, cx: &Cx) -> Result<()> {
        match &self.0 {
            Backing::Btrfs { on, .. } => on.make(cx),
            Backing::Lvm { volume, .. } => volume.make(cx),
            Backing::Directory(_) | Backing::Zfs { .. } => Ok(()),
        }
    }
}

/// Whether there is anything in a file system but what it was made with. Nothing of it is open afterwards.
fn is_used(root: &Path) -> Result<bool> {
    let read = || {
        let names = fs::read_dir(root)?.map(|entry| Ok(entry?.file_name()));
        names.collect::<std::io::Result<Vec<_>>>()
    };
    let names = read().with_context(|| format!("read {}", root.display()))?;
    Ok(names.iter().any(|name| name != "lost+found"))
}

/// The bytes that the farm takes where nothing of it is yet.
fn all_space(farm: &Farm) -> u64 {
    farm.members.names.len() as u64 * PER_CONTAINER
}

fn directories(farm: &Farm) -> [PathBuf; 2] {
    [farm.storage.clone(), farm.containers()]
}

/// The bytes that the farm still takes on `volume`.
fn missing_space(farm: &Farm, volume: &Volume) -> Result<u64> {
    let absent = |name: &&String| !farm.containers().join(name).join("rootfs").exists();
    let containers = farm.members.names.iter().filter(absent).count() as u64 * PER_CONTAINER;
    if containers == 0 || !volume.holds(&farm.lxc_cache)? {
        return Ok(containers);
    }
    // The architectures stand for the base systems: a base that is there already has made its containers, mostly.
    Ok(containers + farm.members.architectures.len() as u64 * PER_BASE)
}
