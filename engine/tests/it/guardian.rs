//! A run that is killed leaves no process behind. The test program is its own run and its own guardian.

use crate::farm::{Farm, Seen, await_that};
use anyhow::{Context, Result};
use std::ffi::OsString;
use std::fs::File;
use std::path::Path;
use std::process::{Child, Command, Stdio};
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
    let pid = child.id();
    let log = farm.state()?.log(drover_state::RunId(1), &"a".into(), 1);
    await_that("the step runs", || {
        std::fs::read_to_string(&log).is_ok_and(|log| log.contains("\nsleeping\n"))
    });
    // Whoever looks without the journal sees what stands in the run's events, which come a moment later.
    let events = farm.state()?.events(drover_state::RunId(1));
    await_that("it is told", || {
        std::fs::read_to_string(&events).is_ok_and(|events| events.contains("\"started\""))
    });
    kill(child)?;
    let guardian = File::open(farm.state()?.path())?;
    guardian.lock()?;
    guardian.unlock()?;
    // Marked as that attempt's, but started when its guardian has done its work.
    let [mut escaped, mut other, mut elsewhere] =
        [marked(&farm, pid, "a.1")?, marked(&farm, pid, "a.2")?, marked(&farm, pid + 1, "a.1")?];
    let left = drover_engine::guardian::leftovers(&farm.state()?)?;
    assert_eq!(left.iter().map(|leftover| leftover.pid).collect::<Vec<_>>(), [escaped.id()]);
    let (_, seen) = farm.run("a")?;
    assert_eq!(seen.swept.iter().map(|leftover| leftover.pid).collect::<Vec<_>>(), [escaped.id()]);
    assert!(!escaped.wait()?.success());
    for spared in [&mut other, &mut elsewhere] {
        assert!(spared.try_wait()?.is_none(), "that was no process of a killed attempt");
        spared.kill()?;
        spared.wait()?;
    }
    assert_eq!(drover_engine::guardian::leftovers(&farm.state()?)?, []);
    Ok(())
}

/// A process with the mark of an attempt.
fn marked(farm: &Farm, pid: u32, attempt: &str) -> Result<Child> {
    use std::os::unix::fs::MetadataExt;
    let metadata = farm.state()?.path().metadata()?;
    let mark = format!("{}-{}.{pid}.{attempt}", metadata.dev(), metadata.ino());
    let mut sleep = Command::new("sleep");
    sleep.arg("60").env(drover_engine::MARK, mark).stdout(Stdio::null()).stderr(Stdio::null());
    Ok(sleep.spawn()?)
}

/// The guardian of the run in this process.
fn guardian_of(run: u32) -> Result<String> {
    for entry in std::fs::read_dir("/proc")? {
        let path = entry?.path();
        let stat = std::fs::read_to_string(path.join("stat")).unwrap_or_default();
        let parent = stat.rsplit(") ").next().and_then(|rest| rest.split(' ').nth(1));
        let is_guardian =
            || std::fs::read_to_string(path.join("cmdline")).is_ok_and(|it| it.contains(GUARDIAN));
        if parent == Some(&run.to_string()) && is_guardian() {
            return Ok(path.file_name().context("a number")?.to_string_lossy().into_owned());
        }
    }
    anyhow::bail!("the run has no guardian")
}

/// What a step that ended well left running stays, whatever becomes of its run and of others: of the guardian's work, and of the
/// sweep of the next run, where the guardian is killed as well.
#[test]
fn what_was_left_running_on_purpose_stays() -> Result<()> {
    for is_guardian_killed in [false, true] {
        let scratch = tempfile::tempdir()?;
        let farm = Farm::at(scratch.path());
        let child = run_in_a_child(scratch.path(), "a=daemon b:a=stray c=slow-check")?.spawn()?;
        let stray = farm.tree().join("stray");
        await_that("the stray process starts", || {
            std::fs::read_to_string(&stray).is_ok_and(|pid| pid.ends_with('\n') && is_there(&pid))
        });
        if is_guardian_killed {
            let guardian = guardian_of(child.id())?;
            assert!(Command::new("kill").args(["-9", &guardian]).status()?.success());
        }
        kill(child)?;
        let state = File::open(farm.state()?.path())?;
        state.lock()?;
        state.unlock()?;
        let (stray, daemon) =
            (std::fs::read_to_string(&stray)?, std::fs::read_to_string(farm.tree().join("daemon"))?);
        assert_eq!(is_there(&stray), is_guardian_killed);
        assert!(is_there(&daemon), "the daemon of a step that ended well was killed by the guardian");
        // A run that ends well, and one after that.
        let (report, seen) = farm.run("a=daemon b:a c")?;
        assert_eq!((report.code, seen.swept.is_empty()), (Some(0), !is_guardian_killed), "{:?}", seen.swept);
        assert!(!is_there(&stray) && is_there(&daemon), "the daemon was swept away");
        let (_, seen) = farm.run("a=daemon b:a c")?;
        assert!(seen.swept.is_empty() && is_there(&daemon));
        assert!(Command::new("kill").arg(daemon.trim()).status()?.success());
    }
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
