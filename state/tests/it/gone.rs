//! A state directory that is deleted, renamed or replaced while a run is on, or that can only be read.

use crate::child;
use crate::scratch::{Scratch, finished, node, nodes, started};
use anyhow::{Context, Result, ensure};
use drover_state::{EventKind, Gone, Held, History, Journal, Lock, Outcome, StateDir, check, export, live};
use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

/// What is done to a state directory while a run is on.
type Harm = fn(&Path) -> Result<()>;

const HARMS: &[(&str, Harm)] = &[
    ("deleted", |path| Ok(fs::remove_dir_all(path)?)),
    ("renamed", |path| Ok(fs::rename(path, path.with_extension("elsewhere"))?)),
    ("without its lock", |path| Ok(fs::remove_file(path.join("drover.lock"))?)),
    ("without its journal", |path| Ok(fs::remove_dir_all(path.join("journal"))?)),
    ("without its runs", |path| Ok(fs::remove_dir_all(path.join("runs"))?)),
    ("replaced", |path| {
        fs::remove_dir_all(path)?;
        StateDir::open(path)?;
        Ok(fs::write(path.join("drover.lock"), "")?)
    }),
    ("a file", |path| {
        fs::remove_dir_all(path)?;
        Ok(fs::write(path, "")?)
    }),
];

#[test]
fn a_run_notices_that_its_state_directory_is_gone() -> Result<()> {
    for (what, harm) in HARMS {
        for idle in [false, true] {
            let scratch = Scratch::new()?;
            let mut journal = scratch.sound()?;
            journal.begin_run("pair", "none", nodes(2))?;
            journal.commit(vec![started(&node(1), 1)])?;
            harm(scratch.dir.path())?;
            let error = match idle {
                // With nothing to be recorded, it looks now and then.
                true => {
                    std::thread::sleep(Duration::from_millis(1_100));
                    journal.write_out().expect_err(what)
                }
                false => journal.commit(vec![finished(&node(1), Outcome::Changed)]).expect_err(what),
            };
            let gone = error.downcast_ref::<Gone>().with_context(|| format!("{what}: {error:#}"))?;
            assert_eq!(gone.moved.is_some(), *what == "renamed", "{what}: {gone:?}");
            let text = error.to_string();
            assert!(text.contains("nothing more is started"), "{what}: {text}");
            assert!(text.contains("rename it back") || text.contains("state adopt"), "{what}: {text}");
            assert!(journal.commit(vec![EventKind::RunFinished { code: 1 }]).is_err(), "{what}");
            drop(journal);
        }
    }
    Ok(())
}

#[test]
fn no_other_run_begins_where_one_is_on_whose_directory_is_gone() -> Result<()> {
    for (what, harm) in HARMS.iter().filter(|(what, _)| *what != "a file") {
        let scratch = Scratch::new()?;
        let mut command = child::command("gone::begin_and_wait", scratch.dir.path())?;
        let mut first = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn()?;
        let lines = BufReader::new(first.stdout.take().context("piped")?).lines();
        ensure!(lines.map_while(Result::ok).any(|line| line.contains("begun")), "{what}: it has not begun");
        harm(scratch.dir.path())?;
        let second = || Lock::acquire(&StateDir::open(scratch.dir.path())?);
        let error = second().expect_err(what);
        let held = error.downcast_ref::<Held>().with_context(|| format!("{what}: {error:#}"))?;
        let by = held.holder.as_ref().context("it says who holds it")?;
        let is_gone = !["without its journal", "without its runs"].contains(what);
        assert_eq!((by.pid, held.is_gone), (first.id(), is_gone), "{what}");
        let text = error.to_string();
        assert!(!is_gone || text.contains("deleted, renamed or replaced"), "{what}: {text}");
        assert!(live()?.iter().any(|live| live.pid == first.id()), "{what}");
        drop(first.stdin.take());
        first.wait()?;
        second().with_context(|| format!("{what}: the first has ended"))?;
    }
    Ok(())
}

#[test]
#[ignore = "a process that other tests start"]
fn begin_and_wait() -> Result<()> {
    let dir = StateDir::open(&child::state()?)?;
    let (mut journal, _) = Journal::open(&dir, Lock::acquire(&dir)?)?;
    journal.begin_run("pair", "none", nodes(2))?;
    println!("begun");
    std::io::stdin().read_to_end(&mut Vec::new())?;
    Ok(())
}

#[test]
fn what_can_only_be_read_can_be_looked_at_and_says_why_nothing_runs() -> Result<()> {
    let scratch = Scratch::new()?;
    child::write(&mut scratch.sound()?, 20, &mut std::io::sink())?;
    scratch.sound()?;
    let place = scratch.dir.path();
    let child = child::command("gone::look_at_what_can_only_be_read", place)?;
    let mount = "mount --make-rprivate / && mount --bind \"$1\" \"$1\" && mount -o remount,bind,ro \"$1\"";
    let mut command = Command::new("unshare");
    command.args(["--mount", "sh", "-c", &format!("{{ {mount}; }} || exit 99; shift; exec \"$@\""), "sh"]);
    command.arg(place).arg(child.get_program()).args(child.get_args());
    command.envs(child.get_envs().filter_map(|(name, value)| Some((name, value?))));
    let output = match rustix::process::geteuid().is_root() {
        true => command.output()?,
        false => {
            eprintln!("skipped: only root can mount a directory so that it can only be read");
            return Ok(());
        }
    };
    let text = String::from_utf8_lossy(&output.stderr);
    if output.status.code() == Some(99) || text.starts_with("unshare:") {
        eprintln!("skipped: nothing could be mounted: {}", text.trim());
        return Ok(());
    }
    assert!(output.status.success(), "{}{text}", String::from_utf8_lossy(&output.stdout));
    Ok(())
}

#[test]
#[ignore = "a process that other tests start"]
fn look_at_what_can_only_be_read() -> Result<()> {
    let dir = StateDir::existing(&child::state()?)?.context("it is there")?;
    let (faults, held) = check(&dir)?;
    ensure!(faults.is_empty() && held.is_none(), "{faults:?}");
    ensure!(History::read(&dir)?.notes(&dir).is_empty(), "it can be read");
    ensure!(export(&dir, &mut |_| Ok(()))?.is_empty(), "it can be read");
    let error =
        StateDir::open(dir.path()).and_then(|dir| Lock::acquire(&dir)).expect_err("it cannot be written");
    let text = format!("{error:#}");
    ensure!(text.contains("can only be read; mount it writable") && text.contains("--state DIR"), "{text}");
    Ok(())
}
