//! Runs that hang, fail or are refused, and where what they show goes: pipes and terminals.

use crate::Test;
use crate::farm::{PAIR, drover, events, left_nothing, outcomes, start};
use crate::site::Site;
use anyhow::{Context, Result, ensure};
use std::time::{Duration, Instant};
use throwaway::{Fault, Host, Running};

pub(crate) const TESTS: &[Test] = &[
    ("who_may_not_or_cannot_is_told_so", refused),
    ("a_run_that_hangs_is_stopped_by_signals", stopped),
    ("what_is_shown_suits_where_it_goes", shown),
];

/// The step that the tests catch a run in: it downloads from the mirror, which can be told to stall.
const PACKAGES: &str = "host/packages";

fn refused(site: &Site) -> Result<()> {
    let host = site.fresh_host("refused")?;
    drover(&host, &["plan", "--detailed-exitcode", PAIR])?.exits(2)?;
    ensure!(!host.path("/var/lib/drover").exists(), "a dry run left something");
    drover(&host, &["run", PAIR, "--only", "host/virsh-default-uri"])?.exits(0)?;
    host.break_mirror(Fault::Missing, u32::MAX, ".deb")?;
    drover(&host, &["run", PAIR, "--only", PACKAGES])?.exits(1)?;
    let nobody = |arguments: &[&str]| {
        let drover = ["setpriv", "--reuid=65534", "--clear-groups", "drover", "--state", "/tmp/nobody"];
        host.run(&[&drover, arguments].concat())
    };
    let unmet = nobody(&["run", PAIR])?.exits(7)?;
    ensure!(unmet.stderr.contains("root"), "it does not say what is missing:\n{}", unmet.stderr);
    let planned = nobody(&["plan", PAIR, "--detailed-exitcode"])?.exits(2)?;
    ensure!(
        planned.stdout.contains("+ host/storage: "),
        "without root, nothing is planned:\n{}",
        planned.stdout
    );
    Ok(())
}

/// A run that hangs in a download, for as long as the mirror is not mended or the download is given up.
fn stalled(host: &Host) -> Result<(Running, String)> {
    host.mend_mirror()?;
    host.break_mirror(Fault::Stalled, u32::MAX, ".deb")?;
    let requests = host.mirror_log()?.len();
    let mut running = start(host, &["run", PAIR, "--only", "host/*"])?;
    let stalls = || {
        Ok::<_, anyhow::Error>(host.mirror_log()?[requests..].iter().any(|line| line.ends_with("stalled")))
    };
    await_or(Duration::from_secs(120), stalls, || "nothing is downloaded".to_owned())?;
    ensure!(running.is_running()?, "the run has ended");
    let pid = events(host)?[0]["pid"].as_u64().context("the run has no process id")?;
    Ok((running, pid.to_string()))
}

fn stopped(site: &Site) -> Result<()> {
    let host = site.fresh_host("stopped")?;
    for (signal, times, code) in [("TERM", 1, 143), ("INT", 2, 130), ("INT", 3, 130)] {
        let (mut running, pid) = stalled(&host)?;
        let second = drover(&host, &["run", PAIR])?.exits(6)?;
        ensure!(
            second.stderr.contains(&format!("process {pid} ")),
            "it does not name the holder: {}",
            second.stderr
        );
        let began = Instant::now();
        for time in 1..=times {
            // It may have ended before the last one. Two of a kind that come at once are one.
            host.shell(&format!("kill -{signal} {pid} || true"))?;
            let heard = || {
                Ok(running.stderr()?.matches("drover: interrupted").count() >= time
                    || !running.is_running()?)
            };
            await_or(Duration::from_secs(60), heard, || format!("SIG{signal} is not heard"))?;
        }
        let ended = running.wait()?.exits(code)?;
        println!("    SIG{signal} {times} times: ended after {:.1} s", began.elapsed().as_secs_f64());
        ensure!(began.elapsed() < Duration::from_secs(20), "it took {:?}", began.elapsed());
        ensure!(ended.stderr.contains("drover: interrupted"), "it does not say so:\n{}", ended.stderr);
        ensure!(outcomes(&host)?[PACKAGES] == "interrupted", "{:?}", outcomes(&host)?);
        left_nothing(&host)?;
    }
    Ok(())
}

fn shown(site: &Site) -> Result<()> {
    let host = site.fresh_host("shown")?;
    let run = "drover run /run/farm/plans/debian-pair.ron --only host/virsh-default-uri --only host/storage";
    let piped = host.run(&["sh", "-c", run])?.ok()?;
    ensure!(
        !piped.stderr.contains('\x1b') && !piped.stderr.contains('\r'),
        "escapes in a pipe: {:?}",
        piped.stderr
    );
    ensure!(piped.stdout.is_empty(), "a run's events are not results: {}", piped.stdout);
    let changed = piped.stderr.lines().filter(|line| line.contains(" changed  ")).count();
    ensure!(changed == 2, "not one line an event:\n{}", piped.stderr);
    let terminal = |prefix: &str| {
        host.shell(&format!(
            "rm -rf /srv/libvirt; TERM=xterm script -qec '{prefix} {run}' /dev/null </dev/null"
        ))
    };
    ensure!(terminal("env")?.contains("\x1b["), "no bars on a terminal");
    let colours = terminal("env NO_COLOR=1")?;
    let coloured = colours.split("\x1b[").skip(1).any(|rest| {
        let code: String =
            rest.chars().take_while(|character| character.is_ascii_digit() || *character == ';').collect();
        rest[code.len()..].starts_with('m')
            && code.split(';').any(|part| part.len() == 2 && part.starts_with(['3', '9']))
    });
    ensure!(!coloured, "colours in spite of NO_COLOR: {colours:?}");
    for command in [
        &["plan", "--json", PAIR][..],
        &["status", "--json"],
        &["steps", "--json"],
        &["graph", "--format", "json", PAIR],
    ] {
        let printed = drover(&host, command)?.ok()?.stdout;
        serde_json::from_str::<serde_json::Value>(&printed)
            .with_context(|| format!("{command:?} prints {printed}"))?;
    }
    Ok(())
}

fn await_or(
    patience: Duration,
    mut condition: impl FnMut() -> Result<bool>,
    otherwise: impl FnOnce() -> String,
) -> Result<()> {
    let deadline = Instant::now() + patience;
    while !condition()? {
        ensure!(Instant::now() < deadline, "{} after {} s", otherwise(), patience.as_secs());
        std::thread::sleep(Duration::from_millis(50));
    }
    Ok(())
}
