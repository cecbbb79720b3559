//! Where the host's apt takes packages from: asked of apt itself, since it alone knows which of its files it reads, and how.
//!
//! apt says address, suite, component, architecture, and in which entry of which file that stands. What else the entry says
//! (keys, age, trust) apt does not tell: that is read there, see `apt_entry`. Which source hosts what is for `mirror` to say.

use crate::apt_entry::{self, Options};
use crate::architecture::Architecture;
use crate::deb822::{Paragraph, paragraphs};
use crate::program;
use anyhow::{Context, Result, bail};
use drover_engine::{Cmd, Cx};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// One archive that apt takes binary packages from: an address, a suite with its component `main`, and an architecture.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// The archive's address, without a slash at its end.
    pub uri: String,
    /// The suite: `bookworm`, `bookworm-security`.
    pub suite: String,
    /// For which architecture.
    pub arch: Architecture,
    /// What else its entry says.
    pub options: Options,
    /// The file and the line, or the paragraph, that it stands in: `/etc/apt/sources.list:3`.
    pub entry: String,
}

/// All that apt is told of.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sources {
    /// The sources, in the order in which apt reads them.
    pub all: Vec<Source>,
    /// The files of the keys that count for a source that names none.
    pub trusted: Vec<PathBuf>,
}

/// The sources of this host's apt; none where there is no apt.
///
/// # Errors
/// When apt cannot read them.
pub fn of_host(cx: &Cx) -> Result<Arc<Sources>> {
    cx.once("the sources of the host's apt", || match program::find("apt-get") {
        Some(_) => ask(cx, &[]),
        None => Ok(Sources::default()),
    })
}

/// The sources of an apt that is given these options, such as `Dir::Etc::sourcelist=/x`.
///
/// # Errors
/// When apt cannot read them.
pub fn ask(cx: &Cx, options: &[String]) -> Result<Sources> {
    let place = tempfile::tempdir().context("make a temporary directory")?;
    let lists = place.path().join("lists");
    fs::create_dir_all(lists.join("partial")).context("make a temporary directory")?;
    let configuration = place.path().join("apt.conf");
    fs::write(&configuration, every_architecture()).context("write a temporary file")?;
    let apt = |program: &str| {
        let lists = format!("Dir::State::lists={}/", lists.display());
        let command = Cmd::new(program).arg("-c").arg(&configuration).args(["-o", &lists]);
        options.iter().fold(command, |command, option| command.args(["-o", option]))
    };
    // It tells more only of indexes that are there: empty ones will do.
    let files = told(cx, &apt("apt-get").args(["update", "--print-uris"]))?;
    for name in files.lines().filter_map(|line| line.split(' ').nth(1)).filter(|name| is_index(name)) {
        fs::write(lists.join(name), "").with_context(|| format!("make an empty list `{name}`"))?;
    }
    let ask = ["indextargets", "--no-release-info", "Created-By: Packages", "Component: main"];
    let all = paragraphs(&told(cx, &apt("apt-get").args(ask))?).filter_map(source).collect::<Result<_>>()?;
    let shell = ["shell", "FILE", "Dir::Etc::trusted/f", "PARTS", "Dir::Etc::trustedparts/d"];
    let trusted = trusted(&cx.read(&apt("apt-config").args(shell))?)?;
    Ok(Sources { all, trusted })
}

/// What apt prints, or else what it finds wrong.
fn told(cx: &Cx, command: &Cmd) -> Result<String> {
    let ended = cx.probe(command)?;
    if ended.status.success() {
        return Ok(ended.stdout);
    }
    let mut errors: Vec<_> = ended.stderr.lines().filter_map(|line| line.strip_prefix("E: ")).collect();
    errors.dedup();
    bail!("the host's apt cannot read its own sources, as `apt-get check` shows: {}", errors.join("; "))
}

/// What apt is told first: to name the sources of every architecture, whichever the host has.
fn every_architecture() -> String {
    let names: String = Architecture::all().map(|arch| format!("\"{arch}\"; ")).collect();
    format!("#clear APT::Architectures;\nAPT::Architectures {{ {names}}};\n")
}

fn is_index(name: &str) -> bool {
    name.ends_with("_Packages") && !name.contains('/')
}

/// What a paragraph of apt's says of a source; nothing for an architecture that Drover does not know.
fn source(told: Paragraph<'_>) -> Option<Result<Source>> {
    let field =
        |name: &str| told.field(name).with_context(|| format!("apt says no {name}:\n{}", told.text()));
    let name = told.field("Architecture")?;
    let arch = Architecture::all().find(|arch| arch.debian() == name)?;
    let read = || {
        let entry = field("Sourcesentry")?;
        Ok(Source {
            uri: field("Repo-URI")?.trim_end_matches('/').to_owned(),
            suite: field("Release")?.to_owned(),
            arch,
            options: apt_entry::read(entry)?,
            entry: entry.to_owned(),
        })
    };
    Some(read())
}

/// The files of keys that apt uses where none are named, by where it says that they are.
fn trusted(shell: &str) -> Result<Vec<PathBuf>> {
    let value = |name: &str| {
        let line = shell.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
        PathBuf::from(line.unwrap_or_default().trim_matches('\''))
    };
    let mut files = vec![value("FILE")];
    let parts = value("PARTS");
    if parts.is_dir() {
        for entry in fs::read_dir(&parts).with_context(|| format!("read `{}`", parts.display()))? {
            files.push(entry?.path());
        }
    }
    let is_keyring = |file: &Path| file.extension().is_some_and(|it| it == "gpg" || it == "asc");
    files.retain(|file| is_keyring(file) && file.is_file());
    files.sort();
    Ok(files)
}
