//! The command line. Its doc comments are the help.

use clap::error::ErrorKind;
use clap::{Args as Group, CommandFactory, Parser, Subcommand, ValueEnum};
use drover_engine::Pattern;
use drover_steps::resource::{EMULATION_POOL, MIRROR_POOL};
use std::path::PathBuf;

/// Builds and shepherds a farm of multi-architecture LXC containers for continuous integration.
#[derive(Debug, Parser)]
#[command(version, after_help = EXIT_CODES)]
pub(crate) struct Args {
    /// Where runs are remembered [default: /var/lib/drover for root, else the XDG state directory]
    #[arg(long, global = true, value_name = "DIR")]
    pub(crate) state: Option<PathBuf>,
    #[command(subcommand)]
    pub(crate) command: Command,
}

const EXIT_CODES: &str = "Exit codes:
  0  done                           4  nothing selected, or to resume
  1  a step failed                  6  another run holds the state directory
  2  a run would change something   7  this host lacks something the plan needs
     (plan --detailed-exitcode)     130, 143  interrupted by SIGINT, SIGTERM
  3  the plan, or the command line, 141  nobody reads the results any more
     is not valid";

impl Args {
    /// These arguments, unless some of them contradict each other.
    ///
    /// # Errors
    /// What contradicts what.
    pub(crate) fn sound(self) -> Result<Self, clap::Error> {
        let (set, no_assist, pools) = match &self.command {
            Command::Run(Run { target, pace, .. }) => (&*target.set, target.no_assist, &*pace.pools),
            Command::Plan(Plan { target, .. }) | Command::Graph(Graph { target, .. }) => {
                (&*target.set, target.no_assist, &[][..])
            }
            Command::Resume(Resume { pace, .. }) => (&[][..], false, &*pace.pools),
            _ => return Ok(self),
        };
        let conflict = |message: String| Err(Self::command().error(ErrorKind::ArgumentConflict, message));
        if let Some(value) = set.iter().find(|value| no_assist && turns_assist_on(value)) {
            return conflict(format!("'--no-assist' cannot be used with '--set {value}'"));
        }
        let contradicts =
            |(name, size): &&(String, u32)| pools.iter().any(|it| it.0 == *name && it.1 != *size);
        if let Some((name, _)) = pools.iter().find(contradicts) {
            return conflict(format!("'--pool {name}=N' cannot be used with another size of the same pool"));
        }
        Ok(self)
    }
}

/// Whether a setting says that assist is not to be off.
fn turns_assist_on(setting: &str) -> bool {
    setting.split_once('=').is_some_and(|(name, value)| name.trim() == "assist" && value.trim() != "Off")
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Make the world as the plan says; what is done already is left alone
    Run(Run),
    /// Show what a run would change, and why; changes nothing
    Plan(Plan),
    /// Run the last plan again, with the options it was run with unless others are given
    Resume(Resume),
    /// Show how far the last run is, or how it ended
    Status(Status),
    /// Show what came of a run, and what took how long
    Report(Report),
    /// Show the output of a step's last attempt
    Logs(Logs),
    /// Show the manual of a step, or list all steps
    Steps(Steps),
    /// Draw the graph of a plan
    Graph(Graph),
    /// Show the containers as they are
    Herd(Herd),
    /// Hold the host against what a plan needs, and say what mends it; changes nothing
    Doctor(Doctor),
    /// Undo what Drover made of a plan, last first; what it found and took over stays
    Destroy(Destroy),
    /// Look after the state directory: what is remembered of runs
    State(State),
    /// Write all manuals to files: pages for `man`, and the texts of `drover steps`
    #[command(hide = true)]
    Manuals(Manuals),
}

/// Where manuals go.
#[derive(Debug, Group)]
pub(crate) struct Manuals {
    /// The directory; made if it is not there
    pub(crate) directory: PathBuf,
}

/// A plan, and which part of it.
#[derive(Clone, Debug, Group, serde::Serialize, serde::Deserialize)]
pub(crate) struct Target {
    /// The plan's file; `-` is standard input, and a pipe will do
    pub(crate) plan: PathBuf,
    /// Where relative paths in the plan count from, if not from the directory of its file: this is the kept text of a plan
    /// that came by a pipe
    #[arg(skip)]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) directory: Option<PathBuf>,
    /// Set a value in the plan, such as `mirror=http://…` or `each.DefineDomain.memory="2 GiB"`; may be repeated
    #[arg(long, value_name = "PATH=VALUE")]
    pub(crate) set: Vec<String>,
    /// Run the programs of emulated systems under the emulator alone, as `--set assist=Off` does
    #[arg(long)]
    #[serde(default)]
    pub(crate) no_assist: bool,
    /// Only nodes that match, such as `*/define-domain` or `jenkins-debian12-arm64/*`; may be repeated
    #[arg(long, value_name = "GLOB", value_parser = pattern)]
    pub(crate) only: Vec<String>,
    /// Without nodes that match, nor those that need them; may be repeated
    #[arg(long, value_name = "GLOB", value_parser = pattern)]
    pub(crate) exclude: Vec<String>,
    /// Nodes that match, and all that they need; may be repeated
    #[arg(long, value_name = "GLOB", value_parser = pattern)]
    pub(crate) until: Vec<String>,
}

impl Target {
    /// All that is set in the plan.
    pub(crate) fn settings(&self) -> Vec<String> {
        let assist = self.no_assist.then(|| "assist=Off".to_owned());
        self.set.iter().cloned().chain(assist).collect()
    }
}

/// How a run goes about it.
#[derive(Clone, Debug, Default, Group, serde::Serialize, serde::Deserialize)]
pub(crate) struct Pace {
    /// How many steps at once [default: two for each processor, since most of them wait]
    #[arg(long, short, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) jobs: Option<u16>,
    /// How much of a pool may be taken at once: `emulation=N`, of what keeps a processor busy [default: the number of
    /// processors], or `mirror=N`, of downloads [default: 2]; may be repeated
    #[arg(long = "pool", value_name = "POOL=N", value_parser = pool)]
    #[serde(default)]
    pub(crate) pools: Vec<(String, u32)>,
    /// After a failure go on with all that does not need what failed; this is the default
    #[arg(long, conflicts_with = "fail_fast")]
    pub(crate) keep_going: bool,
    /// After a failure start nothing new
    #[arg(long)]
    pub(crate) fail_fast: bool,
}

impl Pace {
    /// This one, and what it leaves open as it was before.
    pub(crate) fn or(&self, before: &Self) -> Self {
        let fail_fast = self.fail_fast || before.fail_fast && !self.keep_going;
        let mut pools = before.pools.clone();
        pools.retain(|(pool, _)| !self.pools.iter().any(|(ours, _)| ours == pool));
        pools.extend(self.pools.iter().cloned());
        Self { jobs: self.jobs.or(before.jobs), pools, fail_fast, keep_going: self.keep_going }
    }
}

/// A pattern for nodes, if it is one.
fn pattern(text: &str) -> Result<String, String> {
    match Pattern::new(text) {
        Ok(_) => Ok(text.to_owned()),
        Err(error) => Err(format!("{error:#}; where a bracket itself is meant, write `[[]`")),
    }
}

/// A pool and its size.
fn pool(text: &str) -> Result<(String, u32), String> {
    let (name, size) = text.split_once('=').ok_or("say it as in `emulation=4`")?;
    let known = [EMULATION_POOL, MIRROR_POOL];
    if !known.contains(&name) {
        return Err(format!("there is no pool `{name}`; the pools are `{}`", known.join("`, `")));
    }
    match size.parse() {
        Ok(size) if size > 0 => Ok((name.to_owned(), size)),
        _ => Err(format!("`{size}` is no number from 1 on")),
    }
}

/// What programs get of the environment that Drover is started in.
#[derive(Clone, Debug, Default, Group, serde::Serialize, serde::Deserialize)]
pub(crate) struct Passed {
    /// Pass a variable on to all that is started, as it is now: by its name alone; may be repeated. Programs get an
    /// environment that Drover makes, and nothing else of yours: see `drover steps environment`
    #[arg(long = "env", value_name = "NAME", value_parser = variable)]
    #[serde(default)]
    pub(crate) env: Vec<String>,
}

impl Passed {
    /// These, and those of before.
    pub(crate) fn and(&self, before: &Self) -> Self {
        let mut env = before.env.clone();
        env.extend(self.env.iter().filter(|name| !before.env.contains(name)).cloned());
        Self { env }
    }
}

/// The name of a variable that can be passed on.
fn variable(text: &str) -> Result<String, String> {
    drover_engine::not_to_be_passed(text).map_or_else(|| Ok(text.to_owned()), Err)
}

#[derive(Debug, Group)]
pub(crate) struct Run {
    #[command(flatten)]
    pub(crate) target: Target,
    #[command(flatten)]
    pub(crate) pace: Pace,
    #[command(flatten)]
    pub(crate) passed: Passed,
}

#[derive(Debug, Group)]
pub(crate) struct Resume {
    #[command(flatten)]
    pub(crate) pace: Pace,
    #[command(flatten)]
    pub(crate) passed: Passed,
}

#[derive(Debug, Group)]
pub(crate) struct Plan {
    #[command(flatten)]
    pub(crate) target: Target,
    #[command(flatten)]
    pub(crate) passed: Passed,
    /// End with 2 if a run would change something
    #[arg(long)]
    pub(crate) detailed_exitcode: bool,
    /// Leave out the diffs
    #[arg(long)]
    pub(crate) brief: bool,
    /// JSON on standard output
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Group)]
pub(crate) struct Status {
    /// The number of a run [default: the last]
    pub(crate) run: Option<u32>,
    /// JSON on standard output
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Group)]
pub(crate) struct Report {
    /// The number of a run [default: the last]
    pub(crate) run: Option<u32>,
    /// JSON on standard output
    #[arg(long)]
    pub(crate) json: bool,
    /// JUnit's XML on standard output, as Jenkins reads it: a suite for each container, a test for each step
    #[arg(long, conflicts_with = "json")]
    pub(crate) junit: bool,
}

#[derive(Debug, Group)]
pub(crate) struct Logs {
    /// The node, such as `jenkins-debian12-arm64/lxc-create`, or a glob that it alone matches of all that were started
    #[arg(value_parser = pattern)]
    pub(crate) node: String,
    /// Go on showing what it writes, until it ends
    #[arg(long, short)]
    pub(crate) follow: bool,
}

#[derive(Debug, Group)]
pub(crate) struct Steps {
    /// The step's name in plans, such as `DefineDomain`; or `environment`, what programs are given
    pub(crate) step: Option<String>,
    /// JSON on standard output
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Group)]
pub(crate) struct Graph {
    #[command(flatten)]
    pub(crate) target: Target,
    /// The language it is drawn in
    #[arg(long, value_enum, default_value_t = GraphFormat::Dot)]
    pub(crate) format: GraphFormat,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum GraphFormat {
    /// Graphviz
    Dot,
    /// Mermaid
    Mermaid,
    /// JSON
    Json,
}

#[derive(Debug, Group)]
pub(crate) struct Doctor {
    /// The plan; without it, plans/debian-multiarch.ron as it was when this program was built
    pub(crate) plan: Option<PathBuf>,
    /// Set a value in the plan, as for `run`; may be repeated
    #[arg(long, value_name = "PATH=VALUE")]
    pub(crate) set: Vec<String>,
    #[command(flatten)]
    pub(crate) passed: Passed,
    /// JSON on standard output
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Group)]
pub(crate) struct Destroy {
    /// The plan's file; `-` is standard input
    pub(crate) plan: PathBuf,
    /// Set a value in the plan, as for `run`; may be repeated
    #[arg(long, value_name = "PATH=VALUE")]
    pub(crate) set: Vec<String>,
    #[command(flatten)]
    pub(crate) passed: Passed,
    /// Only this container, which leaves host and base systems as they are; may be repeated
    #[arg(long, value_name = "NAME")]
    pub(crate) container: Vec<String>,
    /// Do not ask
    #[arg(long, conflicts_with = "dry_run")]
    pub(crate) yes: bool,
    /// Show what would be undone, and end
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// JSON on standard output
    #[arg(long, requires = "dry_run")]
    pub(crate) json: bool,
    /// Undo the host's part, too, though things were made that this plan does not know and that may need it
    #[arg(long, conflicts_with = "container")]
    pub(crate) disregard_others: bool,
}

#[derive(Debug, Group)]
pub(crate) struct State {
    #[command(subcommand)]
    pub(crate) verb: StateVerb,
}

#[derive(Debug, Subcommand)]
pub(crate) enum StateVerb {
    /// Say what is damaged in it, and what follows from that; changes nothing, ends with 1 if anything is
    Check(StateCheck),
    /// Mend it: move aside what is damaged, and make it again from what else there is; deletes nothing
    Repair,
    /// Write all that stands in it to standard output, as lines of JSON; changes nothing
    Export,
    /// After a loss: from now on, take what is found of a plan for made by Drover, so that `destroy` undoes it
    Adopt(Adopt),
}

#[derive(Debug, Group)]
pub(crate) struct StateCheck {
    /// JSON on standard output
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Group)]
pub(crate) struct Adopt {
    /// The plan's file
    pub(crate) plan: PathBuf,
    /// Set a value in the plan, as for `run`; may be repeated
    #[arg(long, value_name = "PATH=VALUE")]
    pub(crate) set: Vec<String>,
    #[command(flatten)]
    pub(crate) passed: Passed,
    /// Only this container, and not the host nor base systems; may be repeated
    #[arg(long, value_name = "NAME")]
    pub(crate) container: Vec<String>,
    /// Do not ask
    #[arg(long, conflicts_with = "dry_run")]
    pub(crate) yes: bool,
    /// Show what would be taken for Drover's, and end
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// JSON on standard output
    #[arg(long, requires = "dry_run")]
    pub(crate) json: bool,
}

#[derive(Debug, Group)]
pub(crate) struct Herd {
    /// The plan whose storage is looked at; without it, the document's own: /srv/libvirt
    pub(crate) plan: Option<PathBuf>,
    /// JSON on standard output
    #[arg(long)]
    pub(crate) json: bool,
}
