//! What was acknowledged survives `kill -9` at any moment, and the next run needs no unlock.

use crate::child;
use crate::scratch::Scratch;
use anyhow::{Context, Result, bail};
use drover_state::{EventReader, Held, Lock, NodeId, NodeRecord, RunId, StateDir, Status, holder};
use std::collections::{BTreeSet, HashMap};
use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Stdio};
use std::time::Duration;

const KILLS: u64 = 40;

#[test]
fn nothing_that_was_acknowledged_is_lost_by_kills() -> Result<()> {
    let scratch = Scratch::new()?;
    let mut acknowledged = BTreeSet::new();
    let mut killed_early = 0;
    for kill in 0..KILLS {
        // Every fourth is killed while it opens what the one before it left.
        let moment = match kill % 4 {
            0 => Moment::Opening(Duration::from_micros(kill * 800)),
            _ => Moment::Writing(Duration::from_micros(kill * 700)),
        };
        // Every other is killed in the middle of runs that end and are put away, one after the other.
        let what = if kill % 2 == 0 { "child::write_without_end" } else { "child::run_without_end" };
        let acks = write_and_kill(&scratch.dir, what, moment)?;
        killed_early += u64::from(acks.is_empty());
        acknowledged.extend(acks);
        check(&scratch, &acknowledged).with_context(|| format!("after kill {kill}"))?;
    }
    assert!(killed_early <= KILLS / 4, "{killed_early} of {KILLS} were killed before they wrote anything");
    Ok(())
}

/// When a process is killed: so long after it was started, or after it acknowledged something.
#[derive(Clone, Copy)]
enum Moment {
    Opening(Duration),
    Writing(Duration),
}

/// Lets a process write for a while, kills it, and returns what it was told to be durable, as run and place.
fn write_and_kill(dir: &StateDir, what: &str, moment: Moment) -> Result<Vec<(u32, u64)>> {
    let mut child = start(dir, what)?;
    let mut out = BufReader::new(child.stdout.take().context("its output is a pipe")?);
    let (first, delay) = match moment {
        Moment::Opening(delay) => (None, delay),
        Moment::Writing(delay) => (Some(await_ack(&mut out)?), delay),
    };
    let reader = std::thread::spawn(move || {
        let lines = out.lines().map_while(Result::ok);
        first.into_iter().chain(lines.filter_map(|line| ack(&line))).collect()
    });
    std::thread::sleep(delay);
    child.kill()?;
    let mut complaints = String::new();
    child.stderr.take().context("its complaints are a pipe")?.read_to_string(&mut complaints)?;
    assert_eq!(complaints, "", "it ended before it was killed");
    child.wait()?;
    Ok(reader.join().expect("reading a pipe does not panic"))
}

fn start(dir: &StateDir, what: &str) -> Result<Child> {
    let mut command = child::command(what, dir.path())?;
    Ok(command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?)
}

fn await_ack(out: &mut impl BufRead) -> Result<(u32, u64)> {
    for line in out.lines() {
        if let Some(acknowledged) = ack(&line?) {
            return Ok(acknowledged);
        }
    }
    bail!("it ended")
}

fn ack(line: &str) -> Option<(u32, u64)> {
    let (run, seq) = line.strip_prefix("ack ")?.split_once(' ')?;
    Some((run.parse().ok()?, seq.parse().ok()?))
}

fn check(scratch: &Scratch, acknowledged: &BTreeSet<(u32, u64)>) -> Result<()> {
    assert_eq!(holder(&scratch.dir)?, None, "the lock died with its holder");
    let journal = scratch.sound()?;
    let mut told = HashMap::<NodeId, NodeRecord>::new();
    let mut found = BTreeSet::new();
    for run in scratch.dir.runs()? {
        let mut reader = EventReader::new(&scratch.dir, run);
        for event in reader.read()? {
            found.insert((event.run.0, event.seq));
            let Some(node) = event.kind.node() else { continue };
            let fingerprint = journal.node(node).and_then(|record| record.fingerprint);
            if let Some(record) = NodeRecord::after(told.get(node), &event, fingerprint)? {
                told.insert(node.clone(), record);
            }
        }
        assert_eq!(reader.damaged(), 0);
    }
    let lost: Vec<_> = acknowledged.difference(&found).collect();
    assert!(lost.is_empty(), "{lost:?}");
    for (node, record) in &told {
        let recorded = journal.node(node).with_context(|| format!("`{node}` is not recorded"))?;
        // A record may be ahead of the events by the one transition that was being written.
        let ahead = recorded.at >= record.at && recorded.attempts - record.attempts <= 1;
        assert!(recorded == record || ahead, "{node}: {recorded:?}, while the events say {record:?}");
    }
    Ok(())
}

#[test]
fn while_a_run_is_on_it_can_be_watched_and_keeps_others_out() -> Result<()> {
    let scratch = Scratch::new()?;
    let mut child = start(&scratch.dir, "child::write_without_end")?;
    let mut out = BufReader::new(child.stdout.take().context("its output is a pipe")?);
    assert_eq!(await_ack(&mut out)?, (1, 1));
    let error = Lock::acquire(&scratch.dir).expect_err("the other process holds it");
    let held = error.downcast_ref::<Held>().context("the error is typed")?;
    let by = held.holder.as_ref().context("it says who holds it")?;
    assert_eq!((by.pid, by.run), (child.id(), Some(RunId(1))));
    // What is seen is what was acknowledged, in order and from the start.
    let events = EventReader::new(&scratch.dir, RunId(1)).read()?;
    assert!(events.len() > 1);
    assert!(events.iter().zip(0..).all(|(event, seq)| event.seq == seq));
    child.kill()?;
    child.wait()?;
    assert_eq!(holder(&scratch.dir)?, None);
    let journal = scratch.sound()?;
    assert!(journal.was_killed());
    assert!(journal.nodes().any(|(_, record)| record.status == Status::Started));
    Ok(())
}
