//! The document's troubles, recognised by their symptoms: a line of a log, a version in a file, a mount; and containers that
//! run otherwise than they are defined.
//!
//! Each names the step that mends it. It does not look whether the plan has that step already and waits to be run.

use super::{Finding, Patient};
use crate::domain;
use crate::dpkg::Status;
use crate::host::cgroups;
use crate::mounts::{self, Mounted};
use crate::tail::tail;
use anyhow::{Context, Result};
use drover_engine::{Cx, Rootfs};
use drover_state::NodeId;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

/// What an old systemd says on its console where it may not arrange the controllers, by the document's own words.
const NET_CLS: &str = "Failed to create symlink /sys/fs/cgroup/net_cls";

/// The first version of systemd that gets along with version 2 of control groups.
const UNIFIED_SINCE: u32 = 233;

/// The document's second way for the first trouble, with its warning.
const UPGRADE: &str = "or upgrade systemd in the container, from backports or whoever else maintains one: not by the \
     distribution itself, then, and no longer the old environment as is, which is what it is there to test";

/// Below how many seconds between transaction groups the document sees needless writing.
const TXG_TIMEOUT: u64 = 30;

pub(super) fn look(cx: &Cx, patient: &Patient<'_>) -> Result<Vec<Finding>> {
    let mut found = Vec::new();
    let has_version_1_only = !cgroups::is_pure()? && !cgroups::is_hybrid()?;
    for container in patient.containers {
        let name = &container.name;
        let said = complaint(name, &logs(patient, name)?)?;
        match Rootfs::find(container.rootfs())? {
            Some(rootfs) if said.is_none() => found.extend(old_systemd(name, &rootfs, has_version_1_only)?),
            _ => found.extend(said),
        }
        found.extend(outdated(cx, name)?);
    }
    let mounts = mounts::all()?;
    let places = [patient.farm.containers(), patient.farm.account.home.clone()];
    let on_zfs: Vec<&Path> =
        places.iter().map(PathBuf::as_path).filter(|place| is_on_zfs(&mounts, place)).collect();
    found.extend(zfs(&on_zfs, txg_timeout()?));
    Ok(found)
}

/// The logs in which a container's console may be found.
fn logs(patient: &Patient<'_>, name: &str) -> Result<Vec<PathBuf>> {
    let mut logs = vec![Path::new("/var/log/libvirt/lxc").join(format!("{name}.log"))];
    let Some(state) = patient.state else { return Ok(logs) };
    if let Some(run) = state.runs()?.last() {
        for step in ["start-domain", "await-ssh"] {
            logs.extend(state.logs(*run, &NodeId::new(name, step))?);
        }
    }
    Ok(logs)
}

/// The first trouble, by what the container's system says itself.
fn complaint(name: &str, logs: &[PathBuf]) -> Result<Option<Finding>> {
    for log in logs {
        if tail(log)?.contains(NET_CLS) {
            let text = format!("`{name}` says in {}: {NET_CLS}", log.display());
            return Ok(Some(Finding::red(
                format!("container {name}"),
                text,
                format!("add `JoinControllers` to the container's steps; {UPGRADE}"),
            )));
        }
    }
    Ok(None)
}

/// A domain that was started before its definition was changed.
fn outdated(cx: &Cx, name: &str) -> Result<Option<Finding>> {
    let Some(how) = domain::outdated(cx, name)? else { return Ok(None) };
    Ok(Some(Finding::amber(
        format!("container {name}"),
        format!("runs {how}"),
        format!(
            "`virsh -c lxc:///system shutdown {name}`, and run the plan; with `StartDomain(outdated: Restart)` a run does both"
        ),
    )))
}

/// The first trouble, before it comes: by the version of systemd in the container.
fn old_systemd(name: &str, rootfs: &Rootfs, has_version_1_only: bool) -> Result<Option<Finding>> {
    let status = Status::of(rootfs)?;
    let version = status.package("systemd").and_then(|package| major(&package.version));
    let conf = rootfs.read("etc/systemd/system.conf")?.unwrap_or_default();
    let is_told = conf.lines().any(|line| line.trim().starts_with("JoinControllers="));
    Ok(match version {
        Some(version) if version < UNIFIED_SINCE && !is_told && !has_version_1_only => Some(Finding::amber(
            format!("container {name}"),
            format!(
                "has systemd {version}, which knows control groups of version 1 only, on a host with version 2"
            ),
            format!("if it does not start: add `JoinControllers` to its steps; {UPGRADE}"),
        )),
        _ => None,
    })
}

fn major(version: &str) -> Option<u32> {
    let version = version.split_once(':').map_or(version, |(_, version)| version);
    version.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
}

/// The second trouble: what is kept on ZFS is written far more often than it changes.
fn zfs(places: &[&Path], timeout: Option<u64>) -> Vec<Finding> {
    let Some(first) = places.first() else { return Vec::new() };
    let mut found = vec![Finding::amber(
        "ZFS",
        format!("{} is on ZFS: small writes of builds cost many times their size", first.display()),
        "add `TmpfsWorkspace` to the containers' steps: workspaces in memory, caches in the home directory",
    )];
    if let Some(seconds) = timeout.filter(|seconds| *seconds < TXG_TIMEOUT) {
        found.push(Finding::amber(
            "ZFS",
            format!("zfs_txg_timeout is {seconds} s: everything is flushed that often"),
            "add `ZfsTxgTimeout` to the plan's host: 30 to 60 s",
        ));
    }
    found
}

fn txg_timeout() -> Result<Option<u64>> {
    let file = "/sys/module/zfs/parameters/zfs_txg_timeout";
    match fs::read_to_string(file) {
        Ok(text) => Ok(text.trim().parse().ok()),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).with_context(|| format!("read `{file}`")),
    }
}

fn is_on_zfs(mounts: &[Mounted], path: &Path) -> bool {
    mounts::above(mounts, path).is_some_and(|mount| mount.kind == "zfs")
}

#[cfg(test)]
mod tests {
    use super::super::Level;
    use super::*;

    #[test]
    fn a_line_of_a_log_names_the_step_and_the_second_way() -> Result<()> {
        let log = tempfile::NamedTempFile::new()?;
        assert_eq!(complaint("centos7", &[log.path().to_owned()])?, None);
        fs::write(
            &log,
            "systemd[1]: booting\nFailed to create symlink /sys/fs/cgroup/net_cls: Operation not permitted\n",
        )?;
        let found =
            complaint("centos7", &["/no/such".into(), log.path().to_owned()])?.context("it is recognised")?;
        assert_eq!(found.level, Level::Red);
        let mend = found.mend.context("there is a way")?;
        assert!(mend.contains("`JoinControllers`") && mend.contains("upgrade systemd"), "{mend}");
        Ok(())
    }

    #[test]
    fn an_old_systemd_is_told_before_it_fails() -> Result<()> {
        let place = tempfile::tempdir()?;
        fs::create_dir_all(place.path().join("var/lib/dpkg"))?;
        fs::create_dir_all(place.path().join("etc/systemd"))?;
        let rootfs = Rootfs::open(place.path())?;
        let install = |version: &str| {
            let text = format!(
                "Package: systemd\nStatus: install ok installed\nArchitecture: amd64\nVersion: {version}\n\n"
            );
            fs::write(place.path().join("var/lib/dpkg/status"), text)
        };
        install("215-17+deb8u13")?;
        assert!(
            old_systemd("deb8", &rootfs, false)?.is_some_and(|found| found.found.contains("systemd 215"))
        );
        assert_eq!(old_systemd("deb8", &rootfs, true)?, None);
        fs::write(place.path().join("etc/systemd/system.conf"), "[Manager]\nJoinControllers=\n")?;
        assert_eq!(old_systemd("deb8", &rootfs, false)?, None);
        install("252.38-1~deb12u1")?;
        fs::remove_file(place.path().join("etc/systemd/system.conf"))?;
        assert_eq!(old_systemd("deb12", &rootfs, false)?, None);
        Ok(())
    }

    #[test]
    fn a_mount_of_zfs_names_both_steps() {
        let mounts = mounts::parse(
            b"1 0 0:1 / / rw - ext4 pool/root rw\n2 1 0:2 / /srv rw - zfs pool/srv rw\n\
              3 2 0:3 / /srv/other rw - ext4 /dev/x rw\n",
        );
        assert!(is_on_zfs(&mounts, Path::new("/srv/libvirt/rootfs")));
        assert!(!is_on_zfs(&mounts, Path::new("/srv/other/x")));
        let steps = |timeout| -> Vec<_> {
            let found = zfs(&[Path::new("/srv/libvirt/rootfs")], timeout);
            found
                .into_iter()
                .filter_map(|found| found.mend)
                .map(|mend| mend.split('`').nth(1).map(str::to_owned))
                .collect()
        };
        assert_eq!(steps(Some(5)), [Some("TmpfsWorkspace".to_owned()), Some("ZfsTxgTimeout".to_owned())]);
        assert_eq!(steps(Some(60)), [Some("TmpfsWorkspace".to_owned())]);
        assert!(zfs(&[], Some(5)).is_empty());
    }
}
