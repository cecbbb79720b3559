//! `cargo bench --bench farm`: the README's first command against the document's own commands, side by side in one run: for the
//! pair of architectures, and for three of the nine, by which the whole is judged; `-- pair` or `-- three` for one of them.
//! `DROVER_BASELINE=TREE` times the first command of another checkout, too, which must be built. `-- nine` is the whole, on a
//! host where nothing is prepared, without the document's commands, which take hours; with a baseline, its program also
//! called directly.
//!
//! The others start on a host that is prepared (packages, bridge, libvirt, account, key). All have the same mirror on
//! loopback, and end when all containers answer ssh. Whole processes are timed, from outside: `make farm`, Cargo and all. It
//! does not know how any of them works.

use anyhow::{Context, Result, ensure};
use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, ExitCode};
use std::time::Duration;
use throwaway::mirror::{EVERY, FARM as MIRRORED, Mirror};
use throwaway::{Checkout, Ground, Host, HostOptions};

/// What is built in each way.
struct Farm {
    name: &'static str,
    architectures: &'static [&'static str],
}

const FARMS: [Farm; 2] = [
    Farm { name: "pair", architectures: &["amd64", "arm64"] },
    Farm { name: "three", architectures: &["amd64", "arm64", "s390x"] },
];

/// The plan that the README's first command builds.
const PLAN: &str = "plans/debian-multiarch.ron";
/// What the first command starts in the end.
const DIRECT: &str = "target/release/drover run plans/debian-multiarch.ron";
const DOCUMENT: &str = "/run/farm/document.sh";
/// The mirror's address, as the host's own sources name it.
const MIRROR: &str = "sed -n 's/^URIs: //p; s/^deb [^h]*\\(http[^ ]*\\).*/\\1/p' /etc/apt/sources.list /etc/apt/sources.list.d/* 2>/dev/null | head -n 1";

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
    let here = Checkout::of(env!("CARGO_MANIFEST_DIR"))?;
    let baseline = std::env::var_os("DROVER_BASELINE").map(Checkout::of).transpose()?;
    let words: Vec<_> = std::env::args().collect();
    let is_named = |farm: &&Farm| words.iter().any(|word| word == farm.name);
    if words.iter().any(|word| word == "nine") {
        return compare_nine(&ground, &here, baseline.as_ref());
    }
    let named: Vec<_> = FARMS.iter().filter(is_named).collect();
    let mirror = Mirror::prepare(&ground, &MIRRORED)?;
    for farm in if named.is_empty() { FARMS.iter().collect() } else { named } {
        println!("\n{}, from a prepared host to containers that answer ssh", farm.architectures.join(" "));
        let document = by_document(&prepared(&ground, &mirror, farm, &here)?, farm)?.as_secs_f64();
        println!("the document's commands {document:8.1} s");
        let drover = by_drover(&prepared(&ground, &mirror, farm, &here)?, farm, &here)?.as_secs_f64();
        println!("make farm               {drover:8.1} s   {:.2} of the document's", drover / document);
        if let Some(baseline) = &baseline {
            let before =
                by_drover(&prepared(&ground, &mirror, farm, baseline)?, farm, baseline)?.as_secs_f64();
            println!("make farm, baseline     {before:8.1} s   so {:.2} of the baseline", drover / before);
        }
    }
    Ok(())
}

/// All of the plan, from a host as the machine is to containers that answer ssh.
fn compare_nine(ground: &Ground, here: &Checkout, baseline: Option<&Checkout>) -> Result<()> {
    let mirror = Mirror::prepare(ground, &EVERY)?;
    println!("\n{PLAN}, from a host where nothing is prepared to containers that answer ssh");
    let timed = |checkout: &Checkout, line: &str| -> Result<(f64, Host)> {
        let options = checkout.show(fresh(ground, &mirror)?);
        let host = Host::boot(ground, "bench-farm", options)?;
        checkout.lay(&host)?;
        settle()?;
        let elapsed = checkout.type_in(&host, line)?.wait()?.ok()?.elapsed.as_secs_f64();
        Ok((elapsed, host))
    };
    let (first, host) = timed(here, &here.readme(0)?)?;
    println!("make farm               {first:8.1} s");
    say_where(&host)?;
    drop(host);
    if let Some(baseline) = baseline {
        for (name, line) in [("called directly", DIRECT), ("make farm", &baseline.readme(0)?)] {
            let (before, _) = timed(baseline, line)?;
            println!("baseline, {name:15} {before:6.1} s   so {:.2} of it", first / before);
        }
    }
    Ok(())
}

/// ext4 gives out no inode that was deleted within the last minute, or five while that is not on the disk, and takes long to find
/// others (Linux, fs/ext4/ialloc.c, `recently_deleted`): what an earlier farm has left would slow down the next one.
fn settle() -> Result<()> {
    let ended = Command::new("sync").status().context("run `sync`")?;
    ensure!(ended.success(), "`sync` failed");
    std::thread::sleep(Duration::from_secs(61));
    Ok(())
}

/// Says where the time went: how long the nodes of each kind took, one beside the other, in all; and what ran natively.
fn say_where(host: &Host) -> Result<()> {
    let events = host.shell("cat $(ls -d /var/lib/drover/runs/* | tail -n 1)/events.jsonl")?;
    let mut kinds = BTreeMap::<String, f64>::new();
    for event in events.lines().map(serde_json::from_str::<serde_json::Value>) {
        let event = event?;
        if let (Some(node), Some(millis)) = (event["node"].as_str(), event["millis"].as_f64()) {
            let kind = node.rsplit('/').next().unwrap_or(node);
            *kinds.entry(kind.to_owned()).or_default() += millis / 1000.0;
        }
    }
    let mut kinds: Vec<_> = kinds.into_iter().collect();
    kinds.sort_by(|one, other| other.1.total_cmp(&one.1));
    for (kind, seconds) in kinds.iter().take(8) {
        println!("    {kind:20}{seconds:8.1} s");
    }
    let report = host.run(&["drover", "report"])?.ok()?.stdout;
    report.lines().filter(|line| line.contains("natively")).for_each(|line| println!("    {}", line.trim()));
    Ok(())
}

/// A host on which nothing is prepared.
fn fresh(ground: &Ground, mirror: &Mirror) -> Result<HostOptions> {
    HostOptions::usual(ground, mirror, Path::new(env!("CARGO_BIN_EXE_drover")))
}

/// A host on which all is done that is not about a container.
fn prepared(ground: &Ground, mirror: &Mirror, farm: &Farm, checkout: &Checkout) -> Result<Host> {
    let options = fresh(ground, mirror)?
        .show(concat!(env!("CARGO_MANIFEST_DIR"), "/plans"), "/run/farm/plans")
        .show(concat!(env!("CARGO_MANIFEST_DIR"), "/benches/farm/document.sh"), DOCUMENT);
    let host = Host::boot(ground, "bench-farm", checkout.show(options))?;
    let architectures = format!("containers.0.arch=[{}]", farm.architectures.join(", "));
    let plan = format!("/run/farm/{PLAN}");
    let run = ["drover", "run", &plan, "--set", &architectures];
    let only = ["--only", "host", "--only", "*/reserve-address", "--only", "*/hosts-file"];
    // Its own journal is no part of what is compared: another checkout may not understand it.
    host.run(&[&run[..], &only, &["--state", "/var/lib/preparation"]].concat())?
        .ok()
        .context("preparing the host")?;
    Ok(host)
}

fn by_document(host: &Host, farm: &Farm) -> Result<Duration> {
    let uri = host.shell(MIRROR)?;
    let ended = host.run(&[&["bash", DOCUMENT, uri.trim()], farm.architectures].concat())?;
    Ok(ended.ok().context("the document's commands")?.elapsed)
}

/// The first command of a checkout's README, for these architectures alone.
fn by_drover(host: &Host, farm: &Farm, checkout: &Checkout) -> Result<Duration> {
    checkout.lay(host)?;
    checkout.edit(host, PLAN, |plan| {
        let (before, rest) = plan.split_once("arch: [")?;
        let (_, after) = rest.split_once(']')?;
        Some(format!("{before}arch: [{}]{after}", farm.architectures.join(", ")))
    })?;
    Ok(checkout.type_in(host, &checkout.readme(0)?)?.wait()?.ok()?.elapsed)
}
