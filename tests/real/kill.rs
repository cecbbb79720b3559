//! Killing runs at chosen moments, and proving that nothing of them is left.
//!
//! It does not know what is killed, nor what comes of it.

use crate::farm::{events, left_nothing, start};
use anyhow::{Context, Result, bail, ensure};
use std::collections::HashSet;
use std::time::{Duration, Instant};
use throwaway::Host;

/// A moment of a run.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Moment {
    /// So many seconds after this node started to change the world.
    Started(&'static str, u64),
    /// When so many packages of the system in this directory are configured: as its log says, into which dpkg writes at once,
    /// while its list of packages may wait for the end.
    Configured(&'static str, usize),
}

/// Runs drover until each moment, one after the other, and kills it then.
pub(crate) fn kill_at_each(host: &Host, arguments: &[&str], moments: &[Moment]) -> Result<()> {
    for moment in moments {
        println!("    killed at {moment:?}");
        kill_at(host, arguments, *moment).with_context(|| format!("at {moment:?}"))?;
    }
    Ok(())
}

fn kill_at(host: &Host, arguments: &[&str], moment: Moment) -> Result<()> {
    let runs_before = runs(host);
    let mut running = start(host, arguments)?;
    let deadline = Instant::now() + Duration::from_secs(1200);
    while runs(host) == runs_before || events(host)?.is_empty() || !has_come(host, moment)? {
        if !running.is_running()? {
            bail!("it ended before:\n{}", running.wait()?.stderr);
        }
        ensure!(Instant::now() < deadline, "it has not come for 20 minutes:\n{}", running.stderr()?);
        std::thread::sleep(Duration::from_millis(20));
    }
    if let Moment::Started(_, seconds) = moment {
        std::thread::sleep(Duration::from_secs(seconds));
    }
    let pid = events(host)?[0]["pid"].as_u64().context("the run has no process id")?;
    let kill = host.run(&["kill", "-KILL", &pid.to_string()])?;
    let killed = running.wait()?;
    ensure!(kill.status.success() && killed.was_killed(), "it ended by itself:\n{}", killed.stderr);
    soon(|| left_nothing(host))
}

/// Runs drover, and kills it after a while, if it has not ended by then.
pub(crate) fn kill_after(host: &Host, arguments: &[&str], moment: Duration) -> Result<()> {
    let mut run = start(host, arguments)?;
    std::thread::sleep(moment);
    if run.is_running()? {
        // The oldest is the run, unless it has ended this very moment; the other one watches over it, and is to clean up.
        host.shell("oldest=$(pgrep -xo drover) && kill -9 $oldest || true")?;
    }
    run.wait()?;
    soon(|| left_nothing(host))
}

fn runs(host: &Host) -> usize {
    std::fs::read_dir(host.path("/var/lib/drover/runs")).map_or(0, Iterator::count)
}

fn has_come(host: &Host, moment: Moment) -> Result<bool> {
    match moment {
        Moment::Started(node, _) => {
            Ok(events(host)?.iter().any(|event| event["event"] == "started" && event["node"] == node))
        }
        Moment::Configured(system, packages) => {
            let log = host.read(&format!("{system}/var/log/dpkg.log")).unwrap_or_default();
            let configured = log.lines().filter_map(|line| line.split_once(" status installed "));
            Ok(configured.map(|(_, package)| package).collect::<HashSet<_>>().len() >= packages)
        }
    }
}

/// What a killed run leaves is gone within seconds: its guardian sees to that.
fn soon(prove: impl Fn() -> Result<()>) -> Result<()> {
    let deadline = Instant::now() + Duration::from_secs(20);
    while prove().is_err() && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(100));
    }
    prove()
}
