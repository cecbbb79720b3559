//! What the farm of this project's plans is made of, as contents of a mirror.

use super::{Contents, Release};

/// What the plans of this project install, and where from: hosts, base systems, package sets.
pub const FARM: Contents<'static> = Contents {
    releases: &[
        Release {
            hosts: &[SERVER, PREPARED, ALONGSIDE, FIREWALLS],
            ..bookworm(&["amd64", "arm64", "s390x"])
        },
        bullseye(&["amd64", "arm64"]),
        trixie(&["amd64", "arm64", "armhf", "riscv64"]),
        forky(&["amd64"]),
    ],
};

/// The same for every architecture that Debian's mirrors have of it.
pub const EVERY: Contents<'static> = Contents {
    releases: &[
        bookworm_of_all(&[
            "amd64", "arm64", "armel", "armhf", "i386", "mips64el", "mipsel", "ppc64el", "s390x",
        ]),
        bullseye(&["amd64", "arm64", "armhf"]),
        trixie(&["amd64", "arm64", "armhf", "riscv64"]),
        forky(&["amd64"]),
    ],
};

const fn bookworm(architectures: &'static [&'static str]) -> Release<'static> {
    Release {
        code_name: "bookworm",
        packages: &[BASE, DHCLIENT, MERGED, COMFORT, AUTOTOOLS, YUM],
        architectures,
        hosts: &[SERVER, PREPARED, ALONGSIDE],
        // Emulators that can do what the systemd of trixie asks for.
        backports: &["qemu-user"],
    }
}

/// Without what some architectures lack of `YUM`.
const fn bookworm_of_all(architectures: &'static [&'static str]) -> Release<'static> {
    Release { packages: &[BASE, DHCLIENT, MERGED, COMFORT, AUTOTOOLS], ..bookworm(architectures) }
}

const fn bullseye(architectures: &'static [&'static str]) -> Release<'static> {
    Release {
        code_name: "bullseye",
        packages: &[BASE, DHCLIENT, &["sudo"]],
        architectures,
        hosts: &[],
        backports: &[],
    }
}

const fn trixie(architectures: &'static [&'static str]) -> Release<'static> {
    Release {
        code_name: "trixie",
        packages: &[BASE, DHCLIENT, COMFORT],
        architectures,
        hosts: &[SERVER, PREPARED],
        backports: &[],
    }
}

const fn forky(architectures: &'static [&'static str]) -> Release<'static> {
    Release {
        code_name: "forky",
        packages: &[BASE, &["dhcpcd-base", "sudo"]],
        architectures,
        hosts: &[],
        backports: &[],
    }
}

/// A base system, and what the template `debian` adds to it.
const BASE: &[&str] = &[
    "?essential",
    "?priority(required)",
    "apt",
    "init",
    "ifupdown",
    "locales",
    "ca-certificates",
    "dialog",
    "netbase",
    "net-tools",
    "iproute2",
    "openssh-server",
    "apt-transport-https",
    "debian-archive-keyring",
];

/// What asks for an address, up to trixie.
const DHCLIENT: &[&str] = &["isc-dhcp-client"];

/// What a system that is merged from the start has in place of `usrmerge`; apt alone would choose that.
const MERGED: &[&str] = &["usr-is-merged"];

/// The package set of that name.
const COMFORT: &[&str] = &["sudo", "bash", "vim", "mc", "p7zip", "p7zip-full", "pigz", "pbzip2", "git"];

/// What a system needs to install packages of RPM's by itself.
const YUM: &[&str] = &["dnf", "rpm"];

/// What the step `Build` is tested with.
const AUTOTOOLS: &[&str] = &["autoconf", "automake", "gcc", "libc6-dev", "make"];

/// What a host has beside a base system: all of debootstrap's default variant, and what is typed on it.
pub(crate) const SERVER: &[&str] =
    &["?priority(important)", "dbus", "libpam-systemd", "make", "sudo", "git", "gpg", "e2fsprogs"];

/// What a machine whose own `/` hosts are laid over may have of packages that come in one version with those of a server: apt
/// would have to remove it where these are upgraded.
const ALONGSIDE: &[&str] = &["libnss-systemd", "systemd-timesyncd"];

/// What may stand between a host and its containers.
const FIREWALLS: &[&str] = &["ufw", "firewalld", "docker.io"];

/// What a host becomes that is prepared for a farm, and what tests install on it.
const PREPARED: &[&str] = &[
    "lxc",
    "lxc-templates",
    "libvirt-daemon",
    "libvirt-daemon-driver-lxc",
    "libvirt-daemon-system",
    "libvirt-clients",
    "qemu-user-static",
    "binfmt-support",
    "debootstrap",
    "mmdebstrap",
    "dnsmasq-base",
    "iproute2",
    "iptables",
    "nftables",
    "arch-test",
    "rsync",
    "distro-info",
    "ethtool",
    "openssh-client",
    "openssl",
    "gpgv",
    "wget",
    // What the step `Storage` needs for Btrfs.
    "btrfs-progs",
    // What `lxc-create -t centos` needs.
    "dnf",
    "rpm",
    // What packages of RPM are made with, and laid out.
    "createrepo-c",
    // What the engine is measured against.
    "ninja-build",
    "ca-certificates",
    "debian-archive-keyring",
];
