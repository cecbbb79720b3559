//! What the doctor finds: a fresh host, one that lacks something, and what killed runs and the document's troubles look like.

use crate::Test;
use crate::farm::{PAIR, drover};
use crate::site::Site;
use anyhow::{Context, Result, ensure};
use serde_json::Value;
use throwaway::{Fault, Host};

pub(crate) const TESTS: &[Test] = &[("the_doctor_finds_what_is_wrong_and_what_mends_it", found)];

fn found(site: &Site) -> Result<()> {
    let host = site.fresh_host("doctor")?;
    // Nothing is installed yet, and nothing is in the way.
    let fresh = examined(&host, 0)?;
    let packages = finding(&fresh, "host/packages")?;
    ensure!(packages["level"] == "amber", "{fresh:#}");
    ensure!(
        packages["mend"].as_str().is_some_and(|mend| mend.contains("; or apt-get install")),
        "{packages:#}"
    );
    ensure!(finding(&fresh, "mirror debian-bookworm-arm64")?["level"] == "green", "{fresh:#}");
    ensure!(finding(&fresh, "left-overs")?["level"] == "green", "{fresh:#}");
    for about in ["kernel", "device nodes", "control groups", "memory", "disk"] {
        ensure!(finding(&fresh, about)?["level"] != "red", "{fresh:#}");
    }

    host.shell("useradd --uid 399 --no-create-home squatter")?;
    let sick = examined(&host, 7)?;
    let account = finding(&sick, "host/build-home")?;
    ensure!(account["level"] == "red" && said(account).contains("squatter"), "{account:#}");
    host.shell("userdel squatter")?;

    host.break_mirror(Fault::Missing, 100, "bookworm/InRelease")?;
    let sick = examined(&host, 7)?;
    // The step that asks the mirror says so already, once for all that it lacks.
    let mirror = finding(&sick, "debian-bookworm")?;
    ensure!(mirror["level"] == "red" && said(mirror).contains("404"), "{mirror:#}");
    host.mend_mirror()?;
    host.break_mirror(Fault::Unavailable, 100, "bookworm/InRelease")?;
    let sick = examined(&host, 0)?;
    ensure!(finding(&sick, "mirror debian-bookworm-arm64")?["level"] == "amber", "{sick:#}");
    host.mend_mirror()?;

    host.shell(LEFT)?;
    let sick = examined(&host, 7)?;
    let told = sick["findings"].as_array().context("no findings")?.iter().map(said).collect::<String>();
    for words in [
        "rootfs-bookworm-arm64.partial is a base system that is not complete",
        "jenkins-debian12-arm64 is a container that is not complete",
        "something is mounted at /srv/libvirt/rootfs/jenkins-debian12-amd64/rootfs/proc",
        "Failed to create symlink /sys/fs/cgroup/net_cls",
    ] {
        ensure!(told.contains(words), "`{words}` is not in {sick:#}");
    }
    let trouble = finding(&sick, "container jenkins-debian12-amd64")?;
    ensure!(trouble["mend"].as_str().is_some_and(|mend| mend.contains("`JoinControllers`")), "{trouble:#}");

    let shown = drover(&host, &["doctor", PAIR])?.exits(7)?.stdout;
    ensure!(shown.starts_with("debian-pair: 1 red") && shown.contains("mend: "), "{shown}");
    // Without a plan: the one that is built in, with all its architectures.
    let built_in = drover(&host, &["doctor", "--json"])?;
    ensure!(built_in.stdout.contains("binary-ppc64el` of `bookworm`"), "{built_in:?}");
    Ok(())
}

/// What killed runs of Drover, a hand that mounted and forgot, and a guest of old leave.
const LEFT: &str = "mkdir -p /var/cache/lxc/debian/rootfs-bookworm-arm64.partial /var/log/libvirt/lxc
    cd /srv && mkdir -p libvirt/rootfs/jenkins-debian12-arm64 libvirt/rootfs/jenkins-debian12-amd64/rootfs/proc
    touch libvirt/rootfs/jenkins-debian12-arm64/partial
    mount -t tmpfs tmpfs /srv/libvirt/rootfs/jenkins-debian12-amd64/rootfs/proc
    echo 'Failed to create symlink /sys/fs/cgroup/net_cls: Operation not permitted' \
        >/var/log/libvirt/lxc/jenkins-debian12-amd64.log";

fn examined(host: &Host, code: i32) -> Result<Value> {
    let ended = drover(host, &["doctor", PAIR, "--json"])?.exits(code)?;
    serde_json::from_str(&ended.stdout).with_context(|| ended.stdout.clone())
}

fn finding<'a>(examined: &'a Value, about: &str) -> Result<&'a Value> {
    let all = examined["findings"].as_array().context("no findings")?;
    let named = all.iter().find(|finding| finding["about"].as_str().is_some_and(|it| it.contains(about)));
    named.with_context(|| format!("nothing is said about {about}: {examined:#}"))
}

fn said(finding: &Value) -> String {
    finding["found"].as_str().unwrap_or_default().to_owned()
}
