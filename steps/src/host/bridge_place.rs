//! Whether the bridge may be where the plan wants it: its name and its network must be lxc-net's, or nobody's.
//!
//! lxc-net takes all addresses from its bridge when it stops, and gives it its own when it starts. On a bridge that
//! belongs to somebody else that cuts the host off, or serves DHCP on a foreign network. This file reads only; it does not
//! know how the bridge is made.

use super::bridge::{DEFAULTS, own_address};
use super::{dnsmasq, lines, program, routes};
use anyhow::{Context, Result, bail, ensure};
use drover_engine::{Cmd, Cx, HostFile};
use ipnet::Ipv4Net;
use serde::Deserialize;
use std::fs;
use std::io::ErrorKind;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

/// Made by lxc-net while its bridge is up.
const NETWORK_UP: &str = "/run/lxc/network_up";
/// Files and directories of files in which an administrator, libvirt or Docker may have given the name to an interface
/// that is not up now.
const CONFIGURATIONS: [&str; 7] = [
    "/etc/network/interfaces",
    "/etc/network/interfaces.d",
    "/etc/systemd/network",
    "/etc/netplan",
    "/etc/NetworkManager/system-connections",
    "/etc/libvirt/qemu/networks",
    "/etc/docker/daemon.json",
];

/// An interface as `ip -json address` tells of it.
#[derive(Debug, Default, Deserialize)]
struct Shown {
    #[serde(default)]
    addr_info: Vec<Address>,
}

#[derive(Debug, Deserialize)]
struct Address {
    local: IpAddr,
    prefixlen: u8,
    scope: String,
}

/// Complains if the name or the network belongs to somebody else.
pub(super) fn ensure_free(cx: &Cx, name: &str, network: Ipv4Net) -> Result<()> {
    let interface = Path::new("/sys/class/net").join(name);
    if !interface.exists() {
        ensure_unclaimed(name, &CONFIGURATIONS.map(PathBuf::from))?;
    } else if !interface.join("bridge").is_dir() {
        bail!("the interface `{name}` is there and is no bridge: give the farm's another name");
    } else {
        ensure_lxc_nets(cx, name, network)?;
    }
    let other = routes::overlapping(cx, network)?.into_iter().find(|route| route.interface != name);
    other.map_or(Ok(()), |route| {
        bail!(
            "the network {network} is in use: `{}` leads to {}{}; give the bridge another `network`",
            route.interface,
            route.network,
            route.table.map_or(String::new(), |table| format!(" (routing table {table})"))
        )
    })
}

/// Complains if a bridge that is there is not lxc-net's, or has become more than that.
fn ensure_lxc_nets(cx: &Cx, name: &str, network: Ipv4Net) -> Result<()> {
    let served = served()?;
    let settings = HostFile::new(DEFAULTS).read()?.unwrap_or_default();
    let configured = lines::assigned(&settings, "LXC_BRIDGE").unwrap_or("lxcbr0");
    let is_up = Path::new(NETWORK_UP).exists();
    let is_made = match &served {
        Some(served) => served.interface == name,
        None => is_up && configured == name,
    };
    let mut own: Vec<IpAddr> = served.filter(|_| is_made).map(|served| served.addresses).unwrap_or_default();
    own.push(own_address(network).into());
    own.extend(
        ["LXC_ADDR", "LXC_IPV6_ADDR"]
            .iter()
            .filter_map(|key| lines::assigned(&settings, key)?.parse::<IpAddr>().ok()),
    );
    let mut foreign = foreign_ports(name)?;
    foreign.extend(foreign_addresses(cx, name, if is_made { &own } else { &[] })?);
    if routes::leads_out_by(cx, name)? {
        foreign.push("the default route leads over it".to_owned());
    }
    // What lxc-net leaves where containers were still on its bridge: no address, and nothing but their ports.
    let is_left = configured == name && foreign.is_empty();
    if !is_made && !is_left {
        foreign.insert(0, "lxc-net did not make it".to_owned());
    }
    ensure!(
        foreign.is_empty(),
        "the bridge `{name}` belongs to somebody else ({}), and lxc-net would take its addresses away: give the farm's \
         bridge a `name` that nothing has, such as lxcbr0, and a `network` of its own",
        foreign.join(", ")
    );
    Ok(())
}

/// What lxc-net's dnsmasq serves.
struct Served {
    interface: String,
    addresses: Vec<IpAddr>,
}

/// What lxc-net's dnsmasq was started for, if it runs.
fn served() -> Result<Option<Served>> {
    let options = dnsmasq::options()?;
    Ok((!options.is_empty()).then(|| serves(options)))
}

fn serves(options: Vec<(String, String)>) -> Served {
    let mut served = Served { interface: String::new(), addresses: Vec::new() };
    for (option, value) in options {
        match option.as_str() {
            "interface" | "i" => served.interface = value,
            "listen-address" | "a" => served.addresses.extend(value.parse::<IpAddr>().ok()),
            _ => {}
        }
    }
    served
}

/// The ports of a bridge that no container has: network cards, VLANs, bonds and the like.
fn foreign_ports(bridge: &str) -> Result<Vec<String>> {
    let interfaces = Path::new("/sys/class/net");
    let directory = interfaces.join(bridge).join("brif");
    let mut foreign = Vec::new();
    for entry in fs::read_dir(&directory).with_context(|| format!("read `{}`", directory.display()))? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        let port = interfaces.join(&name);
        let events = fs::read_to_string(port.join("uevent")).unwrap_or_default();
        // A container's end of a veth pair, and a virtual machine's tap, are of no such kind and have no device.
        let kind = events.lines().find_map(|line| line.strip_prefix("DEVTYPE="));
        match kind {
            Some(kind) => foreign.push(format!("the {kind} interface `{name}` is on it")),
            None if port.join("device").exists() => {
                foreign.push(format!("the network card `{name}` is on it"));
            }
            None => {}
        }
    }
    foreign.sort_unstable();
    Ok(foreign)
}

/// The addresses of an interface that are none of `own`; those that each interface gives itself do not count.
fn foreign_addresses(cx: &Cx, interface: &str, own: &[IpAddr]) -> Result<Vec<String>> {
    let Some(ip) = program::find("ip") else {
        cx.doubt(&format!("which addresses `{interface}` has is not known: `ip` is not installed yet"));
        return Ok(Vec::new());
    };
    let said = cx.read(&Cmd::new(ip).args(["-json", "address", "show", "dev", interface]))?;
    let shown: Vec<Shown> =
        serde_json::from_str(&said).with_context(|| format!("`ip -json address show dev {interface}`"))?;
    let addresses = shown.into_iter().flat_map(|shown| shown.addr_info);
    let foreign = addresses.filter(|address| address.scope != "link" && !own.contains(&address.local));
    Ok(foreign.map(|address| format!("it has the address {}/{}", address.local, address.prefixlen)).collect())
}

/// Complains if an interface of that name is configured elsewhere, though it is not up.
fn ensure_unclaimed(name: &str, places: &[PathBuf]) -> Result<()> {
    for file in places.iter().flat_map(|place| files(place)) {
        let text = match fs::read(&file) {
            Err(error) if error.kind() == ErrorKind::NotFound => continue,
            text => text.with_context(|| format!("read `{}`", file.display()))?,
        };
        let text = String::from_utf8_lossy(&text);
        let claim = text.lines().find(|line| claims(line, name));
        ensure!(
            claim.is_none(),
            "the interface `{name}` is configured in `{}` (`{}`), so it is not lxc-net's: give the farm's bridge another \
             `name`, such as lxcbr0",
            file.display(),
            claim.unwrap_or_default().trim()
        );
    }
    Ok(())
}

/// A file, or the files in a directory; none where there is nothing.
fn files(place: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(place) else {
        return if place.is_file() { vec![place.to_owned()] } else { Vec::new() };
    };
    let mut files: Vec<_> =
        entries.flatten().map(|entry| entry.path()).filter(|path| path.is_file()).collect();
    files.sort_unstable();
    files
}

/// Whether a line of somebody's configuration names the interface, other than in a comment.
fn claims(line: &str, name: &str) -> bool {
    let line = line.trim_start();
    let is_part = |char: char| char.is_ascii_alphanumeric() || "-_.".contains(char);
    !line.starts_with(['#', ';']) && line.split(|char| !is_part(char)).any(|word| word == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_dnsmasq_serves_is_read_from_its_command_line() {
        let text = "dnsmasq\0--conf-file=/etc/lxc/dnsmasq.conf\0-u\0dnsmasq\0--strict-order\0--listen-address\x0010.0.3.1\0\
            --dhcp-range\x0010.0.3.2,10.0.3.254\0--interface=lxcbr0\0--except-interface=lo\0";
        let served = serves(dnsmasq::parse(text));
        assert_eq!(served.interface, "lxcbr0");
        assert_eq!(served.addresses, [IpAddr::from([10, 0, 3, 1])]);
    }

    #[test]
    fn a_name_that_is_configured_elsewhere_is_seen_and_others_are_not() -> Result<()> {
        let dir = tempfile::tempdir()?;
        let place = dir.path().join("interfaces");
        fs::write(
            &place,
            b"# \xe9crit \xe0 la main: br0\nauto lo\niface br0 inet static\n  bridge_ports eth0\n",
        )?;
        let places = [place, dir.path().join("absent")];
        let error = ensure_unclaimed("br0", &places).expect_err("claimed").to_string();
        assert!(error.contains("(`iface br0 inet static`)"), "{error}");
        assert!(ensure_unclaimed("eth0", &places).is_err());
        assert!(ensure_unclaimed("br", &places).is_ok() && ensure_unclaimed("br0.5", &places).is_ok());
        assert!(claims("  <bridge name='virbr0' stp='on' delay='0'/>", "virbr0"));
        assert!(!claims("; bridge=br0", "br0"));
        Ok(())
    }
}
