//! # ExposeSsh
//! Lets others than the host reach the container's ssh, by a TCP port of the host.
//!
//! The document: "TODO: Test and document a working NAT and firewall setup for this, to allow SSH access to the containers
//! via dedicated TCP ports exposed on the host".
//!
//! ```ron
//! ExposeSsh(Auto)
//! ExposeSsh(Fixed(22245))
//! ```
//! - `Auto` takes a port from 22000 to 22999 that nobody has: no other container, nothing on the host that listens. Where
//!   the search begins follows from the container's name; a container that has a port keeps it.
//! - `Fixed` takes this one. What of the host listens there would not be reached any more: that is an error.
//!
//! `ssh -p PORT abuild@HOST` then leads to the container, from elsewhere by any address of the host, from the host itself by
//! any but 127.0.0.1. **Who may come** is for your own firewall: a table of ours can let in nobody whom another one keeps
//! out, and keeps out nobody.
//!
//! **Proved** by a connection through the port, at whose end the container's own host key has to be. As with `AwaitSsh`, the
//! proof is kept; while nothing changes that it depends on, it is enough that an ssh server greets at the port.
//!
//! **Changes** the table `ip drover_ssh` of nftables and no other, and `/etc/lxc/drover-ssh.nft`, which is that table as a
//! text, and from which it is loaded. It is gone when the host restarts, and back with the next run; or put
//! `include "/etc/lxc/drover-ssh.nft"` into `/etc/nftables.conf`, if that is what your host loads.
//!
//! **To take it back** `drover destroy`; or remove the container's line from that file and load it: `nft -f /etc/lxc/drover-ssh.nft`. For all
//! of them: `nft delete table ip drover_ssh`, and remove the file.

use crate::container::Container;
use crate::farm::Farm;
use crate::guest::free_port::{free, listening};
use crate::guest::reserve_address::reserved;
use crate::guest::{greeting, kept_proof, ssh_inputs};
use crate::inputs;
use crate::ssh_ports::{CHAIN, Lead, SshPorts, TABLE};
use crate::step::FarmStep;
use crate::{ours, program, resource, survey};
use anyhow::{Context, Error, Result, anyhow, bail, ensure};
use drover_engine::{Check, Claim, Cmd, Cx, HostFile, Inputs, Need, Resource, Rootfs, Undo};
use rustix::process::geteuid;
use serde::{Deserialize, Serialize};
use std::collections::HashSet;
use std::fs;
use std::net::Ipv4Addr;
use std::time::Duration;

const FILE: &str = "/etc/lxc/drover-ssh.nft";
/// How long a container that was just started may take to answer.
const PATIENCE: Duration = Duration::from_secs(60);

/// See the manual above.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExposeSsh(pub Port);

/// Which port.
#[derive(Debug, Serialize, Deserialize)]
pub enum Port {
    /// A free one, kept on later runs.
    Auto,
    /// This one.
    Fixed(u16),
}

fn file() -> HostFile {
    HostFile::new(FILE)
}

/// The script as it is and as it should be, and what leads to this container then.
struct Edit {
    before: Option<String>,
    after: String,
    lead: Lead,
}

/// The lines of our table that the kernel has; `None` if it has none.
fn loaded(cx: &Cx) -> Result<Option<HashSet<String>>> {
    let output = cx.probe(&Cmd::new("nft").args(["list", "chain", "ip", TABLE, CHAIN]))?;
    if output.status.success() {
        return Ok(Some(output.stdout.lines().map(|line| line.trim().to_owned()).collect()));
    }
    ensure!(
        output.stderr.contains("No such file or directory"),
        "nftables cannot be asked: {}",
        output.stderr.lines().next().unwrap_or("no message")
    );
    Ok(None)
}

fn check_loaded(cx: &Cx, lead: &Lead) -> Result<Check> {
    if program::find("nft").is_none() {
        return Ok(Check::needed("`nft` is not installed yet"));
    }
    if !geteuid().is_root() {
        return Ok(Check::needed(format!("only root can ask whether {FILE} is loaded")));
    }
    let known = cx.once("the ports of nftables that lead to containers", || loaded(cx))?;
    Ok(match known.as_ref().as_ref().is_some_and(|lines| lines.contains(&lead.rule())) {
        true => Check::Satisfied,
        false => Check::needed(format!("{FILE} is not loaded as it is")),
    })
}

/// Whether the port leads to the container: by the last proof, if nothing has changed since and somebody greets there; else
/// by a new one, which is kept.
fn check_answer(cx: &Cx, at: &Container, lead: &Lead) -> Result<Check> {
    let Some(inputs) = ssh_inputs::digest(cx, at, lead.address)? else {
        return Ok(Check::needed(format!("the domain `{}` does not run", at.name)));
    };
    let (name, inputs) = (format!("{}.port", at.name), format!("{inputs}-{}", lead.port));
    if kept_proof::holds(cx, &name, &inputs)? {
        let missing = greeting::missing(cx, own_address(&at.farm)?, lead.port)?;
        return Ok(missing.map_or(Check::Satisfied, Check::needed));
    }
    let answer = scan(cx, at, lead.port)?;
    if answer.is_satisfied() {
        kept_proof::keep(cx, &name, &inputs)?;
    }
    Ok(answer)
}

/// Whether the container's own host key is at the end of the port.
fn scan(cx: &Cx, at: &Container, port: u16) -> Result<Check> {
    let Some(rootfs) = Rootfs::find(at.rootfs())? else {
        return Ok(Check::needed(format!("the container `{}` does not exist", at.name)));
    };
    let keys = survey::host_keys(&rootfs)?;
    let Some(key) = keys.first() else {
        return Ok(Check::needed(format!("`{}` has no ssh host keys in its /etc/ssh", at.name)));
    };
    let host = own_address(&at.farm)?.to_string();
    let port = port.to_string();
    let scan = Cmd::new("ssh-keyscan").args(["-T", "15", "-t", algorithm(key), "-p", &port, &host]);
    let said = cx.probe(&scan)?;
    let mut keys_found = said.stdout.lines().filter(|line| !line.starts_with('#'));
    let found = keys_found.find_map(|line| Some(line.split_once(' ')?.1));
    Ok(match found {
        Some(found) if key.starts_with(found.trim()) => Check::Satisfied,
        Some(_) => {
            Check::needed(format!("port {port} leads to another ssh server than that of `{}`", at.name))
        }
        None => Check::needed(format!("port {port} leads to no ssh server yet")),
    })
}

/// What ssh-keyscan calls the kind of a key such as `ecdsa-sha2-nistp256 AAAA...`.
fn algorithm(key: &str) -> &str {
    let kind = key.split([' ', '@']).next().unwrap_or_default();
    let kind = kind.strip_prefix("ssh-").unwrap_or(kind);
    kind.split('-').next().unwrap_or(kind)
}

/// The host's address on the bridge: by it the host comes through its own ports.
fn own_address(farm: &Farm) -> Result<Ipv4Addr> {
    farm.network.hosts().next().with_context(|| format!("the network {} has no addresses", farm.network))
}

fn ensure_forwarding() -> Result<()> {
    let setting = "/proc/sys/net/ipv4/ip_forward";
    let value = fs::read_to_string(setting).with_context(|| format!("read `{setting}`"))?;
    ensure!(
        value.trim() == "1",
        "this host forwards nothing between networks: `sysctl -w net.ipv4.ip_forward=1` (lxc-net does it when it starts)"
    );
    Ok(())
}

/// Takes the container's port away; with the last one, the table and its file.
fn withdraw(cx: &Cx, at: &Container) -> Result<()> {
    let left = SshPorts::read(&file().read()?.unwrap_or_default()).without(&at.name);
    if !left.is_empty() {
        file().write(&left.script(at.farm.network))?;
        return cx.run(&Cmd::new("nft").args(["-f", FILE]));
    }
    if loaded(cx)?.is_some() {
        cx.run(&Cmd::new("nft").args(["delete", "table", "ip", TABLE]))?;
    }
    ours::remove(file().path())
}

impl ExposeSsh {
    fn choose(&self, name: &str, known: &SshPorts) -> Result<u16> {
        match self.0 {
            Port::Fixed(port) => match known.holder(port, name) {
                None => Ok(port),
                Some(other) => bail!("port {port} leads to `{}` already: give another one", other.name),
            },
            Port::Auto => match known.to(name) {
                Some(lead) if known.holder(lead.port, name).is_none() => Ok(lead.port),
                _ => free(name, known, &listening()?),
            },
        }
    }

    fn edit(&self, at: &Container, address: Ipv4Addr) -> Result<Edit> {
        let before = file().read()?;
        let known = SshPorts::read(before.as_deref().unwrap_or_default());
        let lead = Lead { port: self.choose(&at.name, &known)?, address, name: at.name.clone() };
        Ok(Edit { before, after: known.with(lead.clone()).script(at.farm.network), lead })
    }
}

impl FarmStep<Container> for ExposeSsh {
    fn title(&self, at: &Container) -> String {
        match self.0 {
            Port::Auto => format!("lead a port of the host to the ssh of {}", at.name),
            Port::Fixed(port) => format!("lead port {port} of the host to the ssh of {}", at.name),
        }
    }

    fn facts(&self, at: &Container) -> Inputs {
        inputs::rootfs(at).and(inputs::network(&at.farm)).and(inputs::user(&at.farm))
    }

    fn shape(&self, at: &mut Container) -> Result<()> {
        if let Port::Fixed(port) = self.0 {
            ensure!(
                port != 0 && port != 22,
                "port {port} cannot lead to a container: 22 is the host's own, 0 is none"
            );
            at.ssh_port = Some(port);
        }
        Ok(())
    }

    fn needs(&self, at: &Container) -> Vec<Need> {
        let fixed_first = matches!(self.0, Port::Auto).then_some(Need::After(resource::FIXED_PORT));
        let mut all = vec![
            Need::Must(at.resource(resource::ADDRESS)),
            Need::Must(at.resource(resource::RUNNING)),
            Need::Must(Resource::new(resource::PACKAGES, "host")),
            Need::IfAny(at.resource(resource::SSH)),
        ];
        all.extend(fixed_first);
        all
    }

    fn provides(&self, at: &Container) -> Vec<Resource> {
        let fixed = matches!(self.0, Port::Fixed(_)).then(|| at.resource(resource::FIXED_PORT));
        fixed.into_iter().chain([at.resource(resource::PORT)]).collect()
    }

    fn claims(&self, _at: &Container) -> Vec<Claim> {
        vec![Claim::lock(FILE)]
    }

    fn precondition(&self, _cx: &Cx, _at: &Container) -> Result<()> {
        if let Port::Fixed(port) = self.0 {
            ensure!(
                !listening()?.contains(&port),
                "something on this host listens at port {port} (`ss -ltnp 'sport = :{port}'`), and would not be reached any \
                 more: give another port"
            );
        }
        Ok(())
    }

    fn check(&self, cx: &Cx, at: &Container) -> Result<Check> {
        let Some(address) = reserved(cx, at)? else {
            return Ok(Check::needed(format!("no address is reserved for `{}`", at.name)));
        };
        let Edit { before, after, lead } = self.edit(at, address)?;
        if let Check::Needed { diff, .. } =
            Check::text(FILE, HostFile::new(FILE).mode_there()?, before.as_deref(), &after)
        {
            return Ok(Check::Needed { reason: format!("no port of the host leads to `{}`", at.name), diff });
        }
        check_loaded(cx, &lead)?.and_then(|| check_answer(cx, at, &lead))
    }

    fn apply(&self, cx: &Cx, at: &Container) -> Result<()> {
        ensure_forwarding()?;
        let address =
            reserved(cx, at)?.with_context(|| format!("no address is reserved for `{}`", at.name))?;
        let Edit { after, lead, .. } = self.edit(at, address)?;
        file().write(&after)?;
        cx.run(&Cmd::new("nft").args(["-f", FILE]))?;
        let user = &at.farm.account.user;
        cx.note(&format!("`ssh -p {} {user}@THIS-HOST` leads to {}", lead.port, at.name));
        Ok(())
    }

    fn undo<'a>(&'a self, _cx: &Cx, at: &'a Container) -> Result<Undo<'a>> {
        let known = SshPorts::read(&file().read()?.unwrap_or_default());
        let Some(lead) = known.to(&at.name) else { return Ok(Undo::default()) };
        let what = format!("let port {} lead nowhere any more", lead.port);
        Ok(Undo::default().act(what, move |cx| withdraw(cx, at)))
    }

    fn patience(&self, _at: &Container) -> Duration {
        PATIENCE
    }

    fn disproved(&self, _cx: &Cx, _at: &Container, reason: String) -> Error {
        let waited = PATIENCE.as_secs();
        anyhow!(
            "done, and yet {reason} after {waited} s; another table may be in the way: `nft list ruleset`"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_is_kept_and_a_taken_one_is_refused() -> Result<()> {
        let lead = |name: &str, port| Lead { port, address: Ipv4Addr::LOCALHOST, name: name.to_owned() };
        let known = SshPorts::default().with(lead("a", 22100)).with(lead("b", 22200));
        assert_eq!(ExposeSsh(Port::Auto).choose("a", &known)?, 22100);
        assert_eq!(ExposeSsh(Port::Fixed(22300)).choose("a", &known)?, 22300);
        let error = ExposeSsh(Port::Fixed(22200)).choose("a", &known).expect_err("taken").to_string();
        assert!(error.contains("leads to `b` already"), "{error}");
        Ok(())
    }

    #[test]
    fn kinds_of_keys_are_named_as_ssh_keyscan_does() {
        assert_eq!(algorithm("ssh-ed25519 AAAA root@x"), "ed25519");
        assert_eq!(algorithm("ecdsa-sha2-nistp256 AAAA"), "ecdsa");
    }
}
