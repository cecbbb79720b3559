//! Mending a state directory. What is damaged is moved aside, and what there is elsewhere is put in its place.

use super::check::read;
use super::{Fault, Kind, check};
use crate::recovery::{merge, write_anew};
use crate::{Journal, Lock, RunId, StateDir, damage::Damaged};
use anyhow::{Context, Result, bail};
use jiff::Timestamp;
use std::fs::{self, DirBuilder, Permissions};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// Mends a state directory. Answers what was done and what was lost, a sentence each; nothing, if all was well.
///
/// # Errors
/// [`Held`](crate::Held) while a run is on; others when something is not ours to mend, or cannot be moved or written.
pub fn repair(path: &Path) -> Result<Vec<String>> {
    let Some(dir) = StateDir::existing(path)? else { return Ok(Vec::new()) };
    let (faults, _) = check(&dir)?;
    if faults.is_empty() {
        return Ok(Vec::new());
    }
    if let Some(Fault { path, found, .. }) = faults.iter().find(|fault| fault.kind == Kind::Beyond) {
        bail!("`{}`: {found}; that cannot be mended here", path.display());
    }
    let mut mender = Mender { aside: None, root: dir.path().to_owned(), told: Vec::new() };
    // Nobody can hold what is no lock; all else waits until nobody holds it.
    let lock = dir.lock();
    if let Some(fault) = faults.iter().find(|fault| fault.path == lock) {
        mender.move_aside(fault)?;
    }
    let held = Lock::acquire(&dir)?;
    let in_the_way = |fault: &&Fault| fault.kind == Kind::InTheWay && fault.path != lock;
    faults.iter().filter(in_the_way).try_for_each(|fault| mender.move_aside(fault))?;
    for fault in faults.iter().filter(|fault| fault.kind == Kind::Open) {
        let closed = fs::set_permissions(&fault.path, Permissions::from_mode(0o700));
        closed.with_context(|| format!("`{}` cannot be closed to others", fault.path.display()))?;
        mender.told.push(format!("`{}` is closed to others now", fault.path.display()));
    }
    let dir = StateDir::open(path)?;
    let (journal, notes) = Journal::open(&dir, held)?;
    mender.told.extend(notes);
    for fault in faults.iter().filter(|fault| fault.kind == Kind::Events) {
        mender.mend_events(&dir, &journal, fault)?;
    }
    mender.mend_journal(&dir, journal)?;
    Ok(mender.told)
}

/// The events that the journal keeps of a run: none, if it is damaged where they are.
fn kept(journal: &Journal, run: RunId) -> Result<Option<Vec<u8>>> {
    match journal.lines(run) {
        Ok(lines) => Ok(Some(lines)),
        Err(error) if error.is::<Damaged>() => Ok(None),
        Err(error) => Err(error),
    }
}

struct Mender {
    root: PathBuf,
    /// Where everything is moved to, once there is something to be moved.
    aside: Option<PathBuf>,
    told: Vec<String>,
}

impl Mender {
    /// Where something is moved to. It keeps its path, below a directory of its own.
    fn place(&mut self, path: &Path) -> Result<PathBuf> {
        let aside = self.aside.get_or_insert_with(|| {
            let time = Timestamp::now().strftime("%Y%m%dT%H%M%S%.3fZ");
            self.root.join(format!("damaged-{time}"))
        });
        let place = aside.join(path.strip_prefix(&self.root).unwrap_or(path));
        let parent = place.parent().context("it is below the state directory")?;
        let made = DirBuilder::new().recursive(true).mode(0o700).create(parent);
        made.with_context(|| format!("`{}` cannot be made", parent.display()))?;
        Ok(place)
    }

    fn move_aside(&mut self, fault: &Fault) -> Result<()> {
        let Fault { path, found, consequence, .. } = fault;
        // It may not be there at all, or have gone with the directory that it was in.
        if path.symlink_metadata().is_err() {
            self.told.push(format!("`{}`: {found}; lost: {consequence}", path.display()));
            return Ok(());
        }
        let place = self.place(path)?;
        fs::rename(path, &place).with_context(|| format!("`{}` cannot be moved aside", path.display()))?;
        let (path, place) = (path.display(), place.display());
        self.told.push(format!("`{path}`: {found}; it was moved to `{place}`. Lost: {consequence}"));
        Ok(())
    }

    /// Puts back what the journal has of the events of a run. The file as it was is kept.
    fn mend_events(&mut self, dir: &StateDir, journal: &Journal, fault: &Fault) -> Result<()> {
        let path = &fault.path;
        let name = path.parent().and_then(Path::file_name).and_then(|name| name.to_str());
        let run = name.and_then(|name| name.parse().ok()).map(RunId).context("it is of no run")?;
        let text = read(path)?.unwrap_or_default();
        let recorded = kept(journal, run)?.unwrap_or_default();
        let merged = merge(&text, &recorded);
        if path.symlink_metadata().is_ok() {
            let place = self.place(path)?;
            fs::copy(path, &place).with_context(|| format!("`{}` cannot be copied", path.display()))?;
        }
        write_anew(&dir.events(run), merged.lines.values().copied())?;
        let missing =
            merged.lines.last_key_value().map_or(0, |(last, _)| *last + 1 - merged.lines.len() as u64);
        let aside = self.aside.as_deref().unwrap_or(dir.path()).display();
        self.told.push(format!(
            "events of run {run}: {} lines came back from the journal, {missing} are lost; the file as it was is below \
             `{aside}`",
            merged.added
        ));
        Ok(())
    }

    /// Begins the journal anew where events of earlier runs cannot be read in it: to open it needs none of them, so that
    /// no run would ever find out.
    fn mend_journal(&mut self, dir: &StateDir, journal: Journal) -> Result<()> {
        let runs = dir.runs()?;
        let damaged = runs.iter().map(|run| Ok((run, kept(&journal, *run)?.is_none())));
        let damaged = damaged.filter(|it| !matches!(it, Ok((_, false)))).collect::<Result<Vec<_>>>()?;
        if damaged.is_empty() {
            return Ok(());
        }
        let runs = damaged.iter().map(|(run, _)| run.to_string()).collect::<Vec<_>>().join(", ");
        let (_, aside) = journal.begin_anew()?;
        self.told.push(format!(
            "the journal was damaged where it keeps the events of run {runs}; it was moved to `{}`, and a new one begun \
             with all that is recorded of nodes",
            aside.display()
        ));
        Ok(())
    }
}
