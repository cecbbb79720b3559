//! What comes with `StartDomain`: drop-ins for units of the container's systemd that cannot start there as they are.
//!
//! **Credentials.** A systemd from 247 on prepares a unit's credentials (`ImportCredential=`, `LoadCredential=` and the like) in
//! a process that it clones with CLONE_NEWNS. Every qemu-user refuses that (EINVAL), so each such unit ends with
//! `243/CREDENTIALS`: tmpfiles and sysusers in Debian 12, journald as well in Debian 13. One drop-in for all services empties
//! these lists, so that it counts for units that packages bring later, too.
//!
//! **/tmp.** From Debian 13 on it is a tmpfs of half the memory that the system sees, which in a container is the host's. A
//! drop-in for `tmp.mount` bounds it by half of the domain's memory.
//!
//! **Modules of the kernel.** From Debian 13 on systemd comes without the library that loads them (libkmod). A container that may
//! load modules then has a failed `systemd-modules-load.service`, and is `degraded`. A drop-in leaves that to the host.
//!
//! It does not read units: a systemd is known by its version.

use crate::container::Container;
use crate::dpkg::Status;
use crate::inputs;
use crate::ours;
use crate::resource;
use crate::step::FarmStep;
use anyhow::Result;
use drover_engine::{Access, Check, Cx, Inputs, Need, Resource, Rootfs, Undo};
use serde::Serialize;

/// Whether a container may need drop-ins.
pub(super) fn may_need(at: &Container) -> bool {
    at.base.is_emulated() || at.base.release.quirks.tmp_in_memory
}

/// See above.
#[derive(Debug, Serialize)]
pub(super) struct UnitDropIns;

/// A drop-in for all services, the last one by its name.
const CREDENTIALS: &str = "etc/systemd/system/service.d/zz-drover.conf";
/// One for the mount of /tmp; one with a later name counts more.
const TMP: &str = "etc/systemd/system/tmp.mount.d/10-drover.conf";
/// One for the service that loads modules.
const MODULES: &str = "etc/systemd/system/systemd-modules-load.service.d/10-drover.conf";
/// The first systemd that loads its libraries when it needs them: packages need not have them all.
const LOADS_LATER: u32 = 257;
const NO_MODULES: &str = "# Written by Drover: a container leaves the kernel's modules to the host.\n[Unit]\n\
                          ConditionVirtualization=!container\n";
/// What mounts /tmp.
const TMP_MOUNT: &str = "usr/lib/systemd/system/tmp.mount";

/// The settings that give a unit credentials, and since which version of systemd they are known.
const SETTINGS: [(&str, u32); 5] = [
    ("LoadCredential", 247),
    ("SetCredential", 247),
    ("LoadCredentialEncrypted", 250),
    ("SetCredentialEncrypted", 250),
    ("ImportCredential", 254),
];

/// A drop-in that takes credentials from all services of a systemd of that version; nothing where it knows none.
fn without_credentials(version: u32) -> Option<String> {
    let known = SETTINGS.iter().filter(|(_, since)| version >= *since);
    let lines: String = known.map(|(name, _)| format!("{name}=\n")).collect();
    (!lines.is_empty()).then(|| {
        format!(
            "# Written by Drover: qemu-user has no CLONE_NEWNS, without which no service gets credentials.\n[Service]\n{lines}"
        )
    })
}

/// A drop-in for the mount of /tmp, where the domain has so much memory.
fn small_tmp(kib: u64) -> String {
    format!(
        "# Written by Drover: half of the container's memory, not of the host's.\n[Mount]\n\
         Options=mode=1777,strictatime,nosuid,nodev,size={}k,nr_inodes=1m\n",
        (kib / 2).max(1)
    )
}

/// The major version of the system's systemd, as its dpkg has it; `None` if it has none.
fn systemd(status: &Status) -> Option<u32> {
    let package = status.package("systemd").filter(|package| package.is_unpacked())?;
    let digits: String = package.version.chars().take_while(char::is_ascii_digit).collect();
    digits.parse().ok()
}

/// The drop-ins that a container is to have: path and text.
fn wanted(at: &Container, rootfs: &Rootfs) -> Result<Vec<(&'static str, String)>> {
    let mut wanted = Vec::new();
    let Some(version) = systemd(&Status::of(rootfs)?) else { return Ok(wanted) };
    if at.base.is_emulated() {
        wanted.extend(without_credentials(version).map(|text| (CREDENTIALS, text)));
    }
    if version >= LOADS_LATER {
        wanted.push((MODULES, NO_MODULES.to_owned()));
    }
    if let Some(memory) = at.memory
        && rootfs.entry(TMP_MOUNT)?.is_some()
    {
        wanted.push((TMP, small_tmp(memory.kib)));
    }
    Ok(wanted)
}

impl FarmStep<Container> for UnitDropIns {
    fn title(&self, at: &Container) -> String {
        format!("fit the units of {} to a container", at.name)
    }

    fn facts(&self, at: &Container) -> Inputs {
        let facts = inputs::rootfs(at).and(inputs::arch(&at.base));
        at.memory.iter().fold(facts, |facts, memory| facts.with("domain.memory", memory))
    }

    fn needs(&self, at: &Container) -> Vec<Need> {
        let edits = ["packages", "file", "command"].map(|what| at.edit(resource::GUEST_EDIT, what));
        [Need::Must(at.resource(resource::ROOTFS))].into_iter().chain(edits.map(Need::IfAny)).collect()
    }

    fn provides(&self, at: &Container) -> Vec<Resource> {
        at.edited(resource::GUEST_EDIT, "drop-ins").into()
    }

    fn goes_with(&self, at: &Container) -> Option<Resource> {
        Some(at.resource(resource::ROOTFS))
    }

    fn undo<'a>(&'a self, cx: &Cx, at: &'a Container) -> Result<Undo<'a>> {
        [CREDENTIALS, TMP, MODULES]
            .into_iter()
            .try_fold(Undo::default(), |undo, path| Ok(undo.and(ours::undo_inside(cx, &at.rootfs(), path)?)))
    }

    fn check(&self, _cx: &Cx, at: &Container) -> Result<Check> {
        let Some(rootfs) = Rootfs::find(at.rootfs())? else {
            return Ok(Check::needed(format!("the container `{}` does not exist", at.name)));
        };
        wanted(at, &rootfs)?.into_iter().try_fold(Check::Satisfied, |check, (path, text)| {
            check.and_then(|| {
                let before = rootfs.read_to_edit(path)?;
                Ok(Check::text(&format!("/{path} of {}", at.name), 0o644, before.as_deref(), &text))
            })
        })
    }

    fn apply(&self, cx: &Cx, at: &Container) -> Result<()> {
        let rootfs = Rootfs::open(at.rootfs())?;
        for (path, text) in wanted(at, &rootfs)? {
            let directory = path.rsplit_once('/').map_or("", |(directory, _)| directory);
            rootfs.mkdir_all(directory, Access::root(0o755))?;
            ours::write_inside(cx, &rootfs, path, &text, Access::root(0o644))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_systemd_is_told_what_it_knows() {
        let names = |version| {
            let text = without_credentials(version).unwrap_or_default();
            text.lines().skip(2).map(|line| line.trim_end_matches('=').to_owned()).collect::<Vec<_>>()
        };
        assert!(without_credentials(246).is_none());
        assert_eq!(names(247), ["LoadCredential", "SetCredential"]);
        assert_eq!((names(252).len(), names(257).len()), (4, 5));
        let of = |version: &str| {
            systemd(&Status::parse(&format!(
                "Package: systemd\nStatus: install ok installed\nVersion: {version}\n"
            )))
        };
        assert_eq!([of("257.13-1~deb13u1"), of("215-17+deb8u7"), of("")], [Some(257), Some(215), None]);
    }

    #[test]
    fn tmp_is_half_of_the_containers_memory() {
        assert!(small_tmp(1 << 20).contains(",size=524288k,"));
        assert!(small_tmp(1).contains(",size=1k,"));
    }
}
