//! # HostsFile
//! Lets the host resolve the container's name.
//!
//! The document: for each name in the file of reservations, `getent hosts NAME || echo "ADDRESS NAME" >> /etc/hosts`.
//!
//! ```ron
//! HostsFile
//! ```
//! A name that leads to the container's address already is left alone. A name that `/etc/hosts` gives another address,
//! in lines that are not ours, is an error. What DNS alone says otherwise is overruled, because `/etc/hosts` is asked
//! first.
//!
//! **Changes** `/etc/hosts`: one line in a block of our own, between `# drover begin` and `# drover end`.
//!
//! **To take it back**, `drover destroy`; or remove the line, or the whole block.

use crate::container::Container;
use crate::guest::hosts_block::{HostNames, HostsBlock};
use crate::guest::reserve_address::reserved;
use crate::inputs;
use crate::resource;
use crate::step::FarmStep;
use anyhow::{Context, Result, bail};
use drover_engine::{Check, Claim, Cmd, Cx, HostFile, Inputs, Need, Resource, Undo};
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::net::Ipv4Addr;
use std::sync::Arc;

const FILE: &str = "/etc/hosts";

/// See the manual above.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HostsFile {}

/// The addresses that the host finds for `name` now, wherever.
fn resolved(cx: &Cx, name: &str) -> Result<Vec<Ipv4Addr>> {
    let output = cx.probe(&ask().arg(name))?;
    match output.status.code() {
        Some(0) => {
            Ok(output.stdout.lines().filter_map(|line| line.split(' ').next()?.parse().ok()).collect())
        }
        Some(2) => Ok(Vec::new()),
        _ => bail!("`getent ahostsv4 {name}` failed: {}", output.stderr.trim()),
    }
}

/// The address that the host finds first for `name` now, wherever.
///
/// Hundreds of containers have their lines in our block: while nothing changes, all of them are asked for at once.
fn found_first(cx: &Cx, name: &str) -> Result<Option<Ipv4Addr>> {
    if cx.is_settled() {
        let known = cx.once("the addresses of the names in our block", || ours_resolved(cx))?;
        if let Some(first) = known.get(name) {
            return Ok(Some(*first));
        }
    }
    Ok(resolved(cx, name)?.first().copied())
}

/// The first address of each name in our block, so far as the host finds it under that very name.
fn ours_resolved(cx: &Cx) -> Result<HashMap<String, Ipv4Addr>> {
    let text = HostFile::new(FILE).read()?.unwrap_or_default();
    let names = HostsBlock::read(&text).context(FILE)?.names();
    if names.is_empty() {
        return Ok(HashMap::new());
    }
    Ok(first_addresses(&cx.probe(&ask().args(names))?.stdout))
}

/// What `getent ahostsv4` says of several names: each one's own stands behind its first address only.
fn first_addresses(said: &str) -> HashMap<String, Ipv4Addr> {
    let mut all = HashMap::new();
    for line in said.lines() {
        let mut words = line.split_whitespace();
        if let (Some(Ok(address)), _, Some(name)) = (words.next().map(str::parse), words.next(), words.next())
        {
            all.entry(name.to_owned()).or_insert(address);
        }
    }
    all
}

/// A question for addresses of names, which are still to be said.
fn ask() -> Cmd {
    // A name server that does not answer would otherwise hold up every container for ten seconds; and a host without
    // a network, as before its bridge is up, would otherwise have no addresses at all.
    Cmd::new("getent").env("RES_OPTIONS", "timeout:2 attempts:1").args(["--no-addrconfig", "ahostsv4"])
}

/// What the file says of names.
fn names(cx: &Cx) -> Result<Arc<HostNames>> {
    cx.once("the names in /etc/hosts", || {
        HostNames::read(&HostFile::new(FILE).read()?.unwrap_or_default()).context(FILE)
    })
}

/// Whether this host finds `address` first for `name`.
///
/// # Errors
/// When that cannot be found out.
pub(super) fn leads_to(cx: &Cx, name: &str, address: Ipv4Addr) -> Result<bool> {
    Ok(found_first(cx, name)? == Some(address))
}

/// The file as it is and as it should be, with this container at `address`.
fn edit(cx: &Cx, at: &Container, address: Ipv4Addr) -> Result<(String, String)> {
    let before = HostFile::new(FILE).read()?.unwrap_or_default();
    let hosts = HostsBlock::read(&before).context(FILE)?;
    if let Some(line) =
        hosts.foreign(&at.name).find(|line| !line.split_whitespace().any(|word| word == address.to_string()))
    {
        bail!("{FILE} has the line `{}`, but `{}` is at {address}: remove it", line.trim(), at.name);
    }
    if hosts.address(&at.name).is_none() && resolved(cx, &at.name)?.contains(&address) {
        return Ok((before.clone(), before));
    }
    let after = hosts.with(&at.name, address);
    Ok((before, after))
}

/// Whether what the file says is what the host finds.
fn check_found(cx: &Cx, at: &Container, address: Ipv4Addr) -> Result<Check> {
    Ok(match found_first(cx, &at.name)? {
        Some(first) if first == address => Check::Satisfied,
        Some(other) => Check::needed(format!(
            "`{}` leads to {other}, not {address}: see the line `hosts:` of /etc/nsswitch.conf",
            at.name
        )),
        None => {
            Check::needed(format!("`{}` leads nowhere: see the line `hosts:` of /etc/nsswitch.conf", at.name))
        }
    })
}

impl FarmStep<Container> for HostsFile {
    fn title(&self, at: &Container) -> String {
        format!("let the host know {}", at.name)
    }

    fn facts(&self, at: &Container) -> Inputs {
        inputs::name(at)
    }

    fn needs(&self, at: &Container) -> Vec<Need> {
        vec![Need::Must(at.resource(resource::ADDRESS))]
    }

    fn provides(&self, at: &Container) -> Vec<Resource> {
        vec![at.resource(resource::NAME)]
    }

    fn claims(&self, _at: &Container) -> Vec<Claim> {
        vec![Claim::lock(FILE)]
    }

    fn check(&self, cx: &Cx, at: &Container) -> Result<Check> {
        let Some(address) = reserved(cx, at)? else {
            return Ok(Check::needed(format!("no address is reserved for `{}`", at.name)));
        };
        let names = names(cx)?;
        if names.address(&at.name) == Some(address) && !names.is_foreign(&at.name) {
            return check_found(cx, at, address);
        }
        let (before, after) = edit(cx, at, address)?;
        Ok(match Check::text(FILE, HostFile::new(FILE).mode_there()?, Some(&before), &after) {
            Check::Needed { diff, .. } => Check::Needed {
                reason: format!("`{}` does not lead to {address} on this host", at.name),
                diff,
            },
            Check::Satisfied => return check_found(cx, at, address),
        })
    }

    fn apply(&self, cx: &Cx, at: &Container) -> Result<()> {
        let address =
            reserved(cx, at)?.with_context(|| format!("no address is reserved for `{}`", at.name))?;
        HostFile::new(FILE).write(&edit(cx, at, address)?.1)
    }

    fn undo<'a>(&'a self, _cx: &Cx, at: &'a Container) -> Result<Undo<'a>> {
        let before = HostFile::new(FILE).read()?.unwrap_or_default();
        if HostsBlock::read(&before).context(FILE)?.address(&at.name).is_none() {
            return Ok(Undo::default());
        }
        Ok(Undo::default().act(format!("take the line of {} out of our block of {FILE}", at.name), |_| {
            let before = HostFile::new(FILE).read()?.unwrap_or_default();
            HostFile::new(FILE).write(&HostsBlock::read(&before).context(FILE)?.without(&at.name))
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_address_of_each_name_counts() {
        let said = "10.0.3.5        STREAM a\n10.0.3.5        DGRAM  \n10.0.3.5        RAW    \n\
                    10.0.3.9        STREAM b\n10.0.3.6        STREAM b\n";
        let known = first_addresses(said);
        let at = |last| Some(Ipv4Addr::new(10, 0, 3, last));
        assert_eq!((known.get("a").copied(), known.get("b").copied(), known.len()), (at(5), at(9), 2));
    }
}
