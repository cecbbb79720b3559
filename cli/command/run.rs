//! `drover run`: makes the world as the plan says.

use super::{Planned, state_dir};
use crate::args::{Pace, Passed, Target};
use crate::display;
use crate::exit::Exit;
use anyhow::{Context, Result};
use drover_engine::{Environment, Interrupt, Limits, Options, Report, Retries, Work};
use drover_state::{Journal, Lock};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
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
    super::resume::remember(&state, target, (pace, passed), |_| None)?;
    let (mut journal, notes) = Journal::open(&state, lock)?;
    notes.iter().for_each(|note| eprintln!("drover: {note}"));
    let interrupt = Interrupt::default();
    let signal = listen(&interrupt)?;
    let environment = super::environment(&planned.env, passed);
    let options = options(&planned.name, target, pace, environment, interrupt);
    let work = Work { graph: &planned.graph, selected: &planned.selection, state: &state, options: &options };
    let report = drover_engine::run(&work, &mut journal, display::observer().as_mut())?;
    super::close(journal);
    eprintln!("{}", display::summary(&report, begun.elapsed(), Some("drover resume")));
    Ok(exit(&report, signal.load(Ordering::Relaxed)))
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

/// Makes SIGINT and SIGTERM raise the interrupt, SIGTERM at once to the second level; SIGHUP is survived. Answers with
/// where the first signal's number will be.
pub(crate) fn listen(interrupt: &Interrupt) -> Result<Arc<AtomicU8>> {
    let first = Arc::new(AtomicU8::new(0));
    // A terminal that is closed sends SIGHUP: the run goes on, and `drover status` shows it.
    let hang_up = Arc::default();
    signal_hook::flag::register(signal_hook::consts::SIGHUP, hang_up).context("listening for SIGHUP")?;
    let mut signals = Signals::new([SIGINT, SIGTERM]).context("listening for signals")?;
    let (interrupt, seen) = (interrupt.clone(), first.clone());
    thread::Builder::new()
        .name("signals".to_owned())
        .spawn(move || {
            for signal in signals.forever() {
                let number = u8::try_from(signal).expect("SIGINT and SIGTERM are small numbers");
                let _ = seen.compare_exchange(0, number, Ordering::Relaxed, Ordering::Relaxed);
                if signal == SIGTERM && interrupt.level() == 0 {
                    interrupt.raise();
                }
                display::interrupted(interrupt.raise());
            }
        })
        .context("starting the thread that listens for signals")?;
    Ok(first)
}

pub(crate) fn exit(report: &Report, signal: u8) -> Exit {
    match signal {
        0 if report.is_done() => Exit::Done,
        0 => Exit::Failed,
        // All was done before the signal could stop anything.
        _ if report.is_done() => Exit::Done,
        signal => Exit::Interrupted(signal),
    }
}
