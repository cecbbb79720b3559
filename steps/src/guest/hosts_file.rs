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
use std::net::Ipv4Addr;
use std::sync::Arc;

const FILE: &str = "/etc/hosts";

/// See the manual above.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HostsFile {}

/// The addresses that the host finds for `name` now, wherever.
fn resolved(cx: &Cx, name: &str) -> Result<Vec<Ipv4Addr>> {
    // A name server that does not answer would otherwise hold up every container for ten seconds; and a host without
    // a network, as before its bridge is up, would otherwise have no addresses at all.
    let ask = Cmd::new("getent").env("RES_OPTIONS", "timeout:2 attempts:1").args([
        "--no-addrconfig",
        "ahostsv4",
        name,
    ]);
    let output = cx.probe(&ask)?;
    match output.status.code() {
        Some(0) => {
            Ok(output.stdout.lines().filter_map(|line| line.split(' ').next()?.parse().ok()).collect())
        }
        Some(2) => Ok(Vec::new()),
        _ => bail!("`getent ahostsv4 {name}` failed: {}", output.stderr.trim()),
    }
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
    Ok(match names(cx)?.address(name) {
        Some(first) => first == address,
        None => resolved(cx, name)?.first() == Some(&address),
    })
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
            return Ok(Check::Satisfied);
        }
        let (before, after) = edit(cx, at, address)?;
        Ok(match Check::text(FILE, HostFile::new(FILE).mode_there()?, Some(&before), &after) {
            Check::Needed { diff, .. } => Check::Needed {
                reason: format!("`{}` does not lead to {address} on this host", at.name),
                diff,
            },
            satisfied @ Check::Satisfied => satisfied,
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

    fn verify(&self, cx: &Cx, at: &Container) -> Result<()> {
        let address =
            reserved(cx, at)?.with_context(|| format!("no address is reserved for `{}`", at.name))?;
        let found = resolved(cx, &at.name)?;
        match found.first() {
            Some(first) if *first == address => Ok(()),
            Some(other) => bail!(
                "`{}` leads to {other}, not {address}: see the line `hosts:` of /etc/nsswitch.conf",
                at.name
            ),
            None => bail!("`{}` leads nowhere: see the line `hosts:` of /etc/nsswitch.conf", at.name),
        }
    }
}
