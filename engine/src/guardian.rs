//! The guardian: sees to it that no process of a run outlives it, even if the run is killed.
//!
//! Every process started for a run carries a mark in its environment (but for daemons, which are meant to stay). The
//! guardian is a process in a session of its own that waits for the run to end; if the run has not said goodbye before,
//! it kills whatever carries the mark. What escapes it all the same, the next run sweeps away, once the guardian of the one
//! before is done. It does not know steps.

use crate::{Environment, Interrupt, MARK};
use anyhow::{Context, Result, bail};
use drover_state::StateDir;
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use std::ffi::OsString;
use std::fs::{File, TryLockError};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
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
/// What a run says that needs no guardian any more.
const GOODBYE: &[u8] = b"goodbye";

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

/// The mark of this process's run.
pub(crate) fn mark(family: &str) -> String {
    format!("{family}.{}", std::process::id())
}

/// Kills what earlier runs of the family left behind. The caller holds the state's lock: all of them are dead.
pub(crate) fn sweep(family: &str) -> Result<Vec<Leftover>> {
    let prefix = format!("{family}.");
    let is_ours = |mark: &str| mark.starts_with(&prefix);
    let mut killed = kill_marked(&is_ours)?;
    if !killed.is_empty() {
        killed.extend(kill_all(&is_ours)?);
    }
    await_gone(&killed);
    Ok(killed)
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
    mark: String,
}

impl Guardian {
    /// Starts it: this very program with `arguments` and the mark, which must lead it to [`watch`]. What it holds of its
    /// watch is its standard output, which ends with it and to which it has nothing to say.
    pub(crate) fn start(arguments: &[OsString], mark: &str, Watch(directory): Watch) -> Result<Self> {
        let mut process = Command::new("/proc/self/exe");
        Environment::default().give(&mut process, &[]);
        let process = process
            .arg0(std::env::args_os().next().unwrap_or_else(|| "drover".into()))
            .args(arguments)
            .arg(mark)
            .current_dir("/")
            .stdin(Stdio::piped())
            .stdout(directory.map_or_else(Stdio::null, Stdio::from))
            .stderr(Stdio::null())
            .spawn();
        let process = process.context("cannot start the guardian of the run's processes")?;
        Ok(Self { process, mark: mark.to_owned() })
    }

    /// Sends it away: the run has ended, and its processes with it.
    pub(crate) fn dismiss(mut self) -> Result<()> {
        match self.process.stdin.take().map(|mut pipe| pipe.write_all(GOODBYE)) {
            // Somebody has killed it. The run has done without.
            Some(Err(error)) if error.kind() == ErrorKind::BrokenPipe => {}
            said => said.unwrap_or(Ok(())).context("cannot send the guardian away")?,
        }
        self.process.wait().context("cannot wait for the guardian")?;
        Ok(())
    }

    /// Lets it kill whatever still carries the mark, and sees to that itself if it cannot.
    pub(crate) fn avenge(mut self) -> Result<()> {
        let status = self.process.wait().context("cannot wait for the guardian")?;
        if !status.success() {
            kill_all(&|other| other == self.mark)?;
        }
        Ok(())
    }
}

/// Is the guardian of the run with this mark: waits until standard input ends, and kills what carries the mark unless the
/// run said goodbye.
///
/// # Errors
/// When it can be no guardian, or somebody with the mark cannot be killed.
pub fn watch(mark: &str) -> Result<()> {
    // Of its own session, so that no signal from the terminal reaches it.
    rustix::process::setsid().context("cannot leave the session")?;
    let mut said = Vec::new();
    std::io::stdin().read_to_end(&mut said).context("cannot wait for the end of the run")?;
    if said != GOODBYE {
        await_gone(&kill_all(&|other| other == mark)?);
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
    killed.sort_by_key(|leftover| leftover.pid);
    killed.dedup();
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
    for entry in std::fs::read_dir("/proc").context("cannot see which processes there are")? {
        let entry = entry.context("cannot see which processes there are")?;
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else {
            continue;
        };
        if pid != std::process::id()
            && let Some(command) = kill_if_marked(&entry.path(), pid, is_ours)?
        {
            killed.push(Leftover { pid, command });
        }
    }
    Ok(killed)
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
    fn a_sweep_kills_its_family_and_nobody_else() -> Result<()> {
        let family = format!("test-{}", std::process::id());
        let mut ours = leave_behind(&format!("{family}.1"))?;
        let mut other = leave_behind(&format!("{family}0.1"))?;
        let killed = sweep(&family)?;
        assert!(killed.iter().any(|leftover| leftover.pid == ours.id()), "{killed:?}");
        assert!(killed.iter().any(|leftover| leftover.command.ends_with("sleep 1000")), "{killed:?}");
        assert!(!ours.wait()?.success());
        assert!(other.try_wait()?.is_none(), "another family's process was killed");
        assert!(sweep(&family)?.is_empty());
        assert!(!sweep(&format!("{family}0"))?.is_empty());
        other.wait()?;
        Ok(())
    }

    #[test]
    fn a_sweep_waits_until_the_numbers_of_the_killed_are_free() -> Result<()> {
        let family = format!("slow-{}", std::process::id());
        let mut child = leave_behind(&format!("{family}.1"))?;
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
            sweep(&family)?;
            assert!(!number.exists(), "its parent has not asked for it yet");
            assert!(!parent.join().expect("no panic")?.success());
            Ok(())
        })
    }
}
