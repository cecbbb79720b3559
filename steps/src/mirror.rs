//! Where the packages of a release come from: the plan's mirror, or the one that the host's own apt uses.
//!
//! It never names a mirror by itself, and does not look at what a mirror holds: see `bootstrap/hosting`.

use crate::apt_sources::{self, Source};
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
}

/// The archives that serve a release.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mirror {
    /// The release itself.
    pub main: Archive,
    /// Its security updates, if the host's apt names where they are.
    pub security: Option<Archive>,
}

impl Mirror {
    /// The mirror for `base`.
    ///
    /// # Errors
    /// When the plan names none and the host's apt has none of that distribution.
    pub fn of(base: &Base) -> Result<Self> {
        let sources = apt_sources::read(Path::new("/"))?;
        Self::choose(base.mirror.as_deref(), &sources, base.release)
    }

    fn choose(planned: Option<&str>, sources: &[Source], release: &Release) -> Result<Self> {
        let uri = match planned {
            Some(uri) => uri.trim_end_matches('/').to_owned(),
            None => main_uri(sources, release)?,
        };
        let main = Archive { uri, suite: release.code_name.to_owned(), of_host: planned.is_none() };
        let security = best(sources, release, |suite| suite == release.security)
            .or_else(|| best(sources, release, |suite| suite.ends_with("-security")))
            .map(|source| Archive {
                uri: source.uri.clone(),
                suite: release.security.to_owned(),
                of_host: true,
            });
        Ok(Self { main, security })
    }
}

/// The address of the host's mirror that serves the release, or else another release of the same distribution.
fn main_uri(sources: &[Source], release: &Release) -> Result<String> {
    let same = |suite: &str| suite == release.code_name;
    let other = |suite: &str| !suite.contains(['-', '/']);
    let source =
        best(sources, release, same).or_else(|| best(sources, release, other)).with_context(|| {
            format!(
                "find a mirror for {} `{}`: the host's apt sources name none; give one in the plan, as in \
             `mirror: \"http://...\"`",
                release.distribution, release.code_name
            )
        })?;
    match source.uri.strip_prefix("mirror+file:") {
        None => Ok(source.uri.clone()),
        Some(list) => first_line(Path::new(list)),
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
            .map(|key| key == release.keyring || key.contains(&format!("{distribution}-archive")))
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

    fn check(planned: Option<&str>, lines: &[&str], main: &str, security: Option<&str>) {
        let sources: Vec<_> = lines.iter().map(|line| source(line)).collect();
        let release = find(Distribution::Debian, "bookworm").expect("in the table");
        let mirror = Mirror::choose(planned, &sources, release).expect("a mirror");
        assert_eq!((mirror.main.uri.as_str(), mirror.main.suite.as_str()), (main, "bookworm"));
        let found = mirror.security.map(|archive| format!("{} {}", archive.uri, archive.suite));
        assert_eq!(found.as_deref(), security);
    }

    const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

    #[test]
    fn the_hosts_own_mirror_is_taken_and_no_third_partys() {
        check(
            None,
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
            None,
            &["http://vendor.example/apt bookworm main", "http://m.example/debian bookworm main"],
            "http://m.example/debian",
            None,
        );
        check(None, &["file:/srv/archive bookworm main"], "file:/srv/archive", None);
    }

    #[test]
    fn a_host_of_another_release_names_the_same_archives() {
        check(
            None,
            &["http://m.example/debian trixie main", "http://s.example/debian-security trixie-security main"],
            "http://m.example/debian",
            Some("http://s.example/debian-security bookworm-security"),
        );
    }

    #[test]
    fn the_plan_goes_first() {
        let host = ["http://m.example/debian bookworm main"];
        check(Some("http://plan.example/debian/"), &host, "http://plan.example/debian", None);
    }

    #[test]
    fn no_mirror_is_an_error_that_says_what_to_write() {
        let release = find(Distribution::Debian, "bookworm").expect("in the table");
        let sources =
            [source("http://ports.example/ubuntu noble main /usr/share/keyrings/ubuntu-archive-keyring.gpg")];
        let error = Mirror::choose(None, &sources, release).expect_err("no mirror").to_string();
        assert!(error.contains("`bookworm`") && error.contains("mirror: "), "{error}");
    }
}
