//! Distributions and their releases: one table, looked up by everybody.

use serde::{Deserialize, Serialize};
use std::fmt;

/// A distribution.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Distribution {
    /// Debian GNU/Linux.
    Debian,
}

impl fmt::Display for Distribution {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Debian => "debian",
        })
    }
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
    /// The keys that its archive is signed with, on the host.
    pub keyring: &'static str,
    /// The suite that holds its security updates.
    pub security: &'static str,
    /// Whether `/bin` and the like are links into `/usr` from the start.
    pub merged_usr: bool,
    /// The architectures that it was released for.
    pub architectures: &'static [crate::architecture::Architecture],
}

/// All releases that Drover knows.
pub static RELEASES: &[Release] = {
    use crate::architecture::Architecture::{
        Amd64, Arm64, Armel, Armhf, I386, Mips64el, Mipsel, Ppc64el, S390x,
    };
    &[
        Release {
            distribution: Distribution::Debian,
            code_name: "bullseye",
            version: "11",
            keyring: "/usr/share/keyrings/debian-archive-keyring.gpg",
            security: "bullseye-security",
            merged_usr: true,
            architectures: &[Amd64, Arm64, Armel, Armhf, I386, Mips64el, Mipsel, Ppc64el, S390x],
        },
        Release {
            distribution: Distribution::Debian,
            code_name: "bookworm",
            version: "12",
            keyring: "/usr/share/keyrings/debian-archive-keyring.gpg",
            security: "bookworm-security",
            merged_usr: true,
            architectures: &[Amd64, Arm64, Armel, Armhf, I386, Mips64el, Mipsel, Ppc64el, S390x],
        },
    ]
};

/// The release called `code_name`.
pub fn find(distribution: Distribution, code_name: &str) -> Option<&'static Release> {
    RELEASES.iter().find(|release| release.distribution == distribution && release.code_name == code_name)
}
