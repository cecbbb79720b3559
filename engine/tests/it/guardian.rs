//! A run that is killed leaves no process behind. The test program is its own run and its own guardian.

use crate::farm::{Farm, Seen, await_that};
use anyhow::{Context, Result};
use std::ffi::OsString;
use std::fs::File;
use std::path::Path;
use std::process::{Child, Command};
use std::time::Duration;

const FARM: &str = "DROVER_TEST_FARM";
const PLAN: &str = "DROVER_TEST_PLAN";
const GUARDIAN: &str = "guardian::is_a_guardian";

/// What this test program must be called with to be a guardian: as a test that is named, and the mark behind it.
pub(crate) fn arguments() -> Vec<OsString> {
    ["--exact", "--nocapture", GUARDIAN].map(OsString::from).into()
}

/// No test, but what [`arguments`] leads to. When all tests are run, it does nothing.
#[test]
fn is_a_guardian() -> Result<()> {
    let arguments: Vec<_> = std::env::args().collect();
    match arguments.as_slice() {
        [.., name, mark] if name == GUARDIAN => drover_engine::guardian::watch(mark),
        _ => Ok(()),
    }
}

/// No test, but what [`run_in_a_child`] leads to. When all tests are run, it does nothing.
#[test]
fn is_a_run() -> Result<()> {
    let (Some(farm), Ok(plan)) = (std::env::var_os(FARM), std::env::var(PLAN)) else { return Ok(()) };
    Farm::at(Path::new(&farm)).run_with(&plan, &mut Seen::default())?;
    Ok(())
}

/// The command that runs a plan in a process of its own.
pub(crate) fn run_in_a_child(root: &Path, plan: &str) -> Result<Command> {
    let mut command = Command::new(std::env::current_exe()?);
    command.args(["--exact", "guardian::is_a_run", "--nocapture"]).env(FARM, root).env(PLAN, plan);
    Ok(command)
}

fn is_there(pid: &str) -> bool {
    // A zombie waits for its parent, not for us.
    let state = std::fs::read_to_string(format!("/proc/{}/stat", pid.trim()));
    state.is_ok_and(|state| !state.contains(") Z "))
}

fn kill(mut child: Child) -> Result<()> {
    child.kill()?;
    child.wait().context("the run is gone")?;
    Ok(())
}

#[test]
fn a_killed_run_takes_its_processes_along() -> Result<()> {
    let scratch = tempfile::tempdir()?;
    let farm = Farm::at(scratch.path());
    let child = run_in_a_child(scratch.path(), "a=stray")?.spawn()?;
    let stray = farm.tree().join("stray");
    await_that("the stray process starts", || {
        std::fs::read_to_string(&stray).is_ok_and(|pid| pid.ends_with('\n') && is_there(&pid))
    });
    let pid = std::fs::read_to_string(&stray)?;
    let state = File::open(farm.state()?.path())?;
    assert!(state.try_lock().is_err(), "nobody watches");
    kill(child)?;
    // Whoever comes next begins when the guardian is done.
    state.lock()?;
    assert!(!is_there(&pid), "the stray process is still there");
    state.unlock()?;
    let (report, seen) = farm.run("a")?;
    assert_eq!((report.changed, report.code), (1, Some(0)));
    assert!(
        seen.reason("a").is_some_and(|reason| reason.contains("run 1 was interrupted")),
        "{:?}",
        seen.reason("a")
    );
    Ok(())
}

#[test]
fn a_run_sweeps_what_escaped_the_guardian() -> Result<()> {
    let scratch = tempfile::tempdir()?;
    let farm = Farm::at(scratch.path());
    let child = run_in_a_child(scratch.path(), "a=sleep")?.spawn()?;
    let log = farm.state()?.log(drover_state::RunId(1), &"a".into(), 1);
    await_that("the step runs", || {
        std::fs::read_to_string(&log).is_ok_and(|log| log.contains("\nsleeping\n"))
    });
    kill(child)?;
    // Marked as that run's, but started when its guardian has done its work.
    let metadata = farm.state()?.path().metadata()?;
    let mark = {
        use std::os::unix::fs::MetadataExt;
        format!("{}-{}.1", metadata.dev(), metadata.ino())
    };
    let mut escaped = Command::new("sleep").arg("1000").env(drover_engine::MARK, mark).spawn()?;
    let (_, seen) = farm.run("a")?;
    assert!(seen.swept.iter().any(|leftover| leftover.pid == escaped.id()), "{:?}", seen.swept);
    assert!(!escaped.wait()?.success());
    Ok(())
}

#[test]
fn a_run_waits_for_the_guardian_before_it() -> Result<()> {
    let scratch = tempfile::tempdir()?;
    let farm = Farm::at(scratch.path());
    farm.run("a")?;
    let state = File::open(farm.state()?.path())?;
    state.lock()?;
    let mut run = run_in_a_child(scratch.path(), "b")?.spawn()?;
    std::thread::sleep(Duration::from_millis(500));
    assert!(run.try_wait()?.is_none(), "it did not wait");
    assert!(!farm.tree().join("b").exists(), "it began");
    state.unlock()?;
    assert!(run.wait()?.success());
    assert!(farm.tree().join("b").exists());
    Ok(())
}
