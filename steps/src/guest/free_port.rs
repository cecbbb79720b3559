//! TCP ports: at which ones something listens, and which ones of the host nobody has. It does not know what they are for.

use crate::ssh_ports::SshPorts;
use anyhow::{Context, Result, anyhow};
use rustix::io::Errno;
use sha2::{Digest, Sha256};
use std::collections::BTreeSet;
use std::fs;
use std::io::ErrorKind;
use std::ops::RangeInclusive;
use std::path::Path;

/// Below those that the kernel gives away by itself, and beyond those of known services.
const AUTO: RangeInclusive<u16> = 22000..=22999;

/// The ports of the host at which something listens.
pub(super) fn listening() -> Result<BTreeSet<u16>> {
    listening_in(Path::new("/proc/net"))
}

/// The ports at which something listens in the container whose domain is run by `process`. None if it has ended, or shares
/// the network of the host.
///
/// # Errors
/// When that cannot be found out.
pub(super) fn listening_below(process: u32) -> Result<BTreeSet<u16>> {
    // The process is libvirt's, in the host's network; its child is the container's first one.
    let children = read(Path::new(&format!("/proc/{process}/task/{process}/children")))?;
    let mut ports = BTreeSet::new();
    for child in children.unwrap_or_default().split_whitespace() {
        let network = |process: &str| fs::read_link(format!("/proc/{process}/ns/net")).ok();
        if network(child) != network("self") {
            ports.extend(listening_in(Path::new(&format!("/proc/{child}/net")))?);
        }
    }
    Ok(ports)
}

fn listening_in(network: &Path) -> Result<BTreeSet<u16>> {
    let mut ports = BTreeSet::new();
    // A kernel without IPv6 has no table of it.
    for table in ["tcp", "tcp6"] {
        let text = read(&network.join(table))?.unwrap_or_default();
        ports.extend(text.lines().filter_map(listener));
    }
    Ok(ports)
}

/// The text of a file of `/proc`; `None` if it is not there, or tells of a process that has ended.
fn read(file: &Path) -> Result<Option<String>> {
    match fs::read_to_string(file) {
        Ok(text) => Ok(Some(text)),
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::InvalidInput) => Ok(None),
        Err(error) if error.raw_os_error() == Some(Errno::SRCH.raw_os_error()) => Ok(None),
        Err(error) => Err(error).with_context(|| format!("read `{}`", file.display())),
    }
}

/// The port in a line of the kernel's table, if it is one of a socket that listens.
fn listener(line: &str) -> Option<u16> {
    const LISTENS: &str = "0A";
    let fields: Vec<_> = line.split_whitespace().collect();
    let (_, port) = fields.get(1)?.rsplit_once(':')?;
    (*fields.get(3)? == LISTENS).then(|| u16::from_str_radix(port, 16).ok())?
}

/// A port that nobody has, the search beginning at a place that follows from the name.
pub(super) fn free(name: &str, known: &SshPorts, listening: &BTreeSet<u16>) -> Result<u16> {
    let digest = Sha256::digest(name.as_bytes());
    let start = usize::from(u16::from_be_bytes([digest[0], digest[1]])) % AUTO.count();
    let mut all = AUTO.skip(start).chain(AUTO.take(start));
    let free = all.find(|port| known.holder(*port, name).is_none() && !listening.contains(port));
    free.ok_or_else(|| anyhow!("no port from {} to {} is free: give `Fixed` ones", AUTO.start(), AUTO.end()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ssh_ports::Lead;
    use std::net::Ipv4Addr;

    #[test]
    fn what_is_free_follows_from_the_name_and_from_what_is_taken() -> Result<()> {
        let mut known = SshPorts::default();
        let mut busy = BTreeSet::new();
        let first = free("a", &known, &busy)?;
        assert_eq!(free("a", &known, &busy)?, first, "the same name, the same port");
        busy.insert(first);
        let second = free("a", &known, &busy)?;
        assert!(AUTO.contains(&second) && second != first);
        let address = Ipv4Addr::new(10, 0, 3, 5);
        known = known.with(Lead { port: second, address, name: "b".to_owned() });
        assert!(![first, second].contains(&free("a", &known, &busy)?));
        busy.extend(AUTO);
        assert!(free("a", &known, &busy).is_err());
        Ok(())
    }

    #[test]
    fn the_kernels_table_is_read() {
        let line = "   0: 00000000:0016 00000000:0000 0A 00000000:00000000 00:00000000 00000000 0 0 1 1 0";
        assert_eq!(listener(line), Some(22));
        assert_eq!(listener(&line.replace(" 0A ", " 01 ")), None);
        assert_eq!(listener("  sl  local_address rem_address   st tx_queue"), None);
    }
}
