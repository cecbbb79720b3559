//! The log of one attempt at a step, and the logs of its tools that are kept beside it.
//!
//! It does not know what is in them.

use crate::Attempt;
use anyhow::{Result, bail, ensure};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use std::fs::{DirBuilder, File};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

/// The log of one attempt. The file is made when its first text is written. Of an attempt that has none, nothing is kept.
///
/// That it cannot be written, as on a full disk, is said once and stops nothing: the step and its programs go on.
pub(crate) struct AttemptLog {
    attempt: Arc<dyn Attempt>,
    file: Mutex<Target>,
}

#[derive(Default)]
struct Target {
    file: Option<File>,
    /// Whether something could not be written, and it has not been said in the log yet that it is missing.
    gap: bool,
    /// Whether it was said that something could not be written.
    told: bool,
}

impl AttemptLog {
    /// The attempt's log. Touches nothing.
    pub(crate) fn new(attempt: Arc<dyn Attempt>) -> Self {
        Self { attempt, file: Mutex::default() }
    }

    /// Adds to it.
    pub(crate) fn write(&self, text: &str) {
        let Some(path) = self.attempt.log() else { return };
        // A writer that panicked left nothing worse than a line cut short.
        let mut target = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        let Err(error) = target.write(&path, text) else { return };
        target.gap = true;
        if !std::mem::replace(&mut target.told, true) {
            self.lament(&format!("the log `{}` cannot be written, output is lost: {error}", path.display()));
        }
    }

    /// Copies a tool's own log beside this one: `fetch.3.log` has `fetch.3-debootstrap.log`. Absent is fine.
    pub(crate) fn keep(&self, log: &Path) {
        if let Err(error) = self.try_to_keep(log) {
            self.lament(&format!("the log `{}` is not kept: {error:#}", log.display()));
        }
    }

    fn try_to_keep(&self, log: &Path) -> Result<()> {
        let Some(path) = self.attempt.log() else { return Ok(()) };
        let (Some(name), Some(own)) = (log.file_name(), path.file_stem()) else { bail!("it has no name") };
        let mut kept = own.to_owned();
        kept.push("-");
        kept.push(name);
        copy(log, &path.with_file_name(kept))
    }

    /// Says what is lost where it will be seen.
    fn lament(&self, text: &str) {
        self.attempt.line(text);
        self.attempt.remark(text);
    }
}

impl Target {
    fn write(&mut self, path: &Path, text: &str) -> io::Result<()> {
        if self.file.is_none() {
            self.file = Some(open(path)?);
        }
        let Some(file) = &mut self.file else { return Ok(()) };
        if self.gap {
            file.write_all(b"\n# output is missing here\n")?;
            self.gap = false;
        }
        file.write_all(text.as_bytes())
    }
}

fn open(path: &Path) -> io::Result<File> {
    let open = || File::options().create(true).append(true).mode(0o600).open(path);
    match (open(), path.parent()) {
        (Err(error), Some(dir)) if error.kind() == ErrorKind::NotFound => {
            make(dir)?;
            open()
        }
        (opened, _) => opened,
    }
}

/// What commands write may be nobody else's to read, whatever the umask.
fn make(dir: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(dir)
}

/// Copies a file that somebody else wrote: it may be no file at all, and must not make us wait.
fn copy(from: &Path, to: &Path) -> Result<()> {
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mut from = match rustix::fs::open(from, flags, Mode::empty()) {
        Ok(fd) => File::from(fd),
        Err(Errno::NOENT) => return Ok(()),
        Err(errno) => return Err(errno.into()),
    };
    ensure!(from.metadata()?.is_file(), "it is no regular file");
    if let Some(dir) = to.parent() {
        make(dir)?;
    }
    let mut to = File::options().create(true).truncate(true).write(true).mode(0o600).open(to)?;
    io::copy(&mut from, &mut to)?;
    Ok(())
}
