//! Makes a program of the twin one that runs in a guest, where neither its loader nor its libraries are at their places.
//!
//! The names of those places in it are overwritten, each by one of the same length. Nothing of it depends on the environment
//! then, so that the programs that it starts find theirs as it was. It does not know where the files come from.

use crate::place::PLACE;
use std::fmt;

/// The loader's name below [`PLACE`].
pub const LOADER: &str = "ld.so";
/// The directory of libraries below [`PLACE`], with perl's modules in it.
pub const LIBRARIES: &str = "lib";
/// The directory of locales is [`PLACE`] itself.
pub const LOCALE: &str = "C.utf8";

/// Why a file cannot be made a native.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unsuitable {
    /// It is no dynamic program or library of a 64-bit little-endian processor.
    NoElf,
    /// It holds no name of its architecture that can be replaced.
    Unnamed,
}

impl fmt::Display for Unsuitable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoElf => "it is no dynamic program of this processor",
            Self::Unnamed => {
                "it does not hold the name of its architecture once, in a way in which it can be replaced"
            }
        })
    }
}

impl std::error::Error for Unsuitable {}

/// What is adapted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// One of the listed programs. Where it has the directory of locales by itself, it means the guest's: to write there.
    Program,
    /// A library or the loader.
    Library,
}

/// Makes a program, a library or the loader look for its own kind below [`PLACE`]. `triplet` is the twin's.
///
/// # Errors
/// When it is nothing that could be.
pub fn adapt(file: &mut [u8], kind: Kind, triplet: &str) -> Result<(), Unsuitable> {
    if !file.starts_with(b"\x7fELF\x02\x01") {
        return Err(Unsuitable::NoElf);
    }
    if let Some((start, end)) = interpreter(file) {
        let loader = format!("{PLACE}/{LOADER}");
        let room =
            file.get_mut(start..end).filter(|room| room.len() > loader.len()).ok_or(Unsuitable::NoElf)?;
        room.fill(0);
        room[..loader.len()].copy_from_slice(loader.as_bytes());
    }
    let libraries = format!("{PLACE}/{LIBRARIES}");
    overwrite(file, &format!("/usr/lib/{triplet}"), &libraries);
    overwrite(file, &format!("/lib/{triplet}"), &libraries);
    if kind == Kind::Library {
        overwrite(file, "/usr/lib/locale", PLACE);
    }
    // What the guest's loader goes by is not for ours. There is never a file of that name.
    overwrite(file, "/etc/ld.so.cache", "/proc/self/fd/-1");
    overwrite(file, "/etc/ld.so.preload", "//proc//self/fd/-1");
    // perl's name for itself is then the one that it is called by.
    overwrite(file, "/proc/self/exe", "/proc/self/-1/");
    Ok(())
}

/// Where the name of a program's loader is, its zero included.
fn interpreter(file: &[u8]) -> Option<(usize, usize)> {
    const PT_INTERP: u64 = 3;
    let number = |at: usize, size: usize| -> Option<u64> {
        let bytes = file.get(at..at + size)?;
        Some(bytes.iter().rev().fold(0, |number, &byte| number << 8 | u64::from(byte)))
    };
    let (table, size, count) = (number(32, 8)?, number(54, 2)?, number(56, 2)?);
    (0..count).find_map(|index| {
        let at = usize::try_from(table + index * size).ok()?;
        if number(at, 4)? != PT_INTERP {
            return None;
        }
        let start = usize::try_from(number(at + 8, 8)?).ok()?;
        Some((start, start + usize::try_from(number(at + 32, 8)?).ok()?))
    })
}

/// Overwrites a directory's name wherever it stands, filled up with slashes where the new one is shorter.
fn overwrite(file: &mut [u8], old: &str, new: &str) {
    assert!(new.len() <= old.len(), "`{new}` does not fit in the place of `{old}`");
    let filled = format!("{new:/<width$}", width = old.len());
    for at in positions(file, old.as_bytes()) {
        file[at..at + old.len()].copy_from_slice(filled.as_bytes());
    }
}

fn positions(file: &[u8], wanted: &[u8]) -> Vec<usize> {
    let Some(&first) = wanted.first() else { return Vec::new() };
    let starts = file.iter().enumerate().filter(|(_, byte)| **byte == first).map(|(at, _)| at);
    starts.filter(|&at| file[at..].starts_with(wanted)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_keep_their_length_and_all_else_its_place() -> Result<(), Unsuitable> {
        let mut file = b"\x7fELF\x02\x01".to_vec();
        file.resize(64, 0);
        let start = file.clone();
        file.extend(b"/usr/lib/x86_64-linux-gnu/perl-base\0/lib/x86_64-linux-gnu/\0/usr/lib/locale/C\0/etc/ld.so.cache\0");
        let length = file.len();
        adapt(&mut file, Kind::Library, "x86_64-linux-gnu")?;
        let text = String::from_utf8_lossy(&file[64..]).into_owned();
        assert_eq!(
            text,
            "/proc/tty/ldisc/lib///////perl-base\0/proc/tty/ldisc/lib///\0/proc/tty/ldisc/C\0/proc/self/fd/-1\0"
        );
        assert_eq!(file.len(), length);
        let mut program = [start.as_slice(), b"/usr/lib/locale/locale-archive\0/etc/ld.so.cache\0"].concat();
        adapt(&mut program, Kind::Program, "x86_64-linux-gnu")?;
        assert_eq!(program[64..], *b"/usr/lib/locale/locale-archive\0/proc/self/fd/-1\0");
        assert_eq!(
            adapt(&mut b"#!/bin/sh\n".to_vec(), Kind::Program, "x86_64-linux-gnu"),
            Err(Unsuitable::NoElf)
        );
        Ok(())
    }
}
