//! Removing a whole tree, and nothing that belongs to another mount.
//!
//! The kernel says what belongs to the tree, not a comparison of paths: each directory is opened below the directory that
//! holds it, by openat2(2) with `RESOLVE_NO_XDEV` and `RESOLVE_NO_SYMLINKS`. So neither a bind mount of the same file
//! system leads out of the tree, nor a link that somebody puts in a directory's place meanwhile. This file does not know
//! what the tree holds.

use anyhow::{Context, Result, bail, ensure};
use rustix::fs::{
    AtFlags, CWD, Dir, FileType, Mode, OFlags, RenameFlags, ResolveFlags, StatxFlags, openat, openat2,
    renameat_with, statx, unlinkat,
};
use rustix::io::Errno;
use std::ffi::{CStr, CString, OsStr};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// How many directories are held open at once, one in the other. A directory that lies deeper is moved to the top of the
/// tree, and emptied from there.
const DEEP: usize = 64;

/// How deep mounts are looked for before anything is removed. A mount that lies deeper still ends the removal when it is
/// met.
const LOOKED_AT: usize = 512;

/// Called before each directory; an error of it ends the removal.
type Pause<'a> = dyn FnMut() -> Result<()> + 'a;

/// Removes what is at `path`: a tree, a file or a link, which is not followed. Nothing there is fine.
///
/// # Errors
/// When something is mounted at `path` or below it: then nothing is removed, unless it was mounted meanwhile. When
/// something cannot be removed. What `pause` says.
pub(crate) fn remove(path: &Path, pause: &mut Pause<'_>) -> Result<()> {
    let doing = || format!("remove `{}`", path.display());
    let (parent, name) = match place(path) {
        Ok(place) => place,
        Err(Errno::NOENT) => return Ok(()),
        Err(errno) => return Err(errno).with_context(doing),
    };
    match kind(&parent, &name).with_context(doing)? {
        None => return Ok(()),
        Some((FileType::Directory, _)) => {}
        Some(_) => return unlink(&parent, &name, AtFlags::empty()).with_context(doing),
    }
    if let Some(mount) = mount_in(&parent, &name, path)? {
        bail!(
            "remove `{}`: something is mounted at `{}`, and nothing was removed; umount it first",
            path.display(),
            mount.display()
        );
    }
    let top = open_below(&parent, &name).with_context(doing)?;
    let mut emptier = Emptier { top: &top, moved: 0, pause };
    loop {
        let before = emptier.moved;
        emptier.empty(&top, path, 0).with_context(doing)?;
        if emptier.moved == before {
            break;
        }
    }
    unlink(&parent, &name, AtFlags::REMOVEDIR).with_context(doing)
}

/// Where something is mounted at `path` or below it, if anything is, however `path` leads there.
///
/// # Errors
/// When the tree cannot be looked at.
pub fn mount_at_or_below(path: &Path) -> Result<Option<PathBuf>> {
    match place(path) {
        Ok((parent, name)) => mount_in(&parent, &name, path),
        Err(Errno::NOENT) => Ok(None),
        Err(errno) => Err(errno).with_context(|| format!("look at `{}`", path.display())),
    }
}

/// The directory that holds `path`, held open, and the last name of `path`.
fn place(path: &Path) -> Result<(OwnedFd, CString), Errno> {
    let name = path.file_name().ok_or(Errno::INVAL)?;
    let parent = match path.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    };
    let parent = openat(CWD, parent, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    Ok((parent, CString::new(name.as_bytes()).map_err(|_| Errno::INVAL)?))
}

/// What is called `name`, and the mount that it belongs to; `None` if there is nothing.
fn kind(dir: impl AsFd, name: &CStr) -> Result<Option<(FileType, u64)>> {
    let flags = AtFlags::SYMLINK_NOFOLLOW | AtFlags::NO_AUTOMOUNT;
    match statx(dir, name, flags, StatxFlags::TYPE | StatxFlags::MNT_ID) {
        Ok(found) => {
            let has_mount = found.stx_mask & StatxFlags::MNT_ID.bits() != 0;
            ensure!(has_mount, "the kernel does not tell mounts apart: it takes Linux 5.8 or later");
            Ok(Some((FileType::from_raw_mode(found.stx_mode.into()), found.stx_mnt_id)))
        }
        Err(Errno::NOENT) => Ok(None),
        Err(errno) => Err(errno).with_context(|| format!("look at `{}`", name.to_string_lossy())),
    }
}

/// Opens the directory `name` of `dir`, unless that is a link or the place of a mount.
fn open_below(dir: impl AsFd, name: &CStr) -> Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let resolve = ResolveFlags::NO_XDEV | ResolveFlags::NO_SYMLINKS | ResolveFlags::BENEATH;
    openat2(dir, name, flags, Mode::empty(), resolve).map_err(|errno| {
        let shown = name.to_string_lossy();
        match errno {
            Errno::XDEV => anyhow::anyhow!("something is mounted at `{shown}`; umount it first"),
            Errno::NOSYS => anyhow::anyhow!("the kernel has no openat2: it takes Linux 5.8 or later"),
            errno => anyhow::Error::new(errno).context(format!("open the directory `{shown}`")),
        }
    })
}

/// Where something is mounted at `name` of `parent` or below it; `path` is what it is called.
fn mount_in(parent: &OwnedFd, name: &CStr, path: &Path) -> Result<Option<PathBuf>> {
    let Some((_, outside)) = kind(parent, c".")? else { return Ok(None) };
    let Some((kind, mount)) = kind(parent, name)? else { return Ok(None) };
    if mount != outside {
        return Ok(Some(path.to_owned()));
    }
    if kind != FileType::Directory {
        return Ok(None);
    }
    let top = open_below(parent, name).with_context(|| format!("look at `{}`", path.display()))?;
    mount_below(&top, mount, path, 0)
}

fn mount_below(dir: &OwnedFd, outside: u64, path: &Path, depth: usize) -> Result<Option<PathBuf>> {
    if depth == LOOKED_AT {
        return Ok(None);
    }
    for name in names(dir).with_context(|| format!("read `{}`", path.display()))? {
        let Some((kind, mount)) = kind(dir, &name)? else { continue };
        let path = path.join(OsStr::from_bytes(name.to_bytes()));
        if mount != outside {
            return Ok(Some(path));
        }
        if kind == FileType::Directory {
            let child = open_below(dir, &name).with_context(|| format!("look at `{}`", path.display()))?;
            if let Some(found) = mount_below(&child, outside, &path, depth + 1)? {
                return Ok(Some(found));
            }
        }
    }
    Ok(None)
}

/// The names in a directory, without `.` and `..`.
fn names(dir: &OwnedFd) -> Result<Vec<CString>> {
    let mut names = Vec::new();
    for entry in Dir::read_from(dir)? {
        let entry = entry?;
        if entry.file_name() != c"." && entry.file_name() != c".." {
            names.push(entry.file_name().to_owned());
        }
    }
    Ok(names)
}

/// Removes a name; one that is gone already is fine.
fn unlink(dir: impl AsFd, name: &CStr, flags: AtFlags) -> Result<()> {
    match unlinkat(dir, name, flags) {
        Ok(()) | Err(Errno::NOENT) => Ok(()),
        Err(Errno::BUSY) => {
            bail!("something was mounted at `{}` meanwhile; umount it first", name.to_string_lossy())
        }
        Err(errno) => Err(errno).with_context(|| format!("remove `{}`", name.to_string_lossy())),
    }
}

/// Empties one tree.
struct Emptier<'a> {
    top: &'a OwnedFd,
    /// How many deep directories were moved to the top so far.
    moved: usize,
    pause: &'a mut Pause<'a>,
}

impl Emptier<'_> {
    fn empty(&mut self, dir: &OwnedFd, path: &Path, depth: usize) -> Result<()> {
        (self.pause)()?;
        for name in names(dir).with_context(|| format!("read `{}`", path.display()))? {
            let inside = || format!("in `{}`", path.display());
            match kind(dir, &name).with_context(inside)? {
                None => {}
                Some((FileType::Directory, _)) if depth == DEEP => {
                    self.move_up(dir, &name).with_context(inside)?;
                }
                Some((FileType::Directory, _)) => {
                    let child = open_below(dir, &name).with_context(inside)?;
                    self.empty(&child, &path.join(OsStr::from_bytes(name.to_bytes())), depth + 1)?;
                    unlink(dir, &name, AtFlags::REMOVEDIR).with_context(inside)?;
                }
                Some(_) => unlink(dir, &name, AtFlags::empty()).with_context(inside)?,
            }
        }
        Ok(())
    }

    /// Moves a directory to the top of the tree, under a name that nothing has there.
    fn move_up(&mut self, dir: &OwnedFd, name: &CStr) -> Result<()> {
        loop {
            let fresh = format!(".drover-deep-{}", self.moved);
            self.moved += 1;
            match renameat_with(dir, name, self.top, fresh.as_str(), RenameFlags::NOREPLACE) {
                Err(Errno::EXIST) => {}
                moved => return moved.with_context(|| format!("move `{}`", name.to_string_lossy())),
            }
        }
    }
}

#[cfg(test)]
mod tests;
