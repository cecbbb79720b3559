//! Interrupts: once, nothing new starts; twice, what runs is ended; and the next run goes on.

use crate::farm::Farm;
use anyhow::Result;
use drover_engine::Interrupt;
use drover_state::EventKind;
use std::time::{Duration, Instant};

/// Runs the plan and raises the interrupt to `level` as soon as a step has started.
fn interrupt(farm: &Farm, plan: &str, level: u8) -> Result<(Option<u8>, String)> {
    let interrupt = farm.interrupt.clone();
    let (report, seen) = farm.react(plan, &mut |event| {
        if matches!(event, EventKind::Started { .. }) {
            while interrupt.raise() < level {}
        }
    })?;
    Ok((report.code, seen.outcomes()))
}

#[test]
fn once_lets_what_runs_end() -> Result<()> {
    let mut farm = Farm::new()?;
    assert_eq!(interrupt(&farm, "a=nap b:a c:b", 1)?, (Some(130), "a changed".to_owned()));
    farm.interrupt = Interrupt::default();
    let (report, seen) = farm.run("a=nap b:a c:b")?;
    assert_eq!(seen.outcomes(), "a unchanged, b changed, c changed");
    assert_eq!(report.code, Some(0));
    Ok(())
}

#[test]
fn once_lets_nothing_begin_that_was_cleared_ahead() -> Result<()> {
    let mut farm = Farm::new()?;
    farm.jobs = 1;
    let names: Vec<_> = (0..200).map(|number| format!("n{number}")).collect();
    let plan = names.join(" ");
    farm.run(&plan)?;
    // That they take milliseconds is known now.
    for name in &names {
        std::fs::remove_file(farm.tree().join(name))?;
    }
    let (interrupt, mut started) = (farm.interrupt.clone(), 0);
    let (report, seen) = farm.react(&plan, &mut |event| {
        started += usize::from(matches!(event, EventKind::Started { .. }));
        if started == 100 && interrupt.level() == 0 {
            interrupt.raise();
        }
    })?;
    assert_eq!(report.code, Some(130));
    let there = names.iter().filter(|name| farm.tree().join(name).exists()).count();
    let outcomes = seen.outcomes();
    let count = |word: &str| outcomes.split(", ").filter(|outcome| outcome.ends_with(word)).count();
    // Each that was said to be started has an end, and those that had no job yet were not begun.
    assert_eq!((count("drifted"), count("drifted") + count("interrupted")), (there, started), "{outcomes}");
    assert!(there < 200 && started >= 100, "{there} of {started}: {outcomes}");
    Ok(())
}

#[test]
fn twice_ends_what_runs() -> Result<()> {
    let mut farm = Farm::new()?;
    let begun = Instant::now();
    assert_eq!(interrupt(&farm, "a=sleep b:a", 2)?, (Some(130), "a interrupted".to_owned()));
    assert!(begun.elapsed() < Duration::from_secs(5));
    farm.interrupt = Interrupt::default();
    let (_, seen) = farm.run("a b:a")?;
    assert_eq!(seen.outcomes(), "a changed, b changed");
    let reason = seen.reason("a").unwrap_or_default();
    assert_eq!(reason, "a does not exist; run 1 was interrupted in it, and it is continued");
    Ok(())
}

#[test]
fn twice_also_ends_what_left_its_group() -> Result<()> {
    let farm = Farm::new()?;
    assert_eq!(interrupt(&farm, "a=stray", 3)?.1, "a interrupted");
    let pid = std::fs::read_to_string(farm.tree().join("stray")).unwrap_or_default();
    let state = std::fs::read_to_string(format!("/proc/{}/stat", pid.trim()));
    assert!(
        pid.is_empty() || state.is_err() || state.is_ok_and(|state| state.contains(") Z ")),
        "{pid} is there"
    );
    Ok(())
}

#[test]
fn a_check_that_is_ended_leaves_the_record_as_it_was() -> Result<()> {
    let mut farm = Farm::new()?;
    farm.run("a")?;
    let shared = farm.interrupt.clone();
    let raise = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(300));
        while shared.raise() < 2 {}
    });
    let (report, seen) = farm.run("a=slow-check b:a")?;
    raise.join().expect("raising does not panic");
    assert_eq!((report.code, seen.outcomes().as_str()), (Some(130), ""));
    farm.interrupt = Interrupt::default();
    assert_eq!(farm.run("a b:a")?.1.outcomes(), "a unchanged, b changed");
    Ok(())
}

#[test]
fn before_the_start_nothing_is_done() -> Result<()> {
    let farm = Farm::new()?;
    farm.interrupt.raise();
    let (report, seen) = farm.run("a b:a")?;
    assert_eq!((report.code, seen.outcomes().as_str()), (Some(130), ""));
    assert!(farm.files()?.is_empty());
    Ok(())
}
