//! The document's own farm on a host that can build little of it: what can be built is, and each of the others says
//! what it lacks, before anything runs where that can be told.
//!
//! Not exercised: what the mirrors of other distributions and of the archive would serve. No throw-away host reaches them.

use crate::Test;
use crate::farm::{CONTAINERS, PAIR, answers, asked, drover, events, left_nothing, outcomes};
use crate::site::Site;
use anyhow::{Context, Result, ensure};
use drover_state::Failure;
use std::collections::BTreeMap;
use throwaway::Host;

pub(crate) const TESTS: &[Test] = &[("of_the_documents_farm_all_is_built_that_can_be", built)];

/// A container of CentOS for a host whose `yum` is not there.
const BARE: &str = "Plan(
    name: \"bare\",
    include: [\"/run/farm/plans/debian-pair.ron\"],
    containers: [(name: \"jenkins-centos7-x86-64\", distribution: CentOS, release: \"7\", arch: amd64)],
)";

/// The farm, and with it a container of a release that the mirror has, and a home that is elsewhere.
const PLAN: &str = "Plan(
    name: \"some-of-nut-farm\",
    include: [\"/run/farm/plans/nut-farm.ron\"],
    host: [RelocateHome],
    containers: [(
        name: \"jenkins-debian12-builder\", distribution: Debian, release: \"bookworm\", arch: arm64,
        steps: [GuestPackages([\"comfort\"])],
    )],
)";
const NAME: &str = "/root/some-of-nut-farm.ron";
const BUILDER: &str = "jenkins-debian12-builder";

/// What cannot be built here, and why: the sign and the words by which a plan tells it.
const TOLD: [(char, &str, &str); 6] = [
    ('!', "jenkins-debian11-mips64el", "has no `main/binary-mips64el` of `bullseye`, it hosts amd64 arm64"),
    ('!', "jenkins-debian11-armhf", "has no `main/binary-armhf` of `bullseye`"),
    ('!', "jenkins-ubuntu1804-s390x", "apt-get install ubuntu-keyring"),
    (
        '?',
        "jenkins-debian10-mips",
        "`http://ftp.br.debian.org/debian` was not asked: Temporary failure resolving",
    ),
    ('?', "jenkins-debian8-s390x", "debian-archive/debian` was not asked: Temporary failure resolving"),
    (
        '?',
        "jenkins-centos7-x86-64",
        "`http://vault.centos.org/centos` was not asked: Temporary failure resolving",
    ),
];

/// What fails then, and the class of failures that it is found to belong to.
const FAILED: [(&str, Option<&str>); 8] = [
    (CENTOS, Some("mirror-unreachable")),
    ("bootstrap/debian-bullseye-mips64el/resolve", None),
    ("bootstrap/debian-bullseye-armhf/resolve", None),
    ("jenkins-ubuntu1804-s390x/lxc-create", None),
    ("bootstrap/debian-buster-mips/resolve", Some("mirror-unreachable")),
    ("bootstrap/debian-jessie-s390x/resolve", Some("mirror-unreachable")),
    ("bootstrap/debian-buster-amd64/resolve", Some("mirror-unreachable")),
    ("bootstrap/debian-jessie-amd64/resolve", Some("mirror-unreachable")),
];
const CENTOS: &str = "jenkins-centos7-x86-64/lxc-create";

fn built(site: &Site) -> Result<()> {
    let host = site.built("nut-farm")?;
    yum_is_missing(&host)?;
    host.write(NAME, PLAN)?;
    foretold(&host)?;
    let run = drover(&host, &["run", NAME])?.exits(1)?;
    println!("    all that can be built: {:.0} s", run.elapsed.as_secs_f64());
    reported(&host)?;
    answers(&host, BUILDER, "aarch64")?;
    elsewhere(&host)?;
    // What is there stays as it is, whatever becomes of the rest.
    drover(&host, &["plan", "--detailed-exitcode", "--only", &format!("{BUILDER}/*"), NAME])?.exits(0)?;
    left_nothing(&host)?;
    taken_back(&host)
}

/// The container of CentOS alone is left out, and it is said what it lacks.
fn yum_is_missing(host: &Host) -> Result<()> {
    host.write("/root/bare.ron", BARE)?;
    let plan = drover(host, &["plan", "--brief", "/root/bare.ron"])?.exits(7)?;
    let told = "! jenkins-centos7-x86-64: 'yum' command is missing (as the template says it)";
    ensure!(plan.stdout.contains(told), "{}", plan.stdout);
    let run = drover(host, &["run", "/root/bare.ron"])?.exits(1)?;
    ensure!(run.stderr.contains("add `ToolAlias(name: \"yum\")`"), "{}", run.stderr);
    let outcomes = outcomes(host)?;
    ensure!(outcomes[CENTOS] == "failed", "{outcomes:?}");
    ensure!(outcomes["jenkins-centos7-x86-64/start-domain"] == "blocked", "{outcomes:?}");
    for (container, machine) in CONTAINERS {
        answers(host, container, machine)?;
    }
    // For what follows, nobody may be at work.
    host.shell(
        "for name in $(virsh -c lxc:///system list --name); do virsh -c lxc:///system destroy $name; done",
    )?;
    Ok(())
}

/// A plan tells of each container that cannot be built that it cannot, or may not.
fn foretold(host: &Host) -> Result<()> {
    let plan = drover(host, &["plan", "--brief", NAME])?.exits(7)?;
    for (sign, container, why) in TOLD {
        let start = format!("{sign} {container}: ");
        let told = plan.stdout.lines().any(|line| line.starts_with(&start) && line.contains(why));
        ensure!(told, "{container} is not told of:\n{}", plan.stdout);
    }
    let signs = |line: &&str| line.starts_with("! ") || line.starts_with("? ");
    let lines: Vec<_> = plan.stdout.lines().filter(signs).collect();
    ensure!(lines.len() == TOLD.len(), "{lines:#?}");
    let can = format!("\nit can build {BUILDER}\n");
    ensure!(plan.stdout.ends_with(&can), "{}", plan.stdout);
    Ok(())
}

/// What failed, and nothing else; and each time, what is known about it.
fn reported(host: &Host) -> Result<()> {
    let failures = failures(host)?;
    let expected: BTreeMap<_, _> = FAILED.into_iter().collect();
    let classes: BTreeMap<_, _> = failures
        .iter()
        .map(|(node, failure)| (node.as_str(), failure.remedy.as_ref().map(|remedy| remedy.class.as_str())))
        .collect();
    ensure!(classes == expected, "{classes:#?}");
    let centos = &failures[CENTOS];
    ensure!(centos.tail.iter().any(|line| line == "Failed to download 'CentOS base'"), "{:#?}", centos.tail);
    let alias = host.shell("readlink /usr/local/bin/yum")?;
    ensure!(alias.starts_with("/usr/bin/dnf"), "{alias}");
    Ok(())
}

/// The failures of the last run.
fn failures(host: &Host) -> Result<BTreeMap<String, Failure>> {
    let events = events(host)?;
    let failed = events.iter().filter(|event| event["outcome"]["outcome"] == "failed");
    let failure = |event: &serde_json::Value| {
        let node = event["node"].as_str().context("a node")?;
        Ok((node.to_owned(), serde_json::from_value(event["outcome"]["failure"].clone())?))
    };
    failed.map(failure).collect()
}

/// Cache and home are where the plan wants them, also for the container.
fn elsewhere(host: &Host) -> Result<()> {
    asked(host, BUILDER, "echo here >~/from-the-container")?;
    let seen = host.shell(
        "readlink /var/cache/lxc /home/abuild; ls /srv/libvirt/cache-lxc/debian | grep rootfs-bookworm
        stat -c '%u:%g %a' /srv/libvirt/home-abuild; cat /srv/libvirt/home-abuild/from-the-container",
    )?;
    let expected = "../../srv/libvirt/cache-lxc\n../srv/libvirt/home-abuild\nrootfs-bookworm-amd64\n\
                    rootfs-bookworm-arm64\n399:399 755\nhere\n";
    ensure!(seen == expected, "{seen}");
    Ok(())
}

/// What was moved goes back to where it was, with what others have put there since.
fn taken_back(host: &Host) -> Result<()> {
    // The pair came with another plan, which has to see to it.
    let refused = drover(host, &["destroy", NAME, "--yes"])?.exits(1)?;
    ensure!(refused.stderr.contains("Drover also made `jenkins-debian12-amd64`"), "{}", refused.stderr);
    for (container, _) in CONTAINERS {
        drover(host, &["destroy", PAIR, "--container", container, "--yes"])?.ok()?;
    }
    host.shell("echo theirs >/srv/libvirt/cache-lxc/theirs")?;
    drover(host, &["destroy", NAME, "--yes"])?.ok()?;
    host.shell(
        "test ! -L /var/cache/lxc; grep -qx theirs /var/cache/lxc/theirs; no test -e /srv/libvirt/cache-lxc
        test ! -L /home/abuild; grep -qx here /home/abuild/from-the-container; no test -e /srv/libvirt/home-abuild
        no test -L /usr/local/bin/yum; no test -e /srv/libvirt/rootfs/jenkins-debian12-builder",
    )?;
    Ok(())
}
