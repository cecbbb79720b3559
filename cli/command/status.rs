//! `drover status`: how far a run is, or how it ended. Reads the events that the run writes, never its journal, so it
//! works while a run is on.

use super::past;
use crate::args::Status as Options;
use crate::display::{Give, Table, elapsed, failure};
use crate::exit::Exit;
use crate::output::{print, print_json};
use anyhow::{Result, bail};
use drover_state::{Event, EventKind, EventReader, Holder, NodeId, Outcome, RunId, StateDir};
use jiff::Timestamp;
use serde::Serialize;
use std::collections::HashMap;
use std::path::Path;
use std::time::Duration;

/// How much of a reason is shown, in columns; `--json` and the log have the rest.
const WIDTH: usize = 80;

/// Shows a run.
pub(crate) fn status(state: Option<&Path>, options: &Options) -> Result<Exit> {
    let (state, run) = past(state, options.run)?;
    let view = View::read(&state, run)?;
    if options.json {
        print_json(&view)?;
    } else {
        print(&view.text())?;
    }
    Ok(Exit::Done)
}

/// A run, as its events tell it.
#[derive(Debug, Serialize)]
struct View {
    run: RunId,
    plan: String,
    source: String,
    started: Timestamp,
    state: State,
    nodes: Vec<NodeView>,
}

/// What has become of a run.
#[derive(Debug, Serialize)]
#[serde(tag = "state", rename_all = "kebab-case")]
enum State {
    Running { holder: Holder },
    Ended { code: u8 },
    Killed,
}

/// What has become of a node in this run.
#[derive(Debug, Serialize)]
struct NodeView {
    id: NodeId,
    #[serde(flatten)]
    now: Now,
}

#[derive(Debug, Serialize)]
#[serde(tag = "now", rename_all = "kebab-case")]
enum Now {
    Waiting,
    Running {
        since: Timestamp,
        /// For how long, in milliseconds, whatever became of the clock.
        millis: u64,
        attempt: u32,
        reason: String,
    },
    Ended {
        #[serde(flatten)]
        outcome: Outcome,
        millis: u64,
    },
}

impl View {
    fn read(state: &StateDir, run: RunId) -> Result<Self> {
        // Who holds the directory is asked first: a run that ends in between has then written its last event.
        let holder = drover_state::holder(state)?.filter(|holder| holder.run == Some(run));
        let events = EventReader::new(state, run).read()?;
        let Some(Event { at, kind: EventKind::RunStarted { plan, source, nodes, .. }, .. }) = events.first()
        else {
            bail!("there is no run {run}; `{}` has {} runs", state.path().display(), state.runs()?.len());
        };
        let ended = events.iter().find_map(|event| match event.kind {
            EventKind::RunFinished { code } => Some(State::Ended { code }),
            _ => None,
        });
        let mut now = fold(&events);
        let nodes =
            nodes.iter().map(|id| NodeView { id: id.clone(), now: now.remove(id).unwrap_or(Now::Waiting) });
        Ok(Self {
            run,
            plan: plan.clone(),
            source: source.clone(),
            started: *at,
            nodes: nodes.collect(),
            state: ended.or(holder.map(|holder| State::Running { holder })).unwrap_or(State::Killed),
        })
    }

    fn text(&self) -> String {
        let mut table = Table::new(&[
            ("node", Give::Middle),
            ("now", Give::Nothing),
            ("for", Give::Nothing),
            ("", Give::End),
        ]);
        for node in &self.nodes {
            if !matches!(node.now, Now::Ended { outcome: Outcome::Unchanged, .. }) {
                table.row(self.row(node));
            }
        }
        let unchanged = self.nodes.len() - table.row_count();
        let again = match self.state {
            State::Ended { code: 0 } | State::Running { .. } => String::new(),
            _ => format!("; go on with `{}`", super::destroy::again(&self.source)),
        };
        let head = format!("run {} of {} ({}): {}{again}", self.run, self.plan, self.source, self.state);
        let failures = self.nodes.iter().filter_map(|node| match &node.now {
            Now::Ended { outcome: Outcome::Failed { failure: why }, .. } => Some(failure(&node.id, why)),
            _ => None,
        });
        let mut parts = vec![head];
        parts.extend((table.row_count() > 0).then(|| table.text()));
        parts.extend((unchanged > 0).then(|| format!("{unchanged} unchanged")));
        parts.extend(failures);
        parts.join("\n\n")
    }

    fn row(&self, node: &NodeView) -> [String; 4] {
        let (word, took, text) = match &node.now {
            Now::Waiting => ("waiting", String::new(), String::new()),
            Now::Running { attempt, reason, millis, .. } => {
                let word = if matches!(self.state, State::Killed) { "killed" } else { "running" };
                let told = if *attempt > 1 { format!("attempt {attempt}: {reason}") } else { reason.clone() };
                (word, elapsed(Duration::from_millis(*millis)), told)
            }
            Now::Ended { outcome, millis } => {
                let text = match outcome {
                    Outcome::Blocked { by } => format!("{by} failed"),
                    Outcome::Failed { failure } => failure.message.clone(),
                    _ => String::new(),
                };
                (outcome.word(), elapsed(Duration::from_millis(*millis)), text)
            }
        };
        [node.id.to_string(), word.to_owned(), took, console::truncate_str(&text, WIDTH, "…").into_owned()]
    }
}

/// The last thing that happened to each node.
fn fold(events: &[Event]) -> HashMap<NodeId, Now> {
    let mut now = HashMap::new();
    for event in events {
        match &event.kind {
            EventKind::Started { node, attempt, reason, .. } => {
                let (since, millis) = (event.at, u64::try_from(event.age().as_millis()).unwrap_or(u64::MAX));
                let running = Now::Running { since, millis, attempt: *attempt, reason: reason.clone() };
                now.insert(node.clone(), running);
            }
            EventKind::Finished { node, outcome, millis } => {
                now.insert(node.clone(), Now::Ended { outcome: outcome.clone(), millis: *millis });
            }
            _ => {}
        }
    }
    now
}

impl std::fmt::Display for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Running { holder } => write!(f, "running, {holder}"),
            Self::Ended { code: 0 } => write!(f, "done"),
            Self::Ended { code } => write!(f, "ended with exit code {code}"),
            Self::Killed => write!(f, "killed"),
        }
    }
}
