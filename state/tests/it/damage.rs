//! Damage is found out, put aside, and made good from what else there is.

use crate::child;
use crate::scratch::{Scratch, node, nodes};
use anyhow::{Context, Result, anyhow};
use drover_state::{EventKind, EventReader, Journal, NodeId, RunId, Status};
use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::OnceLock;

type Statuses = BTreeMap<NodeId, (Status, u32)>;

fn statuses(journal: &Journal) -> Statuses {
    journal.nodes().map(|(node, record)| (node.clone(), (record.status, record.attempts))).collect()
}

/// What two runs leave, by file, and what the journal then says.
struct Original {
    files: Vec<(PathBuf, Vec<u8>)>,
    statuses: Statuses,
}

fn write_original() -> Result<Original> {
    let scratch = Scratch::new()?;
    for commits in [400, 650] {
        child::write(&mut scratch.sound()?, commits, &mut std::io::sink())?;
    }
    let statuses = statuses(&scratch.sound()?);
    let names = ["drover.lock", "journal.high", "runs/0001/events.jsonl", "runs/0002/events.jsonl"]
        .map(PathBuf::from);
    let mut names = names.to_vec();
    for path in files(&scratch, "")?.into_iter().filter(|path| path.is_file()) {
        names.push(path.strip_prefix(scratch.dir.path())?.to_owned());
    }
    let read = |name: PathBuf| std::fs::read(scratch.dir.path().join(&name)).map(|bytes| (name, bytes));
    Ok(Original { files: names.into_iter().map(read).collect::<Result<_, _>>()?, statuses })
}

/// A state directory with two runs in it, and what its journal says.
fn written() -> Result<(Scratch, Statuses)> {
    static ORIGINAL: OnceLock<Result<Original>> = OnceLock::new();
    let original = ORIGINAL.get_or_init(write_original).as_ref().map_err(|error| anyhow!("{error:#}"))?;
    assert_eq!(original.statuses.len(), 50);
    let scratch = Scratch::new()?;
    for (name, bytes) in &original.files {
        let path = scratch.dir.path().join(name);
        std::fs::create_dir_all(path.parent().context("it is below the state directory")?)?;
        std::fs::write(path, bytes)?;
    }
    Ok((scratch, original.statuses.clone()))
}

fn data(scratch: &Scratch) -> Result<File> {
    Ok(OpenOptions::new().read(true).write(true).open(scratch.dir.path().join("journal/db"))?)
}

/// The files in the journal whose names begin so.
fn files(scratch: &Scratch, prefix: &str) -> Result<Vec<PathBuf>> {
    let entries = std::fs::read_dir(scratch.dir.path().join("journal"))?.collect::<Result<Vec<_>, _>>()?;
    let paths = entries
        .into_iter()
        .filter(|entry| entry.file_name().as_encoded_bytes().starts_with(prefix.as_bytes()));
    Ok(paths.map(|entry| entry.path()).collect())
}

#[test]
fn a_snapshot_that_was_being_written_is_no_obstacle() -> Result<()> {
    let (scratch, before) = written()?;
    let unfinished = scratch.dir.path().join("journal/snap.FFFFFFFFFFFFFFF0.generating");
    File::create(&unfinished)?;
    assert!(
        sled::open(scratch.dir.path().join("journal")).is_err(),
        "left there, it keeps sled from opening"
    );
    assert_eq!(statuses(&scratch.sound()?), before);
    assert!(!unfinished.exists());
    Ok(())
}

#[test]
fn a_journal_that_went_back_is_found_out() -> Result<()> {
    let mut went_back = 0;
    for (cut, has_snapshot) in
        [1, 700, 20_000, 100_000].into_iter().flat_map(|cut| [(cut, false), (cut, true)])
    {
        let (scratch, before) = written()?;
        let file = data(&scratch)?;
        file.set_len(last_byte(&file)? + 1 - cut)?;
        drop(file);
        // A disk that lost the last writes lost what sled wrote after them, too; or only some of that.
        if !has_snapshot {
            files(&scratch, "snap.")?.into_iter().try_for_each(std::fs::remove_file)?;
        }
        let (journal, notes) = scratch.journal()?;
        assert_eq!(statuses(&journal), before, "{cut} bytes cut off; {notes:?}");
        went_back += usize::from(notes.iter().any(|note| note.contains("had lost its last")));
        drop(journal);
        scratch.sound()?;
    }
    assert!(went_back > 0, "some cut is taken by sled without a word");
    Ok(())
}

/// Where the data end: sled makes its file longer than that.
fn last_byte(file: &File) -> Result<u64> {
    let mut bytes = vec![0; usize::try_from(file.metadata()?.len())?];
    file.read_exact_at(&mut bytes, 0)?;
    Ok(bytes.iter().rposition(|byte| *byte != 0).context("the file is empty")? as u64)
}

#[test]
fn whatever_is_damaged_what_was_recorded_comes_back() -> Result<()> {
    let mut put_aside = 0;
    for tenth in 0..10 {
        for length in [1, 4096] {
            let (scratch, before) = written()?;
            let file = data(&scratch)?;
            let place = last_byte(&file)? * tenth / 10;
            let mut bytes = vec![0; length];
            file.read_exact_at(&mut bytes, place)?;
            bytes.iter_mut().for_each(|byte| *byte ^= 0x55);
            file.write_all_at(&bytes, place)?;
            drop(file);
            let (journal, notes) = scratch.journal().with_context(|| format!("{length} bytes at {place}"))?;
            assert_eq!(statuses(&journal), before, "{length} bytes at {place}; {notes:?}");
            put_aside += usize::from(notes.iter().any(|note| note.contains("moved to")));
        }
    }
    assert!(put_aside > 0, "some damage makes the database useless");
    Ok(())
}

#[test]
fn lost_and_garbled_files_of_the_database_are_made_good() -> Result<()> {
    for (name, damage) in [("snap.", ""), ("conf", "garbage"), ("db", "")] {
        let (scratch, before) = written()?;
        let found = files(&scratch, name)?;
        assert!(!found.is_empty(), "{name}");
        for path in found {
            std::fs::write(path, damage)?;
        }
        let (journal, notes) = scratch.journal()?;
        assert_eq!(statuses(&journal), before, "{name}; {notes:?}");
    }
    Ok(())
}

#[test]
fn without_a_journal_the_events_tell() -> Result<()> {
    let (scratch, before) = written()?;
    std::fs::remove_dir_all(scratch.dir.path().join("journal"))?;
    let (mut journal, notes) = scratch.journal()?;
    assert_eq!(statuses(&journal), before);
    assert_eq!(notes.len(), 1, "{notes:?}");
    assert!(
        journal.nodes().all(|(_, record)| record.fingerprint.is_none()),
        "fingerprints are not in the events"
    );
    assert_eq!(journal.begin_run("pair", "none", nodes(1))?.run, RunId(3), "no number is given twice");
    Ok(())
}

#[test]
fn without_a_journal_damaged_events_are_told_and_stay() -> Result<()> {
    let (scratch, _) = written()?;
    std::fs::remove_dir_all(scratch.dir.path().join("journal"))?;
    let path = scratch.dir.events(RunId(2));
    let text = std::fs::read_to_string(&path)?;
    let mut lines: Vec<_> = text.lines().collect();
    (lines[20], lines[40]) = ("garbled", "garbled");
    let garbled = lines.join("\n") + "\n";
    std::fs::write(&path, &garbled)?;
    let (_, notes) = scratch.journal()?;
    assert!(notes.iter().any(|note| note.starts_with("2 events")), "{notes:?}");
    assert_eq!(std::fs::read_to_string(&path)?, garbled);
    Ok(())
}

#[test]
fn events_that_did_not_reach_the_disk_are_written_again() -> Result<()> {
    for cut in [1, 5_000, 40_000] {
        let (scratch, _) = written()?;
        let before = EventReader::new(&scratch.dir, RunId(2)).read()?;
        let path = scratch.dir.events(RunId(2));
        let file = OpenOptions::new().write(true).open(&path)?;
        file.set_len(file.metadata()?.len() - cut)?;
        scratch.sound()?;
        assert_eq!(EventReader::new(&scratch.dir, RunId(2)).read()?, before, "{cut} bytes cut off");
        // The same, but with zeros, as some file systems leave them.
        let file = OpenOptions::new().write(true).open(&path)?;
        let length = file.metadata()?.len();
        file.write_all_at(&vec![0; usize::try_from(cut)?], length - cut)?;
        scratch.journal()?;
        let mut reader = EventReader::new(&scratch.dir, RunId(2));
        assert_eq!((reader.read()?, reader.damaged()), (before, 0), "{cut} bytes zeroed");
    }
    Ok(())
}

#[test]
fn a_run_that_ended_is_left_alone() -> Result<()> {
    let scratch = Scratch::new()?;
    let mut journal = scratch.sound()?;
    child::write(&mut journal, 3, &mut std::io::sink())?;
    journal.commit(vec![EventKind::RunFinished { code: 130 }])?;
    drop(journal);
    let before = std::fs::metadata(scratch.dir.events(RunId(1)))?.modified()?;
    let journal = scratch.sound()?;
    assert!(!journal.was_killed());
    assert_eq!(journal.node(&node(2)).map(|record| record.status), Some(Status::Started));
    assert_eq!(std::fs::metadata(scratch.dir.events(RunId(1)))?.modified()?, before);
    Ok(())
}
