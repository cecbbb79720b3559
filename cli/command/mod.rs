//! The commands, one file each. What they share: a plan that is loaded, and the state directory.

mod destroy;
mod doctor;
mod graph;
mod held;
mod herd;
mod logs;
mod manuals;
mod piped;
mod plan;
mod report;
mod resume;
mod run;
mod state;
mod status;
mod steps;

use crate::args::{Args, Command, Passed, Target};
use crate::exit::Exit;
use crate::output::tell;
use anyhow::{Result, anyhow};
use drover_engine::{Edge, Environment, Graph, Selection};
use drover_state::{History, Journal, NodeId, RunId, StateDir};
use drover_steps::plan::{Diagnostic, Loaded, Settings, Text};
use std::collections::HashSet;
use std::path::Path;

/// A plan that is not valid: its diagnostics, rendered.
#[derive(Debug)]
pub(crate) struct InvalidPlan(String);

impl std::fmt::Display for InvalidPlan {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for InvalidPlan {}

/// Not root, who alone may change the host.
#[derive(Debug)]
pub(crate) struct NotRoot;

impl std::fmt::Display for NotRoot {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(
            "drover: only root may change the host: run it again with `sudo`; what a run would do, `drover plan` shows anybody",
        )
    }
}

impl std::error::Error for NotRoot {}

/// There is nothing that could be resumed; the text says why.
#[derive(Debug)]
pub(crate) struct NothingToResume(String);

impl std::fmt::Display for NothingToResume {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for NothingToResume {}

pub(crate) use held::held;

fn require_root() -> Result<()> {
    if rustix::process::geteuid().is_root() { Ok(()) } else { Err(NotRoot.into()) }
}

/// Runs the command that the arguments name.
pub(crate) fn run(args: &Args) -> Result<Exit> {
    let state = args.state.as_deref();
    match &args.command {
        Command::Run(options) => run::run(state, &options.target, &options.pace, &options.passed),
        Command::Plan(options) => plan::plan(state, options),
        Command::Resume(options) => resume::resume(state, options),
        Command::Status(options) => status::status(state, options),
        Command::Report(options) => report::report(state, options),
        Command::Logs(options) => logs::logs(state, options),
        Command::Steps(options) => steps::steps(options),
        Command::Graph(options) => graph::graph(options),
        Command::Herd(options) => herd::herd(options),
        Command::Doctor(options) => doctor::doctor(state, options),
        Command::Destroy(options) => destroy::destroy(state, options),
        Command::State(options) => state::state(state, options),
        Command::Manuals(options) => manuals::manuals(options),
    }
}

/// A plan's graph, and which of its nodes are meant.
struct Planned {
    name: String,
    graph: Graph,
    /// For each node, whether it is meant.
    selection: Vec<bool>,
    /// The names of all containers.
    containers: Vec<String>,
    /// The names of the caller's variables that programs get.
    env: Vec<String>,
    /// Its text, if no file has it.
    text: Option<Text>,
}

impl Planned {
    /// Loads a plan and selects from it.
    fn load(target: &Target) -> Result<Self> {
        let (Loaded { name, graph, containers, env, .. }, text) =
            load_text(&target.plan, &target.settings())?;
        let containers = containers.iter().map(|container| container.name.clone()).collect();
        let Target { only, until, exclude, .. } = target.clone();
        let selection = Selection { only, until, exclude }.of(&graph)?;
        Ok(Self { name, graph, selection, containers, env, text })
    }

    /// The containers that are meant and cannot do without one of the nodes.
    fn containers_after<'a>(&self, nodes: impl IntoIterator<Item = &'a NodeId>) -> Vec<&str> {
        let mut after = vec![false; self.graph.nodes().len()];
        nodes.into_iter().filter_map(|id| self.graph.find(id.as_str())).for_each(|node| after[node] = true);
        self.graph.add_downstream(&mut after, Edge::is_hard);
        self.containers_with(|node| after[node])
    }

    /// The containers of which at least one node is meant and is one of these.
    fn containers_with(&self, is_one: impl Fn(usize) -> bool) -> Vec<&str> {
        let nodes = self.selected().filter(|node| is_one(*node));
        let places: HashSet<_> = nodes.map(|node| self.graph.nodes()[node].id.place()).collect();
        self.containers.iter().map(String::as_str).filter(|name| places.contains(name)).collect()
    }

    /// The nodes that are meant, each after what it needs.
    fn selected(&self) -> impl Iterator<Item = usize> {
        self.graph.order().iter().copied().filter(|node| self.selection[*node])
    }
}

/// Loads a plan, from a file or a pipe; all that is wrong with it is one error.
fn load(plan: &Path, set: &[String]) -> Result<Loaded> {
    Ok(load_text(plan, set)?.0)
}

/// As [`load`]; also its text, if no file has it.
fn load_text(plan: &Path, set: &[String]) -> Result<(Loaded, Option<Text>)> {
    let text = piped::text(plan)?;
    let settings = Settings { set: set.to_vec() };
    let loaded = match &text {
        Some(text) => drover_steps::plan::load_text(text, &settings),
        None => drover_steps::plan::load(plan, &settings),
    };
    let loaded = loaded.map_err(|found| InvalidPlan(diagnostics(&found)))?;
    Ok((loaded, text))
}

fn diagnostics(found: &[Diagnostic]) -> String {
    let texts: Vec<_> = found.iter().map(ToString::to_string).collect();
    let count = match found.len() {
        1 => "1 error".to_owned(),
        several => format!("{several} errors"),
    };
    format!("{}\n\n{count} in the plan; nothing was done", texts.join("\n\n"))
}

/// The environment of programs: with what the plan passes on, by these names, and what the command line does. Who names a variable
/// on the command line and has not set it is told so.
fn environment(plan: &[String], passed: &Passed) -> Environment {
    for name in passed.env.iter().filter(|name| std::env::var_os(name).is_none()) {
        tell(&format!("drover: `--env {name}`: there is no such variable here, so programs get none"));
    }
    Environment::passing(plan.iter().chain(&passed.env))
}

/// The state directory that the arguments name, or the default one.
fn state_dir(given: Option<&Path>) -> Result<StateDir> {
    match given {
        Some(path) => StateDir::open(path),
        None => StateDir::open(&StateDir::default_path()?),
    }
}

/// The same for commands that only read: `None` if there is none yet.
fn existing_state_dir(given: Option<&Path>) -> Result<Option<StateDir>> {
    match given {
        Some(path) => StateDir::existing(path),
        None => StateDir::existing(&StateDir::default_path()?),
    }
}

/// The state directory of runs that there were, and the one that is meant: the last, unless somebody says otherwise.
fn past(given: Option<&Path>, run: Option<u32>) -> Result<(StateDir, RunId)> {
    let nothing = || {
        let others = match rustix::process::geteuid().is_root() || given.is_some() {
            true => "",
            false => " by you; what root has run, `sudo drover` shows",
        };
        anyhow!("nothing was run yet{others}")
    };
    let state = existing_state_dir(given)?.ok_or_else(nothing)?;
    let run = match run {
        Some(number) => RunId(number),
        None => *state.runs()?.last().ok_or_else(nothing)?,
    };
    Ok((state, run))
}

/// What is recorded of nodes, as the events of all runs tell it: needs no lock, and changes nothing. What of them cannot be read
/// is said.
fn history(state: &StateDir) -> Result<History> {
    let history = History::read(state)?;
    history.notes(state).iter().for_each(|note| tell(&format!("drover: {note}")));
    Ok(history)
}

/// Puts the journal away. That this fails is no failure of what was done with it.
fn close(journal: Journal) {
    if let Err(error) = journal.close() {
        tell(&format!("drover: {error:#}"));
    }
}
