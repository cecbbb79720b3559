//! What is shown while a run is on, and at its end. It sees events, and nothing else of the run.
//!
//! A thread of its own shows it, so that nobody waits for a terminal that stands still or for a pipe that nobody reads:
//! least of all the run.

mod bars;
mod elapsed;
mod failure;
mod fit;
mod junit;
mod lines;
mod screen;
mod summary;
mod table;

pub(crate) use elapsed::elapsed;
pub(crate) use failure::{brief, failure};
pub(crate) use junit::junit;
pub(crate) use summary::{Failures, summary};
pub(crate) use table::{Give, Table};

use crate::output;
use anyhow::{Context, Result};
use drover_engine::{Leftover, Observer};
use drover_state::{Event, NodeId};
use std::collections::HashMap;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// How often what counts on by itself, such as elapsed times, is drawn anew.
const TICK: Duration = Duration::from_millis(100);

/// Shows something in one of the ways in which a run can be shown.
trait Show: Observer {
    /// Says something that is no event. Returns whether that was possible.
    fn say(&mut self, text: &str) -> bool;
}

/// The display of a run: takes what is to be shown, and shows it as soon as that is possible.
pub(crate) struct Display {
    stage: Arc<Stage>,
    thread: JoinHandle<()>,
}

/// Says what is no event, beside a run that is shown.
#[derive(Clone)]
pub(crate) struct Speaker(Arc<Stage>);

#[derive(Default)]
struct Stage {
    queue: Mutex<Queue>,
    news: Condvar,
}

/// What is to be shown.
#[derive(Default)]
struct Queue {
    items: Vec<Item>,
    /// What each node said last: nobody can read more.
    lines: HashMap<NodeId, String>,
    progress: HashMap<NodeId, (u64, u64)>,
    closed: bool,
}

enum Item {
    Event(Event),
    Swept(Vec<Leftover>),
    Said(&'static str),
}

impl Display {
    /// The display that suits standard error: bars where lines can be drawn over, a line an event elsewhere.
    pub(crate) fn start() -> Result<Self> {
        let stage = Arc::new(Stage::default());
        let ours = Arc::clone(&stage);
        let show = move || {
            let mut show: Box<dyn Show> =
                if output::can_draw() { Box::new(bars::Bars::new()) } else { Box::new(lines::Lines) };
            while ours.show(show.as_mut()) {}
        };
        let thread = thread::Builder::new().name("display".to_owned()).spawn(show);
        Ok(Self { stage, thread: thread.context("starting the thread that shows the run")? })
    }

    /// For those who say something beside the run.
    pub(crate) fn speaker(&self) -> Speaker {
        Speaker(Arc::clone(&self.stage))
    }

    /// Waits until everything is shown.
    pub(crate) fn finish(self) {
        self.stage.put(|queue| queue.closed = true);
        // A fault of the display is none of the run, and was told when it happened.
        let _ = self.thread.join();
    }
}

impl Speaker {
    /// Says something that somebody waits for: at the terminal, if standard error leads nowhere any more.
    pub(crate) fn say_urgently(&self, text: &'static str) {
        self.0.put(|queue| queue.items.push(Item::Said(text)));
    }
}

impl Observer for Display {
    fn event(&mut self, event: &Event) {
        self.stage.put(|queue| queue.items.push(Item::Event(event.clone())));
    }

    fn line(&mut self, node: &NodeId, line: &str) {
        self.stage.lock().lines.insert(node.clone(), line.to_owned());
    }

    fn progress(&mut self, node: &NodeId, done: u64, total: u64) {
        self.stage.lock().progress.insert(node.clone(), (done, total));
    }

    fn swept(&mut self, leftovers: &[Leftover]) {
        self.stage.put(|queue| queue.items.push(Item::Swept(leftovers.to_vec())));
    }
}

impl Stage {
    fn put(&self, change: impl FnOnce(&mut Queue)) {
        change(&mut self.lock());
        self.news.notify_one();
    }

    /// Shows what is there, or waits a moment for it. Returns false when all is shown and no more will come.
    fn show(&self, show: &mut dyn Show) -> bool {
        let is_idle = |queue: &mut Queue| queue.items.is_empty() && !queue.closed;
        let waiting = self.news.wait_timeout_while(self.lock(), TICK, is_idle);
        let mut queue = waiting.unwrap_or_else(PoisonError::into_inner).0;
        let items = std::mem::take(&mut queue.items);
        let (lines, progress) = (std::mem::take(&mut queue.lines), std::mem::take(&mut queue.progress));
        let closed = queue.closed;
        drop(queue);
        let over = closed && items.is_empty();
        for item in items {
            match item {
                Item::Event(event) => show.event(&event),
                Item::Swept(leftovers) => show.swept(&leftovers),
                Item::Said(text) if show.say(text) => {}
                Item::Said(text) => output::tell_terminal(text),
            }
        }
        lines.iter().for_each(|(node, line)| show.line(node, line));
        progress.iter().for_each(|(node, (done, total))| show.progress(node, *done, *total));
        show.tick();
        !over
    }

    /// A thread that panicked has left the queue whole: every change to it is a single one.
    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
