//! The reverse of a run: what is recorded as made by us is taken back, what was made last first.
//!
//! One thing after the other, in the thread that also writes the journal: nothing here takes long. What was found as it
//! is and taken over is nobody's to undo. It does not know what steps do, nor what is shown of it.

use crate::failure::{Stop, guard};
use crate::run::guarded;
use crate::{
    Action, Attempt, Cx, Graph, Mark, Observer, Report, Scope, Step, Sweep, Undo, Work, fingerprint,
};
use anyhow::{Context, Result, ensure};
use drover_state::{Event, EventKind, Failure, Journal, NodeId, NodeRecord, Outcome, Phase, Records};
use serde::Serialize;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

/// What taking back a node would do, as the world is now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Takeback {
    /// Which.
    pub id: NodeId,
    /// What it had done.
    pub title: String,
    /// What would be done, in this order.
    pub does: Vec<String>,
    /// What would stay, and why.
    pub keeps: Vec<String>,
    /// Why that cannot be told.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failure: Option<Box<Failure>>,
}

/// Something that stays though its node is undone, and why.
pub type Kept = (NodeId, String);

/// The nodes that are recorded as made by us and that the graph does not know: an earlier plan's, or another one's.
pub fn strangers(graph: &Graph, records: &dyn Records) -> Vec<NodeId> {
    let made = records.nodes().filter(|(id, record)| record.is_made() && graph.find(id.as_str()).is_none());
    let mut ids: Vec<_> = made.map(|(id, _)| id.clone()).collect();
    ids.sort_unstable();
    ids
}

/// What would be taken back, in that order; changes nothing. What goes with something else is not told apart.
pub fn takebacks(work: &Work<'_>, records: &dyn Records) -> Vec<Takeback> {
    let way = Way::back(work, records);
    let told = way.order.iter().map(|node| {
        let step = &work.graph.nodes()[*node].step;
        let (undo, failure) = match guard(Phase::Undo, || step.undo(&way.cx(*node, None, "preview".into()))) {
            Ok(undo) => (undo, None),
            Err(Stop::Failed(failure)) => (Undo::default(), Some(failure)),
            Err(Stop::Interrupted) => (Undo::default(), None),
        };
        Takeback {
            id: way.id(*node),
            title: step.title(),
            does: undo.actions.into_iter().map(|action| action.what).collect(),
            keeps: undo.kept,
            failure,
        }
    });
    told.collect()
}

/// Takes back what is selected and recorded as made by us, and records that. What a node needs stays if it cannot be
/// undone. The answer also has what stays of nodes that are undone.
///
/// # Errors
/// When the journal cannot be written.
pub fn undo(
    work: &Work<'_>,
    journal: &mut Journal,
    observer: &mut dyn Observer,
) -> Result<(Report, Vec<Kept>)> {
    guarded(work, journal, observer, |mark, journal, observer| {
        let way = Way::back(work, journal);
        let nodes = way.order.iter().chain(way.with.values().flatten());
        let chosen = nodes.map(|node| (way.id(*node), fingerprint(work.graph.nodes()[*node].step.as_ref())));
        let begun = journal.begin_run(&work.options.plan, &work.options.source, chosen.collect())?;
        let mut walk =
            Walk { way: &way, mark, journal, observer, report: Report::default(), kept: Vec::new() };
        walk.tell(&begun);
        walk.go()?;
        let code = walk.report.exit_code(work.options.interrupt.first_signal());
        walk.record(vec![EventKind::RunFinished { code }])?;
        Ok((walk.report, walk.kept))
    })
}

/// Which nodes are undone, in which order, and which go with them.
struct Way<'a> {
    work: &'a Work<'a>,
    order: Vec<usize>,
    /// Which nodes go with another one, by that one.
    with: BTreeMap<usize, Vec<usize>>,
    attempts: Vec<u32>,
    /// What was found out on the way.
    sweep: Sweep,
}

impl<'a> Way<'a> {
    fn back(work: &'a Work<'a>, records: &dyn Records) -> Self {
        let nodes = work.graph.nodes();
        let attempts = nodes.iter().map(|node| records.node(&node.id).map_or(0, |record| record.attempts));
        let made = |node: usize| {
            work.selected[node] && records.node(&nodes[node].id).is_some_and(NodeRecord::is_made)
        };
        let mut way = Self {
            work,
            order: Vec::new(),
            with: BTreeMap::new(),
            attempts: attempts.collect(),
            sweep: Sweep::default(),
        };
        let provided = nodes
            .iter()
            .enumerate()
            .flat_map(|(node, it)| it.step.provides().into_iter().map(move |resource| (resource, node)));
        let provider: HashMap<_, _> = provided.collect();
        let mut whole = HashMap::new();
        for &node in work.graph.order().iter().rev().filter(|node| made(**node)) {
            let carrier = nodes[node].step.goes_with().and_then(|it| provider.get(&it).copied());
            match carrier.filter(|it| made(*it)) {
                Some(carrier) if *whole.entry(carrier).or_insert_with(|| way.goes_whole(carrier)) => {
                    way.with.entry(carrier).or_default().push(node);
                }
                _ => way.order.push(node),
            }
        }
        way
    }

    /// Whether undoing the node takes away what goes with it. Where that cannot be told, each has to see for itself.
    fn goes_whole(&self, node: usize) -> bool {
        let step = &self.work.graph.nodes()[node].step;
        let cx = self.cx(node, None, "preview".into());
        guard(Phase::Undo, || step.undo(&cx)).is_ok_and(|undo| undo.whole)
    }

    fn id(&self, node: usize) -> NodeId {
        self.work.graph.nodes()[node].id.clone()
    }

    fn cx(&self, node: usize, log: Option<&Path>, mark: Mark) -> Cx {
        let Work { graph, state, options, .. } = self.work;
        Cx::new(Scope {
            attempt: Arc::new(Undoing { log: log.map(Path::to_owned), memory: state.memory(&self.id(node)) }),
            interrupt: options.interrupt.clone(),
            deadline: Instant::now() + graph.nodes()[node].step.timeout(),
            cache: state.cache().into(),
            environment: options.environment.clone(),
            mark,
            sweep: self.sweep.clone(),
        })
    }
}

/// An attempt at taking something back, or a look at what that would be. Nobody listens.
struct Undoing {
    log: Option<PathBuf>,
    memory: PathBuf,
}

impl Attempt for Undoing {
    fn line(&self, _line: &str) {}

    fn progress(&self, _done: u64, _total: u64) {}

    fn log(&self) -> Option<PathBuf> {
        self.log.clone()
    }

    fn memory(&self) -> Option<PathBuf> {
        Some(self.memory.clone())
    }
}

/// One way back, being gone.
struct Walk<'a> {
    way: &'a Way<'a>,
    mark: Mark,
    journal: &'a mut Journal,
    observer: &'a mut dyn Observer,
    report: Report,
    kept: Vec<Kept>,
}

impl Walk<'_> {
    fn go(&mut self) -> Result<()> {
        let way = self.way;
        let graph = way.work.graph;
        let mut needed_by: Vec<Option<usize>> = vec![None; graph.nodes().len()];
        let chosen: HashSet<_> = way.order.iter().collect();
        for &node in graph.order().iter().rev() {
            if chosen.contains(&node) {
                if way.work.options.interrupt.level() > 0 {
                    return Ok(());
                }
                match needed_by[node] {
                    Some(by) => self.end(node, &Outcome::Blocked { by: way.id(by) }, Instant::now())?,
                    None if !self.undo(node)? => needed_by[node] = Some(node),
                    None => {}
                }
            }
            // What stays may need all that came before it.
            for (before, _) in graph.before(node).filter(|(_, edge)| edge.is_hard()) {
                needed_by[before] = needed_by[before].or(needed_by[node]);
            }
        }
        Ok(())
    }

    /// Undoes a node, and records what came of it: whether that went well.
    fn undo(&mut self, node: usize) -> Result<bool> {
        let begun = Instant::now();
        let id = self.way.id(node);
        let step = &self.way.work.graph.nodes()[node].step;
        let run = self.journal.run().context("no run was begun")?;
        let attempt = self.way.attempts[node] + 1;
        let log = self.way.work.state.log(run, &id, attempt);
        let cx = self.way.cx(node, Some(&log), self.mark.of_attempt(&id, attempt));
        let undone = match guard(Phase::Undo, || step.undo(&cx)) {
            Ok(Undo { actions, kept, .. }) if actions.is_empty() => {
                let outcome = if kept.is_empty() { Outcome::Undone } else { Outcome::Unchanged };
                Ok((kept, outcome))
            }
            Ok(Undo { actions, .. }) => {
                let reason = words(&actions);
                self.record(vec![EventKind::Started { node: id.clone(), attempt, reason, diff: None }])?;
                guard(Phase::Undo, || take(step.as_ref(), &cx, actions))
            }
            Err(stop) => Err(stop),
        };
        let outcome = match undone {
            Ok((kept, outcome)) => {
                self.kept.extend(kept.into_iter().map(|what| (id.clone(), what)));
                outcome
            }
            Err(Stop::Interrupted) => Outcome::Interrupted,
            Err(Stop::Failed(mut failure)) => {
                failure.log = log.exists().then_some(log);
                failure.remedy = (self.way.work.options.diagnose)(&failure);
                Outcome::Failed { failure }
            }
        };
        self.end(node, &outcome, begun)?;
        Ok(matches!(outcome, Outcome::Undone | Outcome::Kept | Outcome::Unchanged))
    }

    /// The node has ended, and with it those that go with it. What they remember is forgotten once that is recorded.
    fn end(&mut self, node: usize, outcome: &Outcome, begun: Instant) -> Result<()> {
        let way = self.way;
        self.finish(node, outcome.clone(), begun)?;
        let theirs = match outcome {
            Outcome::Failed { .. } => Outcome::Blocked { by: way.id(node) },
            other => other.clone(),
        };
        let with = || way.with.get(&node).into_iter().flatten();
        for one in with() {
            self.finish(*one, theirs.clone(), begun)?;
        }
        for one in with().chain([&node]).filter(|_| *outcome == Outcome::Undone) {
            way.work.state.forget(&way.id(*one))?;
        }
        Ok(())
    }

    fn finish(&mut self, node: usize, outcome: Outcome, begun: Instant) -> Result<()> {
        let millis = u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.record(vec![EventKind::Finished { node: self.way.id(node), outcome, millis }])
    }

    fn record(&mut self, kinds: Vec<EventKind>) -> Result<()> {
        let events = self.journal.commit(kinds)?;
        self.journal.write_out()?;
        events.iter().for_each(|event| self.tell(event));
        Ok(())
    }

    fn tell(&mut self, event: &Event) {
        self.observer.event(event);
        self.report.add(event);
        self.observer.tick();
    }
}

/// Does it, and looks again. Answers what stays, and what came of it.
fn take(step: &dyn Step, cx: &Cx, actions: Vec<Action<'_>>) -> Result<(Vec<String>, Outcome)> {
    let (mut had_to, mut stayed) = (Vec::new(), Vec::new());
    let _change = cx.change();
    for action in actions {
        let what = action.what.clone();
        if let Some(why) = action.take(cx)? {
            had_to.push(what);
            stayed.push(why);
        }
    }
    let Undo { mut actions, kept, .. } = step.undo(cx)?;
    actions.retain(|action| !had_to.contains(&action.what));
    ensure!(actions.is_empty(), "undone, and yet this is still to do: {}", words(&actions));
    stayed.extend(kept);
    Ok((stayed, if had_to.is_empty() { Outcome::Undone } else { Outcome::Kept }))
}

fn words(actions: &[Action<'_>]) -> String {
    actions.iter().map(|action| action.what.as_str()).collect::<Vec<_>>().join(", ")
}
