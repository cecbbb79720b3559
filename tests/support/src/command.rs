//! Commands in a throw-away host, and what came of them.

use anyhow::{Context, Result, bail};
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// A command that has ended.
#[derive(Clone, Debug)]
pub struct Finished {
    /// As it was given.
    pub command: String,
    /// How it ended.
    pub status: ExitStatus,
    /// Its standard output.
    pub stdout: String,
    /// Its standard error.
    pub stderr: String,
    /// How long it took.
    pub elapsed: Duration,
}

impl Finished {
    /// Its exit code; `None` if a signal ended it.
    pub fn code(&self) -> Option<i32> {
        self.status.code()
    }

    /// Whether SIGKILL ended it; what entered the host for it dies of the same signal, or exits as a shell would.
    pub fn was_killed(&self) -> bool {
        self.status.signal() == Some(9) || self.code() == Some(128 + 9)
    }

    /// Itself, if it ended with success.
    ///
    /// # Errors
    /// When it did not: its command, status and all its output.
    pub fn ok(self) -> Result<Self> {
        self.exits(0)
    }

    /// Itself, if it ended with this exit code.
    ///
    /// # Errors
    /// When it did not: its command, status and all its output.
    pub fn exits(self, code: i32) -> Result<Self> {
        if self.code() == Some(code) {
            return Ok(self);
        }
        let Self { command, status, stdout, stderr, .. } = self;
        bail!("`{command}` ended with {status}, not {code}\n--- stdout\n{stdout}\n--- stderr\n{stderr}")
    }
}

/// A command that runs.
///
/// Its output goes to files, not pipes: a daemon that it leaves behind may hold them for ever.
#[derive(Debug)]
pub struct Running {
    command: String,
    started: Instant,
    child: Child,
    stdout: File,
    stderr: File,
}

impl Running {
    /// Starts `command`, called `name` in messages.
    pub(crate) fn start(mut command: Command, name: String) -> Result<Self> {
        let (stdout, stderr) = (tempfile::tempfile()?, tempfile::tempfile()?);
        command.stdin(Stdio::null()).stdout(stdout.try_clone()?).stderr(stderr.try_clone()?);
        let child = command.spawn().with_context(|| format!("`{name}` cannot be started"))?;
        Ok(Self { command: name, started: Instant::now(), child, stdout, stderr })
    }

    /// Whether it still runs.
    ///
    /// # Errors
    /// When that cannot be found out.
    pub fn is_running(&mut self) -> Result<bool> {
        Ok(self.child.try_wait()?.is_none())
    }

    /// What it has written to its standard output so far.
    ///
    /// # Errors
    /// When that cannot be read.
    pub fn stdout(&self) -> Result<String> {
        text(&self.stdout)
    }

    /// What it has written to its standard error so far.
    ///
    /// # Errors
    /// When that cannot be read.
    pub fn stderr(&self) -> Result<String> {
        text(&self.stderr)
    }

    /// Waits for its end, and shows each line of its standard error as it comes.
    ///
    /// # Errors
    /// When that cannot be waited for.
    pub fn wait_aloud(mut self) -> Result<Finished> {
        let mut shown = 0;
        loop {
            let running = self.is_running()?;
            let text = self.stderr()?;
            let end = if running { text.rfind('\n').map_or(0, |end| end + 1) } else { text.len() };
            for line in text.get(shown..end).unwrap_or_default().lines() {
                println!("    {line}");
            }
            shown = end.max(shown);
            if !running {
                return self.wait();
            }
            std::thread::sleep(Duration::from_millis(200));
        }
    }

    /// Waits for its end.
    ///
    /// # Errors
    /// When that cannot be waited for.
    pub fn wait(mut self) -> Result<Finished> {
        let status = self.child.wait()?;
        let elapsed = self.started.elapsed();
        let (stdout, stderr) = (text(&self.stdout)?, text(&self.stderr)?);
        Ok(Finished { command: self.command, status, stdout, stderr, elapsed })
    }
}

/// All of a file, without moving the place that its writer writes at.
fn text(file: &File) -> Result<String> {
    let mut bytes = vec![0; usize::try_from(file.metadata()?.len())?];
    file.read_exact_at(&mut bytes, 0)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}
