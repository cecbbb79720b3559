//! `drover report`: what came of a run, and what took how long.

use super::past;
use crate::args::Report as Options;
use crate::display::{Failures, Give, Table, elapsed, junit, summary};
use crate::exit::Exit;
use crate::output::{print, print_json};
use anyhow::{Result, ensure};
use drover_engine::{Remark, Report};
use drover_state::{Event, EventKind, EventReader, NodeId, Outcome, Programs};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::Duration;

/// Shows what came of a run.
pub(crate) fn report(state: Option<&Path>, options: &Options) -> Result<Exit> {
    let (state, run) = past(state, options.run)?;
    let events = EventReader::new(&state, run).read()?;
    ensure!(!events.is_empty(), "there is no run {run}; `drover status` shows the last one");
    let is_on = drover_state::holder(&state)?.is_some_and(|holder| holder.run == Some(run));
    let whole = Whole::of(&events, is_on);
    if options.json {
        print_json(&whole)?;
    } else if options.junit {
        print(&whole.junit(&events)?)?;
    } else {
        print(&whole.text())?;
    }
    Ok(Exit::Done)
}

/// What came of a run, with what took how long.
#[derive(Debug, Serialize)]
struct Whole {
    #[serde(flatten)]
    report: Report,
    /// Whether it is still on.
    running: bool,
    /// Every node that ended, the longest first.
    nodes: Vec<Took>,
}

/// A node that ended.
#[derive(Debug, Serialize)]
struct Took {
    id: NodeId,
    outcome: &'static str,
    millis: u64,
}

impl Whole {
    fn of(events: &[Event], running: bool) -> Self {
        let report = Report::of(events);
        let took = |event: &Event| match &event.kind {
            EventKind::Finished { node, outcome, millis } if !matches!(outcome, Outcome::Blocked { .. }) => {
                Some(Took { id: node.clone(), outcome: outcome.word(), millis: *millis })
            }
            _ => None,
        };
        let mut nodes: Vec<_> = events.iter().filter_map(took).collect();
        nodes.sort_by_key(|node| std::cmp::Reverse(node.millis));
        Self { report, running, nodes }
    }

    fn junit(&self, events: &[Event]) -> Result<String> {
        let selected = events.iter().find_map(|event| match &event.kind {
            EventKind::RunStarted { nodes, .. } => Some(nodes.as_slice()),
            _ => None,
        });
        let took = self.nodes.iter().map(|node| (&node.id, Duration::from_millis(node.millis))).collect();
        let cut_short = if self.running { BTreeSet::new() } else { self.report.open.clone() };
        junit(&self.report, selected.unwrap_or_default(), &took, &cut_short)
    }

    fn text(&self) -> String {
        let Report { run, plan, source, begun, code, .. } = &self.report;
        let number = run.map_or(0, |run| run.0);
        let begun =
            begun.map(|begun| begun.strftime("%Y-%m-%d %H:%M:%S UTC").to_string()).unwrap_or_default();
        let end = match code {
            Some(code) => format!("exit code {code}"),
            None if self.running => "still running".to_owned(),
            None => "killed".to_owned(),
        };
        let head = format!("run {number} of {plan} ({source}), begun {begun}: {end}");
        let again = super::destroy::again(source);
        let last = summary(
            &self.report,
            Duration::from_millis(self.report.millis),
            (!self.running).then_some(again.as_str()),
            Failures::Whole,
        );
        let parts = [
            head,
            self.rows(),
            said("", &self.report.remarks),
            said("warning: ", &self.report.warnings),
            last,
        ];
        parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join("\n\n")
    }

    /// Every node that did something, with how long it took; and which part of its programs was native, where that was
    /// counted.
    fn rows(&self) -> String {
        let counted = &self.report.programs_by_node;
        let columns = [
            ("node", Give::Middle),
            ("ended", Give::Nothing),
            ("took", Give::Nothing),
            ("native", Give::All),
        ];
        let shown = if counted.is_empty() { 3 } else { 4 };
        let mut rows = Table::new(&columns[..shown]);
        for Took { id, outcome, millis } in self.nodes.iter().filter(|node| node.outcome != "unchanged") {
            let percent = counted.get(id).and_then(Programs::percent).map(|percent| format!("{percent} %"));
            let took = elapsed(Duration::from_millis(*millis));
            let cells = [id.as_str(), outcome, &took, percent.as_deref().unwrap_or_default()];
            rows.row(cells.into_iter().take(shown));
        }
        if rows.row_count() > 0 { rows.text() } else { String::new() }
    }
}

/// What nodes said, with those that said the same in one line.
fn said(before: &str, remarks: &[Remark]) -> String {
    let mut said: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for Remark { node, text } in remarks {
        said.entry(text).or_default().push(node.as_str());
    }
    let lines = said.into_iter().map(|(text, nodes)| format!("{before}{text}: {}", nodes.join(", ")));
    lines.collect::<Vec<_>>().join("\n")
}
