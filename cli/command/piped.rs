//! A plan that is in no file of its own: it comes on standard input or by a pipe, and can be read once.
//!
//! A run keeps its text in the state directory, so that `drover resume` finds it again; relative paths in it still count
//! from the directory in which it was given.

use super::{InvalidPlan, resume};
use anyhow::{Context, Result};
use drover_steps::plan::Text;
use std::fs::File;
use std::io::Read;
use std::path::Path;

/// No plan is larger than that, in bytes.
const LARGEST: u64 = 16 << 20;

/// The text of a plan that is in no file of its own, or was kept when it was given; `None` for a file, which may also not
/// be there.
pub(super) fn text(plan: &Path) -> Result<Option<Text>> {
    if plan == Path::new("-") {
        return read(std::io::stdin().lock(), "standard input".to_owned()).map(Some);
    }
    let name = plan.display().to_string();
    if let Some(directory) = resume::kept(plan) {
        let text = std::fs::read(plan).with_context(|| format!("cannot read the plan `{name}`"))?;
        return Ok(Some(Text { name, directory, text }));
    }
    // `/dev/stdin` and `/dev/fd/63` may lead to a file, and to another one the next time.
    let is_piped = plan.metadata().is_ok_and(|metadata| {
        !metadata.is_dir() && (!metadata.is_file() || plan.starts_with("/dev") || plan.starts_with("/proc"))
    });
    if !is_piped {
        return Ok(None);
    }
    let file = File::open(plan).with_context(|| format!("cannot read the plan `{name}`"))?;
    read(file, name).map(Some)
}

fn read(source: impl Read, name: String) -> Result<Text> {
    let mut text = Vec::new();
    let length = source.take(LARGEST + 1).read_to_end(&mut text);
    let length = length.with_context(|| format!("cannot read the plan from {name}"))?;
    if length as u64 > LARGEST {
        let message =
            format!("error: what comes from {name} is no plan: it is larger than {} MiB", LARGEST >> 20);
        return Err(InvalidPlan(message).into());
    }
    if text.iter().all(u8::is_ascii_whitespace) {
        return Err(InvalidPlan(format!("error: there is no plan in {name}: it is empty")).into());
    }
    let directory = std::env::current_dir().context("the directory in which this was started is gone")?;
    Ok(Text { name, directory, text })
}
