//! `drover run`: makes the world as the plan says.

use super::{Planned, state_dir};
use crate::args::{Pace, Passed, Target};
use crate::display::{Display, Failures, summary};
use crate::exit::Exit;
use crate::output::tell;
use crate::signals::Listener;
use anyhow::Result;
use drover_engine::{Environment, Interrupt, Limits, Options, Retries, Work};
use drover_state::{Journal, Lock};
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

/// After how much silence of a step a warning is due.
const SILENCE: Duration = Duration::from_secs(60);

/// How many downloads from mirrors go on at the same time: more would only share the same line.
const MIRROR: u32 = 2;

/// Runs what is selected of a plan.
pub(crate) fn run(state: Option<&Path>, target: &Target, pace: &Pace, passed: &Passed) -> Result<Exit> {
    let begun = Instant::now();
    let planned = Planned::load(target)?;
    super::require_root()?;
    let state = state_dir(state)?;
    let lock = Lock::acquire(&state)?;
    super::resume::remember(&state, target, planned.text.as_ref(), (pace, passed), |_| None)?;
    let (mut journal, notes) = Journal::open(&state, lock)?;
    notes.iter().for_each(|note| tell(&format!("drover: {note}")));
    let interrupt = Interrupt::default();
    let mut display = Display::start()?;
    let listener = Listener::start(&interrupt, display.speaker())?;
    let environment = super::environment(&planned.env, passed);
    let mut options = options(&planned.name, target, pace, environment, interrupt);
    if let Some(text) = &planned.text {
        options.source.clone_from(&text.name);
    }
    let work = Work { graph: &planned.graph, selected: &planned.selection, state: &state, options: &options };
    let done = drover_engine::run(&work, &mut journal, &mut display);
    // Whatever is still to be shown: the state is free, and a signal ends the program from here on.
    super::close(journal);
    drop(listener);
    display.finish();
    let report = done?;
    tell(&summary(&report, begun.elapsed(), Some("drover resume"), Failures::Brief));
    Ok(Exit::of_run(&report))
}

pub(crate) fn options(
    plan: &str,
    target: &Target,
    pace: &Pace,
    environment: Environment,
    interrupt: Interrupt,
) -> Options {
    Options {
        plan: plan.to_owned(),
        source: target.plan.display().to_string(),
        limits: limits(pace),
        environment,
        interrupt,
        retries: Retries::default(),
        silence: SILENCE,
        fail_fast: pace.fail_fast,
        diagnose: drover_steps::diagnosis::diagnose,
        guardian: vec![crate::GUARDIAN.into()],
    }
}

/// Emulation is worth as much at a time as there are processors; most other steps wait for something.
pub(crate) fn limits(pace: &Pace) -> Limits {
    let processors =
        thread::available_parallelism().map_or(1, |count| u16::try_from(count.get()).unwrap_or(u16::MAX));
    let jobs = pace.jobs.unwrap_or(processors.saturating_mul(2));
    let pools = [
        (drover_steps::resource::EMULATION_POOL, u32::from(processors)),
        (drover_steps::resource::MIRROR_POOL, MIRROR),
    ];
    let pools = pools.map(|(pool, capacity)| (pool.to_owned(), capacity));
    Limits { jobs: jobs.into(), pools: pools.into_iter().chain(pace.pools.iter().cloned()).collect() }
}
