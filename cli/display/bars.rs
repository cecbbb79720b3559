//! Bars for a terminal: one for the run, above it a line for each running step with its last line of output.

use super::fit::{cut, squeeze};
use super::lines::{line, swept};
use super::screen::Screen;
use super::{Show, elapsed, failure};
use console::style;
use drover_engine::{Leftover, Observer};
use drover_state::{Event, EventKind, NodeId, Outcome};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::time::{Duration, Instant};

/// How often a second the terminal is drawn on at the most.
const RATE: u8 = 10;
/// What turns while a step runs, and how fast.
const SPINNER: &[char] = &['⠋', '⠙', '⠹', '⠸', '⠼', '⠴', '⠦', '⠧', '⠇', '⠏'];
const TURN: Duration = Duration::from_millis(200);
/// Below this width the bar of the run is as short as its numbers allow.
const NARROW: usize = 60;

/// The bars of a run.
pub(super) struct Bars {
    screen: Screen,
    run: ProgressBar,
    /// The steps that run, in the order in which they began.
    steps: Vec<Step>,
    /// The width for which the style is.
    width: usize,
}

struct Step {
    node: NodeId,
    started: Instant,
    counted: Option<(u64, u64)>,
    last: String,
}

impl Bars {
    /// Nothing is drawn before the run starts.
    pub(super) fn new() -> Self {
        let screen = Screen::default();
        let target = ProgressDrawTarget::term_like_with_hz(Box::new(screen.clone()), RATE);
        let run = ProgressBar::with_draw_target(Some(0), target);
        Self { screen, run, steps: Vec::new(), width: 0 }
    }

    fn finish(&mut self, node: &NodeId, outcome: &Outcome) {
        self.steps.retain(|step| step.node != *node);
        self.run.inc(1);
        if let Outcome::Failed { failure: why } = outcome {
            self.say(&failure(node, why));
        }
    }

    fn step(&mut self, node: &NodeId) -> Option<&mut Step> {
        self.steps.iter_mut().find(|step| step.node == *node)
    }

    /// The lines of the steps that run: as many as there is room for.
    fn lines(&self) -> String {
        // Below them is that of the run, and above them something of what was said.
        let room = Screen::height().saturating_sub(3).max(1);
        let width = Screen::width();
        let hidden = if self.steps.len() > room { self.steps.len() - (room - 1) } else { 0 };
        let shown = self.steps[..self.steps.len() - hidden].iter().map(|step| step.line(width) + "\n");
        let more = (hidden > 0).then(|| cut(&format!("… and {hidden} more"), width) + "\n");
        shown.chain(more).collect()
    }
}

impl Observer for Bars {
    fn event(&mut self, event: &Event) {
        let text = line(&event.kind);
        match &event.kind {
            EventKind::RunStarted { plan, nodes, .. } => {
                self.run.set_length(nodes.len() as u64);
                self.run.set_prefix(plan.clone());
            }
            EventKind::Started { node, reason, .. } => {
                let (node, last) = (node.clone(), reason.clone());
                self.steps.push(Step { node, started: Instant::now(), counted: None, last });
            }
            EventKind::Finished { node, outcome, .. } => {
                self.finish(node, outcome);
                // What was done already is in the count; a line for each would only scroll.
                if !matches!(outcome, Outcome::Unchanged | Outcome::Failed { .. }) {
                    self.say(&coloured(outcome, &text.unwrap_or_default()));
                }
            }
            EventKind::Retrying { .. } | EventKind::Silent { .. } | EventKind::Warning { .. } => {
                self.say(&style(text.unwrap_or_default()).yellow().to_string());
            }
            EventKind::Remark { .. } | EventKind::Programs { .. } => {
                self.say(&text.unwrap_or_default());
            }
            EventKind::RunFinished { .. } => self.run.finish_and_clear(),
        }
    }

    fn line(&mut self, node: &NodeId, line: &str) {
        if let Some(step) = self.step(node) {
            line.clone_into(&mut step.last);
        }
    }

    fn progress(&mut self, node: &NodeId, done: u64, total: u64) {
        if let Some(step) = self.step(node) {
            step.counted = Some((done, total));
        }
    }

    fn swept(&mut self, leftovers: &[Leftover]) {
        swept(leftovers, |text| {
            self.screen.say(text);
        });
    }

    fn tick(&mut self) {
        if self.run.length() == Some(0) || self.run.is_finished() {
            return;
        }
        let width = Screen::width();
        if width != self.width {
            self.run.set_style(run_style(width));
            self.width = width;
        }
        self.run.set_message(self.lines());
    }
}

impl Show for Bars {
    /// Writes above the bars.
    fn say(&mut self, text: &str) -> bool {
        self.screen.say(text)
    }
}

impl Step {
    /// One line, whatever the width: what tells the step from others, and how long it runs, before what it says.
    fn line(&self, width: usize) -> String {
        let since = self.started.elapsed();
        let turn = usize::try_from(since.as_millis() / TURN.as_millis()).unwrap_or_default();
        let count = self.counted.map(|(done, total)| format!(" {done}/{total}")).unwrap_or_default();
        let numbers = format!("{}{count}", elapsed(since));
        // A blank before and after, and two columns for what says that there is more.
        let room = width.saturating_sub(console::measure_text_width(&numbers) + 5).max(3);
        let name = squeeze(self.node.as_str(), room);
        let said = format!("{} {}", numbers, self.last);
        let spinner = SPINNER[turn % SPINNER.len()];
        let rest = width.saturating_sub(console::measure_text_width(&name) + 3);
        format!("{spinner} {name} {}", style(cut(&said, rest)).dim())
    }
}

fn coloured(outcome: &Outcome, text: &str) -> String {
    let text = style(text);
    match outcome {
        Outcome::Changed => text.green(),
        Outcome::Adopted => text.cyan(),
        Outcome::Drifted | Outcome::Interrupted => text.yellow(),
        _ => text,
    }
    .to_string()
}

fn run_style(width: usize) -> ProgressStyle {
    let template = match width {
        ..NARROW => "{msg}{prefix:.10!} [{wide_bar}] {pos}/{len} {elapsed}",
        _ => "{msg}{prefix} [{bar:20}] {pos}/{len} {elapsed}",
    };
    ProgressStyle::with_template(template)
        .expect("the template is a constant and valid")
        .progress_chars("=> ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_takes_one_line_of_any_width() {
        let step = Step {
            node: "bootstrap/debian-bookworm-arm64/configure".into(),
            started: Instant::now(),
            counted: Some((90, 120)),
            last: "Setting up openssh-server (1:9.2p1-2+deb12u7) ...".to_owned(),
        };
        for width in [20, 39, 79, 119] {
            let line = step.line(width);
            assert!(console::measure_text_width(&line) <= width, "{width}: {line}");
            let is_whole = line.contains("90/120") && line.contains("configure");
            assert!(is_whole || width < 39, "{width}: {line}");
        }
        assert!(step.line(119).contains("deb12u7"));
    }
}
