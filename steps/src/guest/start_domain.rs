//! # StartDomain
//! Starts the container.
//!
//! The document: `virsh start NAME`.
//!
//! ```ron
//! StartDomain
//! StartDomain(outdated: Restart)
//! ```
//! - `outdated` is what becomes of a domain that runs with other memory, processors, file systems or interfaces than its
//!   definition has by now: `Leave`, unless it is said, or `Restart`, which shuts it down, after a minute by force, and
//!   starts it again. What was being built in it is lost.
//!
//! **Before it**, where that is needed, comes the step `unit-drop-ins`, which writes drop-ins for units in the container's
//! `/etc/systemd/system`: `service.d/zz-drover.conf` takes credentials (`ImportCredential=` and the like) from all services of an
//! emulated systemd, since under qemu-user a service that has some cannot start; `tmp.mount.d/10-drover.conf` gives a
//! `/tmp` that is in memory half of the domain's memory, not of the host's; `systemd-modules-load.service.d/10-drover.conf` has a
//! systemd from 257 on load no modules into the host's kernel, for which it may lack the library, and would be `degraded`.
//!
//! **A systemd of 258 or later** (Debian 14) ends at once where it sees version 1 of cgroups. libvirt-LXC shows a container
//! what the host has; so on a host with version 1, such a container is left out of the run from the beginning.
//!
//! It starts after every edit of the domain and of the root file system that the plan has, when the bridge serves
//! addresses. A domain that runs is left alone otherwise; one that is paused goes on. When libvirt cannot start it, the end of
//! `/var/log/libvirt/lxc/NAME.log` is shown, and the log kept.
//!
//! **To take it back**: `drover destroy`; or `virsh -c lxc:///system shutdown NAME`, or `destroy` if it does not listen.

use crate::container::Container;
use crate::domain::{self, Lookup};
use crate::guest::unit_drop_ins::{self, UnitDropIns};
use crate::host::{Fitness, cgroups, fitness};
use crate::inputs;
use crate::resource;
use crate::step::FarmStep;
use anyhow::{Context, Error, Result, bail, ensure};
use drover_engine::{Check, Claim, CommandError, Cx, Inputs, Need, Resource, Undo};
use serde::{Deserialize, Serialize};
use std::io::ErrorKind;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How long a domain that cannot run needs to fall over.
const SETTLE: Duration = Duration::from_secs(1);

/// How many lines of libvirt's log are shown.
const WORDS: usize = 8;

/// See the manual above.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StartDomain {
    /// What becomes of a domain that runs with an older definition.
    #[serde(default)]
    pub outdated: Outdated,
}

/// What becomes of a domain that runs with an older definition.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Outdated {
    /// It goes on with that.
    #[default]
    Leave,
    /// It is started again.
    Restart,
}

/// How long a domain may take to shut down before it is made to.
const SHUTDOWN: Duration = Duration::from_secs(60);

fn log(at: &Container) -> PathBuf {
    format!("/var/log/libvirt/lxc/{}.log", at.name).into()
}

/// What libvirt's log of the domain ends with; the log is kept.
fn last_words(cx: &Cx, at: &Container) -> Result<Vec<String>> {
    cx.keep_log(&log(at));
    let bytes = match std::fs::read(log(at)) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error).with_context(|| format!("read {}", log(at).display())),
    };
    let text = String::from_utf8_lossy(&bytes);
    let lines: Vec<_> = text.lines().collect();
    let tail = lines[lines.len().saturating_sub(WORDS)..].iter();
    Ok(tail.map(|line| format!("{}: {line}", log(at).display())).collect())
}

/// The failure of a command about the domain, with what libvirt's own log says before what the command said.
fn failed(cx: &Cx, at: &Container, mut error: CommandError) -> Result<Error> {
    let mut tail = last_words(cx, at)?;
    tail.append(&mut error.tail);
    Ok(Error::new(CommandError { tail, ..error }).context(format!("libvirt cannot start `{}`", at.name)))
}

impl StartDomain {
    /// How the domain that runs differs from its definition, if that matters.
    fn outdated(&self, cx: &Cx, at: &Container) -> Result<Option<String>> {
        match self.outdated {
            Outdated::Leave => Ok(None),
            Outdated::Restart => domain::outdated(cx, &at.name),
        }
    }
}

/// Has virsh do something to the domain.
fn call(cx: &Cx, at: &Container, verb: &str) -> Result<()> {
    let Err(error) = cx.run(&domain::virsh().args([verb, &at.name])) else { return Ok(()) };
    match error.downcast::<CommandError>() {
        Ok(error) => Err(failed(cx, at, error)?),
        Err(other) => Err(other),
    }
}

/// Ends what runs in the container, as its init does it; if that takes too long, by force.
fn shut_down(cx: &Cx, at: &Container) -> Result<()> {
    let is_off = || anyhow::Ok(domain::state(cx, &at.name)?.required()? == "shut off");
    // One whose init does not listen is ended all the same.
    let asked = cx.probe(&domain::virsh().args(["shutdown", &at.name]))?;
    let until = Instant::now() + if asked.status.success() { SHUTDOWN } else { Duration::ZERO };
    while Instant::now() < until && !is_off()? {
        cx.sleep(SETTLE)?;
    }
    if is_off()? {
        return Ok(());
    }
    cx.note(&format!("`{}` does not shut down: it is ended by force", at.name));
    // It may just have ended by itself.
    let ended = cx.probe(&domain::virsh().args(["destroy", &at.name]))?;
    ensure!(is_off()?, "`{}` cannot be ended: {}", at.name, ended.stderr.trim());
    Ok(())
}

impl FarmStep<Container> for StartDomain {
    fn title(&self, at: &Container) -> String {
        format!("start {}", at.name)
    }

    fn facts(&self, at: &Container) -> Inputs {
        inputs::name(at)
    }

    fn companions(&self, at: &Container) -> Vec<(String, Arc<dyn FarmStep<Container>>)> {
        let needed = unit_drop_ins::may_need(at);
        needed.then(|| ("unit-drop-ins".to_owned(), Arc::new(UnitDropIns) as _)).into_iter().collect()
    }

    fn needs(&self, at: &Container) -> Vec<Need> {
        let mut all = vec![
            Need::IfAny(at.edits(resource::DOMAIN_EDIT)),
            Need::IfAny(at.edits(resource::GUEST_EDIT)),
            Need::Must(at.resource(resource::DOMAIN)),
            Need::Must(Resource::new(resource::BRIDGE, &at.farm.bridge)),
            Need::Must(Resource::new(resource::LIBVIRT, domain::URI)),
            Need::IfAny(at.resource(resource::ADDRESS)),
            Need::After(resource::MASS_EDIT),
            Need::IfAny(Resource::new(resource::ACCOUNT, &at.farm.account.user)),
            Need::IfAny(Resource::new(resource::HOME, &at.farm.account.user)),
            Need::IfAny(Resource::new(resource::WORKSPACE, &at.farm.account.user)),
        ];
        if at.base.is_emulated() {
            all.push(Need::Must(Resource::new(resource::EMULATION, at.base.arch.debian())));
        }
        all
    }

    fn provides(&self, at: &Container) -> Vec<Resource> {
        vec![at.resource(resource::RUNNING)]
    }

    fn claims(&self, at: &Container) -> Vec<Claim> {
        vec![domain::lock(at)]
    }

    fn precondition(&self, cx: &Cx, at: &Container) -> Result<()> {
        match fitness(cx, &at.farm, at.base.arch, at.base.release)? {
            Fitness::Fit => {}
            Fitness::Unknown(why) => cx.doubt(&why),
            Fitness::Unfit(why) => bail!("`{}` would not boot: {why}", at.name),
        }
        if at.base.release.quirks.cgroup_v1_only && !cgroups::has_any_of_version_1()? {
            let release = at.base.release;
            let lacking = cgroups::without_version_1()?;
            let kernel = match lacking.is_empty() {
                true => String::new(),
                false => format!(
                    "; this host's kernel has no version 1 of {}, whatever it is told at boot: a host with the kernel of Debian \
                     12 has",
                    lacking.join(" and ")
                ),
            };
            ensure!(
                !at.joins_controllers,
                "the systemd of {release} knows version 1 of cgroups alone, and this host has version 2: add `JoinControllers` \
                 to the steps of `{}`{kernel}",
                at.name
            );
            if !kernel.is_empty() {
                cx.doubt(&format!(
                    "the systemd of {release} knows version 1 of cgroups alone, and may not start with `JoinControllers` either\
                     {kernel}"
                ));
            }
        }
        ensure!(
            !at.base.release.quirks.cgroup_v2_only || !cgroups::has_any_of_version_1()?,
            "the systemd of {} ends at once where it sees version 1 of cgroups, which this host has: boot the host with version \
             2 alone (kernel parameter `systemd.unified_cgroup_hierarchy=1`, or no mounts of type `cgroup`), or leave `{}` out",
            at.base.release,
            at.name
        );
        Ok(())
    }

    fn check(&self, cx: &Cx, at: &Container) -> Result<Check> {
        Ok(match domain::state(cx, &at.name)? {
            Lookup::Found(state) if state == "running" => match self.outdated(cx, at)? {
                None => Check::Satisfied,
                Some(how) => Check::needed(format!("the domain `{}` runs {how}", at.name)),
            },
            Lookup::Found(state) => Check::needed(format!("the domain `{}` is {state}", at.name)),
            Lookup::Missing(reason) => Check::needed(reason),
        })
    }

    fn apply(&self, cx: &Cx, at: &Container) -> Result<()> {
        // Which emulator it is may have come to light since the plan was looked at.
        if let Fitness::Unfit(why) = fitness(cx, &at.farm, at.base.arch, at.base.release)? {
            bail!("`{}` would not boot: {why}", at.name);
        }
        let state = domain::state(cx, &at.name)?.required()?;
        if state == "paused" {
            call(cx, at, "resume")?;
        }
        if ["running", "paused"].contains(&state.as_str()) {
            if self.outdated(cx, at)?.is_none() {
                return Ok(());
            }
            shut_down(cx, at)?;
        }
        call(cx, at, "start")?;
        // One that cannot run falls over at once, and must not be looked at before.
        cx.sleep(SETTLE)
    }

    fn undo<'a>(&'a self, cx: &Cx, at: &'a Container) -> Result<Undo<'a>> {
        Ok(match domain::state_to_undo(cx, &at.name)?.as_deref() {
            None | Some("shut off") => Undo::default(),
            Some(_) => Undo::default().act(format!("stop {}, whatever runs in it", at.name), |cx| {
                cx.run(&domain::virsh().args(["destroy", &at.name]))
            }),
        })
    }

    fn disproved(&self, cx: &Cx, at: &Container, reason: String) -> Error {
        let command = domain::virsh().args(["start", &at.name]).to_string();
        let status = format!("ended well, but {reason} after {} s", SETTLE.as_secs());
        let error = CommandError { command, status, tail: Vec::new() };
        failed(cx, at, error).unwrap_or_else(|error| error.context(reason))
    }
}
