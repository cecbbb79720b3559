//! A hard life: the same farm, on a mirror that lacks an architecture's package, killed again and again; it has to end
//! as the one that nobody disturbed.

use crate::Test;
use crate::farm::{CONTAINERS, PAIR, answers, drover, left_nothing, outcomes};
use crate::kill::{Moment, kill_at_each};
use crate::site::Site;
use anyhow::{Context, Result, ensure};
use std::collections::{BTreeMap, HashSet};
use throwaway::{Fault, Host};

pub(crate) const TESTS: &[Test] = &[("broken_and_killed_it_ends_as_if_nothing_had_been", hard_life)];

/// While the host is prepared: each moment needs what the one before was killed in. The base systems, which on a fresh Debian need
/// nothing of that, are made later, so that none of them is done before its moment.
const OF_THE_HOST: &[Moment] = &[
    Moment::Started("host/packages", 2),
    Moment::Started("host/packages", 5),
    Moment::Started("host/lxc-net", 0),
];

/// While the native container is made.
const ON_A_BROKEN_MIRROR: &[Moment] = &[
    Moment::Started("bootstrap/debian-bookworm-amd64/unpack", 1),
    Moment::Started("bootstrap/debian-bookworm-amd64/configure", 5),
    Moment::Started("jenkins-debian12-amd64/lxc-create", 2),
    Moment::Started("jenkins-debian12-amd64/guest-packages", 1),
    Moment::Started("jenkins-debian12-amd64/start-domain", 0),
];

/// The emulated base system, while it is made.
const ARM64: &str = "/var/cache/lxc/debian/rootfs-bookworm-arm64.partial";

/// While the emulated container is made.
const ON_A_MENDED_MIRROR: &[Moment] = &[
    Moment::Started("bootstrap/debian-bookworm-arm64/fetch", 0),
    Moment::Started("bootstrap/debian-bookworm-arm64/unpack", 1),
    Moment::Configured(ARM64, 25),
    Moment::Configured(ARM64, 70),
    Moment::Configured(ARM64, 110),
    Moment::Started("jenkins-debian12-arm64/lxc-create", 2),
    Moment::Started("jenkins-debian12-arm64/guest-packages", 2),
    Moment::Started("jenkins-debian12-arm64/start-domain", 0),
];

fn hard_life(site: &Site) -> Result<()> {
    let host = site.fresh_host("killed")?;
    host.break_mirror(Fault::Missing, u32::MAX, ARM64_ONLY)?;
    kill_at_each(&host, &["run", PAIR, "--only", "host/*"], OF_THE_HOST)?;
    kill_at_each(&host, &["run", PAIR], ON_A_BROKEN_MIRROR)?;
    others_finish(&host)?;
    host.mend_mirror()?;
    kill_at_each(&host, &["run", PAIR], ON_A_MENDED_MIRROR)?;
    println!("    and now to the end");
    drover(&host, &["resume"])?.ok()?;
    left_nothing(&host)?;
    for (container, machine) in CONTAINERS {
        answers(&host, container, machine)?;
    }
    configured_once(site, &host)?;
    downloaded_once(&host)?;
    site.compare(&host)
}

/// The files on the mirror that are for arm64 alone.
const ARM64_ONLY: &str = "_arm64.deb";

/// The mirror lacks a package of arm64: amd64 ends well all the same, and the failure is told so that one can act.
fn others_finish(host: &Host) -> Result<()> {
    println!("    to the end, without arm64");
    let broken = drover(host, &["run", PAIR])?.exits(1)?;
    let (amd64, machine) = CONTAINERS[0];
    answers(host, amd64, machine)?;
    let ended = outcomes(host)?;
    ensure!(ended["bootstrap/debian-bookworm-arm64/fetch"] == "failed", "{ended:?}");
    ensure!(ended["jenkins-debian12-arm64/await-ssh"] == "blocked", "{ended:?}");
    let told = &broken.stderr;
    for part in
        ["FAILED bootstrap/debian-bookworm-arm64/fetch (while doing it)", "404", "command", "drover resume"]
    {
        ensure!(told.contains(part), "the failure does not tell `{part}`:\n{told}");
    }
    let log =
        told.lines().find_map(|line| line.trim().strip_prefix("log ")).context("the failure names no log")?;
    ensure!(host.read(log.trim())?.contains("404"), "the log does not hold the failure");
    Ok(())
}

/// Configuring goes on where it was, and in the order of a run that nobody disturbed, which decides the numbers of accounts:
/// only the packages that it was killed in the middle of are configured once more than there. (Some are twice in that, too:
/// those of debootstrap's first steps.)
fn configured_once(site: &Site, host: &Host) -> Result<()> {
    let (undisturbed, order) = (configured(&site.built("reference")?)?, configured(host)?);
    ensure!(first_times(&order) == first_times(&undisturbed), "configured in another order: {order:?}");
    let (undisturbed, times) = (times(&undisturbed), times(&order));
    let kills = ON_A_MENDED_MIRROR.iter().filter(|moment| matches!(moment, Moment::Configured(..))).count();
    let again: Vec<_> =
        times.iter().filter(|(package, times)| undisturbed.get(*package) < Some(times)).collect();
    ensure!(times.len() > 100, "only {} packages were configured", times.len());
    ensure!(again.len() <= kills, "configured again: {again:?}");
    Ok(())
}

/// The packages of the emulated base system, as often as each was configured, in that order.
fn configured(host: &Host) -> Result<Vec<String>> {
    let log = host.read("/var/cache/lxc/debian/rootfs-bookworm-arm64/var/log/dpkg.log")?;
    let lines = log.lines().filter(|line| line.contains(" configure "));
    Ok(lines.filter_map(|line| line.split(' ').nth(3)).map(str::to_owned).collect())
}

fn first_times(order: &[String]) -> Vec<&String> {
    let mut seen = HashSet::new();
    order.iter().filter(|package| seen.insert(*package)).collect()
}

fn times(order: &[String]) -> BTreeMap<&String, usize> {
    let mut times = BTreeMap::new();
    for package in order {
        *times.entry(package).or_default() += 1;
    }
    times
}

/// No package of the emulated system comes from the mirror twice, but for what was under way when a fetch was killed. (What
/// the host's own apt keeps of its downloads is for the host's configuration to say: some delete them after each use.)
fn downloaded_once(host: &Host) -> Result<()> {
    /// apt asks for so many files before the first has come.
    const PIPELINE: usize = 10;
    let mut times = BTreeMap::new();
    for line in host.mirror_log()? {
        // Whoever only asks whether a file is there gets no bytes.
        if let [status, bytes, path, ..] = line.split(' ').collect::<Vec<_>>()[..]
            && status == "200"
            && bytes != "0"
            && path.ends_with(ARM64_ONLY)
        {
            *times.entry(path.to_owned()).or_insert(0_usize) += 1;
        }
    }
    let again: Vec<_> = times.iter().filter(|(_, times)| **times > 1).collect();
    ensure!(times.len() > 100, "only {} packages were downloaded", times.len());
    ensure!(again.len() <= PIPELINE, "downloaded again: {again:?}");
    Ok(())
}
