//! `drover state`: looks after the state directory, and takes over a farm whose state was lost.

use super::destroy::{agreed, selection};
use super::{existing_state_dir, load, run, state_dir};
use crate::args::{Adopt, Pace, State, StateCheck, StateVerb, Target};
use crate::display::{Display, Failures, summary};
use crate::exit::Exit;
use crate::output::{print, print_bytes, print_json, tell};
use anyhow::Result;
use drover_engine::{Interrupt, Takeover, Work};
use drover_state::{Fault, Journal, Lock, StateDir};
use serde_json::json;
use std::fmt::Write;
use std::path::Path;
use std::time::Instant;

/// So many bytes are written at a time.
const ROOM: usize = 64 << 10;

/// Does what the verb says.
pub(crate) fn state(state: Option<&Path>, options: &State) -> Result<Exit> {
    match &options.verb {
        StateVerb::Check(options) => check(state, options),
        StateVerb::Repair => repair(state),
        StateVerb::Export => export(state),
        StateVerb::Adopt(options) => adopt(state, options),
    }
}

fn check(given: Option<&Path>, options: &StateCheck) -> Result<Exit> {
    let Some(state) = existing_state_dir(given)? else {
        return print("there is no state: nothing was run yet").map(|()| Exit::Done);
    };
    let (faults, holder) = drover_state::check(&state)?;
    if options.json {
        print_json(&json!({ "state": state.path(), "faults": faults, "running": holder }))?;
    } else {
        let mut text = match faults.len() {
            0 => format!("{}: nothing is damaged\n", state.path().display()),
            1 => format!("{}: one thing is not as it should be\n", state.path().display()),
            count => format!("{}: {count} things are not as they should be\n", state.path().display()),
        };
        for Fault { path, found, consequence, .. } in &faults {
            let _ = writeln!(text, "{}: {found}\n  {consequence}", path.display());
        }
        if let Some(holder) = holder {
            let _ = writeln!(text, "a run is on, so its journal was not looked into: {holder}");
        }
        if !faults.is_empty() {
            text += "to mend it: drover state repair\n";
        }
        print(&text)?;
    }
    Ok(if faults.is_empty() { Exit::Done } else { Exit::Failed })
}

fn repair(given: Option<&Path>) -> Result<Exit> {
    let Some(state) = existing_state_dir(given)? else {
        return print("there is no state: nothing was run yet").map(|()| Exit::Done);
    };
    let told = drover_state::repair(state.path())?;
    match told.as_slice() {
        [] => print("nothing is damaged, and nothing was changed")?,
        told => print(&told.join("\n"))?,
    }
    Ok(Exit::Done)
}

fn export(given: Option<&Path>) -> Result<Exit> {
    let Some(state) = existing_state_dir(given)? else { return Ok(Exit::Done) };
    let mut text = String::new();
    let notes = drover_state::export(&state, &mut |value| {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{value}");
        if text.len() > ROOM { print_bytes(std::mem::take(&mut text).as_bytes()) } else { Ok(()) }
    })?;
    print_bytes(text.as_bytes())?;
    notes.iter().for_each(|note| tell(&format!("drover: {note}")));
    Ok(if notes.is_empty() { Exit::Done } else { Exit::Failed })
}

/// What is found done is taken for made by us from now on.
fn adopt(given: Option<&Path>, options: &Adopt) -> Result<Exit> {
    let begun = Instant::now();
    let plan = load(&options.plan, &options.set)?;
    let selected = selection(&plan, &options.container)?;
    super::require_root()?;
    let (set, only) = (options.set.clone(), options.container.clone());
    let (exclude, until) = (Vec::new(), Vec::new());
    let target =
        Target { plan: options.plan.clone(), set, directory: None, no_assist: false, only, exclude, until };
    let environment = super::environment(&plan.env, &options.passed);
    let mut how = run::options(&plan.name, &target, &Pace::default(), environment, Interrupt::default());
    how.source = format!("state adopt {}", options.plan.display());
    if options.dry_run {
        let state = match given {
            Some(path) => StateDir::at(path)?,
            None => StateDir::at(&StateDir::default_path()?)?,
        };
        let work = Work { graph: &plan.graph, selected: &selected, state: &state, options: &how };
        let history = super::history(&state)?;
        return told(&drover_engine::takeovers(&work, &history), options).map(|()| Exit::Done);
    }
    let state = state_dir(given)?;
    let (mut journal, notes) = Journal::open(&state, Lock::acquire(&state)?)?;
    notes.iter().for_each(|note| tell(&format!("drover: {note}")));
    let work = Work { graph: &plan.graph, selected: &selected, state: &state, options: &how };
    let takeovers = drover_engine::takeovers(&work, &journal);
    told(&takeovers, options)?;
    let is_any = takeovers.iter().any(|it| it.not.is_none());
    if !is_any || !agreed("Take all this for made by Drover?", "nothing was recorded", options.yes)? {
        return Ok(Exit::Done);
    }
    let mut display = Display::start()?;
    let done = drover_engine::take_over(&work, &takeovers, &mut journal, &mut display);
    super::close(journal);
    display.finish();
    tell(&summary(&done?, begun.elapsed(), None, Failures::Brief));
    Ok(Exit::Done)
}

/// What whoever agrees should know.
const WARNING: &str = "\
What was there before Drover, or was made by hand, cannot be told from what Drover made any more. All that is named above is
then Drover's: `drover destroy` removes containers and base systems with all that is in them, accounts and files. What the
texts of shared files were before is not known: Drover's lines in them stay.
";

/// Shows what would be taken over.
fn told(takeovers: &[Takeover], options: &Adopt) -> Result<()> {
    if options.json {
        return print_json(&takeovers);
    }
    let (done, not): (Vec<_>, Vec<_>) = takeovers.iter().partition(|it| it.not.is_none());
    let mut text = match done.len() {
        0 => String::from("nothing is found of this that is not recorded as Drover's already\n"),
        _ => String::from("found, and to be taken for made by Drover:\n"),
    };
    // Writing to a string cannot fail.
    for Takeover { id, title, .. } in &done {
        let _ = writeln!(text, "  {id}: {title}");
    }
    if !not.is_empty() {
        text += "not found, and left alone:\n";
    }
    for Takeover { id, not, .. } in &not {
        let _ = writeln!(text, "  {id}: {}", not.as_deref().unwrap_or_default());
    }
    if !done.is_empty() {
        text = text + "\n" + WARNING;
    }
    print(&text)
}
