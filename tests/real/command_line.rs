//! The program as somebody at a terminal, in a pipe or in CI meets it: exit codes, interrupts, looking at a run that is on.

use crate::Test;
use crate::farm::{PAIR, drover, events, left_nothing, start};
use crate::site::Site;
use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;
use std::time::{Duration, Instant};
use throwaway::{Finished, Host, Running, Tree};

pub(crate) const TESTS: &[Test] = &[
    ("what_cannot_be_done_is_told_before_anything_is", told_before),
    ("a_run_is_watched_and_interrupted", watched_and_interrupted),
    ("a_run_is_stopped_by_a_second_interrupt", stopped),
];

/// A stage that takes long enough to look at a run while it is on: native, and under an emulator.
const NATIVE: &str = "bootstrap/debian-bookworm-amd64/configure";
const EMULATED: &str = "bootstrap/debian-bookworm-arm64/configure";

fn told_before(site: &Site) -> Result<()> {
    let host = site.fresh_host("told")?;
    host.write("/root/bad.ron", "Plan(name: \"bad\", host: [HostPackage], containers: [], each: [])\n")?;
    let before = Tree::of(host.path("/etc"), |_| false)?;

    let bad = drover(&host, &["run", "bad.ron"])?.exits(3)?;
    ensure!(bad.stderr.contains("did you mean `HostPackages`?"), "{}", bad.stderr);
    let none = drover(&host, &["run", PAIR, "--only", "define-domian"])?.exits(4)?;
    ensure!(none.stderr.contains("define-domain"), "{}", none.stderr);
    let would = drover(&host, &["plan", PAIR, "--detailed-exitcode"])?.exits(2)?;
    ensure!(would.stdout.contains("host/packages: not installed: "), "{}", would.stdout);
    drover(&host, &["plan", PAIR, "--brief"])?.exits(0)?;
    json(&drover(&host, &["plan", PAIR, "--json"])?)?;

    host.shell("useradd --uid 399 --no-create-home squatter")?;
    let unmet = drover(&host, &["run", PAIR])?.exits(7)?;
    ensure!(unmet.stderr.contains("squatter") && unmet.stderr.contains("399"), "{}", unmet.stderr);
    host.shell("userdel squatter")?;

    for looking in [&["steps"][..], &["steps", "DefineDomain"], &["graph", PAIR], &["herd"], &["help"]] {
        let shown = drover(&host, looking)?.ok()?;
        ensure!(!shown.stdout.is_empty() && !shown.stdout.contains('\x1b'), "{looking:?}: {}", shown.stdout);
    }
    for looking in [&["steps", "--json"][..], &["graph", PAIR, "--format", "json"], &["herd", "--json"]] {
        json(&drover(&host, looking)?)?;
    }
    let left = before.differences(&Tree::of(host.path("/etc"), |_| false)?);
    // The accounts' files are as they were but for their backups and times.
    let left: Vec<_> = left.into_iter().filter(|line| !line.contains('-')).collect();
    ensure!(left.is_empty(), "something was changed: {left:?}");
    left_nothing(&host)
}

fn watched_and_interrupted(site: &Site) -> Result<()> {
    let host = site.fresh_host("watched")?;
    let mut run = start(&host, &["run", PAIR, "--until", "bootstrap/debian-bookworm-amd64/seal"])?;
    wait_for_start(&host, &mut run, NATIVE)?;

    let second = drover(&host, &["run", PAIR])?.exits(6)?;
    ensure!(second.stderr.contains("is held by process"), "{}", second.stderr);
    let status = json(&drover(&host, &["status", "--json"])?)?;
    let node = status["nodes"].as_array().and_then(|nodes| nodes.iter().find(|node| node["id"] == NATIVE));
    ensure!(node.is_some_and(|node| node["now"] == "running"), "{status:#}");
    let follower = start(&host, &["logs", "--follow", NATIVE])?;

    // Once: what runs goes on to its end, and nothing new starts.
    interrupt(&host)?;
    ensure!(run.is_running()?, "the run did not wait for what it had started");
    let run = run.wait()?.exits(130)?;
    ensure!(!run.stderr.contains('\x1b'), "escape codes in a pipe: {}", run.stderr);
    ensure!(run.stderr.contains(&format!("changed     {NATIVE}")), "{}", run.stderr);
    ensure!(run.stderr.contains("1 not begun") && run.stderr.contains("drover resume"), "{}", run.stderr);
    let log = follower.wait()?.ok()?.stdout;
    ensure!(log.contains("Setting up openssh-server"), "the log that was followed is short: {log}");
    left_nothing(&host)?;

    let resumed = drover(&host, &["resume"])?.ok()?;
    ensure!(resumed.stderr.contains(&format!("unchanged   {NATIVE}")), "{}", resumed.stderr);
    Ok(())
}

fn stopped(site: &Site) -> Result<()> {
    let host = site.fresh_host("stopped")?;
    let mut run = start(&host, &["run", PAIR, "--until", "bootstrap/debian-bookworm-arm64/seal"])?;
    wait_for_start(&host, &mut run, EMULATED)?;
    std::thread::sleep(Duration::from_secs(5));
    interrupt(&host)?;
    interrupt(&host)?;
    let asked = Instant::now();
    let run = run.wait()?.exits(130)?;
    ensure!(asked.elapsed() < Duration::from_secs(20), "it took {:?} to stop", asked.elapsed());
    ensure!(run.stderr.contains(&format!("interrupted {EMULATED}")), "{}", run.stderr);
    left_nothing(&host)?;
    let planned = drover(&host, &["plan", PAIR, "--only", EMULATED, "--json"])?;
    ensure!(json(&planned)?["nodes"][0]["recorded"] == "interrupted", "{}", planned.stdout);
    Ok(())
}

/// Waits until a node is being done.
fn wait_for_start(host: &Host, run: &mut Running, node: &str) -> Result<()> {
    let until = Instant::now() + Duration::from_secs(1200);
    let started = |event: &Value| event["event"] == "started" && event["node"] == node;
    while Instant::now() < until {
        if host.path("/var/lib/drover/runs/0001").exists() && events(host)?.iter().any(started) {
            return Ok(());
        }
        ensure!(run.is_running()?, "the run has ended without `{node}`: {}", run.stderr()?);
        std::thread::sleep(Duration::from_millis(100));
    }
    bail!("`{node}` was not started within 20 minutes")
}

/// Sends SIGINT to the run that is on, as Ctrl-C does.
fn interrupt(host: &Host) -> Result<()> {
    let status = json(&drover(host, &["status", "--json"])?)?;
    let pid =
        status["state"]["holder"]["pid"].as_u64().with_context(|| format!("no run is on: {status:#}"))?;
    host.shell(&format!("kill -INT {pid}"))?;
    Ok(())
}

fn json(finished: &Finished) -> Result<Value> {
    serde_json::from_str(&finished.stdout).with_context(|| format!("{finished:?} is no JSON"))
}
