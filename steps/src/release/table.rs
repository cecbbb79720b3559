//! The table of releases itself. It holds no code.

use super::{Distribution, Keyring, Mirrors, Quirks, Release, State};
use crate::architecture::Architecture;

/// Debian's own addresses, and the document's for the archive.
static DEBIAN: Mirrors = Mirrors {
    main: "http://deb.debian.org/debian",
    ports: None,
    archive: Some("http://archive.debian.org/debian-archive/debian"),
    security: Some("http://security.debian.org/debian-security"),
    archived_security: Some("http://archive.debian.org/debian-archive/debian-security"),
    on_all: DEBIAN_12,
};

/// As the template `lxc-ubuntu` has them.
static UBUNTU: Mirrors = Mirrors {
    main: "http://archive.ubuntu.com/ubuntu",
    ports: Some("http://ports.ubuntu.com/ubuntu-ports"),
    archive: Some("http://old-releases.ubuntu.com/ubuntu"),
    security: Some("http://security.ubuntu.com/ubuntu"),
    archived_security: Some("http://old-releases.ubuntu.com/ubuntu"),
    on_all: &[Architecture::Amd64, Architecture::I386],
};

static CENTOS: Mirrors = Mirrors {
    main: "http://mirror.centos.org/centos",
    ports: Some("http://mirror.centos.org/altarch"),
    archive: Some("http://vault.centos.org/centos"),
    security: None,
    archived_security: None,
    on_all: &[Architecture::Amd64],
};

/// Where a template of LXC knows by itself.
static ELSEWHERE: Mirrors =
    Mirrors { main: "", ports: None, archive: None, security: None, archived_security: None, on_all: &[] };

static DEBIAN_KEYS: Keyring =
    Keyring { path: "/usr/share/keyrings/debian-archive-keyring.gpg", package: "debian-archive-keyring" };
static DEBIAN_REMOVED_KEYS: Keyring = Keyring {
    path: "/usr/share/keyrings/debian-archive-removed-keys.gpg",
    package: "debian-archive-keyring",
};
static UBUNTU_KEYS: Keyring =
    Keyring { path: "/usr/share/keyrings/ubuntu-archive-keyring.gpg", package: "ubuntu-keyring" };

const DEBIAN_8: &[Architecture] = {
    use Architecture::{Amd64, Arm64, Armel, Armhf, I386, Mips, Mipsel, Ppc64el, S390x};
    &[Amd64, Arm64, Armel, Armhf, I386, Mips, Mipsel, Ppc64el, S390x]
};
const DEBIAN_9: &[Architecture] = {
    use Architecture::{Amd64, Arm64, Armel, Armhf, I386, Mips, Mips64el, Mipsel, Ppc64el, S390x};
    &[Amd64, Arm64, Armel, Armhf, I386, Mips, Mips64el, Mipsel, Ppc64el, S390x]
};
const DEBIAN_12: &[Architecture] = {
    use Architecture::{Amd64, Arm64, Armel, Armhf, I386, Mips64el, Mipsel, Ppc64el, S390x};
    &[Amd64, Arm64, Armel, Armhf, I386, Mips64el, Mipsel, Ppc64el, S390x]
};
const DEBIAN_13: &[Architecture] = {
    use Architecture::{Amd64, Arm64, Armel, Armhf, I386, Ppc64el, Riscv64, S390x};
    &[Amd64, Arm64, Armel, Armhf, I386, Ppc64el, Riscv64, S390x]
};
const DEBIAN_14: &[Architecture] = {
    use Architecture::{Amd64, Arm64, Armhf, I386, Loong64, Ppc64el, Riscv64, S390x};
    &[Amd64, Arm64, Armhf, I386, Loong64, Ppc64el, Riscv64, S390x]
};
const UBUNTU_18: &[Architecture] = {
    use Architecture::{Amd64, Arm64, Armhf, I386, Ppc64el, S390x};
    &[Amd64, Arm64, Armhf, I386, Ppc64el, S390x]
};
const UBUNTU_20: &[Architecture] = {
    use Architecture::{Amd64, Arm64, Armhf, Ppc64el, Riscv64, S390x};
    &[Amd64, Arm64, Armhf, Ppc64el, Riscv64, S390x]
};
const CENTOS_7: &[Architecture] = {
    use Architecture::{Amd64, Arm64, Armhf, I386, Ppc64el};
    &[Amd64, Arm64, Armhf, I386, Ppc64el]
};
const ANY: &[Architecture] = {
    use Architecture::{
        Amd64, Arm64, Armel, Armhf, I386, Loong64, Mips, Mips64el, Mipsel, Ppc64el, Riscv64, S390x,
    };
    &[Amd64, Arm64, Armel, Armhf, I386, Loong64, Mips, Mips64el, Mipsel, Ppc64el, Riscv64, S390x]
};

/// Before systems were merged.
const SPLIT: Quirks = Quirks {
    merged_usr: false,
    also_required: &[],
    never_required: &[],
    dhcp_client: "isc-dhcp-client",
    spawns_by_pidfd: false,
    cgroup_v1_only: false,
    cgroup_v2_only: false,
    tmp_in_memory: false,
};
static SPLIT_CGROUP_1: Quirks = Quirks { cgroup_v1_only: true, ..SPLIT };
const MERGED: Quirks = Quirks { merged_usr: true, ..SPLIT };
static MERGED_CGROUP_1: Quirks = Quirks { cgroup_v1_only: true, ..MERGED };
/// A package says that it is merged.
static SAYS_MERGED: Quirks =
    Quirks { also_required: &["usr-is-merged"], never_required: &["usrmerge"], ..MERGED };
/// systemd 253 and later are reported not to boot as PID 1 under qemu-user (systemd issue 28901).
const DEBIAN_13_QUIRKS: Quirks =
    Quirks { never_required: &["usrmerge"], spawns_by_pidfd: true, tmp_in_memory: true, ..MERGED };
/// Without the ISC's DHCP client; from 258 on, systemd ends at once where it sees version 1 of cgroups.
static DEBIAN_14_QUIRKS: Quirks =
    Quirks { dhcp_client: "dhcpcd-base", cgroup_v2_only: true, ..DEBIAN_13_QUIRKS };

/// All releases that Drover knows.
#[rustfmt::skip]
pub static RELEASES: &[Release] = &[
    Release { distribution: Distribution::Debian, code_name: "jessie",   version: "8",  state: State::Archived, mirrors: &DEBIAN, keys: Some(&DEBIAN_REMOVED_KEYS), security: Some("jessie/updates"),    architectures: DEBIAN_8,  quirks: &SPLIT_CGROUP_1 },
    Release { distribution: Distribution::Debian, code_name: "stretch",  version: "9",  state: State::Archived, mirrors: &DEBIAN, keys: Some(&DEBIAN_REMOVED_KEYS), security: Some("stretch/updates"),   architectures: DEBIAN_9,  quirks: &MERGED },
    Release { distribution: Distribution::Debian, code_name: "buster",   version: "10", state: State::Archived, mirrors: &DEBIAN, keys: Some(&DEBIAN_REMOVED_KEYS), security: Some("buster/updates"),    architectures: DEBIAN_9,  quirks: &MERGED },
    Release { distribution: Distribution::Debian, code_name: "bullseye", version: "11", state: State::Current,  mirrors: &DEBIAN, keys: Some(&DEBIAN_KEYS),         security: Some("bullseye-security"), architectures: DEBIAN_12, quirks: &MERGED },
    Release { distribution: Distribution::Debian, code_name: "bookworm", version: "12", state: State::Current,  mirrors: &DEBIAN, keys: Some(&DEBIAN_KEYS),         security: Some("bookworm-security"), architectures: DEBIAN_12, quirks: &SAYS_MERGED },
    Release { distribution: Distribution::Debian, code_name: "trixie",   version: "13", state: State::Current,  mirrors: &DEBIAN, keys: Some(&DEBIAN_KEYS),         security: Some("trixie-security"),   architectures: DEBIAN_13, quirks: &DEBIAN_13_QUIRKS },
    Release { distribution: Distribution::Debian, code_name: "forky",    version: "14", state: State::Current,  mirrors: &DEBIAN, keys: Some(&DEBIAN_KEYS),         security: Some("forky-security"),    architectures: DEBIAN_14, quirks: &DEBIAN_14_QUIRKS },
    Release { distribution: Distribution::Ubuntu, code_name: "xenial",   version: "16.04", state: State::Current, mirrors: &UBUNTU, keys: Some(&UBUNTU_KEYS), security: Some("xenial-security"), architectures: UBUNTU_18, quirks: &SPLIT },
    Release { distribution: Distribution::Ubuntu, code_name: "bionic",   version: "18.04", state: State::Current, mirrors: &UBUNTU, keys: Some(&UBUNTU_KEYS), security: Some("bionic-security"), architectures: UBUNTU_18, quirks: &SPLIT },
    Release { distribution: Distribution::Ubuntu, code_name: "focal",    version: "20.04", state: State::Current, mirrors: &UBUNTU, keys: Some(&UBUNTU_KEYS), security: Some("focal-security"),  architectures: UBUNTU_20, quirks: &MERGED },
    Release { distribution: Distribution::Ubuntu, code_name: "jammy",    version: "22.04", state: State::Current, mirrors: &UBUNTU, keys: Some(&UBUNTU_KEYS), security: Some("jammy-security"),  architectures: UBUNTU_20, quirks: &MERGED },
    Release { distribution: Distribution::CentOS, code_name: "7", version: "7", state: State::Archived, mirrors: &CENTOS, keys: None, security: None, architectures: CENTOS_7, quirks: &MERGED_CGROUP_1 },
    Release { distribution: Distribution::Other, code_name: "any", version: "any", state: State::Current, mirrors: &ELSEWHERE, keys: None, security: None, architectures: ANY, quirks: &MERGED },
];
