//! A run that is cut off anywhere leaves events that make sense.

use crate::child;
use crate::scratch::{Scratch, finished, node, nodes, started};
use anyhow::Result;
use drover_state::{Event, EventKind, EventReader, NodeId, NodeRecord, Outcome, RunId, StateDir, Status};
use std::collections::HashMap;
use std::io::Write;

/// The events of a run in which about everything happens.
fn eventful(scratch: &Scratch) -> Result<Vec<Event>> {
    let mut journal = scratch.sound()?;
    let run = journal.begin_run("pair", "plans/pair.ron", nodes(6))?.run;
    let failure = drover_state::Failure {
        phase: drover_state::Phase::Apply,
        message: "`false` ended with exit status 1".into(),
        causes: vec!["line\nbreak".into()],
        command: Some("false".into()),
        status: None,
        tail: Vec::new(),
        log: None,
        remedy: None,
    };
    let retry =
        EventKind::Retrying { node: node(1), class: "mirror".into(), message: "404".into(), delay_ms: 5 };
    for kinds in [
        vec![finished(&node(0), Outcome::Adopted), started(&node(1), 1), started(&node(2), 1)],
        vec![EventKind::Silent { node: node(1), seconds: 60 }, retry, started(&node(1), 2)],
        vec![finished(&node(1), Outcome::Changed), finished(&node(2), Outcome::Interrupted)],
        vec![finished(&node(3), Outcome::Failed { failure: Box::new(failure) })],
        vec![finished(&node(4), Outcome::Blocked { by: node(3) }), EventKind::RunFinished { code: 1 }],
    ] {
        journal.commit(kinds)?;
    }
    EventReader::new(&scratch.dir, run).read()
}

#[test]
fn after_every_prefix_of_a_run_the_next_one_can_go_on() -> Result<()> {
    let events = eventful(&Scratch::new()?)?;
    assert_eq!(events.len(), 12);
    for length in 0..=events.len() {
        let mut records = HashMap::<NodeId, NodeRecord>::new();
        for event in &events[..length] {
            let Some(node) = event.kind.node() else { continue };
            if let Some(record) = NodeRecord::after(records.get(node), event, Some(1))? {
                records.insert(node.clone(), record);
            }
        }
        for number in 0..6 {
            let status = records.get(&node(number)).map_or(Status::Unknown, |record| record.status);
            let begun = status.next(&started(&node(number), 9))?;
            assert_eq!(begun.next(&finished(&node(number), Outcome::Drifted))?, Status::Done);
            assert_eq!(status.next(&finished(&node(number), Outcome::Unchanged))?, Status::Done);
        }
    }
    Ok(())
}

#[test]
fn a_reader_goes_on_where_it_was_however_the_file_grew() -> Result<()> {
    let scratch = Scratch::new()?;
    let events = eventful(&scratch)?;
    let text = std::fs::read(scratch.dir.events(RunId(1)))?;
    let copy = Scratch::new()?;
    std::fs::create_dir(copy.dir.run(RunId(1)))?;
    for cut in 0..=text.len() {
        let path = copy.dir.events(RunId(1));
        std::fs::write(&path, &text[..cut])?;
        let mut reader = EventReader::new(&copy.dir, RunId(1));
        let mut read = reader.read()?;
        assert_eq!(read.len(), text[..cut].iter().filter(|byte| **byte == b'\n').count());
        std::fs::OpenOptions::new().append(true).open(&path)?.write_all(&text[cut..])?;
        read.extend(reader.read()?);
        assert_eq!(read, events);
        assert_eq!(reader.damaged(), 0);
    }
    Ok(())
}

#[test]
fn there_is_nothing_to_read_before_the_first_run() -> Result<()> {
    let scratch = Scratch::new()?;
    assert_eq!(EventReader::new(&scratch.dir, RunId(1)).read()?, []);
    assert_eq!(StateDir::existing(&scratch.dir.path().join("nowhere"))?, None);
    let (mut journal, _) = scratch.journal()?;
    child::write(&mut journal, 3, &mut std::io::sink())?;
    assert_eq!(scratch.dir.runs()?, [RunId(1)]);
    Ok(())
}
