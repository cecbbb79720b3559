//! The ports of the host that lead to the ssh of containers, as a script for `nft -f`: the memory of who has which port, and
//! a table of nftables of our own, so that it can be taken away and touches no other.
//!
//! It does not know which ports are free, nor whether the kernel has it.

use ipnet::Ipv4Net;
use std::net::Ipv4Addr;

/// The table of nftables that is ours.
pub const TABLE: &str = "drover_ssh";
/// The chain in it with a rule for each container.
pub const CHAIN: &str = "ports";

/// A port of the host that leads to a container's ssh.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Lead {
    /// The port of the host.
    pub port: u16,
    /// Where it leads.
    pub address: Ipv4Addr,
    /// Whose address that is.
    pub name: String,
}

impl Lead {
    /// The rule, as nft prints it too.
    pub fn rule(&self) -> String {
        let Self { port, address, name } = self;
        format!("tcp dport {port} dnat to {address}:22 comment \"{name}\"")
    }

    fn read(line: &str) -> Option<Self> {
        let (port, rest) = line.trim().strip_prefix("tcp dport ")?.split_once(" dnat to ")?;
        let (address, name) = rest.split_once(":22 comment ")?;
        let (port, address) = (port.parse().ok()?, address.parse().ok()?);
        Some(Self { port, address, name: name.trim_matches('"').to_owned() })
    }
}

/// All of them, sorted by port.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SshPorts {
    leads: Vec<Lead>,
}

impl SshPorts {
    /// Those in a script of [`SshPorts::script`].
    pub fn read(script: &str) -> Self {
        let mut leads: Vec<_> = script.lines().filter_map(Lead::read).collect();
        leads.sort();
        Self { leads }
    }

    /// The one that leads to `name`.
    pub fn to(&self, name: &str) -> Option<&Lead> {
        self.leads.iter().find(|lead| lead.name == name)
    }

    /// The one of somebody else than `name` that begins at `port`.
    pub fn holder(&self, port: u16, name: &str) -> Option<&Lead> {
        self.leads.iter().find(|lead| lead.port == port && lead.name != name)
    }

    /// With this one, in place of an older one to the same container.
    #[must_use]
    pub fn with(&self, lead: Lead) -> Self {
        let mut leads = self.without(&lead.name).leads;
        leads.push(lead);
        leads.sort();
        Self { leads }
    }

    /// Without the one that leads to `name`.
    #[must_use]
    pub fn without(&self, name: &str) -> Self {
        Self { leads: self.leads.iter().filter(|lead| lead.name != name).cloned().collect() }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.leads.is_empty()
    }

    /// The script that puts the table in place of an older one, at once. Containers on `network` that come by a port of
    /// the host are seen as the host, or else the answer would not come back by it.
    pub fn script(&self, network: Ipv4Net) -> String {
        let rules: String = self.leads.iter().map(|lead| format!("\t\t{}\n", lead.rule())).collect();
        format!(
            "# Drover: the step ExposeSsh. Ports of this host that lead to the ssh of containers; loaded by `nft -f`.\n\
             table ip {TABLE}\n\
             delete table ip {TABLE}\n\
             table ip {TABLE} {{\n\
             \tchain {CHAIN} {{\n{rules}\t}}\n\
             \tchain from_outside {{\n\
             \t\ttype nat hook prerouting priority dstnat\n\
             \t\tfib daddr type local jump {CHAIN}\n\
             \t}}\n\
             \tchain from_here {{\n\
             \t\ttype nat hook output priority -100\n\
             \t\tip daddr != 127.0.0.0/8 fib daddr type local jump {CHAIN}\n\
             \t}}\n\
             \tchain back {{\n\
             \t\ttype nat hook postrouting priority srcnat\n\
             \t\tip saddr {network} ip daddr {network} ct status dnat masquerade\n\
             \t}}\n\
             }}\n"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lead(name: &str, port: u16) -> Lead {
        Lead { port, address: Ipv4Addr::new(10, 0, 3, 5), name: name.to_owned() }
    }

    #[test]
    fn reads_what_it_writes_and_keeps_its_own_order() {
        let network = Ipv4Net::new_assert(Ipv4Addr::new(10, 0, 3, 0), 24);
        let one = SshPorts::default().with(lead("b", 22002)).with(lead("a", 22001));
        let other = SshPorts::default().with(lead("a", 22001)).with(lead("b", 22002));
        assert_eq!(one.script(network), other.script(network), "whichever came first");
        assert_eq!(SshPorts::read(&one.script(network)), one);
        assert!(one.script(network).contains("tcp dport 22001 dnat to 10.0.3.5:22 comment \"a\"\n"));
        assert_eq!(one.with(lead("a", 22009)).to("a"), Some(&lead("a", 22009)), "moved");
        assert_eq!(one.holder(22001, "b"), Some(&lead("a", 22001)));
        assert_eq!(one.holder(22001, "a"), None);
        assert!(one.without("a").without("b").is_empty());
    }
}
