//! Turns at what all throw-away hosts of a machine share, those of other checkouts among them: the kernel's registrations of
//! emulators.
//!
//! Who goes by them takes a turn beside others; who changes them is alone. It does not know what is registered.

use anyhow::{Context, Result};
use std::fs::{self, File, TryLockError};
use std::path::Path;

/// A turn; it ends when this is dropped.
#[derive(Debug)]
pub struct Turn {
    _room: File,
}

/// Where turns are noted, until the machine restarts.
pub(crate) const PLACE: &str = "/run/lock/drover-throwaway";

impl Turn {
    /// Waits for a turn in which nobody changes what is registered.
    ///
    /// # Errors
    /// When there can be no locks.
    pub fn beside() -> Result<Self> {
        Self::take(File::lock_shared)
    }

    /// Waits for a turn in which nobody else goes by what is registered.
    ///
    /// # Errors
    /// When there can be no locks.
    pub fn alone() -> Result<Self> {
        Self::take(File::lock)
    }

    /// A turn in which nobody else goes by what is registered, if nobody does now.
    pub(crate) fn alone_at_once() -> Result<Option<Self>> {
        let room = open("room")?;
        match room.try_lock() {
            Ok(()) => Ok(Some(Self { _room: room })),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(error).context("ask for a turn"),
        }
    }

    /// Whoever waits has shut the gate behind it, so that those who come later do not go first.
    fn take(enter: impl FnOnce(&File) -> std::io::Result<()>) -> Result<Self> {
        let gate = open("gate")?;
        gate.lock().context("wait at the gate")?;
        let room = open("room")?;
        enter(&room).context("wait for a turn")?;
        Ok(Self { _room: room })
    }
}

fn open(name: &str) -> Result<File> {
    let file = Path::new(PLACE).join(name);
    let open = || {
        fs::create_dir_all(PLACE)?;
        File::options().create(true).append(true).open(&file)
    };
    open().with_context(|| format!("`{}` cannot be opened", file.display()))
}
