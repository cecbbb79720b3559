//! Everything that can happen in a run. Display, journal and reports are made of these and of nothing else.
//!
//! Events know nothing of one another: what may follow what is in `status`.

use crate::{Failure, NodeId, Programs};
use jiff::Timestamp;
use rustix::time::{ClockId, clock_gettime};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// The number of a run in its state directory, from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RunId(pub u32);

impl std::fmt::Display for RunId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

/// Something that happened, and when.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// The run that it happened in.
    pub run: RunId,
    /// Its place in the run, from 0.
    pub seq: u64,
    /// When it happened.
    pub at: Timestamp,
    /// For how long the system had been up then, in milliseconds, without the time that it slept: by this, durations are
    /// told whatever becomes of the clock. Events of older versions lack it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub up: Option<u64>,
    /// What happened.
    #[serde(flatten)]
    pub kind: EventKind,
}

impl Event {
    /// How long ago it happened, if the system has not been restarted since.
    pub fn age(&self) -> Duration {
        since((self.at, self.up), (Timestamp::now(), Some(uptime())))
    }
}

/// How much time lies between two moments, each as the clock said and as [`Event::up`] says. None, if the clock alone is
/// known and was set back.
pub fn since(
    (earlier_at, earlier_up): (Timestamp, Option<u64>),
    (later_at, later_up): (Timestamp, Option<u64>),
) -> Duration {
    match (earlier_up, later_up) {
        (Some(earlier), Some(later)) if earlier <= later => Duration::from_millis(later - earlier),
        _ => Duration::try_from(later_at.duration_since(earlier_at)).unwrap_or_default(),
    }
}

/// For how long the system is up, in milliseconds, without the time that it slept.
pub(crate) fn uptime() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    let (seconds, nanos) = (u64::try_from(now.tv_sec), u64::try_from(now.tv_nsec));
    seconds.unwrap_or_default() * 1000 + nanos.unwrap_or_default() / 1_000_000
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum EventKind {
    /// A run began: everything below belongs to it.
    RunStarted {
        /// The plan's name.
        plan: String,
        /// The plan's file, as it was given.
        source: String,
        /// All nodes that were selected.
        nodes: Vec<NodeId>,
        /// The process that runs it.
        pid: u32,
    },
    /// A step is about to change the world.
    Started {
        /// Which.
        node: NodeId,
        /// How often this node was started over all runs, from 1.
        attempt: u32,
        /// Why it is needed.
        reason: String,
        /// What changes, where that can be shown as a diff.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        diff: Option<String>,
    },
    /// An attempt failed in a way that may pass, and is made again.
    Retrying {
        /// Which.
        node: NodeId,
        /// The class of the failure.
        class: String,
        /// The failure in one line.
        message: String,
        /// How long it waits first, in milliseconds.
        delay_ms: u64,
    },
    /// A step has written nothing for long.
    Silent {
        /// Which.
        node: NodeId,
        /// For how long, in seconds.
        seconds: u64,
    },
    /// A step says something about how it is done that is worth keeping.
    Remark {
        /// Which.
        node: NodeId,
        /// What.
        text: String,
    },
    /// A step says something about how it is done that somebody should look at.
    Warning {
        /// Which.
        node: NodeId,
        /// What.
        text: String,
    },
    /// A part of a step has run programs of an emulated system, in a way in which they are counted.
    Programs {
        /// Which.
        node: NodeId,
        /// How many, and how.
        #[serde(flatten)]
        programs: Programs,
    },
    /// A step ended.
    Finished {
        /// Which.
        node: NodeId,
        /// How.
        outcome: Outcome,
        /// How long it took, check and all, in milliseconds.
        millis: u64,
    },
    /// The run ended by itself. A run without this event was killed.
    RunFinished {
        /// The exit code that it ended with.
        code: u8,
    },
}

impl EventKind {
    /// Which node it is about, if it is about one.
    pub fn node(&self) -> Option<&NodeId> {
        match self {
            Self::Started { node, .. }
            | Self::Retrying { node, .. }
            | Self::Silent { node, .. }
            | Self::Remark { node, .. }
            | Self::Warning { node, .. }
            | Self::Programs { node, .. }
            | Self::Finished { node, .. } => Some(node),
            Self::RunStarted { .. } | Self::RunFinished { .. } => None,
        }
    }
}

/// How a step ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "outcome", rename_all = "kebab-case")]
pub enum Outcome {
    /// Recorded as done, and found so.
    Unchanged,
    /// Not recorded, yet found done: somebody else did it, and we take it as it is.
    Adopted,
    /// Found done and, since somebody has said so, from now on taken for made by us, so that it is undone one day.
    TakenOver,
    /// It was needed, and done.
    Changed,
    /// Recorded as done, found undone, and done again.
    Drifted,
    /// It was stopped before its end; the next run continues it.
    Interrupted,
    /// It failed.
    Failed {
        /// Why. Boxed: it is large, and rare.
        failure: Box<Failure>,
    },
    /// What it had made was taken back.
    Undone,
    /// What it had made was taken back, but for what has to stay, and that is still recorded as its.
    Kept,
    /// It was not tried, because something it needs has failed.
    Blocked {
        /// What failed.
        by: NodeId,
    },
}

impl Outcome {
    /// Whether what depends on it may start.
    pub fn is_done(&self) -> bool {
        matches!(self, Self::Unchanged | Self::Adopted | Self::TakenOver | Self::Changed | Self::Drifted)
    }

    /// The outcome in one word.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Unchanged => "unchanged",
            Self::Adopted => "adopted",
            Self::TakenOver => "taken-over",
            Self::Changed => "changed",
            Self::Drifted => "drifted",
            Self::Interrupted => "interrupted",
            Self::Failed { .. } => "failed",
            Self::Undone => "undone",
            Self::Kept => "kept",
            Self::Blocked { .. } => "blocked",
        }
    }
}
