//! `drover resume`: the last run's plan again, with the options it was run with.
//!
//! Resuming is not a mode: it is `drover run` with what was asked for last. The plan is read anew, so an edited plan is
//! simply run as it is now.

use super::NothingToResume;
use crate::args::{Pace, Passed, Resume, Target};
use crate::exit::Exit;
use crate::output::tell;
use anyhow::{Context, Result};
use drover_state::StateDir;
use drover_steps::plan::Text;
use std::fs;
use std::path::{Path, PathBuf};

/// Runs what was asked for last.
pub(crate) fn resume(state: Option<&Path>, options: &Resume) -> Result<Exit> {
    // The state directory of somebody else is another one.
    super::require_root()?;
    let directory = super::state_dir(state)?;
    let file = file(&directory);
    let text = match fs::read_to_string(&file) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            let directory = directory.path().display();
            return Err(
                NothingToResume(format!("nothing was run yet with the state directory {directory}")).into()
            );
        }
        Err(error) => return Err(error).with_context(|| format!("reading {}", file.display())),
    };
    let Request { destroy, target, pace, passed } = serde_json::from_str(&text).with_context(|| {
        format!("{} is damaged: say what is to be run with `drover run PLAN`", file.display())
    })?;
    let plan = target.plan.display();
    if let Some(destroy) = destroy {
        return Err(NothingToResume(format!(
            "what was asked for last is to undo {plan}: go on with `drover {destroy}`, or build it again with `drover \
             run {plan}`"
        ))
        .into());
    }
    tell(&format!("drover: resuming {}", target.plan.display()));
    super::run::run(state, &target, &options.pace.or(&pace), &options.passed.and(&passed))
}

/// What was asked for.
#[derive(Debug, serde::Serialize, serde::Deserialize)]
struct Request {
    /// The command, if it is to undo it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    destroy: Option<String>,
    #[serde(flatten)]
    target: Target,
    #[serde(default)]
    pace: Pace,
    /// The names of variables; what they hold is for whoever resumes to say.
    #[serde(default)]
    passed: Passed,
}

/// The name of the kept text of a plan that came by a pipe, in the state directory.
const KEPT: &str = "plan.ron";

/// Keeps what is asked for, so that it can be asked for again from any directory: to run it, or, if it is to undo it, by
/// which command. `text` is that of a plan that is in no file.
pub(crate) fn remember(
    directory: &StateDir,
    target: &Target,
    text: Option<&Text>,
    (pace, passed): (&Pace, &Passed),
    destroy: impl FnOnce(&Target) -> Option<String>,
) -> Result<()> {
    let mut target = target.clone();
    target.directory = text.map(|text| text.directory.clone());
    target.plan = match text {
        Some(text) => {
            let kept = std::path::absolute(directory.path().join(KEPT))?;
            let text = std::str::from_utf8(&text.text).context("the plan is not UTF-8")?;
            drover_engine::HostFile::new(&kept).mode(0o600).write(text)?;
            kept
        }
        None => std::path::absolute(&target.plan)?,
    };
    let destroy = destroy(&target);
    let request = Request { destroy, target, pace: pace.clone(), passed: passed.clone() };
    let text = serde_json::to_string_pretty(&request)?;
    drover_engine::HostFile::new(file(directory)).mode(0o600).write(&text)
}

/// Where relative paths in a plan count from, if it is the kept text of one that came by a pipe.
pub(super) fn kept(plan: &Path) -> Option<PathBuf> {
    let plan =
        std::path::absolute(plan).ok().filter(|plan| plan.file_name().is_some_and(|name| name == KEPT))?;
    // Any other plan of that name has no request beside it, or not for itself.
    let request = fs::read_to_string(plan.with_file_name(REQUEST)).ok()?;
    let request: Request = serde_json::from_str(&request).ok()?;
    request.target.directory.filter(|_| request.target.plan == plan)
}

const REQUEST: &str = "request.json";

fn file(directory: &StateDir) -> PathBuf {
    directory.path().join(REQUEST)
}
