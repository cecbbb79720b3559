//! Processor architectures: one list, and what each tool calls them.
//!
//! It does not know which of them this host can run: see the step `Binfmt`.

use serde::{Deserialize, Serialize};
use std::fmt;

/// A processor architecture, by Debian's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[expect(missing_docs, reason = "the names are Debian's own")]
pub enum Architecture {
    Amd64,
    Arm64,
    Armel,
    Armhf,
    I386,
    Mips,
    Mips64el,
    Mipsel,
    Ppc64el,
    Riscv64,
    S390x,
}

/// What the tools call an architecture.
struct Names {
    debian: &'static str,
    /// `uname -m` inside.
    uname: &'static str,
    /// qemu-user's program, `qemu-NAME-static`.
    qemu: &'static str,
    /// The dynamic loader's directory that merged-usr systems link: `lib64` and the like, beyond bin, sbin and lib.
    multilib: &'static [&'static str],
}

impl Architecture {
    /// All of them.
    pub const ALL: [Self; 11] = [
        Self::Amd64,
        Self::Arm64,
        Self::Armel,
        Self::Armhf,
        Self::I386,
        Self::Mips,
        Self::Mips64el,
        Self::Mipsel,
        Self::Ppc64el,
        Self::Riscv64,
        Self::S390x,
    ];

    const fn names(self) -> Names {
        // `multilib` as debootstrap's setup_merged_usr has it.
        let (debian, uname, qemu, multilib): (_, _, _, &[&str]) = match self {
            Self::Amd64 => ("amd64", "x86_64", "x86_64", &["lib32", "lib64", "libx32"]),
            Self::Arm64 => ("arm64", "aarch64", "aarch64", &[]),
            Self::Armel => ("armel", "armv7l", "arm", &[]),
            Self::Armhf => ("armhf", "armv7l", "arm", &[]),
            Self::I386 => ("i386", "i686", "i386", &["lib64", "libx32"]),
            Self::Mips => ("mips", "mips", "mips", &["lib32", "lib64"]),
            Self::Mips64el => ("mips64el", "mips64", "mips64el", &["lib32", "lib64", "libo32"]),
            Self::Mipsel => ("mipsel", "mips", "mipsel", &["lib32", "lib64"]),
            Self::Ppc64el => ("ppc64el", "ppc64le", "ppc64le", &["lib64"]),
            Self::Riscv64 => ("riscv64", "riscv64", "riscv64", &[]),
            Self::S390x => ("s390x", "s390x", "s390x", &["lib32"]),
        };
        Names { debian, uname, qemu, multilib }
    }

    /// The architecture of this very program.
    pub fn host() -> Self {
        Self::ALL
            .into_iter()
            .find(|arch| arch.rust() == std::env::consts::ARCH)
            .expect("Drover is built only for architectures of this list")
    }

    /// Debian's name, also LXC's and the plan's: `arm64`.
    pub fn debian(self) -> &'static str {
        self.names().debian
    }

    /// What `uname -m` says inside: `aarch64`.
    pub fn uname(self) -> &'static str {
        self.names().uname
    }

    /// qemu-user's name, as in `qemu-aarch64-static`.
    pub fn qemu(self) -> &'static str {
        self.names().qemu
    }

    /// Library directories beyond `bin`, `sbin` and `lib` that a merged-usr system of this architecture links.
    pub fn multilib(self) -> &'static [&'static str] {
        self.names().multilib
    }

    fn rust(self) -> &'static str {
        match self {
            Self::I386 => "x86",
            Self::Armel | Self::Armhf => "arm",
            Self::Mips64el => "mips64",
            Self::Mipsel => "mips",
            Self::Ppc64el => "powerpc64",
            other => other.uname(),
        }
    }

    /// Whether a processor of `host` runs this without an emulator.
    pub fn runs_on(self, host: Self) -> bool {
        self == host || matches!((self, host), (Self::I386, Self::Amd64))
    }
}

impl fmt::Display for Architecture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.debian())
    }
}
