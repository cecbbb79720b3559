//! Which emulator runs programs of other processors, what the systems of a plan need of it, and what it lacks.
//!
//! It does not register it: see `emulation`.

use super::probe::Probe;
use super::registration::{self, Rule};
use crate::architecture::Architecture;
use crate::farm::Farm;
use crate::program;
use crate::release::{Distribution, RELEASES, Release};
use anyhow::{Context, Result, ensure};
use drover_engine::{Cmd, Cx};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::path::{Path, PathBuf};

/// Whose emulator it is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Emulator {
    /// The one that the host's packages have.
    #[default]
    Host,
    /// The one that the backports of the host's own release have.
    Backports,
    /// The one of that release of Debian.
    Release(String),
}

/// What becomes of a registration that neither Drover nor the host's packages made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Others {
    /// It stays, and what needs another one is an error.
    #[default]
    Leave,
    /// It is registered anew.
    Renew,
}

/// What a plan says of emulators.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Choice {
    /// Whose emulator.
    pub emulator: Emulator,
    /// What becomes of others' registrations.
    pub others: Others,
}

/// Where the emulators are that Drover fetched: in a directory for each release that they are of.
const FETCHED: &str = "/usr/lib/drover/qemu";
/// Where Debian's packages have their emulators under the names that they are registered by. The kernel may know them before the
/// packages are there, or after that.
const PACKAGED: &str = "/usr/libexec/qemu-binfmt";

impl Emulator {
    /// The suite that it is fetched from; `None` for the host's own.
    ///
    /// # Errors
    /// When the host does not say which release it is.
    pub(super) fn suite(&self) -> Result<Option<String>> {
        Ok(match self {
            Self::Host => None,
            Self::Backports => Some(format!("{}-backports", host_release()?)),
            Self::Release(name) => Some(name.clone()),
        })
    }

    /// Where the emulator of an architecture is, once it was fetched; `None` for the host's own. Debian's emulators take a
    /// name that ends so for the promise of flag P, on kernels that cannot tell them.
    ///
    /// # Errors
    /// As [`Emulator::suite`].
    pub(super) fn fetched(&self, arch: Architecture) -> Result<Option<PathBuf>> {
        let place = |suite: String| Path::new(FETCHED).join(suite).join(format!("{}-binfmt-P", arch.qemu()));
        Ok(self.suite()?.map(place))
    }

    /// Complains about a release that has none.
    ///
    /// # Errors
    /// When Debian has no such release, or its mirrors have it no more.
    pub(super) fn ensure_known(&self) -> Result<()> {
        let Self::Release(name) = self else { return Ok(()) };
        let current =
            |release: &&Release| release.distribution == Distribution::Debian && !release.is_archived();
        let known: Vec<_> = RELEASES.iter().filter(current).map(|release| release.code_name).collect();
        ensure!(
            known.contains(&name.as_str()),
            "there is no emulator of Debian `{name}`: mirrors have those of {}",
            known.join(", ")
        );
        Ok(())
    }
}

/// What says which release the host is.
const OS_RELEASE: &str = "/etc/os-release";

/// The release that the host is: `bookworm`.
fn host_release() -> Result<String> {
    code_name()?.with_context(|| format!("`{OS_RELEASE}` has no VERSION_CODENAME"))
}

/// The same, if the host says it.
fn code_name() -> Result<Option<String>> {
    let text = std::fs::read_to_string(OS_RELEASE).with_context(|| format!("cannot read `{OS_RELEASE}`"))?;
    let name = text.lines().find_map(|line| line.strip_prefix("VERSION_CODENAME="));
    Ok(name.map(|name| name.trim_matches('"').to_owned()))
}

/// A version of qemu, as far as it matters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Version {
    order: (u32, u32),
    /// As it is written: `7.2.22`.
    text: String,
}

impl Version {
    /// The one in a text such as `qemu-aarch64 version 7.2.22 (Debian 1:7.2+dfsg-7)`.
    fn said(text: &str) -> Option<Self> {
        Self::of(text.split_once(" version ")?.1)
    }

    /// The one that a text begins with: `10.0.13+ds-0+deb13u1`.
    fn of(text: &str) -> Option<Self> {
        let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
        let text = text[..end].trim_end_matches('.');
        let mut numbers = text.split('.').map(|number| number.parse().ok());
        let order = (numbers.next()??, numbers.next()??);
        Some(Self { order, text: text.to_owned() })
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.text)
    }
}

/// The first qemu that knows `CLONE_PIDFD`. Tried: 7.2.22 answers EINVAL; 8.2.2, 10.0.2 and 10.0.13 give a file
/// descriptor. What is between 7.2 and 8.2 was not tried and does not count.
const KNOWS_PIDFD: (u32, u32) = (8, 2);

/// What a system of a release needs of the emulator that runs it from its first process on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Needs {
    /// At least this version.
    version: Option<(u32, u32)>,
    /// Flags of the registration.
    flags: &'static str,
}

impl Needs {
    /// Those of a release.
    pub(crate) fn of(release: &Release) -> Self {
        match release.quirks.spawns_by_pidfd {
            true => Self { version: Some(KNOWS_PIDFD), flags: "FO" },
            false => Self { version: None, flags: "F" },
        }
    }

    /// Those of all systems of the farm that have the architecture.
    pub(super) fn of_all(farm: &Farm, arch: Architecture) -> Self {
        let systems = farm.members.systems.iter().filter(|system| system.arch == arch);
        systems.map(|system| Self::of(system.release)).fold(Self { version: None, flags: "F" }, |all, one| {
            if one.version.is_some() { one } else { all }
        })
    }

    /// The flags.
    pub(super) fn flags(self) -> &'static str {
        self.flags
    }

    /// Whether an emulator of that version is too old.
    fn is_too_old(self, version: &Version) -> bool {
        self.version.is_some_and(|needed| version.order < needed)
    }
}

/// Whether a system would boot under the emulator that it will have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Fitness {
    /// Nothing speaks against it.
    Fit,
    /// It cannot be told yet, and why.
    Unknown(String),
    /// It would not: the reason and the remedy.
    Unfit(String),
}

/// Whether a system of that release and architecture would boot, as the host is, and as far as the plan lets Drover mend it.
/// Fetches nothing.
///
/// # Errors
/// When it cannot be found out how the host is.
pub(crate) fn fitness(cx: &Cx, farm: &Farm, arch: Architecture, release: &Release) -> Result<Fitness> {
    let needs = Needs::of(release);
    if arch.runs_on(Architecture::host()) || needs.version.is_none() {
        return Ok(Fitness::Fit);
    }
    let choice = farm.emulator.clone().unwrap_or_default();
    let name = name(arch);
    let registered = registration::find(&name)?.filter(|found| found.enabled).map(|found| found.rule);
    let shipped = registration::shipped(Path::new("/"), &name)?;
    let is_others = |rule: &Rule| !is_ours_or_the_hosts(rule, shipped.as_ref());
    if let Some(rule) = registered.as_ref().filter(|rule| is_others(rule))
        && choice.others == Others::Leave
    {
        let version = registered_version(cx, arch)?;
        let why = match (&version, rule.lacks(needs.flags)) {
            (_, lacks) if !lacks.is_empty() => format!("has no flag {lacks}"),
            (Some(version), _) if needs.is_too_old(version) => format!("is qemu {version}"),
            (None, _) => return Ok(Fitness::Unknown(unknown(&name))),
            _ => return Ok(Fitness::Fit),
        };
        return Ok(Fitness::Unfit(format!(
            "`{name}`, {} registered by somebody else, {why}: {}; `Binfmt(emulator: Release(\"trixie\"), others: Renew)` \
             registers another in its place",
            rule.interpreter.display(),
            reason(release)
        )));
    }
    if choice.emulator != Emulator::Host {
        return Ok(Fitness::Fit);
    }
    // A registration that is older than what is installed is renewed.
    let version = match shipped.as_ref().filter(|rule| rule.interpreter.exists()) {
        Some(rule) => version_of(cx, &rule.interpreter)?,
        None => match candidate(cx)? {
            None => code_name()?.as_deref().and_then(of_release),
            known => known,
        },
    };
    Ok(match version {
        Some(version) if needs.is_too_old(&version) => Fitness::Unfit(format!(
            "the host's emulator is qemu {version}: {}; `Binfmt(emulator: Release(\"trixie\"))` or `Binfmt(emulator: \
             Backports)` in the plan's host fetches a newer one, without changing the host's packages",
            reason(release)
        )),
        Some(_) => Fitness::Fit,
        None => Fitness::Unknown(unknown(&name)),
    })
}

fn reason(release: &Release) -> String {
    let (major, minor) = KNOWS_PIDFD;
    format!(
        "the systemd of {release} starts everything by a call of the kernel (clone with CLONE_PIDFD) that qemu knows since \
         {major}.{minor}, and needs flag O"
    )
}

fn unknown(name: &str) -> String {
    format!("it is not known yet which emulator `{name}` will be, and whether it is new enough")
}

/// What the registration of an architecture is called.
pub(super) fn name(arch: Architecture) -> String {
    format!("qemu-{}", arch.qemu())
}

/// Whether a rule runs what Drover fetched, or what the host's packages ship.
pub(super) fn is_ours_or_the_hosts(rule: &Rule, shipped: Option<&Rule>) -> bool {
    [FETCHED, PACKAGED].iter().any(|place| rule.interpreter.starts_with(place))
        || shipped.is_some_and(|shipped| shipped.interpreter == rule.interpreter)
}

/// The version of the emulator that the kernel runs programs of the architecture with, whatever has become of its file;
/// `None` if there is no program to find that out with, or it does not say or run, which is for the proof to tell.
///
/// # Errors
/// When our own program cannot be written.
pub(super) fn registered_version(cx: &Cx, arch: Architecture) -> Result<Option<Version>> {
    let Some(probe) = Probe::of(arch)? else { return Ok(None) };
    Ok(probe.emulator(cx).ok().as_deref().and_then(Version::said))
}

/// The version of the emulator in a file. Under the name that it is registered by, it takes its arguments for the kernel's.
///
/// # Errors
/// When it cannot be asked.
pub(super) fn version_of(cx: &Cx, interpreter: &Path) -> Result<Option<Version>> {
    let ended = cx.probe(&Cmd::new(interpreter).env("QEMU_VERSION", "1").args(["/bin/true", "true"]))?;
    Ok(ended.stdout.lines().find_map(Version::said))
}

/// What the packages of a stable release have, which stays as it is for the release's life.
fn of_release(code_name: &str) -> Option<Version> {
    const VERSIONS: [(&str, &str); 3] = [("bullseye", "5.2"), ("bookworm", "7.2"), ("trixie", "10.0")];
    let (_, version) = VERSIONS.iter().find(|(name, _)| *name == code_name)?;
    Version::of(version)
}

/// The version that the host's apt would install, as far as it knows one.
fn candidate(cx: &Cx) -> Result<Option<Version>> {
    if program::find("apt-cache").is_none() {
        return Ok(None);
    }
    let said =
        cx.probe(&Cmd::new("apt-cache").env("LC_ALL", "C").args(["policy", "qemu-user-static"]))?.stdout;
    let version = said.lines().find_map(|line| line.trim().strip_prefix("Candidate: "));
    Ok(version.and_then(|version| Version::of(version.split_once(':').map_or(version, |(_, rest)| rest))))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::farm::System;
    use crate::release::find;

    #[test]
    fn versions_are_read_as_qemu_and_debian_write_them() {
        let version =
            Version::said("qemu-aarch64 version 7.2.22 (Debian 1:7.2+dfsg-7+deb12u18+b3)").expect("one");
        assert_eq!((version.order, version.to_string().as_str()), ((7, 2), "7.2.22"));
        assert_eq!(Version::of("10.0.13+ds-0+deb13u1").expect("one").order, (10, 0));
        assert_eq!(Version::of("(none)"), None);
        assert_eq!(of_release("bookworm").expect("one").order, (7, 2));
        assert_eq!(of_release("sid"), None);
        assert_eq!(Version::said("ok"), None);
    }

    #[test]
    fn the_systemd_of_trixie_needs_more_than_that_of_bookworm() {
        let needs = |name| Needs::of(find(Distribution::Debian, name).expect("in the table"));
        let [old, new] = ["7.2.22", "10.0.2"].map(|text| Version::of(text).expect("a version"));
        assert!(needs("trixie").is_too_old(&old) && !needs("trixie").is_too_old(&new));
        assert!(!needs("bookworm").is_too_old(&old));
        assert_eq!((needs("trixie").flags(), needs("bookworm").flags()), ("FO", "F"));
        let (arch, other) = (Architecture::Arm64, Architecture::S390x);
        let mut farm = Farm::default();
        farm.members.systems = ["trixie", "bookworm"]
            .map(|name| System {
                name: name.to_owned(),
                arch,
                release: find(Distribution::Debian, name).expect("in the table"),
            })
            .into();
        assert_eq!(Needs::of_all(&farm, arch), needs("trixie"));
        assert_eq!(Needs::of_all(&farm, other), needs("bookworm"));
    }

    #[test]
    fn what_the_hosts_packages_will_have_is_the_hosts() {
        let rule = |interpreter: &str| {
            registration::of_line(&format!(r":qemu-aarch64:M::\x7f\x45:\xff\xff:{interpreter}:PF"))
                .expect("a rule")
        };
        let [packaged, fetched, other] = [
            "/usr/libexec/qemu-binfmt/aarch64-binfmt-P",
            "/usr/lib/drover/qemu/trixie/aarch64-binfmt-P",
            "/usr/bin/qemu-aarch64-static",
        ]
        .map(rule);
        assert!(is_ours_or_the_hosts(&packaged, None) && is_ours_or_the_hosts(&fetched, None));
        assert!(!is_ours_or_the_hosts(&other, None) && is_ours_or_the_hosts(&other, Some(&other)));
    }

    #[test]
    fn an_emulator_is_of_a_release_that_mirrors_have() -> Result<()> {
        Emulator::Release("trixie".to_owned()).ensure_known()?;
        let error = Emulator::Release("jessie".to_owned()).ensure_known().expect_err("archived").to_string();
        assert!(error.contains("`jessie`") && error.contains("bookworm, trixie"), "{error}");
        let place = Emulator::Release("trixie".to_owned()).fetched(Architecture::Arm64)?;
        assert_eq!(place, Some("/usr/lib/drover/qemu/trixie/aarch64-binfmt-P".into()));
        assert_eq!(Emulator::Host.fetched(Architecture::Arm64)?, None);
        Ok(())
    }
}
