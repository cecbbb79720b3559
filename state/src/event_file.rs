//! The events of a run as a file of JSON lines, for those who watch and for those who come later.
//!
//! It does not know what events mean.

use crate::damage::no_space;
use crate::{Event, RunId, StateDir};
use anyhow::{Context, Result};
use rustix::fs::OFlags;
use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// Writes the events of a run.
#[derive(Debug)]
pub(crate) struct EventWriter {
    file: File,
    path: PathBuf,
}

impl EventWriter {
    /// Begins the file of a run.
    pub(crate) fn create(dir: &StateDir, run: RunId) -> Result<Self> {
        crate::directory::make(&dir.run(run), 0o700)?;
        let path = dir.events(run);
        let file = OpenOptions::new().append(true).create_new(true).mode(0o600).open(&path);
        let file = file.map_err(|error| {
            let context = match error.kind() {
                ErrorKind::StorageFull => no_space(&path),
                _ => format!("events file `{}` cannot be made", path.display()),
            };
            anyhow::Error::new(error).context(context)
        })?;
        Ok(Self { file, path })
    }

    /// Appends whole lines with one write.
    pub(crate) fn append(&mut self, lines: &[u8]) -> Result<()> {
        self.file.write_all(lines).map_err(|error| {
            let context = match error.kind() {
                ErrorKind::StorageFull => no_space(&self.path),
                _ => format!("events file `{}` cannot be written", self.path.display()),
            };
            anyhow::Error::new(error).context(context)
        })
    }

    /// The file that is written, wherever its name leads by now.
    pub(crate) fn held(&self) -> (&File, &Path) {
        (&self.file, &self.path)
    }

    pub(crate) fn sync(&self) -> Result<()> {
        self.file
            .sync_all()
            .with_context(|| format!("events file `{}` cannot be flushed", self.path.display()))
    }
}

/// Reads the events of a run, also while it is on: each call goes on where the last one ended.
#[derive(Debug)]
pub struct EventReader {
    path: PathBuf,
    /// What helps where it is damaged.
    way_out: String,
    file: Option<File>,
    /// The beginning of a line whose end is not there yet.
    rest: Vec<u8>,
    damaged: usize,
}

impl EventReader {
    /// A reader of the events of `run`. They need not be there yet.
    pub fn new(dir: &StateDir, run: RunId) -> Self {
        Self { path: dir.events(run), way_out: dir.way_out(), file: None, rest: Vec::new(), damaged: 0 }
    }

    /// The events that were not read yet, possibly none. A line whose end is missing is left for the next call.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn read(&mut self) -> Result<Vec<Event>> {
        self.fill().with_context(|| {
            format!("events file `{}` cannot be read; {}", self.path.display(), self.way_out)
        })?;
        let Some(end) = self.rest.iter().rposition(|byte| *byte == b'\n') else { return Ok(Vec::new()) };
        let mut events = Vec::new();
        for line in self.rest[..end].split(|byte| *byte == b'\n') {
            match serde_json::from_slice(line) {
                Ok(event) => events.push(event),
                Err(_) => self.damaged += 1,
            }
        }
        self.rest.drain(..=end);
        Ok(events)
    }

    /// How many lines were left out because they could not be understood, as after a power cut.
    pub fn damaged(&self) -> usize {
        self.damaged
    }

    fn fill(&mut self) -> std::io::Result<()> {
        if self.file.is_none() {
            // Something that would make us wait may be in its place.
            let open = File::options()
                .read(true)
                .custom_flags(OFlags::NONBLOCK.bits().cast_signed())
                .open(&self.path);
            let file = match open {
                Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
                file => file?,
            };
            if !file.metadata()?.is_file() {
                return Err(std::io::Error::other("it is no regular file"));
            }
            self.file = Some(file);
        }
        if let Some(file) = &mut self.file {
            file.read_to_end(&mut self.rest)?;
        }
        Ok(())
    }
}
