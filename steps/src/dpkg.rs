//! What the dpkg of a root file system says about its packages.
//!
//! It only reads; read through [`Rootfs`], so that no link in a rootfs leads to another's status.

use crate::deb822::paragraphs;
use anyhow::Result;
use drover_engine::Rootfs;
use std::collections::HashMap;

/// Where dpkg keeps it.
pub const STATUS: &str = "/var/lib/dpkg/status";

/// Where it notes, one file after the other, what has become of a package since that was written (dpkg's lib/dpkg/dbmodify.c).
const UPDATES: &str = "/var/lib/dpkg/updates";

/// The packages that a dpkg knows.
#[derive(Clone, Debug, Default)]
pub struct Status {
    packages: HashMap<String, Package>,
}

/// A package that a dpkg knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Package {
    /// Its state, such as `installed` or `half-configured`.
    pub state: String,
    /// Its version; empty if none was ever unpacked.
    pub version: String,
    /// The version that was last configured, while that is not the present one; empty if none ever was.
    pub config_version: String,
    /// Its architecture.
    pub arch: String,
    /// What maintains it: `unknown` for one that is merely claimed to be there while dpkg itself is being installed.
    pub maintainer: String,
    /// The other names under which it is asked for.
    pub provides: Vec<String>,
    /// The configuration files that are unpacked and not yet known to be in place.
    pub new_conffiles: Vec<String>,
    /// Whether it needs to be unpacked again.
    pub broken: bool,
}

impl Status {
    /// The status in a root file system; without packages if it has none. What a dpkg that was killed has noted beside it
    /// counts more: it puts its notes into the file at its end only.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn of(rootfs: &Rootfs) -> Result<Self> {
        let mut status = Self::parse(&rootfs.read(STATUS)?.unwrap_or_default());
        let mut notes = rootfs.list(UPDATES)?.unwrap_or_default();
        notes.retain(|name| name.bytes().all(|byte| byte.is_ascii_digit()));
        for note in notes {
            let text = rootfs.read(&format!("{UPDATES}/{note}"))?.unwrap_or_default();
            status.packages.extend(Self::parse(&text).packages);
        }
        Ok(status)
    }

    /// The status in `text`.
    pub fn parse(text: &str) -> Self {
        let packages = paragraphs(text).filter_map(|paragraph| {
            let field = |name| paragraph.field(name).unwrap_or_default().to_owned();
            let mut words = paragraph.words("Status").skip(1);
            let (flag, state) = (words.next()?, words.next()?);
            let package = Package {
                state: state.to_owned(),
                version: field("Version"),
                config_version: field("Config-Version"),
                arch: field("Architecture"),
                maintainer: field("Maintainer"),
                provides: provides(paragraph.field("Provides").unwrap_or_default()),
                new_conffiles: new_conffiles(paragraph.field("Conffiles").unwrap_or_default()),
                broken: flag != "ok",
            };
            Some((field("Package"), package))
        });
        Self { packages: packages.collect() }
    }

    /// The package called `name`, if dpkg knows it.
    pub fn package(&self, name: &str) -> Option<&Package> {
        self.packages.get(name)
    }

    /// All packages that dpkg knows, in no order.
    pub fn packages(&self) -> impl Iterator<Item = (&str, &Package)> {
        self.packages.iter().map(|(name, package)| (name.as_str(), package))
    }

    /// The packages with modules of perl that are compiled for a processor, in no order.
    pub fn perl_modules(&self) -> impl Iterator<Item = &str> {
        let here = self.packages().filter(|(_, package)| !package.version.is_empty());
        let with = here.filter(|(name, package)| crate::assist::has_modules(name, package.arch == "all"));
        with.map(|(name, _)| name)
    }

    /// Whether the package called `name` is completely installed.
    pub fn is_installed(&self, name: &str) -> bool {
        self.package(name).is_some_and(Package::is_installed)
    }

    /// Whether a package that is completely installed provides `name`.
    pub fn is_provided(&self, name: &str) -> bool {
        let mut installed = self.packages.values().filter(|package| package.is_installed());
        installed.any(|package| package.provides.iter().any(|provided| provided == name))
    }

    /// A package that is neither completely installed nor completely gone, if there is one.
    pub fn unfinished(&self) -> Option<(&str, &Package)> {
        let gone = |package: &Package| matches!(package.state.as_str(), "not-installed" | "config-files");
        let mut unfinished =
            self.packages.iter().filter(|(_, package)| !package.is_installed() && !gone(package));
        unfinished.next().map(|(name, package)| (name.as_str(), package))
    }

    /// How many packages are completely installed.
    pub fn installed(&self) -> usize {
        self.packages.values().filter(|package| package.is_installed()).count()
    }
}

impl Package {
    /// Whether it is unpacked and configured.
    pub fn is_installed(&self) -> bool {
        self.state == "installed" && !self.broken
    }

    /// Whether dpkg has still to configure it.
    pub fn awaits_configuration(&self) -> bool {
        matches!(self.state.as_str(), "unpacked" | "half-configured") && !self.broken
    }

    /// Whether it is unpacked, and configured or not.
    pub fn is_unpacked(&self) -> bool {
        let states = ["unpacked", "half-configured", "triggers-awaited", "triggers-pending", "installed"];
        states.contains(&self.state.as_str()) && !self.broken
    }
}

/// The names in a list such as `a, b (= 1:2)`.
fn provides(field: &str) -> Vec<String> {
    let names = field.split(',').map(|part| part.trim().split([' ', '(', ':']).next().unwrap_or_default());
    names.filter(|name| !name.is_empty()).map(str::to_owned).collect()
}

/// Of lines such as `/etc/NAME HASH` those without a hash yet.
fn new_conffiles(field: &str) -> Vec<String> {
    let lines = field.lines().filter_map(|line| line.trim().strip_suffix(" newconffile"));
    lines.map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_killed_dpkg_has_noted_counts_more() -> Result<()> {
        let root = tempfile::tempdir()?;
        let directory = root.path().join("var/lib/dpkg");
        std::fs::create_dir_all(directory.join("updates"))?;
        std::fs::write(
            directory.join("status"),
            "Package: a\nStatus: install ok unpacked\nConffiles:\n /etc/a newconffile\n\n\
             Package: b\nStatus: install ok unpacked\n",
        )?;
        for (note, state) in [("0000", "half-configured"), ("0001", "installed"), ("tmp.i", "unpacked")] {
            let text = format!("Package: a\nStatus: install ok {state}\nVersion: 2\n");
            std::fs::write(directory.join("updates").join(note), text)?;
        }
        let status = Status::of(&Rootfs::open(root.path())?)?;
        assert!(status.is_installed("a"), "{status:?}");
        assert_eq!(status.package("a").map(|package| package.new_conffiles.len()), Some(0));
        assert_eq!(status.package("b").map(|package| package.state.as_str()), Some("unpacked"));
        Ok(())
    }

    #[test]
    fn a_name_is_provided_by_what_is_installed_alone() {
        let status = Status::parse(
            "Package: 7zip\nStatus: install ok installed\nProvides: p7zip,\n p7zip-full (= 1:2)\n\n\
             Package: exim4\nStatus: install ok unpacked\nProvides: mail-transport-agent\n",
        );
        let names = ["p7zip", "p7zip-full", "7zip", "mail-transport-agent", ""];
        assert_eq!(names.map(|name| status.is_provided(name)), [true, true, false, false, false]);
    }

    #[test]
    fn states_are_told_apart() {
        let status = Status::parse(
            "Package: a\nStatus: install ok installed\nVersion: 1\n\n\
             Package: b\nStatus: install reinstreq half-installed\nVersion: 1\n\n\
             Package: c\nStatus: deinstall ok config-files\n\n\
             Package: d\nStatus: install ok unpacked\nConffiles:\n /etc/d newconffile\n /etc/e 00ff\n",
        );
        assert!(status.is_installed("a") && !status.is_installed("b") && !status.is_installed("x"));
        assert_eq!(status.installed(), 1);
        let unpacked = |name| status.package(name).is_some_and(Package::is_unpacked);
        assert_eq!(["a", "b", "c", "d"].map(unpacked), [true, false, false, true]);
        assert_eq!(
            status.package("d").map(|package| package.new_conffiles.join(" ")).as_deref(),
            Some("/etc/d")
        );
        assert!(matches!(status.unfinished(), Some(("b" | "d", _))));
    }
}
