//! A process of the host, told apart from a later one that happens to get the same id.

use anyhow::{Context, Result, bail};
use drover_engine::Cx;
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use std::fmt;
use std::io::ErrorKind;
use std::path::Path;
use std::time::Duration;

/// A running process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Process {
    /// Its id.
    pub(super) id: u32,
    /// When it was started, in clock ticks since the machine was.
    started: u64,
}

impl Process {
    /// The process that `file` holds the id of, if it runs and its program is called `name`.
    pub(super) fn of_pid_file(file: &Path, name: &str) -> Result<Option<Self>> {
        let Some(text) = read(file)? else { return Ok(None) };
        let Ok(id) = text.trim().parse() else { return Ok(None) };
        let Some(stat) = read(Path::new(&format!("/proc/{id}/stat")))? else { return Ok(None) };
        Ok(parse(&stat).filter(|(program, ..)| *program == name).map(|(_, started)| Self { id, started }))
    }

    /// Sends it this signal, and waits for its end.
    pub(super) fn end(self, cx: &Cx, signal: Signal) -> Result<()> {
        let id = i32::try_from(self.id).ok().and_then(Pid::from_raw).context("no process has such an id")?;
        // A handle on the very process: once it is known to be the one that is meant, no later one can be hit.
        let handle = match pidfd_open(id, PidfdFlags::empty()) {
            Err(Errno::SRCH) => return Ok(()),
            handle => handle.with_context(|| format!("cannot get hold of {self}"))?,
        };
        for attempt in 0..200 {
            if !self.runs()? {
                return Ok(());
            }
            if attempt == 0 {
                pidfd_send_signal(&handle, signal).with_context(|| format!("cannot end {self}"))?;
            }
            cx.sleep(Duration::from_millis(100))?;
        }
        bail!("{self} does not end: `kill -9 {}`", self.id)
    }

    fn runs(self) -> Result<bool> {
        let stat = read(Path::new(&format!("/proc/{}/stat", self.id)))?;
        Ok(stat.as_deref().and_then(parse).is_some_and(|(_, started)| started == self.started))
    }
}

impl fmt::Display for Process {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "process {} started at {}", self.id, self.started)
    }
}

/// The program's name and the start time in a line of `/proc/ID/stat`. Zombies do not run.
fn parse(stat: &str) -> Option<(&str, u64)> {
    let (head, tail) = stat.rsplit_once(')')?;
    let (_, program) = head.split_once('(')?;
    let mut fields = tail.split_whitespace();
    if fields.next()? == "Z" {
        return None;
    }
    // The start time is field 22; the state, field 3, is gone already.
    Some((program, fields.nth(18)?.parse().ok()?))
}

/// The text of `file`; `None` if it, or the process that it tells of, is not there.
fn read(file: &Path) -> Result<Option<String>> {
    match std::fs::read_to_string(file) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) if error.raw_os_error() == Some(Errno::SRCH.raw_os_error()) => Ok(None),
        Err(error) => Err(error).with_context(|| format!("cannot read `{}`", file.display())),
    }
}

#[cfg(test)]
mod tests {
    use super::{Process, parse};
    use std::path::Path;

    #[test]
    fn a_name_may_hold_brackets_and_blanks() {
        let stat = "7 (a) b) S 1 7 7 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 12345 99";
        assert_eq!(parse(stat), Some(("a) b", 12345)));
        assert_eq!(parse(&stat.replace(") S", ") Z")), None);
    }

    #[test]
    fn the_process_of_a_pid_file_is_found_by_id_and_name() -> anyhow::Result<()> {
        let file = tempfile::NamedTempFile::new()?;
        let id = std::process::id();
        std::fs::write(&file, format!("{id}\n"))?;
        let name = std::fs::read_to_string("/proc/self/comm")?;
        let found = Process::of_pid_file(file.path(), name.trim())?;
        assert_eq!(found.map(|process| process.id), Some(id));
        assert_eq!(Process::of_pid_file(file.path(), "somebody-else")?, None);
        assert_eq!(Process::of_pid_file(Path::new("/no/such/file"), "x")?, None);
        Ok(())
    }
}
