//! What the journal remembers from run to run.

use crate::scratch::{Scratch, finished, node, nodes, started};
use anyhow::Result;
use drover_state::{EventKind, EventReader, NodeRecord, Outcome, RunId, Status};

#[test]
fn what_was_committed_is_there_in_the_next_run() -> Result<()> {
    let scratch = Scratch::new()?;
    let mut journal = scratch.sound()?;
    let begun = journal.begin_run("pair", "plans/pair.ron", nodes(3))?;
    assert_eq!((begun.run, begun.seq, journal.run()), (RunId(1), 0, Some(RunId(1))));
    journal.commit(vec![started(&node(0), 1), started(&node(1), 1)])?;
    journal.commit(vec![finished(&node(0), Outcome::Changed), finished(&node(2), Outcome::Adopted)])?;
    let end = journal.commit(vec![EventKind::RunFinished { code: 1 }])?;
    assert_eq!(end[0].seq, 5);
    drop(journal);

    let mut journal = scratch.sound()?;
    let summary = |record: Option<&NodeRecord>| record.map(|record| (record.status, record.fingerprint));
    assert_eq!(summary(journal.node(&node(0))), Some((Status::Done, Some(0))));
    assert_eq!(summary(journal.node(&node(1))), Some((Status::Started, Some(1))));
    assert_eq!(summary(journal.node(&node(2))), Some((Status::Done, Some(2))));
    assert_eq!(journal.node(&node(0)).and_then(|record| record.millis), Some(7));
    assert_eq!(journal.begin_run("pair", "plans/pair.ron", nodes(3))?.run, RunId(2));
    assert_eq!(EventReader::new(&scratch.dir, RunId(1)).read()?.len(), 6);
    Ok(())
}

#[test]
fn outcomes_that_changed_nothing_are_seen_soon_and_kept() -> Result<()> {
    let scratch = Scratch::new()?;
    let mut journal = scratch.sound()?;
    journal.begin_run("pair", "plans/pair.ron", nodes(3))?;
    let mut reader = EventReader::new(&scratch.dir, RunId(1));
    assert_eq!(reader.read()?.len(), 1);
    journal.commit(vec![finished(&node(0), Outcome::Adopted)])?;
    journal.write_out()?;
    assert_eq!(reader.read()?.len(), 1);
    journal.commit(vec![finished(&node(1), Outcome::Adopted)])?;
    journal.commit(vec![started(&node(2), 1)])?;
    let seen: Vec<u64> = reader.read()?.iter().map(|event| event.seq).collect();
    assert_eq!(seen, [2, 3], "what was kept back comes first");
    drop(journal);
    assert_eq!(scratch.sound()?.nodes().count(), 3);
    Ok(())
}

#[test]
fn what_cannot_be_is_refused() -> Result<()> {
    let scratch = Scratch::new()?;
    let mut journal = scratch.sound()?;
    assert!(journal.commit(vec![started(&node(0), 1)]).is_err(), "no run was begun");
    journal.begin_run("pair", "plans/pair.ron", nodes(1))?;
    assert!(journal.commit(vec![started(&node(1), 1)]).is_err(), "not part of the run");
    assert!(journal.commit(vec![finished(&node(0), Outcome::Changed)]).is_err(), "never started");
    Ok(())
}
