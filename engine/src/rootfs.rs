//! A directory tree that is some other system's `/`, and that no link in it can lead us out of.
//!
//! Every path is resolved by the kernel with RESOLVE_IN_ROOT (openat2, by `pathrs`): absolute links and `..` stay
//! inside. It does not know what lives in the tree.

use crate::whole;
use anyhow::{Context, Result, bail, ensure};
use pathrs::Root;
use pathrs::error::ErrorKind;
use pathrs::flags::OpenFlags;
use rustix::fs::{Dir, FileType, Mode, OFlags, Stat, fstat, readlinkat};
use rustix::io::Errno;
use std::fs::File;
use std::os::fd::{AsFd, AsRawFd};
use std::path::{Path, PathBuf};

/// Another system's root directory, held open.
pub struct Rootfs {
    root: Root,
    path: PathBuf,
}

/// What a path in a rootfs is, not following a link at its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The kind of file.
    pub kind: Kind,
    /// Permission bits, with setuid, setgid and sticky.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Size in bytes.
    pub size: u64,
}

/// Kinds of files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A regular file.
    File,
    /// A directory.
    Directory,
    /// A symbolic link.
    Link,
    /// A FIFO, socket or device.
    Special,
}

/// Mode and owner for something that has to be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Access {
    /// Permission bits.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
}

impl Access {
    /// Owned by root, with this mode.
    pub fn root(mode: u32) -> Self {
        Self { mode, uid: 0, gid: 0 }
    }
}

impl From<Stat> for Entry {
    fn from(stat: Stat) -> Self {
        let kind = match FileType::from_raw_mode(stat.st_mode) {
            FileType::RegularFile => Kind::File,
            FileType::Directory => Kind::Directory,
            FileType::Symlink => Kind::Link,
            _ => Kind::Special,
        };
        let size = u64::try_from(stat.st_size).unwrap_or(0);
        Self { kind, mode: stat.st_mode & 0o7777, uid: stat.st_uid, gid: stat.st_gid, size }
    }
}

impl Rootfs {
    /// Opens the tree at `path`.
    ///
    /// # Errors
    /// When it is no directory, or is the host's own root.
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        Self::find(path)?.with_context(|| format!("open the rootfs `{}`: it does not exist", path.display()))
    }

    /// Opens the tree at `path`, or `None` while there is nothing there: for checks.
    ///
    /// # Errors
    /// When there is something that is no directory, or is the host's own root.
    pub fn find(path: impl AsRef<Path>) -> Result<Option<Self>> {
        let path = path.as_ref();
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let fd = match rustix::fs::open(path, flags, Mode::empty()) {
            Ok(fd) => fd,
            Err(Errno::NOENT) => return Ok(None),
            Err(errno) => return Err(errno).with_context(|| format!("open the rootfs `{}`", path.display())),
        };
        let (ours, hosts) = (fstat(&fd)?, rustix::fs::stat("/")?);
        if (ours.st_dev, ours.st_ino) == (hosts.st_dev, hosts.st_ino) {
            bail!(
                "open the rootfs `{}`: it is the host's own root, which is never edited as one",
                path.display()
            );
        }
        Ok(Some(Self { root: Root::from_fd(fd), path: path.to_owned() }))
    }

    /// What is at `path`, if anything. A link at its end is not followed.
    ///
    /// # Errors
    /// When that cannot be found out.
    pub fn entry(&self, path: &str) -> Result<Option<Entry>> {
        let entry = || -> Result<Option<Entry>> {
            let Some(handle) = absent(again(|| self.root.resolve_nofollow(path)))? else { return Ok(None) };
            Ok(Some(fstat(&handle)?.into()))
        };
        entry().with_context(|| self.doing("look at", path))
    }

    /// The mode of what is at `path`; if there is nothing, that of most files.
    ///
    /// # Errors
    /// As [`Rootfs::entry`].
    pub fn mode_there(&self, path: &str) -> Result<u32> {
        Ok(self.entry(path)?.map_or(0o644, |entry| entry.mode))
    }

    /// The text of the file at `path`, links followed inside of the tree; `None` if there is nothing.
    ///
    /// # Errors
    /// When it is no regular file (a FIFO does not block), or cannot be read. Bytes that are not UTF-8 come through.
    pub fn read(&self, path: &str) -> Result<Option<String>> {
        let text = || -> Result<Option<String>> {
            let Some(handle) = absent(again(|| self.root.resolve(path)))? else { return Ok(None) };
            // What it is must be known before it is opened: opening a device may act, opening a FIFO waits.
            whole::ensure_regular(&fstat(&handle)?)?;
            whole::text(&handle.reopen(OpenFlags::O_RDONLY)?).map(Some)
        };
        text().with_context(|| self.doing("read", path))
    }

    /// The text of the file at `path` itself, for editing it; `None` if there is nothing.
    ///
    /// # Errors
    /// As [`Rootfs::read`], and when `path` ends in a link: what it names may not be what was meant.
    pub fn read_to_edit(&self, path: &str) -> Result<Option<String>> {
        let text = || -> Result<Option<String>> {
            let (parent, name) = split(path)?;
            let Some(dir) = self.dir(parent)? else { return Ok(None) };
            self.refuse_link(&dir, path, name)?;
            match whole::open(&dir, name)? {
                Some(file) => Ok(Some(whole::text(&file)?)),
                None => Ok(None),
            }
        };
        text().with_context(|| self.doing("edit", path))
    }

    /// Replaces the text of the file at `path` at once, keeping mode, owner and extended attributes of the one
    /// that is there; `access` is for one that is not. Missing directories are an error. What is there already
    /// is not written again.
    ///
    /// # Errors
    /// When `path` ends in a link or in anything but a regular file, or writing fails; the old file is then untouched.
    pub fn write(&self, path: &str, text: &str, access: Access) -> Result<()> {
        let written = || -> Result<()> {
            let (dir, name) = self.existing_dir(path)?;
            self.refuse_link(&dir, path, name)?;
            whole::replace(&dir, name, text, access)
        };
        written().with_context(|| self.doing("write", path))
    }

    /// Gives the file at `path` this mode and owner.
    ///
    /// # Errors
    /// When `path` ends in a link or in anything but a regular file.
    pub fn set_access(&self, path: &str, access: Access) -> Result<()> {
        let set = || -> Result<()> {
            let (dir, name) = self.existing_dir(path)?;
            self.refuse_link(&dir, path, name)?;
            whole::set_access(whole::open(&dir, name)?.context("it is gone")?, access)
        };
        set().with_context(|| self.doing("change mode and owner of", path))
    }

    /// Makes the directory at `path`, and those above it, with this access where they are missing.
    ///
    /// # Errors
    /// When something else is in the way.
    pub fn mkdir_all(&self, path: &str, access: Access) -> Result<()> {
        let made = || -> Result<()> {
            let mut above = String::new();
            for name in path.split('/').filter(|name| !name.is_empty()) {
                let parent = self.dir(&above)?.with_context(|| format!("`{above}` vanished"))?;
                above = format!("{above}/{name}");
                if self.dir(&above)?.is_none() {
                    whole::make_dir(&parent, name, access).with_context(|| format!("make `{above}`"))?;
                }
            }
            Ok(())
        };
        made().with_context(|| self.doing("make the directory", path))
    }

    /// Makes a symbolic link at `path` that reads `target`; replaces a link that reads otherwise.
    ///
    /// # Errors
    /// When something that is no link is in the way.
    pub fn symlink(&self, path: &str, target: &str) -> Result<()> {
        let made = || -> Result<()> {
            let (dir, name) = self.existing_dir(path)?;
            whole::make_link(&dir, name, target)
        };
        made().with_context(|| self.doing("make the link", path))
    }

    /// Removes the file or link at `path`; nothing there is fine.
    ///
    /// # Errors
    /// When it is a directory, or cannot be removed.
    pub fn remove(&self, path: &str) -> Result<()> {
        let removed = || -> Result<()> {
            let (parent, name) = split(path)?;
            match self.dir(parent)? {
                Some(dir) => whole::remove(&dir, name),
                None => Ok(()),
            }
        };
        removed().with_context(|| self.doing("remove", path))
    }

    /// The names in the directory at `path`, sorted; `None` if there is nothing.
    ///
    /// # Errors
    /// When it is no directory, or cannot be read.
    pub fn list(&self, path: &str) -> Result<Option<Vec<String>>> {
        let listed = || -> Result<Option<Vec<String>>> {
            let Some(dir) = self.dir(path)? else { return Ok(None) };
            let mut names = Vec::new();
            for entry in Dir::read_from(dir)? {
                let name = entry?.file_name().to_string_lossy().into_owned();
                if name != "." && name != ".." {
                    names.push(name);
                }
            }
            names.sort();
            Ok(Some(names))
        };
        listed().with_context(|| self.doing("list", path))
    }

    /// Where what is at `path` is on the host, links followed inside of the tree; for mounting over it and for reading
    /// what is no text.
    ///
    /// # Errors
    /// When that cannot be found out.
    pub fn locate(&self, path: &str) -> Result<Option<PathBuf>> {
        let located = || -> Result<Option<PathBuf>> {
            let Some(handle) = absent(again(|| self.root.resolve(path)))? else { return Ok(None) };
            Ok(Some(std::fs::read_link(format!("/proc/self/fd/{}", handle.as_fd().as_raw_fd()))?))
        };
        located().with_context(|| self.doing("find", path))
    }

    /// The directory at `path`, links followed inside of the tree.
    fn dir(&self, path: &str) -> Result<Option<File>> {
        let path = if path.is_empty() { "/" } else { path };
        absent(again(|| self.root.open_subpath(path, OpenFlags::O_RDONLY | OpenFlags::O_DIRECTORY)))
    }

    /// The directory that holds `path`, and its name in it.
    fn existing_dir<'a>(&self, path: &'a str) -> Result<(File, &'a str)> {
        let (parent, name) = split(path)?;
        let dir = self.dir(parent)?.with_context(|| format!("there is no directory `{parent}`"))?;
        Ok((dir, name))
    }

    /// Fails if `name` in `dir` is a link, and says where it leads and what to do.
    fn refuse_link(&self, dir: &File, path: &str, name: &str) -> Result<()> {
        let found = whole::stat(dir, name)?;
        if !found.is_some_and(|stat| FileType::from_raw_mode(stat.st_mode).is_symlink()) {
            return Ok(());
        }
        let target = readlinkat(dir, name, [])?;
        bail!(
            "it is a link to `{}`, and links are not edited through: replace it by a file of its own (rm {}/{})",
            target.to_string_lossy(),
            self.path.display(),
            path.trim_start_matches('/')
        );
    }

    fn doing(&self, what: &str, path: &str) -> String {
        format!("{what} `{path}` in the rootfs `{}`", self.path.display())
    }
}

/// The directory and the name in it that `path` is made of.
fn split(path: &str) -> Result<(&str, &str)> {
    let (parent, name) = path.rsplit_once('/').unwrap_or(("", path));
    ensure!(!matches!(name, "" | "." | ".."), "`{path}` names no file");
    Ok((parent, name))
}

/// Resolves, again if somebody renames at the same time anywhere on the host: the kernel then cannot tell whether
/// a `..` stayed inside, and says "try again".
fn again<T>(mut resolve: impl FnMut() -> Result<T, pathrs::error::Error>) -> Result<T, pathrs::error::Error> {
    for _ in 0..1000 {
        match resolve() {
            Err(error) if error.can_retry() => std::thread::yield_now(),
            resolved => return resolved,
        }
    }
    resolve()
}

/// `None` for what does not exist.
fn absent<T>(resolved: Result<T, pathrs::error::Error>) -> Result<Option<T>> {
    match resolved {
        Ok(found) => Ok(Some(found)),
        Err(error) if error.kind() == ErrorKind::OsError(Some(Errno::NOENT.raw_os_error())) => Ok(None),
        Err(error) => Err(error.into()),
    }
}
