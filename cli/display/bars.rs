//! Bars for a terminal: one for the run, one for each running step with its last line of output.

use super::lines::{Lines, line};
use super::{elapsed, failure};
use console::style;
use drover_engine::{Leftover, Observer};
use drover_state::{Event, EventKind, NodeId, Outcome};
use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::collections::HashMap;
use std::time::{Duration, Instant};

/// How often spinners turn and elapsed times count on.
const TICK: Duration = Duration::from_millis(200);

/// The bars of a run.
pub(crate) struct Bars {
    all: MultiProgress,
    run: ProgressBar,
    steps: HashMap<NodeId, StepBar>,
}

struct StepBar {
    bar: ProgressBar,
    started: Instant,
    counted: Option<(u64, u64)>,
    last: String,
}

impl Bars {
    /// Nothing is drawn before the run starts.
    pub(crate) fn new() -> Self {
        let all = MultiProgress::with_draw_target(ProgressDrawTarget::stderr());
        let run = all.add(ProgressBar::new(0).with_style(run_style()));
        Self { all, run, steps: HashMap::new() }
    }

    fn start(&mut self, node: &NodeId, reason: &str) {
        let bar = self.all.insert_before(&self.run, ProgressBar::new_spinner().with_style(step_style()));
        bar.set_prefix(node.to_string());
        bar.enable_steady_tick(TICK);
        let step = StepBar { bar, started: Instant::now(), counted: None, last: reason.to_owned() };
        step.show();
        self.steps.insert(node.clone(), step);
    }

    fn finish(&mut self, node: &NodeId, outcome: &Outcome) {
        if let Some(step) = self.steps.remove(node) {
            step.bar.finish_and_clear();
        }
        self.run.inc(1);
        if let Outcome::Failed { failure: why } = outcome {
            self.say(&failure(node, why));
        }
    }

    /// Writes above the bars. A terminal that went away is no reason to end a run.
    fn say(&self, text: &str) {
        let _ = self.all.println(text);
    }
}

impl Observer for Bars {
    fn event(&mut self, event: &Event) {
        let text = line(&event.kind);
        match &event.kind {
            EventKind::RunStarted { plan, nodes, .. } => {
                self.run.set_length(nodes.len() as u64);
                self.run.set_prefix(plan.clone());
                self.run.enable_steady_tick(TICK);
            }
            EventKind::Started { node, reason, .. } => self.start(node, reason),
            EventKind::Finished { node, outcome, .. } => {
                self.finish(node, outcome);
                // What was done already is in the count; a line for each would only scroll.
                if !matches!(outcome, Outcome::Unchanged | Outcome::Failed { .. }) {
                    self.say(&coloured(outcome, &text.unwrap_or_default()));
                }
            }
            EventKind::Retrying { .. } | EventKind::Silent { .. } => {
                self.say(&style(text.unwrap_or_default()).yellow().for_stderr().to_string());
            }
            EventKind::Remark { .. } => self.say(&text.unwrap_or_default()),
            EventKind::RunFinished { .. } => self.run.finish_and_clear(),
        }
    }

    fn line(&mut self, node: &NodeId, line: &str) {
        if let Some(step) = self.steps.get_mut(node) {
            line.clone_into(&mut step.last);
            step.show();
        }
    }

    fn progress(&mut self, node: &NodeId, done: u64, total: u64) {
        if let Some(step) = self.steps.get_mut(node) {
            step.counted = Some((done, total));
            step.show();
        }
    }

    fn swept(&mut self, leftovers: &[Leftover]) {
        Lines.swept(leftovers);
    }

    fn tick(&mut self) {
        self.steps.values().for_each(StepBar::show);
    }
}

impl StepBar {
    fn show(&self) {
        let count = self.counted.map(|(done, total)| format!("{done}/{total} ")).unwrap_or_default();
        self.bar.set_message(format!("{} {count}{}", elapsed(self.started.elapsed()), self.last));
    }
}

fn coloured(outcome: &Outcome, text: &str) -> String {
    let text = style(text).for_stderr();
    match outcome {
        Outcome::Changed => text.green(),
        Outcome::Adopted => text.cyan(),
        Outcome::Drifted | Outcome::Interrupted => text.yellow(),
        _ => text,
    }
    .to_string()
}

fn run_style() -> ProgressStyle {
    ProgressStyle::with_template("{prefix} [{bar:20}] {pos}/{len} {elapsed}")
        .expect("the template is a constant and valid")
        .progress_chars("=> ")
}

fn step_style() -> ProgressStyle {
    ProgressStyle::with_template("{spinner} {prefix} {wide_msg:.dim}")
        .expect("the template is a constant and valid")
}
