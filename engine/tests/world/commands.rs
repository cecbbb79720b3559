//! Commands for real: what is logged, how they end, how they are made to end, what they leave.

use crate::attempt::{Attempt, MINUTE, command_error, ends_soon, sh, somebody_runs};
use anyhow::{Context, Result};
use drover_engine::{Cmd, Interrupted, MARK};
use std::path::Path;
use std::time::{Duration, Instant};

const SOON: Duration = Duration::from_millis(200);

#[test]
fn output_goes_to_the_log_and_its_last_line_to_the_screen() -> Result<()> {
    let attempt = Attempt::new(MINUTE)?;
    assert!(attempt.log().is_err(), "the log is made with its first line");
    attempt.cx.run(&sh(r"echo out; echo err >&2; printf '1%%\r2%%\rend'"))?;
    attempt.cx.note("halfway");
    attempt.cx.run(&Cmd::new("cat").stdin("given"))?;
    let expected = "$ sh -c 'echo out; echo err >&2; printf '\\''1%%\\r2%%\\rend'\\'''\nout\nerr\nend\n\
                    # halfway\n$ cat\ngiven\n";
    assert_eq!(attempt.log()?, expected);
    let lines = attempt.lines.said.lock().expect("nobody panics who hears");
    assert_eq!(lines[lines.len() - 3..], ["end", "halfway", "given"]);
    Ok(())
}

#[test]
fn a_failure_carries_command_status_and_last_lines() -> Result<()> {
    let attempt = Attempt::new(MINUTE)?;
    let error = attempt.cx.run(&sh("seq 100; exit 3")).expect_err("it fails");
    let error = command_error(&error)?;
    assert_eq!(error.command, "sh -c 'seq 100; exit 3'");
    assert_eq!(error.status, "exit status 3");
    assert_eq!((error.tail.len(), error.tail[0].as_str(), error.tail[49].as_str()), (50, "51", "100"));
    assert_eq!(error.to_string(), "`sh -c 'seq 100; exit 3'`: exit status 3: 100");
    assert!(attempt.log()?.ends_with("100\n# exit status 3\n"));

    let error = attempt.cx.run(&sh("kill -9 $$")).expect_err("it fails");
    assert_eq!(command_error(&error)?.status, "signal 9 (killed)");
    let error = attempt.cx.run(&Cmd::new("drover-no-such")).expect_err("it fails");
    assert_eq!(error.to_string(), "`drover-no-such`: cannot be started: no such program");
    let error = attempt.cx.run(&Cmd::new("true").dir("/no/such")).expect_err("it fails");
    assert_eq!(error.to_string(), "`true`: cannot be started: no such directory `/no/such`");
    Ok(())
}

#[test]
fn reading_keeps_the_outputs_apart_and_logs_nothing() -> Result<()> {
    let attempt = Attempt::new(MINUTE)?;
    assert_eq!(attempt.cx.read(&sh("echo err >&2; echo out"))?, "out\n");
    let error = attempt.cx.read(&sh("echo out; echo err >&2; exit 1")).expect_err("it fails");
    assert_eq!(command_error(&error)?.tail, ["err"]);
    let output = attempt.cx.probe(&sh("echo out; echo err >&2; exit 7"))?;
    assert_eq!(
        (output.status.code(), output.stdout.as_str(), output.stderr.as_str()),
        (Some(7), "out\n", "err\n")
    );
    assert!(attempt.cx.probe(&Cmd::new("drover-no-such")).is_err());
    assert!(attempt.log().is_err());
    Ok(())
}

#[test]
fn more_than_pipes_hold_goes_in_and_out_at_once() -> Result<()> {
    let attempt = Attempt::new(MINUTE)?;
    let much = "0123456789abcde\n".repeat(200_000);
    assert_eq!(attempt.cx.read(&sh("tee /dev/stderr").stdin(much.as_str()))?, much);
    // Who does not read is not waited for.
    attempt.cx.run(&Cmd::new("true").stdin(much))?;
    Ok(())
}

#[test]
fn environment_and_directory_are_as_asked() -> Result<()> {
    let attempt = Attempt::new(MINUTE)?;
    let command = sh("echo $LC_ALL $X $DROVER_RUN; pwd").env("X", "y").dir("/");
    let mark = format!("commands-{}", std::process::id());
    assert_eq!(attempt.cx.read(&command)?, format!("C.UTF-8 y {mark}\n/\n"));
    assert_eq!(attempt.cx.read(&sh("echo $DROVER_RUN").unmarked())?, "\n");
    assert_eq!(attempt.cx.read(&Cmd::new("pwd"))?, "/\n");
    Ok(())
}

/// What a program gets when it is started by a test, whose own environment holds whatever cargo and its caller put there.
#[test]
fn a_program_gets_drovers_environment_and_nothing_else() -> Result<()> {
    let attempt = Attempt::new(MINUTE)?;
    let names = |command: &Cmd| -> Result<Vec<String>> {
        let shown = attempt.cx.read(command)?;
        let names = shown.split_terminator('\0').filter_map(|line| Some(line.split_once('=')?.0.to_owned()));
        let mut names: Vec<_> = names.filter(|name| !name.to_lowercase().ends_with("_proxy")).collect();
        names.sort();
        Ok(names)
    };
    let all = Cmd::new("env").arg("-0");
    assert!(std::env::vars_os().any(|(name, _)| name == "CARGO_MANIFEST_DIR"), "that would prove little");
    assert_eq!(names(&all)?, ["DROVER_RUN", "HOME", "LANGUAGE", "LC_ALL", "PATH", "TERM"]);
    assert_eq!(
        names(&all.clone().unmarked().env("X", "y"))?,
        ["HOME", "LANGUAGE", "LC_ALL", "PATH", "TERM", "X"]
    );
    // A step's own word is the last.
    assert_eq!(attempt.cx.read(&sh("echo $LC_ALL").env("LC_ALL", "C"))?, "C\n");
    Ok(())
}

#[test]
fn a_timeout_ends_the_whole_group() -> Result<()> {
    let attempt = Attempt::new(SOON)?;
    let begun = Instant::now();
    let error = attempt.cx.run(&sh("sleep 98761 & sleep 98761; true")).expect_err("it fails");
    assert!(begun.elapsed() < Duration::from_secs(5));
    assert_eq!(command_error(&error)?.status, "stopped after 0.2 s");
    assert!(!error.is::<Interrupted>());
    assert!(ends_soon("98761"));
    assert!(attempt.cx.sleep(MINUTE).expect_err("it fails").to_string().contains("stopped waiting"));
    Ok(())
}

#[test]
fn an_interrupt_is_felt_at_level_two_and_leaves_time_to_clean_up() -> Result<()> {
    let attempt = Attempt::new(MINUTE)?;
    attempt.interrupt.raise();
    attempt.cx.run(&sh("sleep 0.3"))?;
    attempt.interrupt(2, |lines| lines.have("ready"));
    let script = "trap 'echo cleaned; exit 1' TERM; sleep 98762 & echo ready; wait";
    let error = attempt.cx.run(&sh(script)).expect_err("it fails");
    assert!(error.is::<Interrupted>());
    assert_eq!(command_error(&error)?.status, "interrupted");
    assert_eq!(command_error(&error)?.tail, ["ready", "cleaned"]);
    assert!(ends_soon("98762"));

    let error = attempt.cx.run(&sh("echo never")).expect_err("it fails");
    assert!(error.is::<Interrupted>() && !attempt.log()?.contains("\nnever"));
    assert!(attempt.cx.read(&sh("echo never")).expect_err("it fails").is::<Interrupted>());
    assert!(attempt.cx.sleep(MINUTE).expect_err("it fails").is::<Interrupted>());
    Ok(())
}

#[test]
fn level_three_waits_for_nobody() -> Result<()> {
    let attempt = Attempt::new(MINUTE)?;
    let raised = attempt.interrupt(3, |_| somebody_runs("98763"));
    let error = attempt.cx.probe(&sh("trap '' TERM; sleep 98763; sleep 98763")).expect_err("it fails");
    assert!(error.is::<Interrupted>());
    assert!(raised.join().expect("no panic").elapsed() < Duration::from_secs(5));
    assert!(ends_soon("98763"));
    Ok(())
}

#[test]
fn whoever_keeps_the_pipe_open_is_not_waited_for() -> Result<()> {
    let attempt = Attempt::new(MINUTE)?;
    let begun = Instant::now();
    attempt.cx.run(&sh("sleep 5 & echo done"))?;
    assert!(begun.elapsed() < Duration::from_secs(3));
    assert!(attempt.log()?.ends_with("done\n"));
    Ok(())
}

/// What a process has open for good beyond its standard three: its loader has a library open for a moment.
fn lasting_descriptors(proc: &Path) -> Result<Vec<String>> {
    let until = Instant::now() + Duration::from_secs(5);
    loop {
        let mut open = Vec::new();
        for entry in std::fs::read_dir(proc.join("fd"))? {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy().into_owned();
            // One that cannot be read has been closed since it was listed.
            if !["0", "1", "2"].contains(&name.as_str())
                && let Ok(target) = std::fs::read_link(entry.path())
            {
                open.push(format!("{name} -> {}", target.display()));
            }
        }
        if open.is_empty() || Instant::now() >= until {
            return Ok(open);
        }
        println!("for a moment: {open:?}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn a_daemon_is_nobodys_child_and_carries_no_mark() -> Result<()> {
    let attempt = Attempt::new(MINUTE)?;
    let log = attempt.dir.path().join("daemon.log");
    let daemon = sh("echo begun; exec sleep 98764").env("X", "y");
    let pid = attempt.cx.start_daemon(&daemon, &log)?;
    let proc = Path::new("/proc").join(pid.to_string());
    let until = Instant::now() + MINUTE;
    while std::fs::read_to_string(proc.join("comm"))? != "sleep\n" && Instant::now() < until {
        std::thread::sleep(Duration::from_millis(10));
    }
    let stat = std::fs::read_to_string(proc.join("stat"))?;
    let session = stat.rsplit(") ").next().and_then(|rest| rest.split(' ').nth(3)).context("a session")?;
    assert_eq!(session, pid.to_string());
    let environment = String::from_utf8(std::fs::read(proc.join("environ"))?)?;
    assert!(environment.split('\0').any(|variable| variable == "X=y"));
    assert!(!environment.contains(MARK));
    assert!(!environment.contains("CARGO"), "{environment}");
    assert_eq!(lasting_descriptors(&proc)?, Vec::<String>::new());
    assert_eq!(std::fs::read_to_string(&log)?, "begun\n");
    assert!(attempt.log()?.starts_with("$ X=y sh -c"));
    attempt.cx.run(&Cmd::new("kill").arg(pid.to_string()))?;
    let until = Instant::now() + MINUTE;
    while proc.exists() && Instant::now() < until {
        std::thread::sleep(Duration::from_millis(10));
    }
    assert!(!proc.exists(), "it was not waited for");
    Ok(())
}

#[test]
fn logs_of_tools_are_kept_beside_that_of_the_attempt() -> Result<()> {
    let attempt = Attempt::new(MINUTE)?;
    let own = attempt.dir.path().join("debootstrap.log");
    attempt.cx.keep_log(&own);
    std::fs::write(&own, "I: Retrieving\n")?;
    attempt.cx.keep_log(&own);
    let kept = attempt.dir.path().join("logs/1-debootstrap.log");
    assert_eq!(std::fs::read_to_string(kept)?, "I: Retrieving\n");
    attempt.cx.keep_log(Path::new("/dev/null"));
    assert!(attempt.lines.have("the log `/dev/null` is not kept: it is no regular file"));
    Ok(())
}

#[test]
fn a_log_that_cannot_be_written_stops_nothing() -> Result<()> {
    let attempt = Attempt::new(MINUTE)?;
    let logs = attempt.dir.path().join("logs");
    // Where the directory of logs should be, there is a file.
    std::fs::write(&logs, "")?;
    let script = sh("echo one; sleep 0.1; echo two; touch done").dir(attempt.dir.path());
    attempt.cx.run(&script)?;
    assert!(attempt.dir.path().join("done").exists() && attempt.lines.have("two"));
    let said = attempt.lines.said.lock().expect("nobody panics who hears").clone();
    assert_eq!(said.iter().filter(|line| line.contains("output is lost")).count(), 1, "{said:?}");
    // As after somebody has made room.
    std::fs::remove_file(&logs)?;
    attempt.cx.note("three");
    assert_eq!(attempt.log()?, "\n# output is missing here\n# three\n");
    let error = attempt.cx.run(&sh("echo four; false")).expect_err("it fails");
    assert_eq!(command_error(&error)?.tail, ["four"]);
    Ok(())
}
