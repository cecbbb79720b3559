//! A real autotools source, built and tested in a native and in an emulated container: in its files, and by ssh.

use crate::Test;
use crate::contract::{Fresh, keeps_contract, run};
use crate::farm::{CONTAINERS, drover, outcomes};
use crate::site::Site;
use anyhow::{Result, ensure};
use std::time::Instant;
use throwaway::Host;

pub(crate) const TESTS: &[Test] = &[("a_source_is_built_in_every_container", built)];

/// Beside the pair's own steps: a tool chain, and the build.
const PLAN: &str = "Plan(
    name: \"builds\",
    include: [\"/run/farm/plans/debian-pair.ron\"],
    host: [],
    containers: [],
    each: [Build(source: \"source\", environment: {\"GREETED\": \"drover\"})],
)";
const NAME: &str = "/root/builds.ron";
const TOOLS: &str =
    "each.GuestPackages=[\"comfort\", \"autoconf\", \"automake\", \"gcc\", \"libc6-dev\", \"make\"]";
const EMULATED: &str = "jenkins-debian12-arm64/build";
const NATIVE: &str = "jenkins-debian12-amd64/build";

fn built(site: &Site) -> Result<()> {
    let host = site.built("builds")?;
    host.write(NAME, PLAN)?;
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/real/autotools");
    for name in ["configure.ac", "Makefile.am", "greeting.c", "endian.c", "autogen.sh"] {
        host.write(&format!("/root/source/{name}"), &std::fs::read_to_string(format!("{source}/{name}"))?)?;
    }
    host.shell("chmod +x source/autogen.sh")?;
    run(&host, NAME, "host/*")?;
    timed("tool chains", || tools(&host))?;

    // In the container's files, which does not run.
    timed("both, without running them", || build(&host, "*/build", &[])?.ok_or_log(&host))?;
    for (container, machine) in CONTAINERS {
        proved(&host, container, machine)?;
    }
    keeps_contract(&host, NAME, NATIVE, Fresh::Perhaps)?;
    failed(&host)?;

    // By ssh, and it is the same.
    run(&host, NAME, "jenkins-debian12-arm64/*-*")?;
    timed("the emulated one, by ssh", || build(&host, EMULATED, &["each.Build.via=Ssh"])?.ok_or_log(&host))?;
    proved(&host, CONTAINERS[1].0, CONTAINERS[1].1)?;
    build(&host, EMULATED, &["each.Build.via=Ssh"])?.ok_or_log(&host)?;
    ensure!(outcomes(&host)?[EMULATED] == "unchanged", "it was built again for nothing");
    taken_away(&host)
}

/// With a container goes what was built in it: not what was built elsewhere, and not the source.
fn taken_away(host: &Host) -> Result<()> {
    let [(left, machine), (gone, _)] = CONTAINERS;
    drover(host, &["destroy", NAME, "--container", gone, "--yes"])?.ok()?;
    host.shell(&format!("no test -e /home/abuild/builds/{gone}; test -x /root/source/autogen.sh"))?;
    proved(host, left, machine)?;
    drover(host, &["destroy", NAME, "--container", left, "--yes"])?.ok()?;
    host.shell("no test -e /home/abuild/builds; test -x /root/source/autogen.sh")?;
    Ok(())
}

/// How a run of builds ended.
struct Ended(throwaway::Finished);

impl Ended {
    fn ok_or_log(self, host: &Host) -> Result<()> {
        let Err(error) = self.0.ok() else { return Ok(()) };
        let logs = host
            .shell("cd /var/lib/drover/runs && find $(ls | tail -n 1) -name '*.log' -exec tail -n 60 {} +")?;
        Err(error.context(logs))
    }
}

fn build(host: &Host, nodes: &str, settings: &[&str]) -> Result<Ended> {
    let settings = settings.iter().flat_map(|setting| ["--set", *setting]);
    let arguments: Vec<_> = ["run", NAME, "--only", nodes].into_iter().chain(settings).collect();
    Ok(Ended(drover(host, &arguments)?))
}

fn tools(host: &Host) -> Result<()> {
    Ended(drover(host, &["run", NAME, "--only", "*/*-packages", "--set", TOOLS])?).ok_or_log(host)
}

fn timed(what: &str, act: impl FnOnce() -> Result<()>) -> Result<()> {
    let begin = Instant::now();
    act()?;
    println!("    {what}: {:.0} s", begin.elapsed().as_secs_f64());
    Ok(())
}

/// What was built runs there, is the account's, and its tests were run.
fn proved(host: &Host, container: &str, machine: &str) -> Result<()> {
    let tree = format!("/home/abuild/builds/{container}/tree");
    let said = host.shell(&format!(
        "test \"$(stat -c %U:%G {tree}/greeting)\" = abuild:abuild
        grep -q 'PASS: endian' {tree}/test-suite.log || grep -q PASS {tree}/endian.log || grep -q ':test-result: PASS' {tree}/endian.trs
        cp {tree}/greeting /srv/libvirt/rootfs/{container}/rootfs/tmp/
        GREETED=you chroot /srv/libvirt/rootfs/{container}/rootfs /tmp/greeting"
    ))?;
    ensure!(said == format!("greeting 1.0 greets you from {machine}\n"), "{said}");
    Ok(())
}

/// A changed source is built again, and one that does not compile is a failure that shows why; the other one stays.
fn failed(host: &Host) -> Result<()> {
    host.shell("cp source/endian.c /root/good.c; echo 'int main(void) { return broken; }' >source/endian.c")?;
    let ended = build(host, NATIVE, &[])?.0.exits(1)?;
    ensure!(ended.stderr.contains("`make check` failed"), "{}", ended.stderr);
    ensure!(ended.stderr.contains("broken"), "the compiler's words are not shown: {}", ended.stderr);
    let again = build(host, NATIVE, &[])?.0.exits(1)?;
    ensure!(again.stderr.contains("broken"), "it is not tried again: {}", again.stderr);
    host.shell("cp /root/good.c source/endian.c; touch source/*")?;
    build(host, "*/build", &[])?.ok_or_log(host)?;
    let ended = outcomes(host)?;
    ensure!(ended[NATIVE] == "changed" && ended[EMULATED] == "unchanged", "{ended:?}");
    Ok(())
}
