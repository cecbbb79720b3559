//! Running again: what is done stays done, and a run that was killed anywhere is continued to the same result.

use crate::farm::{Farm, Seen};
use anyhow::Result;
use drover_engine::fingerprint;
use drover_state::{Event, EventKind, NodeId, Outcome};

const PLAN: &str = "a b:a c:a d:b,c e:d f";

#[test]
fn the_second_run_changes_nothing() -> Result<()> {
    let farm = Farm::new()?;
    let (report, _) = farm.run(PLAN)?;
    assert_eq!((report.changed, report.code), (6, Some(0)));
    let before = farm.files()?;
    let (report, _) = farm.run(PLAN)?;
    assert_eq!((report.unchanged, report.code), (6, Some(0)));
    assert_eq!(farm.files()?, before);
    Ok(())
}

#[test]
fn the_world_decides_and_the_journal_remembers() -> Result<()> {
    let farm = Farm::new()?;
    std::fs::create_dir_all(farm.tree())?;
    std::fs::write(farm.tree().join("a"), "a\n")?;
    assert_eq!(farm.run("a b c")?.1.outcomes(), "a adopted, b changed, c changed");
    std::fs::write(farm.tree().join("b"), "something else\n")?;
    assert_eq!(farm.run("a b c")?.1.outcomes(), "a unchanged, b drifted, c unchanged");
    assert_eq!(farm.run("a b c")?.1.outcomes(), "a unchanged, b unchanged, c unchanged");
    Ok(())
}

#[test]
fn a_plan_that_changed_is_no_drift_and_no_reason_to_act() -> Result<()> {
    let farm = Farm::new()?;
    farm.run("a")?;
    let (_, seen) = farm.run("a=idle")?;
    assert_eq!(seen.outcomes(), "a unchanged");
    assert_eq!(seen.lines, ["a: the plan says something new here, but nothing that asks for a change"]);
    assert!(farm.run("a=idle")?.1.lines.is_empty());
    std::fs::remove_file(farm.tree().join("a"))?;
    let (_, seen) = farm.run("a")?;
    assert_eq!(seen.outcomes(), "a changed");
    assert_eq!(seen.reason("a"), Some("a does not exist; the plan has changed here"));
    Ok(())
}

#[test]
fn what_is_not_selected_is_left_alone() -> Result<()> {
    let mut farm = Farm::new()?;
    farm.only = vec!["a".to_owned(), "d".to_owned()];
    assert_eq!(farm.run(PLAN)?.1.outcomes(), "a changed, d changed");
    assert_eq!(farm.files()?.into_keys().collect::<Vec<_>>(), ["a", "d"]);
    Ok(())
}

/// What a killed run may have left of the step that it was in.
#[derive(Clone, Copy, Debug)]
enum Left {
    Nothing,
    Half,
    Everything,
}

/// A run is killed after each of its events, with what it was about to do undone, half done, or done: whoever runs the
/// plan again comes to the same result, and does again only what was not recorded as done.
#[test]
fn a_run_killed_after_any_event_is_continued() -> Result<()> {
    let farm = Farm::new()?;
    let (_, whole) = farm.run(PLAN)?;
    let result = farm.files()?;
    for kept in 1..=whole.events.len() {
        for left in [Left::Nothing, Left::Half, Left::Everything] {
            let resumed = Farm::new()?;
            leave(&resumed, &whole.events[..kept], left)?;
            let (report, seen) = resumed.run(PLAN)?;
            assert_eq!(resumed.files()?, result, "after {kept} events, {left:?}");
            assert_eq!(report.code, Some(0), "after {kept} events, {left:?}");
            check_outcomes(&whole.events[..kept], &seen, left);
        }
    }
    Ok(())
}

/// Makes the journal and the tree that a kill after these events leaves.
fn leave(farm: &Farm, events: &[Event], left: Left) -> Result<()> {
    std::fs::create_dir_all(farm.tree())?;
    let graph = farm.graph(PLAN)?;
    let nodes = graph.nodes().iter().map(|node| (node.id.clone(), fingerprint(node.step.as_ref())));
    let mut journal = farm.journal()?;
    journal.begin_run("toys", "plan.ron", nodes.collect())?;
    for event in &events[1..] {
        journal.commit(vec![event.kind.clone()])?;
    }
    for (node, is_done) in started(events) {
        let content = format!("{node}\n");
        match (is_done, left) {
            (true, _) | (false, Left::Everything) => {
                std::fs::write(farm.tree().join(node.as_str()), content)?;
            }
            (false, Left::Half) => std::fs::write(farm.tree().join(format!("{node}.partial")), "half")?,
            (false, Left::Nothing) => {}
        }
    }
    Ok(())
}

/// The nodes that were started, and whether they were done.
fn started(events: &[Event]) -> Vec<(NodeId, bool)> {
    let is_end =
        |event: &Event, id: &NodeId| matches!(&event.kind, EventKind::Finished { node, .. } if node == id);
    let started = events.iter().filter_map(|event| match &event.kind {
        EventKind::Started { node, .. } => {
            Some((node.clone(), events.iter().any(|event| is_end(event, node))))
        }
        _ => None,
    });
    started.collect()
}

fn check_outcomes(kept: &[Event], seen: &Seen<'_>, left: Left) {
    let started = started(kept);
    for event in &seen.events {
        let EventKind::Finished { node, outcome, .. } = &event.kind else { continue };
        let expected = match started.iter().find(|(id, _)| id == node) {
            Some((_, true)) => Outcome::Unchanged,
            Some((_, false)) if matches!(left, Left::Everything) => Outcome::Adopted,
            _ => Outcome::Changed,
        };
        assert_eq!(*outcome, expected, "{node} after {} events, {left:?}", kept.len());
    }
}
