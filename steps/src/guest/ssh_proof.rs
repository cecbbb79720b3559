//! The proof that a container answers ssh as the plan says. It does not know how often to try.
//!
//! A login takes an emulated system a second or more, and even to greet takes a good part of that. So a proof is kept, and as
//! long as nothing has changed that it depended on, it is enough that sshd listens and can be reached, which the kernel knows.

use crate::container::Container;
use crate::domain::{self, Lookup};
use crate::guest::free_port::listening_below;
use crate::guest::hosts_file::leads_to;
use crate::guest::reserve_address::reserved;
use crate::guest::ssh::Ssh;
use crate::guest::{greeting, kept_proof, ssh_inputs};
use crate::program;
use anyhow::{Context, Result};
use drover_engine::{Cmd, Cx};
use std::net::Ipv4Addr;

/// What came of an attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// It answers as it should.
    Proved,
    /// It does not answer, for this reason, and may yet.
    NotYet(String),
    /// It answers, and does not let the account in, for this reason. That may only be so while it boots.
    Denied(String),
    /// It answers, but does not take what it is to take: its sshd may not have read how it is configured by now.
    Deaf(String),
    /// It answers, and not as it should; it will not mend itself.
    Wrong(String),
}

/// Where sshd listens.
pub(crate) const PORT: u16 = 22;

/// A variable that must arrive.
const VARIABLE: &str = "DROVER_PROOF";

/// That it does, among what is proved.
const VARIABLE_ARRIVES: &str = "environment variable";

/// What an attempt has to know about the container.
struct Target<'a> {
    at: &'a Container,
    address: Ipv4Addr,
    ssh: Ssh<'a>,
}

/// Looks whether the last proof holds; if it does not, tries as [`attempt`] does.
///
/// # Errors
/// When it cannot be found out.
pub(crate) fn prove(cx: &Cx, at: &Container) -> Result<Answer> {
    let address = match address(cx, at)? {
        Ok(address) => address,
        Err(reason) => return Ok(Answer::NotYet(reason)),
    };
    let holds = match ssh_inputs::digest(cx, at, address)? {
        Some(inputs) => kept_proof::holds(cx, &at.name, &inputs)? && is_open(cx, at, address)?,
        None => false,
    };
    if holds { Ok(Answer::Proved) } else { attempt(cx, at) }
}

/// Whether the name leads to the address, somebody listens for ssh in the container, and the host reaches it. Nobody there is
/// disturbed.
fn is_open(cx: &Cx, at: &Container, address: Ipv4Addr) -> Result<bool> {
    let Some(process) = domain::process(cx, &at.name)? else { return Ok(false) };
    let listens = listening_below(process)?.contains(&PORT);
    Ok(listens && greeting::is_reached(address) && leads_to(cx, &at.name, address)?)
}

/// Tries once: by name, as the account, with its key and the host keys that the container's files hold. In a run, a proof is
/// kept.
///
/// # Errors
/// When the attempt itself cannot be made.
pub(crate) fn attempt(cx: &Cx, at: &Container) -> Result<Answer> {
    let address = match address(cx, at)? {
        Ok(address) => address,
        Err(reason) => return Ok(Answer::NotYet(reason)),
    };
    // Before it is proved, so that what changes meanwhile is not taken for proved.
    let inputs = ssh_inputs::digest(cx, at, address)?;
    let answer = log_in(cx, at, address)?;
    if let (Answer::Proved, Some(inputs)) = (&answer, inputs) {
        kept_proof::keep(cx, &at.name, &inputs)?;
    }
    Ok(answer)
}

/// Its address, or why nothing can answer there yet.
fn address(cx: &Cx, at: &Container) -> Result<Result<Ipv4Addr, String>> {
    if let Some(reason) = not_running(cx, at)? {
        return Ok(Err(reason));
    }
    let none = || format!("no address is reserved for `{}`", at.name);
    Ok(reserved(cx, at)?.ok_or_else(none))
}

fn log_in(cx: &Cx, at: &Container, address: Ipv4Addr) -> Result<Answer> {
    // A system that boots drops packets, for which ssh would wait longer than it takes to boot.
    if let Err(error) = greeting::knock(address, PORT) {
        return Ok(Answer::NotYet(format!("port {PORT} of {address}: {error}")));
    }
    let key = at.farm.key();
    if !key.try_exists().with_context(|| format!("look for the key `{}`", key.display()))? {
        return Ok(Answer::NotYet(format!("the key {} does not exist", key.display())));
    }
    let Some(ssh) = Ssh::to(at)? else {
        return Ok(Answer::NotYet(format!("`{}` has no ssh host keys in its /etc/ssh", at.name)));
    };
    Target { at, address, ssh }.attempt(cx)
}

/// Why nothing can answer yet.
fn not_running(cx: &Cx, at: &Container) -> Result<Option<String>> {
    if let Some(missing) = ["ssh", "setpriv"].into_iter().find(|name| program::find(name).is_none()) {
        return Ok(Some(format!("`{missing}` is not installed")));
    }
    Ok(match domain::state(cx, &at.name)? {
        Lookup::Found(state) if state == "running" => None,
        Lookup::Found(state) => Some(format!("the domain `{}` is {state}", at.name)),
        Lookup::Missing(reason) => Some(reason),
    })
}

impl Target<'_> {
    fn attempt(&self, cx: &Cx) -> Result<Answer> {
        let token = format!("{:016x}", fastrand::u64(..));
        let output = cx.probe(&self.ssh(&token))?;
        if !output.status.success() {
            let why = output.stderr.trim().lines().last().unwrap_or("no answer in time").to_owned();
            let reason = format!("ssh {}@{}: {why}", self.at.farm.account.user, self.at.name);
            let is_denied = why.contains("Permission denied (");
            return Ok(if is_denied { Answer::Denied(reason) } else { Answer::NotYet(reason) });
        }
        Ok(self.judge(&token, &output.stdout))
    }

    /// Should the system there be stuck, nobody waits for it longer than a minute.
    fn ssh(&self, token: &str) -> Cmd {
        let remote = format!("uname -m; echo \"${VARIABLE}\"; echo \"$SSH_CONNECTION\"");
        self.ssh.command(&["timeout", "60"], [(VARIABLE, token)], &remote)
    }

    /// The last three lines are ours; what the account's own start-up files print comes before.
    fn judge(&self, token: &str, stdout: &str) -> Answer {
        let lines: Vec<_> = stdout.lines().collect();
        let [.., machine, variable, connection] = lines[..] else {
            return Answer::Wrong(format!(
                "`{}` printed no three lines, but `{}`",
                self.at.name,
                stdout.trim()
            ));
        };
        let server = connection.split(' ').nth(2).unwrap_or_default();
        let expected = [
            ("machine", machine, self.at.base.arch.uname()),
            (VARIABLE_ARRIVES, variable, token),
            ("address", server, &self.address.to_string()),
        ];
        match expected.iter().find(|(_, is, should)| is != should) {
            None => Answer::Proved,
            Some(&(VARIABLE_ARRIVES, "", _)) => {
                Answer::Deaf(format!("no environment variable arrives in `{}`", self.at.name))
            }
            Some((what, is, should)) => {
                Answer::Wrong(format!("the {what} in `{}` is `{is}`, not `{should}`", self.at.name))
            }
        }
    }
}
