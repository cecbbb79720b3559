//! Distributions and their releases: one table, looked up by everybody.
//!
//! It does not look at this host, nor at any mirror: what a mirror holds today is for `bootstrap/hosting`.

mod table;

pub use table::RELEASES;

use crate::architecture::Architecture;
use serde::{Deserialize, Serialize};
use std::fmt;

/// A distribution.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Distribution {
    /// Debian GNU/Linux.
    Debian,
    /// Ubuntu.
    Ubuntu,
    /// CentOS Linux.
    CentOS,
    /// Whatever a template of LXC makes that is none of these.
    Other,
}

impl fmt::Display for Distribution {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Debian => "debian",
            Self::Ubuntu => "ubuntu",
            Self::CentOS => "centos",
            Self::Other => "other",
        })
    }
}

/// What has become of a release.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum State {
    /// Served by the distribution's mirrors.
    Current,
    /// Served by the distribution's archive alone. What was signed in its time is proved by the keys of its time: a
    /// Release file past its Valid-Until and a signature by a key that has expired since are good, any other is not.
    Archived,
}

/// Where a distribution's packages come from when neither the plan nor the host's own apt names a mirror.
#[derive(Debug, PartialEq, Eq)]
pub struct Mirrors {
    /// The mirrors' common address.
    pub main: &'static str,
    /// Where architectures that are not on all mirrors are.
    pub ports: Option<&'static str>,
    /// Where releases are kept that the mirrors no longer have.
    pub archive: Option<&'static str>,
    /// The security updates of current releases.
    pub security: Option<&'static str>,
    /// The security updates of archived ones.
    pub archived_security: Option<&'static str>,
    /// The architectures that are on all mirrors; the others are at `ports`, if the distribution has that.
    pub on_all: &'static [Architecture],
}

/// The keys that an archive is signed with.
#[derive(Debug, PartialEq, Eq)]
pub struct Keyring {
    /// The file on the host.
    pub path: &'static str,
    /// The package of the host that holds it.
    pub package: &'static str,
}

/// What has to be known of a release beyond its name.
#[derive(Debug, PartialEq, Eq)]
pub struct Quirks {
    /// Whether `/bin` and the like are links into `/usr` from the start.
    pub merged_usr: bool,
    /// What counts among its required packages beyond their priority, as debootstrap has it.
    pub also_required: &'static [&'static str],
    /// What is never taken as a dependency, as debootstrap has it: the conversion of a system that is not merged.
    pub never_required: &'static [&'static str],
    /// What asks for the container's address by DHCP, as `ifupdown` of that release likes it best.
    pub dhcp_client: &'static str,
    /// Whether its systemd is 255 or later, which starts everything by `pidfd_spawn`: not every emulator can do that.
    pub spawns_by_pidfd: bool,
    /// Whether its systemd knows version 1 of cgroups alone.
    pub cgroup_v1_only: bool,
    /// Whether its systemd refuses to run where version 1 of cgroups is in sight.
    pub cgroup_v2_only: bool,
    /// Whether its `/tmp` is in memory.
    pub tmp_in_memory: bool,
}

/// A release of a distribution.
#[derive(Debug, PartialEq, Eq)]
pub struct Release {
    /// Whose.
    pub distribution: Distribution,
    /// Its code name: `bookworm`.
    pub code_name: &'static str,
    /// Its version: `12`.
    pub version: &'static str,
    /// What has become of it.
    pub state: State,
    /// Where its packages come from.
    pub mirrors: &'static Mirrors,
    /// The keys that its archive is signed with; none for what a template fetches without checking signatures.
    pub keys: Option<&'static Keyring>,
    /// The suite that holds its security updates.
    pub security: Option<&'static str>,
    /// The architectures that it was released for.
    pub architectures: &'static [Architecture],
    /// What else has to be known of it.
    pub quirks: &'static Quirks,
}

impl Release {
    /// The keys that its archive is signed with, on the host; the path is empty where there are none.
    pub fn keyring(&self) -> &'static str {
        self.keys.map_or("", |keys| keys.path)
    }

    /// Whether what has expired since its time counts.
    pub fn is_archived(&self) -> bool {
        self.state == State::Archived
    }

    /// Where its packages for `arch` are, if nobody names another place.
    pub fn official_mirror(&self, arch: Architecture) -> Option<&'static str> {
        match self.state {
            State::Archived => self.mirrors.archive,
            State::Current if self.mirrors.on_all.contains(&arch) => Some(self.mirrors.main),
            State::Current => self.mirrors.ports.or(Some(self.mirrors.main)),
        }
        .filter(|uri| !uri.is_empty())
    }

    /// Where its security updates for `arch` are, if nobody names another place.
    pub fn official_security(&self, arch: Architecture) -> Option<&'static str> {
        match self.state {
            State::Archived => self.mirrors.archived_security,
            State::Current if self.mirrors.on_all.contains(&arch) => self.mirrors.security,
            State::Current => self.mirrors.ports.or(self.mirrors.security),
        }
    }

    /// What the template that `lxc-create` has for its distribution is called; `None` if the plan has to say.
    pub fn template(&self) -> Option<String> {
        (self.distribution != Distribution::Other).then(|| self.distribution.to_string())
    }

    /// Whether its base systems are made by the step `Bootstrap`; else the template makes them by itself.
    pub fn is_bootstrapped(&self) -> bool {
        self.distribution == Distribution::Debian
    }
}

/// As sentences have it: `Debian bookworm`.
impl fmt::Display for Release {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} {}", self.distribution, self.code_name)
    }
}

/// The release called `code_name`.
pub fn find(distribution: Distribution, code_name: &str) -> Option<&'static Release> {
    RELEASES.iter().find(|release| release.distribution == distribution && release.code_name == code_name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_release_is_there_once_and_says_where_it_is() {
        for (place, release) in RELEASES.iter().enumerate() {
            let same = |other: &&Release| {
                (other.distribution, other.code_name) == (release.distribution, release.code_name)
            };
            assert_eq!(RELEASES.iter().position(|other| same(&other)), Some(place), "{release}");
            assert!(!release.architectures.is_empty(), "{release}");
            for arch in release.architectures {
                let known = release.official_mirror(*arch).is_some();
                assert!(known || release.distribution == Distribution::Other, "{release} {arch}");
            }
            assert!(!release.is_archived() || release.mirrors.archive.is_some(), "{release}");
            assert!(!release.is_bootstrapped() || release.keys.is_some(), "{release}");
        }
    }

    #[test]
    fn mirror_and_keys_follow_from_the_state_and_the_architecture() {
        let of = |distribution, name, arch| {
            let release = find(distribution, name).expect("in the table");
            (release.official_mirror(arch).unwrap_or("none"), release.keyring())
        };
        let removed = "/usr/share/keyrings/debian-archive-removed-keys.gpg";
        let jessie = of(Distribution::Debian, "jessie", Architecture::S390x);
        assert_eq!(jessie, ("http://archive.debian.org/debian-archive/debian", removed));
        let bionic = of(Distribution::Ubuntu, "bionic", Architecture::S390x);
        assert_eq!(bionic.0, "http://ports.ubuntu.com/ubuntu-ports");
        let bionic = of(Distribution::Ubuntu, "bionic", Architecture::Amd64);
        assert_eq!(bionic.0, "http://archive.ubuntu.com/ubuntu");
    }
}
