//! A fresh Debian 13 as the host: from nothing to a farm that answers.
//!
//! Its root file system is one that Drover has bootstrapped; nothing of this machine's is in it.

use crate::Test;
use crate::farm::{CONTAINERS, PAIR, answers, drover, left_nothing, start};
use crate::site::Site;
use anyhow::{Result, ensure};
use std::collections::BTreeMap;
use throwaway::Host;

pub(crate) const TESTS: &[Test] = &[("a_debian_13_host_builds_a_farm", built)];

fn built(site: &Site) -> Result<()> {
    registered_by_debian_12(site)?;
    let host = Host::boot(&site.ground, "debian-13", site.options_on("trixie")?)?;
    let before = registrations(&host)?;
    is_fresh(&host)?;
    // What is only not installed yet is no reason to leave anything out.
    let planned = drover(&host, &["plan", PAIR])?.ok()?;
    let said = format!("{}{}", planned.stdout, planned.stderr);
    ensure!(!said.contains("cannot build all of it"), "{said}");

    let first = start(&host, &["run", PAIR])?.wait_aloud()?;
    println!("    first run: {:.1} s", first.elapsed.as_secs_f64());
    first.ok()?;
    left_nothing(&host)?;
    for (container, machine) in CONTAINERS {
        answers(&host, container, machine)?;
    }
    drover(&host, &["plan", "--detailed-exitcode", PAIR])?.exits(0)?;
    let after = registrations(&host)?;
    ensure!(after == before, "what was registered, and served, is not what is: {before:#?} {after:#?}");
    Ok(())
}

/// The kernel's registrations are those of all hosts. What is there is left alone if it serves, so that those of a host of
/// Debian 12 have to be there first: the others would not expect those of this one.
pub(crate) fn registered_by_debian_12(site: &Site) -> Result<()> {
    let host = site.fresh_host("debian-12")?;
    if registrations(&host)?.contains_key("qemu-aarch64") {
        return Ok(());
    }
    drover(&host, &["run", PAIR, "--only", "host/packages", "--only", "host/binfmt*"])?.ok()?;
    Ok(())
}

/// What the kernel has registered, by its name.
fn registrations(host: &Host) -> Result<BTreeMap<String, String>> {
    let names = host.shell("cd /proc/sys/fs/binfmt_misc; ls | grep ^qemu- || true")?;
    let entry = |name: &str| Ok((name.to_owned(), host.read(&format!("/proc/sys/fs/binfmt_misc/{name}"))?));
    names.lines().map(entry).collect()
}

/// It is Debian 13 as it is installed: with sqv, by which its apt proves signatures, and without gpgv.
fn is_fresh(host: &Host) -> Result<()> {
    let version = host.read("/etc/debian_version")?;
    ensure!(version.starts_with("13."), "this is Debian {version}");
    host.shell("test -x /usr/bin/sqv; test ! -e /usr/bin/gpgv; test ! -e /usr/sbin/libvirtd; test ! -e /var/lib/drover")?;
    Ok(())
}
