//! What a check means in the light of what is recorded. The journal remembers, the world decides.
//!
//! Pure: it does not know where the records come from.

use crate::fingerprint::is_changed;
use drover_state::{NodeRecord, Outcome, Status};
use std::time::Duration;

/// What a check said that did not find the step done.
#[derive(Debug)]
pub(super) struct Finding {
    pub(super) reason: String,
    pub(super) diff: Option<String>,
    /// How long the check took.
    pub(super) took: Duration,
}

/// A step that is needed.
#[derive(Debug)]
pub(super) struct Needed {
    pub(super) finding: Finding,
    /// Its outcome, if it is done now.
    pub(super) outcome: Outcome,
}

impl Needed {
    /// What the finding means for a step with this fingerprint.
    pub(super) fn new(finding: Finding, record: Option<&NodeRecord>, print: u64) -> Self {
        let Some(record) = record else { return Self { finding, outcome: Outcome::Changed } };
        let Finding { reason, diff, took } = finding;
        let is_same = !is_changed(record.fingerprint, print);
        let (reason, outcome) = match record.status {
            Status::Done if is_same => (reason, Outcome::Drifted),
            Status::Done => (format!("{reason}; the plan has changed here"), Outcome::Changed),
            Status::Started | Status::Interrupted => {
                let run = record.run;
                let reason = format!("{reason}; run {run} was interrupted in it, and it is continued");
                (reason, Outcome::Changed)
            }
            Status::Failed | Status::Unknown => (reason, Outcome::Changed),
        };
        Self { finding: Finding { reason, diff, took }, outcome }
    }
}

/// What it means that a step with this fingerprint was found done, and what is to be remarked about it.
pub(super) fn found_done(record: Option<&NodeRecord>, print: u64) -> (Outcome, Option<&'static str>) {
    let Some(record) = record.filter(|record| record.status == Status::Done) else {
        return (Outcome::Adopted, None);
    };
    let is_news = is_changed(record.fingerprint, print);
    let remark = is_news.then_some("the plan says something new here, but nothing that asks for a change");
    (Outcome::Unchanged, remark)
}
