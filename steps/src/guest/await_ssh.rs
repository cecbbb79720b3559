//! # AwaitSsh
//! Waits until the container answers ssh, and proves what CI relies on.
//!
//! The document: "SSH server access complete with envvar passing from CI clients by virtue of `ssh -o SendEnv='*'
//! container-name`".
//!
//! ```ron
//! AwaitSsh
//! ```
//! As the build account, with its key, to the container's **name**: `ssh -o SendEnv='*' abuild@NAME uname -m`. It is proved
//! that the machine's name is that of the architecture, that a variable of the environment arrives, that the connection
//! ends at the reserved address, and that the host key is one of those in the container's files. No known_hosts file is
//! read or changed, and no configuration of ssh is read (`-F none`): where the account's or the host's own makes something else
//! of `ssh NAME`, a remark says so.
//!
//! **A proof is kept** (below `cache/proofs` of the state directory) with a digest of all that it depended on: the very start of
//! the container, what is in its `/etc` and which packages it has, the account's key and what it trusts, the host's set-up of
//! ssh and of names, the emulator. While nothing of that changes, and for a day, a run or `drover plan` does not log in again:
//! it looks whether the domain runs, whether somebody listens for ssh in it, and whether the host reaches it by its name.
//!
//! It tries for five minutes; an emulated system takes 15 to 60 seconds to boot. A system whose init has slept for 30 seconds
//! without a single process of its own is given up at once: it will not start anything any more. So is one that refuses the
//! account, at once where the reason is known (a home, `.ssh` or `authorized_keys` that others may write to or own) and after 15
//! seconds otherwise; and after 30 seconds one that a firewall of the host keeps from being reached. When it never answers,
//! the error says how far it got: what its init runs, the domain, the lease of its address, the port, and the last lines
//! of its journal and of its console. What is read of the console is not there any more for `virsh console`.
//!
//! **Changes** nothing, with one exception: where a container has been running since before its sshd was configured, so that no
//! variable arrives, its sshd is told to read its configuration again (SIGHUP); connections go on.

use crate::container::Container;
use crate::domain::{self, Lookup};
use crate::guest::emulate::Guest;
use crate::guest::greeting::knock;
use crate::guest::init_process::{InitProcess, console};
use crate::guest::reserve_address::reserved;
use crate::guest::ssh_proof::{Answer, PORT, attempt, prove};
use crate::guest::ssh_trust::{distrusted, led_astray};
use crate::host::firewall;
use crate::inputs;
use crate::program;
use crate::resource;
use crate::step::FarmStep;
use anyhow::{Error, Result, bail};
use drover_engine::{Check, Cmd, CommandError, Cx, HostFile, Inputs, Need, Resource, Undo};
use serde::{Deserialize, Serialize};
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_secs(300);
/// How long an account may be refused before that is final.
const DENIED: Duration = Duration::from_secs(15);
/// How long it may take to answer once more.
const AGAIN: Duration = Duration::from_secs(90);
/// Tells the sshd of a container to read its configuration again.
const RELOAD: [&str; 3] = ["/bin/sh", "-c", "kill -HUP $(cat /run/sshd.pid)"];
/// How long an init may sleep without any other process before it counts as stuck.
const IDLE: Duration = Duration::from_secs(30);
/// How many lines are shown of the console.
const WORDS: usize = 10;
const PAUSE: Duration = Duration::from_secs(2);

/// See the manual above.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AwaitSsh {}

/// Tries until it is proved, or in vain. A reason is said when it is a new one.
fn wait(cx: &Cx, at: &Container) -> Result<()> {
    let begin = Instant::now();
    let mut last = String::new();
    let mut is_reloaded = false;
    let mut busy = begin;
    let mut denied = None;
    let mut is_firewall_known = false;
    while begin.elapsed() < PATIENCE {
        match attempt(cx, at)? {
            Answer::Proved => return Ok(()),
            Answer::Deaf(reason) if !is_reloaded => {
                cx.note(&format!("{reason}: its sshd is told to read its configuration again"));
                cx.run(
                    &domain::virsh()
                        .args(["lxc-enter-namespace", "--noseclabel", &at.name, "--"])
                        .args(RELOAD),
                )?;
                is_reloaded = true;
            }
            Answer::Deaf(reason) | Answer::Wrong(reason) => bail!("{reason}"),
            Answer::Denied(reason) => {
                last = tell(cx, &last, reason);
                if let Some(why) = distrusted(at)? {
                    return Err(silent(cx, at, format!("the account is not let in: {why}"), &last)?);
                }
                if denied.get_or_insert_with(Instant::now).elapsed() >= DENIED {
                    let status = format!("the account was not let in for {} s", DENIED.as_secs());
                    return Err(silent(cx, at, status, &last)?);
                }
            }
            Answer::NotYet(reason) => last = tell(cx, &last, reason),
        }
        if begin.elapsed() >= IDLE && !std::mem::replace(&mut is_firewall_known, true) {
            // Somebody may have set one up since the bridge was started.
            if let Some(why) = firewall::complaint(cx, &at.farm)? {
                return Err(silent(cx, at, why, &last)?);
            }
        }
        if let Lookup::Found(state) = domain::state(cx, &at.name)?
            && state != "running"
        {
            return Err(silent(cx, at, format!("the domain is {state}: its init has ended"), &last)?);
        }
        if !InitProcess::of(at)?.map_or(Ok(false), InitProcess::is_idle)? {
            busy = Instant::now();
        } else if busy.elapsed() >= IDLE {
            let status = format!("its init has slept for {} s and has started nothing", IDLE.as_secs());
            return Err(silent(cx, at, status, &last)?);
        }
        cx.sleep(PAUSE)?;
    }
    Err(silent(cx, at, format!("no answer in {} s", PATIENCE.as_secs()), &last)?)
}

/// Says a reason that is not the last one.
fn tell(cx: &Cx, last: &str, reason: String) -> String {
    if reason != last {
        cx.note(&reason);
    }
    reason
}

/// The failure of a container that never answered, with all that can be told about how far it got.
fn silent(cx: &Cx, at: &Container, status: String, last: &str) -> Result<Error> {
    let command = format!("ssh -o SendEnv='*' {}@{} uname -m", at.farm.account.user, at.name);
    let tail = diagnosis(cx, at)?;
    tail.iter().for_each(|line| cx.note(line));
    let error = Error::new(CommandError { command, status, tail });
    Ok(error.context(format!("`{}` does not answer: {last}", at.name)))
}

/// How far it got, a line each; journal and console first, so that what sums it up stands at the end.
fn diagnosis(cx: &Cx, at: &Container) -> Result<Vec<String>> {
    let mut lines = journal(cx, at)?;
    lines.extend(console(cx, at, WORDS)?.into_iter().map(|line| format!("console: {line}")));
    if let Some(init) = InitProcess::of(at)? {
        let started = init.started()?;
        if started.is_empty() {
            lines.push("process of its init: none".to_owned());
        }
        lines.extend(started);
    }
    lines.push(match domain::state(cx, &at.name)? {
        Lookup::Found(state) => format!("domain: {state}"),
        Lookup::Missing(reason) => format!("domain: {reason}"),
    });
    match reserved(cx, at)? {
        Some(address) => lines.extend([lease(cx, at, address)?, port(address)]),
        None => lines.push("address: none is reserved".to_owned()),
    }
    Ok(lines)
}

fn lease(cx: &Cx, at: &Container, address: Ipv4Addr) -> Result<String> {
    let leases = at.farm.leases();
    let text = HostFile::new(&leases).read()?.unwrap_or_default();
    let known = text.lines().find(|line| line.split(' ').nth(2) == Some(&address.to_string()));
    Ok(match known {
        Some(line) => format!("lease: {line}"),
        None if at.base.is_emulated() && offloads_checksums(cx, at)? => format!(
            "lease: none for {address} in {}; an emulated DHCP client needs transmit checksums: ethtool -K {} tx off",
            leases.display(),
            at.farm.bridge
        ),
        None => format!("lease: none for {address} in {}", leases.display()),
    })
}

/// Whether the bridge leaves out checksums that an emulated DHCP client wants.
fn offloads_checksums(cx: &Cx, at: &Container) -> Result<bool> {
    if program::find("ethtool").is_none() {
        return Ok(false);
    }
    let said = cx.probe(&Cmd::new("ethtool").args(["-k", &at.farm.bridge]))?.stdout;
    Ok(said.lines().any(|line| line.starts_with("tx-checksumming: on")))
}

fn port(address: Ipv4Addr) -> String {
    match knock(address, PORT) {
        Ok(_) => format!("port 22 of {address}: open"),
        Err(error) => format!("port 22 of {address}: {error}"),
    }
}

/// The end of the container's journal, by its own program, since only that is sure to know the format.
fn journal(cx: &Cx, at: &Container) -> Result<Vec<String>> {
    let command = Guest::new(&at.rootfs()).command("/bin/journalctl");
    let output = cx.probe(&command.args(["--no-pager", "--quiet", "-n", "10"]))?;
    let lines = output.stdout.lines().chain(output.stderr.lines()).filter(|line| !line.trim().is_empty());
    Ok(lines.map(|line| format!("journal: {line}")).collect())
}

impl FarmStep<Container> for AwaitSsh {
    fn title(&self, at: &Container) -> String {
        format!("wait for ssh on {}", at.name)
    }

    fn facts(&self, at: &Container) -> Inputs {
        inputs::name(at)
            .and(inputs::arch(&at.base))
            .and(inputs::user(&at.farm))
            .and(inputs::home(&at.farm))
            .and(inputs::bridge(&at.farm))
    }

    fn needs(&self, at: &Container) -> Vec<Need> {
        vec![
            Need::Must(at.resource(resource::RUNNING)),
            Need::Must(at.resource(resource::ADDRESS)),
            Need::Must(at.resource(resource::NAME)),
            Need::Must(Resource::new(resource::KEY, &at.farm.account.user)),
        ]
    }

    fn provides(&self, at: &Container) -> Vec<Resource> {
        vec![at.resource(resource::SSH)]
    }

    fn estimate(&self, at: &Container) -> Duration {
        Duration::from_secs(if at.base.is_emulated() { 30 } else { 5 })
    }

    fn timeout(&self, _at: &Container) -> Duration {
        PATIENCE + Duration::from_secs(180)
    }

    fn precondition(&self, cx: &Cx, at: &Container) -> Result<()> {
        // Other steps may yet make or mend it, and not every container has the host's home.
        if let Some(why) = distrusted(at)? {
            cx.doubt(&format!("`{}` may not let the account in: {why}", at.name));
        }
        Ok(())
    }

    fn check(&self, cx: &Cx, at: &Container) -> Result<Check> {
        Ok(match prove(cx, at)? {
            Answer::Proved => Check::Satisfied,
            Answer::NotYet(reason)
            | Answer::Denied(reason)
            | Answer::Deaf(reason)
            | Answer::Wrong(reason) => Check::needed(reason),
        })
    }

    fn undo<'a>(&'a self, _cx: &Cx, _at: &'a Container) -> Result<Undo<'a>> {
        Ok(Undo::default())
    }

    fn apply(&self, cx: &Cx, at: &Container) -> Result<()> {
        wait(cx, at)?;
        if let Some(how) = led_astray(cx, at)? {
            cx.remark(&how);
        }
        Ok(())
    }

    /// An emulated system that has just booted takes its time for the second answer, if its files have changed meanwhile so
    /// that the first one is no proof any more.
    fn patience(&self, _at: &Container) -> Duration {
        AGAIN
    }
}
