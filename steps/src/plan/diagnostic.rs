//! What is wrong with a plan, and where: as data, and as plain text.
//!
//! It does not know colours, nor which mistakes there are.

use super::source::Span;
use serde::Serialize;
use std::fmt;

/// Something wrong with a plan.
///
/// Its [`Display`](fmt::Display) is what a terminal shows: the message, each place with its line and a caret, the help.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Diagnostic {
    /// What is wrong, with names in backticks.
    pub message: String,
    /// Where: the culprit first, then what it collides with. Empty only when a plan cannot be read at all.
    pub places: Vec<Place>,
    /// How to mend it.
    pub help: Option<String>,
    /// Whether all steps could be read in spite of it, so that what they need from each other can be told as well.
    #[serde(skip)]
    leaves_steps: bool,
}

/// A place in a plan.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize)]
pub struct Place {
    /// The file as the user named it, or `--set`.
    pub file: String,
    /// The line, counted from 1.
    pub line: usize,
    /// The column, counted from 1, in characters.
    pub column: usize,
    /// How many characters of the line are meant, at least 1.
    pub width: usize,
    /// The line; of a long one what is around the place, with `...` where something is left out.
    pub text: String,
    /// How many characters stand in `text` before the place.
    #[serde(skip)]
    before: usize,
    /// What this place has to do with it, unless that is plain.
    pub label: Option<String>,
}

impl Diagnostic {
    pub(super) fn new(message: impl Into<String>, span: &Span) -> Self {
        let message = brief(&message.into());
        Self { message, places: vec![Place::new(span)], help: None, leaves_steps: false }
    }

    /// One that has no place: the plan itself cannot be read.
    pub(super) fn nowhere(message: impl Into<String>) -> Self {
        Self { message: message.into(), places: Vec::new(), help: None, leaves_steps: false }
    }

    pub(super) fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(brief(&help.into()));
        self
    }

    pub(super) fn maybe_help(mut self, help: Option<String>) -> Self {
        self.help = help.map(|help| brief(&help));
        self
    }

    /// Adds a second place, and says what it is.
    pub(super) fn also(mut self, span: &Span, label: impl Into<String>) -> Self {
        self.places.push(Place { label: Some(label.into()), ..Place::new(span) });
        self
    }
}

impl Place {
    fn new(span: &Span) -> Self {
        let (line, column) = span.source.position(span.range.start);
        let text = span.source.line(line);
        let rest = text.chars().count().saturating_sub(column);
        let meant = span.text().lines().next().unwrap_or("").chars().count();
        let width = meant.min(rest).max(1);
        let (text, before) = around(text, column);
        Self {
            file: span.source.name.clone(),
            line: line + 1,
            column: column + 1,
            width: width.min(text.chars().count().saturating_sub(before)).max(1),
            text,
            before,
            label: None,
        }
    }

    /// Writes the line with a caret under what is meant; line numbers take `margin` columns.
    fn write(&self, f: &mut fmt::Formatter<'_>, margin: usize) -> fmt::Result {
        let Self { file, line, column, width, text, label, before } = self;
        let label = label.as_deref().map(|label| format!(" {label}")).unwrap_or_default();
        writeln!(f, "\n{:margin$}--> {file}:{line}:{column}", "")?;
        writeln!(f, "{:margin$} |", "")?;
        writeln!(f, "{}", format!("{line:margin$} | {text}").trim_end())?;
        write!(f, "{:margin$} | {:indent$}{}{label}", "", "", "^".repeat(*width), indent = before)
    }
}

/// How many characters of a line are shown: two lines of a terminal.
const SHOWN: usize = 160;

/// How many of them come before the place, at the most.
const BEFORE: usize = 50;

/// What is shown of a line with a place at `column`, and how much of that comes before it.
fn around(line: &str, column: usize) -> (String, usize) {
    // A control character, a tab among them, would move the caret or the terminal.
    let plain = |c: char| if c.is_control() { ' ' } else { c };
    if line.chars().count() <= SHOWN {
        return (line.chars().map(plain).collect(), column);
    }
    let start = column.saturating_sub(BEFORE);
    let mut text: String = if start > 0 { "...".to_owned() } else { String::new() };
    let before = text.chars().count() + column - start;
    text.extend(line.chars().skip(start).take(SHOWN).map(plain));
    if line.chars().count() > start + SHOWN {
        text += "...";
    }
    (text, before)
}

/// The longest name that a message shows whole, in characters.
const LONGEST: usize = 80;

/// A message on one line, in which no name is longer than that has room for.
fn brief(message: &str) -> String {
    let escaped = |c: char| if c.is_control() { c.escape_default().to_string() } else { c.to_string() };
    let message: String = message.chars().map(escaped).collect();
    let parts = message.split('`').map(|part| match part.char_indices().nth(LONGEST) {
        Some((end, _)) if message.len() > 4 * LONGEST => format!("{}...", &part[..end]),
        _ => part.to_owned(),
    });
    parts.collect::<Vec<_>>().join("`")
}

/// Says of diagnostics that no step could not be read because of them.
pub(super) fn leave_steps(diagnostics: &mut [Diagnostic]) {
    diagnostics.iter_mut().for_each(|one| one.leaves_steps = true);
}

/// Whether all steps could be read.
pub(super) fn has_all_steps(diagnostics: &[Diagnostic]) -> bool {
    diagnostics.iter().all(|one| one.leaves_steps)
}

/// Diagnostics in the order of the text, each once.
pub(super) fn in_order(mut diagnostics: Vec<Diagnostic>) -> Vec<Diagnostic> {
    let mut files: Vec<String> = Vec::new();
    for place in diagnostics.iter().filter_map(|diagnostic| diagnostic.places.first()) {
        if !files.contains(&place.file) {
            files.push(place.file.clone());
        }
    }
    let file = |place: &Place| files.iter().position(|file| *file == place.file);
    diagnostics.sort_by_key(|one| one.places.first().map(|place| (file(place), place.line, place.column)));
    diagnostics.dedup();
    diagnostics
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "error: {}", self.message)?;
        let margin = self.places.iter().map(|place| place.line.to_string().len()).max().unwrap_or(1);
        for place in &self.places {
            place.write(f, margin)?;
        }
        match &self.help {
            Some(help) => write!(f, "\n{:margin$} = help: {help}", ""),
            None => Ok(()),
        }
    }
}
