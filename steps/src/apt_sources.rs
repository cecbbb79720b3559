//! The sources that a host's apt is told of, in both of their forms.
//!
//! It reads `/etc/apt/sources.list` and what stands beside it. Which of them hosts what is for `mirror` to say.

use crate::deb822::{Paragraph, paragraphs};
use anyhow::{Context, Result};
use std::fs;
use std::path::{Path, PathBuf};

/// One archive that apt is told of: an address and a suite.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// The archive's address, without a slash at its end.
    pub uri: String,
    /// The suite: `bookworm`, `bookworm-security`.
    pub suite: String,
    /// The components: `main`.
    pub components: Vec<String>,
    /// The keys it is to be signed with, if the source names any.
    pub signed_by: Option<String>,
}

/// All sources of binary packages that the apt of the host at `root` is told of, in the order in which apt reads them.
///
/// # Errors
/// When a file that is there cannot be read.
pub fn read(root: &Path) -> Result<Vec<Source>> {
    let mut sources = Vec::new();
    for file in files(&root.join("etc/apt"))? {
        let text = fs::read_to_string(&file).with_context(|| format!("read `{}`", file.display()))?;
        sources.extend(match file.extension().is_some_and(|extension| extension == "sources") {
            true => of_paragraphs(&text),
            false => of_lines(&text),
        });
    }
    Ok(sources)
}

fn files(apt: &Path) -> Result<Vec<PathBuf>> {
    let parts = apt.join("sources.list.d");
    let mut files = Vec::new();
    if parts.is_dir() {
        for entry in fs::read_dir(&parts).with_context(|| format!("read `{}`", parts.display()))? {
            files.push(entry?.path());
        }
    }
    files.retain(|file| {
        file.extension().is_some_and(|extension| extension == "list" || extension == "sources")
    });
    files.sort();
    let list = apt.join("sources.list");
    if list.exists() {
        files.insert(0, list);
    }
    Ok(files)
}

/// The one-line form: `deb [options] URI suite component...`.
fn of_lines(text: &str) -> Vec<Source> {
    text.lines().filter_map(of_line).collect()
}

fn of_line(line: &str) -> Option<Source> {
    let line = line.split('#').next()?.trim();
    let rest = line.strip_prefix("deb")?.strip_prefix([' ', '\t'])?.trim_start();
    let (options, rest) = match rest.strip_prefix('[') {
        Some(rest) => rest.split_once(']')?,
        None => ("", rest),
    };
    let mut words = rest.split_whitespace();
    let (uri, suite) = (words.next()?, words.next()?);
    let signed_by = options.split_whitespace().find_map(|option| option.strip_prefix("signed-by="));
    Some(Source {
        uri: uri.trim_end_matches('/').to_owned(),
        suite: suite.to_owned(),
        components: words.map(str::to_owned).collect(),
        signed_by: signed_by.map(str::to_owned),
    })
}

/// The form of paragraphs: `Types: deb`, `URIs: ...`, each of which may be several.
fn of_paragraphs(text: &str) -> Vec<Source> {
    let lines: Vec<_> = text.lines().filter(|line| !line.starts_with('#')).map(str::trim_end).collect();
    paragraphs(&lines.join("\n")).flat_map(of_paragraph).collect()
}

fn of_paragraph(paragraph: Paragraph<'_>) -> Vec<Source> {
    let enabled = paragraph.field("Enabled").is_none_or(|word| !word.eq_ignore_ascii_case("no"));
    if !enabled || !paragraph.words("Types").any(|word| word == "deb") {
        return Vec::new();
    }
    let source = |uri: &str, suite: &str| Source {
        uri: uri.trim_end_matches('/').to_owned(),
        suite: suite.to_owned(),
        components: paragraph.words("Components").map(str::to_owned).collect(),
        signed_by: paragraph.field("Signed-By").map(str::to_owned),
    };
    let uris = paragraph.words("URIs");
    uris.flat_map(|uri| paragraph.words("Suites").map(move |suite| (uri, suite)))
        .map(|(uri, suite)| source(uri, suite))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(sources: &[Source], expected: &[&str]) {
        let shown: Vec<_> = sources
            .iter()
            .map(|source| format!("{} {} {}", source.uri, source.suite, source.components.join(" ")))
            .collect();
        assert_eq!(shown, expected);
    }

    #[test]
    fn the_one_line_form_is_read() {
        let text = "# a comment\ndeb http://m.example/debian/ bookworm main contrib # another\n\
                    deb-src http://m.example/debian bookworm main\n\
                    deb [arch=amd64 signed-by=/k.gpg]  file:/srv/mirror bookworm-security main\ndeb broken\n";
        let sources = of_lines(text);
        check(
            &sources,
            &["http://m.example/debian bookworm main contrib", "file:/srv/mirror bookworm-security main"],
        );
        assert_eq!(sources[1].signed_by.as_deref(), Some("/k.gpg"));
    }

    #[test]
    fn the_form_of_paragraphs_is_read() {
        let text = "Types: deb deb-src\n# a comment\nURIs: http://a.example/debian/\n  http://b.example/debian\n\
                    Suites: bookworm bookworm-updates\nComponents: main\nSigned-By: /k.gpg\n \n\
                    Types: deb\nEnabled: no\nURIs: http://c.example\nSuites: x\n";
        check(
            &of_paragraphs(text),
            &[
                "http://a.example/debian bookworm main",
                "http://a.example/debian bookworm-updates main",
                "http://b.example/debian bookworm main",
                "http://b.example/debian bookworm-updates main",
            ],
        );
    }

    #[test]
    fn files_are_read_in_the_order_of_their_names() {
        let root = tempfile::tempdir().expect("a temporary directory");
        let parts = root.path().join("etc/apt/sources.list.d");
        fs::create_dir_all(&parts).expect("made");
        for (name, text) in [
            ("z.list", "deb http://z.example x main"),
            ("a.sources", "Types: deb\nURIs: http://a.example\nSuites: x\nComponents: main"),
            ("b.list.save", "deb http://b.example x main"),
            ("../sources.list", "deb http://first.example x main"),
        ] {
            fs::write(parts.join(name), text).expect("written");
        }
        let sources = read(root.path()).expect("read");
        check(
            &sources,
            &["http://first.example x main", "http://a.example x main", "http://z.example x main"],
        );
    }
}
