//! Damage is found out, put aside, and made good from what else there is.

use crate::child;
use crate::scratch::{Scratch, node, nodes};
use anyhow::{Context, Result, anyhow, ensure};
use drover_state::{
    EventKind, EventReader, History, Journal, NodeId, Records, RunId, Status, check, export, repair,
    seal_text,
};
use rustix::fs::{FileType, Mode, mknodat};
use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::{FileExt, symlink};
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
    let memory = scratch.dir.memory(&node(1)).join("before");
    fs::create_dir_all(memory.parent().context("it is below the state directory")?)?;
    fs::write(&memory, seal_text("what was there before\n"))?;
    fs::write(scratch.dir.path().join("request.json"), "{\"plan\": \"farm.ron\", \"only\": []}")?;
    let memory = memory.strip_prefix(scratch.dir.path())?.display().to_string();
    let names = [
        "drover.lock",
        "journal.high",
        "request.json",
        &memory,
        "runs/0001/events.jsonl",
        "runs/0002/events.jsonl",
    ]
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

/// Whatever is damaged: what is said of it, and that a way out is named, which leads out.
fn ends_well(scratch: &Scratch, before: &Statuses, what: &str) -> Result<()> {
    let (faults, held) = check(&scratch.dir).with_context(|| format!("{what}: check"))?;
    ensure!(held.is_none(), "{what}");
    // Those who only look are not kept from it.
    History::read(&scratch.dir)
        .map(drop)
        .or_else(|error| says_the_way_out(&error))
        .with_context(|| format!("{what}: history"))?;
    export(&scratch.dir, &mut |_| Ok(()))
        .map(drop)
        .or_else(|error| says_the_way_out(&error))
        .context("export")?;
    match scratch.reopened() {
        Ok((journal, notes)) => {
            ensure!(statuses(&journal) == *before, "{what}: {notes:?}");
            ensure!(notes.is_empty() || !faults.is_empty(), "{what}: check says nothing of {notes:?}");
        }
        Err(error) => {
            ensure!(!faults.is_empty(), "{what}: check says nothing of {error:#}");
            says_the_way_out(&error).with_context(|| what.to_owned())?;
        }
    }
    let told = repair(scratch.dir.path()).with_context(|| format!("{what}: repair"))?;
    ensure!(check(&scratch.dir)?.0.is_empty(), "{what}: {told:?}, and yet {:?}", check(&scratch.dir)?.0);
    let (journal, notes) = scratch.reopened()?;
    ensure!(notes.is_empty(), "{what}: {notes:?}");
    ensure!(statuses(&journal) == *before, "{what}: {told:?}");
    Ok(())
}

fn says_the_way_out(error: &anyhow::Error) -> Result<()> {
    let text = format!("{error:#}");
    let is_named = text.contains("state repair") || text.contains("--state DIR");
    ensure!(is_named && !text.contains("panicked at"), "{text}");
    Ok(())
}

#[test]
fn a_byte_that_flips_or_an_end_that_is_lost_in_any_file_has_a_way_out() -> Result<()> {
    let (scratch, _) = written()?;
    let names = every_file(scratch.dir.path())?;
    for name in [
        "drover.lock",
        "journal.high",
        "request.json",
        "journal/conf",
        "journal/db",
        "runs/0001/events.jsonl",
    ] {
        ensure!(names.iter().any(|known| known.ends_with(name)), "{name}: {names:?}");
    }
    for name in &names {
        for fifth in 0..5 {
            for damage in ["flip", "bit", "cut"] {
                let (scratch, before) = written()?;
                let path = scratch.dir.path().join(name);
                let mut bytes = fs::read(&path)?;
                let place = bytes.len() * fifth / 5 + usize::from(damage == "bit" && bytes.len() > 40);
                match damage {
                    "cut" => bytes.truncate(place),
                    "bit" => bytes[place] ^= 1,
                    _ => bytes[place] ^= 0x55,
                }
                fs::write(&path, bytes)?;
                ends_well(&scratch, &before, &format!("{damage} at {place} of {}", name.display()))?;
            }
        }
    }
    Ok(())
}

#[test]
fn what_is_in_the_place_of_something_else_has_a_way_out() -> Result<()> {
    let names = [
        "cache",
        "drover.lock",
        "journal",
        "journal.high",
        "journal/blobs",
        "journal/conf",
        "journal/db",
        "memory",
        "memory/layer-0",
        "memory/layer-0/touch-1/before",
        "request.json",
        "runs",
        "runs/0001",
        "runs/0002",
        "runs/0001/events.jsonl",
        "runs/0002/events.jsonl",
        "runs/0003",
    ];
    for name in names {
        for instead in ["nothing", "file", "directory", "pipe", "link to nothing", "link to itself"] {
            let (scratch, before) = written()?;
            let path = scratch.dir.path().join(name);
            fs::remove_dir_all(&path).or_else(|_| fs::remove_file(&path)).or_else(|_| match name {
                "runs/0003" | "journal/blobs" => Ok(()),
                _ => Err(anyhow!("{name} is not there")),
            })?;
            match instead {
                "nothing" => {}
                "file" => fs::write(&path, "not what it was")?,
                "directory" => fs::create_dir(&path)?,
                "pipe" => mknodat(rustix::fs::CWD, &path, FileType::Fifo, Mode::RUSR, 0)?,
                "link to nothing" => symlink("nowhere", &path)?,
                _ => symlink(path.file_name().context("a name")?, &path)?,
            }
            ends_well(&scratch, &before, &format!("{instead} in the place of {name}"))?;
        }
    }
    Ok(())
}

#[test]
fn lost_events_come_back_from_the_journal_and_the_damaged_file_is_kept() -> Result<()> {
    let (scratch, before) = written()?;
    let path = scratch.dir.events(RunId(1));
    let whole = fs::read_to_string(&path)?;
    let mut lines: Vec<_> = whole.split_inclusive('\n').map(str::to_owned).collect();
    let garbled = lines[30].replace("\"event\"", "\"evemt\"");
    lines[30] = garbled.clone();
    // One that still reads well, but says something else.
    lines[40] = lines[40].replace("\"seq\"", " \"seq\"");
    lines.remove(50);
    fs::write(&path, lines.concat())?;
    let (faults, _) = check(&scratch.dir)?;
    assert_eq!(faults.len(), 1, "{faults:?}");
    assert!(
        faults[0].found.contains("1 of its lines cannot be understood; 3 of its lines are not as"),
        "{faults:?}"
    );
    // What happened is known all the same: an end without a start has had one.
    let history = History::read(&scratch.dir)?;
    let told = |node: &NodeId| history.node(node).map(|record| record.status);
    assert!(before.iter().all(|(node, (status, _))| told(node) == Some(*status)));
    assert_eq!(history.notes(&scratch.dir).len(), 1);
    let told = repair(scratch.dir.path())?;
    assert!(
        told.len() == 1 && told[0].contains("3 lines came back from the journal, 0 are lost"),
        "{told:?}"
    );
    assert_eq!(fs::read_to_string(&path)?, whole);
    let kept = every_file(scratch.dir.path())?
        .into_iter()
        .find(|it| it.starts_with("damaged") || it.to_string_lossy().contains("damaged-"));
    assert!(fs::read_to_string(scratch.dir.path().join(kept.context("it was kept")?))?.contains(&garbled));
    assert!(repair(scratch.dir.path())?.is_empty());
    Ok(())
}

#[test]
fn all_that_is_recorded_can_be_taken_out() -> Result<()> {
    let (scratch, before) = written()?;
    let mut lines = Vec::new();
    let mut keep = |value: &serde_json::Value| {
        lines.push(value.clone());
        Ok(())
    };
    assert_eq!(export(&scratch.dir, &mut keep)?, Vec::<String>::new());
    let of = |kind: &str| lines.iter().filter(|line| line["is"] == kind).collect::<Vec<_>>();
    assert_eq!(
        (lines[0]["is"].as_str(), of("state").len(), of("node").len()),
        (Some("state"), 1, before.len())
    );
    let events = EventReader::new(&scratch.dir, RunId(1)).read()?.len();
    assert_eq!(of("event").len(), events + EventReader::new(&scratch.dir, RunId(2)).read()?.len());
    assert_eq!(of("memory")[0]["text"], "what was there before\n");
    assert_eq!(of("request")[0]["request"]["plan"], "farm.ron");
    Ok(())
}

/// All files below a directory, by their paths in it.
fn every_file(root: &std::path::Path) -> Result<Vec<PathBuf>> {
    let (mut found, mut left) = (Vec::new(), vec![root.to_owned()]);
    while let Some(directory) = left.pop() {
        for entry in fs::read_dir(&directory)? {
            let path = entry?.path();
            match path.symlink_metadata()?.is_dir() {
                true => left.push(path),
                false => found.push(path.strip_prefix(root)?.to_owned()),
            }
        }
    }
    found.sort_unstable();
    Ok(found)
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
    assert!(
        notes.iter().any(|note| note.starts_with("2 events") && note.contains("state repair")),
        "{notes:?}"
    );
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
