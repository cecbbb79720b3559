//! Taking over: what is found done is recorded as made by us, so that it is undone one day. For a farm whose state was lost.
//!
//! It changes nothing but what is recorded, and does not know what steps do, nor what is shown of it.

use crate::cx::TAKEN_OVER;
use crate::failure::{Stop, guard};
use crate::{Attempt, Check, Cx, Observer, Report, Scope, Sweep, Work, fingerprint};
use anyhow::{Context, Result};
use drover_state::{EventKind, Journal, NodeId, NodeRecord, Outcome, Phase, Records};
use serde::Serialize;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

/// What taking over a node would mean, as the world is now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Takeover {
    /// Which.
    pub id: NodeId,
    /// What it does.
    pub title: String,
    /// Why it is not taken over, if it is not: it is not done, or that cannot be told.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub not: Option<String>,
}

/// What of the selected nodes would be taken over: those that are not recorded as made by us, in the order of the plan.
/// Changes nothing.
pub fn takeovers(work: &Work<'_>, records: &dyn Records) -> Vec<Takeover> {
    let nodes = work.graph.nodes();
    let is_made = |node: usize| records.node(&nodes[node].id).is_some_and(NodeRecord::is_made);
    let asked = work.graph.order().iter().copied().filter(|node| work.selected[*node] && !is_made(*node));
    let told = asked.map(|node| Takeover {
        id: nodes[node].id.clone(),
        title: nodes[node].step.title(),
        not: why_not(work, node),
    });
    told.collect()
}

/// Why a node cannot be taken over.
fn why_not(work: &Work<'_>, node: usize) -> Option<String> {
    let step = &work.graph.nodes()[node].step;
    match guard(Phase::Check, || step.check(&cx(work, node))) {
        Ok(Check::Satisfied) => None,
        Ok(Check::Needed { reason, .. }) => Some(reason),
        Err(Stop::Interrupted) => Some("interrupted".to_owned()),
        Err(Stop::Failed(failure)) => Some(failure.why()),
    }
}

/// Records these nodes as made by us. To be called with what [`takeovers`] has found and somebody has agreed to.
///
/// # Errors
/// When it cannot be recorded.
pub fn take_over(
    work: &Work<'_>,
    takeovers: &[Takeover],
    journal: &mut Journal,
    observer: &mut dyn Observer,
) -> Result<Report> {
    let nodes = work.graph.nodes();
    let chosen =
        takeovers.iter().filter(|it| it.not.is_none()).filter_map(|it| work.graph.find(it.id.as_str()));
    let chosen: Vec<_> = chosen.collect();
    let prints = chosen.iter().map(|node| (nodes[*node].id.clone(), fingerprint(nodes[*node].step.as_ref())));
    let mut report = Report::default();
    let begun = journal.begin_run(&work.options.plan, &work.options.source, prints.collect())?;
    let mut tell = |event: &_| {
        observer.event(event);
        report.add(event);
    };
    tell(&begun);
    for node in chosen {
        let begun = Instant::now();
        // Before it is recorded: what is recorded as made and remembers nothing would be left alone.
        cx(work, node).remember(TAKEN_OVER, "")?;
        let millis = u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX);
        let finished =
            EventKind::Finished { node: nodes[node].id.clone(), outcome: Outcome::TakenOver, millis };
        journal.commit(vec![finished])?.iter().for_each(&mut tell);
    }
    journal.commit(vec![EventKind::RunFinished { code: 0 }])?.iter().for_each(&mut tell);
    journal.write_out().context("what was taken over is recorded, but cannot be shown")?;
    observer.tick();
    Ok(report)
}

fn cx(work: &Work<'_>, node: usize) -> Cx {
    let node = &work.graph.nodes()[node];
    Cx::new(Scope {
        attempt: Arc::new(Looking { memory: work.state.memory(&node.id) }),
        interrupt: work.options.interrupt.clone(),
        deadline: Instant::now() + node.step.timeout(),
        cache: work.state.cache().into(),
        environment: work.options.environment.clone(),
        mark: "look".into(),
        sweep: Sweep::default(),
    })
}

/// A look at a node, of which only its memory is kept.
struct Looking {
    memory: PathBuf,
}

impl Attempt for Looking {
    fn line(&self, _line: &str) {}

    fn progress(&self, _done: u64, _total: u64) {}

    fn memory(&self) -> Option<PathBuf> {
        Some(self.memory.clone())
    }
}
