//! An apt of our own: the host's program, with configuration, sources, lists and status that are private to one purpose.
//!
//! Signatures are always checked. Of the host's configuration it takes over how the host talks to its mirror, and nothing
//! else. It does not know what the packages are for.
//!
//! apt fetches as a user of its own, who cannot go into the state directory: the caches are bound to where that user can.

use crate::architecture::Architecture;
use crate::archives::{self, Deb};
use crate::mirror::Archive;
use crate::release::RELEASES;
use crate::trust;
use anyhow::{Context, Result, bail, ensure};
use drover_engine::{Cmd, Cx, HostFile, Interrupted, Jail};
use std::collections::BTreeSet;
use std::fs::{self, DirBuilder};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

/// An apt of our own.
#[derive(Debug)]
pub struct Apt {
    dir: PathBuf,
    /// The same, as apt sees it,
    seen: PathBuf,
    /// and where it does.
    jail: Jail,
    archives: Vec<Archive>,
    arch: Architecture,
}

/// Where apt sees the caches. It is there with every apt, and what is there is not used by ours.
const PLACE: &str = "/var/cache/apt";

/// What an apt of our own is made for.
#[derive(Debug)]
pub struct Setup<'a> {
    /// Where it keeps everything but packages.
    pub dir: PathBuf,
    /// The archives that it uses.
    pub archives: Vec<Archive>,
    /// The keys that they must be signed with.
    pub keyring: &'a str,
    /// The architecture of the system that it is for.
    pub arch: Architecture,
    /// What dpkg's status of that system says; empty for one that is yet to be made.
    pub status: &'a str,
    /// Which packages of that system were installed automatically, as apt keeps it.
    pub extended_states: &'a str,
}

impl Apt {
    /// Makes it ready, keeping the lists that are there.
    ///
    /// # Errors
    /// When a file cannot be written, or the host's apt does not say how it is configured.
    pub fn set_up(cx: &Cx, setup: Setup<'_>) -> Result<Self> {
        let Setup { dir, archives, keyring, arch, status, extended_states } = setup;
        ensure!(
            Path::new(keyring).exists(),
            "the keys `{keyring}` are missing: apt-get install {}",
            keyring_package(keyring)
        );
        let packages = archives::directory(cx);
        for dir in [dir.join("lists/partial"), dir.join("none/partial"), packages.join("partial")] {
            let made = DirBuilder::new().recursive(true).mode(0o755).create(&dir);
            made.with_context(|| format!("make `{}`", dir.display()))?;
        }
        let jail = Jail::host().bind(cx.cache(""), PLACE);
        let seen = seen(cx, &dir);
        let write = |name: &str, text: &str| HostFile::new(dir.join(name)).write(text);
        write("status", status)?;
        write("extended_states", extended_states)?;
        write("sources.list", &sources_list(&archives, keyring, arch))?;
        let lenient = archives.iter().all(|archive| archive.of_host);
        let mut text =
            configuration(&seen, &self::seen(cx, &packages), arch) + &manners(cx, lenient)? + LAST_WORD;
        if archives.iter().any(|archive| archive.archived) {
            let gpgv = self::seen(cx, &trust::gpgv_of_its_time(&dir)?);
            text += &format!("Apt::Key::gpgvcommand \"{}\";\n", gpgv.display());
        }
        write("apt.conf", &text)?;
        Ok(Self { dir, seen, jail, archives, arch })
    }

    /// Fetches the signed indexes anew, where they changed. Of several archives of one suite, one may fail, which is noted.
    ///
    /// # Errors
    /// When a suite cannot be fetched or its signature is not right, or no archive of it hosts the architecture.
    pub fn update(&self, cx: &Cx) -> Result<()> {
        // Without this, what could not be fetched is a mere warning.
        let ended = cx.run(&self.get().args(["-o", "APT::Update::Error-Mode=any", "update"]));
        if let Err(error) = ended {
            let is_spare = |archive: &Archive| self.archives.iter().any(|other| other.is_spare_of(archive));
            if !self.archives.iter().any(is_spare) || error.downcast_ref::<Interrupted>().is_some() {
                return Err(error);
            }
            // A list that is there is what a mirror sent and signed.
            self.indexes().map_err(|_| error)?;
            cx.note("a mirror of the plan's list cannot be used: packages come from the others");
        }
        self.indexes().map(drop)
    }

    /// The indexes of all archives; of several of one suite, those that are there.
    ///
    /// # Errors
    /// When one of a suite is not there.
    pub fn indexes(&self) -> Result<Vec<PathBuf>> {
        let mut all = BTreeSet::new();
        for archive in &self.archives {
            all.extend(self.indexes_of(archive)?);
        }
        Ok(Vec::from_iter(all))
    }

    /// The text of all indexes: of several mirrors, one may be behind another, so that a package may be there twice.
    ///
    /// # Errors
    /// As [`Apt::indexes`].
    pub fn index_text(&self) -> Result<String> {
        let read =
            |path: PathBuf| fs::read_to_string(&path).with_context(|| format!("read `{}`", path.display()));
        Ok(self.indexes()?.into_iter().map(read).collect::<Result<Vec<_>>>()?.join("\n"))
    }

    /// Where the indexes of an archive's suite are.
    fn indexes_of(&self, archive: &Archive) -> Result<Vec<PathBuf>> {
        let arch = self.arch.debian();
        let end = format!("_dists_{}_main_binary-{arch}_Packages", archive.suite.replace('/', "_"));
        let lists = self.dir.join("lists");
        let mut found = Vec::new();
        for entry in fs::read_dir(&lists).with_context(|| format!("read `{}`", lists.display()))? {
            let path = entry?.path();
            if path.to_string_lossy().ends_with(&end) {
                found.push(path);
            }
        }
        if !found.is_empty() {
            return Ok(found);
        }
        bail!(
            "the mirror `{}` has no `main/binary-{arch}` of `{}`: name a mirror that hosts {arch} in the plan, as in \
             `mirror: \"http://...\"`",
            archive.uri,
            archive.suite
        )
    }

    /// The names of the files that installing `packages` (`name` or `name=version`) would take.
    ///
    /// # Errors
    /// When apt finds no way to install them all.
    pub fn files(&self, cx: &Cx, packages: &[String]) -> Result<Vec<String>> {
        // apt leaves out what is downloaded already, so it is shown a directory without packages.
        let none = format!("Dir::Cache::archives={}", self.seen.join("none").display());
        let text = cx.read(&self.install().args(["--print-uris", "-qq", "-o", &none]).args(packages))?;
        text.lines().map(uri_file).collect()
    }

    /// What installing `packages` would do, in the order in which apt would do it.
    ///
    /// # Errors
    /// As [`Apt::files`].
    pub fn simulate(&self, cx: &Cx, packages: &[String]) -> Result<String> {
        cx.read(&self.install().args(["--simulate", "-qq"]).args(packages))
    }

    /// Whether apt finds a way to install a package.
    ///
    /// # Errors
    /// When apt cannot be run.
    pub fn finds(&self, cx: &Cx, package: &str) -> Result<bool> {
        Ok(cx.probe(&self.install().args(["--simulate", "-qq", package]))?.status.success())
    }

    /// Downloads `debs` to the directory that the farm shares: those that are not there, or are not what they should be.
    /// Nobody else may download at the time: see [`archives::LOCK`].
    ///
    /// # Errors
    /// When one cannot be fetched, or is not what its archive's index says.
    pub fn download(&self, cx: &Cx, debs: &[Deb]) -> Result<()> {
        let total = debs.len() as u64;
        let mut done = archives::sift(cx, debs)?;
        cx.progress(done, total);
        if done < total {
            let exactly = debs.iter().map(|deb| format!("{}={}", deb.name, deb.version));
            let command = self.install().arg("--download-only").args(exactly);
            cx.watch(&command, &mut |line| {
                if line.starts_with("Get:") {
                    done += 1;
                    cx.progress(done.min(total), total);
                }
            })?;
        }
        archives::prove(cx, debs)
    }

    fn get(&self) -> Cmd {
        Cmd::new("apt-get").arg("-q").env("APT_CONFIG", self.seen.join("apt.conf")).inside(&self.jail)
    }

    fn install(&self) -> Cmd {
        self.get().args(["install", "--yes", "--no-remove", "--no-install-recommends"])
    }
}

/// Where apt sees what is in the cache.
fn seen(cx: &Cx, path: &Path) -> PathBuf {
    match path.strip_prefix(cx.cache("")) {
        Ok(rest) => Path::new(PLACE).join(rest),
        Err(_) => path.to_owned(),
    }
}

/// The package of the host that holds a keyring.
fn keyring_package(path: &str) -> &'static str {
    let mut known = RELEASES.iter().filter_map(|release| release.keys);
    known.find(|keys| keys.path == path).map_or("debian-archive-keyring", |keys| keys.package)
}

/// The file's name in a line such as `'http://...' NAME SIZE MD5Sum:...`.
fn uri_file(line: &str) -> Result<String> {
    let file = line.split(' ').nth(1).filter(|file| file.ends_with(".deb"));
    Ok(file.with_context(|| format!("apt names a file in a way we do not know: `{line}`"))?.to_owned())
}

fn sources_list(archives: &[Archive], keyring: &str, arch: Architecture) -> String {
    let line = |archive: &Archive| {
        // apt uses packages of `file:` where they are; `copy:` brings them to the directory that the farm shares.
        let uri =
            archive.uri.strip_prefix("file:").map_or(archive.uri.clone(), |path| format!("copy:{path}"));
        let age = if archive.archived { " check-valid-until=no" } else { "" };
        format!("deb [arch={} signed-by={keyring}{age}] {uri} {} main\n", arch.debian(), archive.suite)
    };
    archives.iter().map(line).collect()
}

/// APT_CONFIG is read before all other files, so it can turn them off.
fn configuration(dir: &Path, packages: &Path, arch: Architecture) -> String {
    let nothing = [
        "Dir::Etc::main",
        "Dir::Etc::parts",
        "Dir::Etc::sourceparts",
        "Dir::Etc::preferences",
        "Dir::Etc::preferencesparts",
        "Dir::Etc::trusted",
        "Dir::Etc::trustedparts",
    ];
    let own = [
        ("Dir::State", ""),
        ("Dir::State::lists", "lists"),
        ("Dir::State::status", "status"),
        ("Dir::State::extended_states", "extended_states"),
        ("Dir::Cache", ""),
        ("Dir::Etc::sourcelist", "sources.list"),
        ("Dir::Log", ""),
    ];
    let mut lines: Vec<_> = nothing.iter().map(|name| format!("{name} \"/dev/null\";\n")).collect();
    lines.extend(own.iter().map(|(name, path)| format!("{name} \"{}\";\n", dir.join(path).display())));
    lines.push(format!("Dir::Cache::archives \"{}\";\n", packages.display()));
    lines.push(format!("APT::Architecture \"{0}\";\nAPT::Architectures {{ \"{0}\"; }};\n", arch.debian()));
    lines.concat()
}

/// A mirror that stalls ends in an error that is worth another try; translations and hooks are not wanted.
const LAST_WORD: &str = "\
Acquire::Languages \"none\";
Acquire::Retries \"1\";
Acquire::http::Timeout \"30\";
Acquire::https::Timeout \"30\";
APT::Install-Recommends \"false\";
APT::Keep-Downloaded-Packages \"true\";
";

/// How the host's apt talks to mirrors: its proxies, certificates and passwords; and, to the host's own mirror, which may be
/// an image of a moment, what it is told about expiry.
fn manners(cx: &Cx, lenient: bool) -> Result<String> {
    let all = cx.read(&Cmd::new("apt-config").arg("dump"))?;
    Ok(all.lines().filter(|line| is_manner(line, lenient)).map(|line| format!("{line}\n")).collect())
}

fn is_manner(line: &str, lenient: bool) -> bool {
    let manners =
        ["Acquire::http::", "Acquire::https::", "Acquire::http ", "Acquire::https ", "Dir::Etc::netrc"];
    let expiry = ["Acquire::Check-Valid-Until ", "Acquire::Check-Date ", "Acquire::Max-ValidTime "];
    let starts = |names: &[&str]| names.iter().any(|name| line.starts_with(name));
    starts(&manners) || (lenient && starts(&expiry))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signatures_are_asked_for_and_files_are_copied() {
        let archive = |uri: &str| Archive {
            uri: uri.to_owned(),
            suite: "bookworm".to_owned(),
            of_host: true,
            archived: false,
        };
        let text = sources_list(
            &[archive("file:/srv/m"), archive("http://m.example/d")],
            "/k.gpg",
            Architecture::S390x,
        );
        assert_eq!(
            text,
            "deb [arch=s390x signed-by=/k.gpg] copy:/srv/m bookworm main\n\
             deb [arch=s390x signed-by=/k.gpg] http://m.example/d bookworm main\n"
        );
    }

    #[test]
    fn of_the_hosts_configuration_only_manners_are_taken_over() {
        let taken = |line| (is_manner(line, true), is_manner(line, false));
        assert_eq!(taken("Acquire::http::Proxy \"http://p.example:3128\";"), (true, true));
        assert_eq!(taken("Acquire::Check-Valid-Until \"false\";"), (true, false));
        assert_eq!(taken("DPkg::Post-Invoke:: \"rm -f x\";"), (false, false));
        assert_eq!(taken("Acquire::GzipIndexes \"true\";"), (false, false));
    }

    #[test]
    fn a_files_name_is_the_second_word() {
        let line = "'http://m.example/pool/a_1%2b2_all.deb' a_1+2_all.deb 12 MD5Sum:00";
        assert_eq!(uri_file(line).expect("a file"), "a_1+2_all.deb");
        assert!(uri_file("nothing of the kind").is_err());
    }
}
