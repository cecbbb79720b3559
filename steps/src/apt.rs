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
        let Setup { dir, archives, arch, status, extended_states } = setup;
        ensure_keys(&archives)?;
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
        let lines = archives.iter().map(|archive| {
            let keys = archive.keys.signed_by(&dir, &seen)?;
            Ok(source_line(archive, &keys, arch))
        });
        write("sources.list", &lines.collect::<Result<String>>()?)?;
        let lenient = archives.iter().all(|archive| archive.of_host);
        let mut text = configuration(&seen, &self::seen(cx, &packages), arch)
            + PATIENCE
            + &manners(cx, lenient)?
            + LAST_WORD;
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

/// Ends well if each archive has keys on this host that it may be signed with.
fn ensure_keys(archives: &[Archive]) -> Result<()> {
    for keys in archives.iter().filter(|archive| !archive.is_believed).map(|archive| &archive.keys) {
        let first = keys.files.first().map(|file| file.display().to_string()).unwrap_or_default();
        ensure!(
            keys.are_here() || !keys.fingerprints.is_empty(),
            "the keys `{}` are missing: apt-get install {}",
            keys.shown(),
            keyring_package(&first)
        );
    }
    Ok(())
}

/// The line for an archive: `keys` is what it has to be signed by. What the host's own source says of age is said here, too.
fn source_line(archive: &Archive, keys: &str, arch: Architecture) -> String {
    // apt uses packages of `file:` where they are; `copy:` brings them to the directory that the farm shares.
    let uri = archive.uri.strip_prefix("file:").map_or(archive.uri.clone(), |path| format!("copy:{path}"));
    let mut options = vec![format!("arch={}", arch.debian())];
    options.extend((!keys.is_empty()).then(|| format!("signed-by={keys}")));
    options.extend(archive.manners.iter().cloned());
    options.extend(archive.archived.then(|| "check-valid-until=no".to_owned()));
    options.extend(archive.is_believed.then(|| "trusted=yes".to_owned()));
    format!("deb [{}] {uri} {} main\n", options.join(" "), archive.suite)
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

/// A mirror that stalls ends in an error that is worth another try, unless the host's apt is told to be more patient, or less.
const PATIENCE: &str = "\
Acquire::Retries \"1\";
Acquire::http::Timeout \"30\";
Acquire::https::Timeout \"30\";
";

/// Translations, compressed indexes and packages that are only recommended are not wanted.
const LAST_WORD: &str = "\
Acquire::Languages \"none\";
Acquire::GzipIndexes \"false\";
APT::Install-Recommends \"false\";
APT::Keep-Downloaded-Packages \"true\";
";

/// How the host's apt talks to mirrors: proxies, certificates, passwords, patience; and, to the host's own mirror, which may
/// be an image of a moment, what it is told about expiry.
fn manners(cx: &Cx, lenient: bool) -> Result<String> {
    let all = cx.read(&Cmd::new("apt-config").arg("dump"))?;
    Ok(all.lines().filter(|line| is_manner(line, lenient)).map(|line| format!("{line}\n")).collect())
}

/// What of `Acquire` is no manner: what would be believed without a signature, and what indexes are fetched and how they are
/// kept.
const NO_MANNERS: [&str; 12] = [
    "acquire::allowinsecurerepositories",
    "acquire::allowweakrepositories",
    "acquire::allowdowngradetoinsecurerepositories",
    "acquire::allowreleaseinfochange",
    "acquire::cdrom",
    "acquire::changelogs",
    "acquire::compressiontypes",
    "acquire::gzipindexes",
    "acquire::indextargets",
    "acquire::languages",
    "acquire::pdiffs",
    "acquire::snapshots",
];
const EXPIRY: [&str; 4] =
    ["acquire::check-valid-until", "acquire::check-date", "acquire::max-validtime", "acquire::min-validtime"];
const BESIDE: [&str; 4] = ["acquire", "dir::etc::netrc", "dir::etc::netrcparts", "apt::sandbox::user"];

/// Names in apt's configuration are the same in any case.
fn is_manner(line: &str, lenient: bool) -> bool {
    let name = line.split(' ').next().unwrap_or_default().to_ascii_lowercase();
    let is_of = |names: &[&str]| {
        names
            .iter()
            .any(|tree| name.strip_prefix(tree).is_some_and(|rest| rest.is_empty() || rest.starts_with("::")))
    };
    is_of(&BESIDE) && !is_of(&NO_MANNERS) && (lenient || !is_of(&EXPIRY))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keys::Keys;

    #[test]
    fn signatures_are_asked_for_and_files_are_copied() {
        let archive = |uri: &str| Archive::of_plan(uri, "bookworm", Keys::default());
        let line = |archive: &Archive| source_line(archive, "/k.gpg", Architecture::S390x);
        let file = line(&archive("file:/srv/m"));
        assert_eq!(file, "deb [arch=s390x signed-by=/k.gpg] copy:/srv/m bookworm main\n");
        let aged = Archive { manners: vec!["check-date=no".to_owned()], ..archive("http://m.example/d") };
        assert_eq!(
            line(&aged),
            "deb [arch=s390x signed-by=/k.gpg check-date=no] http://m.example/d bookworm main\n"
        );
        let believed = Archive { is_believed: true, ..archive("http://m.example/d") };
        let text = source_line(&believed, "", Architecture::S390x);
        assert_eq!(text, "deb [arch=s390x trusted=yes] http://m.example/d bookworm main\n");
    }

    #[test]
    fn of_the_hosts_configuration_only_manners_are_taken_over() {
        let taken = |line| (is_manner(line, true), is_manner(line, false));
        for manner in [
            "Acquire::http::Proxy \"http://p.example:3128\";",
            "Acquire::HTTP::Proxy \"http://p.example:3128\";",
            "acquire::http::proxy::m.example \"DIRECT\";",
            "Acquire::https::Proxy \"socks5h://p.example:1080\";",
            "Acquire::http::Proxy-Auto-Detect \"/usr/bin/auto-apt-proxy\";",
            "Acquire::ForceIPv4 \"true\";",
            "Acquire::Retries \"10\";",
            "Acquire::http::Timeout \"300\";",
            "Acquire::tor::proxy \"socks5h://localhost:9050\";",
            "Acquire::https::CAInfo \"/etc/ssl/company.pem\";",
            "Dir::Etc::netrcparts \"auth.conf.d\";",
            "APT::Sandbox::User \"root\";",
        ] {
            assert_eq!(taken(manner), (true, true), "{manner}");
        }
        assert_eq!(taken("Acquire::Check-Valid-Until \"false\";"), (true, false));
        assert_eq!(taken("Acquire::Max-ValidTime::Debian \"864000\";"), (true, false));
        for other in [
            "DPkg::Post-Invoke:: \"rm -f x\";",
            "Acquire::GzipIndexes \"true\";",
            "Acquire::AllowInsecureRepositories \"1\";",
            "Acquire::IndexTargets::deb::Packages::MetaKey \"x\";",
            "APT::Get::AllowUnauthenticated \"1\";",
            "Dir::Etc::netrcx \"x\";",
        ] {
            assert_eq!(taken(other), (false, false), "{other}");
        }
    }

    #[test]
    fn a_files_name_is_the_second_word() {
        let line = "'http://m.example/pool/a_1%2b2_all.deb' a_1+2_all.deb 12 MD5Sum:00";
        assert_eq!(uri_file(line).expect("a file"), "a_1+2_all.deb");
        assert!(uri_file("nothing of the kind").is_err());
    }
}
