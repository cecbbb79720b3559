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
/// The release that hosts and containers of the tests run.
pub(crate) const RELEASE: &str = "bookworm";
/// Packages for the workshop itself.
const TOOLS: &[&str] = &["gpg", "gpg-agent", "xz-utils"];

/// The workshop.
pub(crate) struct Workshop {
    pub(crate) host: Host,
    cache: PathBuf,
}

/// A package that apt fetched.
pub(crate) struct Fetched {
    /// What the index says of it.
    pub(crate) stanza: Stanza,
    /// Its file.
    pub(crate) file: PathBuf,
    /// Whether that index is the security archive's.
    pub(crate) is_security: bool,
}

/// What apt is to fetch with all dependencies: for this machine as it is, or for an empty system.
pub(crate) struct Order<'a> {
    /// The name of its cache.
    pub(crate) name: &'a str,
    /// The code name of the release.
    pub(crate) release: &'a str,
    /// The architecture, as Debian calls it.
    pub(crate) arch: &'a str,
    /// Whether dependencies that this machine has installed are left out.
    pub(crate) for_this_machine: bool,
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
        let release = host.shell(". /etc/os-release; echo $VERSION_CODENAME")?;
        ensure!(release.trim() == RELEASE, "this machine is not Debian {RELEASE}, which its tests need");
        Ok(Self { host, cache })
    }

    /// Fetches an order. Returns all packages of the indexes that are in its cache; some are in two indexes.
    pub(crate) fn fetch(&self, order: &Order) -> Result<Vec<Fetched>> {
        let apt = self.apt(order)?;
        let update = || self.host.shell(&format!("{apt} -q update"));
        let of_updates = format!("/dists/{RELEASE}-");
        self.name_sources(order, order.release == RELEASE)?;
        if let Err(error) = update() {
            let text = error.to_string();
            // The mirror may be out of step with updates for one architecture and not for others. This machine needs its own.
            let is_of_updates =
                |line: &&str| line.starts_with("E: Failed to fetch") && line.contains(&of_updates);
            let Some(why) = text.lines().find(is_of_updates).filter(|_| !order.for_this_machine) else {
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

    /// Installs in the workshop itself what it is short of, from the lists of an order for this machine.
    pub(crate) fn equip(&self, order: &Order) -> Result<()> {
        let apt = self.apt(order)?;
        let tools = TOOLS.join(" ");
        self.host.shell(&format!(
            "dpkg -s {tools} >/dev/null 2>&1 || DEBIAN_FRONTEND=noninteractive {apt} -qy install {tools}"
        ))?;
        Ok(())
    }

    /// apt-get with the options that make it work below the cache of an order, whatever its host's own settings are.
    fn apt(&self, order: &Order) -> Result<String> {
        let dir = Path::new(CACHE).join(order.name);
        let here = self.cache.join(order.name);
        fs::create_dir_all(here.join("state/lists/partial"))?;
        fs::create_dir_all(here.join("cache/archives/partial"))?;
        fs::create_dir_all(here.join("parts"))?;
        let status = if order.for_this_machine {
            Path::new("/var/lib/dpkg/status").into()
        } else {
            dir.join("status")
        };
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
        let mut lines = one_line_sources(&files);
        let stanzas = self
            .host
            .shell("for f in /etc/apt/sources.list.d/*.sources; do cat $f 2>/dev/null && echo; done; true")?;
        lines.extend(Stanza::all(&stanzas).flat_map(|stanza| deb822_sources(&stanza)));
        ensure!(!lines.is_empty(), "apt's sources name no mirror of Debian {RELEASE}");
        let lines = lines.iter().filter_map(|line| line.rsplit_once(RELEASE));
        let lines = lines.filter(|(_, part)| with_updates || part.is_empty());
        let text = lines.fold(String::new(), |text, (uri, part)| {
            format!("{text}deb {uri}{}{part} main\n", order.release)
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
                let is_security = name.contains("-security_");
                let text = fs::read_to_string(&path).with_context(|| format!("`{name}` cannot be read"))?;
                let fetched = |stanza: Stanza| {
                    let file = archives.join(stanza.file_name()?);
                    file.exists().then_some(Fetched { stanza, file, is_security })
                };
                found.extend(Stanza::all(&text).filter_map(fetched));
            }
        }
        ensure!(!found.is_empty(), "apt fetched nothing for `{}`", order.name);
        Ok(found)
    }
}

fn quoted(words: &[&str]) -> String {
    words.iter().map(|word| format!("'{word}'")).collect::<Vec<_>>().join(" ")
}

/// `URI SUITE` of each line for our release, without comments and options.
fn one_line_sources(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    for line in text.lines() {
        let Some(rest) = line.trim().strip_prefix("deb ") else { continue };
        let rest = rest.split_once(']').map_or(rest, |(_, rest)| rest);
        if let [uri, suite, components @ ..] = rest.split_whitespace().collect::<Vec<_>>().as_slice()
            && is_ours(suite)
            && components.contains(&"main")
        {
            found.push(format!("{uri} {suite}"));
        }
    }
    found
}

/// The same from a paragraph.
fn deb822_sources(stanza: &Stanza) -> Vec<String> {
    let words = |field| stanza.get(field).unwrap_or_default().split_whitespace();
    if !words("Types").any(|kind| kind == "deb") || !words("Components").any(|component| component == "main")
    {
        return Vec::new();
    }
    let suites: Vec<_> = words("Suites").filter(|suite| is_ours(suite)).collect();
    words("URIs").flat_map(|uri| suites.iter().map(move |suite| format!("{uri} {suite}"))).collect()
}

fn is_ours(suite: &str) -> bool {
    suite == RELEASE
        || suite.strip_prefix(RELEASE).is_some_and(|rest| ["-updates", "-security"].contains(&rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_of_sources_are_read() {
        let line = "# deb http://a/ bookworm main\ndeb [signed-by=/k] http://b/debian bookworm-security main contrib\n\
                    deb-src http://b/debian bookworm main\ndeb http://c/ sid main\n";
        assert_eq!(one_line_sources(line), ["http://b/debian bookworm-security"]);
        let text = "Types: deb deb-src\nURIs: http://d/debian\nSuites: bookworm bookworm-updates sid\nComponents: main\n";
        let stanza = Stanza::all(text).next().expect("there is one");
        assert_eq!(deb822_sources(&stanza), ["http://d/debian bookworm", "http://d/debian bookworm-updates"]);
    }
}
