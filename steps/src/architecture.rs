//! Processor architectures: one table of what each tool calls them.
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
    Loong64,
    Mips,
    Mips64el,
    Mipsel,
    Ppc64el,
    Riscv64,
    S390x,
}

/// A line of the table: what the tools call an architecture.
struct Names {
    arch: Architecture,
    /// Debian, also LXC's `lxc.arch`, the templates `debian` and `ubuntu`, and plans.
    debian: &'static str,
    /// libvirt, in `<type arch="...">`.
    libvirt: &'static str,
    /// qemu-user's program, `qemu-NAME-static`.
    qemu: &'static str,
    /// `uname -m` inside.
    uname: &'static str,
    /// RPM and yum, also the template `centos`.
    rpm: &'static str,
    /// The name in this program's own build.
    rust: &'static str,
    /// What else it is called, by kernels and tool chains.
    also: &'static [&'static str],
    /// Library directories beyond bin, sbin and lib that a merged-usr system links, as debootstrap's setup_merged_usr
    /// has them.
    multilib: &'static [&'static str],
}

#[rustfmt::skip]
static TABLE: [Names; 12] = {
    use Architecture::{Amd64, Arm64, Armel, Armhf, I386, Loong64, Mips, Mips64el, Mipsel, Ppc64el, Riscv64, S390x};
    [
        Names { arch: Amd64,    debian: "amd64",    libvirt: "x86_64",   qemu: "x86_64",   uname: "x86_64",  rpm: "x86_64",   rust: "x86_64",    also: &["x64"],                      multilib: &["lib32", "lib64", "libx32"] },
        Names { arch: Arm64,    debian: "arm64",    libvirt: "aarch64",  qemu: "aarch64",  uname: "aarch64", rpm: "aarch64",  rust: "aarch64",   also: &["armv8"],                    multilib: &[] },
        Names { arch: Armel,    debian: "armel",    libvirt: "armv6l",   qemu: "arm",      uname: "armv7l",  rpm: "armv5tel", rust: "arm",       also: &["armv5"],                    multilib: &[] },
        Names { arch: Armhf,    debian: "armhf",    libvirt: "armv7l",   qemu: "arm",      uname: "armv7l",  rpm: "armv7hl",  rust: "arm",       also: &["armv7"],                    multilib: &[] },
        Names { arch: I386,     debian: "i386",     libvirt: "i686",     qemu: "i386",     uname: "i686",    rpm: "i686",     rust: "x86",       also: &["i586", "i486"],             multilib: &["lib64", "libx32"] },
        Names { arch: Loong64,  debian: "loong64",  libvirt: "loongarch64", qemu: "loongarch64", uname: "loongarch64", rpm: "loongarch64", rust: "loongarch64", also: &["loongson"], multilib: &["lib32", "lib64"] },
        Names { arch: Mips,     debian: "mips",     libvirt: "mips",     qemu: "mips",     uname: "mips",    rpm: "mips",     rust: "mips",      also: &["mipseb"],                   multilib: &["lib32", "lib64"] },
        Names { arch: Mips64el, debian: "mips64el", libvirt: "mips64el", qemu: "mips64el", uname: "mips64",  rpm: "mips64el", rust: "mips64",    also: &[],                           multilib: &["lib32", "lib64", "libo32"] },
        Names { arch: Mipsel,   debian: "mipsel",   libvirt: "mipsel",   qemu: "mipsel",   uname: "mips",    rpm: "mipsel",   rust: "mips",      also: &[],                           multilib: &["lib32", "lib64"] },
        Names { arch: Ppc64el,  debian: "ppc64el",  libvirt: "ppc64le",  qemu: "ppc64le",  uname: "ppc64le", rpm: "ppc64le",  rust: "powerpc64", also: &["powerpc64le", "ppc64"],     multilib: &["lib64"] },
        Names { arch: Riscv64,  debian: "riscv64",  libvirt: "riscv64",  qemu: "riscv64",  uname: "riscv64", rpm: "riscv64",  rust: "riscv64",   also: &["riscv", "rv64"],            multilib: &[] },
        Names { arch: S390x,    debian: "s390x",    libvirt: "s390x",    qemu: "s390x",    uname: "s390x",   rpm: "s390x",    rust: "s390x",     also: &["s390", "zarch"],            multilib: &["lib32"] },
    ]
};

impl Architecture {
    /// All of them.
    pub fn all() -> impl Iterator<Item = Self> {
        TABLE.iter().map(|names| names.arch)
    }

    /// What a tool means by `name`, whichever tool it is. A name that stands for two is taken for the more recent one.
    pub fn called(name: &str) -> Option<Self> {
        let is_called = |names: &&Names| {
            let Names { debian, libvirt, qemu, rpm, .. } = names;
            [debian, libvirt, qemu, rpm].contains(&&name) || names.also.contains(&name)
        };
        // `arm` is what qemu calls both: armhf comes later.
        let of_tools = TABLE.iter().rev().find(is_called);
        of_tools.or_else(|| TABLE.iter().find(|names| names.uname == name)).map(|names| names.arch)
    }

    fn names(self) -> &'static Names {
        &TABLE[self as usize]
    }

    /// The architecture of this very program.
    pub fn host() -> Self {
        let ours = |names: &&Names| names.rust == std::env::consts::ARCH;
        TABLE.iter().find(ours).expect("Drover is built only for architectures of this table").arch
    }

    /// Debian's name, also LXC's and the plan's: `arm64`.
    pub fn debian(self) -> &'static str {
        self.names().debian
    }

    /// libvirt's name: `armv7l`.
    pub fn libvirt(self) -> &'static str {
        self.names().libvirt
    }

    /// qemu-user's name, as in `qemu-aarch64-static`.
    pub fn qemu(self) -> &'static str {
        self.names().qemu
    }

    /// What `uname -m` says inside: `aarch64`.
    pub fn uname(self) -> &'static str {
        self.names().uname
    }

    /// RPM's name: `armv7hl`.
    pub fn rpm(self) -> &'static str {
        self.names().rpm
    }

    /// Library directories beyond `bin`, `sbin` and `lib` that a merged-usr system of this architecture links.
    pub fn multilib(self) -> &'static [&'static str] {
        self.names().multilib
    }

    /// GNU's name for it, as in the directories of libraries.
    pub fn triplet(self) -> &'static str {
        match self {
            Self::Amd64 => "x86_64-linux-gnu",
            Self::Arm64 => "aarch64-linux-gnu",
            Self::Armel => "arm-linux-gnueabi",
            Self::Armhf => "arm-linux-gnueabihf",
            Self::I386 => "i386-linux-gnu",
            Self::Loong64 => "loongarch64-linux-gnu",
            Self::Mips => "mips-linux-gnu",
            Self::Mips64el => "mips64el-linux-gnuabi64",
            Self::Mipsel => "mipsel-linux-gnu",
            Self::Ppc64el => "powerpc64le-linux-gnu",
            Self::Riscv64 => "riscv64-linux-gnu",
            Self::S390x => "s390x-linux-gnu",
        }
    }

    /// Whether its numbers begin with the highest byte; hosts of assist have the other order.
    pub fn is_big_endian(self) -> bool {
        matches!(self, Self::Mips | Self::S390x)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_in_the_order_of_the_names() {
        for (arch, names) in Architecture::all().zip(&TABLE) {
            assert_eq!(arch.debian(), names.debian);
            assert_eq!(Architecture::called(names.debian), Some(arch));
            assert_eq!(Architecture::called(names.libvirt), Some(arch));
        }
    }

    #[test]
    fn the_names_of_every_tool_are_understood() {
        for (name, arch) in [
            ("x86_64", Architecture::Amd64),
            ("aarch64", Architecture::Arm64),
            ("arm", Architecture::Armhf),
            ("armv7l", Architecture::Armhf),
            ("armv7hl", Architecture::Armhf),
            ("i686", Architecture::I386),
            ("ppc64le", Architecture::Ppc64el),
            ("mips64", Architecture::Mips64el),
        ] {
            assert_eq!(Architecture::called(name), Some(arch), "{name}");
        }
        assert_eq!(Architecture::called("z80"), None);
    }
}
