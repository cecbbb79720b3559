//! What an entry of apt's sources says beyond what apt tells of it: keys, trust, age.
//!
//! It reads the one entry that apt names, by the rules that apt reads it by; tests hold it against apt's own answers. That the
//! entry counts, and for what, apt has said before.

use crate::deb822::paragraphs;
use anyhow::{Context, Result};
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

/// What an entry says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// The keys that it is to be signed with, as it has them: files, fingerprints, or the key itself.
    pub signed_by: Option<String>,
    /// Whether apt is told to believe it whatever it is signed with, or to believe it never.
    pub trusted: Option<bool>,
    /// How it is to be fetched and how old it may be, as a line has that: `check-valid-until=no`.
    pub manners: Vec<String>,
}

/// What is taken over as it is.
const MANNERS: [&str; 7] = [
    "check-valid-until",
    "valid-until-min",
    "valid-until-max",
    "check-date",
    "date-max-future",
    "by-hash",
    "inrelease-path",
];

/// Reads the entry that apt calls `FILE:NUMBER`: the line of that number, or in a file `*.sources` the paragraph.
///
/// # Errors
/// When the file cannot be read, or there is no such entry any more.
pub fn read(entry: &str) -> Result<Options> {
    let known = || format!("apt names an entry in a way that is not known: `{entry}`");
    let (file, number) = entry.rsplit_once(':').with_context(known)?;
    let number: usize = number.parse().ok().filter(|number| *number > 0).with_context(known)?;
    let bytes = fs::read(file).with_context(|| format!("read `{file}`"))?;
    let text = String::from_utf8_lossy(&bytes);
    let is_paragraphs = Path::new(file).extension().is_some_and(|it| it == "sources");
    let said = if is_paragraphs { of_paragraph(&text, number) } else { of_line(&text, number) };
    let said =
        said.with_context(|| format!("`{file}` has no entry {number}: it changed while it was read"))?;
    Ok(options(&said))
}

/// What is said, by the names that options have in lines.
type Said = BTreeMap<String, String>;

fn options(said: &Said) -> Options {
    let manner = |name: &&str| Some(format!("{name}={}", said.get(*name)?));
    Options {
        signed_by: said.get("signed-by").filter(|keys| !keys.trim().is_empty()).cloned(),
        trusted: said.get("trusted").and_then(|word| truth(word)),
        manners: MANNERS.iter().filter_map(manner).collect(),
    }
}

/// What apt takes for yes and for no.
pub(crate) fn truth(word: &str) -> Option<bool> {
    let word = word.trim().to_ascii_lowercase();
    match word.as_str() {
        "yes" | "true" | "with" | "on" | "enable" | "1" => Some(true),
        "no" | "false" | "without" | "off" | "disable" | "0" => Some(false),
        _ => None,
    }
}

/// The options of a line: `deb [signed-by=/k.gpg check-valid-until=no] http://...`. Of two that are called the same, the last
/// counts.
fn of_line(text: &str, number: usize) -> Option<Said> {
    let line = text.lines().nth(number - 1)?;
    let rest = line.trim_start().split_once([' ', '\t'])?.1.trim_start();
    let Some(options) = rest.strip_prefix('[') else { return Some(Said::new()) };
    let options = options.split_once(']')?.0;
    let pairs = options.split_whitespace().filter_map(|option| option.split_once('='));
    Some(pairs.map(|(name, value)| (name.to_owned(), value.trim_matches('"').to_owned())).collect())
}

/// The fields of a paragraph, counted as apt does: what holds nothing but comments is none.
fn of_paragraph(text: &str, number: usize) -> Option<Said> {
    let lines: Vec<_> = text.lines().filter(|line| !line.starts_with('#')).collect();
    let text = lines.join("\n");
    let paragraph = paragraphs(&text).nth(number - 1)?;
    let names = MANNERS.iter().copied().chain(["signed-by", "trusted"]);
    Some(names.filter_map(|name| Some((name.to_owned(), paragraph.field(name)?.to_owned()))).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_is_read_whatever_else_stands_in_the_file() {
        let place = tempfile::tempdir().expect("a directory");
        let file = place.path().join("x.list");
        fs::write(
            &file,
            b"# caf\xe9\ndeb [ trusted=Yes signed-by=/a.gpg signed-by=/b.gpg ] http://m/ x main\n\n",
        )
        .expect("written");
        let options = read(&format!("{}:2", file.display())).expect("read");
        assert_eq!((options.signed_by.as_deref(), options.trusted), (Some("/b.gpg"), Some(true)));
        assert!(read(&format!("{}:9", file.display())).is_err());
        assert!(read("nothing of the kind").is_err());
    }
}
