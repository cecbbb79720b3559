//! What a step has to remember of its own changes to take them back one day, and no more than them: what a text read
//! before and after each of its edits, which directories it made.
//!
//! It does not know what the texts mean.

mod reverse;

use anyhow::{Context, Result};
use drover_engine::{Access, Cx, HostFile, Rootfs, Undo};
use reverse::reverse;
use serde::{Deserialize, Serialize};
use similar::{ChangeTag, TextDiff};
use std::fs::DirBuilder;
use std::io::ErrorKind;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

/// One edit of a text.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Edit {
    /// What it read before; `None` if there was none.
    before: Option<String>,
    /// What it was made to read.
    after: String,
}

/// Writes a file of the host, once it is remembered what it read.
///
/// # Errors
/// When it cannot be read, remembered or written.
pub fn write(cx: &Cx, file: &HostFile, after: &str) -> Result<()> {
    remember(cx, &name(file.path()), file.read()?, after)?;
    file.write(after)
}

/// How the step's edits of a file of the host are undone: its own lines go, those that it replaced come back, and the
/// file goes if the step made it and nothing else stands in it.
///
/// # Errors
/// When it cannot be read, or what is remembered makes no sense.
pub fn undo<'a>(cx: &Cx, file: HostFile) -> Result<Undo<'a>> {
    let Some(now) = file.read()? else { return Ok(Undo::default()) };
    let path = file.path().display().to_string();
    let Some(then) = reversed(cx, &name(file.path()), &now)? else {
        return forgotten(cx, &name(file.path()), &path);
    };
    Ok(match then {
        None => Undo::default().act(format!("remove {path}"), move |_| remove(file.path())),
        Some(text) => {
            let what = format!("take {} out of {path}", counted(&now, &text));
            Undo::default().act(what, move |_| file.write(&text))
        }
    })
}

/// How a file of the host that is all the step's is undone: as [`undo`] does it; and if it was taken over, so that nothing is
/// remembered of it, it goes if it reads `text`.
///
/// # Errors
/// As [`undo`].
pub fn undo_whole<'a>(cx: &Cx, file: HostFile, text: &str) -> Result<Undo<'a>> {
    let is_forgotten = cx.is_taken_over()? && edits(cx, &name(file.path()))?.is_empty();
    if !is_forgotten || file.read()?.as_deref() != Some(text) {
        return undo(cx, file);
    }
    Ok(Undo::default().act(format!("remove {}", file.path().display()), move |_| remove(file.path())))
}

/// What stays of a text that the step edited before it was taken over: what it read before is not known.
///
/// # Errors
/// When what is remembered makes no sense.
pub fn forgotten<'a>(cx: &Cx, name: &str, shown: &str) -> Result<Undo<'a>> {
    let undo = Undo::default();
    if !cx.is_taken_over()? || !edits(cx, name)?.is_empty() {
        return Ok(undo);
    }
    Ok(undo.keep(format!("{shown} stays as it is: what it read before Drover is not known any more")))
}

/// Writes a file in a rootfs, once it is remembered what it read.
///
/// # Errors
/// When it cannot be read, remembered or written.
pub fn write_inside(cx: &Cx, rootfs: &Rootfs, path: &str, after: &str, access: Access) -> Result<()> {
    remember(cx, &name(Path::new(path)), rootfs.read_to_edit(path)?, after)?;
    rootfs.write(path, after, access)
}

/// How the step's edits of a file in a rootfs are undone, as [`undo`] does it.
///
/// # Errors
/// When it cannot be read, or what is remembered makes no sense.
pub fn undo_inside<'a>(cx: &Cx, place: &Path, path: &'a str) -> Result<Undo<'a>> {
    let Some(rootfs) = Rootfs::find(place)? else { return Ok(Undo::default()) };
    let Some(now) = rootfs.read_to_edit(path)? else { return Ok(Undo::default()) };
    let shown = place.join(path.trim_start_matches('/'));
    let Some(then) = reversed(cx, &name(Path::new(path)), &now)? else {
        return forgotten(cx, &name(Path::new(path)), &shown.display().to_string());
    };
    Ok(match then {
        None => Undo::default().act(format!("remove {}", shown.display()), move |_| rootfs.remove(path)),
        Some(text) => {
            let what = format!("take {} out of {}", counted(&now, &text), shown.display());
            Undo::default().act(what, move |_| rootfs.write(path, &text, Access::root(0o644)))
        }
    })
}

/// Remembers the mode and owner of a file before they are first changed, or that there was none.
///
/// # Errors
/// When that cannot be kept.
pub fn remember_access(cx: &Cx, has: Option<Access>) -> Result<()> {
    if cx.remembered(ACCESS)?.is_some() {
        return Ok(());
    }
    let words: Words = has.map(|has| (has.mode, has.uid, has.gid));
    cx.remember(ACCESS, &serde_json::to_string(&words)?)
}

/// How a file that was there gets its mode and owner back.
///
/// # Errors
/// When what is remembered makes no sense.
pub fn undo_access<'a>(
    cx: &Cx,
    has: Option<Access>,
    shown: &str,
    give: impl FnOnce(Access) -> Result<()> + 'a,
) -> Result<Undo<'a>> {
    let (Some(text), Some(has)) = (cx.remembered(ACCESS)?, has) else { return Ok(Undo::default()) };
    let words: Words = serde_json::from_str(&text).context("what is remembered of its mode and owner")?;
    let had = words.map(|(mode, uid, gid)| Access { mode, uid, gid });
    Ok(match had {
        Some(had) if had != has => {
            Undo::default().act(format!("give {shown} its mode and owner back"), move |_| give(had))
        }
        _ => Undo::default(),
    })
}

/// What the mode and owner that a file had are remembered as.
const ACCESS: &str = "access";
type Words = Option<(u32, u32, u32)>;

/// Remembers that the text called `name` is about to be edited.
///
/// # Errors
/// When that cannot be kept.
pub fn remember(cx: &Cx, name: &str, before: Option<String>, after: &str) -> Result<()> {
    if before.as_deref() == Some(after) {
        return Ok(());
    }
    let mut edits = edits(cx, name)?;
    edits.push(Edit { before, after: after.to_owned() });
    cx.remember(name, &serde_json::to_string(&edits)?)
}

/// What the text called `name`, which now reads `now`, reads without the step's edits: `Some(None)` if it is not to be;
/// `None` if there is nothing to take back.
///
/// # Errors
/// When what is remembered makes no sense.
pub fn reversed(cx: &Cx, name: &str, now: &str) -> Result<Option<Option<String>>> {
    let edits = edits(cx, name)?;
    let Some(first) = edits.first() else { return Ok(None) };
    let then = edits.iter().rev().fold(now.to_owned(), |text, edit| {
        reverse(&text, edit.before.as_deref().unwrap_or_default(), &edit.after)
    });
    Ok(match then {
        text if text.trim().is_empty() && first.before.is_none() => Some(None),
        text if text == now => None,
        text => Some(Some(text)),
    })
}

fn edits(cx: &Cx, name: &str) -> Result<Vec<Edit>> {
    let Some(text) = cx.remembered(name)? else { return Ok(Vec::new()) };
    serde_json::from_str(&text).with_context(|| format!("what is remembered of `{name}`"))
}

fn name(path: &Path) -> String {
    format!("text{}", path.display().to_string().replace('/', "!"))
}

fn counted(now: &str, then: &str) -> String {
    let kept = TextDiff::from_lines(now, then);
    let ours = kept.iter_all_changes().filter(|change| change.tag() == ChangeTag::Delete).count();
    if ours == 1 { "our line".to_owned() } else { format!("our {ours} lines") }
}

/// Makes a directory, and those above it, once it is remembered which are not there.
///
/// # Errors
/// When they cannot be remembered or made.
pub fn make_directories(cx: &Cx, path: &Path, mode: u32) -> Result<()> {
    let mut missing: Vec<_> = path.ancestors().take_while(|it| it.symlink_metadata().is_err()).collect();
    missing.reverse();
    if !missing.is_empty() {
        let mut known = directories(cx)?;
        known.extend(missing.into_iter().map(Path::to_owned));
        cx.remember("directories", &serde_json::to_string(&known)?)?;
    }
    let made = DirBuilder::new().recursive(true).mode(mode).create(path);
    made.with_context(|| format!("cannot make `{}`", path.display()))
}

/// How the directories that the step made are removed: those that are empty by then.
///
/// # Errors
/// When what is remembered makes no sense.
pub fn undo_directories<'a>(cx: &Cx) -> Result<Undo<'a>> {
    let mut known = directories(cx)?;
    known.sort_unstable();
    known.dedup();
    known.retain(|path| path.is_dir());
    // The deepest first.
    Ok(known.into_iter().rev().fold(Undo::default(), |undo, path| {
        undo.act_if(format!("remove {} if nothing is left in it", path.display()), move |_| {
            remove_empty(&path)
        })
    }))
}

/// Whether the step made this directory.
///
/// # Errors
/// When what is remembered makes no sense.
pub fn made_directory(cx: &Cx, path: &Path) -> Result<bool> {
    Ok(directories(cx)?.iter().any(|known| known == path))
}

fn directories(cx: &Cx) -> Result<Vec<PathBuf>> {
    let Some(text) = cx.remembered("directories")? else { return Ok(Vec::new()) };
    serde_json::from_str(&text).context("what is remembered of directories")
}

/// Removes a directory if it is empty; else says what is in it. That it is gone already is fine.
///
/// # Errors
/// When it cannot be read or removed.
pub fn remove_empty(path: &Path) -> Result<Option<String>> {
    let shown = path.display();
    let mut names = Vec::new();
    let entries = match path.read_dir() {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        entries => entries.with_context(|| format!("read `{shown}`"))?,
    };
    for entry in entries {
        names.push(entry?.file_name().to_string_lossy().into_owned());
    }
    names.sort_unstable();
    if names.is_empty() {
        return std::fs::remove_dir(path).map(|()| None).with_context(|| format!("remove `{shown}`"));
    }
    let more = if names.len() > 3 { ", ..." } else { "" };
    names.truncate(3);
    Ok(Some(format!("{shown} stays, with what is in it: {}{more}", names.join(", "))))
}

/// Removes a file; that it is gone already is fine.
///
/// # Errors
/// When it cannot be removed.
pub fn remove(path: &Path) -> Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot remove `{}`", path.display()))
        }
        _ => Ok(()),
    }
}
