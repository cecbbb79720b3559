//! One attempt to prove that a container answers ssh as the plan says. It does not know how often to try.

use crate::container::Container;
use crate::domain::{self, Lookup};
use crate::guest::reserve_address::reserved;
use crate::guest::ssh::Ssh;
use crate::program;
use anyhow::{Context, Result};
use drover_engine::{Cmd, Cx};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::Duration;

/// What came of an attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// It answers as it should.
    Proved,
    /// It does not answer, for this reason, and may yet.
    NotYet(String),
    /// It answers, but does not take what it is to take: its sshd may not have read how it is configured by now.
    Deaf(String),
    /// It answers, and not as it should; it will not mend itself.
    Wrong(String),
}

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

/// Tries once: by name, as the account, with its key and the host keys that the container's files hold.
///
/// # Errors
/// When the attempt itself cannot be made.
pub(crate) fn attempt(cx: &Cx, at: &Container) -> Result<Answer> {
    if let Some(reason) = not_running(cx, at)? {
        return Ok(Answer::NotYet(reason));
    }
    let Some(address) = reserved(at)? else {
        return Ok(Answer::NotYet(format!("no address is reserved for `{}`", at.name)));
    };
    // A system that boots drops packets, for which ssh would wait longer than it takes to boot.
    if let Err(error) = knock(address) {
        return Ok(Answer::NotYet(format!("port 22 of {address}: {error}")));
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

/// Whether anybody listens for ssh at `address`.
///
/// # Errors
/// Why nobody does.
pub(crate) fn knock(address: Ipv4Addr) -> std::io::Result<()> {
    TcpStream::connect_timeout(&SocketAddr::from((address, 22)), Duration::from_secs(2)).map(drop)
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
            return Ok(Answer::NotYet(format!("ssh {}@{}: {why}", self.at.farm.account.user, self.at.name)));
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
