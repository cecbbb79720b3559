//! The marks that processes of a run carry, one for each attempt; and which attempts have processes that are not to outlive the
//! run.
//!
//! It does not know processes, nor who kills them.

use crate::guardian::{BEGUN, ENDED};
use drover_state::NodeId;
use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::process::ChildStdin;
use std::sync::{Arc, Mutex, PoisonError};

/// The mark of an attempt at a step, by which its processes are found, and who is told of it. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Mark {
    text: Arc<str>,
    live: Live,
}

/// One that nobody is told of: for those who only look, and for tests.
impl<S: Into<Arc<str>>> From<S> for Mark {
    fn from(text: S) -> Self {
        Self { text: text.into(), live: Live::default() }
    }
}

impl Mark {
    pub(crate) fn of_run(run: &str, live: Live) -> Self {
        Self { text: run.into(), live }
    }

    /// That of an attempt at a node in this run.
    pub(crate) fn of_attempt(&self, node: &NodeId, attempt: u32) -> Self {
        Self { text: of_attempt(&self.text, node, attempt).into(), live: self.live.clone() }
    }

    /// That of whatever only looks in this run. Nobody looks in order to leave something running, so that all share one.
    pub(crate) fn of_checks(&self) -> Self {
        Self { text: of_checks(&self.text).into(), live: self.live.clone() }
    }

    /// The value of the variable [`crate::MARK`].
    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    /// Somebody with this mark is about to start a process.
    pub(crate) fn begin(&self) {
        self.live.change(&self.text, 1);
    }

    /// Somebody who had begun has ended by himself: whatever still runs was left on purpose.
    pub(crate) fn end(&self) {
        self.live.change(&self.text, -1);
    }
}

/// The mark of an attempt at a node, in the run whose marks begin with `run`.
pub(crate) fn of_attempt(run: &str, node: &NodeId, attempt: u32) -> String {
    format!("{run}.{node}.{attempt}")
}

/// The mark of what only looks, in the run whose marks begin with `run`.
pub(crate) fn of_checks(run: &str) -> String {
    format!("{run}.checks")
}

/// The marks whose processes are not to outlive the run, and the guardian that is told of them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Live(Option<Arc<Mutex<Told>>>);

#[derive(Debug)]
struct Told {
    /// How many have begun with each mark, and not ended.
    marks: BTreeMap<Arc<str>, isize>,
    /// `None` when the run is over.
    guardian: Option<ChildStdin>,
}

impl Live {
    pub(crate) fn told_to(guardian: ChildStdin) -> Self {
        Self(Some(Arc::new(Mutex::new(Told { marks: BTreeMap::new(), guardian: Some(guardian) }))))
    }

    fn change(&self, mark: &Arc<str>, by: isize) {
        let Some(told) = &self.0 else { return };
        let mut told = told.lock().unwrap_or_else(PoisonError::into_inner);
        let count = told.marks.entry(Arc::clone(mark)).or_default();
        let before = std::mem::replace(count, *count + by);
        let (is_first, is_last) = (before == 0, before + by == 0);
        if is_last {
            told.marks.remove(mark);
        }
        let sign = if is_first { BEGUN } else { ENDED };
        if (is_first || is_last)
            && let Some(guardian) = &mut told.guardian
        {
            // One line at once, which no kill can tear. Where somebody has killed the guardian, the run does without.
            let _ = guardian.write_all(format!("{sign}{mark}\n").as_bytes());
        }
    }

    /// Tells the guardian that this is all. Answers which marks have not ended by themselves.
    pub(crate) fn close(&self) -> BTreeSet<String> {
        let Some(told) = &self.0 else { return BTreeSet::new() };
        let mut told = told.lock().unwrap_or_else(PoisonError::into_inner);
        told.guardian = None;
        told.marks.keys().map(|mark| mark.to_string()).collect()
    }
}
