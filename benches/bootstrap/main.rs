//! `cargo bench --bench bootstrap`: one base system made by debootstrap, by mmdebstrap, and by Drover without native assist,
//! with it, and for the host's own processor, side by side in one run; and what it costs to start a program then.
//! `-- s390x` for one architecture alone.
//!
//! All of them install the same packages, from the same mirror on loopback. Drover has downloaded them before, and has the
//! natives that help it: what those take is told by itself. Whole processes are timed, with all that they start.

mod exec;

use anyhow::{Context, Result, bail};
use std::path::Path;
use std::process::ExitCode;
use throwaway::mirror::{FARM, Mirror};
use throwaway::{Ground, Host, HostOptions};

const PLAN: &str = "/run/bench/plan.ron";
/// With the names of their emulators.
const ARCHITECTURES: [(&str, &str); 2] = [("arm64", "aarch64"), ("s390x", "s390x")];
/// What the template of `lxc-create` asks debootstrap for.
const PACKAGES: &str = "init,ifupdown,locales,ca-certificates,dialog,isc-dhcp-client,netbase,net-tools,iproute2,\
                        openssh-server,apt-transport-https";
/// The mirror, as hosts call it.
const MIRROR: &str = "http://mirror.throwaway/debian";
const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// What making a base system took, in seconds.
struct Cost {
    /// Its emulated part, on the clock: debootstrap's second stage, and Drover's stage `configure`.
    stage: Option<f64>,
    /// All of it, on the clock.
    whole: f64,
    /// All of it, on the processors.
    cpu: f64,
}

fn main() -> ExitCode {
    throwaway::serve_if_asked();
    match compare() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

fn compare() -> Result<()> {
    let ground = Ground::below(env!("CARGO_TARGET_TMPDIR"))?;
    let mirror = Mirror::prepare(&ground, &FARM)?;
    let drover = Path::new(env!("CARGO_BIN_EXE_drover"));
    let options = HostOptions::usual(&ground, &mirror, drover)?
        .show(concat!(env!("CARGO_MANIFEST_DIR"), "/benches/bootstrap"), "/run/bench");
    let ready = ground.layer("bench", options.clone(), |host| {
        host.run(&["drover", "run", PLAN, "--until", "*/fetch", "--until", "*/twin"])?.ok()?;
        host.shell("apt-get -qy install --no-install-recommends mmdebstrap").map(drop)
    })?;
    let boot = || {
        let host = Host::boot(&ground, "bench", options.clone().over(&ready))?;
        // The emulators are the kernel's to remember, and this host was just started.
        host.run(&["drover", "run", PLAN, "--only", "host/*"])?.ok()?;
        anyhow::Ok(host)
    };
    println!("\n{:32} {:>9} {:>9} {:>9}", "one base system, in seconds", "emulated", "whole", "CPU");
    let host = boot()?;
    // All of it anew: what lies below an overlay is not as Drover makes it.
    host.shell("rm -rf /var/cache/lxc/debian")?;
    let native = by_drover(&host, "amd64", "--no-assist")?;
    show("amd64   drover, native", &native, native.whole);
    show("amd64   mmdebstrap, native", &by_mmdebstrap(&host, "amd64")?, native.whole);
    println!("        natives of it for others {:27.1}", natives(&host)?);
    drop(host);
    for (arch, qemu) in asked() {
        let host = boot()?;
        show(&format!("{arch:7} debootstrap"), &by_debootstrap(&host, arch)?, native.whole);
        show(&format!("{arch:7} mmdebstrap"), &by_mmdebstrap(&host, arch)?, native.whole);
        show(
            &format!("{arch:7} drover without assist"),
            &by_drover(&host, arch, "--no-assist")?,
            native.whole,
        );
        show(&format!("{arch:7} drover with assist"), &by_drover(&host, arch, "")?, native.whole);
        exec::compare(&host, arch, qemu)?;
    }
    Ok(())
}

/// The architectures that are named among the arguments; all if none is.
fn asked() -> Vec<(&'static str, &'static str)> {
    let words: Vec<_> = std::env::args().collect();
    let named: Vec<_> =
        ARCHITECTURES.into_iter().filter(|(arch, _)| words.iter().any(|word| word == arch)).collect();
    if named.is_empty() { ARCHITECTURES.into() } else { named }
}

fn show(what: &str, Cost { stage, whole, cpu }: &Cost, native: f64) {
    let stage = stage.map_or(String::new(), |stage| format!("{stage:.1}"));
    println!("{what:32} {stage:>9} {whole:9.1} {cpu:9.1}   {:.2} of native", whole / native);
}

/// The document's way: what the template of `lxc-create` runs.
fn by_debootstrap(host: &Host, arch: &str) -> Result<Cost> {
    let first = timed(
        host,
        &format!(
            "debootstrap --foreign --variant=minbase --include={PACKAGES} --arch={arch} bookworm /var/tmp/d {MIRROR}"
        ),
    )?;
    let second = timed(host, "chroot /var/tmp/d /debootstrap/debootstrap --second-stage")?;
    host.shell("rm -rf /var/tmp/d")?;
    Ok(Cost { stage: Some(second.whole), whole: first.whole + second.whole, cpu: first.cpu + second.cpu })
}

fn by_mmdebstrap(host: &Host, arch: &str) -> Result<Cost> {
    let source = format!("deb [signed-by={KEYRING}] {MIRROR} bookworm main");
    let cost = timed(
        host,
        &format!(
            "mmdebstrap --mode=root --variant=minbase --include={PACKAGES},usr-is-merged --architectures={arch} \
             --hook-dir=/usr/share/mmdebstrap/hooks/merged-usr bookworm /var/tmp/m '{source}'"
        ),
    )?;
    host.shell("rm -rf --one-file-system /var/tmp/m")?;
    Ok(cost)
}

/// Drover, which has all packages and natives already.
fn by_drover(host: &Host, arch: &str, option: &str) -> Result<Cost> {
    host.shell(&format!(
        "rm -rf /var/cache/lxc/debian/rootfs-bookworm-{arch} /var/cache/lxc/debian/rootfs-bookworm-{arch}.*"
    ))?;
    let place = format!("bootstrap/debian-bookworm-{arch}");
    let mut cost = timed(host, &format!("drover run {PLAN} --until {place}/seal {option}"))?;
    cost.stage = Some(took(host, &format!("{place}/configure"))?);
    Ok(cost)
}

/// How long making the natives takes, which all emulated systems of a release share.
fn natives(host: &Host) -> Result<f64> {
    host.shell("rm -rf /var/lib/drover/cache/assist")?;
    timed(host, &format!("drover run {PLAN} --only '*/twin'")).map(|cost| cost.whole)
}

/// How long a node took in the last run, in seconds.
fn took(host: &Host, node: &str) -> Result<f64> {
    let events = host.shell("cat $(ls -d /var/lib/drover/runs/* | tail -n 1)/events.jsonl")?;
    let events = events.lines().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
    let mut ended = events.filter(|event| event["event"] == "finished" && event["node"] == node);
    let millis = ended.next().and_then(|event| event["millis"].as_f64());
    Ok(millis.with_context(|| format!("`{node}` did not end"))? / 1000.0)
}

/// Runs a command, which has to end well.
fn timed(host: &Host, command: &str) -> Result<Cost> {
    let log = "/var/tmp/log";
    let script = format!(
        "TIMEFORMAT='%R %U %S'; time {{ {command}; }} >{log} 2>&1 || {{ tail -n 20 {log} >&2; exit 1; }}"
    );
    let ended = host.run(&["bash", "-uc", &script])?.ok()?;
    let numbers: Vec<f64> = ended.stderr.split_whitespace().filter_map(|word| word.parse().ok()).collect();
    let [whole, user, system] = numbers[..] else { bail!("`time` says `{}`", ended.stderr) };
    Ok(Cost { stage: None, whole, cpu: user + system })
}
