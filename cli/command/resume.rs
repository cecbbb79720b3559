//! `drover resume`: the last run's plan again, with the options it was run with.
//!
//! Resuming is not a mode: it is `drover run` with what was asked for last. The plan is read anew, so an edited plan is
//! simply run as it is now.

use crate::args::{Pace, Target};
use crate::exit::Exit;
use anyhow::{Context, Result, bail};
use drover_state::StateDir;
use std::fs;
use std::path::{Path, PathBuf};

/// Runs what was asked for last.
pub(crate) fn resume(state: Option<&Path>, pace: &Pace) -> Result<Exit> {
    let directory = super::state_dir(state)?;
    let file = file(&directory);
    let text = match fs::read_to_string(&file) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            bail!("nothing was run yet with the state directory {}", directory.path().display())
        }
        Err(error) => return Err(error).with_context(|| format!("reading {}", file.display())),
    };
    let target: Target =
        serde_json::from_str(&text).with_context(|| format!("reading {}", file.display()))?;
    eprintln!("drover: resuming {}", target.plan.display());
    super::run::run(state, &target, pace)
}

/// Keeps what is asked for, so that it can be asked for again from any directory.
pub(crate) fn remember(directory: &StateDir, target: &Target) -> Result<()> {
    let plan = std::path::absolute(&target.plan)?;
    let text = serde_json::to_string_pretty(&Target { plan, ..target.clone() })?;
    drover_engine::HostFile::new(file(directory)).mode(0o600).write(&text)
}

fn file(directory: &StateDir) -> PathBuf {
    directory.path().join("request.json")
}
