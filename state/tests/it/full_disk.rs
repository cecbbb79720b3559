//! A disk that is full ends a run with a word about it, and takes nothing that was recorded.

use crate::child;
use crate::scratch::Scratch;
use anyhow::{Result, ensure};
use drover_state::{EventKind, EventReader, Journal, Lock, RunId, StateDir};
use std::process::Command;

#[test]
fn a_full_disk_is_told_and_loses_nothing() -> Result<()> {
    let scratch = Scratch::new()?;
    let place = scratch.dir.path();
    let child = child::command("full_disk::fill_the_disk", place)?;
    // A disk of its own in a mount namespace of its own: it is gone with the process.
    let mount = "mount --make-rprivate / && mount -t tmpfs -o size=8m tmpfs \"$1\"";
    let mut command = Command::new("unshare");
    command.args(["--mount", "sh", "-c", &format!("{{ {mount}; }} || exit 99; shift; exec \"$@\""), "sh"]);
    command.arg(place).arg(child.get_program()).args(child.get_args());
    command.envs(child.get_envs().filter_map(|(name, value)| Some((name, value?))));
    let output = match rustix::process::geteuid().is_root() {
        true => command.output()?,
        false => return skip("only root can mount a small disk"),
    };
    let text = String::from_utf8_lossy(&output.stderr);
    if output.status.code() == Some(99) || text.starts_with("unshare:") {
        return skip(&text);
    }
    assert!(output.status.success(), "{}{text}", String::from_utf8_lossy(&output.stdout));
    Ok(())
}

fn skip(why: &str) -> Result<()> {
    eprintln!("skipped: no small disk could be mounted: {}", why.trim());
    Ok(())
}

#[test]
#[ignore = "a process that other tests start"]
fn fill_the_disk() -> Result<()> {
    let dir = StateDir::open(&child::state()?)?;
    let ballast = dir.path().join("ballast");
    std::fs::write(&ballast, vec![1; 4 << 20])?;
    let (mut journal, _) = Journal::open(&dir, Lock::acquire(&dir)?)?;
    let error = child::write(&mut journal, 1_000_000, &mut std::io::sink()).expect_err("the disk has 8 MiB");
    let text = format!("{error:#}");
    ensure!(text.contains("no space is left") && text.contains("free some"), "{text}");
    ensure!(
        journal.commit(vec![EventKind::RunFinished { code: 1 }]).is_err(),
        "there would be a gap before it"
    );
    let seen = EventReader::new(&dir, RunId(1)).read()?;
    ensure!(seen.len() > 100, "{} events", seen.len());
    drop(journal);
    std::fs::remove_file(ballast)?;
    let (mut journal, notes) = Journal::open(&dir, Lock::acquire(&dir)?)?;
    ensure!(notes.is_empty(), "{notes:?}");
    let after = EventReader::new(&dir, RunId(1)).read()?;
    ensure!(after.starts_with(&seen), "{} events, then {}", seen.len(), after.len());
    child::write(&mut journal, 10, &mut std::io::sink())
}
