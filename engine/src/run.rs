//! A run: preconditions first, then one coordinator that owns schedule, journal and observer, and workers that own
//! nothing.
//!
//! It does not know what steps do, nor what is shown of them.

mod coordinator;
mod front;
mod history;
mod inbox;
mod pace;
mod silence;
mod turns;
mod worker;

use crate::guardian::{self, Guardian, Watch};
use crate::look::Look;
use crate::schedule::Schedule;
use crate::{
    Complaint, Edge, Environment, Graph, Interrupt, Limits, Mark, Observer, Readiness, Report, Retries,
    Sweep, Unmet, fingerprint,
};
use anyhow::{Context, Result};
use coordinator::Coordinator;
use drover_state::{Failure, Journal, Remedy, StateDir};
use front::Front;
use inbox::Inbox;
use rayon::prelude::*;
use rayon::{ThreadPool, ThreadPoolBuilder};
use std::collections::{HashMap, HashSet};
use std::ffi::OsString;
use std::sync::Arc;
use std::time::Duration;
use turns::Turns;
use worker::Worker;

/// What is to be done.
#[derive(Clone, Copy, Debug)]
pub struct Work<'a> {
    /// All nodes of the plan.
    pub graph: &'a Graph,
    /// Which of them are meant, as [`crate::Selection::of`] says.
    pub selected: &'a [bool],
    /// Where the journal is, logs go, and caches are.
    pub state: &'a StateDir,
    /// How.
    pub options: &'a Options,
}

/// How a run is done.
#[derive(Clone, Debug)]
pub struct Options {
    /// The plan's name, for the journal.
    pub plan: String,
    /// The plan's file as it was given, for the journal.
    pub source: String,
    /// How much may go on at the same time.
    pub limits: Limits,
    /// What programs get, but for what a step sets.
    pub environment: Environment,
    /// By which the run is stopped.
    pub interrupt: Interrupt,
    /// How often, and when, failures that may pass are tried again.
    pub retries: Retries,
    /// Whether nothing new starts after a failure; else all goes on that does not need what failed.
    pub fail_fast: bool,
    /// After how much silence of a step a warning is due; the next one after twice as much.
    pub silence: Duration,
    /// What is known about a failure.
    pub diagnose: fn(&Failure) -> Option<Remedy>,
    /// The arguments with which this very program calls [`guardian::watch`]; the run's mark is added as the last one.
    pub guardian: Vec<OsString>,
}

/// Does what is to be done, and records it in the journal. The returned report covers the whole run.
///
/// What a killed run of this state directory left running is killed first.
///
/// # Errors
/// [`Unmet`] when preconditions are not met on which all depends: nothing has been changed or recorded then. Those of
/// [`crate::Step::is_local`] fail their nodes alone, and so do those that are [`crate::Postponed`]. Else when the journal cannot be
/// written: running steps have then been stopped as by a second interrupt, and the next run continues them.
pub fn run(work: &Work<'_>, journal: &mut Journal, observer: &mut dyn Observer) -> Result<Report> {
    guarded(work, journal, observer, |mark, journal, observer| {
        let pool = pool(work.options.limits.jobs)?;
        let sweep = Sweep::default();
        let look = Look {
            interrupt: work.options.interrupt.clone(),
            cache: work.state.cache().into(),
            environment: work.options.environment.clone(),
            mark: mark.of_checks(),
            sweep: sweep.clone(),
            diagnose: work.options.diagnose,
        };
        // What could not be found out, the nodes find out themselves.
        let Readiness { complaints, postponed, .. } =
            pool.install(|| look.preconditions(work.graph, work.selected));
        if are_fatal(work, &complaints) {
            return Err(Unmet(complaints).into());
        }
        let unmet = complaints.into_iter();
        let unmet = unmet.filter_map(|it| Some((work.graph.find(it.id.as_str())?, it.failure))).collect();
        let postponed = postponed.iter().filter_map(|it| work.graph.find(it.complaint.id.as_str())).collect();
        within(&pool, work, Shared { mark, sweep, unmet, postponed }, journal, observer)
    })
}

/// Does something under a guardian, after what a killed run left running was killed. It is told the mark of what it
/// starts.
pub(crate) fn guarded<T>(
    work: &Work<'_>,
    journal: &mut Journal,
    observer: &mut dyn Observer,
    act: impl FnOnce(Mark, &mut Journal, &mut dyn Observer) -> Result<T>,
) -> Result<T> {
    let run = guardian::of_run(&guardian::family(work.state)?, std::process::id());
    let watch = Watch::take(work.state, &work.options.interrupt)?;
    if journal.was_killed() {
        observer.swept(&guardian::sweep(work.state)?);
    }
    let guardian = Guardian::start(&work.options.guardian, &run, watch)?;
    let done = act(guardian.mark(&run), journal, observer);
    // What was stopped may have left something that was out of reach: that is what the guardian is for.
    let gone = guardian.end();
    let done = done?;
    gone?;
    Ok(done)
}

/// Whether nothing is to be begun: something that all depends on is missing, or nothing would be left but what serves
/// nodes that cannot be done.
fn are_fatal(work: &Work<'_>, complaints: &[Complaint]) -> bool {
    if complaints.iter().any(|complaint| !complaint.local) {
        return true;
    }
    let nodes = work.graph.nodes();
    let mut blocked = vec![false; nodes.len()];
    for node in complaints.iter().filter_map(|complaint| work.graph.find(complaint.id.as_str())) {
        blocked[node] = true;
    }
    work.graph.add_downstream(&mut blocked, Edge::is_hard);
    let mut local = (0..nodes.len()).filter(|node| work.selected[*node] && nodes[*node].step.is_local());
    !complaints.is_empty() && local.all(|node| blocked[node])
}

/// What all workers of a run are told.
struct Shared {
    mark: Mark,
    /// What the preconditions have found out.
    sweep: Sweep,
    /// What this host lacks for nodes that hold up only others like them.
    unmet: HashMap<usize, Failure>,
    /// The nodes whose preconditions are to be asked for again when it is their turn.
    postponed: HashSet<usize>,
}

fn within(
    pool: &ThreadPool,
    work: &Work<'_>,
    shared: Shared,
    journal: &mut Journal,
    observer: &mut dyn Observer,
) -> Result<Report> {
    let nodes = work.graph.nodes();
    let prints: Vec<_> =
        pool.install(|| nodes.par_iter().map(|node| fingerprint(node.step.as_ref())).collect());
    let records: Vec<_> = nodes.iter().map(|node| journal.node(&node.id).cloned()).collect();
    let schedule = Schedule::new(work.graph, work.selected, &work.options.limits, |node| {
        let recorded = records[node].as_ref().and_then(|record| record.millis).map(Duration::from_millis);
        recorded.unwrap_or_else(|| nodes[node].step.estimate())
    });
    let chosen = (0..nodes.len()).filter(|node| work.selected[*node]);
    let chosen = chosen.map(|node| (nodes[node].id.clone(), prints[node])).collect();
    let begun = journal.begin_run(&work.options.plan, &work.options.source, chosen)?;
    let Shared { mark, sweep, unmet, postponed } = shared;
    let worker = Worker {
        work,
        run: begun.run,
        unmet,
        postponed,
        records,
        prints,
        state: Arc::new(work.state.clone()),
        cache: work.state.cache().into(),
        looking: mark.of_checks(),
        mark,
        sweep,
        inbox: Arc::new(Inbox::new()),
    };
    let jobs = work.options.limits.jobs.max(1);
    let front = Front::new(work.graph, work.selected, jobs);
    let turns = Turns::new(jobs);
    let mut coordinator = Coordinator::new(&worker, (&front, &turns), schedule, journal, observer);
    coordinator.tell(&begun);
    pool.in_place_scope(|scope| {
        let _at_the_end = turns.closing();
        for _ in 0..pool.current_num_threads() {
            scope.spawn(|_| worker.work(&front, &turns));
        }
        coordinator.coordinate();
    });
    coordinator.conclude()
}

/// A pool of our own: workers wait for child processes, which nobody else's work should have to wait for.
///
/// As many workers apply as there are jobs, and as many more check, so that neither waits for the other.
pub(crate) fn pool(jobs: usize) -> Result<ThreadPool> {
    let builder = ThreadPoolBuilder::new().num_threads(jobs.max(1) * 2);
    builder.thread_name(|number| format!("worker {number}")).build().context("cannot start workers")
}
