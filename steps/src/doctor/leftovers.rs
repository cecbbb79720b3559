//! What runs that were killed left behind: processes, mounts, half-made systems and containers.
//!
//! Most of it the next run continues or clears away by itself; that is said.

use super::{Finding, Patient};
use crate::guest::half_made;
use crate::mounts::{self, Mounted};
use anyhow::{Context, Result};
use drover_engine::{Cx, Leftover, guardian};
use drover_state::{Live, StateDir, live};
use std::path::{Path, PathBuf};

/// How much of a command is shown, in characters.
const LONG: usize = 60;

pub(super) fn look(_cx: &Cx, patient: &Patient<'_>) -> Result<Vec<Finding>> {
    let on = live()?;
    let mut found = Vec::new();
    if let Some(state) = patient.state
        && drover_state::holder(state)?.is_none()
    {
        found.extend(processes(state)?);
    }
    found.extend(mounts(patient)?);
    found.extend(half_made(patient)?.into_iter().map(|half_made| half_made.finding(&on)));
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
    Ok(guardian::leftovers(state)?.iter().map(process).collect())
}

fn process(Leftover { pid, command }: &Leftover) -> Finding {
    let words = command.split_whitespace().collect::<Vec<_>>().join(" ");
    let command = match words.char_indices().nth(LONG) {
        Some((end, _)) => format!("{}…", &words[..end]),
        None => words,
    };
    let text = format!("process {pid} was left behind by a killed run: {command}");
    Finding::amber("left-overs", text, "nothing: the next run ends it")
}

/// Mounts below our directories that everybody sees: ours are private, and nothing of them should stay.
fn mounts(patient: &Patient<'_>) -> Result<Vec<Finding>> {
    let table = mounts::all()?;
    let state = patient.state.map(|state| state.path().to_owned());
    let places: Vec<PathBuf> = [Some(patient.farm.containers()), Some(patient.farm.lxc_cache.clone()), state]
        .into_iter()
        .flatten()
        .map(|place| mounts::real(&place))
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

/// A system that is not complete.
#[derive(Debug)]
struct HalfMade {
    path: PathBuf,
    is_container: bool,
    /// Whether the mark on it says that somebody is at it.
    is_in_work: bool,
}

impl HalfMade {
    /// What is to be said of it, while these runs are on: any of them may be making it.
    fn finding(&self, on: &[Live]) -> Finding {
        let what = if self.is_container { "container" } else { "base system" };
        let shown = self.path.display();
        if let Some(Live { pid, .. }) = on.first() {
            let text = format!(
                "{shown} is a {what} that is not complete: a run is on, process {pid}, which may be making it"
            );
            return Finding::green("left-overs", text);
        }
        if self.is_in_work {
            let text = format!("{shown} is a {what} that is not complete: somebody is making it");
            return Finding::green("left-overs", text);
        }
        let mend = match self.is_container {
            true => "nothing: the next run removes it, and makes it anew",
            false => "nothing: the next run goes on with it",
        };
        Finding::amber("left-overs", format!("{shown} is a {what} that is not complete"), mend)
    }
}

fn half_made(patient: &Patient<'_>) -> Result<Vec<HalfMade>> {
    let mut found = Vec::new();
    for distribution in entries(&patient.farm.lxc_cache)? {
        let partial = entries(&distribution)?.into_iter();
        let partial = partial.filter(|path| path.extension().is_some_and(|end| end == "partial"));
        found.extend(partial.map(|path| HalfMade { path, is_container: false, is_in_work: false }));
    }
    for path in entries(&patient.farm.containers())? {
        let mark = path.join(half_made::MARK);
        if mark.exists() {
            let is_in_work = half_made::is_locked(&mark)?;
            found.push(HalfMade { path, is_container: true, is_in_work });
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
    use super::*;
    use crate::doctor::Level;
    use crate::mounts::parse;

    #[test]
    fn what_a_run_is_making_is_no_left_over() {
        let base =
            |is_in_work| HalfMade { path: "/c/rootfs.partial".into(), is_container: false, is_in_work };
        let on = [Live { pid: 7, holder: None, state: "/elsewhere".into() }];
        for (half_made, on, level, says) in [
            (base(false), &[][..], Level::Amber, "that is not complete"),
            (base(false), &on[..], Level::Green, "process 7, which may be making it"),
            (base(true), &[][..], Level::Green, "somebody is making it"),
        ] {
            let finding = half_made.finding(on);
            assert!(finding.level == level && finding.found.contains(says), "{finding:?}");
        }
        let long = Leftover { pid: 9, command: format!("sh -c 'a\nb{}'", "x".repeat(1000)) };
        assert!(process(&long).found.len() < 150, "{}", process(&long).found);
    }

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
