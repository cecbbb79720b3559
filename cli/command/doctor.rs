//! `drover doctor`: the host against what a plan needs, with what mends it. Changes nothing.
//!
//! It asks the steps what they would ask before and during a run, and `steps/doctor` for the rest.

use super::load;
use crate::args::{Doctor, Pace};
use crate::exit::Exit;
use crate::output::{print, print_json};
use anyhow::{Context, Result};
use console::style;
use drover_engine::{
    Complaint, Cx, Environment, Finding as Found, Interrupt, Preview, PreviewOptions, Readiness, Sweep,
};
use drover_state::{Failure, StateDir};
use drover_steps::doctor::{Finding, Level, Patient, examine};
use drover_steps::host::HostPackages;
use drover_steps::plan::Loaded;
use serde_json::json;
use std::io::Write;
use std::path::{Path, PathBuf};

/// What is examined where no plan is named: the one that is built in.
const BUILT_IN: &str = include_str!("../../plans/debian-multiarch.ron");

/// Shows how the host is.
pub(crate) fn doctor(state: Option<&Path>, options: &Doctor) -> Result<Exit> {
    let plan = match &options.plan {
        Some(plan) => load(plan, &options.set)?,
        None => built_in(&options.set)?,
    };
    let command = options.plan.as_ref().map_or_else(|| PathBuf::from("PLAN"), PathBuf::clone);
    let state = super::existing_state_dir(state)?;
    let environment = super::environment(&plan.env, &options.passed);
    let asked = asked(&plan, state.as_ref(), &environment, &format!("drover run {}", command.display()))?;
    let patient = Patient { farm: &plan.farm, containers: &plan.containers, state: state.as_ref() };
    // What a step complains of already is not told twice.
    let is_new = |finding: &Finding| asked.iter().all(|known| known.found != finding.found);
    let examined: Vec<_> = examine(&Cx::looking(environment), &patient).into_iter().filter(is_new).collect();
    let mut findings = [asked, examined].concat();
    findings.sort_by_key(|finding| std::cmp::Reverse(finding.level));
    let worst = findings.iter().map(|finding| finding.level).max().unwrap_or(Level::Green);
    if options.json {
        print_json(&json!({ "plan": plan.name, "worst": worst, "findings": findings }))?;
    } else {
        print(&text(&plan.name, &findings))?;
    }
    Ok(if worst == Level::Red { Exit::Unmet } else { Exit::Done })
}

fn built_in(set: &[String]) -> Result<Loaded> {
    let mut file = tempfile::Builder::new().suffix(".ron").tempfile().context("make a temporary file")?;
    file.write_all(BUILT_IN.as_bytes())?;
    load(file.path(), set)
}

/// What the steps say: their preconditions, which a run would stop at, and what it would do on the host.
fn asked(
    plan: &Loaded,
    state: Option<&StateDir>,
    environment: &Environment,
    run: &str,
) -> Result<Vec<Finding>> {
    let how = PreviewOptions {
        jobs: super::run::limits(&Pace::default()).jobs,
        environment: environment.clone(),
        interrupt: Interrupt::default(),
        cache: state
            .map_or_else(|| StateDir::default_path().map(|path| path.join("cache")), |it| Ok(it.cache()))?,
        diagnose: drover_steps::diagnosis::diagnose,
        sweep: Sweep::default(),
    };
    let nodes = plan.graph.nodes();
    let Readiness { complaints, postponed, .. } =
        drover_engine::preconditions(&plan.graph, &vec![true; nodes.len()], &how)?;
    let is_free = |id: &drover_state::NodeId| complaints.iter().all(|complaint| complaint.id != *id);
    let on_host: Vec<bool> =
        nodes.iter().map(|node| node.id.place() == "host" && is_free(&node.id)).collect();
    let previews = drover_engine::preview(&plan.graph, &on_host, &std::collections::HashMap::new(), &how)?;
    let mut findings = told_once(&complaints);
    let later = postponed.iter().map(|it| Finding::amber(it.complaint.id.as_str(), it.to_string(), run));
    findings.extend(later);
    findings.extend(previews.iter().map(|preview| judge(preview, run)));
    Ok(findings)
}

/// Each complaint once, however many nodes have it.
fn told_once(complaints: &[Complaint]) -> Vec<Finding> {
    let mut told: Vec<(Finding, usize)> = Vec::new();
    for Complaint { id, failure, .. } in complaints {
        let found = failure.why();
        match told.iter_mut().find(|(finding, _)| finding.found == found) {
            Some((_, more)) => *more += 1,
            None => told.push((broken(id.as_str(), found, failure), 0)),
        }
    }
    let counted = told.into_iter().map(|(mut finding, more)| {
        if more > 0 {
            finding.about += &format!(" and {more} more");
        }
        finding
    });
    counted.collect()
}

fn judge(Preview { id, title, finding, .. }: &Preview, run: &str) -> Finding {
    match finding {
        Found::Satisfied => Finding::green(id.as_str(), format!("{title}: done")),
        Found::Needed { reason, .. } => {
            let by_hand = HostPackages::by_hand(reason).map(|command| format!("{run}; or {command}"));
            Finding::amber(id.as_str(), reason.as_str(), by_hand.as_deref().unwrap_or(run))
        }
        Found::Unknown { why } => Finding::amber(id.as_str(), why.as_str(), "sudo drover doctor"),
        Found::Failed { failure } => broken(id.as_str(), failure.why(), failure),
    }
}

fn broken(about: &str, found: String, failure: &Failure) -> Finding {
    let mend = failure.remedy.as_ref().map(|remedy| remedy.remedy.clone());
    Finding { level: Level::Red, about: about.to_owned(), found, mend }
}

fn text(plan: &str, findings: &[Finding]) -> String {
    let count = |level: Level| findings.iter().filter(|finding| finding.level == level).count();
    let mut text = format!(
        "{plan}: {} red, {} amber, {} green\n",
        count(Level::Red),
        count(Level::Amber),
        count(Level::Green)
    );
    // What mends several, one after the other, is said once.
    for alike in findings.chunk_by(|one, other| one.mend == other.mend) {
        text.extend(alike.iter().map(line));
        match (alike, &alike[0].mend) {
            (_, None) => {}
            ([_], Some(mend)) => text += &format!("       mend: {mend}\n"),
            (all, Some(mend)) => text += &format!("       mend all {}: {mend}\n", all.len()),
        }
    }
    text
}

fn line(Finding { level, about, found, .. }: &Finding) -> String {
    let level = match level {
        Level::Red => style("red  ").red(),
        Level::Amber => style("amber").yellow(),
        Level::Green => style("green").green(),
    };
    format!("{level}  {about}: {found}\n")
}
