//! All that stands in a state directory, as lines of JSON.

use super::check::{entries, read};
use super::copy::Copied;
use crate::recovery::merge;
use crate::seal::{SCHEMA, unseal_text};
use crate::store::{Opened, Store};
use crate::{Event, History, NodeId, NodeRecord, Records, RunId, StateDir, holder};
use anyhow::{Context, Result};
use indexmap::IndexMap;
use serde_json::{Value, json};
use std::path::Path;

/// Gives out all that stands in a state directory, a JSON object at a time, which says in `is` what it is: `state`, once and
/// first; `node`, what is recorded of a node; `event`; `memory`, what a node remembers in order to be undone; `request`, what
/// was asked for last. Changes nothing. Of a run that is on, what its events say. What cannot be read is left out, and returned
/// as notes.
///
/// # Errors
/// When it is not taken, or the state directory cannot be read.
pub fn export(dir: &StateDir, out: &mut dyn FnMut(&Value) -> Result<()>) -> Result<Vec<String>> {
    let is_on = holder(dir)?.is_some();
    let mut notes = Vec::new();
    let opened = match is_on || !dir.journal().is_dir() {
        true => None,
        false => match Copied::of(dir).and_then(|copy| Ok((Store::open(copy.dir())?, copy))) {
            Ok(opened) => Some(opened),
            Err(error) => {
                notes.push(format!("the journal cannot be read, so this is what the events say: {error:#}"));
                None
            }
        },
    };
    out(&json!({ "is": "state", "path": dir.path(), "schema": SCHEMA, "running": is_on }))?;
    for (node, record) in records(dir, opened.as_ref().map(|(opened, _)| opened), &mut notes)? {
        out(&json!({ "is": "node", "node": node, "record": record }))?;
    }
    for run in dir.runs()? {
        let recorded = opened.as_ref().map(|(opened, _)| opened.store.lines(run)).transpose();
        let recorded = recorded.unwrap_or_else(|error| {
            notes.push(format!("the journal's events of run {run} cannot be read: {error:#}"));
            None
        });
        for event in events(dir, run, &recorded.unwrap_or_default(), &mut notes)? {
            out(&json!({ "is": "event", "event": event }))?;
        }
    }
    memory(&dir.path().join("memory"), &dir.path().join("memory"), out, &mut notes)?;
    let request = dir.path().join("request.json");
    if let Some(text) = read(&request)? {
        match serde_json::from_slice::<Value>(&text) {
            Ok(value) => out(&json!({ "is": "request", "request": value }))?,
            Err(error) => notes.push(format!("`{}` cannot be understood: {error}", request.display())),
        }
    }
    Ok(notes)
}

/// What is recorded of nodes: by the journal, or, where that cannot be read, by the events.
fn records(
    dir: &StateDir,
    opened: Option<&Opened>,
    notes: &mut Vec<String>,
) -> Result<IndexMap<NodeId, NodeRecord>> {
    if let Some(opened) = opened.filter(|opened| opened.lost == 0 && !opened.is_older) {
        return Ok(opened.records.iter().cloned().collect());
    }
    let history = History::read(dir)?;
    notes.extend(history.notes(dir));
    let records = history.nodes().map(|(node, record)| (node.clone(), record.clone()));
    Ok(records.collect())
}

fn events(dir: &StateDir, run: RunId, recorded: &[u8], notes: &mut Vec<String>) -> Result<Vec<Event>> {
    let path = dir.events(run);
    let text = read(&path).unwrap_or_else(|error| {
        notes.push(format!("{error:#}"));
        None
    });
    let text = text.unwrap_or_default();
    let merged = merge(&text, recorded);
    if merged.damaged > 0 {
        notes.push(format!("{} lines of `{}` cannot be understood", merged.damaged, path.display()));
    }
    merged.lines.values().map(|line| serde_json::from_slice(line).context("it was read before")).collect()
}

fn memory(
    root: &Path,
    place: &Path,
    line: &mut dyn FnMut(&Value) -> Result<()>,
    notes: &mut Vec<String>,
) -> Result<()> {
    for path in entries(place)? {
        if path.is_dir() {
            memory(root, &path, line, notes)?;
            continue;
        }
        let bytes = read(&path)?.unwrap_or_default();
        let text = std::str::from_utf8(&bytes).context("it is no text").and_then(unseal_text);
        match text {
            Ok(text) => {
                let name = path.strip_prefix(root).unwrap_or(&path);
                line(&json!({ "is": "memory", "name": name, "text": text }))?;
            }
            Err(error) => notes.push(format!("`{}`: {error:#}", path.display())),
        }
    }
    Ok(())
}
