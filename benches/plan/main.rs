//! `cargo bench --bench plan`: how long it takes to look: `drover plan`, and `drover run` with nothing to do.
//!
//! It measures a farm of nine containers that stands, plans of many containers that are not there yet, and plans of many
//! commands, each in several sizes, so that growth can be seen. Whole processes are timed, from outside, in a throw-away
//! host. `DROVER_BASELINE=PROGRAM` names another build of Drover that is measured in turn with this one. `-- stay` leaves
//! the host up until its standard input ends, and says how to enter it. It does not know how Drover looks.

use anyhow::{Context, Result};
use std::fmt::Write;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;
use throwaway::mirror::{FARM as MIRRORED, Mirror};
use throwaway::{Ground, Host, HostOptions};

/// Nine containers of three architectures, six of them emulated.
const NINE: &str = "/root/nine.ron";
/// How often what is quick is measured.
const ROUNDS: usize = 5;
/// What one look may take; a build that takes longer is told so.
const PATIENCE: Duration = Duration::from_secs(150);
/// The exit code of `timeout`.
const TIMED_OUT: i32 = 124;
/// The exit code of a plan that this host is not ready for.
const UNMET: i32 = 7;

fn main() -> ExitCode {
    throwaway::serve_if_asked();
    match measure() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

fn measure() -> Result<()> {
    let baseline = std::env::var_os("DROVER_BASELINE");
    let programs: Vec<&str> = if baseline.is_some() { vec!["baseline", "drover"] } else { vec!["drover"] };
    let ground = Ground::below(env!("CARGO_TARGET_TMPDIR"))?;
    let mirror = Mirror::prepare(&ground, &MIRRORED)?;
    let drover = Path::new(env!("CARGO_BIN_EXE_drover"));
    let options = HostOptions::usual(&ground, &mirror, drover)?;
    let options =
        baseline.iter().fold(options, |options, program| options.show(program, "/run/bin/baseline"));
    let built = ground.layer("nine", options.clone(), |host| {
        host.write(NINE, &plan_of(&nine()))?;
        host.run(&["drover", "run", NINE])?.ok().map(drop)
    })?;
    let host = Host::boot(&ground, "bench-plan", options.over(&built))?;
    // The second run proves anew what the systems have written while they booted.
    for _ in 0..2 {
        host.run(&["drover", "run", NINE])?.ok().context("starting the farm")?;
    }
    if std::env::args().any(|word| word == "stay") {
        println!("{:?}", host.command(&["bash"]));
        std::io::copy(&mut std::io::stdin(), &mut std::io::sink())?;
        return Ok(());
    }
    rows(&host, "nine containers, done: plan", &programs, ROUNDS, &["plan", "--brief", NINE])?;
    rows(&host, "nine containers, done: run", &programs, ROUNDS, &["run", NINE])?;
    for count in [200, 400, 800] {
        host.write("/root/new.ron", &plan_of(&new(count)))?;
        // A build that is slow with the first of them need not be waited for with more.
        let (programs, rounds) =
            if count == 200 { (programs.as_slice(), 1) } else { (&["drover"][..], ROUNDS) };
        let title = format!("{count} new containers: plan");
        rows(&host, &title, programs, rounds, &["plan", "--brief", "/root/new.ron"])?;
    }
    for count in [13_500, 27_000, 54_000] {
        host.write("/root/commands.ron", &commands(count))?;
        rows(&host, &format!("{count} commands: graph"), &programs, 1, &["graph", "/root/commands.ron"])?;
    }
    Ok(())
}

/// Measures each program in turn, and tells the medians.
fn rows(host: &Host, title: &str, programs: &[&str], rounds: usize, arguments: &[&str]) -> Result<()> {
    let mut times: Vec<Vec<f64>> = vec![Vec::new(); programs.len()];
    let patience = PATIENCE.as_secs().to_string();
    for _ in 0..rounds {
        for (program, times) in programs.iter().zip(&mut times) {
            let finished = host.run(&[&["timeout", &patience, program], arguments].concat())?;
            match finished.code() {
                Some(TIMED_OUT) => {}
                // A disk that is too small for hundreds of containers is no reason not to plan them.
                Some(UNMET) => times.push(finished.elapsed.as_secs_f64()),
                _ => times.push(finished.ok()?.elapsed.as_secs_f64()),
            }
        }
    }
    let mut text = format!("{title:<32}");
    for (program, times) in programs.iter().zip(&mut times) {
        times.sort_by(f64::total_cmp);
        // Writing to a string cannot fail.
        let _ = match times.get(times.len() / 2) {
            Some(median) => write!(text, " {program} {median:8.3} s"),
            None => write!(text, " {program} more than {patience} s"),
        };
    }
    if let [[first, ..], [second, ..]] =
        [times.first(), times.get(1)].map(|times| times.map_or(&[][..], Vec::as_slice))
    {
        let _ = write!(text, " ratio {:.2}", second / first);
    }
    println!("{text}");
    Ok(())
}

/// The plan `debian-multiarch` with these containers.
fn plan_of(containers: &str) -> String {
    const PLAN: &str = include_str!("../../plans/debian-multiarch.ron");
    let (before, rest) = PLAN.split_once("    containers: [").unwrap_or((PLAN, ""));
    let (_, after) = rest.split_once("\n    ],").unwrap_or_default();
    let before = before.replace("10.0.3.0/24", "10.0.0.0/20");
    format!("{before}    containers: [\n{containers}    ],{after}")
}

fn nine() -> String {
    ["a", "b", "c"].map(|name| format!("(name: \"{name}-{{arch}}\", distribution: Debian, release: \"bookworm\", arch: [amd64, arm64, s390x]),\n")).concat()
}

/// Many that are not there.
fn new(count: usize) -> String {
    let architectures = ["amd64", "arm64", "s390x"].iter().cycle();
    let entry = |(number, arch): (usize, &&str)| {
        format!("(name: \"new-{number}\", distribution: Debian, release: \"bookworm\", arch: {arch}),\n")
    };
    (0..count).zip(architectures).map(entry).collect()
}

fn commands(count: usize) -> String {
    let command =
        |number| format!("Command(name: \"c{number}\", run: \"true\", creates: \"/root/c{number}\"),\n");
    format!("Plan(name: \"commands\", host: [\n{}])\n", (0..count).map(command).collect::<String>())
}
