//! Native assist: the same systems with it and without it, and nothing of it left, whatever happens.

use crate::Test;
use crate::assist_cases;
use crate::farm::{PAIR, drover, events, left_nothing, outcomes, start};
use crate::kill::{Moment, kill_at_each};
use crate::same::{ANYWAY, base, is_same};
use crate::site::Site;
use anyhow::{Context, Result, ensure};
use drover_assist::counts::Counts;
use rayon::prelude::*;
use serde_json::Value;
use std::time::{Duration, Instant};
use throwaway::{Fault, Host, HostOptions};

pub(crate) const TESTS: &[Test] = &[
    ("assisted_systems_are_the_same", same),
    ("programs_notice_nothing_of_assist", noticed),
    ("others_programs_run_on_when_it_is_killed", others),
    ("without_natives_the_emulator_does_it_alone", alone),
    ("when_natives_fail_the_emulator_has_the_last_word", last_word),
];

/// Not for every day: `make identity`.
pub(crate) const IDENTITY: &[Test] = &[("identity_of_every_architecture", identity)];

/// The base systems that are made with assist and without: all that is emulated on amd64 and that Debian's mirrors have.
const IDENTICAL: [(&str, &[&str]); 3] = [
    ("trixie", &["arm64", "armhf", "riscv64"]),
    ("bookworm", &["arm64", "armel", "armhf", "mips64el", "mipsel", "ppc64el", "s390x"]),
    ("bullseye", &["arm64", "armhf"]),
];

/// A plan, and hosts in which all is ready for what is assisted in it.
struct Stage {
    plan: &'static str,
    /// What is done of it beforehand, and the layer that this becomes.
    ready: &'static [&'static str],
    layer: &'static str,
    options: fn(&Site) -> Result<HostOptions>,
}

/// Containers of two architectures, one of them big-endian, and of a newer release, with packages in them.
const FEW: Stage = Stage {
    plan: "/run/assist/assist.ron",
    ready: &["--until", "*/fetch", "--until", "*/twin"],
    layer: "assist",
    options: Site::options,
};
/// Base systems of all architectures.
const EVERY: Stage = Stage {
    plan: "/run/assist/every.ron",
    ready: &["--until", "host/*", "--until", "*/twin"],
    layer: "every",
    options: Site::options_for_all,
};

impl Stage {
    fn host(&self, site: &Site, name: &str) -> Result<Host> {
        const PLANS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/real/plans");
        let options = (self.options)(site)?.show(PLANS, "/run/assist");
        let layer = site.ground.layer(self.layer, options.clone(), |host| {
            drover(host, &[&["run", self.plan], self.ready].concat())?.ok()?;
            Ok(())
        })?;
        Host::boot(&site.ground, name, options.over(&layer))
    }
}

/// A system of [`FEW`].
struct System {
    release: &'static str,
    arch: &'static str,
    /// What qemu calls its architecture,
    qemu: &'static str,
    /// and its container.
    container: &'static str,
}

const SYSTEMS: [System; 3] = [
    System { release: "bookworm", arch: "arm64", qemu: "aarch64", container: "assist-arm64" },
    System { release: "bookworm", arch: "s390x", qemu: "s390x", container: "assist-s390x" },
    System { release: "trixie", arch: "arm64", qemu: "aarch64", container: "newer-arm64" },
];

impl System {
    fn base(&self) -> String {
        base(self.release, self.arch)
    }

    /// Where the root of its container is.
    fn rootfs(&self) -> String {
        format!("/srv/libvirt/rootfs/{}/rootfs", self.container)
    }

    /// The steps of it that are assisted.
    fn assisted(&self) -> [String; 3] {
        let Self { release, arch, container, .. } = self;
        [
            format!("bootstrap/debian-{release}-{arch}/configure"),
            format!("{container}/lxc-create"),
            format!("{container}/guest-packages"),
        ]
    }
}

/// Unassisted, the newer one takes many minutes: its base system is compared by [`IDENTITY`].
const WITHOUT_NEWER: [&str; 4] =
    ["--exclude", "newer-arm64/*", "--exclude", "bootstrap/debian-trixie-arm64/*"];

fn same(site: &Site) -> Result<()> {
    let (plain, assisted) = (FEW.host(site, "plain")?, FEW.host(site, "assisted")?);
    run(&assisted, &[&[FEW.plan][..], &WITHOUT_NEWER].concat())?;
    run(&plain, &[&[FEW.plan, "--no-assist"][..], &WITHOUT_NEWER].concat())?;
    for system in SYSTEMS.into_iter().filter(|system| system.release == "bookworm") {
        for node in system.assisted() {
            let said = remark(&plain, &node)?;
            ensure!(said == "under plain qemu: assist is off", "`{node}` says `{said}`");
            println!("    {node}: {}", mostly_native(&assisted, &node)?);
        }
        is_same((&plain, &system.base()), (&assisted, &system.base()), ANYWAY)?;
        is_same((&plain, &system.rootfs()), (&assisted, &system.rootfs()), ANYWAY)?;
    }
    is_summed_up(&assisted)
}

/// The report of the run sums up what its steps have counted.
fn is_summed_up(host: &Host) -> Result<()> {
    let mut sum = (0, 0);
    for (_, native, emulated) in counted(host)? {
        sum = (sum.0 + native, sum.1 + emulated);
    }
    let report = drover(host, &["report", "--json"])?.ok()?.stdout;
    let report: Value = serde_json::from_str(&report)?;
    let told = (report["programs"]["native"].as_u64(), report["programs"]["emulated"].as_u64());
    ensure!(told == (Some(sum.0), Some(sum.1)), "the report sums {sum:?} up as {told:?}");
    let junit = drover(host, &["report", "--junit"])?.ok()?.stdout;
    for part in [
        format!("name=\"run.programs.native\" value=\"{}\"", sum.0),
        format!("name=\"run.programs.emulated\" value=\"{}\"", sum.1),
    ] {
        ensure!(junit.contains(&part), "no {part} in {junit}");
    }
    let text = drover(host, &["report"])?.ok()?.stdout;
    println!("    {}", text.lines().find(|line| line.contains("ran natively")).unwrap_or_default());
    ensure!(text.contains(" programs ran natively; emulated: "), "the report says nothing of it: {text}");
    Ok(())
}

/// What programs notice of it: nothing.
fn noticed(site: &Site) -> Result<()> {
    let host = FEW.host(site, "noticed")?;
    run(&host, &[FEW.plan, "--until", "bootstrap/*"])?;
    SYSTEMS.par_iter().try_for_each(|system| assist_cases::prove(&host, &system.base(), system.qemu))
}

/// Runs drover to its end, and says how long that took, step by step.
fn run(host: &Host, arguments: &[&str]) -> Result<()> {
    let begun = Instant::now();
    drover(host, &[&["run"], arguments].concat())?.ok()?;
    println!("    {}: {:.0} s", arguments.join(" "), begun.elapsed().as_secs_f64());
    for event in events(host)?.iter().filter(|event| event["event"] == "finished") {
        if let (Some(node), Some(took)) = (event["node"].as_str(), event["millis"].as_u64())
            && took > 5000
        {
            println!("        {node}: {:.1} s", Duration::from_millis(took).as_secs_f64());
        }
    }
    left_nothing(host)
}

/// All that a node said about how it was done.
pub(crate) fn remark(host: &Host, node: &str) -> Result<String> {
    let said = told(host, "remark", node)?;
    ensure!(!said.is_empty(), "`{node}` said nothing");
    Ok(said.join("; "))
}

/// What steps of the last run have counted: node, natives, emulated ones.
fn counted(host: &Host) -> Result<Vec<(String, u64, u64)>> {
    let events = events(host)?;
    let counted = events.iter().filter(|event| event["event"] == "programs");
    let numbers = counted.map(|event| {
        let count = |kind: &str| event[kind].as_u64().with_context(|| format!("no {kind} in {event}"));
        let node = event["node"].as_str().context("an event without a node")?;
        Ok((node.to_owned(), count("native")?, count("emulated")?))
    });
    numbers.collect()
}

/// Proves that at least four of five programs of a node were native in the last run. See [`natively`].
pub(crate) fn mostly_native(host: &Host, node: &str) -> Result<String> {
    natively(host, node, 0.8)
}

/// Proves that at least that part of the programs of a node was native in the last run, and that it did not have to be done
/// again without. Returns how many were.
pub(crate) fn natively(host: &Host, node: &str, share: f64) -> Result<String> {
    let all = counted(host)?;
    let (native, emulated) = all
        .iter()
        .filter(|(name, ..)| name == node)
        .fold((0, 0), |sum, (_, native, emulated)| (sum.0 + native, sum.1 + emulated));
    let warned = told(host, "warning", node)?;
    ensure!(
        native >= 20 && native as f64 >= share * (native + emulated) as f64,
        "`{node}` has run {native} programs natively, {emulated} emulated; warnings: {warned:?}"
    );
    ensure!(warned.is_empty(), "`{node}` warns: {warned:?}");
    Ok(format!("{native} of {} programs natively", native + emulated))
}

/// What a node said in the last run, as remarks or as warnings.
fn told(host: &Host, kind: &str, node: &str) -> Result<Vec<String>> {
    let events = events(host)?;
    let said = events.iter().filter(|event| event["event"] == kind && event["node"] == node);
    Ok(said.filter_map(|event| event["text"].as_str()).map(str::to_owned).collect())
}

/// All base systems with assist, and without; each release has natives of its own.
fn identity(site: &Site) -> Result<()> {
    let (plain, assisted) = (EVERY.host(site, "plain")?, EVERY.host(site, "assisted")?);
    run(&assisted, &[EVERY.plan])?;
    let mut wrong = Vec::new();
    for (release, arch) in identical() {
        match mostly_native(&assisted, &format!("bootstrap/debian-{release}-{arch}/configure")) {
            Ok(count) => println!("    {release} {arch}: {count}"),
            Err(error) => wrong.push(format!("{release} {arch} was not assisted: {error:#}")),
        }
    }
    run(&plain, &[EVERY.plan, "--no-assist"])?;
    for (release, arch) in identical() {
        let base = base(release, arch);
        wrong.extend(is_same((&plain, &base), (&assisted, &base), ANYWAY).err().map(|it| format!("{it:#}")));
    }
    ensure!(wrong.is_empty(), "{}", wrong.join("\n"));
    Ok(())
}

fn identical() -> impl Iterator<Item = (&'static str, &'static str)> {
    IDENTICAL.iter().flat_map(|(release, architectures)| architectures.iter().map(|arch| (*release, *arch)))
}

/// A release whose mirror has nothing for the host's processor is made all the same, and it is said why that takes so long.
fn alone(site: &Site) -> Result<()> {
    const PLAN: &str = "Plan(name: \"alone\", host: [HostPackages, Binfmt], each: [Bootstrap],
        containers: [(name: \"alone-{arch}\", distribution: Debian, release: \"bullseye\", arch: arm64)])";
    const CONFIGURE: &str = "bootstrap/debian-bullseye-arm64/configure";
    let host = site.built("alone")?;
    host.write("/root/alone.ron", PLAN)?;
    host.break_mirror(Fault::Missing, 1000, "dists/bullseye/main/binary-amd64")?;
    let mut ran = start(&host, &["run", "/root/alone.ron"])?;
    let deadline = Instant::now() + Duration::from_secs(300);
    let said = loop {
        ensure!(Instant::now() < deadline && ran.is_running()?, "it ended before: {:?}", outcomes(&host)?);
        match told(&host, "warning", CONFIGURE)?.pop() {
            Some(said) => break said,
            None => std::thread::sleep(Duration::from_millis(200)),
        }
    };
    println!("    {CONFIGURE}: {said}");
    ensure!(
        said == "no program ran natively, all under plain qemu: there are no natives of debian-bullseye-amd64",
        "it says {said}"
    );
    // What is emulated takes minutes, and is tried elsewhere.
    host.shell("kill -INT $(pgrep -xo drover); sleep 1; kill -INT $(pgrep -xo drover)")?;
    ran.wait()?.exits(130)?;
    left_nothing(&host)
}

/// Natives that are not wanted, or do not work, cost time, and nothing else; and it is said why.
fn last_word(site: &Site) -> Result<()> {
    const STEP: &str = "jenkins-debian12-arm64/guest-packages";
    const ROOTFS: &str = "/srv/libvirt/rootfs/jenkins-debian12-arm64/rootfs";
    let host = site.built("last-word")?;
    let install = |package: &str| {
        let nodes = ["--only", "host/*", "--only", "jenkins-debian12-arm64/*-packages"];
        let packages = format!("each.GuestPackages=[\"{package}\"]");
        drover(&host, &[&["run", PAIR], &nodes[..], &["--set", &packages]].concat())?.ok()
    };
    // It names nothing, but all programs of the guest are to look into it.
    host.write(&format!("{ROOTFS}/etc/ld.so.preload"), "")?;
    install("m4")?;
    host.shell(&format!("rm {ROOTFS}/etc/ld.so.preload"))?;
    let (count, said) = (native(&host, STEP)?, told(&host, "warning", STEP)?);
    println!("    {STEP}: {said:?}");
    ensure!(count == 0 && said.len() == 1, "{count} natives; it warns: {said:?}");
    ensure!(said[0].contains("only 0 % of the programs ran natively"), "it warns: {said:?}");
    ensure!(said[0].contains("there is an /etc/ld.so.preload ("), "it warns: {said:?}");
    let summed = drover(&host, &["report"])?.ok()?.stdout;
    ensure!(summed.contains("warning: only 0 % of"), "the report does not say so: {summed}");
    // One that cannot be started at all is passed over; so this one can.
    host.write(
        "/var/lib/drover/cache/assist/debian-bookworm-amd64/programs/usr/bin/dpkg-deb",
        "#!/bin/sh\nexit 3\n",
    )?;
    install("make")?;
    let said = told(&host, "warning", STEP)?.join("; ");
    println!("    {STEP}: {}", said.lines().next().unwrap_or_default());
    ensure!(native(&host, STEP)? > 0, "nothing was native; it warns: {said}");
    ensure!(said.contains("failed with native programs, so again under plain qemu: "), "it warns: {said}");
    ensure!(host.shell(&format!("chroot {ROOTFS} make --version"))?.contains("aarch64"), "make does not run");
    ensure!(host.shell(&format!("chroot {ROOTFS} dpkg --audit"))?.is_empty(), "packages are half done");
    left_nothing(&host)
}

/// How many programs of a node were native in the last run.
fn native(host: &Host, node: &str) -> Result<u64> {
    let all = counted(host)?;
    let mut of_node = all.iter().filter(|(name, ..)| name == node);
    of_node.next().map(|(_, native, _)| *native).with_context(|| format!("`{node}` has counted nothing"))
}

/// Where a system that has nothing to do with drover is.
const OTHER: &str = "/srv/other";
/// Runs its programs again and again: an emulated shell that starts others. Ends with the first that fails.
const ROUNDS: &str = "while chroot /srv/other /bin/sh -c 'grep -c ^root: /etc/passwd && exec uname -m' >>/run/rounds; do :; done";
/// All that the host's kernel has registered.
const REGISTERED: &str = "cd /proc/sys/fs/binfmt_misc && grep -r . --exclude=register | sort";

/// A system like those that are made has its programs run by the same emulator, before, meanwhile, and when drover is killed;
/// what it was killed in the middle of is finished without assist, to the same end.
fn others(site: &Site) -> Result<()> {
    let host = FEW.host(site, "others")?;
    let seal = ["run", FEW.plan, "--until", "bootstrap/debian-bookworm-arm64/seal"];
    drover(&host, &seal)?.ok()?;
    host.shell(&format!("mv {} {OTHER}; rm -rf {0}.*", base("bookworm", "arm64")))?;
    let registered = host.shell(REGISTERED)?;
    let mut rounds = host.spawn(&["sh", "-c", ROUNDS])?;
    let mut last = 0;
    let mut goes_on = |host: &Host, when: &str| -> Result<()> {
        let deadline = Instant::now() + Duration::from_secs(30);
        let target = last + 20;
        while last < target {
            ensure!(Instant::now() < deadline && rounds.is_running()?, "programs of others fail {when}");
            std::thread::sleep(Duration::from_millis(50));
            last = host.read("/run/rounds").map_or(0, |text| text.lines().count());
        }
        println!("    {when}: {} rounds", last / 2);
        Ok(())
    };
    goes_on(&host, "before")?;
    kill_at_each(&host, &seal, &[Moment::Configured(ARM64, 110)])?;
    // Killed, it could not tell; but it has counted.
    let counts = std::fs::read(host.path("/var/lib/drover/cache/assist/counts/debian-bookworm-arm64"))?;
    let native: u64 = Counts::read(&counts).programs.values().map(|starts| starts.native).sum();
    ensure!(native > 1000, "it was not assisted: {native} native programs");
    goes_on(&host, "after the kill")?;
    ensure!(host.shell(REGISTERED)? == registered, "the host's registrations have changed");
    drover(&host, &[&seal[..], &["--no-assist"]].concat())?.ok()?;
    goes_on(&host, "in the end")?;
    let said = host.read("/run/rounds")?;
    let wrong = said.lines().find(|line| !["1", "aarch64"].contains(line));
    ensure!(wrong.is_none(), "a program of others said {wrong:?}");
    is_same((&host, OTHER), (&host, &base("bookworm", "arm64")), ANYWAY)
}

/// The system while it is made.
const ARM64: &str = "/var/cache/lxc/debian/rootfs-bookworm-arm64.partial";
