//! The host's routes: which networks are taken, in all routing tables.

use super::program;
use anyhow::{Context, Result};
use drover_engine::{Cmd, Cx};
use ipnet::Ipv4Net;
use std::net::Ipv4Addr;

/// A network, and the interface that leads to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Route {
    pub(super) interface: String,
    pub(super) network: Ipv4Net,
    /// The routing table, if it is not the main one.
    pub(super) table: Option<String>,
}

impl Route {
    /// Whether it leads to all that no other route does: the default route, or one of the two halves that a VPN lays
    /// over it (`0.0.0.0/1` and `128.0.0.0/1`).
    fn is_default(&self) -> bool {
        self.network.prefix_len() <= 1
    }
}

/// The routes to networks that share addresses with `network`; default routes are none of them.
pub(super) fn overlapping(cx: &Cx, network: Ipv4Net) -> Result<Vec<Route>> {
    let overlap = |route: &Route| route.network.contains(&network) || network.contains(&route.network);
    Ok(all(cx)?.into_iter().filter(|route| !route.is_default() && overlap(route)).collect())
}

/// Whether a default route, in any table, leads over `interface`.
pub(super) fn leads_out_by(cx: &Cx, interface: &str) -> Result<bool> {
    Ok(all(cx)?.iter().any(|route| route.is_default() && route.interface == interface))
}

fn all(cx: &Cx) -> Result<Vec<Route>> {
    if let Some(ip) = program::find("ip") {
        let shown = cx.read(&Cmd::new(ip).args(["-4", "route", "show", "table", "all"]))?;
        return Ok(shown.lines().filter_map(parse).collect());
    }
    cx.doubt("only the main routing table is known: `ip` is not installed yet");
    let table = std::fs::read_to_string("/proc/net/route").context("cannot read the host's routes")?;
    Ok(table.lines().skip(1).filter_map(parse_kernels).collect())
}

/// A line of `ip route show table all`, such as `local 10.0.3.1 dev lxcbr0 table local proto kernel scope host`. Routes
/// that lead to no interface (`unreachable`, `blackhole`) take no network.
fn parse(line: &str) -> Option<Route> {
    let words: Vec<&str> = line.split_whitespace().collect();
    let after =
        |key: &str| words.iter().position(|word| *word == key).and_then(|at| words.get(at + 1)).copied();
    let target = match *words.first()? {
        "local" | "unicast" => *words.get(1)?,
        "broadcast" | "multicast" | "anycast" | "nat" | "unreachable" | "blackhole" | "prohibit"
        | "throw" => return None,
        target => target,
    };
    let network = match target {
        "default" => Ipv4Net::default(),
        target if target.contains('/') => target.parse().ok()?,
        address => Ipv4Net::from(address.parse::<Ipv4Addr>().ok()?),
    };
    let table = after("table").map(str::to_owned);
    Some(Route { interface: after("dev")?.to_owned(), network, table })
}

/// A line of `/proc/net/route`, where addresses are numbers in the host's byte order.
fn parse_kernels(line: &str) -> Option<Route> {
    let fields: Vec<&str> = line.split_whitespace().collect();
    let address = |hex: &str| Some(Ipv4Addr::from(u32::from_str_radix(hex, 16).ok()?.to_ne_bytes()));
    let (interface, target, mask) = (*fields.first()?, fields.get(1)?, fields.get(7)?);
    let network = Ipv4Net::with_netmask(address(target)?, address(mask)?).ok()?;
    Some(Route { interface: interface.to_owned(), network, table: None })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(line: &str) -> Option<(String, String, Option<String>)> {
        let route = parse(line)?;
        Some((route.interface, route.network.to_string(), route.table))
    }

    #[test]
    fn lines_of_all_tables_are_understood() {
        let route = |interface: &str, network: &str, table: Option<&str>| {
            Some((interface.to_owned(), network.to_owned(), table.map(str::to_owned)))
        };
        assert_eq!(
            seen("default via 192.0.2.1 dev eth0 proto dhcp metric 100"),
            route("eth0", "0.0.0.0/0", None)
        );
        assert_eq!(
            seen("10.0.3.0/24 dev tun0 table 42 scope link"),
            route("tun0", "10.0.3.0/24", Some("42"))
        );
        assert_eq!(seen("10.8.0.5 via 10.8.0.1 dev tun0"), route("tun0", "10.8.0.5/32", None));
        assert_eq!(
            seen("local 10.0.3.1 dev lxcbr0 table local proto kernel scope host src 10.0.3.1"),
            route("lxcbr0", "10.0.3.1/32", Some("local"))
        );
        assert_eq!(seen("unreachable 10.0.0.0/8 metric 4278198272"), None);
        assert_eq!(seen("broadcast 10.0.3.255 dev lxcbr0 table local proto kernel scope link"), None);
        assert_eq!(seen(""), None);
    }

    #[test]
    fn what_a_vpn_lays_over_the_default_route_takes_nothing() {
        let default = |line| parse(line).map(|route| route.is_default());
        assert_eq!(default("0.0.0.0/1 via 10.8.0.1 dev tun0"), Some(true));
        assert_eq!(default("128.0.0.0/1 via 10.8.0.1 dev tun0"), Some(true));
        assert_eq!(default("10.0.0.0/8 via 10.8.0.1 dev tun0"), Some(false));
    }

    #[test]
    #[cfg(target_endian = "little")]
    fn a_line_of_the_kernels_is_understood() {
        let route = parse_kernels("eth0\t000011AC\t00000000\t0001\t0\t0\t0\t0000FFFF\t0\t0\t0");
        let route = route.map(|route| (route.interface, route.network.to_string()));
        assert_eq!(route, Some(("eth0".to_owned(), "172.17.0.0/16".to_owned())));
        let route = parse_kernels("eth0\t00000000\t0100A8C0\t0003\t0\t0\t0\t00000000\t0\t0\t0");
        assert!(route.is_some_and(|route| route.is_default()));
    }
}
