//! Copies of packages whose contents are not compressed: what is extracted in `unpack`, dpkg unpacks once more in `configure`,
//! and to decompress it takes the processor longer than all else that dpkg does with it.
//!
//! A package is an archive of ar with three members: a version, the control files, the contents (deb(5)). The first two are
//! copied as they are. It does not know whether the package is what it should be.

use super::checkpoint;
use crate::archives::Deb;
use crate::base::Base;
use crate::guest::emulate::PACKAGES;
use anyhow::{Context, Result, ensure};
use drover_engine::{Cmd, Cx};
use std::fs::{self, OpenOptions};
use std::io::{Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

/// How an archive of ar begins.
const MAGIC: &[u8] = b"!<arch>\n";
/// The length of a member's header.
const HEADER: usize = 60;
/// Where a member's size is in its header: decimal digits, filled up with spaces.
const SIZE: std::ops::Range<usize> = 48..58;
/// The member that holds the contents: the name of any compression follows.
const CONTENTS: &[u8] = b"data.tar";

/// Where the copies are seen in a guest.
pub(super) const PLAIN: &str = "/tmp/plain";

/// The directory of the copies for a base system: beside its tree, where there has to be room for it anyway.
pub(super) fn directory(base: &Base) -> PathBuf {
    checkpoint::directory(base).join("plain")
}

/// Makes an empty directory for them.
pub(super) fn make_directory(cx: &Cx, base: &Base) -> Result<PathBuf> {
    let directory = directory(base);
    cx.remove_tree(&directory)?;
    fs::create_dir_all(&directory).with_context(|| format!("make `{}`", directory.display()))?;
    Ok(directory)
}

/// Writes the copy of a package. Returns where in it the contents begin, an archive of tar.
pub(super) fn write(cx: &Cx, package: &Path, copy: &Path) -> Result<u64> {
    let bytes = fs::read(package).with_context(|| format!("read `{}`", package.display()))?;
    let at = contents(&bytes).with_context(|| format!("`{}` is no package", package.display()))?;
    let mut header = bytes[at..at + HEADER].to_vec();
    header[..16].copy_from_slice(b"data.tar        ");
    let failed = || format!("write `{}`", copy.display());
    fs::write(copy, [&bytes[..at], &header].concat()).with_context(failed)?;
    drop(bytes);
    cx.run(
        &Cmd::new("sh")
            .args(["-c", "dpkg-deb --fsys-tarfile \"$1\" >>\"$2\"", "plain"])
            .arg(package)
            .arg(copy),
    )?;
    let mut file = OpenOptions::new().write(true).open(copy).with_context(failed)?;
    let end = file.seek(SeekFrom::End(0)).with_context(failed)?;
    let start = (at + HEADER) as u64;
    // An archive of tar is whole blocks, so that there is nothing to fill up.
    ensure!(
        (end - start).is_multiple_of(512),
        "`dpkg-deb --fsys-tarfile {}` wrote no archive of tar",
        package.display()
    );
    let size = format!("{:<10}", end - start);
    file.seek(SeekFrom::Start((at + SIZE.start) as u64)).with_context(failed)?;
    file.write_all(size.as_bytes()).with_context(failed)?;
    Ok(start)
}

/// Where the header of the contents is.
fn contents(package: &[u8]) -> Option<usize> {
    let mut at = package.starts_with(MAGIC).then_some(MAGIC.len())?;
    loop {
        let header = package.get(at..at + HEADER)?;
        if header.starts_with(CONTENTS) {
            return Some(at);
        }
        let size: usize = std::str::from_utf8(&header[SIZE]).ok()?.trim_end().parse().ok()?;
        at += HEADER + size + size % 2;
    }
}

/// Where a guest finds a package: the copy, if one was made.
pub(super) fn in_guest(base: &Base, deb: &Deb) -> Result<PathBuf> {
    let copy = directory(base).join(&deb.file);
    let is_there = copy.try_exists().with_context(|| format!("look at `{}`", copy.display()))?;
    Ok(Path::new(if is_there { PLAIN } else { PACKAGES }).join(&deb.file))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn member(name: &str, bytes: &[u8]) -> Vec<u8> {
        let header = format!("{name:<16}{:<12}{:<6}{:<6}{:<8}{:<10}`\n", 0, 0, 0, 100_644, bytes.len());
        let end: &[u8] = if bytes.len() % 2 == 1 { b"\n" } else { b"" };
        [header.as_bytes(), bytes, end].concat()
    }

    #[test]
    fn the_contents_are_found_behind_members_of_any_length() {
        let start = [MAGIC, &member("debian-binary", b"2.0\n"), &member("control.tar.xz", b"odd")].concat();
        let whole = [&start[..], &member("data.tar.zst", b"contents")].concat();
        assert_eq!(contents(&whole), Some(start.len()));
        assert_eq!(contents(&start), None);
        assert_eq!(contents(&whole[..start.len() + 10]), None);
        assert_eq!(contents(b"no package"), None);
    }
}
