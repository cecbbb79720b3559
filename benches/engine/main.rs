//! `cargo bench --bench engine`: the engine alone against ninja, side by side in one run.
//!
//! Both run the same 10,000 commands in the same order of needs with as many jobs as there are processors, in a
//! throw-away host into which ninja is installed. Whole processes are timed, from outside. It does not know containers.

mod touch;

use anyhow::{Context, Result};
use std::path::Path;
use std::process::ExitCode;
use std::thread::available_parallelism;
use std::time::Duration;
use throwaway::mirror::{FARM, Mirror};
use throwaway::{Ground, Host, HostOptions};

/// The first argument of the guardian of a run.
const GUARDIAN: &str = "guardian";
/// The first argument of the engine's own process.
const TOUCH: &str = "touch";
/// How often a first run is measured.
const ROUNDS: usize = 3;
/// How often a run with nothing to do is measured in each round: it is short, and so is much that disturbs it.
const AGAIN: usize = 5;
/// Where this program is seen in the host.
const BENCH: &str = "/run/bin/engine-bench";

fn main() -> ExitCode {
    throwaway::serve_if_asked();
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let done = match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [GUARDIAN, mark] => drover_engine::guardian::watch(mark),
        [TOUCH, dir, jobs] => {
            jobs.parse().context("no number").and_then(|jobs| touch::touch(Path::new(dir), jobs))
        }
        // Cargo's own arguments, such as `--bench`.
        _ => compare(),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

/// What was measured of one tool.
#[derive(Default)]
struct Times {
    first: Vec<Duration>,
    second: Vec<Duration>,
}

fn compare() -> Result<()> {
    let host = host()?;
    let jobs = available_parallelism()?.to_string();
    let (mut ninja, mut drover) = (Times::default(), Times::default());
    for round in 0..ROUNDS {
        // Nothing is removed meanwhile: ext4 makes files more slowly for minutes after many were removed.
        let [its, ours] = ["ninja", "drover"].map(|tool| format!("/root/{tool}-{round}"));
        std::fs::create_dir(host.path(&its))?;
        touch::ninja(&host.path(&its))?;
        ninja.measure(&host, &["ninja", "--quiet", "-C", &its, "-j", &jobs])?;
        drover.measure(&host, &[BENCH, TOUCH, &ours, &jobs])?;
    }
    println!("\n10,000 commands, {jobs} jobs, medians of {ROUNDS} rounds; ratios below 1 are for drover");
    row("first run", &mut drover.first, &mut ninja.first);
    row("nothing to do", &mut drover.second, &mut ninja.second);
    Ok(())
}

/// A host with ninja.
fn host() -> Result<Host> {
    let ground = Ground::below(env!("CARGO_TARGET_TMPDIR"))?;
    let mirror = Mirror::prepare(&ground, &FARM)?;
    let drover = Path::new(env!("CARGO_BIN_EXE_drover"));
    let options = HostOptions::usual(&ground, &mirror, drover)?;
    let options = options.show(std::env::current_exe()?, BENCH);
    let host = Host::boot(&ground, "engine-bench", options)?;
    host.shell("apt-get -q update && apt-get -qy install --no-install-recommends ninja-build")?;
    Ok(host)
}

impl Times {
    /// The first run, and those after it, with nothing to do.
    fn measure(&mut self, host: &Host, command: &[&str]) -> Result<()> {
        let run = || {
            let finished = host.run(command)?.ok()?;
            print!("{}", finished.stdout);
            anyhow::Ok(finished.elapsed)
        };
        self.first.push(run()?);
        for _ in 0..AGAIN {
            self.second.push(run()?);
        }
        Ok(())
    }
}

fn row(name: &str, drover: &mut [Duration], ninja: &mut [Duration]) {
    let [drover, ninja] = [drover, ninja].map(|times| {
        times.sort_unstable();
        times[times.len() / 2].as_secs_f64()
    });
    println!("{name:<15} drover {drover:8.3} s   ninja {ninja:8.3} s   ratio {:.2}", drover / ninja);
}
