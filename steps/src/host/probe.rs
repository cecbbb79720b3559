//! Programs that prove that programs of an architecture run here: arch-test's, or one of our own where that has none.
//!
//! It does not know how they are run.

use crate::architecture::Architecture;
use anyhow::{Context, Result};
use drover_engine::{Cmd, Cx};
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use tempfile::TempPath;

/// Where arch-test keeps its programs: since 0.22, and before.
const PLACES: [&str; 2] = ["/usr/libexec/arch-test", "/usr/lib/arch-test"];

/// A program of an architecture: it says "ok".
pub(super) enum Probe {
    /// arch-test's.
    Installed(PathBuf),
    /// Our own, for as long as this lives.
    Own(TempPath),
}

impl Probe {
    /// The one of an architecture; `None` if there is none.
    ///
    /// # Errors
    /// When our own cannot be written.
    pub(super) fn of(arch: Architecture) -> Result<Option<Self>> {
        if let Some(found) = installed(Path::new("/"), arch) {
            return Ok(Some(Self::Installed(found)));
        }
        match arch {
            Architecture::Loong64 => own(&loong64()).map(|path| Some(Self::Own(path))),
            _ => Ok(None),
        }
    }

    fn path(&self) -> &Path {
        match self {
            Self::Installed(path) => path,
            Self::Own(path) => path,
        }
    }

    /// Runs it as it is; `Err` with what went wrong if it does not say "ok".
    ///
    /// # Errors
    /// When a program cannot be started at all: of a processor that the kernel does not know, that is the answer.
    pub(super) fn run(&self, cx: &Cx) -> Result<()> {
        let output = cx.probe(&Cmd::new(self.path()))?;
        let said = output.stdout.trim();
        if output.status.success() && said == "ok" {
            return Ok(());
        }
        let said = if said.is_empty() { output.stderr.trim() } else { said };
        anyhow::bail!("`{}` ended with {} and said `{said}`", self.path().display(), output.status)
    }

    /// What the emulator that the kernel has for it says of itself: `qemu-aarch64 version 7.2.22 (Debian ...)`. It is the
    /// registered one, be its file deleted or another by now, since the kernel itself starts it.
    ///
    /// # Errors
    /// When it cannot be started.
    pub(super) fn emulator(&self, cx: &Cx) -> Result<String> {
        let output = cx.probe(&Cmd::new(self.path()).env("QEMU_VERSION", "1"))?;
        Ok(output.stdout.lines().next().unwrap_or_default().to_owned())
    }
}

fn installed(root: &Path, arch: Architecture) -> Option<PathBuf> {
    let places = PLACES.iter().map(|place| root.join(&place[1..]).join(arch.debian()));
    places.into_iter().find(|file| file.exists())
}

/// Our own, in a file.
fn own(program: &[u8]) -> Result<TempPath> {
    let make = || -> Result<TempPath> {
        let mut file = tempfile::Builder::new().prefix("drover-probe-").tempfile()?;
        file.write_all(program)?;
        file.as_file().set_permissions(std::fs::Permissions::from_mode(0o700))?;
        // Closed: what is open for writing cannot be executed.
        Ok(file.into_temp_path())
    };
    make().context("cannot write a program for a test")
}

/// A static program for loong64, the whole of it: `write(1, "ok\n", 3)`, `exit(0)`. arch-test has one since 0.22.
fn loong64() -> Vec<u8> {
    const BASE: u64 = 0x1_2000_0000;
    const HEADERS: u64 = 64 + 56;
    // Registers: a0 = 4, a1 = 5, a2 = 6, a7 = 11, zero = 0.
    const CODE: [u32; 8] = [
        0x0380_0404, // ori    a0, zero, 1     standard output
        0x1800_00e5, // pcaddi a1, 7           the text, 7 words after this one
        0x0380_0c06, // ori    a2, zero, 3     its length
        0x0381_000b, // ori    a7, zero, 64    write
        0x002b_0000, // syscall 0
        0x0380_0004, // ori    a0, zero, 0
        0x0381_740b, // ori    a7, zero, 93    exit
        0x002b_0000, // syscall 0
    ];
    let code: Vec<u8> = CODE.iter().flat_map(|word| word.to_le_bytes()).chain(*b"ok\n\0").collect();
    let size = HEADERS + code.len() as u64;
    let mut file = b"\x7fELF\x02\x01\x01".to_vec(); // 64 bits, low byte first, version 1
    file.resize(16, 0); // the system's own ABI, and what is unused
    file.extend(2_u16.to_le_bytes()); // a program with a fixed place
    file.extend(258_u16.to_le_bytes()); // LoongArch
    file.extend(1_u32.to_le_bytes()); // version 1
    file.extend((BASE + HEADERS).to_le_bytes()); // where it begins
    file.extend(64_u64.to_le_bytes()); // the program header follows
    file.extend(0_u64.to_le_bytes()); // no section headers
    file.extend(0x43_u32.to_le_bytes()); // object file ABI 1, floating point in double registers
    // This header's size; size and number of program headers, then of section headers, and which of them has names.
    file.extend([64_u16, 56, 1, 0, 0, 0].iter().flat_map(|half| half.to_le_bytes()));
    file.extend(1_u32.to_le_bytes()); // to be loaded
    file.extend(5_u32.to_le_bytes()); // to be read and executed
    // From the file's first byte, to that address (twice), that many bytes (in the file, in memory), aligned to 64 KiB.
    file.extend([0, BASE, BASE, size, size, 0x1_0000].iter().flat_map(|word: &u64| word.to_le_bytes()));
    file.extend(code);
    file
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_of_either_version_of_arch_test_are_found() -> Result<()> {
        let root = tempfile::tempdir()?;
        let make = |directory: &str| -> Result<PathBuf> {
            let place = root.path().join(directory);
            std::fs::create_dir_all(&place)?;
            std::fs::write(place.join("arm64"), "")?;
            Ok(place.join("arm64"))
        };
        assert_eq!(installed(root.path(), Architecture::Arm64), None);
        let old = make("usr/lib/arch-test")?;
        assert_eq!(installed(root.path(), Architecture::Arm64), Some(old));
        let new = make("usr/libexec/arch-test")?;
        assert_eq!(installed(root.path(), Architecture::Arm64), Some(new));
        Ok(())
    }

    #[test]
    fn our_own_program_is_whole() {
        let program = loong64();
        assert_eq!(program.len(), 64 + 56 + 9 * 4);
        assert!(program.ends_with(b"ok\n\0"));
    }
}
