//! # Bridge
//! An independent, masqueraded bridge for the containers: addresses by DHCP, and a way out through NAT.
//!
//! The document: "Prepare LXC and LIBVIRT-LXC integration, including an independent (aka masqueraded) bridge for NAT".
//!
//! ```ron
//! Bridge(name: "lxcbr0", network: "10.0.3.0/24")
//! ```
//! ```ron
//! Bridge(name: "lxcbr0", network: "10.0.3.0/24", dhcp: ("10.0.3.100", "10.0.3.254"))
//! ```
//!
//! | option | meaning |
//! | --- | --- |
//! | `name` | the bridge's interface, 15 characters at most |
//! | `network` | its network; the bridge has the first address |
//! | `dhcp` | first and last address that DHCP gives away; all but the bridge's own if not given |
//!
//! A bridge that is there already is taken only if lxc-net made it and it is nothing else: a network card on it, an address
//! or a default route of somebody else's is a complaint before anything runs, since lxc-net would take the addresses away.
//! So are a name that another configuration of the host gives to an interface, and a network to which a route of any
//! routing table leads.
//!
//! **Changes** `/etc/default/lxc-net`, line by line: `USE_LXC_BRIDGE`, `LXC_BRIDGE`, `LXC_ADDR`, `LXC_NETMASK`,
//! `LXC_NETWORK`, `LXC_DHCP_RANGE`, `LXC_DHCP_MAX`. Other lines stay as they are.
//!
//! With it comes `lxc-net`, which starts or restarts the bridge **once**, after everything that lxc-net reads is written
//! (by this step, `BridgeDns`, every `ReserveAddress`), and only if the running dnsmasq has not read that very text. What
//! it has read is noted below `/run/drover` with the process that did, so a run that fails or is killed between
//! an edit and the restart does not lose the restart: the next run sees that they differ. It also switches
//! transmit checksum offload off on the bridge, since the DHCP clients of emulated containers drop packets without checksums.
//!
//! lxc-net reads `/etc/default/lxc`, and that one is to read `/etc/default/lxc-net`: one that does not, or that sets something else
//! after it, is a complaint before anything runs. In the end it counts how dnsmasq was called: one that was started with
//! other settings than are written is started again.
//!
//! A firewall that stops DHCP, names or ssh on the bridge, or the containers' way out, is a complaint as well, with the table and
//! the chain that do it and the command that lets it through. That is tried, as root, in network namespaces of our own that
//! have the host's rules and a bridge of that name; nothing of the host's is touched.
//!
//! **To take it back** `drover destroy`; or stop lxc-net (`/usr/libexec/lxc/lxc-net stop`, or `systemctl disable --now lxc-net`) and remove
//! the lines.

use super::lxc_net::LxcNet;
use super::{bridge_place, lines, lxc_defaults};
use crate::farm::Farm;
use crate::ours;
use crate::resource::{LXC_NET_INPUT, PACKAGES};
use crate::step::FarmStep;
use anyhow::{Context, Result, ensure};
use drover_engine::{Check, Cx, HostFile, Inputs, Need, Resource, Undo};
use ipnet::Ipv4Net;
use serde::{Deserialize, Serialize};
use std::net::Ipv4Addr;
use std::sync::Arc;

/// Where lxc-net's settings are.
pub(super) const DEFAULTS: &str = "/etc/default/lxc-net";

/// See the manual above.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Bridge {
    /// The bridge's interface.
    pub name: String,
    /// Its network.
    pub network: Ipv4Net,
    /// First and last address that DHCP gives away.
    #[serde(default)]
    pub dhcp: Option<(Ipv4Addr, Ipv4Addr)>,
}

impl FarmStep<Farm> for Bridge {
    fn title(&self, _at: &Farm) -> String {
        format!("configure the bridge {} for {}", self.name, self.network)
    }

    fn facts(&self, _at: &Farm) -> Inputs {
        Inputs::default()
    }

    fn shape(&self, at: &mut Farm) -> Result<()> {
        self.validate()?;
        at.bridge.clone_from(&self.name);
        at.network = self.network;
        Ok(())
    }

    fn companions(&self, _at: &Farm) -> Vec<(String, Arc<dyn FarmStep<Farm>>)> {
        vec![("lxc-net".to_owned(), Arc::new(LxcNet))]
    }

    fn needs(&self, _at: &Farm) -> Vec<Need> {
        // The file is configuration of the package: dpkg is to find none when it brings its own.
        vec![Need::IfAny(Resource::new(PACKAGES, "host"))]
    }

    fn provides(&self, _at: &Farm) -> Vec<Resource> {
        vec![Resource::new(LXC_NET_INPUT, "Bridge")]
    }

    fn precondition(&self, cx: &Cx, _at: &Farm) -> Result<()> {
        bridge_place::ensure_free(cx, &self.name, self.network)?;
        let before = HostFile::new(DEFAULTS).read()?.unwrap_or_default();
        lxc_defaults::ensure_read(cx, &self.edit(&before)?)
    }

    fn check(&self, _cx: &Cx, _at: &Farm) -> Result<Check> {
        let file = HostFile::new(DEFAULTS);
        let (before, mode) = (file.read()?, file.mode_there()?);
        Ok(Check::text(DEFAULTS, mode, before.as_deref(), &self.edit(before.as_deref().unwrap_or(""))?))
    }

    fn apply(&self, cx: &Cx, _at: &Farm) -> Result<()> {
        let file = HostFile::new(DEFAULTS);
        ours::write(cx, &file, &self.edit(file.read()?.as_deref().unwrap_or(""))?)
    }

    fn undo<'a>(&'a self, cx: &Cx, _at: &'a Farm) -> Result<Undo<'a>> {
        ours::undo(cx, HostFile::new(DEFAULTS))
    }
}

/// The bridge's own address in `network`: the first.
pub(super) fn own_address(network: Ipv4Net) -> Ipv4Addr {
    network.hosts().next().expect("a network holds at least one address")
}

impl Bridge {
    fn validate(&self) -> Result<()> {
        let legal = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
        // IFNAMSIZ is 16, with the closing zero.
        let named = (1..=15).contains(&self.name.len()) && self.name.chars().all(legal);
        ensure!(named, "`{}` cannot be the name of an interface: up to 15 letters and digits", self.name);
        let whole = self.network.trunc();
        ensure!(whole == self.network, "`{}` is an address in a network: write `{whole}`", self.network);
        ensure!(self.network.prefix_len() <= 29, "the network `{}` has no room for containers", self.network);
        let (first, last) = self.range();
        let inside = self.network.contains(&first) && self.network.contains(&last) && first <= last;
        ensure!(inside, "the `dhcp` range {first} to {last} is not one of addresses in `{}`", self.network);
        let bridge = own_address(self.network);
        ensure!(
            !(first..=last).contains(&bridge),
            "the `dhcp` range holds {bridge}, the bridge's own address"
        );
        Ok(())
    }

    /// First and last address that DHCP gives away.
    fn range(&self) -> (Ipv4Addr, Ipv4Addr) {
        self.dhcp.unwrap_or_else(|| {
            let second = u32::from(own_address(self.network)) + 1;
            (second.into(), (u32::from(self.network.broadcast()) - 1).into())
        })
    }

    /// The settings with the bridge in them.
    fn edit(&self, text: &str) -> Result<String> {
        let (first, last) = self.range();
        let settings = [
            ("USE_LXC_BRIDGE", "true".to_owned()),
            ("LXC_BRIDGE", self.name.clone()),
            ("LXC_ADDR", own_address(self.network).to_string()),
            ("LXC_NETMASK", self.network.netmask().to_string()),
            ("LXC_NETWORK", self.network.to_string()),
            ("LXC_DHCP_RANGE", format!("{first},{last}")),
            ("LXC_DHCP_MAX", (u32::from(last) - u32::from(first) + 1).to_string()),
        ];
        let all =
            settings.iter().try_fold(text.to_owned(), |text, (key, value)| lines::assign(&text, key, value));
        all.context(DEFAULTS)
    }
}

#[cfg(test)]
mod tests {
    use super::Bridge;

    fn bridge(text: &str) -> Bridge {
        crate::registry::ron().from_str(text).expect("the test's own text is a bridge")
    }

    #[test]
    fn the_settings_are_those_of_the_packages_own_example() {
        let bridge = bridge(r#"(name: "lxcbr0", network: "10.0.3.0/24")"#);
        let before = "USE_LXC_BRIDGE=\"true\"\n\n# Honor system's dnsmasq configuration\n";
        let after = bridge.edit(before).expect("plain");
        let added = "LXC_BRIDGE=\"lxcbr0\"\nLXC_ADDR=\"10.0.3.1\"\nLXC_NETMASK=\"255.255.255.0\"\n\
            LXC_NETWORK=\"10.0.3.0/24\"\nLXC_DHCP_RANGE=\"10.0.3.2,10.0.3.254\"\nLXC_DHCP_MAX=\"253\"\n";
        assert_eq!(after, format!("{before}{added}"));
        assert_eq!(bridge.edit(&after).expect("plain"), after);
    }

    #[track_caller]
    fn refused(text: &str, why: &str) {
        let error = bridge(text).validate().expect_err("it is wrong").to_string();
        assert!(error.contains(why), "{error}");
    }

    #[test]
    fn what_cannot_work_is_refused() {
        refused(r#"(name: "a-very-long-name", network: "10.0.3.0/24")"#, "cannot be the name");
        refused(r#"(name: "br0", network: "10.0.3.1/24")"#, "write `10.0.3.0/24`");
        refused(r#"(name: "br0", network: "10.0.3.0/30")"#, "no room");
        refused(r#"(name: "br0", network: "10.0.3.0/24", dhcp: ("10.0.4.2", "10.0.4.9"))"#, "`dhcp` range");
        refused(r#"(name: "br0", network: "10.0.3.0/24", dhcp: ("10.0.3.9", "10.0.3.2"))"#, "`dhcp` range");
        refused(r#"(name: "br0", network: "10.0.3.0/24", dhcp: ("10.0.3.1", "10.0.3.9"))"#, "own address");
    }

    #[test]
    fn a_range_of_ones_own_is_kept() {
        let bridge = bridge(r#"(name: "br0", network: "10.0.3.0/24", dhcp: ("10.0.3.100", "10.0.3.199"))"#);
        assert!(bridge.validate().is_ok());
        assert!(bridge.edit("").expect("plain").contains("LXC_DHCP_MAX=\"100\""));
    }
}
