//! From nothing to a farm, with the README's first command, as it stands there; and again, with nothing left to do.

use crate::Test;
use crate::farm::{CONTAINERS, PAIR, answers, drover, left_nothing, outcomes};
use crate::site::Site;
use crate::starts::Starts;
use anyhow::{Context, Result, ensure};
use std::time::Duration;
use throwaway::{Checkout, Finished, Host};

pub(crate) const TESTS: &[Test] = &[("the_readmes_first_command_builds_a_farm", built)];

/// The part of emulated systems' programs that runs natively, at the least.
const SHARE: f64 = 0.8;

fn built(site: &Site) -> Result<()> {
    let checkout = Checkout::of(env!("CARGO_MANIFEST_DIR"))?;
    let host = Host::boot(&site.ground, "pair", checkout.show(site.options()?))?;
    checkout.lay(&host)?;
    checkout.edit(&host, "plans/debian-multiarch.ron", for_the_pair)?;
    let first = counted(&host, &checkout)?;
    println!("    first run: {:.1} s", first.elapsed.as_secs_f64());
    first.ok()?;
    left_nothing(&host)?;
    for (container, machine) in CONTAINERS {
        answers(&host, container, machine)?;
    }
    let again = checkout.type_in(&host, &checkout.readme(0)?)?.wait()?.ok()?;
    println!("    second run: {:.1} s", again.elapsed.as_secs_f64());
    is_unchanged(&host)?;
    drover(&host, &["run", PAIR])?.ok()?;
    is_unchanged(&host).context("the plan of the pair, after the same by another plan's name")?;
    drover(&host, &["plan", "--detailed-exitcode", PAIR])?.exits(0)?;
    host.into_layer(&site.ground, "pair")?;
    Ok(())
}

/// The plan with the pair's architectures in place of its own.
fn for_the_pair(plan: &str) -> Option<String> {
    let (before, rest) = plan.split_once("arch: [")?;
    let (_, after) = rest.split_once(']')?;
    Some(format!("{before}arch: [amd64, arm64]{after}"))
}

/// Runs the README's first command. While the emulated system is made, the kernel counts how often a native program was
/// started for it, and how often the emulator; once it boots, all of its programs are emulated.
fn counted(host: &Host, checkout: &Checkout) -> Result<Finished> {
    const BOOTS: &str = "jenkins-debian12-arm64/start-domain";
    let starts = Starts::of(host, "/usr/bin/qemu-aarch64-static")?;
    let mut run = checkout.type_in(host, &checkout.readme(0)?)?;
    while run.is_running()? && !run.stderr()?.contains(BOOTS) {
        std::thread::sleep(Duration::from_millis(100));
    }
    let share = starts.end()?;
    let ended = run.wait_aloud()?;
    ensure!(ended.code() != Some(0) || share >= SHARE, "only {:.1} % were native", share * 100.0);
    Ok(ended)
}

fn is_unchanged(host: &Host) -> Result<()> {
    let changed: Vec<_> = outcomes(host)?.into_iter().filter(|(_, outcome)| outcome != "unchanged").collect();
    ensure!(changed.is_empty(), "a run with nothing to do changed something: {changed:?}");
    Ok(())
}
