//! How edits of domains are remembered and taken back. Where libvirt does not answer, that is no answer: a definition that is
//! there is found by its file.

use super::{Lookup, Validation, define, find, parse, state, text};
use crate::ours;
use anyhow::{Context, Result, bail};
use drover_engine::{Cx, Undo};
use std::io::ErrorKind;
use std::path::Path;
use xmltree::Element;

/// Where libvirt keeps the definitions of domains.
const DEFINITIONS: &str = "/etc/libvirt/lxc";

/// Gives the edited definition of the domain `name` to libvirt, once it is remembered what it was `before`.
///
/// # Errors
/// When that cannot be remembered, or libvirt refuses it.
pub fn define_ours(
    cx: &Cx,
    name: &str,
    before: String,
    after: &Element,
    validation: Validation,
) -> Result<()> {
    ours::remember(cx, &memory(name), Some(before), &text(after)?)?;
    define(cx, after, validation)
}

/// How a step's edits of the definition of a domain that was there before are undone.
///
/// # Errors
/// When libvirt does not answer though there is such a domain, or what it answers or is remembered makes no sense.
pub fn undo_edit<'a>(cx: &Cx, name: &str) -> Result<Undo<'a>> {
    if state_to_undo(cx, name)?.is_none() {
        return Ok(Undo::default());
    }
    let definition = text(&find(cx, name)?.required()?)?;
    Ok(match ours::reversed(cx, &memory(name), &definition)? {
        Some(Some(then)) => {
            let then =
                parse(&then).context("what somebody else has changed in it cannot be told from ours")?;
            let what = format!("define the domain {name} without our edit");
            Undo::default().act(what, move |cx| define(cx, &then, Validation::Skipped))
        }
        _ => ours::forgotten(cx, &memory(name), &format!("the definition of the domain {name}"))?,
    })
}

/// The names of all domains that are defined, by their files. For undoing, where silence is no answer.
///
/// # Errors
/// When the directory cannot be read.
pub fn names_to_undo() -> Result<Vec<String>> {
    let files = match Path::new(DEFINITIONS).read_dir() {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        files => files.with_context(|| format!("cannot read `{DEFINITIONS}`"))?,
    };
    let mut names = Vec::new();
    for file in files {
        let path = file?.path();
        if path.extension().is_some_and(|end| end == "xml") {
            names.extend(path.file_stem().map(|name| name.to_string_lossy().into_owned()));
        }
    }
    names.sort_unstable();
    Ok(names)
}

/// What libvirt says about the domain `name`; `None` if it is not defined. For undoing, where silence is no answer.
///
/// # Errors
/// When there is a definition of it and libvirt does not answer.
pub fn state_to_undo(cx: &Cx, name: &str) -> Result<Option<String>> {
    let definition = Path::new(DEFINITIONS).join(format!("{name}.xml"));
    Ok(match state(cx, name)? {
        Lookup::Found(state) => Some(state),
        Lookup::Missing(_) if !definition.exists() => None,
        Lookup::Missing(reason) => bail!(
            "`{name}` is defined, but {reason}: start libvirt first, with `drover run --only host/libvirt-lxc` of the same plan"
        ),
    })
}

/// What a domain's edits are remembered as.
fn memory(name: &str) -> String {
    format!("domain {name}")
}
