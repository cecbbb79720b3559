//! # BridgeDns
//! Lets the bridge's dnsmasq give each container the address that is reserved for its name.
//!
//! The document: "For dnsmasq integration on the independent bridge be sure to mention
//! `LXC_DHCP_CONFILE="/etc/lxc/dnsmasq.conf"` in `/etc/default/lxc-net`,
//! `dhcp-hostsfile=/etc/lxc/dnsmasq-hosts.conf` in `/etc/lxc/dnsmasq.conf`; `touch /etc/lxc/dnsmasq-hosts.conf`".
//!
//! ```ron
//! BridgeDns
//! ```
//!
//! **One line more**: `dhcp-ignore-clid` in `/etc/lxc/dnsmasq.conf`. A container that is made anew has the same name and
//! hardware address, but another DHCP client identifier; to dnsmasq it would be a stranger, whom it refuses the reserved
//! address for as long as the lease of the old one lasts. With this line, hardware addresses alone tell who is who.
//!
//! **Changes** the three files of that sentence. Other lines in them stay as they are, and so do the lines of a hosts
//! file that is there. `/etc/dnsmasq.conf`, the host's own, is not touched.
//!
//! The restart that makes it count is not made here but once for all who change what lxc-net reads: see `Bridge`.
//!
//! **To take it back** `drover destroy`; or remove the three lines, and the hosts file if it is empty; then restart lxc-net.

use super::bridge::DEFAULTS;
use super::{lines, lxc_defaults};
use crate::farm::Farm;
use crate::ours;
use crate::resource::{LXC_NET_INPUT, PACKAGES};
use crate::step::FarmStep;
use anyhow::{Context, Result};
use drover_engine::{Check, Cx, HostFile, Inputs, Need, Resource, Undo};
use serde::{Deserialize, Serialize};
use std::fs::OpenOptions;
use std::io::ErrorKind;
use std::path::Path;

/// What lxc-net's dnsmasq reads.
pub(crate) const DNSMASQ: &str = "/etc/lxc/dnsmasq.conf";

/// By dnsmasq(8), since its version 2.81.
const IGNORE_CLIENT_ID: &str = "dhcp-ignore-clid";
/// Remembered if the hosts file was made here.
const MADE_HOSTS: &str = "made the hosts file";

/// See the manual above.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BridgeDns {}

impl FarmStep<Farm> for BridgeDns {
    fn title(&self, at: &Farm) -> String {
        format!("let dnsmasq on {} know the containers' names", at.bridge)
    }

    fn facts(&self, _at: &Farm) -> Inputs {
        Inputs::default()
    }

    fn needs(&self, _at: &Farm) -> Vec<Need> {
        vec![
            // The files are configuration of the packages: dpkg is to find none when it brings its own.
            Need::IfAny(Resource::new(PACKAGES, "host")),
            // Both add lines to one file: always in the same order, so that its text is always the same.
            Need::IfAny(Resource::new(LXC_NET_INPUT, "Bridge")),
        ]
    }

    fn provides(&self, _at: &Farm) -> Vec<Resource> {
        vec![Resource::new(LXC_NET_INPUT, "BridgeDns")]
    }

    fn precondition(&self, cx: &Cx, _at: &Farm) -> Result<()> {
        let before = HostFile::new(DEFAULTS).read()?.unwrap_or_default();
        lxc_defaults::ensure_read(cx, &lines::assign(&before, "LXC_DHCP_CONFILE", DNSMASQ).context(DEFAULTS)?)
    }

    fn check(&self, _cx: &Cx, at: &Farm) -> Result<Check> {
        let mut needed = Vec::new();
        for (path, edit) in edits(at) {
            let file = HostFile::new(path);
            let before = file.read()?;
            let check = Check::text(
                path,
                file.mode_there()?,
                before.as_deref(),
                &edit(before.as_deref().unwrap_or("")).context(path)?,
            );
            if let Check::Needed { reason, diff } = check {
                needed.push((reason, diff.unwrap_or_default()));
            }
        }
        if needed.is_empty() {
            return Ok(check_exists(at.dnsmasq_hosts()));
        }
        let (reasons, diffs): (Vec<_>, Vec<_>) = needed.into_iter().unzip();
        Ok(Check::Needed { reason: reasons.join(", "), diff: Some(diffs.concat()) })
    }

    fn apply(&self, cx: &Cx, at: &Farm) -> Result<()> {
        for (path, edit) in edits(at) {
            let file = HostFile::new(path);
            ours::write(cx, &file, &edit(file.read()?.as_deref().unwrap_or("")).context(path)?)?;
        }
        if !at.dnsmasq_hosts().exists() {
            cx.remember(MADE_HOSTS, "")?;
        }
        touch(at.dnsmasq_hosts())
    }

    fn undo<'a>(&'a self, cx: &Cx, at: &'a Farm) -> Result<Undo<'a>> {
        let mut undo = Undo::default();
        for (path, _) in edits(at) {
            undo = undo.and(ours::undo(cx, HostFile::new(path))?);
        }
        let hosts = at.dnsmasq_hosts();
        if !cx.has_made(MADE_HOSTS)? || !hosts.exists() {
            return Ok(undo);
        }
        Ok(undo.act_if(format!("remove {} if it is empty", hosts.display()), |_| remove_empty(hosts)))
    }
}

fn remove_empty(file: &Path) -> Result<Option<String>> {
    let text = HostFile::new(file).read()?.unwrap_or_default();
    if text.trim().is_empty() {
        return ours::remove(file).map(|()| None);
    }
    let lines = text.lines().filter(|line| !line.trim().is_empty()).count();
    Ok(Some(format!("{} stays, with {lines} lines of others", file.display())))
}

type Edit = Box<dyn Fn(&str) -> Result<String>>;

/// The files that are edited, and how.
fn edits(farm: &Farm) -> [(&'static str, Edit); 2] {
    let hosts = format!("dhcp-hostsfile={}", farm.dnsmasq_hosts().display());
    [
        (DEFAULTS, Box::new(|text| lines::assign(text, "LXC_DHCP_CONFILE", DNSMASQ))),
        (
            DNSMASQ,
            Box::new(move |text| Ok(lines::with_line(&lines::with_line(text, &hosts), IGNORE_CLIENT_ID))),
        ),
    ]
}

fn check_exists(file: &Path) -> Check {
    if file.exists() {
        return Check::Satisfied;
    }
    Check::needed(format!("{} does not exist", file.display()))
}

/// Makes an empty file, unless there is one: never in the way of somebody who writes it at the same time.
fn touch(file: &Path) -> Result<()> {
    match OpenOptions::new().write(true).create_new(true).open(file) {
        Ok(_) => Ok(()),
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(error).with_context(|| format!("cannot make `{}`", file.display())),
    }
}

#[cfg(test)]
mod tests {
    use super::edits;
    use crate::farm::Farm;

    #[test]
    fn the_documents_lines_are_added_once() {
        let texts = ["USE_LXC_BRIDGE=\"true\"\n#LXC_DHCP_CONFILE=/etc/dnsmasq.conf\n", ""];
        let added = [
            "LXC_DHCP_CONFILE=\"/etc/lxc/dnsmasq.conf\"\n",
            "dhcp-hostsfile=/etc/lxc/dnsmasq-hosts.conf\ndhcp-ignore-clid\n",
        ];
        for ((before, line), (_, edit)) in texts.iter().zip(added).zip(edits(&Farm::default())) {
            let after = edit(before).expect("plain");
            assert_eq!(after, format!("{before}{line}"));
            assert_eq!(edit(&after).expect("plain"), after);
        }
    }
}
