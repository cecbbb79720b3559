//! What runs that were killed left behind: processes, mounts, half-made systems and containers.
//!
//! Most of it the next run continues or clears away by itself; that is said.

use super::{Finding, Patient};
use crate::guest::MARK as HALF_MADE;
use crate::mounts::{self, Mounted};
use anyhow::{Context, Result};
use drover_engine::{Cx, Leftover, guardian};
use drover_state::StateDir;
use std::path::{Path, PathBuf};

pub(super) fn look(_cx: &Cx, patient: &Patient<'_>) -> Result<Vec<Finding>> {
    let mut found = Vec::new();
    if let Some(state) = patient.state
        && drover_state::holder(state)?.is_none()
    {
        found.extend(processes(state)?);
    }
    found.extend(mounts(patient)?);
    found.extend(half_made(patient)?);
    if found.is_empty() {
        found.push(Finding::green(
            "left-overs",
            "none: no process, mount or half-made system of a killed run",
        ));
    }
    Ok(found)
}

/// Processes of attempts that were killed with the last run, while none is on.
fn processes(state: &StateDir) -> Result<Vec<Finding>> {
    let found = guardian::leftovers(state)?.into_iter().map(|Leftover { pid, command }| {
        let text = format!("process {pid} was left behind by a killed run: {command}");
        Finding::amber("left-overs", text, "nothing: the next run ends it")
    });
    Ok(found.collect())
}

/// Mounts below our directories that everybody sees: ours are private, and nothing of them should stay.
fn mounts(patient: &Patient<'_>) -> Result<Vec<Finding>> {
    let table = mounts::all()?;
    let state = patient.state.map(|state| state.path().to_owned());
    let places: Vec<PathBuf> = [Some(patient.farm.containers()), Some(patient.farm.lxc_cache.clone()), state]
        .into_iter()
        .flatten()
        .collect();
    let stray = stray_mounts(&table, &places).into_iter().map(|place| {
        let text = format!("something is mounted at {}", place.display());
        Finding::amber("left-overs", text, format!("umount {}, if nobody needs it", place.display()))
    });
    Ok(stray.collect())
}

/// Where something is mounted below, but not at, one of these places.
fn stray_mounts(table: &[Mounted], places: &[PathBuf]) -> Vec<PathBuf> {
    let points = table.iter().map(|mount| mount.point.clone());
    points.filter(|point| places.iter().any(|place| point != place && point.starts_with(place))).collect()
}

fn half_made(patient: &Patient<'_>) -> Result<Vec<Finding>> {
    let mut found = Vec::new();
    for distribution in entries(&patient.farm.lxc_cache)? {
        let partial = entries(&distribution)?;
        let partial = partial.iter().filter(|path| path.extension().is_some_and(|end| end == "partial"));
        found.extend(partial.map(|path| {
            let text = format!("{} is a base system that is not complete", path.display());
            Finding::amber("left-overs", text, "nothing: the next run goes on with it")
        }));
    }
    for container in entries(&patient.farm.containers())? {
        if container.join(HALF_MADE).exists() {
            let text = format!("{} is a container that is not complete", container.display());
            found.push(Finding::amber(
                "left-overs",
                text,
                "nothing: the next run removes it, and makes it anew",
            ));
        }
    }
    Ok(found)
}

/// What is in a directory; nothing, if there is none.
fn entries(directory: &Path) -> Result<Vec<PathBuf>> {
    if !directory.is_dir() {
        return Ok(Vec::new());
    }
    let read = directory.read_dir().with_context(|| format!("read `{}`", directory.display()))?;
    read.map(|entry| Ok(entry?.path())).collect()
}

#[cfg(test)]
mod tests {
    use super::stray_mounts;
    use crate::mounts::parse;
    use std::path::PathBuf;

    #[test]
    fn the_storage_itself_may_be_a_mount_but_nothing_in_it() {
        let info = b"22 1 0:21 / /srv/my\\040libvirt rw - zfs pool rw\n\
                     23 22 0:5 / /srv/my\\040libvirt/rootfs/a/rootfs/proc rw - proc p rw\n";
        let places = [PathBuf::from("/srv/my libvirt"), PathBuf::from("/var/cache/lxc")];
        assert_eq!(
            stray_mounts(&parse(info), &places),
            [PathBuf::from("/srv/my libvirt/rootfs/a/rootfs/proc")]
        );
    }
}
