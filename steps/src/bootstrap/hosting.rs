//! Whether a mirror hosts a release for an architecture, before anything runs: what its signed Release file says, or, of
//! RPM's distributions, whether there are packages.
//!
//! A mirror that cannot be asked is no reason to give up here: that may pass, and what fetches from it will see.

use super::{checkpoint, pool, seal};
use crate::base::Base;
use crate::deb822::paragraphs;
use crate::keys::Keys;
use crate::mirror::{self, Archive, Mirror};
use crate::release::Distribution;
use crate::trust;
use anyhow::{Context, Result, bail};
use drover_engine::{Cmd, Cx};
use std::path::{Path, PathBuf};

/// What a mirror says about a release and an architecture, unless that it does not host them, which is an error.
pub(crate) enum Hosting {
    /// It does, in words.
    Hosted(String),
    /// It cannot be asked now, and why.
    Unasked(String),
    /// It was not asked, since what proves its answer is not installed yet; in words.
    Unproved(String),
    /// It was not asked, since the host's own apt is told to believe it without a signature; in words.
    Believed(String),
}

/// Ends well unless the mirror says that it does not host the release for that architecture.
pub(crate) fn ensure_hosted(cx: &Cx, base: &Base) -> Result<()> {
    match hosting(cx, base)? {
        Hosting::Unasked(why) | Hosting::Unproved(why) | Hosting::Believed(why) => cx.doubt(&why),
        Hosting::Hosted(_) => {}
    }
    Ok(())
}

/// Asks the mirror whether it hosts the release for that architecture.
pub(crate) fn hosting(cx: &Cx, base: &Base) -> Result<Hosting> {
    let mut worst = None;
    for archive in Mirror::of(cx, base)?.archives() {
        match ask(cx, base, &archive) {
            Ok(Hosting::Hosted(said)) => return whole(cx, base, said),
            Ok(unasked) => worst = Some(Ok(unasked)),
            refused => worst = worst.or(Some(refused)),
        }
    }
    worst.context("a release has a mirror")?
}

/// What became of the question for the files, where the mirror hosts the release.
fn whole(cx: &Cx, base: &Base, said: String) -> Result<Hosting> {
    // Once the packages are known, who fetches them tells what cannot be had.
    let is_known =
        || Ok::<_, anyhow::Error>(seal::is_complete(base)? || checkpoint::manifest(base)?.is_some());
    if !base.release.is_bootstrapped() || is_known()? {
        return Ok(Hosting::Hosted(said));
    }
    Ok(match pool::ensure_whole(cx, base)? {
        None => Hosting::Hosted(format!("{said}; it has all files of the base system")),
        // That it hosts the release is what matters; the files are asked for once more when they are fetched.
        Some(why) => Hosting::Hosted(format!("{said}; its files were not asked for: {why}")),
    })
}

/// Asks one mirror.
fn ask(cx: &Cx, base: &Base, archive: &Archive) -> Result<Hosting> {
    let answer = match base.release.distribution {
        _ if archive.is_believed => Hosting::Believed(format!(
            "packages from `{}` are used whatever they are signed with, since the sources of the host's apt say `trusted=yes`",
            archive.uri
        )),
        _ if !archive.uri.starts_with("http") => {
            Hosting::Unasked("only the packages' own tools can reach it".to_owned())
        }
        Distribution::CentOS => of_rpm(cx, base, &archive.uri)?,
        _ => of_apt(cx, base, archive)?,
    };
    Ok(match answer {
        Hosting::Unasked(why) => {
            Hosting::Unasked(format!("the mirror `{}` was not asked: {why}", archive.uri))
        }
        Hosting::Unproved(why) => {
            Hosting::Unproved(format!("the mirror `{}` was not asked: {why}", archive.uri))
        }
        other => other,
    })
}

/// The certificates that apt believes servers by.
const CERTIFICATES: &str = "/etc/ssl/certs/ca-certificates.crt";

/// Whether packages of the farm may have to be installed before the mirror can be asked, and what it says be proved. A fresh
/// Debian lacks none, so that nobody waits there for the host's packages who does not need them.
pub(super) fn lacks_packages(base: &Base) -> bool {
    let keys = base.keyring.as_ref().map_or_else(|| Keys::of_release(base.release), Keys::file);
    let has_certificates = Path::new(CERTIFICATES).exists();
    let is_reached =
        |uri: &String| uri.starts_with("http://") || uri.starts_with("https://") && has_certificates;
    // What the plan names of its own may come with packages of its own, such as a company's certificates.
    let is_special = !base.mirrors.is_empty() || base.keyring.is_some();
    trust::missing_verifier(base.release).is_some()
        || !keys.are_here()
        || !base.mirrors.iter().all(is_reached)
        || is_special && !base.farm.extra_packages.is_empty()
}

/// Where the packages of a release of RPM's distributions are.
pub(crate) fn repository(cx: &Cx, base: &Base) -> Result<String> {
    let mirror = Mirror::of(cx, base)?.main.uri;
    Ok(format!("{mirror}/{}/os/{}/", base.release.version, base.arch.rpm()))
}

fn of_apt(cx: &Cx, base: &Base, archive: &Archive) -> Result<Hosting> {
    let keys = &archive.keys;
    if !keys.are_here() {
        return Ok(Hosting::Unproved(format!(
            "the keys it is to be proved with are not installed yet: {}",
            keys.shown()
        )));
    }
    if let Some(package) = trust::missing_verifier(base.release) {
        return Ok(Hosting::Unproved(format!(
            "`{package}`, which proves its signature, is not installed yet"
        )));
    }
    let directory = tempfile::tempdir().context("make a temporary directory")?;
    let uri = format!("{}/dists/{}/InRelease", archive.uri, archive.suite);
    let signed = match download(cx, &uri, directory.path())? {
        Answer::Here(signed) => signed,
        Answer::Refused(answer) => bail!(
            "the mirror `{}` does not host `{}` (`{answer}` for {uri}): {}",
            archive.uri,
            archive.suite,
            mirror::remedy(base, &archive.uri)
        ),
        Answer::None(said) => return Ok(Hosting::Unasked(said)),
    };
    let text = trust::verified(cx, &signed, keys, base.release.is_archived()).with_context(|| {
        format!(
            "the Release file of `{}` at the mirror `{}` is not signed as it should be, with {} (a mirror that somebody else \
             signs: name the keys in the plan, as in `keyring: \"/usr/share/keyrings/company.gpg\"`)",
            archive.suite,
            archive.uri,
            keys.shown()
        )
    })?;
    ensure_listed(&text, archive, base)?;
    Ok(Hosting::Hosted(format!("{} hosts it, and its signature is right", archive.uri)))
}

fn of_rpm(cx: &Cx, base: &Base, mirror: &str) -> Result<Hosting> {
    let repository = repository(cx, base)?;
    let directory = tempfile::tempdir().context("make a temporary directory")?;
    let uri = format!("{repository}repodata/repomd.xml");
    Ok(match download(cx, &uri, directory.path())? {
        Answer::Here(_) => Hosting::Hosted(format!(
            "{repository} has packages, whose signatures the template does not look at"
        )),
        Answer::Refused(answer) => bail!(
            "there are no packages at `{repository}` (`{answer}` for {uri}): {}",
            mirror::remedy(base, mirror)
        ),
        Answer::None(said) => Hosting::Unasked(said),
    })
}

/// What came of asking a mirror for a file.
enum Answer {
    /// The file.
    Here(PathBuf),
    /// What the mirror says, if asking again will not change it.
    Refused(String),
    /// Why there is no answer now.
    None(String),
}

fn download(cx: &Cx, uri: &str, directory: &Path) -> Result<Answer> {
    let file = directory.join("answer");
    // Its own directory keeps the sandbox of apt's downloads out, which could not write there.
    let command = Cmd::new("/usr/lib/apt/apt-helper").args(["-o", "APT::Sandbox::User=root"]);
    let command = command.args([
        "-o",
        "Acquire::http::Timeout=10",
        "-o",
        "Acquire::https::Timeout=10",
        "-o",
        "Acquire::Retries=0",
        "download-file",
        uri,
    ]);
    let ended = cx.probe(&command.arg(&file))?;
    if ended.status.success() {
        return Ok(Answer::Here(file));
    }
    let said = ended.stderr + &ended.stdout;
    Ok(match refusal(&said) {
        Some(answer) => Answer::Refused(answer.to_owned()),
        None => Answer::None(reason(&said).to_owned()),
    })
}

/// Why there is no answer, of all that was said: the line behind apt's `Err:`.
fn reason(said: &str) -> &str {
    let mut lines = said.lines().map(str::trim).skip_while(|line| !line.starts_with("Err:")).skip(1);
    lines.next().unwrap_or(said.trim())
}

/// What the mirror answers, if it is one that asking again will not change: `404  Not Found`.
fn refusal(said: &str) -> Option<&str> {
    let answers = said.lines().map(|line| line.split(" [IP:").next().unwrap_or(line).trim());
    answers
        .into_iter()
        .find(|answer| ["400 ", "403 ", "404 ", "410 "].iter().any(|code| answer.starts_with(code)))
}

fn ensure_listed(release: &str, archive: &Archive, base: &Base) -> Result<()> {
    let arch = base.arch.debian();
    let paragraph = paragraphs(release).next().context("the Release file is empty")?;
    let start = format!("main/binary-{arch}/Packages");
    if paragraph.words("SHA256").any(|word| word.starts_with(&start)) {
        return Ok(());
    }
    let hosted: Vec<_> = paragraph.words("Architectures").filter(|&arch| arch != "all").collect();
    bail!(
        "the mirror `{}` has no `main/binary-{arch}` of `{}`, it hosts {}: {}",
        archive.uri,
        archive.suite,
        hosted.join(" "),
        mirror::remedy(base, &archive.uri)
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::architecture::Architecture;
    use crate::farm::Farm;
    use crate::release::RELEASES;
    use std::sync::Arc;

    #[test]
    fn a_refusal_is_told_from_a_mirror_that_cannot_be_reached() {
        let said =
            |line: &str| format!("Err:1 http://m.example/dists/x/InRelease\n  {line} [IP: 192.0.2.1 80]\n");
        assert_eq!(refusal(&said("404  Not Found")), Some("404  Not Found"));
        assert_eq!(refusal(&said("Connection failed")), None);
        assert_eq!(refusal(&said("503  Service Unavailable")), None);
    }

    #[test]
    fn an_architecture_without_packages_is_told_with_those_that_are_there() {
        let release =
            "Suite: x\nArchitectures: all amd64 mips\nSHA256:\n 00 12 main/binary-amd64/Packages.xz\n";
        let uri = "http://m.example".to_owned();
        let archive = Archive::of_plan(&uri, "bookworm", Keys::default());
        let bookworm = RELEASES.iter().find(|release| release.code_name == "bookworm").expect("known");
        let base = |arch| Base {
            release: bookworm,
            arch,
            mirrors: Vec::new(),
            keyring: None,
            farm: Arc::new(Farm::default()),
        };
        assert!(ensure_listed(release, &archive, &base(Architecture::Amd64)).is_ok());
        let error =
            ensure_listed(release, &archive, &base(Architecture::Arm64)).expect_err("none").to_string();
        let official = bookworm.official_mirror(Architecture::Arm64).expect("it has one");
        for part in ["main/binary-arm64", "hosts amd64 mips", &format!("`mirror: \"{official}\"`")] {
            assert!(error.contains(part), "{error}");
        }
        let official = Archive { uri: official.to_owned(), ..archive };
        let error =
            ensure_listed(release, &official, &base(Architecture::Arm64)).expect_err("none").to_string();
        assert!(error.contains("name a mirror that has"), "{error}");
    }
}
