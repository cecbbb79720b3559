//! One run per state directory: a lock that says who holds it and dies with its holder.
//!
//! It knows nothing of the journal; the journal wants one to be opened.

use crate::{RunId, StateDir, live};
use anyhow::{Context, Result, ensure};
use jiff::Timestamp;
use rustix::fs::{OFlags, fstat, lstat};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::fs::{self, File, OpenOptions, Permissions, TryLockError};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileExt, OpenOptionsExt, PermissionsExt};
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
    /// The state directory, links resolved; empty if an older Drover wrote this.
    #[serde(default)]
    pub state: PathBuf,
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
    /// Whether what it holds is a directory that was there before, and was deleted, renamed or replaced since.
    pub is_gone: bool,
}

impl fmt::Display for Held {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.state.display();
        match &self.holder {
            Some(holder) if self.is_gone => write!(
                f,
                "{holder} still runs with the state directory that was at `{state}` before, and was deleted, renamed or \
                 replaced: it notices that and ends; wait for it, or interrupt it with `kill -INT {}`",
                holder.pid
            ),
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

/// The state directory of a run that is on is not where it was. Found with `error.downcast_ref::<Gone>()`.
#[derive(Clone, Debug)]
pub struct Gone {
    /// What is not there any more, or not the same.
    pub path: PathBuf,
    /// Where the state directory is now, if it was only renamed.
    pub moved: Option<PathBuf>,
    /// The state directory, as the run knows it.
    pub state: PathBuf,
}

impl fmt::Display for Gone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (path, state) = (self.path.display(), self.state.display());
        f.write_str("nothing more can be recorded of this run, so nothing more is started: ")?;
        match &self.moved {
            Some(moved) => {
                let moved = moved.display();
                write!(
                    f,
                    "its state directory was renamed to `{moved}`; rename it back to `{state}`, and run again"
                )
            }
            None => write!(
                f,
                "`{path}` was deleted or replaced while it was on. What it and earlier runs have made is still there: \
                 put the state directory back from a backup, or run again and then say with `drover state adopt PLAN` \
                 that all that is found is Drover's, or `destroy` will leave it alone"
            ),
        }
    }
}

impl std::error::Error for Gone {}

/// The right to run in a state directory. The kernel takes it back when the process ends, however it ends.
#[derive(Debug)]
pub struct Lock {
    file: File,
    dir: StateDir,
    holder: Holder,
}

impl Lock {
    /// Takes the lock.
    ///
    /// # Errors
    /// [`Held`] when another run has it, or has one that was there before under the same name; others when the lock file
    /// cannot be written.
    pub fn acquire(dir: &StateDir) -> Result<Self> {
        let path = dir.lock();
        let shown = path.display();
        let file = loop {
            let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK;
            let file = OpenOptions::new()
                .create(true)
                .truncate(false)
                .read(true)
                .write(true)
                .mode(0o600)
                .custom_flags(flags.bits().cast_signed())
                .open(&path)
                .map_err(|error| dir.explain(error, &path, "cannot be opened"))?;
            ensure!(
                file.metadata().with_context(|| format!("lock `{shown}` cannot be looked at"))?.is_file(),
                "lock `{shown}` is no regular file; {}",
                dir.way_out()
            );
            if !try_for_a_while(&file).with_context(|| format!("lock `{shown}` cannot be taken"))? {
                let holder = read_for_a_while(&path).ok();
                return Err(Held { state: dir.path().to_owned(), holder, is_gone: false }.into());
            }
            // It may have been deleted, and another one made, since it was opened.
            if is_same(&file, &path)? {
                break file;
            }
        };
        let state =
            dir.path().canonicalize().with_context(|| format!("`{}` is gone", dir.path().display()))?;
        refuse_earlier(dir, &state)?;
        file.set_permissions(Permissions::from_mode(0o600))
            .with_context(|| format!("lock `{shown}` cannot be closed to others"))?;
        let lock = Self { file, dir: dir.clone(), holder: Holder::this_process(state) };
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

    /// Makes sure that what is held is still what others find in the state directory, and so are these files in it.
    ///
    /// # Errors
    /// [`Gone`] when it is not.
    pub(crate) fn ensure_there(&self, others: &[(&File, &Path)]) -> Result<()> {
        let lock = self.dir.lock();
        for (file, path) in [(&self.file, lock.as_path())].iter().chain(others) {
            if !is_same(file, path)? {
                let moved = fs::read_link(format!("/proc/self/fd/{}", self.file.as_raw_fd()));
                let moved = moved.ok().filter(|now| *now != lock && now.file_name() == lock.file_name());
                let moved = moved.and_then(|now| Some(now.parent()?.to_owned()));
                let state = self.dir.path().to_owned();
                return Err(Gone { path: (*path).to_owned(), moved, state }.into());
            }
        }
        Ok(())
    }

    fn write(&self) -> Result<()> {
        let text = serde_json::to_vec(&self.holder)?;
        let write = || {
            self.file.write_all_at(&text, 0)?;
            self.file.set_len(text.len() as u64)
        };
        write().map_err(|error| self.dir.explain(error, &self.dir.lock(), "cannot be written"))
    }
}

/// Whether `path` leads to this very file.
fn is_same(file: &File, path: &Path) -> Result<bool> {
    let failed = || format!("`{}` cannot be looked at", path.display());
    let held = fstat(file).with_context(failed)?;
    match lstat(path) {
        Ok(there) => Ok((there.st_dev, there.st_ino) == (held.st_dev, held.st_ino)),
        Err(Errno::NOENT | Errno::NOTDIR) => Ok(false),
        Err(errno) => Err(errno).with_context(failed),
    }
}

/// A run whose state directory was deleted or replaced may still be on.
fn refuse_earlier(dir: &StateDir, state: &Path) -> Result<()> {
    let earlier = live()?.into_iter().find(|it| it.pid != std::process::id() && it.state == state);
    match earlier {
        Some(it) => Err(Held { state: dir.path().to_owned(), holder: it.holder, is_gone: true }.into()),
        None => Ok(()),
    }
}

/// Who holds the state directory now; `None` if nobody does.
///
/// # Errors
/// When the lock cannot be read.
pub fn holder(dir: &StateDir) -> Result<Option<Holder>> {
    let path = dir.lock();
    let flags = (OFlags::NOFOLLOW | OFlags::NONBLOCK).bits().cast_signed();
    let file = match OpenOptions::new().read(true).custom_flags(flags).open(&path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        // Nobody can hold what is a link.
        Err(error) if error.raw_os_error() == Some(Errno::LOOP.raw_os_error()) => return Ok(None),
        file => file.map_err(|error| dir.explain(error, &path, "cannot be opened"))?,
    };
    // Nobody can hold what is no lock.
    if !file.metadata().with_context(|| format!("lock `{}` cannot be looked at", path.display()))?.is_file() {
        return Ok(None);
    }
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
    fn this_process(state: PathBuf) -> Self {
        Self {
            pid: std::process::id(),
            command: std::env::args_os()
                .map(|arg| arg.to_string_lossy().into_owned())
                .collect::<Vec<_>>()
                .join(" "),
            user: user_name(),
            host: rustix::system::uname().nodename().to_string_lossy().into_owned(),
            state,
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
    fn that_the_directory_is_gone_is_seen_and_said() -> Result<()> {
        let scratch = tempfile::tempdir()?;
        let path = scratch.path().join("state");
        let dir = StateDir::open(&path)?;
        let lock = Lock::acquire(&dir)?;
        lock.ensure_there(&[])?;
        let said = || lock.ensure_there(&[]).expect_err("it is gone").to_string();
        fs::rename(&path, scratch.path().join("moved"))?;
        assert!(
            said().contains(&format!("renamed to `{}`", scratch.path().join("moved").display())),
            "{}",
            said()
        );
        fs::rename(scratch.path().join("moved"), &path)?;
        lock.ensure_there(&[])?;
        fs::remove_file(dir.lock())?;
        assert!(said().contains("drover.lock` was deleted or replaced"), "{}", said());
        fs::write(dir.lock(), "another's")?;
        assert!(said().contains("state adopt"), "{}", said());
        fs::remove_dir_all(&path)?;
        fs::write(&path, "no directory")?;
        assert!(said().contains("was deleted or replaced"), "{}", said());
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
