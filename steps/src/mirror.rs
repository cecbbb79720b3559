//! Where the packages of a release come from: the plan's mirror, the one that the host's own apt uses, or the one that the
//! table of releases names.
//!
//! It does not look at what a mirror holds: see `bootstrap/hosting`.

use crate::apt_sources::{self, Source};
use crate::architecture::Architecture;
use crate::base::Base;
use crate::release::Release;
use anyhow::{Context, Result};
use std::fs;
use std::path::Path;

/// An archive: an address and a suite in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Archive {
    /// The address, without a slash at its end.
    pub uri: String,
    /// The suite.
    pub suite: String,
    /// Whether it is the host's own: then what the host's apt is told about expiry counts for it as well.
    pub of_host: bool,
    /// Whether its release is archived: then what has expired since its time counts. See [`crate::trust`].
    pub archived: bool,
}

impl Archive {
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
    /// The mirror for `base`: the plan's; else, for a release that mirrors still have, the one that the host's own apt
    /// names; else the distribution's own, as the table of releases says.
    ///
    /// # Errors
    /// When none of them names one.
    pub fn of(base: &Base) -> Result<Self> {
        let sources = apt_sources::read(Path::new("/"))?;
        Self::choose(&base.mirrors, &sources, base.release, base.arch)
    }

    fn choose(
        planned: &[String],
        sources: &[Source],
        release: &'static Release,
        arch: Architecture,
    ) -> Result<Self> {
        let archive = |uri: String, suite: &str, of_host: bool| Archive {
            uri,
            suite: suite.to_owned(),
            of_host,
            archived: release.is_archived(),
        };
        let hosts = if release.is_archived() { None } else { main_uri(sources, release)? };
        let of_plan = |uri: &String| archive(uri.trim_end_matches('/').to_owned(), release.code_name, false);
        let others = planned.iter().skip(1).map(of_plan).collect();
        let main = match (planned.first(), &hosts) {
            (Some(uri), _) => of_plan(uri),
            (None, Some(uri)) => archive(uri.clone(), release.code_name, true),
            (None, None) => archive(official(release, arch)?.to_owned(), release.code_name, false),
        };
        let Some(suite) = release.security else { return Ok(Self { main, others, security: None }) };
        let same = best(sources, release, |found| found == suite)
            .or_else(|| best(sources, release, |found| found.ends_with("-security")))
            .filter(|_| !release.is_archived())
            .map(|source| archive(source.uri.clone(), suite, true));
        // A host with a mirror of its own may have no way to the distribution's.
        let known =
            if !planned.is_empty() || hosts.is_some() { None } else { release.official_security(arch) };
        let security = same.or_else(|| known.map(|uri| archive(uri.to_owned(), suite, false)));
        Ok(Self { main, others, security })
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

/// The address of the host's mirror that serves the release, or else another release of the same distribution.
fn main_uri(sources: &[Source], release: &Release) -> Result<Option<String>> {
    let same = |suite: &str| suite == release.code_name;
    let other = |suite: &str| !suite.contains(['-', '/']);
    let source = best(sources, release, same).or_else(|| best(sources, release, other));
    let Some(source) = source else { return Ok(None) };
    match source.uri.strip_prefix("mirror+file:") {
        None => Ok(Some(source.uri.clone())),
        Some(list) => first_line(Path::new(list)).map(Some),
    }
}

/// The first of the sources of that distribution whose suite is right. Others may call a suite of theirs `bookworm`, too:
/// those are signed by keys of their own, or else their address shows it.
fn best<'a>(sources: &'a [Source], release: &Release, suite: impl Fn(&str) -> bool) -> Option<&'a Source> {
    let distribution = release.distribution.to_string();
    let keyring = |source: &Source| {
        source
            .signed_by
            .as_deref()
            .map(|key| key == release.keyring() || key.contains(&format!("{distribution}-archive")))
    };
    let named = |source: &Source| {
        let mut words = source.uri.rsplit('/').next().unwrap_or_default().split('-');
        words.next() == Some(distribution.as_str())
    };
    let fits = |source: &&Source| {
        let served = source.components.iter().any(|component| component == "main");
        served && suite(&source.suite) && !source.uri.starts_with("cdrom:")
    };
    let candidates = || sources.iter().filter(fits);
    candidates()
        .find(|source| keyring(source) == Some(true))
        .or_else(|| candidates().find(|source| keyring(source).is_none() && named(source)))
        .or_else(|| {
            candidates().find(|source| keyring(source).is_none() && source.suite == release.code_name)
        })
}

/// The first address in a list of mirrors.
fn first_line(list: &Path) -> Result<String> {
    // `mirror+file:///etc/...` and `mirror+file:/etc/...` are the same.
    let text =
        fs::read_to_string(list).with_context(|| format!("read the list of mirrors `{}`", list.display()))?;
    let uri = text.split_whitespace().find(|word| word.contains(":/"));
    let uri = uri.with_context(|| format!("the list of mirrors `{}` names none", list.display()))?;
    Ok(uri.trim_end_matches('/').to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::release::{Distribution, find};

    fn source(line: &str) -> Source {
        let words: Vec<_> = line.split(' ').collect();
        Source {
            uri: words[0].to_owned(),
            suite: words[1].to_owned(),
            components: vec![words[2].to_owned()],
            signed_by: words.get(3).map(|&key| key.to_owned()),
        }
    }

    fn check(planned: &[&str], lines: &[&str], main: &str, security: Option<&str>) {
        let sources: Vec<_> = lines.iter().map(|line| source(line)).collect();
        let release = find(Distribution::Debian, "bookworm").expect("in the table");
        let planned: Vec<_> = planned.iter().map(|&uri| uri.to_owned()).collect();
        let mirror = Mirror::choose(&planned, &sources, release, Architecture::Amd64).expect("a mirror");
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
                "https://apt.vendor.example bookworm main /usr/share/keyrings/vendor.gpg",
                "https://other.example/debian/12/prod bookworm main /k.asc",
                &format!("http://m.example/debian bookworm main {KEYRING}"),
                &format!("http://m.example/debian-security bookworm-security main {KEYRING}"),
            ],
            "http://m.example/debian",
            Some("http://m.example/debian-security bookworm-security"),
        );
        check(
            &[],
            &["http://vendor.example/apt bookworm main", "http://m.example/debian bookworm main"],
            "http://m.example/debian",
            None,
        );
        check(&[], &["file:/srv/archive bookworm main"], "file:/srv/archive", None);
    }

    #[test]
    fn a_host_of_another_release_names_the_same_archives() {
        check(
            &[],
            &["http://m.example/debian trixie main", "http://s.example/debian-security trixie-security main"],
            "http://m.example/debian",
            Some("http://s.example/debian-security bookworm-security"),
        );
    }

    #[test]
    fn the_plan_goes_first() {
        let host = ["http://m.example/debian bookworm main"];
        check(&["http://plan.example/debian/"], &host, "http://plan.example/debian", None);
        let planned = ["http://one.example/debian/", "http://two.example/debian"].map(str::to_owned);
        let release = find(Distribution::Debian, "bookworm").expect("in the table");
        let mirror = Mirror::choose(&planned, &[], release, Architecture::Amd64).expect("a mirror");
        let uris: Vec<_> = mirror.archives().into_iter().map(|archive| archive.uri).collect();
        assert_eq!(uris, ["http://one.example/debian", "http://two.example/debian"]);
    }

    #[test]
    fn where_the_host_names_no_mirror_the_table_does() {
        let foreign =
            ["http://ports.example/ubuntu noble main /usr/share/keyrings/ubuntu-archive-keyring.gpg"];
        check(
            &[],
            &foreign,
            "http://deb.debian.org/debian",
            Some("http://security.debian.org/debian-security bookworm-security"),
        );
    }

    #[test]
    fn an_archived_release_comes_from_the_archive_and_may_have_expired() {
        let sources = [
            source("http://m.example/debian bookworm main"),
            source("http://m.example/s bookworm-security main"),
        ];
        let release = find(Distribution::Debian, "jessie").expect("in the table");
        let mirror = Mirror::choose(&[], &sources, release, Architecture::S390x).expect("a mirror");
        assert_eq!(mirror.main.uri, "http://archive.debian.org/debian-archive/debian");
        assert!(mirror.main.archived && !mirror.main.of_host);
        let named =
            Mirror::choose(&["http://m.example/old/".to_owned()], &sources, release, Architecture::S390x);
        let named = named.expect("a mirror");
        assert_eq!((named.main.uri.as_str(), named.security), ("http://m.example/old", None));
    }

    #[test]
    fn no_mirror_is_an_error_that_says_what_to_write() {
        let release = find(Distribution::Other, "any").expect("in the table");
        let error =
            Mirror::choose(&[], &[], release, Architecture::Amd64).expect_err("no mirror").to_string();
        assert!(error.contains("mirror: "), "{error}");
    }
}
