//! The host's routes: which networks are taken.

use anyhow::{Context, Result};
use ipnet::Ipv4Net;
use std::net::Ipv4Addr;

/// A network, and the interface that leads to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Route {
    pub(super) interface: String,
    pub(super) network: Ipv4Net,
}

/// The routes to networks that share addresses with `network`; the default route is none of them.
pub(super) fn overlapping(network: Ipv4Net) -> Result<Vec<Route>> {
    let table = std::fs::read_to_string("/proc/net/route").context("cannot read the host's routes")?;
    let overlap = |route: &Route| route.network.contains(&network) || network.contains(&route.network);
    Ok(table.lines().skip(1).filter_map(parse).filter(overlap).collect())
}

/// A line of `/proc/net/route`, where addresses are numbers in the host's byte order.
fn parse(line: &str) -> Option<Route> {
    let fields: Vec<&str> = line.split_whitespace().collect();
    let address = |hex: &str| Some(Ipv4Addr::from(u32::from_str_radix(hex, 16).ok()?.to_ne_bytes()));
    let (interface, target, mask) = (*fields.first()?, fields.get(1)?, fields.get(7)?);
    let network = Ipv4Net::with_netmask(address(target)?, address(mask)?).ok()?;
    (network.prefix_len() > 0).then(|| Route { interface: interface.to_owned(), network })
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    #[cfg(target_endian = "little")]
    fn a_line_of_the_kernels_is_understood() {
        let route = parse("eth0\t000011AC\t00000000\t0001\t0\t0\t0\t0000FFFF\t0\t0\t0");
        let route = route.map(|route| (route.interface, route.network.to_string()));
        assert_eq!(route, Some(("eth0".to_owned(), "172.17.0.0/16".to_owned())));
    }

    #[test]
    fn the_default_route_takes_nothing() {
        assert_eq!(parse("eth0\t00000000\t0100A8C0\t0003\t0\t0\t0\t00000000\t0\t0\t0"), None);
        assert_eq!(parse(""), None);
    }
}
