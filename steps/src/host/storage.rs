//! # Storage
//! Where the containers are kept.
//!
//! The document: "Prepare an LVM partition (or preferably some other tech like ZFS) as `/srv/libvirt` and create a
//! `/srv/libvirt/rootfs` to hold the containers".
//!
//! ```ron
//! Storage(Directory("/srv/libvirt"))
//! ```
//!
//! | storage | meaning |
//! | --- | --- |
//! | `Directory(PATH)` | a directory of a file system that is there and mounted |
//!
//! Before anything runs it is found out whether the file system can hold root file systems at all (not read-only, no
//! network file system, which keeps neither devices nor owners; not mounted `nodev`, `noexec` or `nosuid`) and has room: 600
//! MiB for each container that is not there yet, and 400 MiB for each base system where that is kept on it as well.
//!
//! **Changes** makes the directory and `rootfs` in it, mode 755, owned by root; what is there stays as it is.
//!
//! **To take it back** `drover destroy`; or destroy the containers, then `rmdir` both.

use super::privilege;
use super::volume::Volume;
use crate::farm::Farm;
use crate::ours;
use crate::resource::STORAGE;
use crate::step::FarmStep;
use anyhow::{Result, ensure};
use drover_engine::{Check, Cx, Resource, Undo};
use serde::Deserialize;
use std::path::{Path, PathBuf};

/// What a container takes, with the package set `comfort`, in bytes: 300 MiB were measured for a bare one.
const PER_CONTAINER: u64 = 600 << 20;
/// What a base system takes in the cache, in bytes: 330 MiB were measured.
const PER_BASE: u64 = 400 << 20;

/// See the manual above.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Storage(pub Backing);

/// What the storage is kept on.
#[derive(Debug, Deserialize)]
pub enum Backing {
    /// A directory of a file system that is there.
    Directory(PathBuf),
}

impl FarmStep<Farm> for Storage {
    fn title(&self, _at: &Farm) -> String {
        format!("prepare {} for the containers", self.path().display())
    }

    fn shape(&self, at: &mut Farm) -> Result<()> {
        let path = self.path();
        ensure!(path.is_absolute(), "the storage `{0}` must be a path from the root: `/{0}`", path.display());
        path.clone_into(&mut at.storage);
        Ok(())
    }

    fn provides(&self, at: &Farm) -> Vec<Resource> {
        vec![Resource::new(STORAGE, at.storage.display().to_string())]
    }

    fn precondition(&self, _cx: &Cx, at: &Farm) -> Result<()> {
        privilege::require_root()?;
        for directory in directories(at) {
            let free = directory.is_dir() || directory.symlink_metadata().is_err();
            ensure!(free, "`{}` is there and is no directory: move it out of the way", directory.display());
        }
        let volume = Volume::of(&at.storage)?;
        volume.require_rootfs()?;
        volume.require_space(missing_space(at, &volume)?)
    }

    fn check(&self, _cx: &Cx, at: &Farm) -> Result<Check> {
        let missing = directories(at).into_iter().find(|directory| !directory.is_dir());
        Ok(missing.map_or(Check::Satisfied, |it| Check::needed(format!("{} does not exist", it.display()))))
    }

    fn apply(&self, cx: &Cx, at: &Farm) -> Result<()> {
        ours::make_directories(cx, &at.containers(), 0o755)
    }

    fn undo<'a>(&'a self, cx: &Cx, _at: &'a Farm) -> Result<Undo<'a>> {
        ours::undo_directories(cx)
    }
}

impl Storage {
    fn path(&self) -> &Path {
        match &self.0 {
            Backing::Directory(path) => path,
        }
    }
}

fn directories(farm: &Farm) -> [PathBuf; 2] {
    [farm.storage.clone(), farm.containers()]
}

/// The bytes that the farm still takes on `volume`.
fn missing_space(farm: &Farm, volume: &Volume) -> Result<u64> {
    let absent = |name: &&String| !farm.containers().join(name).join("rootfs").exists();
    let containers = farm.container_names.iter().filter(absent).count() as u64 * PER_CONTAINER;
    if containers == 0 || !volume.holds(&farm.lxc_cache)? {
        return Ok(containers);
    }
    // The architectures stand for the base systems: a base that is there already has made its containers, mostly.
    Ok(containers + farm.architectures.len() as u64 * PER_BASE)
}
