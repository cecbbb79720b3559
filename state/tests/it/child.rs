//! A process of its own that writes a journal, to be killed, watched or driven into a wall.
//!
//! It is this test program, told to run one test that is ignored otherwise.

use crate::scratch::{finished, node, nodes, started};
use anyhow::{Context, Result};
use drover_state::{EventKind, Journal, Lock, Outcome, StateDir};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

const STATE: &str = "DROVER_TEST_STATE";

/// The command that runs the test `name` on the state directory at `state`.
pub(crate) fn command(name: &str, state: &Path) -> Result<Command> {
    let mut command = Command::new(std::env::current_exe()?);
    command.args(["--exact", name, "--ignored", "--nocapture", "--quiet"]).env(STATE, state);
    Ok(command)
}

/// The state directory that this process was given.
pub(crate) fn state() -> Result<PathBuf> {
    std::env::var_os(STATE).map(PathBuf::from).with_context(|| format!("`{STATE}` is not set"))
}

#[test]
#[ignore = "a process that other tests start"]
fn write_without_end() -> Result<()> {
    let dir = StateDir::open(&state()?)?;
    let (mut journal, notes) = Journal::open(&dir, Lock::acquire(&dir)?)?;
    assert_eq!(notes, Vec::<String>::new());
    write(&mut journal, usize::MAX, &mut std::io::stdout().lock())
}

/// Runs that end by themselves, one after the other.
#[test]
#[ignore = "a process that other tests start"]
fn run_without_end() -> Result<()> {
    let dir = StateDir::open(&state()?)?;
    loop {
        let (mut journal, notes) = Journal::open(&dir, Lock::acquire(&dir)?)?;
        assert_eq!(notes, Vec::<String>::new());
        write(&mut journal, 60, &mut std::io::stdout().lock())?;
        journal.commit(vec![EventKind::RunFinished { code: 0 }])?;
        journal.close()?;
    }
}

/// Changes 50 nodes again and again, two transitions at a time, and says which of them are acknowledged, as
/// `ack RUN SEQ`. Ends after so many commits, or with the error that ends it.
pub(crate) fn write(journal: &mut Journal, commits: usize, out: &mut impl Write) -> Result<()> {
    let mut running = None;
    let run = journal.begin_run("endless", "none", nodes(50))?.run;
    for number in (0..50).cycle().take(commits) {
        let (previous, next) = (running.replace(node(number)), node(number));
        let attempt = journal.node(&next).map_or(0, |record| record.attempts) + 1;
        let mut kinds: Vec<_> = previous.iter().map(|node| finished(node, Outcome::Changed)).collect();
        kinds.push(started(&next, attempt));
        for event in journal.commit(kinds)? {
            writeln!(out, "ack {run} {}", event.seq)?;
        }
    }
    Ok(())
}
