//! A database that cannot be read: how that is found out, and how it is put aside.
//!
//! sled reports damage as an error, as a panic, or not at all, and once refuses to open what is whole. It does not
//! know how the journal is made anew.

use crate::StateDir;
use anyhow::{Context, Result, anyhow};
use jiff::Timestamp;
use rustix::io::Errno;
use std::cell::Cell;
use std::fmt;
use std::io::ErrorKind;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Once;
use std::time::Duration;

/// The mark of an error that says that the database is damaged. Found with `error.is::<Damaged>()`.
#[derive(Debug)]
pub(crate) struct Damaged;

impl fmt::Display for Damaged {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("journal is damaged")
    }
}

impl std::error::Error for Damaged {}

/// `error`, understood as damage of the database.
pub(crate) fn found(error: anyhow::Error) -> anyhow::Error {
    error.context(Damaged)
}

/// Makes sure that there are only files and directories, and removes snapshots that were being written when their process was killed: sled would take them for whole ones and
/// refuse to open.
pub(crate) fn prepare(path: &Path) -> Result<()> {
    let entries = match std::fs::read_dir(path) {
        Ok(entries) => entries,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        // Something else is where the directory belongs.
        Err(error)
            if error.kind() == ErrorKind::NotADirectory
                || error.raw_os_error() == Some(Errno::LOOP.raw_os_error()) =>
        {
            return Err(found(anyhow!(error).context(format!("`{}` is no directory", path.display()))));
        }
        Err(error) => return Err(error).with_context(|| format!("`{}` cannot be read", path.display())),
    };
    for entry in entries {
        let entry = entry.with_context(|| format!("`{}` cannot be read", path.display()))?;
        // sled would wait for what is no file, or write to where a link leads.
        let kind = entry.file_type().with_context(|| format!("`{}` cannot be read", path.display()))?;
        if !kind.is_file() && !kind.is_dir() {
            return Err(found(anyhow!("`{}` is neither a file nor a directory", entry.path().display())));
        }
        let name = entry.file_name();
        let name = name.as_encoded_bytes();
        if name.starts_with(b"snap.") && name.ends_with(b".generating") && entry.path().is_file() {
            std::fs::remove_file(entry.path()).map_err(|error| explain(error.into(), path))?;
        }
    }
    Ok(())
}

/// Opens sled.
pub(crate) fn open(path: &Path) -> Result<sled::Db> {
    let config = sled::Config::default()
        .path(path)
        .mode(sled::Mode::LowSpace)
        .cache_capacity(16 << 20)
        .flush_every_ms(Some(500));
    let mut patience = 100;
    loop {
        match config.open() {
            Ok(db) => return Ok(db),
            // Our own lock is held, so this can only be the end of a process that is just being torn down.
            Err(error) if patience > 0 && error.to_string().contains("could not acquire lock") => {
                patience -= 1;
                std::thread::sleep(Duration::from_millis(10));
            }
            Err(error) => return Err(explain(error, path)),
        }
    }
}

/// Moves the database aside, never to be lost, and says where to.
pub(crate) fn set_aside(dir: &StateDir) -> Result<PathBuf> {
    let journal = dir.journal();
    let time = Timestamp::now().strftime("%Y%m%dT%H%M%S%.3fZ");
    let aside = journal.with_file_name(format!("journal.corrupt-{time}"));
    std::fs::rename(&journal, &aside)
        .with_context(|| format!("damaged journal `{}` cannot be moved aside", journal.display()))?;
    Ok(aside)
}

/// Does something with the database. That the database panics is damage, and is not shown as a panic.
pub(crate) fn calmly<T>(act: impl FnOnce() -> Result<T>) -> Result<T> {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let hook = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            let of_sled = || std::thread::current().name().is_some_and(|name| name.starts_with("sled"));
            if !IS_CALM.get() && !of_sled() {
                hook(panic);
            }
        }));
    });
    let before = IS_CALM.replace(true);
    let result = catch_unwind(AssertUnwindSafe(act));
    IS_CALM.set(before);
    result.unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str);
        let text = text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("no message");
        let line = text.lines().next().unwrap_or_default();
        Err(found(anyhow!("the database panicked: {line}")))
    })
}

thread_local! {
    /// Whether a panic of this thread is not to be shown, since it will be an error.
    static IS_CALM: Cell<bool> = const { Cell::new(false) };
}

/// What an error of sled means for the user.
pub(crate) fn explain(error: sled::Error, path: &Path) -> anyhow::Error {
    match &error {
        sled::Error::Io(io) => match number(io) {
            Some(28 | 122) => anyhow::Error::new(error).context(no_space(path)),
            // No right to it, a disk that fails or cannot be written, no memory, too many open files.
            Some(1 | 5 | 12 | 13 | 23 | 24 | 30) => {
                anyhow::Error::new(error).context(format!("journal `{}` cannot be used", path.display()))
            }
            _ if error.to_string().contains("could not acquire lock") => {
                anyhow::Error::new(error).context(format!("journal `{}` cannot be used", path.display()))
            }
            _ => found(error.into()),
        },
        _ => found(error.into()),
    }
}

/// The number of a system's error. sled makes some of them a text.
fn number(error: &std::io::Error) -> Option<i32> {
    let text = error.to_string();
    let after = |start: &str| {
        let rest = &text[text.find(start)? + start.len()..];
        rest.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
    };
    let by_kind = || (error.kind() == ErrorKind::StorageFull).then_some(28);
    error.raw_os_error().or_else(|| after("code: ")).or_else(|| after("os error ")).or_else(by_kind)
}

/// What to say of a full disk.
pub(crate) fn no_space(path: &Path) -> String {
    format!(
        "`{}` cannot be written: no space is left on its disk; free some and run again, nothing that was recorded is \
         lost",
        path.display()
    )
}
