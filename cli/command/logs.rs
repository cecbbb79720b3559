//! `drover logs`: what a step's last attempt wrote, also while it writes.

use super::past;
use crate::args::Logs;
use crate::exit::Exit;
use crate::output::{pause, print_bytes};
use anyhow::{Context, Result, anyhow, bail};
use drover_engine::Pattern;
use drover_state::{EventKind, EventReader, KEPT_LOGS, NodeId, RunId, StateDir};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{ErrorKind, Read};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How often a log that is followed is looked at.
const LOOK: Duration = Duration::from_millis(200);

/// Shows the log of a node's last attempt.
pub(crate) fn logs(state: Option<&Path>, options: &Logs) -> Result<Exit> {
    let (state, _) = past(state, None)?;
    let mut attempt = Attempt::find(&state, &options.node)?;
    let file = attempt.open(&state, options.follow)?;
    let Some(mut file) = file else {
        bail!(
            "{} has written nothing in its attempt {}, or its log is gone: those of the last {KEPT_LOGS} runs that wrote any are kept",
            attempt.node,
            attempt.number
        );
    };
    loop {
        // Asked before the rest is copied: what it wrote until its end is then there.
        let over = !options.follow || attempt.is_over(&state)?;
        copy(&mut file)?;
        if over {
            return Ok(Exit::Done);
        }
        pause(LOOK)?;
    }
}

/// Shows what is left of a log.
fn copy(file: &mut File) -> Result<()> {
    let mut buffer = vec![0; 64 * 1024];
    loop {
        match file.read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(count) => print_bytes(&buffer[..count])?,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error).context("the log cannot be read"),
        }
    }
}

/// An attempt at a node.
struct Attempt {
    node: NodeId,
    run: RunId,
    number: u32,
    events: EventReader,
    ended: bool,
}

impl Attempt {
    /// The last attempt at the node that is meant: by its id, or by a pattern that it alone matches of all that were started.
    fn find(state: &StateDir, name: &str) -> Result<Self> {
        let pattern = Pattern::new(name)?;
        let (mut known, mut meant) = (Vec::new(), BTreeMap::new());
        for run in state.runs()?.into_iter().rev() {
            for attempt in Self::of_run(state, run, &mut known)? {
                if attempt.node.as_str() == name {
                    return Ok(attempt);
                }
                if pattern.matches(&attempt.node) {
                    meant.entry(attempt.node.clone()).or_insert(attempt);
                }
            }
        }
        match meant.pop_first() {
            Some((_, only)) if meant.is_empty() => Ok(only),
            first => {
                let meant: Vec<_> =
                    first.map(|(node, _)| node).into_iter().chain(meant.into_keys()).collect();
                Err(unknown(name, &pattern, &meant, known))
            }
        }
    }

    /// The last attempts of a run at each node. Adds the run's nodes to those that are known.
    fn of_run(state: &StateDir, run: RunId, known: &mut Vec<NodeId>) -> Result<Vec<Self>> {
        let mut last = BTreeMap::new();
        for event in EventReader::new(state, run).read()? {
            match event.kind {
                EventKind::Started { node, attempt, .. } => drop(last.insert(node, attempt)),
                EventKind::RunStarted { nodes, .. } => known.extend(nodes),
                _ => {}
            }
        }
        let attempt =
            |(node, number)| Self { node, run, number, events: EventReader::new(state, run), ended: false };
        Ok(last.into_iter().map(attempt).collect())
    }

    fn path(&self, state: &StateDir) -> PathBuf {
        state.log(self.run, &self.node, self.number)
    }

    /// Opens its log; `None` if there is none and, when waiting, none came before it was over.
    fn open(&mut self, state: &StateDir, wait: bool) -> Result<Option<File>> {
        let path = self.path(state);
        loop {
            let over = !wait || self.is_over(state)?;
            match File::open(&path) {
                Ok(file) => return Ok(Some(file)),
                Err(error) if error.kind() == ErrorKind::NotFound && over => return Ok(None),
                Err(error) if error.kind() == ErrorKind::NotFound => pause(LOOK)?,
                Err(error) => {
                    return Err(error).with_context(|| format!("log `{}` cannot be read", path.display()));
                }
            }
        }
    }

    /// Whether nothing more will be written: it ended, or its run is gone.
    fn is_over(&mut self, state: &StateDir) -> Result<bool> {
        let alive = drover_state::holder(state)?.is_some_and(|holder| holder.run == Some(self.run));
        for event in self.events.read()? {
            self.ended |= matches!(&event.kind, EventKind::Finished { node, .. } if *node == self.node);
        }
        Ok(self.ended || !alive)
    }
}

/// Why no attempt is meant by this name: several nodes are, or none that was started.
fn unknown(name: &str, pattern: &Pattern, meant: &[NodeId], mut known: Vec<NodeId>) -> anyhow::Error {
    let list = |nodes: &[NodeId]| nodes.iter().map(NodeId::as_str).collect::<Vec<_>>().join(", ");
    if !meant.is_empty() {
        return anyhow!("`{name}` may be each of these, name one: {}", list(meant));
    }
    known.sort_unstable();
    known.dedup();
    let matching: Vec<_> = known.iter().filter(|node| pattern.matches(node)).cloned().collect();
    if !matching.is_empty() {
        return anyhow!("never started, since it was done already or not reached: {}", list(&matching));
    }
    known.retain(|node| node.as_str().contains(name));
    match known.as_slice() {
        [] => anyhow!("no node is called `{name}`; `drover status` lists them"),
        several => anyhow!("no node is called `{name}`; did you mean {}?", list(several)),
    }
}
