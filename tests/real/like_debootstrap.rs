//! The base systems are those that debootstrap makes: the same packages, and the same trees but for what is explained here.
//!
//! Every release of the table that mirrors still have is bootstrapped here for this machine's own processor: one that the
//! tests' mirror does not have fails. The archived ones are not: see `steps/tests/archived.rs`.

use crate::Test;
use crate::farm::{drover, left_nothing};
use crate::package;
use crate::same::{Explained, base, is_same};
use crate::site::Site;
use anyhow::{Context, Result, ensure};
use drover_steps::architecture::Architecture;
use drover_steps::release::{Quirks, RELEASES};
use rayon::prelude::*;
use std::collections::BTreeSet;
use throwaway::Host;

pub(crate) const TESTS: &[Test] = &[
    ("a_base_has_the_packages_of_debootstrap", same_packages),
    ("every_release_has_the_tree_of_debootstrap", same_trees),
];

/// Every base system for this machine, and debootstrap.
const PLAN: &str = r#"Plan(
    name: "releases",
    host: [HostPackages],
    containers: [
        (name: "{release}-{arch}", distribution: Debian, release: [RELEASES], arch: amd64),
    ],
    each: [Bootstrap],
)"#;
const NAME: &str = "/root/releases.ron";

/// Debootstrap, with what the template asks it for.
fn debootstrap(dhcp_client: &str) -> String {
    format!(
        "debootstrap --variant=minbase --include=init,ifupdown,locales,ca-certificates,dialog,\
         {dhcp_client},netbase,net-tools,iproute2,openssh-server,apt-transport-https"
    )
}

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
    ("tmp/", "what packages' scripts leave in /tmp: here it is one of their own, gone when they end"),
    ("run/mount", "debootstrap runs `mount` inside; here the mounts are made from outside"),
];

fn same_packages(site: &Site) -> Result<()> {
    let host = site.built("packages")?;
    for arch in ["amd64", "arm64"] {
        let ours = host.read(&format!("{}/var/lib/dpkg/status", base("bookworm", arch)))?;
        let ours: BTreeSet<_> = ours.lines().filter_map(|line| line.strip_prefix("Package: ")).collect();
        let uri = mirror(&host, arch)?;
        let debootstrap = debootstrap("isc-dhcp-client");
        let its =
            host.shell(&format!("{debootstrap} --print-debs --arch={arch} bookworm /var/tmp/{arch} {uri}"))?;
        let its: BTreeSet<_> = its.split_whitespace().collect();
        ensure!(ours == its, "{arch}: {:?}", ours.symmetric_difference(&its).collect::<Vec<_>>());
        println!("    {arch}: the same {} packages", its.len());
    }
    Ok(())
}

fn same_trees(site: &Site) -> Result<()> {
    let amd64 = Architecture::Amd64;
    let all = RELEASES.iter().filter(|release| {
        release.is_bootstrapped() && !release.is_archived() && release.architectures.contains(&amd64)
    });
    let all: Vec<_> = all.collect();
    let names: Vec<_> = all.iter().map(|release| format!("\"{}\"", release.code_name)).collect();
    let host = site.fresh_host("tree")?;
    host.write(NAME, &PLAN.replace("RELEASES", &names.join(", ")))?;
    drover(&host, &["run", NAME])?.ok()?;
    all.par_iter().try_for_each(|release| {
        let Quirks { dhcp_client, .. } = release.quirks;
        let name = release.code_name;
        let uri = mirror_of(&host, name, "amd64")?;
        let (log, reference) = (format!("/var/tmp/{name}.log"), format!("/var/tmp/{name}"));
        host.shell(&format!(
            "cd /usr/share/debootstrap/scripts; script={name}; test -e $script || script=sid
            {} --arch=amd64 {name} {reference} {uri} $PWD/$script >{log} 2>&1 || {{ tail -n 30 {log} >&2; exit 1; }}",
            debootstrap(dhcp_client)
        ))?;
        is_same((&host, &reference), (&host, &base(name, "amd64")), EXPLAINED)?;
        host.shell(&format!("rm -r --one-file-system {reference}")).map(drop)
    })?;
    for name in all.iter().map(|release| release.code_name) {
        package::installs(&host, &base(name, "amd64"), name)?;
    }
    left_nothing(&host)
}

/// The mirror that a base system of bookworm was made from.
fn mirror(host: &Host, arch: &str) -> Result<String> {
    mirror_of(host, "bookworm", arch)
}

/// The mirror that a base system was made from.
fn mirror_of(host: &Host, release: &str, arch: &str) -> Result<String> {
    let sources = host.read(&format!("{}/etc/apt/sources.list", base(release, arch)))?;
    let uri = sources.split_whitespace().nth(1).context("the base system has no sources")?;
    Ok(uri.to_owned())
}
