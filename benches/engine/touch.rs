//! 10,000 nodes, layered 100 × 100 with two needs each, that each run the command `touch` on a file of their own: as a
//! graph of the engine, journal and all, and as the same graph for ninja.
//!
//! It does not know what it is compared with, nor where.

use anyhow::{Context, Result, bail};
use drover_engine::{
    Check, Cmd, Cx, Graph, Inputs, Interrupt, Leftover, Limits, Need, Node, Observer, Options, Resource,
    Retries, Step, Work, run,
};
use drover_state::{Event, Journal, Lock, NodeId, StateDir};
use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Layers, and nodes in each.
const SIZE: usize = 100;

#[derive(Debug)]
struct Touch {
    path: PathBuf,
    layer: usize,
    column: usize,
}

impl Touch {
    fn name(layer: usize, column: usize) -> String {
        format!("{layer}-{column}")
    }

    /// Those of the layer below that it needs.
    fn inputs(&self) -> impl Iterator<Item = String> {
        let columns = [self.column, (self.column + 1) % SIZE];
        let below = self.layer.checked_sub(1);
        below.into_iter().flat_map(move |below| columns.map(|column| Self::name(below, column)))
    }
}

impl Step for Touch {
    fn title(&self) -> String {
        format!("touch {}", self.path.display())
    }

    fn inputs(&self) -> Inputs {
        Inputs::default().with("path", self.path.display())
    }

    fn needs(&self) -> Vec<Need> {
        self.inputs().map(|name| Need::Must(Resource::new("file", name))).collect()
    }

    fn provides(&self) -> Vec<Resource> {
        vec![Resource::new("file", Self::name(self.layer, self.column))]
    }

    fn estimate(&self) -> Duration {
        Duration::from_millis(2)
    }

    fn check(&self, _cx: &Cx) -> Result<Check> {
        let there =
            self.path.try_exists().with_context(|| format!("cannot look at `{}`", self.path.display()))?;
        Ok(if there {
            Check::Satisfied
        } else {
            Check::needed(format!("{} does not exist", self.path.display()))
        })
    }

    fn apply(&self, cx: &Cx) -> Result<()> {
        cx.run(&Cmd::new("touch").arg(&self.path))
    }
}

/// Sees nothing: the engine alone is measured.
struct Blind;

impl Observer for Blind {
    fn event(&mut self, _event: &Event) {}

    fn line(&mut self, _node: &NodeId, _line: &str) {}

    fn progress(&mut self, _node: &NodeId, _done: u64, _total: u64) {}

    fn swept(&mut self, _leftovers: &[Leftover]) {}
}

fn steps() -> impl Iterator<Item = Touch> {
    (0..SIZE * SIZE).map(move |number| {
        let (layer, column) = (number / SIZE, number % SIZE);
        Touch { path: format!("files/{layer}-{column}").into(), layer, column }
    })
}

/// Writes the graph to `DIR/build.ninja`.
pub(crate) fn ninja(dir: &Path) -> Result<()> {
    let mut text = String::from("rule touch\n  command = touch $out\n");
    for step in steps() {
        let inputs = step.inputs().map(|name| format!(" files/{name}")).collect::<String>();
        writeln!(text, "build {}: touch{inputs}", step.path.display())?;
    }
    std::fs::write(dir.join("build.ninja"), text).context("cannot write build.ninja")
}

/// Touches files below `files` in DIR, with the state in `DIR/state`, and says what it needed. Like ninja, it works from
/// DIR, so that its commands are the same.
pub(crate) fn touch(dir: &Path, jobs: usize) -> Result<()> {
    let begun = Instant::now();
    std::fs::create_dir_all(dir.join("files")).context("cannot make the directory for files")?;
    std::env::set_current_dir(dir).context("cannot work from there")?;
    let node = |step: Touch| {
        let id = NodeId::new(&step.layer.to_string(), &step.column.to_string());
        Node { id, step: Arc::new(step), origin: String::new(), after: Vec::new() }
    };
    let state = StateDir::open(&dir.join("state"))?;
    // The journal is read while the graph is made.
    let (graph, journal) = std::thread::scope(|scope| {
        let journal = scope.spawn(|| Journal::open(&state, Lock::acquire(&state)?));
        let graph = Graph::new(steps().map(node).collect());
        (graph, journal.join().expect("opening a journal does not panic"))
    });
    let (Ok(graph), (mut journal, _notes)) = (graph, journal?) else { bail!("graph is wrong") };
    let opened = begun.elapsed();
    let options = Options {
        plan: "touch".to_owned(),
        source: String::new(),
        limits: Limits { jobs, pools: BTreeMap::new() },
        environment: drover_engine::Environment::default(),
        interrupt: Interrupt::default(),
        retries: Retries::default(),
        fail_fast: false,
        silence: Duration::from_secs(60),
        diagnose: |_| None,
        guardian: vec![super::GUARDIAN.into()],
    };
    let selected = vec![true; graph.nodes().len()];
    let work = Work { graph: &graph, selected: &selected, state: &state, options: &options };
    let report = run(&work, &mut journal, &mut Blind)?;
    let ran = begun.elapsed() - opened;
    journal.close()?;
    let closed = begun.elapsed() - opened - ran;
    // The process ends here, as ninja does, without giving back its memory piece by piece.
    std::mem::forget(graph);
    println!(
        "{} changed, {} unchanged: graph and journal {opened:.0?}, run {ran:.0?}, closing {closed:.0?}, {}",
        report.changed,
        report.unchanged,
        memory()?
    );
    Ok(())
}

/// The most memory that this process has used.
fn memory() -> Result<String> {
    let status =
        std::fs::read_to_string("/proc/self/status").context("cannot see how much memory is used")?;
    let peak = status.lines().find(|line| line.starts_with("VmHWM")).context("memory is not told")?;
    Ok(peak.split_whitespace().collect::<Vec<_>>().join(" "))
}
