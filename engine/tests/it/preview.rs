//! The dry run tells what a run would do, and does nothing.

use crate::farm::{Farm, diagnose};
use anyhow::Result;
use drover_engine::{
    Finding, Interrupt, Interrupted, PreviewOptions, Readiness, Sweep, preconditions, preview,
};
use drover_state::Status;
use std::collections::HashMap;
use std::path::PathBuf;

fn options() -> PreviewOptions {
    PreviewOptions {
        jobs: 2,
        interrupt: Interrupt::default(),
        cache: PathBuf::from("/nowhere"),
        environment: drover_engine::Environment::default(),
        diagnose,
        sweep: Sweep::default(),
    }
}

#[test]
fn it_tells_what_a_run_would_find() -> Result<()> {
    let farm = Farm::new()?;
    std::fs::create_dir_all(farm.tree())?;
    std::fs::write(farm.tree().join("a"), "a\n")?;
    std::fs::write(farm.tree().join("b"), "old\n")?;
    let graph = farm.graph("c:b=blind b:a a")?;
    let recorded = HashMap::from([("a".into(), Status::Done)]);
    let found = preview(&graph, &[true; 3], &recorded, &options())?;
    let ids: Vec<_> = found.iter().map(|preview| (preview.id.as_str(), preview.recorded)).collect();
    assert_eq!(ids, [("a", Status::Done), ("b", Status::Unknown), ("c", Status::Unknown)]);
    assert_eq!(found[0].finding, Finding::Satisfied);
    let Finding::Needed { reason, diff: Some(diff) } = &found[1].finding else { panic!("{:?}", found[1]) };
    assert_eq!(reason, "b differs from what the plan says");
    assert!(diff.ends_with("-old\n+b\n"), "{diff}");
    assert!(matches!(&found[2].finding, Finding::Failed { failure } if failure.message == "cannot look"));
    assert_eq!(farm.files()?.len(), 2);
    assert_eq!(serde_json::to_value(&found[0])?["finding"], "satisfied");
    Ok(())
}

#[test]
fn it_looks_at_what_is_selected_only() -> Result<()> {
    let farm = Farm::new()?;
    let graph = farm.graph("a=blind b")?;
    let found = preview(&graph, &[false, true], &HashMap::new(), &options())?;
    assert_eq!(found.iter().map(|preview| preview.id.as_str()).collect::<Vec<_>>(), ["b"]);
    Ok(())
}

#[test]
fn it_can_be_interrupted() -> Result<()> {
    let farm = Farm::new()?;
    let options = options();
    options.interrupt.raise();
    let graph = farm.graph("a")?;
    let error = preview(&graph, &[true], &HashMap::new(), &options).expect_err("it was interrupted");
    assert!(error.is::<Interrupted>());
    assert!(preconditions(&graph, &[true], &options).expect_err("it was interrupted").is::<Interrupted>());
    Ok(())
}

#[test]
fn what_waits_for_others_is_told_with_them() -> Result<()> {
    let farm = Farm::new()?;
    let graph = farm.graph("first a:first c:a=a-made-first")?;
    let Readiness { complaints, postponed, .. } = preconditions(&graph, &[true; 3], &options())?;
    assert_eq!(complaints, []);
    let told: Vec<_> = postponed.iter().map(ToString::to_string).collect();
    assert_eq!(told, ["there is no a; that is asked again after `first`, `a`"]);
    assert_eq!(postponed[0].complaint.id.as_str(), "c");
    Ok(())
}

#[test]
fn preconditions_can_be_asked_for_alone() -> Result<()> {
    let farm = Farm::new()?;
    let graph = farm.graph("a=unready b=unsure c=unready d=unsure")?;
    let Readiness { complaints, postponed, doubts } =
        preconditions(&graph, &[true, true, false, true], &options())?;
    assert_eq!(postponed, []);
    let doubts: Vec<_> = doubts.iter().map(|doubt| (doubt.id.as_str(), doubt.text.as_str())).collect();
    assert_eq!(doubts, [("b", "nobody knows b"), ("d", "nobody knows d")]);
    assert_eq!(complaints.iter().map(|complaint| complaint.id.as_str()).collect::<Vec<_>>(), ["a"]);
    Ok(())
}
