//! Where the packages of a release come from: the plan's mirror, the one that the host's own apt uses, or the one that the
//! table of releases names.
//!
//! It does not look at what a mirror holds: see `bootstrap/hosting`.

use crate::apt_sources::{self, Source, Sources};
use crate::architecture::Architecture;
use crate::base::Base;
use crate::keys::Keys;
use crate::mirror_list;
use crate::release::{self, Release};
use anyhow::{Context, Result, bail};
use drover_engine::{Cmd, Cx};
use std::collections::BTreeSet;

/// An archive: an address and a suite in it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Archive {
    /// The address, without a slash at its end.
    pub uri: String,
    /// The suite.
    pub suite: String,
    /// The keys that it is to be signed with.
    pub keys: Keys,
    /// What the host's own source says of its age and of how it is fetched: `check-valid-until=no`.
    pub manners: Vec<String>,
    /// Whether the host's own source has it believed without a signature (`trusted=yes`).
    pub is_believed: bool,
    /// Whether it is the host's own: then what the host's apt is told about expiry counts for it as well.
    pub of_host: bool,
    /// Whether its release is archived: then what has expired since its time counts. See [`crate::trust`].
    pub archived: bool,
}

impl Archive {
    /// One that a plan names.
    pub fn of_plan(uri: &str, suite: &str, keys: Keys) -> Self {
        let uri = uri.trim_end_matches('/').to_owned();
        Self { uri, suite: suite.to_owned(), keys, ..Self::default() }
    }

    /// Whether it is another address of the same suite.
    pub fn is_spare_of(&self, other: &Self) -> bool {
        self.suite == other.suite && self.uri != other.uri
    }
}

/// The archives that serve a release.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mirror {
    /// The release itself.
    pub main: Archive,
    /// The release again, for what `main` does not have.
    pub others: Vec<Archive>,
    /// Its security updates, if it is known where they are.
    pub security: Option<Archive>,
}

impl Mirror {
    /// The mirror for `base`: the plan's; else, for a release that mirrors still have, the one that the host's own apt uses
    /// for that architecture, or else for its own; else the distribution's own, as the table of releases says.
    ///
    /// # Errors
    /// When none of them names one, or apt does not say which it uses.
    pub fn of(cx: &Cx, base: &Base) -> Result<Self> {
        Self::choose(cx, base, apt_sources::of_host(cx)?.as_ref())
    }

    /// As [`Mirror::of`], for a host whose apt has these sources.
    ///
    /// # Errors
    /// As [`Mirror::of`].
    pub fn choose(cx: &Cx, base: &Base, sources: &Sources) -> Result<Self> {
        Choice { cx, sources, release: base.release, essential: &|| essential(cx) }.mirror(base)
    }

    /// The archives that have the release itself, the first one first.
    pub fn archives(&self) -> Vec<Archive> {
        [&self.main].into_iter().chain(&self.others).cloned().collect()
    }
}

/// What to do about a mirror that does not have what `base` is made of: to name the distribution's own, unless it is that.
pub(crate) fn remedy(base: &Base, refused: &str) -> String {
    let Base { release, arch, .. } = base;
    match release.official_mirror(*arch).filter(|official| *official != refused) {
        Some(official) => format!(
            "the distribution's own for {release} on {arch} is `{official}`: say so in the plan, as in `mirror: \"{official}\"`"
        ),
        None => format!(
            "name a mirror that has {release} for {arch} in the plan, as in `mirror: \"http://...\"`; releases that are no \
             longer supported move to the distribution's archive"
        ),
    }
}

/// The distribution's own address, as the table of releases has it.
fn official(release: &Release, arch: Architecture) -> Result<&'static str> {
    release.official_mirror(arch).with_context(|| {
        format!("find a mirror for {release}: give one in the plan, as in `mirror: \"http://...\"`")
    })
}

/// The choice among the sources of the host's apt.
struct Choice<'a> {
    cx: &'a Cx,
    sources: &'a Sources,
    release: &'static Release,
    /// Where apt has, by its lists, what every system is made of; nothing where it has no lists.
    essential: &'a dyn Fn() -> Result<String>,
}

/// How a source shows whose archive it is, the surest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Sign {
    /// It is signed with the distribution's keys.
    Keys,
    /// Beside it is a suite that only a distribution has: `bookworm-updates`.
    Suites,
    /// It names no keys, and its address ends as the distribution's do.
    Name,
    /// It names no keys.
    NoKeys,
    /// It has keys of its own: a company's mirror, or somebody's packages.
    OwnKeys,
}

impl Choice<'_> {
    /// The mirror for `base`.
    fn mirror(&self, base: &Base) -> Result<Mirror> {
        let Base { release, arch, .. } = *base;
        let stated = || base.keyring.as_ref().map_or_else(|| Keys::of_release(release), Keys::file);
        let hosts = match base.mirrors.is_empty() && !release.is_archived() {
            true => self.hosts(base)?,
            false => Vec::new(),
        };
        // A host with a mirror of its own may have no way to the distribution's.
        let is_free = base.mirrors.is_empty() && hosts.is_empty();
        let mut all: Vec<_> = match base.mirrors.as_slice() {
            [] if is_free => vec![Archive::of_plan(official(release, arch)?, release.code_name, stated())],
            [] => hosts,
            planned => planned.iter().map(|uri| Archive::of_plan(uri, release.code_name, stated())).collect(),
        };
        for archive in &mut all {
            archive.archived = release.is_archived();
            if base.keyring.is_some() {
                archive.keys = stated();
            }
        }
        let security = match (self.security(base)?, release.official_security(arch), release.security) {
            (None, Some(uri), Some(suite)) if is_free => {
                let archive = Archive::of_plan(uri, suite, Keys::of_release(release));
                Some(Archive { archived: release.is_archived(), ..archive })
            }
            (found, ..) => found,
        };
        let others = all.split_off(1);
        Ok(Mirror { main: all.swap_remove(0), others, security })
    }

    /// The archives with the release itself, on the mirror that the host uses for that architecture or for its own.
    fn hosts(&self, base: &Base) -> Result<Vec<Archive>> {
        for arch in BTreeSet::from([(0, base.arch), (1, Architecture::host())]) {
            if let Some(source) = self.main(arch.1)? {
                return self.archives(source, base, base.release.code_name);
            }
        }
        Ok(Vec::new())
    }

    /// The archive with the release's security updates.
    fn security(&self, base: &Base) -> Result<Option<Archive>> {
        let Some(suite) = self.release.security.filter(|_| !self.release.is_archived()) else {
            return Ok(None);
        };
        let is_any = |found: &str| {
            let plain = found.strip_suffix("-security").or_else(|| found.strip_suffix("/updates"));
            plain.is_some_and(|plain| is_release(self.release, plain))
        };
        for arch in [base.arch, Architecture::host()] {
            let same = self.surest(arch, &|found| found == suite, Sign::OwnKeys);
            if let Some(source) = same.or_else(|| self.surest(arch, &is_any, Sign::OwnKeys)) {
                return Ok(self.archives(source, base, suite)?.into_iter().next());
            }
        }
        Ok(None)
    }

    /// The source with the release, or else with another release of the same distribution, which has this one as well.
    fn main(&self, arch: Architecture) -> Result<Option<&Source>> {
        let same = |suite: &str| suite == self.release.code_name;
        let other = |suite: &str| is_release(self.release, suite);
        let sure = self.surest(arch, &same, Sign::Suites).or_else(|| self.surest(arch, &other, Sign::Suites));
        if let Some(source) = sure {
            return Ok(Some(source));
        }
        let found = self.fitting(arch, &same);
        let uris: BTreeSet<_> = found.iter().map(|source| source.uri.as_str()).collect();
        let surest = self.surest(arch, &same, Sign::NoKeys);
        if surest.is_some() && uris.len() == 1 {
            return Ok(surest);
        }
        let known = if found.is_empty() { String::new() } else { (self.essential)()? };
        if let Some(source) = found.iter().find(|source| has(&known, &source.uri)) {
            return Ok(Some(source));
        }
        let named = self.surest(arch, &other, Sign::Name);
        if !known.trim().is_empty() || named.is_some() || surest.is_some() {
            return Ok(surest.filter(|_| known.trim().is_empty()).or(named));
        }
        if uris.len() > 1 {
            bail!(
                "{} of the host's apt sources have `{}`, each signed with keys of its own ({}): `apt-get update` first, which \
                 shows which of them is {:?}'s, or name one in the plan, as in `mirror: \"http://...\"`",
                uris.len(),
                self.release.code_name,
                Vec::from_iter(uris).join(", "),
                self.release.distribution
            );
        }
        Ok(found.first().copied())
    }

    /// The sources for that architecture whose suite is right and whose packages count.
    fn fitting(&self, arch: Architecture, suite: &dyn Fn(&str) -> bool) -> Vec<&Source> {
        let fits = |source: &&Source| {
            let counts = source.options.trusted != Some(false) && !source.uri.starts_with("cdrom:");
            source.arch == arch && counts && suite(&source.suite) && !self.is_of_others(source)
        };
        self.sources.all.iter().filter(fits).collect()
    }

    /// The first of those that show most surely whose they are, if that is at least as sure as `least`.
    fn surest(&self, arch: Architecture, suite: &dyn Fn(&str) -> bool, least: Sign) -> Option<&Source> {
        let sure = self.fitting(arch, suite).into_iter().filter(|source| self.sign(source) <= least);
        sure.min_by_key(|source| self.sign(source))
    }

    fn sign(&self, source: &Source) -> Sign {
        let release = self.release;
        let keys = source.options.signed_by.as_deref().map(Keys::named);
        let is_own = |keys: &Keys| {
            let archive = format!("{}-archive", release.distribution);
            keys.files.iter().any(|file| {
                file.to_string_lossy() == release.keyring() || file.to_string_lossy().contains(&archive)
            })
        };
        let beside = |more: &str| {
            let suite = format!("{}{more}", source.suite);
            self.sources.all.iter().any(|other| other.uri == source.uri && other.suite == suite)
        };
        match keys {
            Some(keys) if is_own(&keys) => Sign::Keys,
            _ if beside("-updates") || beside("-proposed-updates") => Sign::Suites,
            Some(_) => Sign::OwnKeys,
            None if is_named(source, release) => Sign::Name,
            None => Sign::NoKeys,
        }
    }

    /// Whether it is signed with the keys of another distribution.
    fn is_of_others(&self, source: &Source) -> bool {
        let Some(keys) = source.options.signed_by.as_deref().map(Keys::named) else { return false };
        let others = release::RELEASES.iter().filter(|other| other.distribution != self.release.distribution);
        let theirs: BTreeSet<_> = others.filter_map(|other| other.keys).map(|keys| keys.path).collect();
        keys.files.iter().any(|file| theirs.contains(file.to_string_lossy().as_ref()))
    }

    /// The archives that a source stands for, with a suite of the release in it.
    fn archives(&self, source: &Source, base: &Base, suite: &str) -> Result<Vec<Archive>> {
        let uris = mirror_list::addresses(self.cx, &source.uri, suite, base.arch)?;
        let keys = self.keys(source, suite);
        let archive = |uri: String| Archive {
            keys: keys.clone(),
            manners: source.options.manners.clone(),
            is_believed: source.options.trusted == Some(true),
            of_host: true,
            ..Archive::of_plan(&uri, suite, Keys::default())
        };
        Ok(uris.into_iter().map(archive).collect())
    }

    /// The keys for a suite at the address of a source: those that apt would take, and those of the release itself.
    fn keys(&self, source: &Source, suite: &str) -> Keys {
        let mut keys = match source.options.signed_by.as_deref() {
            Some(named) => Keys::named(named),
            None => Keys { files: self.sources.trusted.clone(), ..Keys::default() },
        };
        if !keys.fingerprints.is_empty() && source.suite != suite {
            // They say whose signatures count for another release.
            return Keys::of_release(self.release);
        }
        if !keys.fingerprints.is_empty() && keys.files.is_empty() {
            keys.files.clone_from(&self.sources.trusted);
        }
        keys.or_of_release(self.release)
    }
}

/// Whether a suite is that of a release of the same distribution, under its own name or one that moves on.
fn is_release(release: &Release, suite: &str) -> bool {
    const MOVING: [&str; 5] = ["stable", "oldstable", "oldoldstable", "testing", "unstable"];
    release::find(release.distribution, suite).is_some() || suite == "sid" || MOVING.contains(&suite)
}

/// Whether the address ends as those of the distribution do: `debian`, `debian-security`.
fn is_named(source: &Source, release: &Release) -> bool {
    let mut words = source.uri.rsplit('/').next().unwrap_or_default().split('-');
    words.next() == Some(release.distribution.to_string().as_str())
}

/// Whether an archive is among those where apt has a package: `base-files | 12.4 | http://m.example/debian bookworm/main ...`.
fn has(known: &str, uri: &str) -> bool {
    let places = known.lines().filter_map(|line| line.rsplit('|').next()?.split_whitespace().next());
    places.into_iter().any(|place| place.trim_end_matches('/') == uri)
}

/// Where apt has, by its lists, a package that every system is made of.
fn essential(cx: &Cx) -> Result<String> {
    let asked = cx.once("where apt has base-files", || {
        Ok(cx.probe(&Cmd::new("apt-cache").args(["madison", "base-files"]))?.stdout)
    });
    Ok(asked?.as_ref().clone())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::apt_entry::Options;
    use crate::farm::Farm;
    use crate::release::{Distribution, find};
    use std::path::PathBuf;
    use std::sync::Arc;

    fn base(mirrors: &[&str], code_name: &str) -> Base {
        let release = find(Distribution::Debian, code_name).expect("in the table");
        let mirrors = mirrors.iter().map(|&uri| uri.to_owned()).collect();
        Base { release, arch: Architecture::Amd64, mirrors, keyring: None, farm: Arc::new(Farm::default()) }
    }

    /// `URI SUITE [KEYS]`, each for amd64.
    fn sources(lines: &[&str]) -> Sources {
        let source = |line: &&str| {
            let words: Vec<_> = line.split(' ').collect();
            let signed_by = words.get(2).map(|&keys| keys.to_owned());
            Source {
                uri: words[0].to_owned(),
                suite: words[1].to_owned(),
                arch: Architecture::Amd64,
                options: Options { signed_by, ..Options::default() },
                entry: "/x:1".to_owned(),
            }
        };
        Sources { all: lines.iter().map(source).collect(), trusted: vec!["/trusted.gpg".into()] }
    }

    /// By what apt has in its lists.
    fn choose_by(base: &Base, sources: &Sources, lists: &str) -> Result<Mirror> {
        let essential = || Ok(lists.to_owned());
        Choice { cx: &Cx::to_look(), sources, release: base.release, essential: &essential }.mirror(base)
    }

    /// On a host whose apt has fetched no lists yet.
    fn choose(base: &Base, sources: &Sources) -> Mirror {
        choose_by(base, sources, "").expect("a mirror")
    }

    fn check(planned: &[&str], lines: &[&str], main: &str, security: Option<&str>) {
        let mirror = choose(&base(planned, "bookworm"), &sources(lines));
        assert_eq!((mirror.main.uri.as_str(), mirror.main.suite.as_str()), (main, "bookworm"));
        let found = mirror.security.map(|archive| format!("{} {}", archive.uri, archive.suite));
        assert_eq!(found.as_deref(), security);
    }

    const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

    #[test]
    fn the_hosts_own_mirror_is_taken_and_no_third_partys() {
        check(
            &[],
            &[
                "https://apt.vendor.example bookworm /usr/share/keyrings/vendor.gpg",
                "https://other.example/debian bookworm /k.asc",
                &format!("http://m.example/debian bookworm {KEYRING}"),
                &format!("http://m.example/debian-security bookworm-security {KEYRING}"),
            ],
            "http://m.example/debian",
            Some("http://m.example/debian-security bookworm-security"),
        );
        check(&[], &["file:/srv/archive bookworm"], "file:/srv/archive", None);
        check(
            &[],
            &["https://vendor.example/debian bookworm /v.gpg", "http://m.example/debian stable"],
            "http://m.example/debian",
            None,
        );
    }

    #[test]
    fn a_companys_mirror_is_known_by_the_suites_beside_it() {
        let company = sources(&[
            "https://vendor.example/debian bookworm /vendor.gpg",
            "https://m.company.example/linux bookworm /company.gpg",
            "https://m.company.example/linux bookworm-updates /company.gpg",
        ]);
        let main = choose(&base(&[], "bookworm"), &company).main;
        assert_eq!(main.uri, "https://m.company.example/linux");
        assert_eq!(main.keys.files, [PathBuf::from("/company.gpg"), KEYRING.into()]);
        // Another release on the same mirror is signed by whoever signs there.
        let main = choose(&base(&[], "trixie"), &company).main;
        assert_eq!((main.uri.as_str(), main.keys.files.len()), ("https://m.company.example/linux", 2));
    }

    #[test]
    fn of_several_with_keys_of_their_own_apt_knows_which_has_a_whole_system() {
        let own = sources(&[
            "https://vendor.example/debian bookworm /vendor.gpg",
            "https://m.company.example/debian bookworm /company.gpg",
            "https://old-vendor.example/debian bookworm",
        ]);
        let lists =
            "base-files | 12.4+deb12u5 | https://m.company.example/debian bookworm/main amd64 Packages\n";
        let found = choose_by(&base(&[], "bookworm"), &own, lists).expect("a mirror").main;
        assert_eq!(found.uri, "https://m.company.example/debian");
        let vendors = Sources { all: own.all[..2].to_vec(), ..own };
        let error = choose_by(&base(&[], "bookworm"), &vendors, "").expect_err("which of them?").to_string();
        assert!(error.contains("apt-get update") && error.contains("`mirror: "), "{error}");
        let lists = "base-files | 12.4 | cdrom://[Debian]/ bookworm/main amd64 Packages\n";
        let found = choose_by(&base(&[], "bookworm"), &vendors, lists).expect("the distribution's").main;
        assert_eq!(found.uri, "http://deb.debian.org/debian");
    }

    #[test]
    fn keys_are_the_sources_own_or_the_plans() {
        let of = |line: &str| choose(&base(&[], "bookworm"), &sources(&[line])).main.keys;
        assert_eq!(
            of("http://m.example/debian bookworm").files,
            [PathBuf::from("/trusted.gpg"), KEYRING.into()]
        );
        assert_eq!(of(&format!("http://m.example/debian bookworm {KEYRING}")), Keys::file(KEYRING));
        let fingerprint = of("http://m.example/debian bookworm 4CB50190207B4758A3F73A796ED0E7B82643E131");
        assert_eq!((fingerprint.files.len(), fingerprint.fingerprints.len()), (1, 1));
        let own = sources(&["http://m.example/debian bookworm"]);
        let planned =
            Base { keyring: Some("/company.gpg".into()), ..base(&["http://m.company.example/"], "bookworm") };
        assert_eq!(choose(&planned, &own).main.keys, Keys::file("/company.gpg"));
    }

    #[test]
    fn each_architecture_has_its_own_mirror() {
        let mut own = sources(&["http://m.example/debian bookworm", "http://ports.example/debian bookworm"]);
        own.all[1].arch = Architecture::Arm64;
        let of = |arch| choose(&Base { arch, ..base(&[], "bookworm") }, &own).main.uri;
        assert_eq!(of(Architecture::Amd64), "http://m.example/debian");
        assert_eq!(of(Architecture::Arm64), "http://ports.example/debian");
    }

    #[test]
    fn what_apt_would_not_install_from_is_no_mirror() {
        let mut own = sources(&["http://never.example/debian bookworm", "http://m.example/debian bookworm"]);
        own.all[0].options.trusted = Some(false);
        own.all[1].options = Options {
            trusted: Some(true),
            manners: vec!["check-valid-until=no".to_owned()],
            ..Options::default()
        };
        let main = choose(&base(&[], "bookworm"), &own).main;
        assert_eq!((main.uri.as_str(), main.is_believed), ("http://m.example/debian", true));
        assert_eq!(main.manners, ["check-valid-until=no"]);
    }

    #[test]
    fn a_host_of_another_release_names_the_same_archives() {
        check(
            &[],
            &["http://m.example/debian trixie", "http://s.example/debian-security trixie-security"],
            "http://m.example/debian",
            Some("http://s.example/debian-security bookworm-security"),
        );
    }

    #[test]
    fn the_plan_goes_first() {
        let host = ["http://m.example/debian bookworm"];
        check(&["http://plan.example/debian/"], &host, "http://plan.example/debian", None);
        let planned = base(&["http://one.example/debian/", "http://two.example/debian"], "bookworm");
        let uris: Vec<_> =
            choose(&planned, &Sources::default()).archives().into_iter().map(|archive| archive.uri).collect();
        assert_eq!(uris, ["http://one.example/debian", "http://two.example/debian"]);
    }

    #[test]
    fn where_the_host_names_no_mirror_the_table_does() {
        check(
            &[],
            &["http://ports.example/ubuntu noble /usr/share/keyrings/ubuntu-archive-keyring.gpg"],
            "http://deb.debian.org/debian",
            Some("http://security.debian.org/debian-security bookworm-security"),
        );
    }

    #[test]
    fn an_archived_release_comes_from_the_archive_and_may_have_expired() {
        let own = sources(&["http://m.example/debian bookworm", "http://m.example/s bookworm-security"]);
        let main = choose(&base(&[], "jessie"), &own).main;
        assert_eq!(main.uri, "http://archive.debian.org/debian-archive/debian");
        assert!(main.archived && !main.of_host);
        let named = choose(&base(&["http://m.example/old/"], "jessie"), &own);
        assert_eq!((named.main.uri.as_str(), named.security), ("http://m.example/old", None));
    }

    #[test]
    fn no_mirror_is_an_error_that_says_what_to_write() {
        let release = find(Distribution::Other, "any").expect("in the table");
        let base = Base { release, ..base(&[], "bookworm") };
        let error = choose_by(&base, &Sources::default(), "").expect_err("no mirror").to_string();
        assert!(error.contains("mirror: "), "{error}");
    }
}
