//! Reading a plan and what it includes into one outline.
//!
//! It does not know what steps mean, nor what `--set` changes.

use super::Text;
use super::diagnostic::Diagnostic;
use super::outline::{Outline, outline, put};
use super::scan::{Value, scan};
use super::source::{Source, Span};
use std::path::{Path, PathBuf};

/// The outline of the plan at `path`, with everything that it includes. Mistakes go to `wrong`.
pub(super) fn read(path: &Path, wrong: &mut Vec<Diagnostic>) -> Outline {
    let mut reader = Reader { wrong, open: Vec::new(), done: Vec::new() };
    match reader.file(path) {
        Ok(outline) => outline,
        Err(error) => {
            let message = format!("cannot read the plan `{}`: {error}", path.display());
            reader.wrong.push(Diagnostic::nowhere(message));
            Outline::default()
        }
    }
}

/// The same of a plan that was read before.
pub(super) fn read_text(text: &Text, wrong: &mut Vec<Diagnostic>) -> Outline {
    let mut reader = Reader { wrong, open: Vec::new(), done: Vec::new() };
    // Nothing includes it: it has no path.
    reader.text(&text.name, text.directory.join(&text.name), &text.directory, text.text.clone())
}

struct Reader<'a> {
    wrong: &'a mut Vec<Diagnostic>,
    /// The files that are being read, each included by the one before it.
    open: Vec<Open>,
    /// The files that have been read: an include is taken in once.
    done: Vec<PathBuf>,
}

/// A file that is being read.
struct Open {
    real: PathBuf,
    shown: String,
}

impl Reader<'_> {
    fn file(&mut self, path: &Path) -> std::io::Result<Outline> {
        let bytes = std::fs::read(path)?;
        // What is no file, such as a pipe, may have no path of its own.
        let real = path.canonicalize().or_else(|_| std::path::absolute(path))?;
        Ok(self.text(&path.display().to_string(), real, path.parent().unwrap_or(Path::new("")), bytes))
    }

    /// The outline of a text; what it includes is found from `directory`.
    fn text(&mut self, name: &str, real: PathBuf, directory: &Path, bytes: Vec<u8>) -> Outline {
        let source = match String::from_utf8(bytes) {
            Ok(text) => Source::new(name, text),
            Err(error) => {
                let valid = error.utf8_error().valid_up_to();
                let source = Source::new(name, String::from_utf8_lossy(error.as_bytes()));
                let culprit = Span::new(&source, valid..valid + char::REPLACEMENT_CHARACTER.len_utf8());
                self.wrong.push(Diagnostic::new("this is not UTF-8", &culprit));
                return Outline::default();
            }
        };
        let Some(value) = scan(&source, self.wrong) else { return Outline::default() };
        let own = outline(&value, self.wrong);
        self.open.push(Open { real, shown: name.to_owned() });
        let merged = self.take_in(directory, own);
        self.done.extend(self.open.pop().map(|open| open.real));
        merged
    }

    /// What a plan includes, in order, and the plan itself on top.
    fn take_in(&mut self, directory: &Path, own: Outline) -> Outline {
        let mut whole = Outline::default();
        for value in &own.include {
            if let Some(outline) = self.include(directory, value) {
                whole.add(outline);
            }
        }
        whole.add(own);
        whole
    }

    fn include(&mut self, directory: &Path, value: &Value) -> Option<Outline> {
        let name = value.string(self.wrong)?;
        let target = directory.join(&name);
        let real = target.canonicalize().unwrap_or_else(|_| target.clone());
        if self.done.contains(&real) {
            return None;
        }
        if let Some(first) = self.open.iter().position(|open| open.real == real) {
            let circle = self.open[first..].iter().chain([&self.open[first]]);
            let names: Vec<_> = circle.map(|open| format!("`{}`", open.shown)).collect();
            let message = format!("a plan includes itself: {}", names.join(" includes "));
            self.wrong.push(Diagnostic::new(message, &value.span));
            return None;
        }
        let read = self.file(&target);
        read.map_err(|error| {
            let message = format!("cannot read the plan `{}`: {error}", target.display());
            let help = "the path counts from the directory of the plan that includes it";
            self.wrong.push(Diagnostic::new(message, &value.span).help(help));
        })
        .ok()
    }
}

impl Outline {
    /// Puts another plan on top: where both say something, the other wins; containers and names in `env` are added.
    fn add(&mut self, other: Self) {
        self.name = other.name.or(self.name.take());
        self.mirror = other.mirror.or(self.mirror.take());
        self.keyring = other.keyring.or(self.keyring.take());
        self.assist = other.assist.or(self.assist.take());
        self.env.extend(other.env);
        put(&mut self.host, other.host);
        put(&mut self.each, other.each);
        self.containers.extend(other.containers);
    }
}
