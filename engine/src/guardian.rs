//! The guardian: sees to it that no process of a run outlives it, even if the run is killed.
//!
//! Every process started for a run carries the mark of its attempt in its environment (but for daemons, which are meant to
//! stay). The guardian is a process in a session of its own that waits for the run to end. The run tells it which attempts
//! have processes, and which of them have ended by themselves; what the others started it kills when the run is gone. So
//! what a command leaves running on purpose stays, whatever becomes of the run after it. What escapes the guardian all
//! the same, the next run sweeps away, once the guardian of the one before is done. It does not know steps.

use crate::mark::{Live, Mark, of_attempt, of_checks};
use crate::{Environment, Interrupt, MARK};
use anyhow::{Context, Result, bail};
use drover_state::{EventKind, EventReader, StateDir};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::fs::{File, TryLockError};
use std::io::{BufRead, ErrorKind};
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// How long it may take until all that carry the mark are gone.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long the parent of one that was killed may take to ask how it ended.
const REAPED: Duration = Duration::from_secs(1);
/// How long the guardian of an earlier run may take: longer than its patience.
const RELIEF: Duration = Duration::from_secs(20);
/// How long after finding nobody it looks again: a process may just have been started by one that was killed.
const PAUSE: Duration = Duration::from_millis(20);
/// What a run writes before the mark of an attempt that now has processes.
pub(crate) const BEGUN: char = '+';
/// What it writes before the mark of one that has ended by itself.
pub(crate) const ENDED: char = '-';

/// A process that an earlier run left behind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leftover {
    /// Its number.
    pub pid: u32,
    /// Its command line.
    pub command: String,
}

/// What the marks of all runs of a state directory begin with: whatever the directory is called, it is the same one.
///
/// # Errors
/// When the directory cannot be looked at.
pub(crate) fn family(state: &StateDir) -> Result<String> {
    let path = state.path();
    let metadata = path.metadata().with_context(|| format!("cannot look at state `{}`", path.display()))?;
    Ok(format!("{}-{}", metadata.dev(), metadata.ino()))
}

/// What the marks of a run begin with, by the id of its process.
pub(crate) fn of_run(family: &str, pid: u32) -> String {
    format!("{family}.{pid}")
}

/// Kills what the last run of the state directory left behind, which did not end by itself. The caller holds the state's lock:
/// it is dead.
pub(crate) fn sweep(state: &StateDir) -> Result<Vec<Leftover>> {
    let marks = unfinished(state)?;
    let is_ours = |mark: &str| marks.contains(mark);
    let mut killed = kill_marked(&is_ours)?;
    if !killed.is_empty() {
        // Who was killed a moment ago may be met once more.
        killed.extend(kill_all(&is_ours)?);
        killed.sort_by_key(|leftover| leftover.pid);
        killed.dedup_by_key(|leftover| leftover.pid);
    }
    await_gone(&killed);
    Ok(killed)
}

/// The processes that the next run would sweep away: what attempts started that were killed with the last run. Nothing, where
/// that ended by itself. Of somebody else's processes nothing can be seen. No run may be on. What happened in the last tenth of
/// a second before the kill may stand in the journal alone, which is not asked.
///
/// # Errors
/// When it cannot be found out which they are.
pub fn leftovers(state: &StateDir) -> Result<Vec<Leftover>> {
    let marks = unfinished(state)?;
    if marks.is_empty() {
        return Ok(Vec::new());
    }
    let mut found = Vec::new();
    for (pid, proc) in processes()? {
        if mark_of(&proc)?.is_some_and(|mark| marks.contains(&mark)) {
            found.push(Leftover { pid, command: command(&proc) });
        }
    }
    Ok(found)
}

/// The marks of what was begun in the last run and has not ended; none, if the run has ended by itself.
fn unfinished(state: &StateDir) -> Result<BTreeSet<String>> {
    let (mut run, mut attempts) = (None, BTreeMap::new());
    let Some(last) = state.runs()?.last().copied() else { return Ok(BTreeSet::new()) };
    for event in EventReader::new(state, last).read()? {
        match event.kind {
            EventKind::RunStarted { pid, .. } => run = Some(of_run(&family(state)?, pid)),
            EventKind::Started { node, attempt, .. } => drop(attempts.insert(node, attempt)),
            EventKind::Finished { node, .. } => drop(attempts.remove(&node)),
            EventKind::RunFinished { .. } => return Ok(BTreeSet::new()),
            _ => {}
        }
    }
    let Some(run) = run else { return Ok(BTreeSet::new()) };
    let attempts = attempts.iter().map(|(node, attempt)| of_attempt(&run, node, *attempt));
    Ok(attempts.chain([of_checks(&run)]).collect())
}

/// The right to guard the runs of a state directory. A guardian holds it for as long as it lives, so that the next run
/// does not begin beside those that are just being killed.
///
/// A run that is interrupted while it waits for it goes without: it starts nothing.
#[derive(Debug)]
pub(crate) struct Watch(Option<File>);

impl Watch {
    /// Takes it, once the guardian of the run before has done its work.
    ///
    /// # Errors
    /// When that takes too long, or the state directory cannot be locked.
    pub(crate) fn take(state: &StateDir, interrupt: &Interrupt) -> Result<Self> {
        let path = state.path().display();
        let directory = File::open(state.path()).with_context(|| format!("cannot open state `{path}`"))?;
        let until = Instant::now() + RELIEF;
        loop {
            match directory.try_lock() {
                Ok(()) => return Ok(Self(Some(directory))),
                Err(TryLockError::WouldBlock) if interrupt.level() > 0 => return Ok(Self(None)),
                Err(TryLockError::WouldBlock) if Instant::now() < until => std::thread::sleep(PAUSE),
                Err(TryLockError::WouldBlock) => bail!(
                    "processes of an earlier run are still being killed after {} s; `fuser -v {path}` shows who sees to \
                     that",
                    RELIEF.as_secs()
                ),
                Err(TryLockError::Error(error)) => {
                    return Err(error).with_context(|| format!("cannot lock state `{path}`"));
                }
            }
        }
    }
}

/// The guardian of this process's run.
#[derive(Debug)]
pub(crate) struct Guardian {
    process: Child,
    live: Live,
}

impl Guardian {
    /// Starts it: this very program with `arguments` and what the run's marks begin with, which must lead it to [`watch`]. What
    /// it holds of its watch is its standard output, which ends with it and to which it has nothing to say.
    pub(crate) fn start(arguments: &[OsString], run: &str, Watch(directory): Watch) -> Result<Self> {
        let mut process = Command::new("/proc/self/exe");
        Environment::default().give(&mut process, &[]);
        let process = process
            .arg0(std::env::args_os().next().unwrap_or_else(|| "drover".into()))
            .args(arguments)
            .arg(run)
            .current_dir("/")
            .stdin(Stdio::piped())
            .stdout(directory.map_or_else(Stdio::null, Stdio::from))
            .stderr(Stdio::null())
            .spawn();
        let mut process = process.context("cannot start the guardian of the run's processes")?;
        let live = Live::told_to(process.stdin.take().context("the guardian has no standard input")?);
        Ok(Self { process, live })
    }

    /// The mark that those of the run's attempts are made of, of which the guardian hears.
    pub(crate) fn mark(&self, run: &str) -> Mark {
        Mark::of_run(run, self.live.clone())
    }

    /// Has it kill what attempts left that were made to end, and sends it away. The run sees to that itself if the guardian
    /// cannot.
    pub(crate) fn end(mut self) -> Result<()> {
        let left = self.live.close();
        let status = self.process.wait().context("cannot wait for the guardian")?;
        if !status.success() && !left.is_empty() {
            await_gone(&kill_all(&|other| left.contains(other))?);
        }
        Ok(())
    }
}

/// Is the guardian of a run, whose marks begin with `run`: hears on standard input which attempts have processes, and when that
/// ends, kills what those started that have not ended by themselves.
///
/// # Errors
/// When it can be no guardian, or somebody with such a mark cannot be killed.
pub fn watch(run: &str) -> Result<()> {
    // Of its own session, so that no signal from the terminal reaches it.
    rustix::process::setsid().context("cannot leave the session")?;
    let mut live = BTreeSet::new();
    for line in std::io::stdin().lock().lines() {
        let line = line.context("cannot wait for the end of the run")?;
        match line.strip_prefix(BEGUN) {
            Some(mark) if mark.starts_with(run) => drop(live.insert(mark.to_owned())),
            _ => drop(line.strip_prefix(ENDED).map(|mark| live.remove(mark))),
        }
    }
    if !live.is_empty() {
        await_gone(&kill_all(&|other| live.contains(other))?);
    }
    Ok(())
}

/// Kills until twice in a row nobody was found.
fn kill_all(is_ours: &dyn Fn(&str) -> bool) -> Result<Vec<Leftover>> {
    let until = Instant::now() + PATIENCE;
    let (mut killed, mut quiet) = (Vec::new(), 0);
    while quiet < 2 {
        let found = kill_marked(is_ours)?;
        quiet = if found.is_empty() { quiet + 1 } else { 0 };
        killed.extend(found);
        if Instant::now() > until {
            bail!("processes of a run are still there after {} s of killing them", PATIENCE.as_secs());
        }
        std::thread::sleep(PAUSE);
    }
    Ok(killed)
}

/// Waits until the numbers of those that were killed are free. Who has ended keeps its number until its parent has asked
/// how, and `useradd`, for one, takes a lock that names such a number to be held. A parent that never asks, as process 1 of
/// many an application's container, is not waited for.
fn await_gone(killed: &[Leftover]) {
    let until = Instant::now() + REAPED;
    let is_there = |leftover: &Leftover| Path::new("/proc").join(leftover.pid.to_string()).exists();
    while killed.iter().any(is_there) && Instant::now() < until {
        std::thread::sleep(PAUSE);
    }
}

/// Kills everybody who carries such a mark now.
fn kill_marked(is_ours: &dyn Fn(&str) -> bool) -> Result<Vec<Leftover>> {
    let mut killed = Vec::new();
    for (pid, proc) in processes()? {
        if let Some(command) = kill_if_marked(&proc, pid, is_ours)? {
            killed.push(Leftover { pid, command });
        }
    }
    Ok(killed)
}

/// All processes but this one, each with its directory in `/proc`.
fn processes() -> Result<Vec<(u32, PathBuf)>> {
    let mut processes = Vec::new();
    for entry in std::fs::read_dir("/proc").context("cannot see which processes there are")? {
        let entry = entry.context("cannot see which processes there are")?;
        let pid = entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok());
        processes.extend(pid.filter(|pid| *pid != std::process::id()).map(|pid| (pid, entry.path())));
    }
    Ok(processes)
}

/// The process is held before it is looked at again, so that it cannot be another one when the signal comes. Returns its
/// command line, which it has no more once it is dead; `None` if it was not to be killed, or has ended by itself.
fn kill_if_marked(proc: &Path, pid: u32, is_ours: &dyn Fn(&str) -> bool) -> Result<Option<String>> {
    let is_marked = || anyhow::Ok(mark_of(proc)?.is_some_and(|mark| is_ours(&mark)));
    if !is_marked()? {
        return Ok(None);
    }
    let Some(number) = i32::try_from(pid).ok().and_then(Pid::from_raw) else { return Ok(None) };
    let held = match pidfd_open(number, PidfdFlags::empty()) {
        Ok(held) => held,
        Err(Errno::SRCH) => return Ok(None),
        Err(errno) => return Err(errno).with_context(|| format!("cannot get hold of process {pid}")),
    };
    if !is_marked()? {
        return Ok(None);
    }
    let command = command(proc);
    match pidfd_send_signal(held, Signal::KILL) {
        Ok(()) => Ok(Some(command)),
        Err(Errno::SRCH) => Ok(None),
        Err(errno) => Err(errno).with_context(|| format!("cannot kill process {pid}")),
    }
}

/// The mark that a process carries, if it carries one, still exists, and is not somebody else's.
fn mark_of(proc: &Path) -> Result<Option<String>> {
    let environment = match std::fs::read(proc.join("environ")) {
        Ok(environment) => environment,
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::PermissionDenied) => {
            return Ok(None);
        }
        Err(error) if error.raw_os_error() == Some(Errno::SRCH.raw_os_error()) => return Ok(None),
        Err(error) => return Err(error).with_context(|| format!("cannot read `{}/environ`", proc.display())),
    };
    let mut marks = environment.split(|byte| *byte == 0).filter_map(|variable| {
        let value = variable.strip_prefix(MARK.as_bytes())?.strip_prefix(b"=")?;
        Some(String::from_utf8_lossy(value).into_owned())
    });
    Ok(marks.next())
}

/// The command line of a process, for display; of one that is gone already, nothing.
fn command(proc: &Path) -> String {
    let line = std::fs::read(proc.join("cmdline")).unwrap_or_default();
    String::from_utf8_lossy(&line).replace('\0', " ").trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;

    /// A shell with a child in a session of its own, both marked, as a daemon that forgot to drop the mark would be.
    fn leave_behind(mark: &str) -> Result<Child> {
        // A process in the middle of its exec has no command line.
        let script =
            "setsid sleep 1000 & until grep -q ^sleep /proc/$!/cmdline; do :; done; echo started; wait";
        let mut shell =
            Command::new("sh").args(["-c", script]).env(MARK, mark).stdout(Stdio::piped()).spawn()?;
        let mut started = [0; 8];
        shell.stdout.as_mut().context("piped")?.read_exact(&mut started)?;
        Ok(shell)
    }

    #[test]
    fn those_with_a_mark_are_killed_and_nobody_else() -> Result<()> {
        let family = format!("test-{}", std::process::id());
        let mark = of_attempt(&of_run(&family, 1), &"host/a".into(), 1);
        let mut ours = leave_behind(&mark)?;
        let mut other = leave_behind(&format!("{mark}0"))?;
        let killed = kill_all(&|found| found == mark)?;
        assert!(killed.iter().any(|leftover| leftover.pid == ours.id()), "{killed:?}");
        assert!(killed.iter().any(|leftover| leftover.command.ends_with("sleep 1000")), "{killed:?}");
        assert!(!ours.wait()?.success());
        assert!(other.try_wait()?.is_none(), "another attempt's process was killed");
        assert!(kill_all(&|found| found == mark)?.is_empty());
        assert!(!kill_all(&|found| found == format!("{mark}0"))?.is_empty());
        other.wait()?;
        Ok(())
    }

    #[test]
    fn the_numbers_of_the_killed_are_waited_for() -> Result<()> {
        let mark = format!("slow-{}", std::process::id());
        let mut child = leave_behind(&mark)?;
        let number = Path::new("/proc").join(child.id().to_string());
        let stat = number.join("stat");
        std::thread::scope(|scope| {
            let parent = scope.spawn(|| {
                while std::fs::read_to_string(&stat).is_ok_and(|stat| !stat.contains(") Z ")) {
                    std::thread::sleep(PAUSE);
                }
                std::thread::sleep(5 * PAUSE);
                child.wait()
            });
            await_gone(&kill_all(&|found| found == mark)?);
            assert!(!number.exists(), "its parent has not asked for it yet");
            assert!(!parent.join().expect("no panic")?.success());
            Ok(())
        })
    }
}
