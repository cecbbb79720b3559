//! What is mounted where: the kernel's table of mounts, read in one place.
//!
//! It is read here and not by `procfs`, whose 0.18 leaves blanks in names as the kernel escapes them and cannot read a table
//! that has a name which is not UTF-8. It does not know who mounted what, nor why.

use anyhow::{Context, Result};
use std::ffi::OsString;
use std::fs;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

/// A mount.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Mounted {
    /// Where it is mounted.
    pub(crate) point: PathBuf,
    /// The kind of its file system: `ext4`.
    pub(crate) kind: String,
    /// What is mounted: a device, or what somebody called it.
    pub(crate) source: PathBuf,
    /// The options of the mount, then those of its file system.
    pub(crate) options: Vec<String>,
}

/// The mounts that this process sees, in the order in which they were made.
///
/// # Errors
/// When the table cannot be read.
pub(crate) fn all() -> Result<Vec<Mounted>> {
    read("self")
}

/// The mounts that a process sees.
///
/// # Errors
/// When its table cannot be read.
pub(crate) fn of_process(id: u32) -> Result<Vec<Mounted>> {
    read(&id.to_string())
}

fn read(process: &str) -> Result<Vec<Mounted>> {
    let file = format!("/proc/{process}/mountinfo");
    let text = fs::read(&file).with_context(|| format!("cannot read `{file}`"))?;
    Ok(parse(&text))
}

/// The mounts in a table that reads as `/proc/self/mountinfo` does.
pub(crate) fn parse(table: &[u8]) -> Vec<Mounted> {
    table.split(|byte| *byte == b'\n').filter_map(line).collect()
}

/// A line: numbers, the root of the mount, the mount point, options, optional fields, `-`, kind, source, more options.
fn line(line: &[u8]) -> Option<Mounted> {
    let fields: Vec<&[u8]> = line.split(|byte| *byte == b' ').collect();
    let (before, after) = fields.split_at(fields.iter().skip(6).position(|field| *field == b"-")? + 6);
    let text = |field: &[u8]| String::from_utf8_lossy(&plain(field)).into_owned();
    let options = [*before.get(5)?, after.get(3).copied().unwrap_or_default()];
    let options = options.iter().flat_map(|list| list.split(|byte| *byte == b','));
    Some(Mounted {
        point: path(before.get(4)?),
        kind: text(after.get(1)?),
        source: path(after.get(2)?),
        options: options.filter(|option| !option.is_empty()).map(text).collect(),
    })
}

fn path(field: &[u8]) -> PathBuf {
    OsString::from_vec(plain(field)).into()
}

/// A field as it is meant: the kernel writes blanks, backslashes and the like as a backslash and three octal digits.
fn plain(field: &[u8]) -> Vec<u8> {
    let mut plain = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((first, tail)) = rest.split_first() {
        let escaped = (*first == b'\\').then(|| octal(tail)).flatten();
        plain.push(escaped.unwrap_or(*first));
        rest = if escaped.is_some() { &tail[3..] } else { tail };
    }
    plain
}

fn octal(digits: &[u8]) -> Option<u8> {
    let digits = std::str::from_utf8(digits.get(..3)?).ok()?;
    u8::from_str_radix(digits, 8).ok()
}

/// The path that the kernel knows a place by: links are followed, also those above what is not there yet.
pub(crate) fn real(path: &Path) -> PathBuf {
    let mut known = path;
    let mut rest = Vec::new();
    loop {
        match (known.canonicalize(), known.parent(), known.file_name()) {
            (Ok(real), ..) => return rest.iter().rev().fold(real, |path, name| path.join(name)),
            (Err(_), Some(parent), Some(name)) => {
                rest.push(name);
                known = parent;
            }
            _ => return path.to_owned(),
        }
    }
}

/// The mount that `path` is on: of those above it the lowest, and of two at one place the later one.
pub(crate) fn above<'a>(mounts: &'a [Mounted], path: &Path) -> Option<&'a Mounted> {
    let path = real(path);
    let above = mounts.iter().filter(|mount| path.starts_with(&mount.point));
    above.max_by_key(|mount| mount.point.components().count())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;

    #[test]
    fn a_line_is_understood_whatever_stands_between_and_however_names_are_written() {
        let table = b"36 35 98:0 /mnt1 /srv/a\\040b\\134040\\011c rw,noatime shared:1 master:2 - ext4 /dev/my\\040disk rw,errors=x\n\
                      37 36 0:5 / / rw - proc proc rw\n\
                      38 36 0:6 / /srv/\xff\\043x rw - tmpfs  rw,size=1k\n\
                      broken\n";
        let mounts = parse(table);
        assert_eq!(mounts.len(), 3);
        assert_eq!(mounts[0].point, Path::new("/srv/a b\\040\tc"));
        assert_eq!((mounts[0].kind.as_str(), mounts[0].source.to_str()), ("ext4", Some("/dev/my disk")));
        assert_eq!(mounts[0].options, ["rw", "noatime", "rw", "errors=x"]);
        assert_eq!((mounts[1].point.as_path(), mounts[1].kind.as_str()), (Path::new("/"), "proc"));
        assert_eq!(mounts[2].point.as_os_str(), OsStr::from_bytes(b"/srv/\xff#x"));
        assert_eq!(mounts[2].options, ["rw", "rw", "size=1k"]);
    }

    #[test]
    fn a_path_is_on_the_lowest_mount_above_it_and_the_later_of_two() {
        let mounts = parse(
            b"22 1 0:21 / / rw - overlay overlay rw\n23 22 0:5 / /srv/a\\040b/proc rw - proc proc rw\n\
              24 22 0:5 / /srv/a\\040b rw - zfs x rw\n25 22 0:5 / /srv/a\\040b rw - ext4 y rw\n",
        );
        let kind = |path: &str| above(&mounts, Path::new(path)).map(|mount| mount.kind.as_str());
        assert_eq!(
            (kind("/srv/a b/x"), kind("/srv/a"), kind("/srv/a b/proc")),
            (Some("ext4"), Some("overlay"), Some("proc"))
        );
    }

    #[test]
    fn links_lead_to_what_the_kernel_knows() -> Result<()> {
        let place = tempfile::tempdir()?;
        let root = place.path().canonicalize()?;
        fs::create_dir(root.join("big"))?;
        std::os::unix::fs::symlink("big", root.join("home"))?;
        assert_eq!(real(&root.join("home/abuild/work/")), root.join("big/abuild/work"));
        let table =
            format!("22 1 0:21 / / rw - ext4 a rw\n23 22 0:5 / {}/big rw - zfs b rw\n", root.display());
        let mounts = parse(table.as_bytes());
        assert_eq!(above(&mounts, &root.join("home/abuild")).map(|mount| mount.kind.as_str()), Some("zfs"));
        Ok(())
    }

    #[test]
    fn the_table_of_this_machine_is_read() -> Result<()> {
        let mounts = all()?;
        assert!(mounts.iter().any(|mount| mount.point == Path::new("/proc") && mount.kind == "proc"));
        assert_eq!(mounts.len(), fs::read_to_string("/proc/self/mountinfo")?.lines().count());
        assert_eq!(of_process(std::process::id())?.len(), mounts.len());
        Ok(())
    }
}
