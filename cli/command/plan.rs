//! `drover plan`: what a run would change, and why. Changes nothing; needs no root as far as reading goes.

use super::{Planned, existing_state_dir};
use crate::args::{Pace, Plan};
use crate::exit::Exit;
use crate::output::{print, print_json};
use anyhow::Result;
use console::style;
use drover_engine::{Doubt, Finding, Interrupt, Preview, PreviewOptions, Readiness, Sweep, Unmet};
use drover_state::{NodeId, Records, StateDir, Status};
use serde_json::json;
use std::collections::{BTreeSet, HashMap};
use std::fmt::{Display, Write};
use std::path::Path;

/// Shows what a run would change.
pub(crate) fn plan(state: Option<&Path>, options: &Plan) -> Result<Exit> {
    let planned = Planned::load(&options.target)?;
    let state = existing_state_dir(state)?;
    let recorded = state.as_ref().map(recorded).transpose()?.unwrap_or_default();
    let how = PreviewOptions {
        jobs: super::run::limits(&Pace::default()).jobs,
        environment: super::environment(&planned.env, &options.passed),
        interrupt: Interrupt::default(),
        cache: state
            .map_or_else(|| StateDir::default_path().unwrap_or_default(), |state| state.path().to_owned())
            .join("cache"),
        diagnose: drover_steps::diagnosis::diagnose,
        sweep: Sweep::default(),
    };
    let Readiness { complaints, postponed, mut doubts } =
        drover_engine::preconditions(&planned.graph, &planned.selection, &how)?;
    doubts.extend(postponed.iter().map(|it| Doubt { id: it.complaint.id.clone(), text: it.to_string() }));
    let unmet = Unmet(complaints);
    let previews = drover_engine::preview(&planned.graph, &planned.selection, &recorded, &how)?;
    if options.json {
        let answer = json!({ "plan": planned.name, "nodes": previews, "unmet": unmet.0, "doubts": doubts });
        print_json(&answer)?;
    } else {
        let text = text(&previews, &unmet, options.brief);
        let limits = limits(&planned, &unmet, &doubts, &previews);
        print(&(text + &limits))?;
    }
    Ok(exit(&previews, &unmet, options.detailed_exitcode))
}

/// What is recorded, from the events of all runs: the journal itself may be in use by a run.
fn recorded(state: &StateDir) -> Result<HashMap<NodeId, Status>> {
    let history = super::history(state)?;
    Ok(history.nodes().map(|(node, record)| (node.clone(), record.status)).collect())
}

fn text(previews: &[Preview], unmet: &Unmet, brief: bool) -> String {
    // Writing to a string cannot fail.
    let mut text = format!("{}\n", counts(previews));
    for Preview { id, finding, recorded, .. } in previews {
        let _ = match finding {
            Finding::Satisfied => continue,
            Finding::Needed { reason, .. } => writeln!(text, "{} {id}: {reason}", sign(*recorded)),
            Finding::Unknown { why } => writeln!(text, "{} {id}: {why}", style("?").yellow()),
            Finding::Failed { failure } => writeln!(text, "{}", crate::display::failure(id, failure)),
        };
        if let Finding::Needed { diff: Some(diff), .. } = finding
            && !brief
        {
            for line in diff.lines() {
                let _ = writeln!(text, "    {}", coloured(line));
            }
        }
    }
    let all: Vec<_> = unmet.0.iter().filter(|complaint| !complaint.local).cloned().collect();
    if !all.is_empty() {
        let _ = writeln!(text, "\n{}", Unmet(all));
    }
    text
}

/// Container by container, what this host cannot build, what may turn out so, and what it can, where that is not all.
fn limits(planned: &Planned, unmet: &Unmet, doubts: &[Doubt], previews: &[Preview]) -> String {
    let (local, all): (Vec<_>, Vec<_>) = unmet.0.iter().partition(|complaint| complaint.local);
    let cannot = by_reason(planned, local.iter().map(|complaint| (&complaint.id, complaint.failure.why())));
    let may_not = by_reason(planned, doubts.iter().map(|doubt| (&doubt.id, doubt.text.clone())));
    let told: BTreeSet<_> = cannot.iter().chain(&may_not).flat_map(|(_, places)| places).copied().collect();
    let mut text = String::new();
    let title = "this host cannot build all of it; a run leaves these out, and what needs them:";
    list(&mut text, title, &style("!").red(), &cannot);
    let title = "whether it can build these is not known; a run tries:";
    list(&mut text, title, &style("?").yellow(), &may_not);
    if told.is_empty() || !all.is_empty() {
        return text;
    }
    let unclear =
        |preview: &&Preview| matches!(preview.finding, Finding::Failed { .. } | Finding::Unknown { .. });
    let unclear = planned.containers_after(previews.iter().filter(unclear).map(|preview| &preview.id));
    let can = planned.containers_with(|_| true).into_iter();
    let can: Vec<_> = can.filter(|name| !told.contains(name) && !unclear.contains(name)).collect();
    if !can.is_empty() {
        let _ = writeln!(text, "\nit can build {}", can.join(", "));
    }
    text
}

fn list(text: &mut String, title: &str, sign: &dyn Display, reasons: &[(String, BTreeSet<&str>)]) {
    if !reasons.is_empty() {
        let _ = writeln!(text, "\n{title}");
    }
    for (why, places) in reasons {
        let places: Vec<_> = places.iter().copied().collect();
        let _ = writeln!(text, "{sign} {}: {why}", places.join(", "));
    }
}

/// Reasons, each once, with the containers for which it counts; where there are none, with the place itself.
fn by_reason<'a>(
    planned: &'a Planned,
    reasons: impl Iterator<Item = (&'a NodeId, String)>,
) -> Vec<(String, BTreeSet<&'a str>)> {
    let mut told: Vec<(String, BTreeSet<&str>)> = Vec::new();
    for (id, why) in reasons {
        let mut places: BTreeSet<_> = planned.containers_after([id]).into_iter().collect();
        let known = told.iter().position(|(other, _)| *other == why);
        if places.is_empty() && known.is_none() {
            places.insert(id.place());
        }
        match known {
            Some(known) => told[known].1.extend(places),
            None => told.push((why, places)),
        }
    }
    told
}

/// `+` for what was never done, `~` for what was done and has drifted or was interrupted.
fn sign(recorded: Status) -> console::StyledObject<&'static str> {
    match recorded {
        Status::Unknown => style("+").green(),
        Status::Done | Status::Started | Status::Failed | Status::Interrupted => style("~").yellow(),
    }
}

fn coloured(line: &str) -> console::StyledObject<&str> {
    match line.as_bytes().first() {
        Some(b'+') => style(line).green(),
        Some(b'-') => style(line).red(),
        _ => style(line).dim(),
    }
}

fn counts(previews: &[Preview]) -> String {
    let count = |kind: fn(&Finding) -> bool| previews.iter().filter(|preview| kind(&preview.finding)).count();
    let needed = count(|finding| matches!(finding, Finding::Needed { .. }));
    let satisfied = count(|finding| matches!(finding, Finding::Satisfied));
    let unknown = count(|finding| matches!(finding, Finding::Unknown { .. }));
    let failed = count(|finding| matches!(finding, Finding::Failed { .. }));
    let mut text = format!("{needed} to do, {satisfied} as the plan says");
    if unknown > 0 {
        let _ = write!(text, ", {unknown} that only root can tell");
    }
    if failed > 0 {
        let _ = write!(text, ", {failed} that cannot be told");
    }
    text
}

fn exit(previews: &[Preview], unmet: &Unmet, detailed: bool) -> Exit {
    let any = |kind: fn(&Finding) -> bool| previews.iter().any(|preview| kind(&preview.finding));
    if any(|finding| matches!(finding, Finding::Failed { .. })) {
        Exit::Failed
    } else if !unmet.0.is_empty() {
        Exit::Unmet
    } else if detailed && any(|finding| !matches!(finding, Finding::Satisfied)) {
        Exit::WouldChange
    } else {
        Exit::Done
    }
}
