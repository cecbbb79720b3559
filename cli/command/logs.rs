//! `drover logs`: what a step's last attempt wrote, also while it writes.

use super::existing_state_dir;
use crate::args::Logs;
use crate::exit::Exit;
use anyhow::{Context, Result, bail};
use drover_state::{EventKind, EventReader, KEPT_LOGS, NodeId, RunId, StateDir};
use std::fs::File;
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How often a log that is followed is looked at.
const LOOK: Duration = Duration::from_millis(200);

/// Shows the log of a node's last attempt.
pub(crate) fn logs(state: Option<&Path>, options: &Logs) -> Result<Exit> {
    let Some(state) = existing_state_dir(state)? else { bail!("nothing was run yet") };
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
        if let Err(error) = copy(&mut file) {
            return if error.kind() == ErrorKind::BrokenPipe { Ok(Exit::Done) } else { Err(error.into()) };
        }
        if over {
            return Ok(Exit::Done);
        }
        std::thread::sleep(LOOK);
    }
}

fn copy(file: &mut File) -> io::Result<()> {
    let mut out = io::stdout().lock();
    io::copy(file, &mut out)?;
    out.flush()
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
    /// The last attempt at the node that is meant by its id, or by a part of it that no other node has.
    fn find(state: &StateDir, name: &str) -> Result<Self> {
        let mut known = Vec::new();
        for run in state.runs()?.into_iter().rev() {
            let mut events = EventReader::new(state, run);
            let all = events.read()?;
            let mut last = None;
            let mut ended = true;
            for event in all {
                match event.kind {
                    EventKind::Started { node, attempt, .. } if node.as_str() == name => {
                        last = Some((node, attempt));
                        ended = false;
                    }
                    EventKind::Finished { node, .. } if node.as_str() == name => ended = true,
                    EventKind::RunStarted { nodes, .. } => known.extend(nodes),
                    _ => {}
                }
            }
            if let Some((node, number)) = last {
                return Ok(Self { node, run, number, events, ended });
            }
        }
        Err(unknown(name, known))
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
                Err(error) if error.kind() == ErrorKind::NotFound => std::thread::sleep(LOOK),
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

fn unknown(name: &str, mut known: Vec<NodeId>) -> anyhow::Error {
    known.retain(|node| node.as_str() == name || node.as_str().contains(name));
    known.sort_unstable();
    known.dedup();
    let named: Vec<_> = known.iter().map(NodeId::as_str).collect();
    match named.as_slice() {
        [] => anyhow::anyhow!("no node is called `{name}`; `drover status` lists them"),
        [only] if *only == name => {
            anyhow::anyhow!("{name} was never started: it was done already, or not reached")
        }
        several => anyhow::anyhow!("no node is called `{name}`; did you mean {}?", several.join(", ")),
    }
}
