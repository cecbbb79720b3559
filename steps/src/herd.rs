//! The herd: every container below the storage, as it is. Reads only; it does not know any plan.

use crate::dnsmasq_config;
use crate::dnsmasq_hosts::DnsmasqHosts;
use crate::domain::{self, Lookup};
use crate::farm::Farm;
use crate::guest::MARK;
use crate::survey;
use anyhow::{Context, Result};
use drover_engine::{Cx, Rootfs};
use serde::Serialize;
use std::collections::HashSet;
use std::fs;
use std::net::Ipv4Addr;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::SystemTime;

/// A root file system below this size cannot be a system that works.
const TINY: u64 = 50_000_000;

/// A container, as it is.
#[derive(Clone, Debug, Serialize)]
pub struct Animal {
    /// Its name.
    pub name: String,
    /// What libvirt says about its domain, `running` or `shut off`, or why it says nothing.
    pub state: String,
    /// The address that is reserved for it.
    pub address: Option<Ipv4Addr>,
    /// Debian's name of its architecture.
    pub architecture: Option<String>,
    /// The system in it, such as `Debian GNU/Linux 12 (bookworm)`.
    pub release: Option<String>,
    /// What its root file system takes on disk, in bytes; files with several names count once.
    pub size: u64,
    /// How old its directory is, in seconds; `None` where the file system does not know.
    pub age: Option<u64>,
    /// What is wrong with it.
    pub flags: Vec<Flag>,
    /// What could not be found out about it, and why.
    pub troubles: Vec<String>,
}

/// What is wrong with a container.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Flag {
    /// Its root file system is below 50 MB: an infant death.
    Tiny,
    /// `lxc-create` has not finished it, or no system is in it.
    HalfMade,
}

/// All containers below the farm's storage, by name.
///
/// # Errors
/// When the storage is there and cannot be read. No storage is no containers.
pub fn herd(cx: &Cx, farm: &Farm) -> Result<Vec<Animal>> {
    let place = farm.containers();
    if !place.try_exists()? {
        return Ok(Vec::new());
    }
    let reservations = dnsmasq_config::reservations(farm)?;
    let mut all = Vec::new();
    for entry in fs::read_dir(&place).with_context(|| format!("cannot read `{}`", place.display()))? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            let name = entry.file_name().to_string_lossy().into_owned();
            all.push(look_at(cx, &reservations, name, &entry.path())?);
        }
    }
    all.sort_by(|one, other| one.name.cmp(&other.name));
    Ok(all)
}

fn look_at(cx: &Cx, reservations: &DnsmasqHosts, name: String, directory: &Path) -> Result<Animal> {
    let rootfs = directory.join("rootfs");
    let mut troubles = Vec::new();
    let system = system(&rootfs).unwrap_or_else(|error| {
        troubles.push(format!("{error:#}"));
        survey::System::default()
    });
    let address = reservations.address(&name).unwrap_or_else(|error| {
        troubles.push(format!("{error:#}"));
        None
    });
    let state = match domain::state(cx, &name)? {
        Lookup::Found(state) => state,
        Lookup::Missing(reason) => reason,
    };
    let size = size(&rootfs)?;
    let half_made = directory.join(MARK).try_exists()? || system.pretty_name.is_none();
    let flags = [(size < TINY, Flag::Tiny), (half_made, Flag::HalfMade)];
    Ok(Animal {
        address,
        state,
        architecture: system.architecture,
        release: system.pretty_name,
        size,
        age: age(directory)?,
        flags: flags.into_iter().filter_map(|(applies, flag)| applies.then_some(flag)).collect(),
        name,
        troubles,
    })
}

fn system(rootfs: &Path) -> Result<survey::System> {
    match Rootfs::find(rootfs)? {
        Some(rootfs) => survey::system(&rootfs),
        None => Ok(survey::System::default()),
    }
}

fn age(directory: &Path) -> Result<Option<u64>> {
    let made = fs::symlink_metadata(directory)?.created();
    // Not every file system knows when something was made.
    Ok(made.ok().and_then(|made| SystemTime::now().duration_since(made).ok()).map(|age| age.as_secs()))
}

/// What a tree takes on disk, on its own file system and without following links.
fn size(root: &Path) -> Result<u64> {
    let Ok(top) = fs::symlink_metadata(root) else { return Ok(0) };
    let mut total = top.blocks() * 512;
    let mut seen = HashSet::new();
    let mut open = if top.is_dir() { vec![root.to_owned()] } else { Vec::new() };
    while let Some(directory) = open.pop() {
        for entry in
            fs::read_dir(&directory).with_context(|| format!("cannot read `{}`", directory.display()))?
        {
            let entry = entry?;
            let meta = entry.metadata()?;
            if meta.is_dir() && meta.dev() == top.dev() {
                open.push(entry.path());
            }
            if meta.is_dir() || meta.nlink() == 1 || seen.insert((meta.dev(), meta.ino())) {
                total += meta.blocks() * 512;
            }
        }
    }
    Ok(total)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_count_every_file_once_and_follow_no_link() {
        let directory = tempfile::tempdir().expect("directory");
        let root = directory.path().join("rootfs");
        assert_eq!(size(&root).expect("absent"), 0);
        fs::create_dir(&root).expect("made");
        let empty = size(&root).expect("empty");
        fs::write(root.join("a"), vec![1; 100_000]).expect("written");
        let one = size(&root).expect("one file");
        assert!(one >= empty + 100_000, "{one}");
        fs::hard_link(root.join("a"), root.join("b")).expect("linked");
        std::os::unix::fs::symlink("/usr", root.join("c")).expect("linked");
        assert!(size(&root).expect("names more") < one + 50_000);
    }
}
