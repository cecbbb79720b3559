//! What is recorded of nodes, as the events of all runs tell it: for those who only look, and for a journal that is lost.
//!
//! It needs no lock and writes nothing. What it does not find in the events is how a step read: its fingerprint.

use crate::{Event, EventKind, EventReader, Journal, NodeId, NodeRecord, Outcome, RunId, StateDir};
use anyhow::Result;
use indexmap::IndexMap;

/// Who knows what is recorded of nodes.
pub trait Records {
    /// What is recorded of a node, if anything is.
    fn node(&self, node: &NodeId) -> Option<&NodeRecord>;

    /// What is recorded of all nodes, also of those that are in no plan any more.
    fn nodes(&self) -> Box<dyn Iterator<Item = (&NodeId, &NodeRecord)> + '_>;
}

impl Records for Journal {
    fn node(&self, node: &NodeId) -> Option<&NodeRecord> {
        self.node(node)
    }

    fn nodes(&self) -> Box<dyn Iterator<Item = (&NodeId, &NodeRecord)> + '_> {
        Box::new(self.nodes())
    }
}

/// What the events of all runs say of nodes.
#[derive(Debug, Default)]
pub struct History {
    pub(crate) records: IndexMap<NodeId, NodeRecord>,
    /// Whether the last run ended by itself.
    pub(crate) ended: bool,
    /// How many events could not be understood.
    pub(crate) ignored: usize,
    /// Runs whose events cannot be read, and why.
    pub(crate) unreadable: Vec<(RunId, String)>,
}

impl Records for History {
    fn node(&self, node: &NodeId) -> Option<&NodeRecord> {
        self.records.get(node)
    }

    fn nodes(&self) -> Box<dyn Iterator<Item = (&NodeId, &NodeRecord)> + '_> {
        Box::new(self.records.iter())
    }
}

impl History {
    /// Reads the events of all runs, those of one that is on as well. What is damaged is left out and [noted](Self::notes).
    ///
    /// # Errors
    /// When it cannot be found out which runs there were.
    pub fn read(dir: &StateDir) -> Result<Self> {
        let mut history = Self::default();
        for run in dir.runs()? {
            let mut reader = EventReader::new(dir, run);
            history.ended = false;
            match reader.read() {
                Ok(events) => events.iter().for_each(|event| history.take(event)),
                Err(error) => history.unreadable.push((run, format!("{error:#}"))),
            }
            history.ignored += reader.damaged();
        }
        Ok(history)
    }

    /// What could not be read, a sentence each.
    pub fn notes(&self, dir: &StateDir) -> Vec<String> {
        let mut notes: Vec<_> = self
            .unreadable
            .iter()
            .map(|(run, why)| format!("what happened in run {run} is not known: {why}"))
            .collect();
        if self.ignored > 0 {
            notes.push(format!(
                "{} events of the runs could not be understood and were left out; {}",
                self.ignored,
                dir.way_out()
            ));
        }
        notes
    }

    fn take(&mut self, event: &Event) {
        self.ended |= matches!(event.kind, EventKind::RunFinished { .. });
        let Some(node) = event.kind.node() else { return };
        // The fingerprint is not in the events: whether the step still reads the same is not known.
        let known = self.records.get(node);
        let record = NodeRecord::after(known, event, None).or_else(|error| {
            // An end without a beginning: the line of its start was lost.
            let started = started_before(known, event).ok_or(error)?;
            NodeRecord::after(Some(&started), event, None)
        });
        match record {
            Ok(Some(record)) => drop(self.records.insert(node.clone(), record)),
            Ok(None) => {}
            Err(_) => self.ignored += 1,
        }
    }
}

/// What must have been recorded before something that can only follow a start.
fn started_before(known: Option<&NodeRecord>, event: &Event) -> Option<NodeRecord> {
    let EventKind::Finished { node, outcome: Outcome::Changed | Outcome::Drifted, .. } = &event.kind else {
        return None;
    };
    let attempt = known.map_or(0, |known| known.attempts).saturating_add(1);
    let kind = EventKind::Started { node: node.clone(), attempt, reason: String::new(), diff: None };
    NodeRecord::after(known, &Event { kind, ..event.clone() }, None).ok()?
}
