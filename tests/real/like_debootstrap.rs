//! The base systems are those that debootstrap makes: the same packages, and the same trees but for what is explained here.

use crate::Test;
use crate::same::{Explained, base, is_same};
use crate::site::Site;
use anyhow::{Context, Result, ensure};
use std::collections::BTreeSet;
use throwaway::Host;

pub(crate) const TESTS: &[Test] = &[
    ("a_base_has_the_packages_of_debootstrap", same_packages),
    ("a_base_has_the_tree_of_debootstrap", same_tree),
];

/// What the template asks debootstrap for.
const DEBOOTSTRAP: &str = "debootstrap --variant=minbase --include=init,ifupdown,locales,ca-certificates,dialog,\
    isc-dhcp-client,netbase,net-tools,iproute2,openssh-server,apt-transport-https";

/// Every difference that there may be, and why there is one.
const EXPLAINED: Explained = &[
    ("var/cache/apt/archives/", "the farm keeps the packages once, not a copy in every container"),
    ("var/lib/apt/lists/", "the indexes would be out of date by the time that they are used"),
    ("var/log/bootstrap.log", "the journal keeps the whole output of every attempt"),
    ("var/log/dpkg.log", "time stamps"),
    ("var/log/alternatives.log", "time stamps"),
    ("etc/machine-id", "random"),
    ("etc/ssh/ssh_host_", "random; the template makes them anew for every container"),
    ("var/cache/ldconfig/aux-cache", "inode numbers and times of the libraries"),
    ("run/mount", "debootstrap runs `mount` inside; here the mounts are made from outside"),
];

fn same_packages(site: &Site) -> Result<()> {
    let host = site.built("packages")?;
    for arch in ["amd64", "arm64"] {
        let ours = host.read(&format!("{}/var/lib/dpkg/status", base("bookworm", arch)))?;
        let ours: BTreeSet<_> = ours.lines().filter_map(|line| line.strip_prefix("Package: ")).collect();
        let uri = mirror(&host, arch)?;
        let its =
            host.shell(&format!("{DEBOOTSTRAP} --print-debs --arch={arch} bookworm /var/tmp/{arch} {uri}"))?;
        let its: BTreeSet<_> = its.split_whitespace().collect();
        ensure!(ours == its, "{arch}: {:?}", ours.symmetric_difference(&its).collect::<Vec<_>>());
        println!("    {arch}: the same {} packages", its.len());
    }
    Ok(())
}

fn same_tree(site: &Site) -> Result<()> {
    let host = site.built("tree")?;
    let uri = mirror(&host, "amd64")?;
    let log = "/var/tmp/debootstrap";
    host.shell(&format!(
        "{DEBOOTSTRAP} --arch=amd64 bookworm /var/tmp/reference {uri} >{log} 2>&1 || {{ tail -n 30 {log} >&2; exit 1; }}"
    ))?;
    is_same((&host, "/var/tmp/reference"), (&host, &base("bookworm", "amd64")), EXPLAINED)
}

/// The mirror that a base system was made from.
fn mirror(host: &Host, arch: &str) -> Result<String> {
    let sources = host.read(&format!("{}/etc/apt/sources.list", base("bookworm", arch)))?;
    let uri = sources.split_whitespace().nth(1).context("the base system has no sources")?;
    Ok(uri.to_owned())
}
