//! What the journal costs: 10,000 nodes that change, then the same with nothing to do.
//!
//! `cargo run --release -p drover-state --example journal-speed [DIR]`; DIR says on which disk

use anyhow::Result;
use drover_state::{EventKind, Journal, Lock, NodeId, Outcome, StateDir};
use rustix::time::{ClockId, clock_gettime};
use std::path::PathBuf;
use std::time::Instant;

const NODES: usize = 10_000;

fn main() -> Result<()> {
    let scratch =
        tempfile::tempdir_in(std::env::args_os().nth(1).map_or(std::env::temp_dir(), PathBuf::from))?;
    let dir = StateDir::open(scratch.path())?;
    let nodes: Vec<_> =
        (0..NODES).map(|n| NodeId::new(&format!("layer-{}", n / 100), &format!("touch-{n}"))).collect();
    measure("first run", || first(&dir, &nodes))?;
    for _ in 0..3 {
        measure("nothing to do", || again(&dir, &nodes))?;
    }
    let status = std::fs::read_to_string("/proc/self/status")?;
    println!("{}", status.lines().find(|line| line.starts_with("VmHWM")).unwrap_or_default());
    Ok(())
}

fn measure<T>(name: &str, what: impl FnOnce() -> Result<T>) -> Result<T> {
    let cpu = || {
        let now = clock_gettime(ClockId::ProcessCPUTime);
        now.tv_sec * 1_000_000 + now.tv_nsec / 1000
    };
    let (wall, before) = (Instant::now(), cpu());
    let value = what()?;
    println!("{name}: {:?}, {} us of CPU", wall.elapsed(), cpu() - before);
    Ok(value)
}

fn open(dir: &StateDir, nodes: &[NodeId]) -> Result<Journal> {
    let (mut journal, _) = measure("  open", || Journal::open(dir, Lock::acquire(dir)?))?;
    let nodes = nodes.iter().map(|node| (node.clone(), 1)).collect();
    measure("  begin", || journal.begin_run("speed", "none", nodes))?;
    Ok(journal)
}

fn close(mut journal: Journal) -> Result<()> {
    measure("  end", || journal.commit(vec![EventKind::RunFinished { code: 0 }]))?;
    measure("  close", || {
        drop(journal);
        Ok(())
    })
}

/// Two at a time, as with two workers: one ends, one starts.
fn first(dir: &StateDir, nodes: &[NodeId]) -> Result<()> {
    let mut journal = open(dir, nodes)?;
    measure("  transitions", || {
        let mut running: Option<&NodeId> = None;
        for node in nodes {
            let end = running.replace(node).map(|node| finished(node, Outcome::Changed));
            let begin =
                EventKind::Started { node: node.clone(), attempt: 1, reason: "missing".into(), diff: None };
            journal.commit(end.into_iter().chain([begin]).collect())?;
        }
        journal.commit(running.map(|node| finished(node, Outcome::Changed)).into_iter().collect())
    })?;
    close(journal)
}

fn again(dir: &StateDir, nodes: &[NodeId]) -> Result<()> {
    let mut journal = open(dir, nodes)?;
    measure("  outcomes", || {
        nodes.iter().try_for_each(|node| journal.commit(vec![finished(node, Outcome::Unchanged)]).map(drop))
    })?;
    close(journal)
}

fn finished(node: &NodeId, outcome: Outcome) -> EventKind {
    EventKind::Finished { node: node.clone(), outcome, millis: 1 }
}
