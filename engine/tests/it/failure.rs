//! Failures: whom they stop, what is tried again, and what is told of them.

use crate::farm::Farm;
use crate::guardian::run_in_a_child;
use anyhow::{Context, Result};
use drover_engine::Unmet;
use drover_state::{EventKind, Phase};
use std::time::Duration;

#[test]
fn a_failure_stops_what_needs_it_and_nothing_else() -> Result<()> {
    let farm = Farm::new()?;
    let (report, seen) = farm.run("a b:a=fail c:b d:a e:c f:d")?;
    assert_eq!(seen.outcomes(), "a changed, b failed, c blocked by b, d changed, e blocked by b, f changed");
    assert_eq!(report.code, Some(1));
    let failure = seen.failure("b").context("b failed")?;
    assert_eq!((failure.phase, failure.message.as_str()), (Phase::Apply, "cannot write"));
    assert_eq!(failure.status.as_deref(), Some("exit status 3"));
    assert_eq!(failure.tail, ["broken"]);
    let log = std::fs::read_to_string(failure.log.as_ref().context("it has a log")?)?;
    assert!(log.contains("\nbroken\n"), "{log}");
    Ok(())
}

#[test]
fn what_failed_is_done_by_the_next_run() -> Result<()> {
    let farm = Farm::new()?;
    farm.run("a b:a=fail c:b")?;
    let (report, seen) = farm.run("a b:a c:b")?;
    assert_eq!(seen.outcomes(), "a unchanged, b changed, c changed");
    assert_eq!(report.code, Some(0));
    Ok(())
}

#[test]
fn every_way_to_fail_is_a_failure() -> Result<()> {
    let farm = Farm::new()?;
    let (report, seen) = farm.run("a=panic b=idle c=blind d=late e")?;
    assert_eq!((report.failed.len(), report.changed), (4, 1));
    let told = |id| seen.failure(id).map(|failure| (failure.phase, failure.message.as_str()));
    let (phase, panicked) = told("a").context("a failed")?;
    assert_eq!(phase, Phase::Apply);
    assert!(panicked.starts_with("step panicked at ") && panicked.contains("farm.rs:"), "{panicked}");
    assert!(panicked.ends_with(", which is a fault of drover: what now"), "{panicked}");
    assert_eq!(told("b"), Some((Phase::Verify, "done, and yet b does not exist")));
    assert_eq!(told("c"), Some((Phase::Check, "cannot look")));
    let status = seen.failure("d").and_then(|failure| failure.status.as_deref());
    assert!(status.is_some_and(|status| status.starts_with("stopped after 0.")), "{status:?}");
    Ok(())
}

#[test]
fn only_what_may_pass_is_tried_again() -> Result<()> {
    let farm = Farm::new()?;
    let (report, seen) = farm.run("a=flaky b=busy c=fail")?;
    let retries = |id: &str| {
        let is_retry =
            |kind: &EventKind| matches!(kind, EventKind::Retrying { node, .. } if node.as_str() == id);
        seen.events.iter().filter(|event| is_retry(&event.kind)).count()
    };
    assert_eq!((retries("a"), retries("b"), retries("c")), (2, 3, 0));
    assert_eq!((report.changed, report.failed.len()), (1, 2));
    let remedy = seen.failure("b").and_then(|failure| failure.remedy.as_ref()).context("b has a remedy")?;
    assert_eq!(remedy.class, "mirror-busy");
    Ok(())
}

#[test]
fn preconditions_are_told_all_at_once_and_before_anything() -> Result<()> {
    let farm = Farm::new()?;
    let error = farm.run("a b:a=unready c=unready").map(drop).expect_err("this host is not ready");
    let unmet = error.downcast_ref::<Unmet>().context("the error is typed")?;
    assert_eq!(unmet.0.iter().map(|complaint| complaint.id.as_str()).collect::<Vec<_>>(), ["b", "c"]);
    assert!(
        error.to_string().ends_with("`toys` is not installed; `apt-get install toys` (for `b` and `c`)"),
        "{error}"
    );
    assert!(farm.files()?.is_empty());
    assert_eq!(farm.state()?.runs()?, []);
    Ok(())
}

/// What a step of the plan is about to mend does not fail the run in advance.
#[test]
fn what_others_may_mend_is_asked_again_after_them() -> Result<()> {
    for plan in [
        // It provides what is lacking; something before it does not matter, nor that somebody stands between.
        "first a:first b:a c:b=a-made-first d:c",
        // The plan itself says that the one makes ready for the other.
        "tool first:tool! c:first!=tools",
    ] {
        let farm = Farm::new()?;
        let (report, seen) = farm.run(plan)?;
        assert_eq!(
            (report.code, report.changed),
            (Some(0), plan.split(' ').count()),
            "{plan}: {}",
            seen.outcomes()
        );
        let (report, _) = farm.run(plan)?;
        assert_eq!((report.code, report.changed), (Some(0), 0), "{plan}");
    }
    Ok(())
}

#[test]
fn what_nobody_mends_is_told_in_advance() -> Result<()> {
    for (plan, there) in [
        ("b a c:b=a-made-first", ""), // Who would mend it does not come first.
        ("a c=b-made-first", ""),     // Nobody would.
        ("a c:a=tools", ""),          // Nobody says that it hangs on anything.
        ("a c:a!=tools", "a"),        // What comes first is done already.
    ] {
        let farm = Farm::new()?;
        std::fs::create_dir_all(farm.tree())?;
        if !there.is_empty() {
            std::fs::write(farm.tree().join(there), format!("{there}\n"))?;
        }
        let error = farm.run(plan).map(drop).expect_err(plan);
        let unmet = error.downcast_ref::<Unmet>().with_context(|| format!("{plan}: {error:#}"))?;
        assert_eq!(
            unmet.0.iter().map(|complaint| complaint.id.as_str()).collect::<Vec<_>>(),
            ["c"],
            "{plan}"
        );
        assert_eq!(farm.files()?.len(), usize::from(!there.is_empty()), "{plan}");
    }
    // Nor is it, if who would mend it is not selected.
    let mut farm = Farm::new()?;
    farm.only = vec!["c".to_owned()];
    let error = farm.run("a c:a=a-made-first").map(drop).expect_err("nobody mends it");
    assert!(error.is::<Unmet>(), "{error:#}");
    Ok(())
}

#[test]
fn what_is_still_lacking_after_them_fails_the_one_that_lacks_it() -> Result<()> {
    let farm = Farm::new()?;
    // `a` is written, and was no tool.
    let (report, seen) = farm.run("a c:a!=tools d:c e")?;
    assert_eq!(seen.outcomes(), "a changed, c failed, d blocked by c, e changed");
    let failure = seen.failure("c").context("c failed")?;
    assert_eq!((failure.phase, failure.message.as_str()), (Phase::Precondition, "there is no tool"));
    assert_eq!(report.code, Some(1));
    Ok(())
}

#[test]
fn what_one_place_lacks_holds_up_that_place_alone() -> Result<()> {
    let farm = Farm::new()?;
    let (report, seen) = farm.run("host a:host=own-unready after-a:a=own b:host=own after-b:b=own")?;
    assert_eq!(seen.outcomes(), "a failed, after-a blocked by a, after-b changed, b changed, host changed");
    assert_eq!((report.changed, report.failed.len()), (3, 1));
    assert!(seen.failure("a").is_some_and(|failure| failure.message.contains("apt-get install toys")));
    // With nothing left but what serves it, nothing is begun.
    let farm = Farm::new()?;
    let error =
        farm.run("host a:host=own-unready after-a:a=own").map(drop).expect_err("nothing is left to do");
    assert!(error.downcast_ref::<Unmet>().is_some(), "{error}");
    assert!(farm.files()?.is_empty());
    Ok(())
}

#[test]
fn silence_is_told() -> Result<()> {
    let mut farm = Farm::new()?;
    farm.silence = Duration::from_millis(150);
    let (_, seen) = farm.run("a=nap b")?;
    let silent = |event: &&drover_state::Event| matches!(&event.kind, EventKind::Silent { node, .. } if node.as_str() == "a");
    let count = seen.events.iter().filter(silent).count();
    let took = seen.events.iter().find_map(|event| match &event.kind {
        EventKind::Finished { node, millis, .. } if node.as_str() == "a" => Some(*millis),
        _ => None,
    });
    // Told after 150 ms, and then each time after twice as long: however slow the host is, no oftener.
    let told = (1..16).contains(&count) && took.is_some_and(|millis| 150 << (count - 1) <= millis);
    assert!(told, "{count} times in {took:?} ms");
    Ok(())
}

/// On a full disk, nothing more can be recorded: so nothing more is started, and the run ends.
#[test]
fn a_journal_that_cannot_be_written_ends_the_run() -> Result<()> {
    let scratch = tempfile::tempdir()?;
    let others = (0..99).map(|number| format!(" n{number}:a")).collect::<String>();
    let run = run_in_a_child(scratch.path(), &format!("a=fill{others}"))?;
    let program = run.get_program().to_str().context("its name is text")?;
    let arguments = run.get_args().map(|argument| argument.to_string_lossy()).collect::<Vec<_>>().join(" ");
    let script = format!(
        "mount -t tmpfs -o size=4m none {root} && cd {root}; {program} {arguments}; echo code $?; ls tree | wc -l; \
         rm tree/fill; DROVER_TEST_PLAN='a{others}' {program} {arguments}; echo code $?; ls tree | wc -l",
        root = scratch.path().display()
    );
    let mut shell = std::process::Command::new("unshare");
    shell.args(["--map-root-user", "--mount", "sh", "-c", &script]);
    shell.envs(run.get_envs().filter_map(|(name, value)| Some((name, value?))));
    let output = shell.output()?;
    let told = String::from_utf8_lossy(&output.stdout);
    assert!(
        String::from_utf8_lossy(&output.stderr).to_lowercase().contains("no space left on device"),
        "{output:?}"
    );
    let lines: Vec<_> =
        told.lines().filter(|line| line.starts_with("code") || line.parse::<u32>().is_ok()).collect();
    let ["code 101", begun, "code 0", "100"] = lines[..] else { anyhow::bail!("{told}") };
    // What had been cleared to begin may have begun, though its log could not be written: that alone stops no step.
    assert!(begun.parse().is_ok_and(|begun: usize| (2..50).contains(&begun)), "{told}");
    Ok(())
}
