//! A database that cannot be read: how that is found out, and how it is put aside.
//!
//! sled reports damage as an error, as a panic, or not at all, and once refuses to open what is whole. It does not
//! know how the journal is made anew.

use crate::StateDir;
use crate::store::explain;
use anyhow::{Context, Result};
use jiff::Timestamp;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
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

/// Removes snapshots that were being written when their process was killed: sled would take them for whole ones and
/// refuse to open.
pub(crate) fn remove_unfinished_snapshots(path: &Path) -> Result<()> {
    let remove = || {
        for entry in std::fs::read_dir(path)? {
            let entry = entry?;
            let name = entry.file_name();
            if name.as_encoded_bytes().starts_with(b"snap.")
                && name.as_encoded_bytes().ends_with(b".generating")
            {
                std::fs::remove_file(entry.path())?;
            }
        }
        Ok(())
    };
    match remove() {
        Err(error) if path.exists() => Err::<(), std::io::Error>(error)
            .with_context(|| format!("`{}` cannot be cleaned", path.display())),
        _ => Ok(()),
    }
}

/// Opens sled; a panic of it is damage.
pub(crate) fn open(path: &Path) -> Result<sled::Db> {
    let config = sled::Config::default()
        .path(path)
        .mode(sled::Mode::LowSpace)
        .cache_capacity(16 << 20)
        .flush_every_ms(Some(500));
    let mut patience = 100;
    loop {
        match quietly(|| config.open())? {
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

/// Calls `open`, and makes an error of a panic without showing it.
fn quietly<T>(open: impl FnOnce() -> T) -> Result<T> {
    static HOOK: Mutex<()> = Mutex::new(());
    let _one_at_a_time = HOOK.lock().unwrap_or_else(PoisonError::into_inner);
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| ()));
    let result = catch_unwind(AssertUnwindSafe(open));
    std::panic::set_hook(hook);
    result.map_err(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str);
        let text = text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("no message");
        found(anyhow::anyhow!("the database panicked: {text}"))
    })
}
