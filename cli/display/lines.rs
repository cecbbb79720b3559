//! One line an event, for pipes, files and CI: no escape codes, nothing is drawn over.

use super::{Show, elapsed, failure};
use crate::output::{tell, try_to_tell};
use drover_engine::{Leftover, Observer};
use drover_state::{Event, EventKind, NodeId, Outcome};
use std::time::Duration;

/// One line an event, on standard error.
pub(crate) struct Lines;

impl Observer for Lines {
    fn event(&mut self, event: &Event) {
        if let Some(text) = line(&event.kind) {
            tell(&format!("{} {text}", clock(event)));
        }
        if let EventKind::Finished { node, outcome: Outcome::Failed { failure: why }, .. } = &event.kind {
            tell(&failure(node, why));
        }
    }

    fn line(&mut self, _node: &NodeId, _line: &str) {
        // The log has it; here it would drown the events.
    }

    fn progress(&mut self, _node: &NodeId, _done: u64, _total: u64) {}

    fn swept(&mut self, leftovers: &[Leftover]) {
        swept(leftovers, tell);
    }
}

impl Show for Lines {
    fn say(&mut self, text: &str) -> bool {
        try_to_tell(text)
    }
}

/// Says what a killed run had left behind.
pub(super) fn swept(leftovers: &[Leftover], say: impl Fn(&str)) {
    for Leftover { pid, command } in leftovers {
        say(&format!("drover: killed process {pid}, left behind by a killed run: {command}"));
    }
}

/// The local time of an event.
fn clock(event: &Event) -> String {
    event.at.to_zoned_datetime(jiff::tz::TimeZone::system()).strftime("%H:%M:%S").to_string()
}

/// The event in one line; `None` for those that say nothing new.
pub(crate) fn line(event: &EventKind) -> Option<String> {
    Some(match event {
        EventKind::RunStarted { plan, nodes, .. } => {
            format!("{:<11} {plan}: {} nodes", "run", nodes.len())
        }
        EventKind::Started { node, reason, .. } => format!("{:<11} {node}: {reason}", "started"),
        EventKind::Retrying { node, class, message, delay_ms } => {
            let delay = elapsed(Duration::from_millis(*delay_ms));
            format!("{:<11} {node} in {delay} ({class}): {message}", "retrying")
        }
        EventKind::Silent { node, seconds } => {
            let silence = elapsed(Duration::from_secs(*seconds));
            format!("{:<11} {node} has written nothing for {silence}", "silent")
        }
        EventKind::Remark { node, text } => format!("{:<11} {node}: {text}", "remark"),
        EventKind::Warning { node, text } => format!("{:<11} {node}: {text}", "warning"),
        EventKind::Programs { node, programs } => format!("{:<11} {node}: {programs}", "remark"),
        EventKind::Finished { node, outcome: Outcome::Blocked { by }, .. } => {
            format!("{:<11} {node}: {by} failed", "blocked")
        }
        EventKind::Finished { node, outcome, millis } => {
            let took = elapsed(Duration::from_millis(*millis));
            format!("{:<11} {node} in {took}", outcome.word())
        }
        EventKind::RunFinished { .. } => return None,
    })
}
