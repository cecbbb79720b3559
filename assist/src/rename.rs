//! Makes a program answer to another architecture's name than the one that it was compiled with, whatever the length of the two.
//!
//! In the program is a string that is the name and nothing else, and there may be messages with the name in parentheses. A name
//! of the same length is written over the old one. Any other is put, with the rest of its string, where the linker has left
//! room behind the constants, and what refers to the old string is made to refer to the new one: relocations of data, and
//! instructions `lea` that compute an address relative to their own. Those are all kinds of references that a
//! position-independent program of x86-64 has; what is referred to in no such way, or only in part, is not touched, and the
//! program is no native then.

use crate::native::Unsuitable;

/// Makes a native answer to another architecture's name, which it holds once by itself; in messages it stands in parentheses.
///
/// # Errors
/// When it is not clear what to replace, or how.
pub fn rename(file: &mut [u8], old: &str, new: &str) -> Result<(), Unsuitable> {
    let named = format!("({old})");
    let is_name = |string: &[u8]| string == old.as_bytes();
    let is_message = |string: &[u8]| find(string, named.as_bytes()).is_some();
    let strings: Vec<(usize, Vec<u8>)> = strings_with(file, old.as_bytes())
        .filter(|(_, string)| is_name(string) || is_message(string))
        .map(|(at, string)| (at, string.to_vec()))
        .collect();
    if strings.iter().filter(|(_, string)| is_name(string)).count() != 1 {
        return Err(Unsuitable::Unnamed);
    }
    for (at, string) in strings {
        // In messages what stands before the parenthesis may hold the same letters.
        let place =
            if is_name(&string) { 0 } else { find(&string, named.as_bytes()).unwrap_or_default() + 1 };
        let rest = &string[place + old.len()..];
        if old.len() == new.len() {
            file[at + place..at + place + new.len()].copy_from_slice(new.as_bytes());
        } else {
            let renamed = [&string[..place], new.as_bytes(), rest, b"\0"].concat();
            move_string(file, at, string.len() - rest.len(), &renamed)?;
        }
    }
    Ok(())
}

/// Puts a string in place of the one at `at`, for all that refers to that. What refers to its end, behind the first `changed` bytes,
/// may go on doing so: the old one stays.
fn move_string(file: &mut [u8], at: usize, changed: usize, renamed: &[u8]) -> Result<(), Unsuitable> {
    let image = Image::of(file).ok_or(Unsuitable::NoElf)?;
    let old = image.address(at).ok_or(Unsuitable::Unnamed)?;
    let whole: Vec<_> = image.references(file, old, 1).ok_or(Unsuitable::Unnamed)?;
    let parts = image.references(file, old + 1, changed as u64 - 1).ok_or(Unsuitable::Unnamed)?;
    if whole.is_empty() || !parts.is_empty() {
        return Err(Unsuitable::Unnamed);
    }
    let new = image.append(file, at, renamed).ok_or(Unsuitable::Unnamed)?;
    for reference in whole {
        match reference {
            Reference::Relocation(place) => put(file, place, &new.to_le_bytes()),
            Reference::Instruction(place) => {
                let next = image.address(place).ok_or(Unsuitable::Unnamed)? + 4;
                let distance = i32::try_from(new as i64 - next as i64).map_err(|_| Unsuitable::Unnamed)?;
                put(file, place, &distance.to_le_bytes());
            }
        }
    }
    Ok(())
}

/// What refers to an address, by where in the file that stands.
enum Reference {
    /// The 8 bytes that a relocation puts somewhere, but for where the program is loaded.
    Relocation(usize),
    /// The last 4 bytes of an instruction: the distance from its end.
    Instruction(usize),
}

/// A part of the file that is loaded.
#[derive(Clone, Copy)]
struct Segment {
    header: usize,
    flags: u64,
    offset: u64,
    address: u64,
    /// In the file, and in memory.
    sizes: (u64, u64),
}

struct Image {
    segments: Vec<Segment>,
    /// Where the table of relocations is in the file, and how long it is.
    relocations: (usize, usize),
}

impl Image {
    /// None, if it is no dynamic program of x86-64, or has relocations of a kind that is not known here.
    fn of(file: &[u8]) -> Option<Self> {
        const X86_64: u64 = 62;
        const LOAD: u64 = 1;
        const DYNAMIC: u64 = 2;
        const RELA: u64 = 7;
        const RELA_SIZE: u64 = 8;
        const PACKED: u64 = 36;
        if !file.starts_with(b"\x7fELF\x02\x01") || number(file, 18, 2)? != X86_64 {
            return None;
        }
        let (table, size, count) = (number(file, 32, 8)?, number(file, 54, 2)?, number(file, 56, 2)?);
        let headers: Vec<usize> =
            (0..count).map(|index| usize::try_from(table + index * size).ok()).collect::<Option<_>>()?;
        let of_kind = |kind| headers.iter().filter(move |&&at| number(file, at, 4) == Some(kind));
        let segment = |&header: &usize| {
            let field = |at| number(file, header + at, 8);
            let sizes = (field(32)?, field(40)?);
            let flags = number(file, header + 4, 4)?;
            Some(Segment { header, flags, offset: field(8)?, address: field(16)?, sizes })
        };
        let segments = of_kind(LOAD).map(segment).collect::<Option<Vec<_>>>()?;
        let dynamic = segment(of_kind(DYNAMIC).next()?)?;
        let entry = |kind| {
            let mut pairs = (dynamic.offset..dynamic.offset + dynamic.sizes.0).step_by(16);
            let at =
                pairs.find(|&at| usize::try_from(at).is_ok_and(|at| number(file, at, 8) == Some(kind)))?;
            number(file, usize::try_from(at).ok()? + 8, 8)
        };
        if entry(PACKED).is_some() {
            return None;
        }
        let (start, length) = (entry(RELA)?, entry(RELA_SIZE)?);
        let mut image = Self { segments, relocations: (0, usize::try_from(length).ok()?) };
        image.relocations.0 = image.offset(start)?;
        Some(image)
    }

    /// Where a byte of the file is in memory.
    fn address(&self, offset: usize) -> Option<u64> {
        let offset = offset as u64;
        let inside =
            |segment: &&Segment| (segment.offset..segment.offset + segment.sizes.0).contains(&offset);
        self.segments.iter().find(inside).map(|segment| offset - segment.offset + segment.address)
    }

    /// Where a byte in memory is in the file.
    fn offset(&self, address: u64) -> Option<usize> {
        let inside =
            |segment: &&Segment| (segment.address..segment.address + segment.sizes.0).contains(&address);
        let segment = self.segments.iter().find(inside)?;
        usize::try_from(address - segment.address + segment.offset).ok()
    }

    /// What refers to one of so many addresses.
    fn references(&self, file: &[u8], address: u64, count: u64) -> Option<Vec<Reference>> {
        const EXECUTABLE: u64 = 1;
        let wanted = address..address + count;
        let mut all = Vec::new();
        let (start, length) = self.relocations;
        for at in (start..start + length).step_by(24) {
            if number(file, at + 8, 8)? & 0xffff_ffff == RELATIVE
                && wanted.contains(&number(file, at + 16, 8)?)
            {
                all.push(Reference::Relocation(at + 16));
            }
        }
        for segment in self.segments.iter().filter(|segment| segment.flags & EXECUTABLE != 0) {
            let start = usize::try_from(segment.offset).ok()?;
            let code = file.get(start..start + usize::try_from(segment.sizes.0).ok()?)?;
            for (at, bytes) in code.windows(7).enumerate().filter(|(_, bytes)| is_lea(bytes)) {
                let distance = i32::from_le_bytes(bytes[3..].try_into().ok()?);
                let target = (segment.address + at as u64 + 7).wrapping_add_signed(i64::from(distance));
                if wanted.contains(&target) {
                    all.push(Reference::Instruction(start + at + 3));
                }
            }
        }
        Some(all)
    }

    /// Puts bytes behind the constants that `near` is among, where the file has nothing but zeros up to the next page, and has
    /// them loaded. Returns their address.
    fn append(&self, file: &mut [u8], near: usize, bytes: &[u8]) -> Option<u64> {
        const PAGE: u64 = 4096;
        const READABLE: u64 = 4;
        let near = near as u64;
        let inside = |segment: &&Segment| (segment.offset..segment.offset + segment.sizes.0).contains(&near);
        // What was appended before counts: the sizes are those of the file as it is.
        let segment = self.segments.iter().find(inside).filter(|segment| segment.flags == READABLE)?;
        let length = bytes.len() as u64;
        let (end, address) = (segment.offset + segment.sizes.0, segment.address + segment.sizes.0);
        let room = end.next_multiple_of(PAGE) - end;
        // A zero stays between the two, so that the string before it ends where it ended.
        let place = usize::try_from(end + 1).ok()?;
        let free = file.get(place - 1..place + bytes.len())?;
        let is_free = length < room
            && segment.sizes.0 == segment.sizes.1
            && free.iter().all(|byte| *byte == 0)
            && self.segments.iter().all(|other| other.offset <= near || other.offset > end + length);
        if !is_free {
            return None;
        }
        put(file, place, bytes);
        let size = (segment.sizes.0 + 1 + length).to_le_bytes();
        put(file, segment.header + 32, &size);
        put(file, segment.header + 40, &size);
        Some(address + 1)
    }
}

/// The kind of relocation that adds where the program is loaded.
const RELATIVE: u64 = 8;

/// Whether it is `lea REGISTER, [rip + DISTANCE]`, of 64 bits.
fn is_lea(bytes: &[u8]) -> bool {
    matches!(bytes[0], 0x48 | 0x4c) && bytes[1] == 0x8d && bytes[2] & 0xc7 == 0x05
}

fn put(file: &mut [u8], at: usize, bytes: &[u8]) {
    file[at..at + bytes.len()].copy_from_slice(bytes);
}

fn number(file: &[u8], at: usize, size: usize) -> Option<u64> {
    let bytes = file.get(at..at.checked_add(size)?)?;
    Some(bytes.iter().rev().fold(0, |number, &byte| number << 8 | u64::from(byte)))
}

/// Where a string begins that has these letters in it, and the string.
fn strings_with<'a>(file: &'a [u8], wanted: &'a [u8]) -> impl Iterator<Item = (usize, &'a [u8])> {
    let mut at = 0;
    file.split(|byte| *byte == 0).filter_map(move |string| {
        let start = at;
        at += string.len() + 1;
        find(string, wanted).map(|_| (start, string))
    })
}

fn find(text: &[u8], wanted: &[u8]) -> Option<usize> {
    text.windows(wanted.len()).position(|part| part == wanted)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::PermissionsExt;
    use std::process::Command;

    #[test]
    fn a_name_of_the_same_length_is_written_over() {
        let renamed = |text: &str, new| {
            let mut file = text.as_bytes().to_vec();
            rename(&mut file, "amd64", new).map(|()| String::from_utf8_lossy(&file).into_owned())
        };
        assert_eq!(
            renamed("\0amd64\x001 (amd64)\0kamd64\0", "s390x").as_deref(),
            Ok("\0s390x\x001 (s390x)\0kamd64\0")
        );
        assert_eq!(renamed("\0amd64\0amd64\0", "s390x"), Err(Unsuitable::Unnamed));
        assert_eq!(renamed("\0kamd64\0", "s390x"), Err(Unsuitable::Unnamed));
        assert_eq!(renamed("\0amd64\0", "ppc64el"), Err(Unsuitable::NoElf));
    }

    /// The host's own dpkg, renamed, says of itself what one of another architecture says, and else what it said before.
    #[test]
    fn dpkg_answers_to_a_name_of_any_length() {
        let directory = tempfile::tempdir().expect("a directory");
        for program in ["dpkg", "dpkg-query", "dpkg-divert", "dpkg-trigger"] {
            let path = format!("/usr/bin/{program}");
            let Ok(bytes) = fs::read(&path) else {
                println!("not tried: this host has no {path}");
                return;
            };
            for name in ["arm64", "riscv64", "ppc64el", "mips64el", "loong64", "mipsel", "m68k"] {
                let mut file = bytes.clone();
                rename(&mut file, "amd64", name)
                    .unwrap_or_else(|error| panic!("{program} for {name}: {error}"));
                assert_eq!(file.len(), bytes.len());
                let renamed = directory.path().join(program);
                fs::write(&renamed, file).expect("a file");
                fs::set_permissions(&renamed, fs::Permissions::from_mode(0o755)).expect("its owner");
                let said = |program: &std::path::Path, option: &str| {
                    let ended =
                        Command::new(program).arg(option).env("LC_ALL", "C").output().expect("it runs");
                    String::from_utf8_lossy(&[ended.stdout, ended.stderr].concat()).into_owned()
                };
                let before = |option| said(path.as_ref(), option);
                for option in ["--version", "--help", "--nonsense"] {
                    let expected = before(option).replace("(amd64)", &format!("({name})"));
                    assert_eq!(said(&renamed, option), expected, "{program} {option}");
                }
                if program == "dpkg" {
                    assert_eq!(said(&renamed, "--print-architecture"), format!("{name}\n"));
                }
            }
        }
    }

    #[test]
    fn what_is_referred_to_in_part_is_left_alone() {
        // Two strings in one: somebody refers to the name at the end of a message.
        let Ok(bytes) = fs::read("/usr/bin/dpkg") else { return };
        let image = Image::of(&bytes).expect("a program");
        let (at, string) = strings_with(&bytes, b"(amd64)")
            .next()
            .map(|(at, string)| (at, string.to_vec()))
            .expect("a message");
        let old = image.address(at).expect("in memory");
        let mut file = bytes.clone();
        for reference in image.references(&bytes, old, 1).expect("references") {
            if let Reference::Instruction(place) = reference {
                let distance = i32::from_le_bytes(bytes[place..place + 4].try_into().expect("4 bytes"));
                put(&mut file, place, &(distance + 3).to_le_bytes());
            }
        }
        assert_eq!(rename(&mut file, "amd64", "riscv64"), Err(Unsuitable::Unnamed), "{string:?}");
    }
}
