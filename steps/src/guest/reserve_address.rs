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
//! - `Auto` takes an address of the farm's network that nobody has: not the bridge, no line of the file or of whatever else
//!   dnsmasq reads of hosts (`dhcp-host=`, `conf-dir`, `dhcp-hostsdir`, `/etc/ethers`, its command line), no lease of
//!   dnsmasq. A name that has an address in one of these keeps it, in capitals or not. Where the search begins follows from the container's name, so that a farm that is built again tends to
//!   get the same addresses. The file is the memory: a container that stands in it keeps its address.
//! - `Fixed` takes this one, which must be of the farm's network and not the bridge's own. Fixed addresses are taken
//!   before free ones are looked for.
//!
//! **Changes** one line of that file. Comments and the lines of others stay as they are; an address or a name that one
//! of them has is an error, never overwritten. dnsmasq learns of it when lxc-net restarts, once, after all such lines.
//!
//! **To take it back**, `drover destroy`; or remove the line and restart lxc-net.

use crate::container::Container;
use crate::dnsmasq_config::reservations;
use crate::dnsmasq_hosts::DnsmasqHosts;
use crate::farm::Farm;
use crate::inputs;
use crate::resource;
use crate::step::FarmStep;
use anyhow::{Context, Result, anyhow, bail, ensure};
use drover_engine::{Check, Claim, Cx, HostFile, Inputs, Need, Resource, Undo};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::collections::HashMap;
use std::net::Ipv4Addr;
use std::ops::RangeInclusive;
use std::sync::Arc;

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
pub(crate) fn reserved(cx: &Cx, at: &Container) -> Result<Option<Ipv4Addr>> {
    let known = known(cx, &at.farm)?;
    known.address(&at.name).with_context(|| file(&at.farm).path().display().to_string())
}

/// The file, which all checks share.
fn known(cx: &Cx, farm: &Farm) -> Result<Arc<DnsmasqHosts>> {
    cx.once(&format!("the reservations in {}", file(farm).path().display()), || reservations(farm))
}

fn file(farm: &Farm) -> HostFile {
    HostFile::new(farm.dnsmasq_hosts())
}

/// The addresses that containers may have, from the first to the last: all of the network but the bridge's, which comes
/// before them. `None` if there are none.
fn candidates(farm: &Farm) -> Option<RangeInclusive<u32>> {
    let mut hosts = farm.network.hosts();
    let (_bridge, first) = (hosts.next()?, hosts.next()?);
    let last = hosts.next_back().unwrap_or(first);
    Some(first.into()..=last.into())
}

fn is_candidate(farm: &Farm, address: Ipv4Addr) -> bool {
    candidates(farm).is_some_and(|all| all.contains(&address.into()))
}

/// A free address, the search beginning at a place that follows from the name.
fn free(at: &Container, hosts: &DnsmasqHosts, leases: &Leases) -> Result<Ipv4Addr> {
    let all = candidates(&at.farm);
    let all = all.with_context(|| format!("the network {} has no room for containers", at.farm.network))?;
    let digest = Sha256::digest(at.name.as_bytes());
    let start = u64::from(u32::from_be_bytes([digest[0], digest[1], digest[2], digest[3]]));
    let (first, last) = (*all.start(), *all.end());
    // The remainder is less than the count of all, so that it has as many bits at the most.
    let begin = first + u32::try_from(start % (u64::from(last - first) + 1)).unwrap_or_default();
    let is_free = |address: &Ipv4Addr| {
        lent(leases, *address, &at.name).is_none() && hosts.holder(*address, &at.name).is_none()
    };
    // An address that it has already, without anybody having reserved it, stays its own.
    let has = leases
        .iter()
        .filter(|(_, name)| name.eq_ignore_ascii_case(&at.name))
        .map(|(address, _)| *address)
        .min();
    let has = has.filter(|address| all.contains(&(*address).into()));
    has.into_iter().chain((begin..=last).chain(first..begin).map(Ipv4Addr::from)).find(is_free).ok_or_else(|| {
        anyhow!(
            "no address of {} is free: remove lines of {} that nobody needs, or give the bridge a larger network",
            at.farm.network,
            at.farm.dnsmasq_hosts().display()
        )
    })
}

/// To whom else than `name` an address is lent.
fn lent<'a>(leases: &'a Leases, address: Ipv4Addr, name: &str) -> Option<&'a str> {
    leases.get(&address).map(String::as_str).filter(|other| !other.eq_ignore_ascii_case(name))
}

/// The addresses that dnsmasq has lent, and to whom; `*` is somebody without a name.
type Leases = HashMap<Ipv4Addr, String>;

/// The leases, which all checks share.
fn leases(cx: &Cx, farm: &Farm) -> Result<Arc<Leases>> {
    let file = farm.leases();
    cx.once(&format!("the leases in {}", file.display()), || {
        let text = HostFile::new(&file).read()?.unwrap_or_default();
        // Each line: when it ends, hardware address, address, name, client id.
        let fields = text.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
        Ok(fields
            .filter_map(|fields| Some((fields.get(2)?.parse().ok()?, (*fields.get(3)?).to_owned())))
            .collect())
    })
}

impl ReserveAddress {
    /// The address that the container has or is to have.
    fn choose(&self, cx: &Cx, at: &Container, hosts: &DnsmasqHosts) -> Result<Ipv4Addr> {
        if let Address::Fixed(address) = self.0 {
            if let Some(line) = hosts.holder(address, &at.name) {
                bail!("the address {address} is taken by the line `{line}`");
            }
            // Who has it by our line already need not be who is lent it by that name.
            if hosts.address(&at.name)? != Some(address)
                && let Some(other) = lent(&*leases(cx, &at.farm)?, address, &at.name)
            {
                bail!(
                    "the address {address} is lent to `{other}`, and dnsmasq gives it to nobody else until that ends: see {}",
                    at.farm.leases().display()
                );
            }
            return Ok(address);
        }
        match hosts.address(&at.name)? {
            Some(address) if self.may_stay(at, hosts, address) => Ok(address),
            _ => free(at, hosts, &*leases(cx, &at.farm)?),
        }
    }

    fn may_stay(&self, at: &Container, hosts: &DnsmasqHosts, address: Ipv4Addr) -> bool {
        is_candidate(&at.farm, address) && hosts.holder(address, &at.name).is_none()
    }

    /// The file as it should be, with the address that the container is to have; `None` if it is so already.
    fn edit(
        &self,
        cx: &Cx,
        at: &Container,
        hosts: &DnsmasqHosts,
    ) -> Result<Option<(DnsmasqHosts, Ipv4Addr)>> {
        let edit = || -> Result<_> {
            let address = self.choose(cx, at, hosts)?;
            match hosts.address(&at.name)? {
                Some(known) if known == address => Ok(None),
                _ => Ok(Some((hosts.with(&at.name, address)?, address))),
            }
        };
        edit().with_context(|| at.farm.dnsmasq_hosts().display().to_string())
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
                is_candidate(&at.farm, address),
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

    fn check(&self, cx: &Cx, at: &Container) -> Result<Check> {
        let hosts = known(cx, &at.farm)?;
        let Some((after, address)) = self.edit(cx, at, &hosts)? else { return Ok(Check::Satisfied) };
        let path = at.farm.dnsmasq_hosts().display().to_string();
        let mode = file(&at.farm).mode_there()?;
        Ok(match Check::text(&path, mode, Some(hosts.text()), after.text()) {
            Check::Needed { diff, .. } => {
                Check::Needed { reason: format!("{path} has no line `{},{address}`", at.name), diff }
            }
            satisfied @ Check::Satisfied => satisfied,
        })
    }

    fn apply(&self, cx: &Cx, at: &Container) -> Result<()> {
        match self.edit(cx, at, &reservations(&at.farm)?)? {
            Some((after, _)) => file(&at.farm).write(after.text()),
            None => Ok(()),
        }
    }

    fn undo<'a>(&'a self, _cx: &Cx, at: &'a Container) -> Result<Undo<'a>> {
        let path = at.farm.dnsmasq_hosts().display();
        if reservations(&at.farm)?.without(&at.name).is_none() {
            return Ok(Undo::default());
        }
        Ok(Undo::default().act(format!("take the line of {} out of {path}", at.name), |_| {
            let text = reservations(&at.farm)?.without(&at.name);
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
        let base = Base {
            release,
            arch: Architecture::host(),
            mirrors: Vec::new(),
            keyring: None,
            farm: farm.clone(),
        };
        Container {
            name: name.to_owned(),
            base: Arc::new(base),
            farm,
            address: None,
            ssh_port: None,
            memory: None,
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
        let none = Leases::new();
        let first = free(&at, &hosts, &none).expect("room");
        assert_eq!(free(&at, &hosts, &none).expect("room"), first, "the same name, the same address");
        let mut given = vec![first];
        hosts = hosts.with("other", first).expect("added");
        while let Ok(next) = free(&at, &hosts, &none) {
            assert!(!given.contains(&next) && next != address(1), "{next}");
            hosts = hosts.with(&format!("other{}", given.len()), next).expect("added");
            given.push(next);
        }
        assert_eq!(given.len(), 5, "eight, but for the network's, the bridge's and the broadcast's");
        let lent = |name: &str| given.iter().map(|address| (*address, name.to_owned())).collect::<Leases>();
        assert!(free(&at, &DnsmasqHosts::default(), &lent("b")).is_err(), "lent ones are not free");
        assert_eq!(
            free(&at, &DnsmasqHosts::default(), &lent("A")).map(|it| given.contains(&it)).ok(),
            Some(true)
        );
        let one = Leases::from([(given[3], "A".to_owned()), (given[2], "*".to_owned())]);
        assert_eq!(
            free(&at, &DnsmasqHosts::default(), &one).expect("its own"),
            given[3],
            "what it is lent it keeps"
        );
    }

    #[test]
    fn an_address_is_kept_unless_it_cannot_stay() {
        let at = container("a", "10.0.3.0/24");
        let (auto, cx) = (ReserveAddress(Address::Auto), Cx::to_look());
        let kept = DnsmasqHosts::new("a,10.0.3.77\n");
        assert_eq!(auto.choose(&cx, &at, &kept).expect("kept"), address(77));
        for text in ["a,10.0.3.77\nb,10.0.3.77\n", "a,10.0.4.77\n", "a,10.0.3.1\n"] {
            assert_ne!(
                auto.choose(&cx, &at, &DnsmasqHosts::new(text)).expect("another"),
                address(77),
                "{text}"
            );
        }
        let fixed = ReserveAddress(Address::Fixed(address(9)));
        assert_eq!(fixed.choose(&cx, &at, &kept).expect("moved"), address(9));
        let error =
            fixed.choose(&cx, &at, &DnsmasqHosts::new("52:54:00:00:00:01,b,10.0.3.9\n")).expect_err("taken");
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
