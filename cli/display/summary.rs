//! The last words of a run: counts, what failed, what was not tried and why, how to go on.

use super::{brief, elapsed, failure};
use drover_engine::{Blocked, Failed, Report};
use drover_state::NodeId;
use std::collections::BTreeMap;
use std::fmt::Write;
use std::time::Duration;

/// How failures are told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Failures {
    /// Whole, each a block.
    Whole,
    /// Each in a line, since they were told when they happened.
    Brief,
}

/// The last words of a run that took so long, and the command that goes on with it if it is over.
pub(crate) fn summary(report: &Report, took: Duration, again: Option<&str>, failures: Failures) -> String {
    let mut text = String::new();
    // Writing to a string cannot fail.
    for Failed { node, failure: why } in &report.failed {
        let _ = match failures {
            Failures::Whole => writeln!(text, "\n{}", failure(node, why)),
            Failures::Brief => writeln!(text, "{}", brief(node, why)),
        };
    }
    let mut blocked: BTreeMap<&NodeId, Vec<&str>> = BTreeMap::new();
    for Blocked { node, by } in &report.blocked {
        blocked.entry(by).or_default().push(node.as_str());
    }
    for (by, nodes) in blocked {
        let _ = writeln!(text, "\nnot tried, because {by} failed: {}", nodes.join(", "));
    }
    if !report.interrupted.is_empty() {
        let nodes: Vec<_> = report.interrupted.iter().map(NodeId::as_str).collect();
        let _ = writeln!(text, "\ninterrupted: {}", nodes.join(", "));
    }
    let _ = write!(text, "\n{} in {}", counts(report), elapsed(took));
    if report.retries > 0 {
        let _ = write!(text, ", {} tried again", times(report.retries));
    }
    if !report.warnings.is_empty() {
        let many = if report.warnings.len() == 1 { "" } else { "s" };
        let _ = write!(text, ", {} warning{many}", report.warnings.len());
    }
    if report.programs.total() > 0 {
        let _ = write!(text, "\nin emulated systems, {}", report.programs);
    }
    if let Some(again) = again.filter(|_| !report.is_done()) {
        let _ = write!(text, "\ngo on with: {again}");
    }
    text.trim_start_matches('\n').to_owned()
}

fn times(count: usize) -> String {
    if count == 1 { "once".to_owned() } else { format!("{count} times") }
}

/// The counts that are not zero, as `3 changed, 50 unchanged`.
fn counts(report: &Report) -> String {
    let waiting = report.pending().saturating_sub(report.interrupted.len());
    let counts = [
        (report.changed, "changed"),
        (report.drifted, "drifted"),
        (report.adopted, "adopted"),
        (report.taken_over, "taken over"),
        (report.unchanged, "unchanged"),
        (report.undone, "undone"),
        (report.kept, "kept"),
        (report.failed.len(), "failed"),
        (report.blocked.len(), "blocked"),
        (report.interrupted.len(), "interrupted"),
        (waiting, "not begun"),
    ];
    let told: Vec<_> = counts
        .iter()
        .filter(|(count, _)| *count > 0)
        .map(|(count, word)| format!("{count} {word}"))
        .collect();
    told.join(", ")
}
