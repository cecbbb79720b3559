//! What came of a run: a fold over its events, and over nothing else.
//!
//! It does no I/O. Whether the events come from a run that is on or from a file, the report is the same.

use drover_state::{Event, EventKind, Failure, NodeId, Outcome, Programs, RunId, since};
use jiff::Timestamp;
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};

/// What came of a run, so far.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Report {
    /// Which run.
    pub run: Option<RunId>,
    /// The plan's name.
    pub plan: String,
    /// The plan's file, as it was given.
    pub source: String,
    /// When it began.
    pub begun: Option<Timestamp>,
    /// When something last happened.
    pub last: Option<Timestamp>,
    /// How long it took until then, in milliseconds, whatever became of the clock.
    pub millis: u64,
    /// For how long the system had been up when it began, as [`Event::up`].
    #[serde(skip)]
    pub begun_up: Option<u64>,
    /// How many nodes were selected.
    pub selected: usize,
    /// How many were recorded as done, and found so.
    pub unchanged: usize,
    /// How many were found done, but not by us.
    pub adopted: usize,
    /// How many were found done, and are taken for made by us from now on.
    #[serde(skip_serializing_if = "is_none")]
    pub taken_over: usize,
    /// How many were needed, and done.
    pub changed: usize,
    /// How many were recorded as done, found undone, and done again.
    pub drifted: usize,
    /// How many were taken back,
    pub undone: usize,
    /// and how many but for what has to stay.
    pub kept: usize,
    /// How often something was tried again.
    pub retries: usize,
    /// What failed, and why.
    pub failed: Vec<Failed>,
    /// What was not tried, and because of what.
    pub blocked: Vec<Blocked>,
    /// What steps said about how they were done,
    pub remarks: Vec<Remark>,
    /// and what of that somebody should look at.
    pub warnings: Vec<Remark>,
    /// How programs of emulated systems were started, by all that counted,
    pub programs: Programs,
    /// and by node.
    pub programs_by_node: BTreeMap<NodeId, Programs>,
    /// What was stopped before its end; the next run continues it.
    pub interrupted: Vec<NodeId>,
    /// What was started and has not ended: it runs, or the run was killed.
    pub open: BTreeSet<NodeId>,
    /// The exit code that the run ended with; none while it is on, or if it was killed.
    pub code: Option<u8>,
}

/// A node that failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Failed {
    /// Which.
    pub node: NodeId,
    /// Why.
    pub failure: Failure,
}

/// A node that was not tried.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Blocked {
    /// Which.
    pub node: NodeId,
    /// What failed.
    pub by: NodeId,
}

/// What a node said about how it was done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Remark {
    /// Which.
    pub node: NodeId,
    /// What.
    pub text: String,
}

/// Only a run that takes over has any.
fn is_none(count: &usize) -> bool {
    *count == 0
}

impl Report {
    /// The report of these events, all of one run, in their order.
    pub fn of<'a>(events: impl IntoIterator<Item = &'a Event>) -> Self {
        let mut report = Self::default();
        events.into_iter().for_each(|event| report.add(event));
        report
    }

    /// Takes the next event in.
    pub fn add(&mut self, event: &Event) {
        self.last = Some(event.at);
        if let Some(begun) = self.begun {
            let took = since((begun, self.begun_up), (event.at, event.up));
            self.millis = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
        }
        match &event.kind {
            EventKind::RunStarted { plan, source, nodes, .. } => {
                self.begun_up = event.up;
                (self.run, self.begun, self.selected) = (Some(event.run), Some(event.at), nodes.len());
                (self.plan, self.source) = (plan.clone(), source.clone());
            }
            EventKind::Started { node, .. } => {
                self.open.insert(node.clone());
            }
            EventKind::Retrying { .. } => self.retries += 1,
            EventKind::Silent { .. } => {}
            EventKind::Remark { node, text } => {
                self.remarks.push(Remark { node: node.clone(), text: text.clone() });
            }
            EventKind::Warning { node, text } => {
                self.warnings.push(Remark { node: node.clone(), text: text.clone() });
            }
            EventKind::Programs { node, programs } => {
                self.programs.add(programs);
                self.programs_by_node.entry(node.clone()).or_default().add(programs);
            }
            EventKind::Finished { node, outcome, .. } => self.finish(node, outcome),
            EventKind::RunFinished { code } => self.code = Some(*code),
        }
    }

    fn finish(&mut self, node: &NodeId, outcome: &Outcome) {
        self.open.remove(node);
        match outcome {
            Outcome::Unchanged => self.unchanged += 1,
            Outcome::Adopted => self.adopted += 1,
            Outcome::TakenOver => self.taken_over += 1,
            Outcome::Changed => self.changed += 1,
            Outcome::Drifted => self.drifted += 1,
            Outcome::Undone => self.undone += 1,
            Outcome::Kept => self.kept += 1,
            Outcome::Interrupted => self.interrupted.push(node.clone()),
            Outcome::Failed { failure } => {
                self.failed.push(Failed { node: node.clone(), failure: (**failure).clone() });
            }
            Outcome::Blocked { by } => self.blocked.push(Blocked { node: node.clone(), by: by.clone() }),
        }
    }

    /// How many nodes are done, whoever did it, or undone, if that was what was wanted.
    pub fn done(&self) -> usize {
        self.unchanged
            + self.adopted
            + self.taken_over
            + self.changed
            + self.drifted
            + self.undone
            + self.kept
    }

    /// How many nodes were neither done nor failed nor given up: the run has not come to them, or not to their end.
    pub fn pending(&self) -> usize {
        self.selected.saturating_sub(self.done() + self.failed.len() + self.blocked.len())
    }

    /// Whether all that was selected is done.
    pub fn is_done(&self) -> bool {
        self.done() == self.selected
    }

    /// The exit code that the run ends with; there is no other rule. 128 and the number of the first signal, if something
    /// was kept from its end after one came (130 for SIGINT, 143 for SIGTERM). Else 0 if all is done, and 1 if not.
    pub(crate) fn exit_code(&self, first_signal: Option<u8>) -> u8 {
        match first_signal.filter(|_| self.pending() > 0) {
            Some(signal) => 128 + signal,
            None if self.is_done() => 0,
            None => 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::failure::failure;
    use drover_state::Phase;

    fn events(kinds: Vec<EventKind>) -> Vec<Event> {
        let event = |(seq, kind)| Event { run: RunId(3), seq, at: Timestamp::UNIX_EPOCH, up: None, kind };
        (0..).zip(kinds).map(event).collect()
    }

    fn started(node: &str) -> EventKind {
        EventKind::Started { node: node.into(), attempt: 1, reason: "it is not there".into(), diff: None }
    }

    fn finished(node: &str, outcome: Outcome) -> EventKind {
        EventKind::Finished { node: node.into(), outcome, millis: 5 }
    }

    fn programs(native: u64, emulated: u64) -> Programs {
        Programs { native, emulated, ..Programs::default() }
    }

    fn run() -> Vec<Event> {
        let failure = Box::new(failure(Phase::Apply, &anyhow::anyhow!("no")));
        events(vec![
            EventKind::RunStarted {
                plan: "pair".into(),
                source: "pair.ron".into(),
                nodes: ["a", "b", "c", "d", "e"].map(NodeId::from).into(),
                pid: 7,
            },
            finished("a", Outcome::Unchanged),
            started("b"),
            started("d"),
            EventKind::Remark { node: "d".into(), text: "by hand".into() },
            EventKind::Warning { node: "d".into(), text: "slowly".into() },
            EventKind::Programs { node: "d".into(), programs: programs(9, 1) },
            EventKind::Programs { node: "d".into(), programs: programs(1, 1) },
            EventKind::Programs { node: "b".into(), programs: programs(0, 5) },
            finished("b", Outcome::Failed { failure }),
            finished("c", Outcome::Blocked { by: "b".into() }),
            finished("d", Outcome::Drifted),
        ])
    }

    #[test]
    fn every_event_counts() {
        let report = Report::of(&run());
        assert_eq!((report.selected, report.unchanged, report.drifted, report.pending()), (5, 1, 1, 1));
        assert_eq!(report.failed[0].node, "b".into());
        assert_eq!(report.blocked, [Blocked { node: "c".into(), by: "b".into() }]);
        assert_eq!(report.remarks, [Remark { node: "d".into(), text: "by hand".into() }]);
        assert_eq!(report.warnings, [Remark { node: "d".into(), text: "slowly".into() }]);
        assert_eq!((report.programs.native, report.programs.emulated), (10, 7));
        assert_eq!(report.programs_by_node[&NodeId::from("d")].percent(), Some(83));
        assert!(report.open.is_empty() && report.code.is_none());
    }

    #[test]
    fn what_was_started_and_has_not_ended_is_open() {
        let report = Report::of(&run()[..4]);
        assert_eq!(report.open, BTreeSet::from(["b".into(), "d".into()]));
    }

    #[test]
    fn the_exit_code_tells_an_interrupt_from_a_failure() {
        let code = |events: &[Event], signal| Report::of(events).exit_code(signal);
        let run = run();
        assert_eq!([None, Some(2), Some(15)].map(|signal| code(&run, signal)), [1, 130, 143]);
        // All that was begun has ended, one of them badly, and nothing is left: no signal has kept it from anything.
        let mut ended = run.clone();
        ended.extend(events(vec![finished("e", Outcome::Unchanged)]));
        assert_eq!([None, Some(2), Some(15)].map(|signal| code(&ended, signal)), [1, 1, 1]);
        assert_eq!(Report::default().exit_code(Some(2)), 0);
    }
}
