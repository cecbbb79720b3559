//! A container that runs is told what has changed since it was started, and started again where the plan says so.

use crate::Test;
use crate::contract::run;
use crate::farm::{CONTAINERS, PAIR, answers, drover, outcomes};
use crate::site::Site;
use anyhow::{Result, ensure};
use throwaway::Host;

pub(crate) const TESTS: &[Test] = &[("what_runs_hears_of_changes", told)];

/// The native one.
const CONTAINER: (&str, &str) = CONTAINERS[0];
/// As its sshd was before it was configured.
const DEAF: &str = "NAME=jenkins-debian12-amd64; cd /srv/libvirt/rootfs/$NAME/rootfs/etc/ssh
    sed -i '/^AcceptEnv \\*/d' sshd_config
    virsh -q -c lxc:///system lxc-enter-namespace --noseclabel $NAME -- /bin/sh -c 'kill -HUP $(cat /run/sshd.pid)'";

fn told(site: &Site) -> Result<()> {
    let (name, machine) = CONTAINER;
    let host = site.built("running")?;
    run(&host, PAIR, "host/*")?;
    run(&host, PAIR, &format!("{name}/*"))?;
    with(&host, &["each.StartDomain.outdated=Restart"])?;
    ensure!(ended(&host, "start-domain")? == "unchanged", "it runs as it was defined");

    host.shell(DEAF)?;
    with(&host, &[])?;
    ensure!(ended(&host, "await-ssh")? == "drifted" && ended(&host, "start-domain")? == "unchanged");
    answers(&host, name, machine)?;

    let memory = "each.DefineDomain.memory=\"2 GiB\"";
    let init = || host.read(&format!("/run/libvirt/lxc/{name}.pid"));
    let before = init()?;
    let changed = with(&host, &[memory])?;
    ensure!(changed.contains("has this from its next start on"), "{changed}");
    ensure!(init()? == before, "it was started again");
    let seen = drover(&host, &["doctor", PAIR])?.stdout;
    ensure!(seen.contains("runs with 1048576 KiB of memory instead of 2097152"), "{seen}");
    let restarted = with(&host, &[memory, "each.StartDomain.outdated=Restart"])?;
    ensure!(restarted.contains("runs with 1048576 KiB of memory instead of 2097152"), "{restarted}");
    ensure!(init()? != before, "it was not started again");
    let live = host.shell(&format!("virsh -q -c lxc:///system dumpxml {name}"))?;
    ensure!(live.contains("2097152"), "{live}");
    answers(&host, name, machine)
}

/// Runs the container's steps with this set, and returns what is said.
fn with(host: &Host, set: &[&str]) -> Result<String> {
    let selection = format!("{}/*", CONTAINER.0);
    let set = set.iter().flat_map(|set| ["--set", set]);
    let arguments: Vec<_> = ["run", PAIR, "--only", &selection].into_iter().chain(set).collect();
    Ok(drover(host, &arguments)?.ok()?.stderr)
}

fn ended(host: &Host, step: &str) -> Result<String> {
    Ok(outcomes(host)?.remove(&format!("{}/{step}", CONTAINER.0)).unwrap_or_default())
}
