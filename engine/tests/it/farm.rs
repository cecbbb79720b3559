//! A farm of toys: plans of one line, whose steps write files below one directory.
//!
//! A word is a node: its name, `:` whom it needs (`x!` whom the plan puts before it), `=` what it does instead of just writing
//! its file. `a b:a c:a,b! d=fail`.

use anyhow::{Context, Result, bail, ensure};
use drover_engine::{
    Check, Cmd, Cx, Graph, Inputs, Interrupt, Leftover, Limits, Need, Node, Observer, Options, Report,
    Resource, Retries, Selection, Step, Undo, Work, run, until,
};
use drover_state::{Event, EventKind, Failure, Journal, Lock, NodeId, Outcome, Remedy, StateDir};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// A step that leaves the file of its name, holding its name.
#[derive(Debug)]
pub(crate) struct Toy {
    tree: PathBuf,
    name: String,
    needs: Vec<String>,
    manner: String,
}

impl Toy {
    fn path(&self) -> PathBuf {
        self.tree.join(&self.name)
    }

    /// Writes the file in two goes, so that a kill may come in between.
    fn write(&self) -> String {
        format!("echo {0} >{0}.partial && mv {0}.partial {0}", self.name)
    }

    fn shell(&self, cx: &Cx, script: &str) -> Result<()> {
        cx.run(&Cmd::new("sh").args(["-c", script]).dir(&self.tree))
    }

    /// How often this was called for this node.
    fn tries(&self) -> Result<usize> {
        let path = self.tree.join(format!(".{}.tries", self.name));
        let tries = std::fs::read(&path).map_or(0, |tries| tries.len()) + 1;
        std::fs::write(&path, vec![b'x'; tries])?;
        Ok(tries)
    }
}

impl Step for Toy {
    fn title(&self) -> String {
        format!("write {}", self.name)
    }

    fn inputs(&self) -> Inputs {
        Inputs::default().with("name", &self.name).with("manner", &self.manner)
    }

    fn needs(&self) -> Vec<Need> {
        self.needs.iter().map(|name| Need::Must(Resource::new("file", name))).collect()
    }

    fn provides(&self) -> Vec<Resource> {
        vec![Resource::new("file", &self.name)]
    }

    fn timeout(&self) -> Duration {
        if self.manner == "late" { Duration::from_millis(300) } else { Duration::from_secs(60) }
    }

    /// `unsure` cannot find out whether it is ready. `own-unready` is not ready for itself alone, `own` concerns itself alone.
    fn is_local(&self) -> bool {
        self.manner.starts_with("own")
    }

    fn precondition(&self, cx: &Cx) -> Result<()> {
        cx.note("this is no doubt");
        if self.manner == "unsure" {
            cx.doubt(&format!("nobody knows {}", self.name));
        }
        // `x-made-first` needs the file `x`, which somebody may yet write.
        if let Some(other) = self.manner.strip_suffix("-made-first")
            && !self.tree.join(other).exists()
        {
            return Err(until(Resource::new("file", other))(anyhow::anyhow!("there is no {other}")));
        }
        if self.manner == "tools" {
            ensure!(self.tree.join("tool").exists(), "there is no tool");
        }
        ensure!(!self.manner.ends_with("unready"), "`{}` is not installed; `apt-get install {0}`", "toys");
        Ok(())
    }

    fn check(&self, cx: &Cx) -> Result<Check> {
        match self.manner.as_str() {
            "blind" => bail!("cannot look"),
            "slow-check" => drop(cx.probe(&Cmd::new("sleep").arg("1000"))?),
            _ => {}
        }
        let found = match std::fs::read_to_string(self.path()) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
            found => Some(found?),
        };
        Ok(Check::text(&self.name, 0o644, found.as_deref(), &format!("{}\n", self.name)))
    }

    fn apply(&self, cx: &Cx) -> Result<()> {
        match self.manner.as_str() {
            "fail" => self.shell(cx, "echo broken; exit 3").context("cannot write"),
            "panic" => panic!("what now"),
            "idle" => Ok(()),
            "sleep" => self.shell(cx, "echo sleeping; sleep 1000"),
            "late" => self.shell(cx, "sleep 1000"),
            "nap" => self.shell(cx, &format!("sleep 0.6; {}", self.write())),
            "stray" => self.shell(cx, "setsid sleep 1000 & echo $! >stray; sleep 1000"),
            // Ends well, and leaves something running on purpose.
            "daemon" => {
                let script = format!("setsid sleep 1000 >/dev/null 2>&1 & echo $! >daemon; {}", self.write());
                self.shell(cx, &script)
            }
            "fill" => {
                self.shell(cx, &format!("{}; dd if=/dev/zero of=fill bs=4k 2>/dev/null; true", self.write()))
            }
            "flaky" if self.tries()? < 3 => self.shell(cx, "echo mirror is busy; exit 100"),
            "busy" => self.shell(cx, "echo mirror is busy; exit 100"),
            _ => self.shell(cx, &self.write()),
        }
    }

    fn goes_with(&self) -> Option<Resource> {
        self.manner.strip_prefix("with-").map(|carrier| Resource::new("file", carrier))
    }

    fn undo<'a>(&'a self, _cx: &Cx) -> Result<Undo<'a>> {
        if !self.path().exists() {
            return Ok(Undo::default().keep(format!("the name {} stays", self.name)));
        }
        let undo = Undo::default().act_if(format!("remove {}", self.name), |cx| match self.manner.as_str() {
            "stuck" => self.shell(cx, "echo cannot; exit 4").map(|()| None),
            "needed" => Ok(Some("somebody needs it".to_owned())),
            "undead" => Ok(None),
            _ => self.shell(cx, &format!("rm {}", self.name)).map(|()| None),
        });
        Ok(if self.manner == "whole" { undo.whole() } else { undo })
    }
}

/// A directory with a tree that steps write to, and a state.
pub(crate) struct Farm {
    root: PathBuf,
    pub(crate) jobs: usize,
    pub(crate) silence: Duration,
    pub(crate) interrupt: Interrupt,
    pub(crate) only: Vec<String>,
    _scratch: Option<tempfile::TempDir>,
}

/// What was seen of a run.
#[derive(Default)]
pub(crate) struct Seen<'a> {
    pub(crate) events: Vec<Event>,
    pub(crate) lines: Vec<String>,
    pub(crate) swept: Vec<Leftover>,
    /// Called with each event.
    react: Option<&'a mut dyn FnMut(&EventKind)>,
}

impl Observer for Seen<'_> {
    fn event(&mut self, event: &Event) {
        if let Some(react) = &mut self.react {
            react(&event.kind);
        }
        self.events.push(event.clone());
    }

    fn line(&mut self, node: &NodeId, line: &str) {
        self.lines.push(format!("{node}: {line}"));
    }

    fn progress(&mut self, _node: &NodeId, _done: u64, _total: u64) {}

    fn swept(&mut self, leftovers: &[Leftover]) {
        self.swept.extend_from_slice(leftovers);
    }
}

impl Seen<'_> {
    /// How each node ended, by name: `a changed, b failed`.
    pub(crate) fn outcomes(&self) -> String {
        let outcomes = self.events.iter().filter_map(|event| match &event.kind {
            EventKind::Finished { node, outcome: Outcome::Blocked { by }, .. } => {
                Some(format!("{node} blocked by {by}"))
            }
            EventKind::Finished { node, outcome, .. } => Some(format!("{node} {}", outcome.word())),
            _ => None,
        });
        let mut outcomes: Vec<_> = outcomes.collect();
        outcomes.sort();
        outcomes.join(", ")
    }

    /// Why a node was started.
    pub(crate) fn reason(&self, id: &str) -> Option<&str> {
        self.events.iter().find_map(|event| match &event.kind {
            EventKind::Started { node, reason, .. } if node.as_str() == id => Some(reason.as_str()),
            _ => None,
        })
    }

    /// Why a node failed.
    pub(crate) fn failure(&self, id: &str) -> Option<&Failure> {
        self.events.iter().find_map(|event| match &event.kind {
            EventKind::Finished { node, outcome: Outcome::Failed { failure }, .. } if node.as_str() == id => {
                Some(&**failure)
            }
            _ => None,
        })
    }
}

impl Farm {
    pub(crate) fn new() -> Result<Self> {
        let scratch = tempfile::tempdir()?;
        let farm = Self::at(scratch.path());
        Ok(Self { _scratch: Some(scratch), ..farm })
    }

    /// The farm at a directory that somebody else looks after.
    pub(crate) fn at(root: &Path) -> Self {
        Self {
            root: root.to_owned(),
            jobs: 2,
            silence: Duration::from_secs(60),
            interrupt: Interrupt::default(),
            only: Vec::new(),
            _scratch: None,
        }
    }

    pub(crate) fn tree(&self) -> PathBuf {
        self.root.join("tree")
    }

    pub(crate) fn state(&self) -> Result<StateDir> {
        StateDir::open(&self.root.join("state"))
    }

    pub(crate) fn journal(&self) -> Result<Journal> {
        let state = self.state()?;
        Ok(Journal::open(&state, Lock::acquire(&state)?)?.0)
    }

    pub(crate) fn graph(&self, plan: &str) -> Result<Graph> {
        let nodes = plan.split_whitespace().map(|word| {
            let (word, manner) = word.split_once('=').unwrap_or((word, ""));
            let (name, needs) = word.split_once(':').unwrap_or((word, ""));
            let listed = || needs.split(',').filter(|need| !need.is_empty());
            let after = listed().filter_map(|need| need.strip_suffix('!')).map(NodeId::from).collect();
            let needs = listed().filter(|need| !need.ends_with('!')).map(str::to_owned).collect();
            let step = Toy { tree: self.tree(), name: name.to_owned(), needs, manner: manner.to_owned() };
            Node { id: name.into(), step: Arc::new(step), origin: "plan.ron".to_owned(), after }
        });
        Graph::new(nodes.collect()).map_err(|errors| anyhow::anyhow!("{errors:?}"))
    }

    /// Runs the plan.
    pub(crate) fn run(&self, plan: &str) -> Result<(Report, Seen<'static>)> {
        let mut seen = Seen::default();
        let report = self.run_with(plan, &mut seen)?;
        Ok((report, seen))
    }

    /// Runs the plan, and does something whenever an event comes.
    pub(crate) fn react(
        &self,
        plan: &str,
        react: &mut dyn FnMut(&EventKind),
    ) -> Result<(Report, Seen<'static>)> {
        let mut seen = Seen { react: Some(react), ..Seen::default() };
        let report = self.run_with(plan, &mut seen)?;
        Ok((report, Seen { events: seen.events, lines: seen.lines, swept: seen.swept, react: None }))
    }

    pub(crate) fn run_with(&self, plan: &str, observer: &mut dyn Observer) -> Result<Report> {
        std::fs::create_dir_all(self.tree())?;
        let (graph, state, options) = (self.graph(plan)?, self.state()?, self.options());
        let selection = Selection { only: self.only.clone(), ..Selection::default() };
        let selected = selection.of(&graph)?;
        let work = Work { graph: &graph, selected: &selected, state: &state, options: &options };
        run(&work, &mut self.journal()?, observer)
    }

    /// Undoes the plan; answers what stays, too.
    pub(crate) fn undo(&self, plan: &str) -> Result<(Report, Seen<'static>, Vec<String>)> {
        let (graph, state, options) = (self.graph(plan)?, self.state()?, self.options());
        let selected = Selection { only: self.only.clone(), ..Selection::default() }.of(&graph)?;
        let work = Work { graph: &graph, selected: &selected, state: &state, options: &options };
        let mut seen = Seen::default();
        let (report, kept) = drover_engine::undo(&work, &mut self.journal()?, &mut seen)?;
        Ok((report, seen, kept.into_iter().map(|(node, what)| format!("{node}: {what}")).collect()))
    }

    /// What undoing the plan would do, a word a node.
    pub(crate) fn would_undo(&self, plan: &str) -> Result<Vec<String>> {
        let (graph, state, options) = (self.graph(plan)?, self.state()?, self.options());
        let selected = Selection::default().of(&graph)?;
        let work = Work { graph: &graph, selected: &selected, state: &state, options: &options };
        let told = drover_engine::takebacks(&work, &self.journal()?);
        Ok(told.into_iter().map(|it| format!("{}: {}", it.id, it.does.join(", "))).collect())
    }

    fn options(&self) -> Options {
        Options {
            plan: "toys".to_owned(),
            source: "plan.ron".to_owned(),
            limits: Limits { jobs: self.jobs, pools: BTreeMap::new() },
            environment: drover_engine::Environment::default(),
            interrupt: self.interrupt.clone(),
            retries: Retries { count: 3, first: Duration::from_millis(10), most: Duration::from_millis(40) },
            fail_fast: false,
            silence: self.silence,
            diagnose,
            guardian: super::guardian::arguments(),
        }
    }

    /// All files of the tree and what they hold; but for hidden ones.
    pub(crate) fn files(&self) -> Result<BTreeMap<String, String>> {
        let mut files = BTreeMap::new();
        for entry in std::fs::read_dir(self.tree())? {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy().into_owned();
            if !name.starts_with('.') {
                files.insert(name, std::fs::read_to_string(entry.path())?);
            }
        }
        Ok(files)
    }
}

pub(crate) fn diagnose(failure: &Failure) -> Option<Remedy> {
    let is_busy = failure.tail.iter().any(|line| line.contains("mirror is busy"));
    is_busy.then(|| Remedy {
        class: "mirror-busy".to_owned(),
        cause: "the mirror is busy".to_owned(),
        remedy: "run again later".to_owned(),
        transient: true,
    })
}

/// Waits until it is so.
#[track_caller]
pub(crate) fn await_that(what: &str, is_so: impl Fn() -> bool) {
    let until = std::time::Instant::now() + Duration::from_secs(60);
    while !is_so() {
        assert!(std::time::Instant::now() < until, "waited in vain: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}
