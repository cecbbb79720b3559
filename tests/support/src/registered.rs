//! What is registered for binfmt_misc, of which the kernel has one list for this machine and all throw-away hosts: taken away again
//! when the last that tests is done, and brought back where a layer was made with it.
//!
//! It does not know what of it serves whom.

use crate::turn::{PLACE, Turn};
use crate::{Host, Layer};
use anyhow::{Context, Result};
use std::collections::BTreeSet;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

/// Where the kernel shows it.
const LIST: &str = "/proc/sys/fs/binfmt_misc";

/// What was registered before. Dropping this takes away what has come since.
#[derive(Debug)]
pub(crate) struct Registered {
    before: BTreeSet<String>,
}

impl Registered {
    /// What is registered now.
    pub(crate) fn note() -> Result<Self> {
        Ok(Self { before: emulators(LIST)? })
    }

    /// While others are at work, it is for the last of them.
    fn restore(&self) -> Result<()> {
        let left = Path::new(PLACE).join("left");
        let of_others = read_if_there(&left)?;
        let mut new: BTreeSet<_> = emulators(LIST)?.difference(&self.before).cloned().collect();
        new.extend(of_others.lines().map(str::to_owned));
        if new.is_empty() {
            return Ok(());
        }
        let Some(_turn) = Turn::alone_at_once()? else {
            let lines: String = new.iter().map(|name| format!("{name}\n")).collect();
            return fs::write(&left, lines).with_context(|| format!("write `{}`", left.display()));
        };
        for name in new.intersection(&emulators(LIST)?) {
            fs::write(Path::new(LIST).join(name), "-1").with_context(|| format!("take away `{name}`"))?;
        }
        match fs::remove_file(&left) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(error.into()),
            _ => Ok(()),
        }
    }
}

impl Drop for Registered {
    fn drop(&mut self) {
        if let Err(error) = self.restore() {
            eprintln!("what tests have registered for binfmt_misc stays: {error:#}");
        }
    }
}

/// Notes what is registered for a layer that is being made of `host`.
pub(crate) fn keep(host: &Host, layer: &Path) -> Result<()> {
    let lines: String = emulators(host.path(LIST))?.iter().map(|name| format!("{name}\n")).collect();
    fs::write(beside(layer), lines).context("what is registered cannot be noted")
}

/// Registers what was registered when the layer was made, as binfmt-support does when a machine starts.
pub(crate) fn again(host: &Host, layer: &Layer) -> Result<()> {
    let now = emulators(host.path(LIST))?;
    let noted = read_if_there(&beside(&layer.path))?;
    for name in noted.lines().filter(|&name| !now.contains(name)) {
        if host.path(format!("/var/lib/binfmts/{name}")).exists() {
            host.run(&["update-binfmts", "--enable", name])?.ok()?;
        }
    }
    Ok(())
}

/// Beside a layer, since it is none of its changes.
fn beside(layer: &Path) -> PathBuf {
    layer.with_extension("registered")
}

/// The text of a file; an empty one where there is none.
fn read_if_there(file: &Path) -> Result<String> {
    match fs::read_to_string(file) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(String::new()),
        text => text.with_context(|| format!("read `{}`", file.display())),
    }
}

/// The names of emulators in a list; none where there is no list.
fn emulators(list: impl AsRef<Path>) -> Result<BTreeSet<String>> {
    let mut names = BTreeSet::new();
    for entry in fs::read_dir(list.as_ref()).with_context(|| format!("read `{}`", list.as_ref().display()))? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        if name.starts_with("qemu-") {
            names.insert(name);
        }
    }
    Ok(names)
}
