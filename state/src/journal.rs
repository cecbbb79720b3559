//! The journal: what is recorded of runs and nodes, durable before it is acted upon or shown.
//!
//! It knows records; the run that is on is in `current`, how bytes become durable is known to `store`, what to do
//! after a loss to `recovery`.

use crate::current::Current;
use crate::record::Nodes;
use crate::store::{Batch, LastRun, Store};
use crate::{Event, EventKind, Lock, NodeId, NodeRecord, RunId, StateDir, damage, recovery};
use anyhow::{Context, Result, bail};
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// The journal of a state directory. There is one at a time.
#[derive(Debug)]
pub struct Journal {
    dir: StateDir,
    nodes: Nodes,
    last: Option<LastRun>,
    current: Option<Current>,
    store: Store,
    /// When it was last seen that the state directory is where it was.
    seen: Instant,
    /// Let go last, after the database.
    lock: Lock,
}

/// How often it is looked whether the state directory is still there, while nothing is recorded.
const LOOK: Duration = Duration::from_secs(1);

impl Journal {
    /// Opens the journal, mending what a kill, a power cut or a damaged disk left of it. What had to be mended is
    /// said in notes, for the user to see.
    ///
    /// # Errors
    /// When it cannot be read or written, or was written by a newer Drover.
    pub fn open(dir: &StateDir, lock: Lock) -> Result<(Self, Vec<String>)> {
        let mut recovered = recovery::open(dir)?;
        if let Err(error) = dir.prune_logs() {
            recovered.notes.push(format!("logs of old runs stay: {error:#}"));
        }
        let journal = Self {
            dir: dir.clone(),
            nodes: recovered.nodes,
            last: recovered.last,
            current: None,
            store: recovered.store,
            seen: Instant::now(),
            lock,
        };
        Ok((journal, recovered.notes))
    }

    /// What is recorded of all nodes, also of those that are in no plan any more, in the order in which they came first.
    pub fn nodes(&self) -> impl Iterator<Item = (&NodeId, &NodeRecord)> {
        self.nodes.iter().filter_map(|(node, known)| Some((node, known.record.as_ref()?)))
    }

    /// What is recorded of a node, if anything is.
    pub fn node(&self, node: &NodeId) -> Option<&NodeRecord> {
        self.nodes.get(node)?.record.as_ref()
    }

    /// The run that was begun, if one was.
    pub fn run(&self) -> Option<RunId> {
        self.current.as_ref().map(Current::id)
    }

    /// Whether the last run did not end by itself.
    pub fn was_killed(&self) -> bool {
        self.last.is_some_and(|last| !last.ended)
    }

    /// Begins a run of `nodes`, each with its step's fingerprint. One run for each opening.
    ///
    /// # Errors
    /// When it cannot be recorded.
    pub fn begin_run(&mut self, plan: &str, source: &str, nodes: Vec<(NodeId, u64)>) -> Result<Event> {
        if let Some(current) = &self.current {
            bail!("run {} was already begun", current.id());
        }
        let left = self.dir.runs()?.last().map_or(0, |run| run.0);
        let last = self.last.map_or(0, |last| last.id.0).max(left);
        let run = last.checked_add(1).map(RunId).with_context(|| {
            format!("there is no number behind {last}, that of the last run; {}", self.dir.way_out())
        })?;
        self.lock.name_run(run)?;
        self.current = Some(Current::begin(&self.dir, run)?);
        let started = EventKind::RunStarted {
            plan: plan.to_owned(),
            source: source.to_owned(),
            nodes: nodes.iter().map(|(node, _)| node.clone()).collect(),
            pid: std::process::id(),
        };
        for (node, fingerprint) in nodes {
            self.nodes.entry(node).or_default().fingerprint = Some(fingerprint);
        }
        let event = self.commit(vec![started])?.pop().context("run was not recorded")?;
        self.write_out()?;
        Ok(event)
    }

    /// Records what happened, in this order, and returns it as events.
    ///
    /// What says that the world was or will be changed is durable when this returns: give as much at a time as there
    /// is, since each call flushes the disk once. Outcomes that changed nothing (`unchanged`, `adopted`, `blocked`)
    /// and remarks are not worth a flush: alone, they are kept back for a moment, and durable with whatever follows.
    ///
    /// # Errors
    /// When it cannot be recorded: [`Gone`](crate::Gone), if that is because the state directory is not there any more. The
    /// run must then end: nothing more can be recorded.
    pub fn commit(&mut self, kinds: Vec<EventKind>) -> Result<Vec<Event>> {
        let events = kinds.into_iter().map(|kind| self.take(kind)).collect::<Result<Vec<_>>>()?;
        self.ensure_there()?;
        let current = self.current.as_mut().context("no run was begun")?;
        current.settle(&mut self.store)?;
        Ok(events)
    }

    /// Makes sure that what is written is still what others find in the state directory.
    fn ensure_there(&mut self) -> Result<()> {
        let events = self.current.as_ref().map(Current::held);
        let files: Vec<_> = [self.store.held()].into_iter().chain(events).collect();
        self.lock.ensure_there(&files)?;
        self.seen = Instant::now();
        Ok(())
    }

    /// Puts the journal away after a run that has ended, so that the next opening is quick. It may as well be dropped:
    /// nothing is lost by that, nor when this fails.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn close(mut self) -> Result<()> {
        let run = self.current.as_ref().map(Current::run).filter(|run| run.ended);
        let Some(run) = run.filter(|_| self.store.is_scattered(self.nodes.len())) else { return Ok(()) };
        let records: Vec<_> = self.nodes().map(|(node, record)| (node.clone(), record.clone())).collect();
        self.store.gather(&records, run).context("journal cannot be tidied; nothing is lost by that")
    }

    /// Shows those who watch what was kept back so far. To be called when there is nothing else to do; costs nothing
    /// if nothing was kept back.
    ///
    /// # Errors
    /// As [`Journal::commit`].
    pub fn write_out(&mut self) -> Result<()> {
        if self.current.is_some() && self.seen.elapsed() > LOOK {
            self.ensure_there()?;
        }
        self.current.as_mut().map_or(Ok(()), |current| current.write_out(&mut self.store))
    }

    /// The events of a run that the journal keeps, as lines.
    ///
    /// # Errors
    /// When they cannot be read.
    pub(crate) fn lines(&self, run: RunId) -> Result<Vec<u8>> {
        self.store.lines(run)
    }

    /// Moves the database aside, and begins a new one with the records that this one has of nodes: the events of runs
    /// are in their files. Answers where to it was moved.
    ///
    /// # Errors
    /// When it cannot be moved, or the new one not be written.
    pub(crate) fn begin_anew(self) -> Result<(Self, PathBuf)> {
        let records: Vec<_> = self.nodes().map(|(node, record)| (node.clone(), record.clone())).collect();
        let Self { dir, last, store, lock, .. } = self;
        drop(store);
        let aside = damage::set_aside(&dir)?;
        if let Some(run) = last {
            let mut store = Store::open(&dir)?.store;
            store.put(&Batch { seq: 0, lines: &[], nodes: &records, run })?;
            store.set_schema()?;
            store.sync()?;
        }
        Ok((Self::open(&dir, lock)?.0, aside))
    }

    /// Gives an event its place, and does to its node what it says.
    fn take(&mut self, kind: EventKind) -> Result<Event> {
        let current = self.current.as_mut().context("no run was begun")?;
        let event = current.place(kind)?;
        let Some(node) = event.kind.node() else {
            current.add(&event, None)?;
            return Ok(event);
        };
        let known = self.nodes.get_mut(node).filter(|known| known.fingerprint.is_some());
        let known = known.with_context(|| format!("node `{node}` is not part of run {}", event.run))?;
        let new = NodeRecord::after(known.record.as_ref(), &event, known.fingerprint)
            .with_context(|| format!("journal does not take this of `{node}`"))?;
        if new.is_some() {
            known.record.clone_from(&new);
        }
        current.add(&event, new)?;
        Ok(event)
    }
}
