//! The coordinator: the one thread that decides what starts, records what happened, and tells the observer.
//!
//! It does not touch the world. One round: what has happened and what is to start go into the journal together, durably;
//! then it is shown, and started; then it waits for news.

use crate::failure::Stop;
use crate::run::front::Front;
use crate::run::history::{Finding, Needed, found_done};
use crate::run::pace::Pace;
use crate::run::silence::Silences;
use crate::run::turns::{Turn, Turns};
use crate::run::worker::{Message, Worker};
use crate::schedule::{Blocked, End, Schedule};
use crate::{Check, Observer, Report};
use anyhow::Result;
use drover_state::{Event, EventKind, Failure, Journal, NodeId, Outcome};
use std::collections::HashMap;
use std::time::{Duration, Instant};

/// How long it waits for news before it looks at the interrupt and lets the display move.
const TICK: Duration = Duration::from_millis(100);
/// How long the answers of quick checks may lie in the inbox while a slow one goes on.
const SHORT_TICK: Duration = Duration::from_millis(5);

pub(super) struct Coordinator<'a> {
    worker: &'a Worker<'a>,
    front: &'a Front<'a>,
    turns: &'a Turns,
    schedule: Schedule<'a>,
    journal: &'a mut Journal,
    observer: &'a mut dyn Observer,
    report: Report,
    /// Nodes whose turn it is to be checked.
    to_check: Vec<usize>,
    /// What has happened and is not recorded yet.
    news: Vec<EventKind>,
    /// What the checks said of nodes that have not ended yet.
    needed: HashMap<usize, Needed>,
    /// The silence of nodes that are being applied.
    silences: Silences,
    pace: Pace,
    /// Why the journal can no longer be written.
    broken: Option<anyhow::Error>,
}

impl<'a> Coordinator<'a> {
    pub(super) fn new(
        worker: &'a Worker<'a>,
        (front, turns): (&'a Front<'a>, &'a Turns),
        schedule: Schedule<'a>,
        journal: &'a mut Journal,
        observer: &'a mut dyn Observer,
    ) -> Self {
        let (to_check, news, needed) = (Vec::new(), Vec::new(), HashMap::new());
        let silences = Silences::new(worker.work.options.silence);
        let report = Report::default();
        Self {
            worker,
            front,
            turns,
            schedule,
            journal,
            observer,
            report,
            to_check,
            news,
            needed,
            silences,
            pace: Pace::default(),
            broken: None,
        }
    }

    /// Goes on until nothing runs and nothing may be started.
    pub(super) fn coordinate(&mut self) {
        self.reach();
        loop {
            self.mind_interrupt();
            let starting = self.choose();
            if self.record() {
                self.apply(starting);
            } else {
                // Not recorded, not started; and since everything is being stopped now, nothing will be.
                starting.into_iter().for_each(|node| drop(self.schedule.applied(node, End::Open)));
            }
            self.check();
            if !self.schedule.unfinished() {
                return;
            }
            self.listen();
        }
    }

    /// Records the end of the run.
    pub(super) fn conclude(mut self) -> Result<Report> {
        let code = self.report.exit_code(self.worker.work.options.interrupt.first_signal());
        self.news.push(EventKind::RunFinished { code });
        self.record();
        self.broken.map_or(Ok(self.report), Err)
    }

    /// An event that is recorded is counted and shown.
    pub(super) fn tell(&mut self, event: &Event) {
        self.observer.event(event);
        self.report.add(event);
    }

    /// Nothing new begins once the run is to stop, whatever was cleared for it.
    fn mind_interrupt(&mut self) {
        if self.worker.work.options.interrupt.level() > 0 {
            self.schedule.stop();
            for node in self.turns.withdraw() {
                self.applied(node, Err(Stop::Interrupted), Duration::ZERO);
            }
        }
    }

    /// Takes the nodes that are to be applied now, or very soon, off the schedule.
    fn choose(&mut self) -> Vec<usize> {
        let options = self.worker.work.options;
        // After a failure nothing new is to begin, then: nothing is cleared before.
        let ahead = if options.fail_fast { 0 } else { self.pace.ahead(options.limits.jobs) };
        self.schedule.look_ahead(ahead);
        let starting: Vec<_> = std::iter::from_fn(|| self.schedule.next_apply()).collect();
        for &node in &starting {
            if let Some(needed) = self.needed.get_mut(&node) {
                let (reason, diff) = (std::mem::take(&mut needed.finding.reason), needed.finding.diff.take());
                let attempt = self.worker.attempt(node);
                self.news.push(EventKind::Started { node: self.id(node), attempt, reason, diff });
            }
        }
        starting
    }

    /// Makes the news durable, then shows them. Returns whether that is so; if not, everything is being stopped.
    fn record(&mut self) -> bool {
        let news = std::mem::take(&mut self.news);
        if self.broken.is_some() {
            return news.is_empty();
        }
        // With nothing new, those who watch get to see what changed nothing and was kept back.
        let recorded = match news.is_empty() {
            true => self.journal.write_out().map(|()| Vec::new()),
            false => self.commit(news),
        };
        match recorded {
            Ok(events) => {
                events.into_iter().for_each(|event| self.tell(&event));
                true
            }
            Err(error) => {
                self.broken = Some(error);
                let interrupt = &self.worker.work.options.interrupt;
                while interrupt.raise() < 2 {}
                self.mind_interrupt();
                false
            }
        }
    }

    fn commit(&mut self, news: Vec<EventKind>) -> Result<Vec<Event>> {
        let is_flushed = news.iter().any(|news| matches!(news, EventKind::Started { .. }));
        let begun = Instant::now();
        let events = self.journal.commit(news)?;
        if is_flushed {
            self.pace.flushed(begun.elapsed());
        }
        Ok(events)
    }

    fn apply(&mut self, starting: Vec<usize>) {
        for node in starting {
            self.silences.begin(node);
            self.turns.give(Turn::Apply(node));
        }
    }

    fn check(&mut self) {
        for _ in 0..self.front.reach(self.to_check.drain(..)) {
            self.turns.give(Turn::Check);
        }
    }

    /// Notes whose turn it is to be checked: a worker may have found that out, and done it, before.
    fn reach(&mut self) {
        self.to_check.extend(std::iter::from_fn(|| self.schedule.next_check()));
    }

    /// Waits for news.
    fn listen(&mut self) {
        let patience = if self.schedule.checking() > 0 { SHORT_TICK } else { TICK };
        let mail = self.worker.inbox.wait(patience);
        for (node, said) in mail.said {
            let id = &self.worker.work.graph.nodes()[node].id;
            said.line.iter().for_each(|line| self.observer.line(id, line));
            said.progress.iter().for_each(|(done, total)| self.observer.progress(id, *done, *total));
            self.silences.heard(node);
        }
        for message in mail.messages {
            match message {
                Message::Checked { node, answer, took } => self.checked(node, answer, took),
                Message::Retrying { node, class, message, delay } => {
                    let delay_ms = millis(delay);
                    self.news.push(EventKind::Retrying { node: self.id(node), class, message, delay_ms });
                }
                // Only what is being done can be told about.
                Message::Told { node, event } if self.silences.is_on(node) => self.news.push(event),
                Message::Told { .. } => {}
                Message::Applied { node, answer, took } => self.applied(node, answer, took),
            }
            self.reach();
        }
        self.mind_silence();
        self.observer.tick();
    }

    fn checked(&mut self, node: usize, answer: Result<Check, Stop>, took: Duration) {
        let end = match answer {
            Ok(Check::Satisfied) => {
                self.found_done(node, took);
                End::Well
            }
            Ok(Check::Needed { reason, diff }) => {
                let record = self.worker.records[node].as_ref();
                let needed = Needed::new(Finding { reason, diff, took }, record, self.worker.prints[node]);
                self.needed.insert(node, needed);
                return self.schedule.needed(node);
            }
            Err(Stop::Failed(failure)) => self.failed(node, failure, took),
            // Nothing was begun: what is recorded of the node is still true.
            Err(Stop::Interrupted) => End::Open,
        };
        let blocked = self.schedule.checked(node, end);
        self.blocked(blocked);
    }

    fn applied(&mut self, node: usize, answer: Result<(), Stop>, took: Duration) {
        self.silences.end(node);
        self.pace.applied(took);
        let needed = self.needed.remove(&node);
        let took = took + needed.as_ref().map_or(Duration::ZERO, |needed| needed.finding.took);
        let end = match answer {
            Ok(()) => {
                self.finished(node, needed.map_or(Outcome::Changed, |needed| needed.outcome), took);
                End::Well
            }
            Err(Stop::Failed(failure)) => self.failed(node, failure, took),
            Err(Stop::Interrupted) => {
                self.finished(node, Outcome::Interrupted, took);
                End::Open
            }
        };
        let blocked = self.schedule.applied(node, end);
        self.blocked(blocked);
    }

    fn found_done(&mut self, node: usize, took: Duration) {
        let id = &self.worker.work.graph.nodes()[node].id;
        let (outcome, remark) = found_done(self.worker.records[node].as_ref(), self.worker.prints[node]);
        remark.iter().for_each(|remark| self.observer.line(id, remark));
        self.finished(node, outcome, took);
    }

    fn finished(&mut self, node: usize, outcome: Outcome, took: Duration) {
        self.news.push(EventKind::Finished { node: self.id(node), outcome, millis: millis(took) });
    }

    fn failed(&mut self, node: usize, failure: Box<Failure>, took: Duration) -> End {
        self.finished(node, Outcome::Failed { failure }, took);
        if self.worker.work.options.fail_fast {
            self.schedule.stop();
        }
        End::Badly
    }

    fn blocked(&mut self, blocked: Vec<Blocked>) {
        for Blocked { node, by } in blocked {
            let by = self.id(by);
            self.finished(node, Outcome::Blocked { by }, Duration::ZERO);
        }
    }

    /// A step that says nothing for long may be stuck: said aloud, and decided by its timeout.
    fn mind_silence(&mut self) {
        for (node, silent) in self.silences.due() {
            self.news.push(EventKind::Silent { node: self.id(node), seconds: silent.as_secs() });
        }
    }

    fn id(&self, node: usize) -> NodeId {
        self.worker.work.graph.nodes()[node].id.clone()
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
