//! The host's apt and dpkg: what is installed, and installing more.
//!
//! It does not know what the packages are for.

use super::apt_lock;
use super::policy;
use crate::apt_proxy;
use anyhow::{Context, Result, bail};
use drover_engine::{Cmd, CommandError, Cx, Jail};
use std::collections::BTreeSet;
use std::path::Path;

/// What apt says when its lists are missing or too old to lead to a package.
const STALE_LISTS: [&str; 4] = [
    "Unable to locate package",
    "has no installation candidate",
    "404  Not Found",
    "Unable to fetch some archives",
];

/// What keeps programs that apt calls from asking somebody: debconf, ucf, apt-listbugs, apt-listchanges, needrestart, which then
/// restarts nothing either.
const QUIET: [(&str, &str); 9] = [
    ("DEBIAN_FRONTEND", "noninteractive"),
    ("DEBIAN_PRIORITY", "critical"),
    ("DEBCONF_NONINTERACTIVE_SEEN", "true"),
    ("UCF_FORCE_CONFFOLD", "1"),
    ("APT_LISTBUGS_FRONTEND", "none"),
    ("APT_LISTCHANGES_FRONTEND", "none"),
    ("NEEDRESTART_MODE", "l"),
    ("NEEDRESTART_SUSPEND", "drover"),
    ("LC_ALL", "C.UTF-8"),
];

/// Installing packages without any service starting.
pub(super) struct Apt<'a> {
    cx: &'a Cx,
    jail: Jail,
    /// How often what cannot be fetched is tried again: three times, or more where the host says so.
    retries: u32,
}

/// Who is called here has to be patient, whatever the host's apt is told.
const RETRIES: u32 = 3;

fn retries(cx: &Cx) -> Result<u32> {
    let said = apt_proxy::configured(cx, "Acquire::Retries")?;
    Ok(said.and_then(|number| number.parse().ok()).unwrap_or(RETRIES).max(RETRIES))
}

/// Where dpkg keeps what it has not yet written to its status: empty, unless it runs or was killed.
pub(super) const JOURNAL: &str = "/var/lib/dpkg/updates";

/// Whether dpkg runs or was killed; apt asks the same before it does anything.
pub(super) fn has_journal() -> Result<bool> {
    let entries = Path::new(JOURNAL).read_dir().with_context(|| format!("cannot read `{JOURNAL}`"))?;
    Ok(entries.count() > 0)
}

/// Which of these packages are wholly installed.
pub(super) fn installed<'a>(cx: &Cx, names: &[&'a str]) -> Result<BTreeSet<&'a str>> {
    let format = "${db:Status-Abbrev} ${Package} ${binary:Package}\\n";
    let query = Cmd::new("dpkg-query").args(["--show", "--showformat", format, "--"]).args(names);
    let output = cx.probe(&query)?;
    // It ends with 1 if it does not know a package, which is an answer.
    if !matches!(output.status.code(), Some(0 | 1)) {
        bail!("`dpkg-query` ended with {}: {}", output.status, output.stderr.trim());
    }
    let there: BTreeSet<&str> = output.stdout.lines().flat_map(whole).collect();
    Ok(names.iter().copied().filter(|name| there.contains(name)).collect())
}

/// The names of the package that a line of dpkg-query's tells of, if it is wholly installed.
fn whole(line: &str) -> Vec<&str> {
    let mut words = line.split_whitespace();
    match words.next() {
        // Wanted or held, and installed, without an error.
        Some("ii" | "hi") => words.collect(),
        _ => Vec::new(),
    }
}

/// Whether a status of dpkg's, such as `iHR`, says that the package has to be unpacked anew.
fn is_half_unpacked(status: &str) -> bool {
    status.chars().nth(2) == Some('R')
}

impl<'a> Apt<'a> {
    /// The host's apt, once nobody else is using it.
    pub(super) fn new(cx: &'a Cx) -> Result<Self> {
        apt_lock::wait(cx)?;
        Ok(Self { cx, jail: policy::jail(cx)?, retries: retries(cx)? })
    }

    /// Configures what an installation that was killed left unpacked.
    pub(super) fn finish_interrupted(&self) -> Result<()> {
        let audit = self.cx.read(&Cmd::new("dpkg").arg("--audit"))?;
        if audit.trim().is_empty() && !has_journal()? {
            return Ok(());
        }
        self.cx.note("an installation was interrupted: what it left is configured first");
        let options = ["--force-confdef", "--force-confold", "--configure", "-a"];
        let configured = self.cx.run(&self.quiet("dpkg").args(options));
        if configured.is_ok() && self.half_unpacked()?.is_empty() {
            return Ok(());
        }
        self.cx.note("dpkg cannot do that alone: apt is asked to mend it");
        self.mend()
    }

    /// Brings what packages lack that an installation was about to bring, then unpacks anew what was being unpacked: apt
    /// does not see the latter by itself, and refuses to while it sees the former.
    fn mend(&self) -> Result<()> {
        let mended = self.fetching(&self.apt_get(&["--fix-broken", "install"]));
        let broken = self.half_unpacked()?;
        if broken.is_empty() {
            return mended;
        }
        self.fetching(&self.apt_get(&["--reinstall", "install", "--"]).args(broken))
    }

    /// Which packages would be there that are not there now, if these were installed.
    ///
    /// # Errors
    /// Also when others would have to go for that: they are not ours.
    pub(super) fn new_with(&self, packages: &[&str]) -> Result<Vec<String>> {
        let simulate =
            self.apt_get(&["--simulate", "--no-install-recommends", "install", "--"]).args(packages);
        self.fetching(&simulate)?;
        let said = self.cx.read(&simulate)?;
        let gone: Vec<_> = said.lines().filter_map(removed_package).collect();
        if !gone.is_empty() {
            bail!(
                "`{}`, which Drover did not install, would be removed for what it needs: see `apt-get --simulate install \
                 {}`, and decide yourself",
                gone.join("`, `"),
                packages.join(" ")
            );
        }
        Ok(said.lines().filter_map(new_package).map(str::to_owned).collect())
    }

    /// Purges those of these packages that nothing else needs, and nothing but them. Services are stopped as the packages
    /// themselves would have it.
    pub(super) fn purge(cx: &'a Cx, packages: &BTreeSet<String>) -> Result<()> {
        let finished = Self::new(cx)?.finish_interrupted();
        policy::clean_up()?;
        finished?;
        let plain = Self { cx, jail: policy::mounts(), retries: RETRIES };
        // What they are there for is gone: as far as apt is concerned, only others can need them now.
        cx.run(&plain.quiet("apt-mark").arg("auto").args(packages))?;
        let weak = ["APT::AutoRemove::RecommendsImportant=false", "APT::AutoRemove::SuggestsImportant=false"];
        let simulate = plain.apt_get(&["--simulate", "autoremove"]).args(["-o", weak[0], "-o", weak[1]]);
        let idle = cx.read(&simulate)?;
        let idle: BTreeSet<&str> = idle.lines().filter_map(removed_package).collect();
        // A purge that was killed leaves some of which only the configuration is there: those serve nobody.
        let gone = in_state(cx, packages, |state| state.chars().nth(1) == Some('c'))?;
        let names = packages.iter().map(String::as_str);
        let half: Vec<&str> = names.filter(|name| idle.contains(name) || gone.contains(*name)).collect();
        if half.is_empty() {
            return Ok(());
        }
        let would = cx.read(&plain.apt_get(&["--simulate", "purge", "--"]).args(&half))?;
        let foreign = would.lines().filter_map(removed_package).find(|name| !packages.contains(*name));
        if let Some(name) = foreign {
            bail!(
                "`{name}`, which Drover did not install, would be removed as well: `apt-get purge {name}` first"
            );
        }
        cx.run(&plain.apt_get(&["purge", "--"]).args(&half))
    }

    /// Installs these packages, all in one transaction.
    pub(super) fn install(&self, packages: &[&str]) -> Result<()> {
        self.fetching(
            &self.apt_get(&["--no-install-recommends", "--no-remove", "install", "--"]).args(packages),
        )
    }

    /// The packages that were killed while they were unpacked: dpkg refuses to configure them.
    fn half_unpacked(&self) -> Result<Vec<String>> {
        let format = "${db:Status-Abbrev}\\t${binary:Package}\\n";
        let listed = self.cx.read(&Cmd::new("dpkg-query").args(["--show", "--showformat", format]))?;
        let broken = listed
            .lines()
            .filter_map(|line| line.split_once('\t'))
            .filter(|(status, _)| is_half_unpacked(status));
        Ok(broken.map(|(_, name)| name.to_owned()).collect())
    }

    /// Runs a command of apt's that may fetch packages; where the lists do not lead to one, with new lists.
    fn fetching(&self, command: &Cmd) -> Result<()> {
        if !has_lists()? {
            self.update()?;
            return self.cx.run(command);
        }
        match self.cx.run(command) {
            Err(error) if are_lists_stale(&error) => {
                self.cx.note("apt's lists do not lead to every package: they are fetched again");
                self.update()?;
                self.cx.run(command)
            }
            result => result,
        }
    }

    fn update(&self) -> Result<()> {
        self.cx.run(&self.apt_get(&["update"])).context("the package lists could not be fetched")
    }

    fn apt_get(&self, args: &[&str]) -> Cmd {
        let options = [
            "DPkg::Lock::Timeout=300",
            "Dpkg::Options::=--force-confdef",
            "Dpkg::Options::=--force-confold",
            "Dpkg::Use-Pty=0",
            "APT::Update::Error-Mode=any",
        ];
        let retries = format!("Acquire::Retries={}", self.retries);
        let command = self.quiet("apt-get").args(["--quiet", "--yes", "-o", &retries]);
        options.iter().fold(command, |command, option| command.args(["-o", option])).args(args)
    }

    /// A call of `program` that asks nobody anything, speaks English, and starts no service.
    fn quiet(&self, program: &str) -> Cmd {
        let command = Cmd::new(program).inside(&self.jail);
        QUIET.iter().fold(command, |command, (name, value)| command.env(name, value))
    }
}

/// The package in a line of a simulation that would be there and is not now: `Inst lxc (1:5.0.2 Debian:12 [amd64])`, where
/// one that is only upgraded has its present version in brackets first.
fn new_package(line: &str) -> Option<&str> {
    let (name, rest) = line.strip_prefix("Inst ")?.split_once(' ')?;
    rest.starts_with('(').then_some(name)
}

/// The package in a line of a simulation that would be removed: `Purg lxc [1:5.0.2]`, `Remv lxc [1:5.0.2]`.
fn removed_package(line: &str) -> Option<&str> {
    line.strip_prefix("Purg ").or_else(|| line.strip_prefix("Remv "))?.split(' ').next()
}

/// Which of these packages are there, be it only their configuration.
pub(super) fn present(cx: &Cx, names: &BTreeSet<String>) -> Result<BTreeSet<String>> {
    in_state(cx, names, |state| !state.starts_with("un"))
}

/// Which of these packages are in such a state, as dpkg abbreviates it: `ii`, `rc`.
fn in_state(cx: &Cx, names: &BTreeSet<String>, is_such: fn(&str) -> bool) -> Result<BTreeSet<String>> {
    if names.is_empty() {
        return Ok(BTreeSet::new());
    }
    let format = "${db:Status-Abbrev}\t${Package}\t${binary:Package}\n";
    let query = Cmd::new("dpkg-query").args(["--show", "--showformat", format, "--"]).args(names);
    let shown = cx.probe(&query)?.stdout;
    let there = shown.lines().filter(|line| is_such(line)).flat_map(|line| line.split('\t').skip(1));
    Ok(there.filter(|name| names.contains(*name)).map(str::to_owned).collect())
}

/// Whether there is any list of packages.
fn has_lists() -> Result<bool> {
    let directory = Path::new("/var/lib/apt/lists");
    let entries = match directory.read_dir() {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(false),
        entries => entries.with_context(|| format!("cannot read `{}`", directory.display()))?,
    };
    for entry in entries {
        if entry?.file_name().to_string_lossy().contains("_Packages") {
            return Ok(true);
        }
    }
    Ok(false)
}

fn are_lists_stale(error: &anyhow::Error) -> bool {
    let Some(error) = error.downcast_ref::<CommandError>() else { return false };
    error.tail.iter().any(|line| STALE_LISTS.iter().any(|words| line.contains(words)))
}

#[cfg(test)]
mod tests {
    use super::{are_lists_stale, is_half_unpacked, new_package, removed_package, whole};
    use drover_engine::CommandError;

    #[test]
    fn what_comes_and_goes_is_told_from_what_is_upgraded() {
        // As apt 2.6 wrote them.
        let lines = [
            "Inst libnl-3-200 (3.7.0-0.2+b1 Debian:12.11/oldstable [amd64])",
            "Inst libc6 [2.36-9+deb12u10] (2.36-9+deb12u13 Debian:12.11/oldstable [amd64])",
            "Conf libnl-3-200 (3.7.0-0.2+b1 Debian:12.11/oldstable [amd64])",
            "Purg rsync [3.2.7-1+deb12u2]",
            "Remv wget [1.21.3-1+deb12u1]",
        ];
        let new: Vec<_> = lines.iter().filter_map(|line| new_package(line)).collect();
        let removed: Vec<_> = lines.iter().filter_map(|line| removed_package(line)).collect();
        assert_eq!((new, removed), (vec!["libnl-3-200"], vec!["rsync", "wget"]));
    }

    #[test]
    fn only_what_is_whole_counts() {
        assert_eq!(whole("ii  libc6 libc6:amd64"), ["libc6", "libc6:amd64"]);
        assert_eq!(whole("hi  lxc lxc"), ["lxc", "lxc"]);
        for half in ["iF  lxc lxc", "iU  lxc lxc", "rc  lxc lxc", "iiR lxc lxc", "un  lxc lxc"] {
            assert!(whole(half).is_empty(), "{half}");
        }
    }

    #[test]
    fn what_was_being_unpacked_is_recognised() {
        assert!(is_half_unpacked("iHR") && is_half_unpacked("iFR"));
        assert!(!is_half_unpacked("ii ") && !is_half_unpacked("iF ") && !is_half_unpacked("rc"));
    }

    #[test]
    fn old_lists_are_told_from_other_trouble() {
        let error = |line: &str| {
            anyhow::Error::new(CommandError {
                command: "apt-get".to_owned(),
                status: "exit status 100".to_owned(),
                tail: vec![line.to_owned()],
            })
        };
        assert!(are_lists_stale(&error("E: Unable to locate package arch-test")));
        assert!(!are_lists_stale(&error("E: You don't have enough free space")));
        assert!(!are_lists_stale(&anyhow::anyhow!("404  Not Found")));
    }
}
