//! `drover destroy`: takes back what the journal says that we made of a plan, last first; shows it, and asks before.

use super::{existing_state_dir, load_text, run};
use crate::args::{Destroy, Pace, Target};
use crate::display::{Display, Failures, summary};
use crate::exit::Exit;
use crate::output::{print, print_json, tell, tell_part};
use crate::signals::Listener;
use anyhow::{Result, bail, ensure};
use drover_engine::{Graph, Interrupt, Kept, NothingSelected, Selection, Takeback, Work};
use drover_state::{Journal, Lock, Records, StateDir};
use drover_steps::plan::{Loaded, nearest};
use std::fmt::Write;
use std::io::{self, IsTerminal};
use std::path::Path;
use std::time::Instant;

const DESTROY: &str = "destroy ";

/// The command that goes on with a run, by its source in the journal: that of an undoing is its own command.
pub(super) fn again(source: &str) -> String {
    if source.starts_with(DESTROY) { format!("drover {source}") } else { "drover resume".to_owned() }
}

/// The command that undoes what is meant by `target`, as one would type it after `drover`.
fn command(target: &Target, options: &Destroy) -> String {
    let quoted = |word: &str| match word.chars().all(|c| c.is_ascii_alphanumeric() || "-_./=:*".contains(c)) {
        true => word.to_owned(),
        false => format!("'{}'", word.replace('\'', r"'\''")),
    };
    let plan = quoted(&target.plan.display().to_string());
    let names = target.only.iter().map(|name| format!(" --container {}", quoted(name)));
    let values = target.set.iter().map(|value| format!(" --set {}", quoted(value)));
    let passed = options.passed.env.iter().map(|name| format!(" --env {name}"));
    let others = options.disregard_others.then(|| " --disregard-others".to_owned());
    names
        .chain(values)
        .chain(passed)
        .chain(others)
        .fold(format!("{DESTROY}{plan}"), |command, option| command + &option)
}

/// Undoes what was made of a plan.
pub(crate) fn destroy(state: Option<&Path>, options: &Destroy) -> Result<Exit> {
    let (plan, text) = load_text(&options.plan, &options.set)?;
    let selected = selection(&plan, &options.container)?;
    if options.dry_run {
        return preview(state, &plan, &selected, options);
    }
    super::require_root()?;
    let Some(state) = existing_state_dir(state)? else { return told(&[], options) };
    let state = StateDir::open(state.path())?;
    let lock = Lock::acquire(&state)?;
    let (mut journal, notes) = Journal::open(&state, lock)?;
    notes.iter().for_each(|note| tell(&format!("drover: {note}")));
    refuse_strangers(&plan.graph, &journal, options)?;
    let interrupt = Interrupt::default();
    let pace = Pace::default();
    let target = target(options);
    let environment = super::environment(&plan.env, &options.passed);
    let mut how = run::options(&plan.name, &target, &pace, environment, interrupt.clone());
    how.source = command(&target, options);
    let work = Work { graph: &plan.graph, selected: &selected, state: &state, options: &how };
    let takebacks = drover_engine::takebacks(&work, &journal);
    let told = told(&takebacks, options)?;
    if !does_something(&takebacks) || !agreed("Undo all this?", "nothing was undone", options.yes)? {
        return Ok(told);
    }
    super::resume::remember(&state, &target, text.as_ref(), (&pace, &options.passed), |target| {
        Some(command(target, options))
    })?;
    let begun = Instant::now();
    let mut display = Display::start()?;
    let listener = Listener::start(&interrupt, display.speaker())?;
    let done = drover_engine::undo(&work, &mut journal, &mut display);
    super::close(journal);
    drop(listener);
    display.finish();
    let (report, kept) = done?;
    tell(&summary(&report, begun.elapsed(), Some(&again(&how.source)), Failures::Brief));
    tell(&left(&kept, &state));
    Ok(Exit::of_run(&report))
}

/// Shows what would be undone, by what the events of the runs say: that needs neither the lock nor a state that can be written.
fn preview(state: Option<&Path>, plan: &Loaded, selected: &[bool], options: &Destroy) -> Result<Exit> {
    let Some(state) = existing_state_dir(state)? else { return told(&[], options) };
    if let Some(holder) = drover_state::holder(&state)? {
        tell(&format!("drover: a run is on, which may still change this: {holder}"));
    }
    let history = super::history(&state)?;
    refuse_strangers(&plan.graph, &history, options)?;
    let environment = super::environment(&plan.env, &options.passed);
    let how = run::options(&plan.name, &target(options), &Pace::default(), environment, Interrupt::default());
    let work = Work { graph: &plan.graph, selected, state: &state, options: &how };
    told(&drover_engine::takebacks(&work, &history), options)
}

fn target(options: &Destroy) -> Target {
    let Destroy { plan, set, .. } = options;
    let (only, exclude, until) = (options.container.clone(), Vec::new(), Vec::new());
    Target { plan: plan.clone(), set: set.clone(), directory: None, no_assist: false, only, exclude, until }
}

/// The whole plan, or the steps of the containers that are named.
pub(super) fn selection(plan: &Loaded, containers: &[String]) -> Result<Vec<bool>> {
    let names: Vec<_> = plan.containers.iter().map(|container| container.name.as_str()).collect();
    if let Some(name) = containers.iter().find(|name| !names.contains(&name.as_str())) {
        let nearest = nearest(name, names.iter().copied()).into_iter().map(str::to_owned).collect();
        return Err(NothingSelected::NoMatch { pattern: name.clone(), nearest }.into());
    }
    let only = containers.iter().map(|name| format!("{name}/*")).collect();
    Selection { only, ..Selection::default() }.of(&plan.graph)
}

/// What was made by another plan, or before this one was edited, may need what this one would take away.
fn refuse_strangers(graph: &Graph, records: &dyn Records, options: &Destroy) -> Result<()> {
    if !options.container.is_empty() || options.disregard_others {
        return Ok(());
    }
    let mut places: Vec<_> = drover_engine::strangers(graph, records);
    places.dedup_by(|one, other| one.place() == other.place());
    if places.is_empty() {
        return Ok(());
    }
    let names: Vec<_> = places.iter().map(|id| format!("`{}`", id.place())).collect();
    bail!(
        "Drover also made {}, which this plan does not know and which may need its host's part: undo that with its own \
         plan first, or undo only containers of this one (`--container NAME`), or all the same (`--disregard-others`)",
        names.join(", ")
    )
}

/// Whether anything would be undone, or what would be cannot be told yet.
fn does_something(takebacks: &[Takeback]) -> bool {
    takebacks.iter().any(|it| !it.does.is_empty() || it.failure.is_some())
}

/// Shows what would be undone.
fn told(takebacks: &[Takeback], options: &Destroy) -> Result<Exit> {
    if options.json {
        print_json(&takebacks)?;
    } else if takebacks.is_empty() {
        print("nothing to undo: the journal names nothing of this that Drover made")?;
    } else {
        print(&shown(takebacks))?;
    }
    Ok(Exit::Done)
}

fn shown(takebacks: &[Takeback]) -> String {
    // Writing to a string cannot fail.
    let mut text = match does_something(takebacks) {
        true => String::from("to be undone, in this order:\n"),
        false => String::from("nothing to undo: what Drover made of this is gone, or stays\n"),
    };
    for Takeback { id, does, keeps, failure, .. } in takebacks {
        if does.is_empty() && keeps.is_empty() && failure.is_none() {
            continue;
        }
        let _ = writeln!(text, "{id}");
        text.extend(does.iter().map(|what| format!("  - {what}\n")));
        text.extend(keeps.iter().map(|what| format!("  kept: {what}\n")));
        if let Some(failure) = failure {
            let _ = writeln!(text, "  cannot be told: {}", failure.why());
        }
    }
    text
}

/// Whether it may be done; else `not` is said.
pub(super) fn agreed(question: &str, not: &str, yes: bool) -> Result<bool> {
    if yes {
        return Ok(true);
    }
    ensure!(
        io::stdin().is_terminal() && io::stderr().is_terminal(),
        "{not}, since nobody can be asked: say `--yes`, or run it at a terminal"
    );
    tell_part(&format!("{question} [y/N] "));
    let mut answer = String::new();
    io::stdin().read_line(&mut answer)?;
    let agreed = matches!(answer.trim(), "y" | "Y" | "yes");
    if !agreed {
        tell(&format!("drover: {not}"));
    }
    Ok(agreed)
}

fn left(kept: &[Kept], state: &StateDir) -> String {
    let lines = kept.iter().map(|(node, what)| format!("kept: {what} ({node})\n"));
    let own = format!("kept: {} (what was done, logs, downloaded packages)\n", state.path().display());
    lines.chain([own]).collect()
}
