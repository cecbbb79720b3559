//! The workshop: a throw-away host on the real network, in which apt fetches packages for the mirror.
//!
//! What apt fetches stays on the ground, so that the next run fetches only what is new.

use crate::stanza::Stanza;
use crate::{Ground, Host, HostOptions, Network};
use anyhow::{Context, Result, ensure};
use std::fs;
use std::path::{Path, PathBuf};

/// Where the ground's cache of packages is seen in the workshop.
const CACHE: &str = "/run/apt";
/// Packages for the workshop itself.
const TOOLS: &[&str] = &["gpg", "gpg-agent", "xz-utils"];

/// The workshop.
pub(crate) struct Workshop {
    pub(crate) host: Host,
    cache: PathBuf,
    /// The code name of this machine's release.
    release: String,
    /// The architecture of this machine, as Debian calls it.
    pub(crate) arch: String,
}

/// A package that apt fetched.
pub(crate) struct Fetched {
    /// What the index says of it.
    pub(crate) stanza: Stanza,
    /// Its file.
    pub(crate) file: PathBuf,
    /// Where that index is from.
    pub(crate) suite: Suited,
}

/// A kind of suite of a release.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Suited {
    /// The release itself, and its updates.
    Release,
    /// Its security archive.
    Security,
    /// Its backports.
    Backports,
}

impl Suited {
    /// Of the file in which apt keeps the index.
    fn of(list: &str) -> Self {
        match list {
            _ if list.contains("-security_") => Self::Security,
            _ if list.contains("-backports_") => Self::Backports,
            _ => Self::Release,
        }
    }
}

/// What apt is to fetch with all dependencies: for an empty system, or for the workshop as it is.
pub(crate) struct Order<'a> {
    /// The name of its cache.
    pub(crate) name: &'a str,
    /// The code name of the release; with `-backports` behind it, the release and its backports.
    pub(crate) release: &'a str,
    /// The architecture, as Debian calls it.
    pub(crate) arch: &'a str,
    /// Whether dependencies that the workshop has installed are left out.
    pub(crate) for_workshop: bool,
    /// Lists of names of packages, and of apt's patterns.
    pub(crate) packages: &'a [&'a [&'a str]],
}

impl Workshop {
    /// Opens it.
    pub(crate) fn open(ground: &Ground) -> Result<Self> {
        let cache = ground.join("apt");
        fs::create_dir_all(&cache)?;
        let options = HostOptions::new()
            .network(Network::Shared)
            .share(&cache, CACHE)
            .share(ground.join("mirror"), "/run/mirror");
        let host = Host::boot(ground, "workshop", options)?;
        let release = host.release()?;
        let arch = host.shell("dpkg --print-architecture")?.trim().to_owned();
        Ok(Self { host, cache, release, arch })
    }

    /// Fetches an order. Returns all packages of the indexes that are in its cache; some are in two indexes.
    pub(crate) fn fetch(&self, order: &Order) -> Result<Vec<Fetched>> {
        let apt = self.apt(order)?;
        let update = || self.host.shell(&format!("{apt} -q update"));
        let of_updates = format!("/dists/{}-", order.release);
        self.name_sources(order, order.release == self.release)?;
        if let Err(error) = update() {
            let text = error.to_string();
            // The mirror may be out of step with updates for one architecture and not for others. This machine may have
            // some of its own installed.
            let is_of_updates =
                |line: &&str| line.starts_with("E: Failed to fetch") && line.contains(&of_updates);
            let Some(why) = text.lines().find(is_of_updates).filter(|_| !order.for_workshop) else {
                return Err(error);
            };
            println!("    {} without updates, which cannot be had: {why}", order.name);
            self.name_sources(order, false)?;
            update()?;
        }
        let install = format!("{apt} -qy --download-only install {}", quoted(&order.packages.concat()));
        let output = self.host.shell(&install)?;
        for line in output.lines().filter(|line| line.starts_with("Need to get")) {
            println!("    packages for {}: {line}", order.name);
        }
        self.fetched(order)
    }

    /// Installs in the workshop itself what it is short of.
    pub(crate) fn equip(&self) -> Result<()> {
        let tools = TOOLS.join(" ");
        if self.host.run(&["sh", "-c", &format!("dpkg -s {tools} >/dev/null 2>&1")])?.status.success() {
            return Ok(());
        }
        let (release, arch) = (self.release.as_str(), self.arch.as_str());
        let order = Order { name: "workshop", release, arch, for_workshop: true, packages: &[TOOLS] };
        self.fetch(&order)?;
        let apt = self.apt(&order)?;
        self.host.shell(&format!("DEBIAN_FRONTEND=noninteractive {apt} -qy install {tools}"))?;
        Ok(())
    }

    /// apt-get with the options that make it work below the cache of an order, whatever its host's own settings are.
    fn apt(&self, order: &Order) -> Result<String> {
        let dir = Path::new(CACHE).join(order.name);
        let here = self.cache.join(order.name);
        fs::create_dir_all(here.join("state/lists/partial"))?;
        fs::create_dir_all(here.join("cache/archives/partial"))?;
        fs::create_dir_all(here.join("parts"))?;
        let status =
            if order.for_workshop { Path::new("/var/lib/dpkg/status").into() } else { dir.join("status") };
        fs::write(here.join("status"), "")?;
        let options = [
            format!("Dir::State={}", dir.join("state").display()),
            format!("Dir::State::status={}", status.display()),
            format!("Dir::Cache={}", dir.join("cache").display()),
            format!("Dir::Etc::sourcelist={}", dir.join("sources.list").display()),
            format!("Dir::Etc::sourceparts={}", dir.join("parts").display()),
            format!("Dir::Etc::preferencesparts={}", dir.join("parts").display()),
            format!("APT::Architecture={}", order.arch),
            format!("APT::Architectures={}", order.arch),
            "APT::Install-Recommends=false".to_owned(),
            "APT::Sandbox::User=root".to_owned(),
            "APT::Update::Post-Invoke=".to_owned(),
            "Acquire::GzipIndexes=false".to_owned(),
            "Acquire::Languages=none".to_owned(),
            "Acquire::Retries=5".to_owned(),
            // The mirror may be an image of a moment; it is signed anyway.
            "Acquire::Check-Valid-Until=false".to_owned(),
        ];
        Ok(options.iter().fold("apt-get".to_owned(), |line, option| format!("{line} -o '{option}'")))
    }

    /// Writes the host's own sources of Debian for an order, with what came after the release or without: of another
    /// release than the host's, that may be on no mirror any more.
    fn name_sources(&self, order: &Order, with_updates: bool) -> Result<()> {
        let files = self
            .host
            .shell("cat /etc/apt/sources.list /etc/apt/sources.list.d/*.list 2>/dev/null || true")?;
        let release = self.release.as_str();
        let mut lines = one_line_sources(&files, release);
        let stanzas = self
            .host
            .shell("for f in /etc/apt/sources.list.d/*.sources; do cat $f 2>/dev/null && echo; done; true")?;
        lines.extend(Stanza::all(&stanzas).flat_map(|stanza| deb822_sources(&stanza, release)));
        ensure!(!lines.is_empty(), "apt's sources name no mirror of Debian {release}");
        let lines = lines.iter().filter_map(|line| line.rsplit_once(release));
        let lines = lines.filter(|(_, part)| with_updates || part.is_empty());
        let text = lines.fold(String::new(), |text, (uri, part)| {
            let base = order.release.trim_end_matches("-backports");
            let backports =
                if base == order.release { "" } else { &format!("deb {uri}{} main\n", order.release) };
            format!("{text}deb {uri}{base}{part} main\n{backports}")
        });
        fs::write(self.cache.join(order.name).join("sources.list"), text)
            .context("apt's sources cannot be written")
    }

    fn fetched(&self, order: &Order) -> Result<Vec<Fetched>> {
        let dir = self.cache.join(order.name);
        let archives = dir.join("cache/archives");
        let mut found = Vec::new();
        for entry in fs::read_dir(dir.join("state/lists"))? {
            let path = entry?.path();
            let name = path.to_string_lossy();
            if name.ends_with("_Packages") {
                let suite = Suited::of(&name);
                let text = fs::read_to_string(&path).with_context(|| format!("`{name}` cannot be read"))?;
                let fetched = |stanza: Stanza| {
                    let file = archives.join(stanza.file_name()?);
                    file.exists().then_some(Fetched { stanza, file, suite })
                };
                found.extend(Stanza::all(&text).filter_map(fetched));
            }
        }
        ensure!(!found.is_empty(), "apt fetched nothing for `{}`", order.name);
        Ok(found)
    }
}

pub(crate) fn quoted(words: &[&str]) -> String {
    words.iter().map(|word| format!("'{word}'")).collect::<Vec<_>>().join(" ")
}

/// `URI SUITE` of each line for a release, without comments and options.
fn one_line_sources(text: &str, release: &str) -> Vec<String> {
    let mut found = Vec::new();
    for line in text.lines() {
        let Some(rest) = line.trim().strip_prefix("deb ") else { continue };
        let rest = rest.split_once(']').map_or(rest, |(_, rest)| rest);
        if let [uri, suite, components @ ..] = rest.split_whitespace().collect::<Vec<_>>().as_slice()
            && is_of(suite, release)
            && components.contains(&"main")
        {
            found.push(format!("{uri} {suite}"));
        }
    }
    found
}

/// The same from a paragraph.
fn deb822_sources(stanza: &Stanza, release: &str) -> Vec<String> {
    let words = |field| stanza.get(field).unwrap_or_default().split_whitespace();
    if !words("Types").any(|kind| kind == "deb") || !words("Components").any(|component| component == "main")
    {
        return Vec::new();
    }
    let suites: Vec<_> = words("Suites").filter(|suite| is_of(suite, release)).collect();
    words("URIs").flat_map(|uri| suites.iter().map(move |suite| format!("{uri} {suite}"))).collect()
}

fn is_of(suite: &str, release: &str) -> bool {
    suite == release
        || suite.strip_prefix(release).is_some_and(|rest| ["-updates", "-security"].contains(&rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_of_sources_are_read() {
        let line = "# deb http://a/ bookworm main\ndeb [signed-by=/k] http://b/debian bookworm-security main contrib\n\
                    deb-src http://b/debian bookworm main\ndeb http://c/ sid main\n";
        assert_eq!(one_line_sources(line, "bookworm"), ["http://b/debian bookworm-security"]);
        let text = "Types: deb deb-src\nURIs: http://d/debian\nSuites: bookworm bookworm-updates sid\nComponents: main\n";
        let stanza = Stanza::all(text).next().expect("there is one");
        assert_eq!(
            deb822_sources(&stanza, "bookworm"),
            ["http://d/debian bookworm", "http://d/debian bookworm-updates"]
        );
    }
}
