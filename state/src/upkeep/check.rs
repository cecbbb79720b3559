//! What is wrong in a state directory. Reads only.

use super::{Fault, Kind, copy::Copied};
use crate::recovery::{Merged, merge};
use crate::seal::{unseal, unseal_text};
use crate::store::{Newer, Store};
use crate::{Event, Holder, RunId, StateDir, damage, holder};
use anyhow::{Context, Result};
use rustix::io::Errno;
use std::collections::BTreeMap;
use std::fs::{self, Metadata};
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// What is wrong in a state directory, and, if a run is on, whose: its journal is then not looked into.
///
/// # Errors
/// When it cannot be read.
pub fn check(dir: &StateDir) -> Result<(Vec<Fault>, Option<Holder>)> {
    let held = holder(dir)?;
    let mut checker = Checker { dir, faults: Vec::new(), lines: BTreeMap::new() };
    checker.places()?;
    if held.is_none() {
        checker.journal()?;
    }
    for run in runs(dir)? {
        checker.events(run, held.as_ref().and_then(|held| held.run) == Some(run))?;
    }
    checker.memory(&dir.path().join("memory"))?;
    Ok((checker.faults, held))
}

/// The runs, if that can be told: that it cannot is a fault of its own.
fn runs(dir: &StateDir) -> Result<Vec<RunId>> {
    if dir.path().join("runs").is_dir() { dir.runs() } else { Ok(Vec::new()) }
}

struct Checker<'a> {
    dir: &'a StateDir,
    faults: Vec<Fault>,
    /// What the journal has of the events of each run.
    lines: BTreeMap<RunId, Vec<u8>>,
}

impl Checker<'_> {
    fn add(&mut self, kind: Kind, path: &Path, found: impl Into<String>, consequence: impl Into<String>) {
        let (path, found, consequence) = (path.to_owned(), found.into(), consequence.into());
        self.faults.push(Fault { path, found, consequence, kind });
    }

    /// Whether everything that is always there is what it should be.
    fn places(&mut self) -> Result<()> {
        let root = self.dir.path().to_owned();
        let found = root.metadata().with_context(|| format!("`{}` cannot be read", root.display()))?;
        if found.mode() & 0o077 != 0 {
            let mode = format!("its mode is {:04o}", found.mode() & 0o7777);
            self.add(Kind::Open, &root, mode, "others can look into it; the next run closes it");
        }
        if found.uid() != rustix::process::geteuid().as_raw() {
            let found = format!("it belongs to the user {}", found.uid());
            self.add(
                Kind::Beyond,
                &root,
                found,
                "that user can read and change what is remembered, so no run uses it",
            );
        }
        let no_run = "no run can begin";
        for (name, is_directory, consequence) in [
            ("runs", true, "no run can begin, and what happened in earlier ones is not known"),
            ("memory", true, "no run can begin, and nothing that is remembered for `destroy` is known"),
            ("cache", true, no_run),
            ("drover.lock", false, no_run),
            ("journal.high", false, "no run can begin: how far the journal had gone is not known"),
            ("request.json", false, "no run can begin, and `resume` does not know what was asked for last"),
        ] {
            let path = root.join(name);
            match is_kind(&path, is_directory)? {
                Some(true) => {}
                // The first run makes it; but what was remembered is gone with it.
                None if name == "memory" && root.join("runs/0001").exists() => {
                    let consequence =
                        "`destroy` leaves alone what it was about; `drover state adopt PLAN` helps";
                    self.add(Kind::InTheWay, &path, "it is not there", consequence);
                }
                None => {}
                Some(false) => self.add(Kind::InTheWay, &path, kind_of(&path), consequence),
            }
        }
        self.mark(&root.join("journal.high"))?;
        self.request(&root.join("request.json"))
    }

    fn mark(&mut self, path: &Path) -> Result<()> {
        let Some(bytes) = read(path)? else { return Ok(()) };
        if !bytes.is_empty() && unseal(&bytes[..bytes.len().min(14)]).is_err() {
            let consequence =
                "that the journal has gone back is not found out until a run has written it anew";
            self.add(Kind::InTheWay, path, "it does not match its checksum", consequence);
        }
        Ok(())
    }

    fn request(&mut self, path: &Path) -> Result<()> {
        let Some(bytes) = read(path)? else { return Ok(()) };
        if let Err(error) = serde_json::from_slice::<serde_json::Map<String, serde_json::Value>>(&bytes) {
            let consequence = "`resume` does not know what was asked for last; `drover run PLAN` does it";
            self.add(Kind::InTheWay, path, format!("it is no JSON: {error}"), consequence);
        }
        Ok(())
    }

    /// Opens a copy of the journal as a run would open it, and reads all that is in it.
    fn journal(&mut self) -> Result<()> {
        let path = self.dir.journal();
        if is_kind(&path, true)? == Some(false) {
            let consequence = "the next run moves it aside and makes a journal anew from the events";
            self.add(Kind::Journal, &path, kind_of(&path), consequence);
            return Ok(());
        }
        if !path.exists() {
            if !runs(self.dir)?.is_empty() {
                let consequence = "the next run makes it anew from the events";
                self.add(Kind::Journal, &path, "it is not there", consequence);
            }
            return Ok(());
        }
        let copied = Copied::of(self.dir)?;
        match Store::open(copied.dir()) {
            Ok(opened) => {
                if opened.last.is_none() && !runs(self.dir)?.is_empty() {
                    let consequence = "the next run makes it anew from the events of the runs";
                    self.add(
                        Kind::Journal,
                        &path,
                        "it knows of no run, or an older drover wrote it",
                        consequence,
                    );
                }
                if opened.lost > 0 {
                    let found = format!("its last {} commits are missing", opened.lost);
                    let consequence = "the next run takes them from the events of the runs";
                    self.add(Kind::Journal, &path, found, consequence);
                }
                for run in runs(self.dir)? {
                    match opened.store.lines(run) {
                        Ok(lines) => drop(self.lines.insert(run, lines)),
                        Err(error) => {
                            let found = format!("the events of run {run} in it cannot be read: {error:#}");
                            let consequence = "a damaged file of these events cannot be mended from it";
                            self.add(Kind::Journal, &path, found, consequence);
                        }
                    }
                }
            }
            Err(error) if error.is::<damage::Damaged>() => {
                let consequence =
                    "the next run moves it aside and makes one anew from the events of the runs";
                self.add(Kind::Journal, &path, format!("{error:#}"), consequence);
            }
            Err(error) if error.is::<Newer>() => {
                self.add(Kind::Beyond, &path, "it was written by a newer drover", "this one cannot use it");
            }
            Err(error) => return Err(error),
        }
        Ok(())
    }

    /// Whether the events of a run are whole, and what the journal has of them.
    fn events(&mut self, run: RunId, is_on: bool) -> Result<()> {
        let (directory, path) = (self.dir.run(run), self.dir.events(run));
        let lost = "what happened in this run is not known";
        if is_kind(&directory, true)? != Some(true) {
            self.add(Kind::InTheWay, &directory, kind_of(&directory), lost);
            return Ok(());
        }
        let text = match is_kind(&path, false)? {
            Some(true) => read(&path)?.unwrap_or_default(),
            Some(false) => {
                self.add(Kind::InTheWay, &path, kind_of(&path), lost);
                return Ok(());
            }
            None => Vec::new(),
        };
        let none = Vec::new();
        let recorded = self.lines.get(&run).unwrap_or(&none);
        let Merged { lines, damaged, mut added } = merge(&text, recorded);
        let ended = has_ended(&lines);
        let mut damaged = damaged;
        let mut missing = lines.last_key_value().map_or(0, |(last, _)| *last + 1 - lines.len() as u64);
        if !ended {
            // The end of a run that was killed may be in the journal alone, its last line half written, and what changed
            // nothing not written at all: the next run sees to that.
            let torn = text.split(|byte| *byte == b'\n').next_back().is_some_and(|rest| !rest.is_empty());
            damaged -= usize::from(torn);
            added = merge(&text, &up_to_the_end_of(&text, recorded)).added;
            missing = 0;
        }
        let mut found = Vec::new();
        if damaged > 0 {
            found.push(format!("{damaged} of its lines cannot be understood"));
        }
        if added > 0 && !is_on {
            found.push(format!("{added} of its lines are not as the journal has them, and can be mended"));
        }
        if missing > 0 {
            found.push(format!("{missing} events are neither in it nor in the journal"));
        }
        if lines.is_empty() && damaged == 0 {
            if !is_on {
                self.add(
                    Kind::InTheWay,
                    &directory,
                    "it holds no events, and the journal has none of it",
                    lost,
                );
            }
            return Ok(());
        }
        if !found.is_empty() {
            let consequence = "`status`, `report` and `logs` of this run do not tell all of it";
            self.add(Kind::Events, &path, found.join("; "), consequence);
        }
        Ok(())
    }

    /// Whether what steps remember is whole.
    fn memory(&mut self, directory: &Path) -> Result<()> {
        for path in entries(directory)? {
            let found =
                path.symlink_metadata().with_context(|| format!("`{}` cannot be read", path.display()))?;
            if found.is_dir() {
                self.memory(&path)?;
                continue;
            }
            let wrong = match found.is_file() {
                true => wrong_text(&path)?,
                false => Some(kind_of(&path)),
            };
            if let Some(wrong) = wrong {
                let consequence = "`destroy` cannot take back what this was remembered for";
                self.add(Kind::InTheWay, &path, wrong, consequence);
            }
        }
        Ok(())
    }
}

/// Those lines that the journal has of a run and that come before the last whole one of its file.
fn up_to_the_end_of(text: &[u8], recorded: &[u8]) -> Vec<u8> {
    let (file, journal) = (merge(text, &[]).lines, merge(&[], recorded).lines);
    let Some((last, _)) = file.last_key_value() else { return Vec::new() };
    journal.range(..=last).flat_map(|(_, line)| line.to_vec()).collect()
}

/// What is wrong with a text that a step remembers.
fn wrong_text(path: &Path) -> Result<Option<String>> {
    let bytes = read(path)?.unwrap_or_default();
    Ok(match std::str::from_utf8(&bytes) {
        Ok(text) => unseal_text(text).err().map(|error| error.to_string()),
        Err(_) => Some("it is damaged: it is no text".to_owned()),
    })
}

fn has_ended(lines: &BTreeMap<u64, &[u8]>) -> bool {
    let last = lines.last_key_value().and_then(|(_, line)| serde_json::from_slice::<Event>(line).ok());
    last.is_some_and(|event| matches!(event.kind, crate::EventKind::RunFinished { .. }))
}

/// Whether something is there and of the kind that it should be; links are followed to a directory.
fn is_kind(path: &Path, is_directory: bool) -> Result<Option<bool>> {
    let looked = if is_directory { path.metadata() } else { path.symlink_metadata() };
    match looked {
        Ok(found) => Ok(Some(if is_directory { found.is_dir() } else { found.is_file() })),
        // A link that leads nowhere.
        Err(error) if error.raw_os_error() == Some(Errno::LOOP.raw_os_error()) => Ok(Some(false)),
        Err(error) if error.kind() == ErrorKind::NotFound => {
            Ok(path.symlink_metadata().is_ok().then_some(false))
        }
        Err(error) => Err(error).with_context(|| format!("`{}` cannot be read", path.display())),
    }
}

/// What is there instead, in words.
fn kind_of(path: &Path) -> String {
    let kind = |found: Metadata| match found.file_type() {
        kind if kind.is_dir() => "it is a directory, where a file belongs",
        kind if kind.is_file() => "it is a file, where a directory belongs",
        kind if kind.is_symlink() => "it is a link that leads to nothing of its kind",
        _ => "it is neither a file nor a directory",
    };
    path.symlink_metadata().map_or_else(|error| error.to_string(), |found| kind(found).to_owned())
}

/// All of a regular file; `None` if there is none.
pub(super) fn read(path: &Path) -> Result<Option<Vec<u8>>> {
    if is_kind(path, false)? != Some(true) {
        return Ok(None);
    }
    fs::read(path).map(Some).with_context(|| format!("`{}` cannot be read", path.display()))
}

/// What is in a directory, in order; nothing, if it is none.
pub(super) fn entries(directory: &Path) -> Result<Vec<PathBuf>> {
    if is_kind(directory, true)? != Some(true) {
        return Ok(Vec::new());
    }
    let failed = || format!("`{}` cannot be read", directory.display());
    let read = directory.read_dir().with_context(failed)?;
    let mut entries = read.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>>>().with_context(failed)?;
    entries.sort_unstable();
    Ok(entries)
}
