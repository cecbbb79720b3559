//! # JoinControllers
//! Keeps an old guest's systemd from joining the host's cgroups, on which it would fail to start.
//!
//! The document: "Failed to create symlink /sys/fs/cgroup/net_cls: Operation not permitted … can happen when a newer Linux
//! host system with cgroupsv2 capabilities runs an older guest distro which only knows about cgroupsv1, such as when
//! hosting a CentOS 7 container on a Debian 11 server. One workaround: `echo 'JoinControllers=' >>
//! "$ALTROOT/etc/systemd/system.conf"`". (Its other one, to upgrade systemd in the guest, "arguably would logically
//! compromise the idea of non-regression builds in the old environment as is".)
//!
//! ```ron
//! JoinControllers
//! ```
//! **Changes** `/etc/systemd/system.conf` in the container: `JoinControllers=` at its end, in the section `[Manager]`,
//! once, unless its last word on that is the empty list already. A file that is a link is an error.
//!
//! Where it is needed (Debian 8, CentOS 7: their systemd knows version 1 of cgroups alone), the plan's other steps ask for it.
//! `drover doctor` names it for every container whose systemd is older than 233 on a host that has version 2 alone.
//!
//! Kernels such as Debian 13's (6.12) have no version 1 of the controllers `memory` and `cpuset` at all, and no boot option
//! brings it: there, what an old system wants of version 1 cannot be had, and it may not start with this step either. `drover
//! plan` and `drover doctor` say so. A host with Debian 12's kernel (6.1) has both.
//!
//! **To take it back** `drover destroy`, or remove the line.

use crate::container::Container;
use crate::inputs;
use crate::ours;
use crate::resource;
use crate::step::FarmStep;
use anyhow::Result;
use drover_engine::{Access, Check, Cx, Inputs, Need, Resource, Rootfs, Undo};
use serde::{Deserialize, Serialize};

const DIRECTORY: &str = "etc/systemd";
const FILE: &str = "etc/systemd/system.conf";

/// See the manual above.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct JoinControllers {}

/// The text with the empty list as its last word.
fn edited(before: &str) -> String {
    let (mut section, mut last) = ("", None);
    for line in before.lines().map(str::trim) {
        if line.starts_with('[') {
            section = line;
        } else if let Some(value) = line.strip_prefix("JoinControllers=").filter(|_| section == "[Manager]") {
            last = Some(value.trim());
        }
    }
    if last == Some("") {
        return before.to_owned();
    }
    let gap = if before.is_empty() || before.ends_with('\n') { "" } else { "\n" };
    let header = if section == "[Manager]" { "" } else { "[Manager]\n" };
    format!("{before}{gap}{header}JoinControllers=\n")
}

impl FarmStep<Container> for JoinControllers {
    fn title(&self, at: &Container) -> String {
        format!("keep the systemd of {} out of the host's cgroups", at.name)
    }

    fn facts(&self, at: &Container) -> Inputs {
        inputs::rootfs(at)
    }

    fn shape(&self, at: &mut Container) -> Result<()> {
        at.joins_controllers = false;
        Ok(())
    }

    fn needs(&self, at: &Container) -> Vec<Need> {
        vec![
            Need::Must(at.resource(resource::ROOTFS)),
            Need::IfAny(at.edit(resource::GUEST_EDIT, "packages")),
        ]
    }

    fn provides(&self, at: &Container) -> Vec<Resource> {
        at.edited(resource::GUEST_EDIT, "join-controllers").into()
    }

    fn goes_with(&self, at: &Container) -> Option<Resource> {
        Some(at.resource(resource::ROOTFS))
    }

    fn undo<'a>(&'a self, cx: &Cx, at: &'a Container) -> Result<Undo<'a>> {
        ours::undo_inside(cx, &at.rootfs(), FILE)
    }

    fn check(&self, _cx: &Cx, at: &Container) -> Result<Check> {
        let Some(rootfs) = Rootfs::find(at.rootfs())? else {
            return Ok(Check::needed(format!("the container `{}` does not exist", at.name)));
        };
        let before = rootfs.read_to_edit(FILE)?;
        let after = edited(before.as_deref().unwrap_or_default());
        Ok(Check::text(
            &format!("/{FILE} of {}", at.name),
            rootfs.mode_there(FILE)?,
            before.as_deref(),
            &after,
        ))
    }

    fn apply(&self, cx: &Cx, at: &Container) -> Result<()> {
        let rootfs = Rootfs::open(at.rootfs())?;
        let before = rootfs.read_to_edit(FILE)?.unwrap_or_default();
        rootfs.mkdir_all(DIRECTORY, Access::root(0o755))?;
        ours::write_inside(cx, &rootfs, FILE, &edited(&before), Access::root(0o644))
    }
}

#[cfg(test)]
mod tests {
    use super::edited;

    #[track_caller]
    fn check(before: &str, after: &str) {
        assert_eq!(edited(before), after);
        assert_eq!(edited(after), after, "a second edit changes it again");
    }

    #[test]
    fn the_last_word_is_the_empty_list() {
        check("", "[Manager]\nJoinControllers=\n");
        check(
            "[Manager]\n#JoinControllers=cpu,cpuacct\n",
            "[Manager]\n#JoinControllers=cpu,cpuacct\nJoinControllers=\n",
        );
        check("[Manager]\nJoinControllers=\n", "[Manager]\nJoinControllers=\n");
        check(
            "[Manager]\nJoinControllers=cpu,cpuacct",
            "[Manager]\nJoinControllers=cpu,cpuacct\nJoinControllers=\n",
        );
        check("[Manager]\n[Other]\nx=1\n", "[Manager]\n[Other]\nx=1\n[Manager]\nJoinControllers=\n");
    }
}
