//! The sets of packages that `GuestPackages` knows by name, with each distribution's names for what is in them.
//!
//! `comfort` is the document's own; `nut-build` and `nut-docs` are those of the page that the document refers to for them,
//! `docs/config-prereqs.txt` of NUT. `?` marks what some releases or architectures lack. What a newer release of
//! Debian calls otherwise stands in [`RENAMED`]. It does not install anything.

use crate::release::{Distribution, Release};

/// A set of packages.
struct Set {
    name: &'static str,
    /// Debian's names, and Ubuntu's.
    apt: &'static [&'static str],
    /// CentOS's names.
    yum: &'static [&'static str],
}

static SETS: [Set; 3] = [
    Set {
        name: "comfort",
        apt: &["sudo", "bash", "vim", "mc", "p7zip", "p7zip-full", "pigz", "pbzip2", "git"],
        yum: &[
            "sudo",
            "bash",
            "vim-enhanced",
            "mc",
            "?p7zip",
            "?p7zip-plugins",
            "?pigz",
            "?pbzip2",
            "tar",
            "git",
        ],
    },
    Set {
        name: "nut-build",
        #[rustfmt::skip]
        apt: &[
            "ccache", "time", "git", "?python", "python3", "perl", "curl", "make", "autoconf", "automake", "libltdl-dev", "libtool",
            "?libtool-bin", "?valgrind", "?cppcheck", "pkg-config", "gcc", "g++", "?clang",
            "?libcppunit-dev", "libssl-dev", "libnss3-dev", "augeas-tools", "libaugeas-dev", "?augeas-lenses",
            "libusb-dev", "libusb-1.0-0-dev", "?libi2c-dev", "libmodbus-dev", "libsnmp-dev", "?libpowerman0-dev",
            "?libfreeipmi-dev", "?libipmimonitoring-dev", "libavahi-common-dev", "libavahi-core-dev",
            "libavahi-client-dev", "libneon27-gnutls-dev", "?libgpiod-dev", "?libsystemd-dev", "libgd-dev",
            "?lua5.1-dev", "bash", "dash", "?ksh", "busybox",
        ],
        #[rustfmt::skip]
        yum: &[
            "?ccache", "time", "file", "git", "python", "perl", "curl", "make", "autoconf", "automake", "libtool-ltdl-devel",
            "libtool", "?valgrind", "?cppcheck", "pkgconfig", "gcc", "gcc-c++", "?clang", "?cppunit-devel",
            "openssl-devel", "nss-devel", "augeas", "augeas-devel", "libusb-devel", "libusbx-devel", "?i2c-tools",
            "?libmodbus-devel", "net-snmp-devel", "?powerman-devel", "?freeipmi-devel", "avahi-devel", "?neon-devel",
            "?systemd-devel", "gd-devel", "?lua-devel", "bash", "?dash", "?ksh",
        ],
    },
    Set {
        name: "nut-docs",
        apt: &["asciidoc", "source-highlight", "?python3-pygments", "dblatex", "aspell", "aspell-en"],
        yum: &["asciidoc", "?source-highlight", "?python-pygments", "?dblatex", "aspell", "?aspell-en"],
    },
];

/// What Debian calls otherwise from a version on: the older name, the newer one, that version.
const RENAMED: [(&str, &str, u32); 4] = [
    ("p7zip", "7zip", 13),
    ("p7zip-full", "7zip", 13),
    ("lua5.1-dev", "liblua5.1-0-dev", 13),
    ("ksh", "ksh93u+m", 14),
];

/// The names of all sets.
pub(super) fn names() -> impl Iterator<Item = &'static str> {
    SETS.iter().map(|set| set.name)
}

/// The packages that `name` stands for in a release: those of a set, or itself.
pub fn unfold(name: &str, release: &Release) -> Vec<String> {
    let names = SETS.iter().find(|set| set.name == name).map(|set| match release.distribution {
        Distribution::CentOS => set.yum,
        _ => set.apt,
    });
    let Some(names) = names else { return vec![name.to_owned()] };
    names.iter().map(|name| called(name, release)).collect()
}

/// What a release calls a package of a set, which may be optional.
fn called(name: &str, release: &Release) -> String {
    let (mark, plain) = name.strip_prefix('?').map_or(("", name), |plain| ("?", plain));
    let version = release.version.parse().unwrap_or(0);
    let renamed = RENAMED.iter().find(|(older, _, since)| *older == plain && version >= *since);
    match renamed.filter(|_| release.distribution == Distribution::Debian) {
        Some((_, newer, _)) => format!("{mark}{newer}"),
        None => name.to_owned(),
    }
}
