//! What the host's own programs say in their first bytes.
//!
//! Only as much as it takes to tell a static program from one that needs a loader.

use anyhow::{Context, Result, ensure};
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;

/// The kind of program header that names a loader.
const PT_INTERP: u32 = 3;

/// Whether the program at `path`, one for the host's own processor, needs a loader.
pub(super) fn is_dynamic(path: &Path) -> Result<bool> {
    let open = || -> Result<Vec<u32>> { segments(&File::open(path)?) };
    Ok(open()
        .with_context(|| format!("cannot tell whether `{}` is static", path.display()))?
        .contains(&PT_INTERP))
}

/// The kinds of its program headers.
fn segments(file: &File) -> Result<Vec<u32>> {
    let mut header = [0; 64];
    file.read_exact_at(&mut header, 0)?;
    ensure!(header.starts_with(b"\x7fELF"), "it is no program");
    // Where the table's place, the size of an entry and their number stand in 64 bit and 32 bit files.
    let (place, size, count) = match header[4] {
        2 => (u64::from_ne_bytes(array(&header, 32)), array(&header, 54), array(&header, 56)),
        _ => (u32::from_ne_bytes(array(&header, 28)).into(), array(&header, 42), array(&header, 44)),
    };
    let (size, count) = (u64::from(u16::from_ne_bytes(size)), u64::from(u16::from_ne_bytes(count)));
    let kind = |index: u64| -> Result<u32> {
        let mut kind = [0; 4];
        file.read_exact_at(&mut kind, place + index * size)?;
        Ok(u32::from_ne_bytes(kind))
    };
    (0..count).map(kind).collect()
}

fn array<const N: usize>(bytes: &[u8; 64], at: usize) -> [u8; N] {
    bytes[at..at + N].try_into().expect("the header is longer than all that is asked of it")
}

#[cfg(test)]
mod tests {
    use super::is_dynamic;
    use std::path::Path;

    #[test]
    fn programs_with_a_loader_are_dynamic() -> anyhow::Result<()> {
        assert!(is_dynamic(Path::new("/bin/sh"))?);
        Ok(())
    }

    #[test]
    fn ldconfig_is_static() -> anyhow::Result<()> {
        assert!(!is_dynamic(Path::new("/sbin/ldconfig"))?);
        Ok(())
    }

    #[test]
    fn a_text_is_no_program() {
        let error = is_dynamic(Path::new("/proc/self/status")).expect_err("it is a text");
        assert!(format!("{error:#}").contains("it is no program"), "{error:#}");
    }
}
