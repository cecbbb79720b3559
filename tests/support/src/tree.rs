//! A snapshot of a directory tree: names, kinds, modes, owners, contents, links, extended attributes. For proving that
//! nothing changed.

use anyhow::{Context, Result};
use rustix::fs::{lgetxattr, llistxattr};
use rustix::io::Errno;
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

/// A snapshot of a directory tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tree {
    entries: BTreeMap<PathBuf, String>,
}

impl Tree {
    /// Takes it, of `root` and all below it; the empty tree if there is no such directory.
    ///
    /// Paths for which `skip` answers true are left out, with all below them; they are relative to `root`.
    ///
    /// # Errors
    /// When something cannot be read.
    pub fn of(root: impl AsRef<Path>, skip: impl Fn(&Path) -> bool) -> Result<Self> {
        let (root, mut entries) = (root.as_ref(), BTreeMap::new());
        if root.exists() {
            walk(root, Path::new(""), &skip, &mut entries)?;
        }
        Ok(Self { entries })
    }

    /// What is in only one of two trees, or different: one line each, empty if they are the same.
    pub fn differences(&self, other: &Self) -> Vec<String> {
        let mut lines = Vec::new();
        for (path, before) in &self.entries {
            match other.entries.get(path) {
                None => lines.push(format!("{}: {before} -> nothing", path.display())),
                Some(after) if after != before => {
                    lines.push(format!("{}: {before} -> {after}", path.display()));
                }
                Some(_) => {}
            }
        }
        let new = other.entries.iter().filter(|(path, _)| !self.entries.contains_key(*path));
        lines.extend(new.map(|(path, after)| format!("{}: nothing -> {after}", path.display())));
        lines
    }

    /// How many entries it has.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is nothing in it.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }
}

fn walk(
    root: &Path,
    at: &Path,
    skip: &impl Fn(&Path) -> bool,
    entries: &mut BTreeMap<PathBuf, String>,
) -> Result<()> {
    let path = root.join(at);
    let metadata =
        fs::symlink_metadata(&path).with_context(|| format!("`{}` cannot be looked at", path.display()))?;
    entries.insert(at.to_owned(), describe(&path, at, &metadata)?);
    if !metadata.is_dir() {
        return Ok(());
    }
    for entry in fs::read_dir(&path)? {
        let below = at.join(entry?.file_name());
        if !skip(&below) {
            walk(root, &below, skip, entries)?;
        }
    }
    Ok(())
}

/// Kind, mode and owner; what is in it; how many names it has, if more than one; its extended attributes.
fn describe(path: &Path, at: &Path, metadata: &fs::Metadata) -> Result<String> {
    let kind = metadata.file_type();
    let what = if kind.is_file() {
        let digest = Sha256::digest(content(path, at)?);
        let hex: String = digest.iter().take(8).map(|byte| format!("{byte:02x}")).collect();
        let links = metadata.nlink();
        let links = if links > 1 { format!(" {links} names") } else { String::new() };
        format!("{} bytes {hex}{links}", metadata.len())
    } else if kind.is_symlink() {
        format!("link to {}", fs::read_link(path)?.display())
    } else if kind.is_dir() {
        "directory".to_owned()
    } else if kind.is_char_device() || kind.is_block_device() {
        format!("device {}", metadata.rdev())
    } else {
        "special".to_owned()
    };
    let attributes = attributes(path)?;
    Ok(format!("{:o} {}:{} {what}{attributes}", metadata.mode(), metadata.uid(), metadata.gid()))
}

/// What is in a file; of a system's passwords, without the days of their last change: at midnight another one begins.
fn content(path: &Path, at: &Path) -> Result<Vec<u8>> {
    let bytes = fs::read(path)?;
    if at != Path::new("etc/shadow") && at != Path::new("etc/shadow-") {
        return Ok(bytes);
    }
    let without_day = |line: &[u8]| {
        let fields = line.split(|byte| *byte == b':').enumerate();
        fields.map(|(index, field)| if index == 2 { b"" } else { field }).collect::<Vec<_>>().join(&b':')
    };
    Ok(bytes.split(|byte| *byte == b'\n').map(without_day).collect::<Vec<_>>().join(&b'\n'))
}

/// The extended attributes of what is at `path`, each with a space before it.
fn attributes(path: &Path) -> Result<String> {
    let (mut names, mut value) = (vec![0_u8; 1 << 16], vec![0_u8; 1 << 16]);
    let length = match llistxattr(path, &mut names) {
        Err(Errno::NOTSUP) => 0,
        listed => listed.with_context(|| format!("attributes of `{}`", path.display()))?,
    };
    let mut text = String::new();
    for name in names[..length].split(|byte| *byte == 0).filter(|name| !name.is_empty()) {
        let length = lgetxattr(path, name, &mut value)?;
        text += &format!(" {}={:02x?}", String::from_utf8_lossy(name), &value[..length]);
    }
    Ok(text)
}
