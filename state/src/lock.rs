//! One run per state directory: a lock that says who holds it and dies with its holder.
//!
//! It knows nothing of the journal; the journal wants one to be opened.

use crate::{RunId, StateDir};
use anyhow::{Context, Result};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::fs::{File, OpenOptions, TryLockError};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Who holds a state directory.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holder {
    /// The process.
    pub pid: u32,
    /// Its command line.
    pub command: String,
    /// Whose process it is.
    pub user: String,
    /// The name of the host that it runs on.
    pub host: String,
    /// Since when.
    pub since: Timestamp,
    /// The run, once it has begun.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run: Option<RunId>,
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { pid, command, user, host, since, .. } = self;
        let since = since.strftime("%Y-%m-%d %H:%M:%S UTC");
        write!(f, "process {pid} (`{command}`) of {user} on {host} since {since}")
    }
}

/// The state directory is held by another run. Found with `error.downcast_ref::<Held>()`.
#[derive(Clone, Debug)]
pub struct Held {
    /// The state directory.
    pub state: PathBuf,
    /// By whom; `None` if it has not said so yet.
    pub holder: Option<Holder>,
}

impl fmt::Display for Held {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.state.display();
        match &self.holder {
            Some(holder) => write!(
                f,
                "state `{state}` is held by {holder}; wait for it, interrupt it with `kill -INT {}`, or give another \
                 directory with `--state DIR`",
                holder.pid
            ),
            None => {
                write!(f, "state `{state}` is held by another run that has not said who it is; try again")
            }
        }
    }
}

impl std::error::Error for Held {}

/// The right to run in a state directory. The kernel takes it back when the process ends, however it ends.
#[derive(Debug)]
pub struct Lock {
    file: File,
    holder: Holder,
}

impl Lock {
    /// Takes the lock.
    ///
    /// # Errors
    /// [`Held`] when another run has it; others when the lock file cannot be written.
    pub fn acquire(dir: &StateDir) -> Result<Self> {
        let path = dir.lock();
        let file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .read(true)
            .write(true)
            .mode(0o600)
            .open(&path)
            .with_context(|| format!("lock `{}` cannot be opened", path.display()))?;
        if !try_for_a_while(&file).with_context(|| format!("lock `{}` cannot be taken", path.display()))? {
            return Err(Held { state: dir.path().to_owned(), holder: read_for_a_while(&path).ok() }.into());
        }
        let lock = Self { file, holder: Holder::this_process() };
        lock.write()?;
        Ok(lock)
    }

    /// Says which run it is held for.
    ///
    /// # Errors
    /// When the lock file cannot be written.
    pub(crate) fn name_run(&mut self, run: RunId) -> Result<()> {
        self.holder.run = Some(run);
        self.write()
    }

    fn write(&self) -> Result<()> {
        let text = serde_json::to_vec(&self.holder)?;
        let write = || {
            self.file.write_all_at(&text, 0)?;
            self.file.set_len(text.len() as u64)
        };
        write().context("lock cannot be written")
    }
}

/// Who holds the state directory now; `None` if nobody does.
///
/// # Errors
/// When the lock cannot be read.
pub fn holder(dir: &StateDir) -> Result<Option<Holder>> {
    let path = dir.lock();
    let file = match File::open(&path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        file => file.with_context(|| format!("lock `{}` cannot be opened", path.display()))?,
    };
    match file.try_lock_shared() {
        // Nobody has it. Ours goes away with `file`; a run that starts right now tries again after a moment.
        Ok(()) => Ok(None),
        Err(TryLockError::WouldBlock) => read_for_a_while(&path).map(Some),
        Err(TryLockError::Error(error)) => {
            Err(error).with_context(|| format!("lock `{}` cannot be tried", path.display()))
        }
    }
}

/// Whether the lock could be taken. A look at it by `status` takes it for an instant, too, and that may be long on a busy
/// host: it must not count.
fn try_for_a_while(file: &File) -> std::io::Result<bool> {
    for _ in 0..100 {
        match file.try_lock() {
            Ok(()) => return Ok(true),
            Err(TryLockError::WouldBlock) => std::thread::sleep(Duration::from_millis(10)),
            Err(TryLockError::Error(error)) => return Err(error),
        }
    }
    Ok(false)
}

/// What the holder wrote. It may just be writing.
fn read_for_a_while(path: &Path) -> Result<Holder> {
    let read = || anyhow::Ok(serde_json::from_slice(&std::fs::read(path)?)?);
    for _ in 0..20 {
        if let Ok(holder) = read() {
            return Ok(holder);
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    read().with_context(|| format!("lock `{}` is held, but does not say by whom", path.display()))
}

impl Holder {
    fn this_process() -> Self {
        Self {
            pid: std::process::id(),
            command: std::env::args_os()
                .map(|arg| arg.to_string_lossy().into_owned())
                .collect::<Vec<_>>()
                .join(" "),
            user: user_name(),
            host: rustix::system::uname().nodename().to_string_lossy().into_owned(),
            since: Timestamp::now(),
            run: None,
        }
    }
}

/// The name of this process's user, or its number where there is no name.
fn user_name() -> String {
    let uid = rustix::process::getuid().as_raw().to_string();
    let passwd = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    let name = passwd.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)? == uid).then(|| name.to_owned())
    });
    name.unwrap_or(uid)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_second_is_told_who_holds_it() -> Result<()> {
        let scratch = tempfile::tempdir()?;
        let dir = StateDir::open(scratch.path())?;
        assert_eq!(holder(&dir)?, None);
        let mut lock = Lock::acquire(&dir)?;
        lock.name_run(RunId(7))?;
        let error = Lock::acquire(&dir).expect_err("it is held");
        let held = error.downcast_ref::<Held>().expect("the error is typed");
        let by = held.holder.as_ref().expect("the holder has written who it is");
        assert_eq!((by.pid, by.run), (std::process::id(), Some(RunId(7))));
        let text = error.to_string();
        assert!(
            text.contains(&format!("process {}", std::process::id())) && text.contains("since 20"),
            "{text}"
        );
        assert_eq!(holder(&dir)?.as_ref(), Some(by));
        drop(lock);
        assert_eq!(holder(&dir)?, None);
        Lock::acquire(&dir)?;
        Ok(())
    }

    #[test]
    fn a_look_does_not_keep_a_run_from_starting() -> Result<()> {
        let scratch = tempfile::tempdir()?;
        let dir = StateDir::open(scratch.path())?;
        drop(Lock::acquire(&dir)?);
        std::thread::scope(|scope| {
            let looks = scope.spawn(|| (0..2000).try_for_each(|_| holder(&dir).map(drop)));
            for _ in 0..200 {
                drop(Lock::acquire(&dir)?);
            }
            looks.join().expect("looking does not panic")
        })
    }
}
