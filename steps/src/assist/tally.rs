//! What came of an offer: how many programs were started natively, and what is worth a warning.
//!
//! The switch counts in a file that is bound into the guest; it is read when the part of the step has run. Whatever a guest has
//! done to that file, nothing depends on it but what is told.

use super::natives::make_directory;
use anyhow::{Context, Result};
use drover_assist::counts::{Counts, SIZE, Starts};
use drover_engine::Cx;
use drover_state::{HeldBack, Program, Programs, Why};
use std::fs::{self, File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// Out of a hundred programs of a step that is assisted, so many are native; where they are fewer, somebody should know.
const EXPECTED: u64 = 80;

/// A file in which the switch counts.
#[derive(Debug)]
pub(crate) struct Tally {
    file: PathBuf,
}

impl Tally {
    /// Begins to count in a file that nobody else uses at the same time.
    pub(super) fn begin(file: PathBuf) -> Result<Self> {
        let directory = file.parent().context("a file without a directory")?;
        make_directory(directory)?;
        fs::set_permissions(directory, fs::Permissions::from_mode(0o700))
            .with_context(|| format!("close `{}` to others", directory.display()))?;
        Self { file }.again()
    }

    /// Begins anew. What a killed run has left there goes; nothing is written through it.
    pub(super) fn again(self) -> Result<Self> {
        let file = &self.file;
        let made = || -> std::io::Result<()> {
            if file.symlink_metadata().is_ok() {
                fs::remove_file(file)?;
            }
            let mut made = OpenOptions::new().write(true).create_new(true).mode(0o600).open(file)?;
            made.write_all(&[0; SIZE])?;
            // Programs of any user of the guest count. Its directory is open to nobody else.
            made.set_permissions(fs::Permissions::from_mode(0o666))
        };
        made().with_context(|| format!("make `{}`", file.display()))?;
        Ok(self)
    }

    pub(super) fn file(&self) -> &Path {
        &self.file
    }

    /// Forgets what was counted.
    pub(super) fn end(&self) -> Result<()> {
        fs::remove_file(&self.file).with_context(|| format!("remove `{}`", self.file.display()))
    }

    /// Tells what was counted, and warns where few programs were native.
    pub(crate) fn tell(self, cx: &Cx) {
        match self.read() {
            Ok(counts) => {
                let programs = programs(&counts);
                cx.programs(&programs);
                if let Some(warning) = warning(&programs) {
                    cx.warn(&warning);
                }
            }
            Err(error) => cx.warn(&format!("how many programs ran natively is not known: {error:#}")),
        }
    }

    fn read(&self) -> Result<Counts> {
        let mut bytes = Vec::new();
        let opened = File::open(&self.file).with_context(|| format!("open `{}`", self.file.display()))?;
        // A guest may have made it as long as it likes.
        let size = u64::try_from(SIZE).context("the size of a file")?;
        opened
            .take(size)
            .read_to_end(&mut bytes)
            .with_context(|| format!("read `{}`", self.file.display()))?;
        self.end()?;
        Ok(Counts::read(&bytes))
    }
}

/// What is told of the counts.
fn programs(counts: &Counts) -> Programs {
    let mut all = Programs::default();
    for (name, starts) in &counts.programs {
        let by_name = Program { name: name.clone(), native: starts.native, emulated: starts.emulated() };
        let held_back = held_back(starts).map(|(why, count)| HeldBack { why, count });
        all.add(&Programs {
            native: by_name.native,
            emulated: by_name.emulated,
            held_back: held_back.collect(),
            by_name: vec![by_name],
        });
    }
    let variables = counts.variables.iter().map(|(variable, count)| HeldBack {
        why: Why::Environment { variable: variable.clone() },
        count: *count,
    });
    all.add(&Programs { held_back: variables.collect(), ..Programs::default() });
    all
}

/// What was not native though there is a native, but for what the environment did, which is counted by variable.
fn held_back(starts: &Starts) -> impl Iterator<Item = (Why, u64)> {
    let all = [
        (Why::Preload, starts.preload),
        (Why::SetId, starts.set_id),
        (Why::GuestsOwn, starts.unless),
        (Why::Refused, starts.refused),
    ];
    all.into_iter().filter(|(_, count)| *count > 0)
}

/// What is to be said where few programs were native.
fn warning(programs: &Programs) -> Option<String> {
    const NAMES: usize = 3;
    let percent = programs.percent().filter(|percent| *percent < EXPECTED)?;
    let held: u64 = programs.held_back.iter().map(|held| held.count).sum();
    let without = programs.emulated.saturating_sub(held);
    let reasons = programs.held_back.iter().map(|HeldBack { why, count }| format!("{why} ({count})"));
    let unlisted = (without > 0).then(|| format!("no native is offered ({without})"));
    Some(format!(
        "only {percent} % of the programs ran natively, so this took longer than it should. Most often emulated: {}. Why: {}",
        programs.emulated_most(NAMES),
        reasons.chain(unlisted).collect::<Vec<_>>().join(", ")
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(programs: &[(&str, Starts)], variables: &[(&str, u64)]) -> Counts {
        Counts {
            programs: programs.iter().map(|(name, starts)| ((*name).to_owned(), *starts)).collect(),
            variables: variables.iter().map(|(name, count)| ((*name).to_owned(), *count)).collect(),
        }
    }

    #[test]
    fn a_step_with_few_natives_says_why() {
        let dash = Starts { native: 79, environment: 11, ..Starts::default() };
        let perl = Starts { unless: 6, ..Starts::default() };
        let bash = Starts { unlisted: 4, ..Starts::default() };
        let all = [("dash", dash), ("perl", perl), ("bash", bash)];
        let told = programs(&counts(&all, &[("LD_LIBRARY_PATH", 11)]));
        assert_eq!(
            warning(&told).as_deref(),
            Some(
                "only 79 % of the programs ran natively, so this took longer than it should. Most often emulated: dash 11, \
                 perl 6, bash 4. Why: the environment has LD_LIBRARY_PATH (11), it uses modules that only the guest has (6), \
                 no native is offered (4)"
            )
        );
        assert_eq!((told.native, told.emulated), (79, 21));
        assert_eq!(warning(&Programs::default()), None);
    }

    #[test]
    fn where_most_are_native_nothing_is_warned_of() {
        let dash = Starts { native: 80, unlisted: 20, ..Starts::default() };
        let told = programs(&counts(&[("dash", dash)], &[]));
        assert_eq!((told.percent(), warning(&told)), (Some(80), None));
    }
}
