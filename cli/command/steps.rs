//! `drover steps`: the manuals, from the same source as the rustdoc; and the pages on what is no step.

use crate::args::Steps;
use crate::display::{Give, Table};
use crate::exit::Exit;
use crate::output::{print, print_json};
use anyhow::{Result, bail};
use drover_steps::registry::{KINDS, Kind};
use drover_steps::topic::{TOPICS, Topic};
use serde_json::json;

/// Shows one manual, or lists all steps.
pub(crate) fn steps(options: &Steps) -> Result<Exit> {
    match &options.step {
        Some(name) => {
            if let Some(topic) = TOPICS.iter().find(|topic| topic.name.eq_ignore_ascii_case(name)) {
                return page(topic, options.json);
            }
            let kind = find(name)?;
            if options.json { print_json(&as_json(kind))? } else { print(&kind.manual())? }
        }
        None if options.json => print_json(&KINDS.iter().map(as_json).collect::<Vec<_>>())?,
        None => print(&list())?,
    }
    Ok(Exit::Done)
}

fn page(Topic { name, summary, manual }: &Topic, json: bool) -> Result<Exit> {
    match json {
        true => print_json(&json!({ "name": name, "summary": summary, "manual": manual }))?,
        false => print(manual)?,
    }
    Ok(Exit::Done)
}

/// By the name in plans or the one in node ids.
fn find(name: &str) -> Result<&'static Kind> {
    match KINDS.iter().find(|kind| kind.name.eq_ignore_ascii_case(name) || kind.slug == name) {
        Some(kind) => Ok(kind),
        None => bail!("no step is called `{name}`; `drover steps` lists them all"),
    }
}

fn list() -> String {
    let mut table =
        Table::new(&[("step", Give::Nothing), ("in node ids", Give::All), ("what it does", Give::End)]);
    for kind in KINDS {
        table.row([kind.name, kind.slug, &summary(kind)]);
    }
    let pages =
        TOPICS.iter().map(|Topic { name, summary, .. }| format!("\n`drover steps {name}`: {summary}"));
    pages.fold(table.text() + "\n", |text, page| text + &page)
}

/// The first sentence below the manual's title.
fn summary(kind: &Kind) -> String {
    let manual = kind.manual();
    let paragraph: Vec<_> = manual
        .lines()
        .skip(1)
        .skip_while(|line| line.is_empty())
        .take_while(|line| !line.is_empty())
        .collect();
    let text = paragraph.join(" ");
    match text.find(". ") {
        Some(end) => text[..=end].to_owned(),
        None => text,
    }
}

fn as_json(kind: &Kind) -> serde_json::Value {
    json!({ "name": kind.name, "slug": kind.slug, "summary": summary(kind), "manual": kind.manual() })
}
