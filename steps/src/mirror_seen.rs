//! What a mirror is to a container: one at the host's loopback interface, a cache perhaps, is somewhere else there.
//!
//! It does not ask the mirror, nor does it know what resolves a name.

use crate::base::Base;
use crate::farm::Farm;
use crate::mirror::{Archive, Mirror};
use anyhow::{Context, Result};
use drover_engine::Cx;
use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// How a container sees a mirror.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Seen {
    /// At this address.
    At(String),
    /// Not at all, and why.
    Never(String),
}

/// What the sources of a container say of an archive: where it sees it, or else where the host does.
pub(crate) fn address(farm: &Farm, archive: &Archive) -> Result<String> {
    Ok(match seen(farm, &archive.uri)? {
        Seen::At(uri) => uri,
        Seen::Never(_) => archive.uri.clone(),
    })
}

/// What keeps the containers of a base system from their mirror, in words.
pub(crate) fn obstacles(cx: &Cx, base: &Base) -> Result<Vec<String>> {
    let mirror = Mirror::of(cx, base)?;
    let mut found = Vec::new();
    for archive in [Some(&mirror.main), mirror.security.as_ref()].into_iter().flatten() {
        if let Seen::Never(why) = seen(&base.farm, &archive.uri)? {
            found.push(format!(
                "containers cannot reach `{}`, which their own apt will be told of: {why}",
                archive.uri
            ));
        }
    }
    Ok(found)
}

/// How a container of the farm sees the mirror at an address.
pub(crate) fn seen(farm: &Farm, uri: &str) -> Result<Seen> {
    let bridge = farm.network.hosts().next().context("the network of the bridge has no addresses")?;
    seen_from(bridge, uri, &listeners()?)
}

fn seen_from(bridge: Ipv4Addr, uri: &str, listeners: &[(IpAddr, u16)]) -> Result<Seen> {
    let (scheme, rest) = uri.split_once(':').context("an address says how to get there")?;
    let usual = match scheme {
        "http" => 80,
        "https" => 443,
        "ftp" => 21,
        "file" | "copy" => return Ok(Seen::Never("it is a directory of the host".to_owned())),
        _ => return Ok(Seen::Never(format!("they have nothing that speaks `{scheme}:`"))),
    };
    let rest = rest.trim_start_matches('/');
    let (place, path) =
        rest.split_once('/').map_or((rest, String::new()), |(place, path)| (place, format!("/{path}")));
    let (account, place) = place.rsplit_once('@').map_or(("", place), |(account, place)| (account, place));
    let (host, port) = host_and_port(place, usual);
    if !is_loopback(host) {
        return Ok(Seen::At(uri.to_owned()));
    }
    let serves = |address: &IpAddr| address.is_unspecified() || *address == IpAddr::V4(bridge);
    if !listeners.iter().any(|(address, number)| *number == port && serves(address)) {
        return Ok(Seen::Never(format!(
            "it is at the host's loopback interface, and nothing serves port {port} at the bridge's address {bridge} as well"
        )));
    }
    let account = if account.is_empty() { String::new() } else { format!("{account}@") };
    let port = if port == usual { String::new() } else { format!(":{port}") };
    Ok(Seen::At(format!("{scheme}://{account}{bridge}{port}{path}")))
}

/// The host and the port in `localhost:3142` or `[::1]:3142`.
fn host_and_port(place: &str, usual: u16) -> (&str, u16) {
    let (host, port) = match place.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((host, port)) => (host, port.strip_prefix(':')),
        None => place.split_once(':').map_or((place, None), |(host, port)| (host, Some(port))),
    };
    (host, port.and_then(|port| port.parse().ok()).unwrap_or(usual))
}

fn is_loopback(host: &str) -> bool {
    const NAMES: [&str; 4] = ["localhost", "localhost.localdomain", "ip6-localhost", "ip6-loopback"];
    let name = host.trim_end_matches('.').to_ascii_lowercase();
    NAMES.contains(&name.as_str()) || host.parse().is_ok_and(|address: IpAddr| address.is_loopback())
}

/// Where something listens on this host: addresses and ports.
fn listeners() -> Result<Vec<(IpAddr, u16)>> {
    let mut found = Vec::new();
    for table in ["/proc/net/tcp", "/proc/net/tcp6"] {
        // A kernel without IPv6 has no such table.
        if fs::exists(table).with_context(|| format!("look for `{table}`"))? {
            let text = fs::read_to_string(table).with_context(|| format!("read `{table}`"))?;
            found.extend(text.lines().filter_map(listener));
        }
    }
    Ok(found)
}

/// What a line of the kernel's table says of a socket that listens.
fn listener(line: &str) -> Option<(IpAddr, u16)> {
    let words: Vec<_> = line.split_whitespace().collect();
    let (address, port) = words.get(1).filter(|_| words.get(3) == Some(&"0A"))?.split_once(':')?;
    let port = u16::from_str_radix(port, 16).ok()?;
    let number = |part: &str| u32::from_str_radix(part, 16).ok().map(u32::to_ne_bytes);
    let address = match address.len() {
        8 => IpAddr::from(number(address)?),
        32 => {
            let parts = (0..4).map(|part| number(&address[8 * part..8 * part + 8]));
            let bytes: Vec<u8> = parts.collect::<Option<Vec<_>>>()?.concat();
            let address = Ipv6Addr::from(<[u8; 16]>::try_from(bytes).ok()?);
            // One of both families serves IPv4 as well.
            address.to_ipv4_mapped().map_or(IpAddr::V6(address), IpAddr::V4)
        }
        _ => return None,
    };
    Some((address, port))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    fn check(uri: &str, listeners: &[(&str, u16)], expected: Result<&str, &str>) {
        let listeners: Vec<_> =
            listeners.iter().map(|(address, port)| (address.parse().expect("an address"), *port)).collect();
        let seen = seen_from(Ipv4Addr::new(10, 0, 3, 1), uri, &listeners).expect("an address");
        match (&seen, expected) {
            (Seen::At(at), Ok(expected)) => assert_eq!(at, expected, "{uri}"),
            (Seen::Never(why), Err(part)) => assert!(why.contains(part), "{uri}: {why}"),
            _ => panic!("{uri}: {seen:?}"),
        }
    }

    #[test]
    fn a_cache_of_the_hosts_is_at_the_bridges_address() {
        let all = [("0.0.0.0", 3142)];
        check(
            "http://localhost:3142/deb.example.org/debian",
            &all,
            Ok("http://10.0.3.1:3142/deb.example.org/debian"),
        );
        check("http://127.0.0.1:3142/debian", &[("::", 3142)], Ok("http://10.0.3.1:3142/debian"));
        check("http://[::1]:3142/debian", &[("10.0.3.1", 3142)], Ok("http://10.0.3.1:3142/debian"));
        check(
            "http://user:word@LOCALHOST/debian",
            &[("0.0.0.0", 80)],
            Ok("http://user:word@10.0.3.1/debian"),
        );
        check("http://localhost:3142/debian", &[("127.0.0.1", 3142), ("0.0.0.0", 80)], Err("port 3142"));
        check("http://localhost:3142/debian", &[], Err("loopback"));
    }

    #[test]
    fn others_are_where_they_are() {
        check("http://deb.example.org/debian", &[], Ok("http://deb.example.org/debian"));
        check("https://10.1.2.3:8443/debian", &[], Ok("https://10.1.2.3:8443/debian"));
        check("http://localhost.example.org/debian", &[], Ok("http://localhost.example.org/debian"));
        check("file:/srv/mirror", &[], Err("a directory of the host"));
        check("tor+http://x.onion/debian", &[], Err("`tor+http:`"));
    }

    #[test]
    fn who_listens_is_known() {
        let socket = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
        let port = socket.local_addr().expect("bound").port();
        assert!(listeners().expect("read").contains(&(Ipv4Addr::LOCALHOST.into(), port)));
    }
}
