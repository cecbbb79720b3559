//! `drover herd`: the containers as they are, planned or not.

use super::load;
use crate::args::Herd;
use crate::display::{Give, Table, elapsed};
use crate::exit::Exit;
use crate::output::{print, print_json};
use anyhow::Result;
use drover_engine::Cx;
use drover_steps::farm::Farm;
use drover_steps::herd::{Animal, Flag};
use std::time::Duration;

/// Shows a table of all containers below the storage.
pub(crate) fn herd(options: &Herd) -> Result<Exit> {
    let farm = match &options.plan {
        Some(plan) => Farm::clone(&load(plan, &[])?.farm),
        None => Farm::default(),
    };
    let herd = drover_steps::herd::herd(&Cx::to_look(), &farm)?;
    if options.json {
        print_json(&herd)?;
        return Ok(Exit::Done);
    }
    let mut table = Table::new(&[
        ("name", Give::Middle),
        ("state", Give::Nothing),
        ("address", Give::All),
        ("arch", Give::All),
        ("release", Give::All),
        ("size", Give::All),
        ("age", Give::All),
        ("flags", Give::Nothing),
    ]);
    herd.iter().for_each(|animal| table.row(row(animal)));
    print(&table.text())?;
    for animal in herd.iter().filter(|animal| !animal.troubles.is_empty()) {
        print(&format!("{}: {}", animal.name, animal.troubles.join("; ")))?;
    }
    Ok(Exit::Done)
}

fn row(animal: &Animal) -> [String; 8] {
    let unknown = || "-".to_owned();
    let flags: Vec<_> = animal.flags.iter().map(flag).collect();
    [
        animal.name.clone(),
        animal.state.clone(),
        animal.address.map_or_else(unknown, |address| address.to_string()),
        animal.architecture.clone().unwrap_or_else(unknown),
        animal.release.clone().unwrap_or_else(unknown),
        format!("{} MB", animal.size / 1_000_000),
        animal.age.map_or_else(unknown, |seconds| elapsed(Duration::from_secs(seconds))),
        flags.join(", "),
    ]
}

fn flag(flag: &Flag) -> &'static str {
    match flag {
        Flag::Tiny => "tiny",
        Flag::HalfMade => "half-made",
    }
}
