//! The log of one attempt at a step, and the logs of its tools that are kept beside it.
//!
//! It does not know what is in them.

use crate::Attempt;
use anyhow::{Context, Result, bail, ensure};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use std::fs::File;
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

/// The log of one attempt. The file is made when its first text is written. Of an attempt that has none, nothing is kept.
pub(crate) struct AttemptLog {
    attempt: Arc<dyn Attempt>,
    file: Mutex<Option<(File, PathBuf)>>,
}

impl AttemptLog {
    /// The attempt's log. Touches nothing.
    pub(crate) fn new(attempt: Arc<dyn Attempt>) -> Self {
        Self { attempt, file: Mutex::new(None) }
    }

    /// Adds to it.
    pub(crate) fn write(&self, text: &str) -> Result<()> {
        // A writer that panicked left nothing worse than a line cut short.
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        if file.is_none() {
            let Some(path) = self.attempt.log() else { return Ok(()) };
            let opened = open(&path).with_context(|| format!("open the log `{}`", path.display()))?;
            *file = Some((opened, path));
        }
        let Some((file, path)) = &mut *file else { return Ok(()) };
        file.write_all(text.as_bytes()).with_context(|| format!("write the log `{}`", path.display()))
    }

    /// Copies a tool's own log beside this one: `fetch.3.log` has `fetch.3-debootstrap.log`. Absent is fine.
    pub(crate) fn keep(&self, log: &Path) -> Result<()> {
        let Some(path) = self.attempt.log() else { return Ok(()) };
        let (Some(name), Some(own)) = (log.file_name(), path.file_stem()) else {
            bail!("keep the log `{}`: it has no name", log.display());
        };
        let mut kept = own.to_owned();
        kept.push("-");
        kept.push(name);
        copy(log, &path.with_file_name(kept)).with_context(|| format!("keep the log `{}`", log.display()))
    }
}

fn open(path: &Path) -> io::Result<File> {
    let open = || File::options().create(true).append(true).open(path);
    match (open(), path.parent()) {
        (Err(error), Some(dir)) if error.kind() == ErrorKind::NotFound => {
            std::fs::create_dir_all(dir)?;
            open()
        }
        (opened, _) => opened,
    }
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
        std::fs::create_dir_all(dir)?;
    }
    io::copy(&mut from, &mut File::create(to)?)?;
    Ok(())
}
