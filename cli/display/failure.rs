//! The failure block: all that one needs to go on from a failed step.

use console::style;
use drover_state::{Failure, NodeId, Phase};
use std::fmt::Write;

/// How much of the output is shown; the log has the rest.
const TAIL: usize = 15;
/// How many characters of a command are shown from its beginning, and from its end.
const COMMAND: (usize, usize) = (240, 80);

/// The failure block of a node.
pub(crate) fn failure(node: &NodeId, failure: &Failure) -> String {
    let mut block = format!("{} {node} ({})\n", style("FAILED").red().bold(), phase(failure.phase));
    let mut row = |name: &str, text: &str| {
        // Writing to a string cannot fail.
        let _ = writeln!(block, "  {name:<9} {text}");
    };
    row("error", &failure.message);
    failure.causes.iter().for_each(|cause| row("because", cause));
    if let Some(command) = &failure.command {
        row("command", &shortened(command));
    }
    if let Some(status) = &failure.status {
        row("ended", status);
    }
    let skipped = failure.tail.len().saturating_sub(TAIL);
    for line in &failure.tail[skipped..] {
        row("    |", line);
    }
    if let Some(log) = &failure.log {
        row("log", &log.display().to_string());
    }
    if let Some(remedy) = &failure.remedy {
        row("likely", &format!("{} [{}]", remedy.cause, remedy.class));
        row("remedy", &remedy.remedy);
    }
    block.truncate(block.trim_end().len());
    block
}

/// The same in one line.
pub(crate) fn brief(node: &NodeId, failure: &Failure) -> String {
    let remedy = failure.remedy.as_ref().map(|remedy| format!(" [{}]", remedy.class)).unwrap_or_default();
    let why = failure.why().replace('\n', " ");
    format!("{} {node}: {why}{remedy}", style("FAILED").red().bold())
}

/// A command that names every package of a system is whole in the log, and short here.
fn shortened(command: &str) -> String {
    let (first, last) = COMMAND;
    let length = command.chars().count();
    if length <= first + last {
        return command.to_owned();
    }
    let beginning: String = command.chars().take(first).collect();
    let end: String = command.chars().skip(length - last).collect();
    format!("{beginning} [... {} characters, see the log ...] {end}", length - first - last)
}

fn phase(phase: Phase) -> &'static str {
    match phase {
        Phase::Precondition => "this host cannot do it",
        Phase::Check => "while finding out whether it is done",
        Phase::Apply => "while doing it",
        Phase::Verify => "done, but not proved",
        Phase::Undo => "while undoing it",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_long_commands_are_shortened() {
        assert_eq!(shortened("true"), "true");
        let long = format!("apt-get {} end", "package ".repeat(100));
        let short = shortened(&long);
        assert!(
            short.starts_with("apt-get package") && short.ends_with("end") && short.len() < 400,
            "{short}"
        );
    }
}
