//! # ReserveAddress
//! Gives the container an address that stays: a line `NAME,ADDRESS` in `/etc/lxc/dnsmasq-hosts.conf`, by which dnsmasq
//! answers when the container asks for its address.
//!
//! The document: "Add the "name,IP" line for this container to /etc/lxc/dnsmasq-hosts.conf on the host".
//!
//! ```ron
//! ReserveAddress(Auto)
//! ReserveAddress(Fixed("10.0.3.245"))
//! ```
//! - `Auto` takes an address of the farm's network that nobody has: not the bridge, no line of the file, no lease of
//!   dnsmasq. Where the search begins follows from the container's name, so that a farm that is built again tends to
//!   get the same addresses. The file is the memory: a container that stands in it keeps its address.
//! - `Fixed` takes this one, which must be of the farm's network and not the bridge's own. Fixed addresses are taken
//!   before free ones are looked for.
//!
//! **Changes** one line of that file. Comments and the lines of others stay as they are; an address or a name that one
//! of them has is an error, never overwritten. dnsmasq learns of it when lxc-net restarts, once, after all such lines.
//!
//! **To take it back**, `drover destroy`; or remove the line and restart lxc-net.

use crate::container::Container;
use crate::dnsmasq_hosts::DnsmasqHosts;
use crate::farm::Farm;
use crate::inputs;
use crate::resource;
use crate::step::FarmStep;
use anyhow::{Context, Result, anyhow, bail, ensure};
use drover_engine::{Check, Claim, Cx, HostFile, Inputs, Need, Resource, Undo};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::net::Ipv4Addr;

/// See the manual above.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReserveAddress(pub Address);

/// Which address.
#[derive(Debug, Serialize, Deserialize)]
pub enum Address {
    /// A free one of the farm's network, kept on later runs.
    Auto,
    /// This one.
    Fixed(Ipv4Addr),
}

/// The address that the file has for this container.
///
/// # Errors
/// When the file cannot be read, or names the container twice.
pub(crate) fn reserved(at: &Container) -> Result<Option<Ipv4Addr>> {
    read(&at.farm)?.address(&at.name).with_context(|| file(&at.farm).path().display().to_string())
}

fn file(farm: &Farm) -> HostFile {
    HostFile::new(farm.dnsmasq_hosts())
}

fn read(farm: &Farm) -> Result<DnsmasqHosts> {
    Ok(DnsmasqHosts::new(file(farm).read()?.unwrap_or_default()))
}

/// The addresses that containers may have: all of the network but the bridge's, which is the first.
fn candidates(farm: &Farm) -> impl Iterator<Item = Ipv4Addr> + Clone {
    farm.network.hosts().skip(1)
}

/// A free address, the search beginning at a place that follows from the name.
fn free(at: &Container, hosts: &DnsmasqHosts, leased: &[Ipv4Addr]) -> Result<Ipv4Addr> {
    let all = candidates(&at.farm);
    let count = all.clone().count();
    ensure!(count > 0, "the network {} has no room for containers", at.farm.network);
    let digest = Sha256::digest(at.name.as_bytes());
    let start = u32::from_be_bytes([digest[0], digest[1], digest[2], digest[3]]) as usize % count;
    let is_free =
        |address: &Ipv4Addr| !leased.contains(address) && hosts.holder(*address, &at.name).is_none();
    all.clone().skip(start).chain(all.take(start)).find(is_free).ok_or_else(|| {
        anyhow!(
            "no address of {} is free: remove lines of {} that nobody needs, or give the bridge a larger network",
            at.farm.network,
            at.farm.dnsmasq_hosts().display()
        )
    })
}

/// The addresses that dnsmasq has lent to others than `name`.
fn leased(at: &Container) -> Result<Vec<Ipv4Addr>> {
    let text = HostFile::new(at.farm.leases()).read()?.unwrap_or_default();
    // Each line: when it ends, hardware address, address, name, client id.
    let fields = text.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    let others = fields.filter(|fields| fields.get(3).is_some_and(|name| *name != at.name));
    Ok(others.filter_map(|fields| fields[2].parse().ok()).collect())
}

impl ReserveAddress {
    /// The address that the container has or is to have.
    fn choose(&self, at: &Container, hosts: &DnsmasqHosts) -> Result<Ipv4Addr> {
        if let Address::Fixed(address) = self.0 {
            return match hosts.holder(address, &at.name) {
                None => Ok(address),
                Some(line) => bail!("the address {address} is taken by the line `{line}`"),
            };
        }
        match hosts.address(&at.name)? {
            Some(address) if self.may_stay(at, hosts, address) => Ok(address),
            _ => free(at, hosts, &leased(at)?),
        }
    }

    fn may_stay(&self, at: &Container, hosts: &DnsmasqHosts, address: Ipv4Addr) -> bool {
        candidates(&at.farm).any(|candidate| candidate == address)
            && hosts.holder(address, &at.name).is_none()
    }

    /// The file as it is, and as it should be.
    fn edit(&self, at: &Container) -> Result<(Option<String>, DnsmasqHosts)> {
        let path = at.farm.dnsmasq_hosts().display().to_string();
        let before = file(&at.farm).read()?;
        let hosts = DnsmasqHosts::new(before.clone().unwrap_or_default());
        let after = self.choose(at, &hosts).and_then(|address| match hosts.address(&at.name)? {
            Some(known) if known == address => Ok(hosts),
            _ => hosts.with(&at.name, address),
        });
        Ok((before, after.context(path)?))
    }
}

impl FarmStep<Container> for ReserveAddress {
    fn title(&self, at: &Container) -> String {
        match self.0 {
            Address::Auto => format!("reserve an address for {}", at.name),
            Address::Fixed(address) => format!("reserve {address} for {}", at.name),
        }
    }

    fn facts(&self, at: &Container) -> Inputs {
        inputs::name(at).and(inputs::network(&at.farm))
    }

    fn shape(&self, at: &mut Container) -> Result<()> {
        if let Address::Fixed(address) = self.0 {
            let bridge = at.farm.network.hosts().next();
            ensure!(
                bridge != Some(address),
                "the address {address} is that of the bridge `{}`",
                at.farm.bridge
            );
            ensure!(
                candidates(&at.farm).any(|candidate| candidate == address),
                "the address {address} is outside of the network {}",
                at.farm.network
            );
            at.address = Some(address);
        }
        Ok(())
    }

    fn needs(&self, _at: &Container) -> Vec<Need> {
        let fixed_first = matches!(self.0, Address::Auto).then_some(Need::After(resource::FIXED_ADDRESS));
        // The directory /etc/lxc comes with the package.
        let packages = Need::IfAny(Resource::new(resource::PACKAGES, "host"));
        fixed_first.into_iter().chain([packages]).collect()
    }

    fn provides(&self, at: &Container) -> Vec<Resource> {
        let mut all = vec![
            at.resource(resource::ADDRESS),
            Resource::new(resource::LXC_NET_INPUT, format!("address of {}", at.name)),
        ];
        if matches!(self.0, Address::Fixed(_)) {
            all.push(at.resource(resource::FIXED_ADDRESS));
        }
        all
    }

    fn claims(&self, at: &Container) -> Vec<Claim> {
        vec![Claim::lock(at.farm.dnsmasq_hosts().display().to_string())]
    }

    fn check(&self, _cx: &Cx, at: &Container) -> Result<Check> {
        let (before, after) = self.edit(at)?;
        let path = at.farm.dnsmasq_hosts().display().to_string();
        match Check::text(&path, before.as_deref(), after.text()) {
            Check::Needed { diff, .. } => {
                let address = after.address(&at.name)?.map(|address| address.to_string()).unwrap_or_default();
                Ok(Check::Needed { reason: format!("{path} has no line `{},{address}`", at.name), diff })
            }
            satisfied @ Check::Satisfied => Ok(satisfied),
        }
    }

    fn apply(&self, _cx: &Cx, at: &Container) -> Result<()> {
        file(&at.farm).write(self.edit(at)?.1.text())
    }

    fn undo<'a>(&'a self, _cx: &Cx, at: &'a Container) -> Result<Undo<'a>> {
        let path = at.farm.dnsmasq_hosts().display();
        if read(&at.farm)?.without(&at.name).is_none() {
            return Ok(Undo::default());
        }
        Ok(Undo::default().act(format!("take the line of {} out of {path}", at.name), |_| {
            let text = read(&at.farm)?.without(&at.name);
            text.map_or(Ok(()), |text| file(&at.farm).write(&text))
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::architecture::Architecture;
    use crate::base::Base;
    use crate::release::{self, Distribution};
    use std::sync::Arc;

    fn container(name: &str, network: &str) -> Container {
        let farm = Arc::new(Farm { network: network.parse().expect("a network"), ..Farm::default() });
        let release = release::find(Distribution::Debian, "bookworm").expect("bookworm is known");
        let base = Base { release, arch: Architecture::host(), mirror: None, farm: farm.clone() };
        Container {
            name: name.to_owned(),
            base: Arc::new(base),
            farm,
            address: None,
            ssh_port: None,
            joins_controllers: true,
        }
    }

    fn address(last: u8) -> Ipv4Addr {
        Ipv4Addr::new(10, 0, 3, last)
    }

    #[test]
    fn what_is_free_follows_from_the_name_and_from_what_is_taken() {
        let at = container("a", "10.0.3.0/29");
        let mut hosts = DnsmasqHosts::default();
        let first = free(&at, &hosts, &[]).expect("room");
        assert_eq!(free(&at, &hosts, &[]).expect("room"), first, "the same name, the same address");
        let mut given = vec![first];
        hosts = hosts.with("other", first).expect("added");
        while let Ok(next) = free(&at, &hosts, &[]) {
            assert!(!given.contains(&next) && next != address(1), "{next}");
            hosts = hosts.with(&format!("other{}", given.len()), next).expect("added");
            given.push(next);
        }
        assert_eq!(given.len(), 5, "eight, but for the network's, the bridge's and the broadcast's");
        assert!(free(&at, &DnsmasqHosts::default(), &given).is_err(), "lent ones are not free");
    }

    #[test]
    fn an_address_is_kept_unless_it_cannot_stay() {
        let at = container("a", "10.0.3.0/24");
        let auto = ReserveAddress(Address::Auto);
        let kept = DnsmasqHosts::new("a,10.0.3.77\n");
        assert_eq!(auto.choose(&at, &kept).expect("kept"), address(77));
        for text in ["a,10.0.3.77\nb,10.0.3.77\n", "a,10.0.4.77\n", "a,10.0.3.1\n"] {
            assert_ne!(auto.choose(&at, &DnsmasqHosts::new(text)).expect("another"), address(77), "{text}");
        }
        let fixed = ReserveAddress(Address::Fixed(address(9)));
        assert_eq!(fixed.choose(&at, &kept).expect("moved"), address(9));
        let error =
            fixed.choose(&at, &DnsmasqHosts::new("52:54:00:00:00:01,b,10.0.3.9\n")).expect_err("taken");
        assert!(error.to_string().contains("b,10.0.3.9"), "{error}");
    }

    #[test]
    fn a_fixed_address_belongs_to_the_network_and_not_to_the_bridge() {
        for (text, fits) in [
            ("10.0.3.2", true),
            ("10.0.3.1", false),
            ("10.0.3.0", false),
            ("10.0.3.255", false),
            ("10.0.4.2", false),
        ] {
            let mut at = container("a", "10.0.3.0/24");
            let shaped = ReserveAddress(Address::Fixed(text.parse().expect("an address"))).shape(&mut at);
            assert_eq!(shaped.is_ok(), fits, "{text}");
            assert_eq!(at.address.is_some(), fits, "{text}");
        }
    }
}
