//! Names in a directory that is held open, changed at once: a reader finds what was there or what is to be there, never
//! half of it, also after a crash.
//!
//! Each thing is made beside its place and renamed. Whatever is at the name itself is never followed nor opened blindly.
//! It does not know how the directory was found.

use crate::{Access, odd};
use anyhow::{Context, Result, bail};
use rustix::fs::{
    AtFlags, FileType, Gid, Mode, OFlags, Stat, Uid, XattrFlags, fchmod, fchown, fgetxattr, flistxattr,
    fsetxattr, fstat, fsync, mkdirat, openat, readlinkat, renameat, statat, symlinkat, unlinkat,
};
use rustix::io::Errno;
use std::ffi::CStr;
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::AsFd;
use std::sync::{Mutex, PoisonError};

/// Two of us must not write to one temporary name at once.
static WRITING: Mutex<()> = Mutex::new(());

/// What is called `name` in `dir`, links not followed.
pub(crate) fn stat(dir: impl AsFd, name: &str) -> Result<Option<Stat>> {
    match statat(dir, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) => Ok(Some(stat)),
        Err(Errno::NOENT) => Ok(None),
        Err(errno) => Err(errno).context("look at it"),
    }
}

/// Fails unless `stat` is of a regular file: a FIFO would make us wait, a device act.
pub(crate) fn ensure_regular(stat: &Stat) -> Result<()> {
    let what = match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile => return Ok(()),
        FileType::Directory => "a directory",
        FileType::Symlink => "a link",
        FileType::Fifo => "a FIFO",
        FileType::Socket => "a socket",
        FileType::CharacterDevice | FileType::BlockDevice => "a device",
        FileType::Unknown => "of an unknown kind",
    };
    bail!("it is {what}, where a regular file belongs; move it away")
}

/// Opens the regular file called `name` in `dir`, which may not be there.
pub(crate) fn open(dir: impl AsFd, name: &str) -> Result<Option<File>> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let Some(found) = stat(&dir, name)? else { return Ok(None) };
    ensure_regular(&found)?;
    let file = openat(dir, name, flags, Mode::empty()).context("open it")?;
    // It may have been exchanged since.
    ensure_regular(&fstat(&file).context("look at it")?)?;
    Ok(Some(file.into()))
}

/// All of a file, as text; bytes that are none come through: see [`crate::odd`].
pub(crate) fn text(mut file: &File) -> Result<String> {
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes).context("read it")?;
    Ok(odd::decode(&bytes))
}

/// Replaces the text of `name` in `dir`. Mode, owner and extended attributes are those of the file that is there, else
/// mode and owner are those of `access`. Nothing is done if it reads `text` already.
pub(crate) fn replace(dir: &File, name: &str, text: &str, access: Access) -> Result<()> {
    let old = open(dir, name)?;
    if let Some(old) = &old
        && self::text(old).is_ok_and(|old| old == text)
    {
        return Ok(());
    }
    let put = put(dir, name, |beside| write_beside(dir, beside, text, old.as_ref(), access));
    match put {
        Err(error) if old.is_some() && error.downcast_ref() == Some(&Errno::BUSY) => {
            write_in_place(dir, name, text)
                .with_context(|| format!("{error:#}; and it cannot be written where it is"))
        }
        put => put,
    }
}

/// Writes the file that is there. One that is a mount of its own, as `/etc/hosts` is in many a container, cannot be replaced:
/// only then, since who reads it meanwhile finds a part.
fn write_in_place(dir: &File, name: &str, text: &str) -> Result<()> {
    let _writing = WRITING.lock().unwrap_or_else(PoisonError::into_inner);
    let flags = OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let mut file = File::from(openat(dir, name, flags, Mode::empty()).context("open it")?);
    ensure_regular(&fstat(&file).context("look at it")?)?;
    let bytes = odd::encode(text);
    let old = file.metadata().context("look at it")?.len();
    file.write_all(&bytes).context("write it")?;
    if (bytes.len() as u64) < old {
        file.set_len(bytes.len() as u64).context("write it")?;
    }
    fsync(&file).context("flush it to disk")
}

/// Makes the directory `name` in `dir`; one that is there already, made by whomever, is fine.
pub(crate) fn make_dir(dir: &File, name: &str, access: Access) -> Result<()> {
    put(dir, name, |beside| {
        mkdirat(dir, beside, Mode::RWXU)?;
        set_access(
            openat(dir, beside, OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())?,
            access,
        )
    })
    .or_else(|error| match stat(dir, name)? {
        Some(found) if FileType::from_raw_mode(found.st_mode).is_dir() => Ok(()),
        _ => Err(error),
    })
}

/// Makes the link `name` in `dir` that reads `target`, in the place of one that reads otherwise.
pub(crate) fn make_link(dir: &File, name: &str, target: &str) -> Result<()> {
    match stat(dir, name)? {
        Some(stat) if !FileType::from_raw_mode(stat.st_mode).is_symlink() => {
            bail!("something that is no link is in the way; move it away")
        }
        Some(_) if readlinkat(dir, name, [])?.as_bytes() == target.as_bytes() => Ok(()),
        _ => put(dir, name, |beside| Ok(symlinkat(target, dir, beside)?)),
    }
}

/// Removes the file or link `name` in `dir`; nothing there is fine.
pub(crate) fn remove(dir: &File, name: &str) -> Result<()> {
    match unlinkat(dir, name, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => Ok(()),
        Err(Errno::ISDIR) => bail!("it is a directory"),
        Err(errno) => Err(errno.into()),
    }
}

/// Has something made beside `name`, and renames it to it.
fn put(dir: &File, name: &str, make: impl FnOnce(&str) -> Result<()>) -> Result<()> {
    // Nothing is broken by a writer that panicked: what it left is cleared away here.
    let _writing = WRITING.lock().unwrap_or_else(PoisonError::into_inner);
    let beside = format!(".{name}.drover-new");
    clear(dir, &beside)?;
    let renamed = make(&beside).and_then(|()| renameat(dir, &beside, dir, name).map_err(in_the_way));
    if let Err(error) = renamed {
        clear(dir, &beside)?;
        return Err(error);
    }
    fsync(dir).context("flush its directory to disk")
}

/// Removes what a writer that did not reach its end left.
fn clear(dir: &File, beside: &str) -> Result<()> {
    let removed = match unlinkat(dir, beside, AtFlags::empty()) {
        Err(Errno::ISDIR) => unlinkat(dir, beside, AtFlags::REMOVEDIR),
        removed => removed,
    };
    match removed {
        Ok(()) | Err(Errno::NOENT) => Ok(()),
        Err(errno) => Err(errno).with_context(|| format!("remove `{beside}` beside it")),
    }
}

/// Makes the file called `name`, whole and on disk, with the attributes of `old` or else with `access`.
fn write_beside(dir: &File, name: &str, text: &str, old: Option<&File>, access: Access) -> Result<()> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let fd = openat(dir, name, flags, Mode::RUSR | Mode::WUSR)
        .with_context(|| format!("make `{name}` beside it"))?;
    let mut new = File::from(fd);
    new.write_all(&odd::encode(text)).context("write it")?;
    match old {
        None => set_access(&new, access)?,
        Some(old) => {
            let stat = fstat(old).context("look at it")?;
            copy_xattrs(old, &new).context("keep its extended attributes")?;
            set_access(&new, Access { mode: stat.st_mode & 0o7777, uid: stat.st_uid, gid: stat.st_gid })?;
        }
    }
    fsync(&new).context("flush it to disk")
}

/// Sets owner and mode, in this order: a change of owner takes setuid and setgid away.
pub(crate) fn set_access(file: impl AsFd, access: Access) -> Result<()> {
    fchown(&file, Some(Uid::from_raw(access.uid)), Some(Gid::from_raw(access.gid)))
        .context("set its owner")?;
    fchmod(&file, Mode::from_raw_mode(access.mode)).context("set its mode")
}

fn copy_xattrs(old: &File, new: &File) -> Result<()> {
    let mut names = vec![0; 64 * 1024];
    let length = match flistxattr(old, names.as_mut_slice()) {
        Err(Errno::NOTSUP) => return Ok(()),
        listed => listed?,
    };
    names.truncate(length);
    let mut value = vec![0; 64 * 1024];
    for name in names.split_inclusive(|&byte| byte == 0) {
        let name = CStr::from_bytes_with_nul(name)?;
        let length = fgetxattr(old, name, value.as_mut_slice())?;
        fsetxattr(new, name, &value[..length], XattrFlags::empty())
            .with_context(|| format!("set {name:?}"))?;
    }
    Ok(())
}

/// The error of renaming, told better where it is known.
fn in_the_way(errno: Errno) -> anyhow::Error {
    let error = anyhow::Error::new(errno);
    match errno {
        Errno::EXIST | Errno::NOTDIR | Errno::NOTEMPTY => {
            error.context("something else is in the way; move it away")
        }
        Errno::BUSY => error.context("something is mounted over it, so it cannot be replaced: unmount it"),
        _ => error,
    }
}
