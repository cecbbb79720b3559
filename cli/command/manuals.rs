//! `drover manuals`: all manuals as files, for whoever makes a package. Their texts are those of `--help` and of
//! `drover steps`.

use crate::args::{Args, Manuals};
use crate::exit::Exit;
use anyhow::{Context, Result};
use clap::CommandFactory;
use drover_steps::registry::KINDS;
use drover_steps::topic::TOPICS;
use std::fs;

/// Writes a page for `man` of each command, and a text of each step and topic.
pub(crate) fn manuals(Manuals { directory }: &Manuals) -> Result<Exit> {
    let failed = || format!("the manuals cannot be written to `{}`", directory.display());
    fs::create_dir_all(directory).with_context(failed)?;
    clap_mangen::generate_to(Args::command(), directory).with_context(failed)?;
    let steps = KINDS.iter().map(|kind| (kind.name, kind.manual()));
    let topics = TOPICS.iter().map(|topic| (topic.name, topic.manual.into()));
    for (name, text) in steps.chain(topics) {
        fs::write(directory.join(format!("{name}.txt")), text).with_context(failed)?;
    }
    Ok(Exit::Done)
}
