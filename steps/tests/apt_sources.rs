//! What is made of a host's apt sources, held against what apt itself makes of them: the real apt, with its directories pointed
//! into a temporary place. It needs no network and no root. Where there is no apt it says so.

use anyhow::{Context, Result, ensure};
use drover_engine::Cx;
use drover_steps::apt_sources::{self, Sources};
use drover_steps::architecture::Architecture;
use drover_steps::base::Base;
use drover_steps::farm::Farm;
use drover_steps::keys::Keys;
use drover_steps::mirror::Mirror;
use drover_steps::program;
use drover_steps::release::{Distribution, find};
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use tempfile::TempDir;

/// The directories of an apt.
struct Etc(TempDir);

impl Etc {
    fn new() -> Result<Option<Self>> {
        if program::find("apt-get").is_none() {
            println!("there is no apt: what is made of its sources was not exercised");
            return Ok(None);
        }
        let place = tempfile::tempdir()?;
        for directory in
            ["sources.list.d", "trusted.gpg.d", "mirrors", "repository/dists/x", "lists/partial", "cache"]
        {
            fs::create_dir_all(place.path().join(directory))?;
        }
        Ok(Some(Self(place)))
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn write(&self, name: &str, text: impl AsRef<[u8]>) -> Result<&Self> {
        fs::write(self.path(name), text).with_context(|| format!("write {name}"))?;
        Ok(self)
    }

    fn options(&self) -> Vec<String> {
        let at = |name: &str, path: &str| format!("Dir::Etc::{name}={}", self.path(path).display());
        vec![
            at("sourcelist", "sources.list"),
            at("sourceparts", "sources.list.d"),
            at("trusted", "trusted.gpg"),
            at("trustedparts", "trusted.gpg.d"),
        ]
    }

    fn sources(&self) -> Result<Sources> {
        apt_sources::ask(&Cx::to_look(), &self.options())
    }

    /// `URI SUITE` of the sources for amd64.
    fn shown(&self) -> Result<Vec<String>> {
        let sources = self.sources()?;
        let of_amd64 = sources.all.iter().filter(|source| source.arch == Architecture::Amd64);
        Ok(of_amd64.map(|source| format!("{} {}", source.uri, source.suite)).collect())
    }

    /// By which keys apt itself would prove the one archive there is, as it tells whoever fetches; a key itself as its text.
    fn signed_by_of_apt(&self) -> Result<String> {
        let more = ["APT::Sandbox::User=root", "Debug::NoLocking=1", "Debug::pkgAcquire::Worker=1"];
        let own = [
            format!("Dir::State::lists={}/", self.path("lists").display()),
            format!("Dir::Cache={}", self.path("cache").display()),
        ];
        let mut command = Command::new("apt-get");
        for option in self.options().into_iter().chain(own).chain(more.map(str::to_owned)) {
            command.arg("-o").arg(option);
        }
        let said = command.arg("update").output()?;
        let said = decoded(&decoded(&String::from_utf8_lossy(&said.stderr)));
        ensure!(said.contains("URI Acquire"), "apt asked for nothing: {said}");
        let Some((_, after)) = said.split_once("Signed-By: ") else { return Ok(String::new()) };
        let end = if after.starts_with("-----") { "-----END PGP PUBLIC KEY BLOCK-----\n" } else { "\n" };
        let (value, _) = after.split_once(end).context("apt ends what it says")?;
        Ok(if end == "\n" { value.to_owned() } else { format!("{value}{end}") })
    }
}

/// apt writes what it tells its methods with `%0a` for an end of line.
fn decoded(text: &str) -> String {
    ["%0a", "%20", "%25"]
        .iter()
        .zip(["\n", " ", "%"])
        .fold(text.to_owned(), |text, (from, to)| text.replace(from, to))
}

const STANZA: &str = "Types: deb\nURIs: http://m.example/debian\nSuites: x\nComponents: main\n";

#[test]
fn what_apt_does_not_read_is_no_source() -> Result<()> {
    let Some(etc) = Etc::new()? else { return Ok(()) };
    let line = |host: &str| format!("deb http://{host}.example/debian x main\n");
    for name in [
        "sources.list.d/a.list.save",
        "sources.list.d/b.list~",
        "sources.list.d/c.disabled",
        "sources.list.d/d e.list",
        "sources.list.d/.hidden.list",
        "sources.list.d/README",
    ] {
        etc.write(name, line("never"))?;
    }
    fs::create_dir(etc.path("sources.list.d/directory.list"))?;
    symlink("/nowhere", etc.path("sources.list.d/dangling.list"))?;
    symlink("/nowhere", etc.path("sources.list.d/dangling.sources"))?;
    for word in ["no", "No", "NO", "false", "0", "off", "without", "disable"] {
        etc.write(&format!("sources.list.d/{word}.sources"), format!("Enabled: {word}\n{STANZA}"))?;
    }
    let only_comments = STANZA.lines().map(|line| format!("#{line}\n")).collect::<String>();
    etc.write("sources.list.d/commented.sources", only_comments)?;
    etc.write("sources.list.d/source.sources", STANZA.replace("deb", "deb-src"))?;
    etc.write("sources.list.d/contrib.sources", STANZA.replace("main", "contrib"))?;
    etc.write(
        "sources.list",
        format!("# deb http://off.example x main\ndeb-src http://s.example/ x main\n{}", line("first")),
    )?;
    etc.write("sources.list.d/z.list", line("last"))?;
    assert_eq!(etc.shown()?, ["http://first.example/debian x", "http://last.example/debian x"]);
    Ok(())
}

#[test]
fn both_forms_are_read_with_all_that_they_multiply_to() -> Result<()> {
    let Some(etc) = Etc::new()? else { return Ok(()) };
    etc.write(
        "sources.list",
        b"# caf\xe9\n\tdeb\t[ arch=amd64 ]   http://a.example/debian/  x   contrib main # main\n",
    )?;
    etc.write(
        "sources.list.d/b.sources",
        b"# caf\xe9\nTypes: deb deb-src\n# in between\nURIs: http://b.example/debian/\n  http://c.example/debian\n\
          Suites: x x-updates\nComponents: main\nArchitectures: amd64 arm64\n\n\n# nothing\n\ntypes: deb\nuris: file:/srv/m\n\
          suites: x\ncomponents: main\n",
    )?;
    let expected = [
        "http://a.example/debian x",
        "http://b.example/debian x",
        "http://b.example/debian x-updates",
        "http://c.example/debian x",
        "http://c.example/debian x-updates",
        "file:/srv/m x",
    ];
    assert_eq!(etc.shown()?, expected);
    let of_arm64 = etc.sources()?.all.iter().filter(|source| source.arch == Architecture::Arm64).count();
    assert_eq!(of_arm64, 5);
    Ok(())
}

#[test]
fn what_apt_cannot_read_is_told_with_its_place() -> Result<()> {
    let Some(etc) = Etc::new()? else { return Ok(()) };
    etc.write("sources.list", "deb http://m.example\n")?;
    let error = format!("{:#}", etc.sources().expect_err("apt does not read that"));
    assert!(error.contains("Malformed entry 1") && error.contains("sources.list"), "{error}");
    Ok(())
}

/// A key as it stands in a file `*.sources`.
const KEY: &str = "\n -----BEGIN PGP PUBLIC KEY BLOCK-----\n .\n aGVsbG8g\n# a comment\n d29ybGQ=\n =abcd\n \
                   -----END PGP PUBLIC KEY BLOCK-----";
const ONE: &str = "4CB50190207B4758A3F73A796ED0E7B82643E131";
const OTHER: &str = "05AB90340C0C5E797F44A8C8254CF3B5AEC0A8F0";

/// Each archive is signed with the keys with which apt would have it signed.
#[test]
fn keys_are_those_that_apt_takes() -> Result<()> {
    let Some(etc) = Etc::new()? else { return Ok(()) };
    let clear = "-----BEGIN PGP SIGNED MESSAGE-----\n\nOrigin: x\n-----BEGIN PGP SIGNATURE-----\n\niQI=\n-----END PGP SIGNATURE-----\n";
    etc.write("repository/dists/x/InRelease", clear)?;
    let uri = format!("file:{}", etc.path("repository").display());
    let lines = [
        String::new(),
        "[arch=amd64]".to_owned(),
        "[signed-by=/a.gpg]".to_owned(),
        "[ arch=amd64  signed-by=/a.gpg,/b.asc ]".to_owned(),
        "[signed-by=/a.gpg signed-by=/b.gpg]".to_owned(),
        "[signed-by=\"/a.gpg\"]".to_owned(),
        format!("[signed-by={ONE}]"),
        format!("[signed-by={ONE}!,{OTHER}]"),
        format!("[signed-by={ONE},/a.gpg]"),
        "[Signed-By=/a.gpg]".to_owned(),
    ];
    for options in &lines {
        etc.write("sources.list", format!("# before\n\ndeb {options} {uri} x main\n"))?;
        agree(&etc, options)?;
    }
    etc.write("sources.list", "")?;
    let fields = [
        "Signed-By: /a.gpg".to_owned(),
        "signed-by:   /a.gpg /b.gpg".to_owned(),
        "Signed-By: /a.gpg,/b.gpg".to_owned(),
        "Signed-By: /a.gpg,\n# a comment\n /b.gpg".to_owned(),
        format!("Signed-By: {ONE} {OTHER}"),
        format!("Signed-By:{KEY}"),
        "Signed-By:".to_owned(),
    ];
    let befores = [
        "",
        "# a comment\n\n",
        "# one\n\n\n# two\n",
        "Types: deb\nEnabled: no\nURIs: http://o.example\nSuites: o\nComponents: main\nSigned-By: /o.gpg\n\n",
    ];
    for (field, before) in fields.iter().flat_map(|field| befores.map(|before| (field, before))) {
        let stanza = STANZA.replace("http://m.example/debian", &uri);
        etc.write("sources.list.d/a.sources", format!("{before}{stanza}{field}\n"))?;
        agree(&etc, &format!("{before}{field}"))?;
    }
    Ok(())
}

fn agree(etc: &Etc, case: &str) -> Result<()> {
    let sources = etc.sources().context(case.to_owned())?;
    let source =
        sources.all.iter().find(|source| source.arch == Architecture::Amd64).context("one source")?;
    let ours = source.options.signed_by.as_deref().map(Keys::named).unwrap_or_default();
    let apt = etc.signed_by_of_apt().context(case.to_owned())?;
    let theirs = if apt.is_empty() { Keys::default() } else { Keys::named(&apt) };
    assert_eq!(ours, theirs, "{case}");
    Ok(())
}

#[test]
fn trust_and_age_are_as_the_entry_says() -> Result<()> {
    let Some(etc) = Etc::new()? else { return Ok(()) };
    let of = |options: &str| -> Result<_> {
        etc.write("sources.list", format!("deb {options} http://m.example/debian x main\n"))?;
        Ok(etc.sources()?.all[0].options.clone())
    };
    for (word, expected) in [
        ("yes", Some(true)),
        ("TRUE", Some(true)),
        ("1", Some(true)),
        ("no", Some(false)),
        ("off", Some(false)),
    ] {
        assert_eq!(of(&format!("[trusted={word}]"))?.trusted, expected, "{word}");
    }
    assert_eq!(of("")?.trusted, None);
    let said = of("[check-valid-until=no arch=amd64 valid-until-max=100 lang=de]")?;
    assert_eq!(said.manners, ["check-valid-until=no", "valid-until-max=100"]);
    etc.write("sources.list", "")?;
    etc.write(
        "sources.list.d/a.sources",
        format!("{STANZA}Trusted: yes\nCheck-Valid-Until: no\nCheck-Date: no\n"),
    )?;
    let said = etc.sources()?.all[0].options.clone();
    assert_eq!(
        (said.trusted, said.manners),
        (Some(true), vec!["check-valid-until=no".to_owned(), "check-date=no".to_owned()])
    );
    Ok(())
}

/// The mirror for Debian bookworm, of a host whose apt has these sources.
fn mirror(etc: &Etc, arch: Architecture) -> Result<Mirror> {
    let release = find(Distribution::Debian, "bookworm").context("in the table")?;
    let base = Base { release, arch, mirrors: Vec::new(), keyring: None, farm: Arc::new(Farm::default()) };
    Mirror::choose(&Cx::to_look(), &base, &etc.sources()?)
}

#[test]
fn debians_cloud_images_are_understood() -> Result<()> {
    let Some(etc) = Etc::new()? else { return Ok(()) };
    let list = |name: &str| etc.path(&format!("mirrors/{name}.list")).display().to_string();
    etc.write("mirrors/debian.list", "# one a line\nhttps://deb.example.org/debian\n")?;
    etc.write("mirrors/debian-security.list", "\n#\nhttps://deb.example.org/debian-security\n")?;
    let keyring = "/usr/share/keyrings/debian-archive-keyring.gpg";
    etc.write(
        "sources.list.d/debian.sources",
        format!(
            "Types: deb deb-src\nURIs: mirror+file://{}\nSuites: bookworm bookworm-updates bookworm-backports\nComponents: main\n\n\
             Types: deb deb-src\nURIs: mirror+file://{}\nSuites: bookworm-security\nComponents: main\n",
            list("debian"),
            list("debian-security")
        ),
    )?;
    etc.write("trusted.gpg.d/debian.asc", "")?.write("trusted.gpg.d/x.gpg~", "")?;
    let mirror = mirror(&etc, Architecture::Arm64)?;
    assert_eq!((mirror.main.uri.as_str(), mirror.others.len()), ("https://deb.example.org/debian", 0));
    let security = mirror.security.context("it has one")?;
    assert_eq!(
        (security.uri.as_str(), security.suite.as_str()),
        ("https://deb.example.org/debian-security", "bookworm-security")
    );
    assert_eq!(security.keys.files, [etc.path("trusted.gpg.d/debian.asc"), Path::new(keyring).to_owned()]);
    Ok(())
}

#[test]
fn vendors_beside_debian_are_left_alone() -> Result<()> {
    let Some(etc) = Etc::new()? else { return Ok(()) };
    etc.write(
        "sources.list.d/debian.sources",
        STANZA.replace("Suites: x", "Suites: bookworm bookworm-updates"),
    )?;
    for (name, line) in [
        (
            "a-docker",
            "deb [arch=amd64 signed-by=/etc/apt/keyrings/docker.asc] https://download.docker.example/linux/debian bookworm stable",
        ),
        (
            "a-wine",
            "deb [signed-by=/etc/apt/keyrings/wine.key] https://dl.wine.example/wine-builds/debian bookworm main",
        ),
        ("a-vendor", "deb https://packages.vendor.example/debian bookworm main"),
        ("a-google", "deb https://packages.cloud.example/apt cloud-sdk-bookworm main"),
        ("a-flat", "deb https://flat.example/debian ./"),
    ] {
        etc.write(&format!("sources.list.d/{name}.list"), format!("{line}\n"))?;
    }
    assert_eq!(mirror(&etc, Architecture::Amd64)?.main.uri, "http://m.example/debian");
    assert_eq!(mirror(&etc, Architecture::S390x)?.main.uri, "http://m.example/debian");
    Ok(())
}
