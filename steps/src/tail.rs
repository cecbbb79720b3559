//! The end of a log, which may be long.

use anyhow::{Context, Result};
use std::fs::File;
use std::io::{ErrorKind, Read, Seek, SeekFrom};
use std::path::Path;

/// How many bytes of it are read.
pub(crate) const TAIL: usize = 256 << 10;

/// The end of a log; nothing if there is none. What is no text is replaced.
pub(crate) fn tail(log: &Path) -> Result<String> {
    let mut file = match File::open(log) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(String::new()),
        file => file.with_context(|| format!("open `{}`", log.display()))?,
    };
    let length = file.metadata()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(TAIL as u64)))?;
    let mut bytes = Vec::new();
    file.take(TAIL as u64).read_to_end(&mut bytes).with_context(|| format!("read `{}`", log.display()))?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}
