//! From a step as it is written to the typed step, by `ron` and the step's own type.
//!
//! `ron` stops at its first error: what is wrong is told, left out, and the rest read again. It does not know which
//! steps there are, nor how errors are worded.

use super::diagnostic::Diagnostic;
use super::outline::StepText;
use super::ron_error;
use super::scan::{Entry, Quotes};
use ron::error::{Error, Position, SpannedError};
use std::ops::Range;

/// Reads a step with `parse`. Mistakes go to `wrong`.
pub(super) fn typed<T>(
    step: &StepText,
    parse: impl Fn(&str) -> Result<T, SpannedError>,
    wrong: &mut Vec<Diagnostic>,
) -> Option<T> {
    let before = wrong.len();
    let mut entries = step.entries.clone();
    let mut left_out: Vec<Entry> = Vec::new();
    loop {
        let text = StepRon::new(step.kind.name, &entries);
        let error = match parse(&text.ron) {
            Ok(typed) => return (wrong.len() == before).then_some(typed),
            Err(error) => error,
        };
        let Some((at, offset)) = text.culprit(&error) else {
            if !is_consequence(&error.code, &left_out) {
                wrong.push(ron_error::of_step(step, &error.code));
            }
            return None;
        };
        if entries[at].value.quotes == Quotes::MayBeMissing {
            entries[at].value.quotes = Quotes::Added;
            continue;
        }
        let entry = entries.remove(at);
        wrong.push(ron_error::of_entry(step, &entry, &error.code, offset));
        left_out.push(entry);
    }
}

/// Whether an error is there only because something wrong was left out.
fn is_consequence(error: &Error, left_out: &[Entry]) -> bool {
    match error {
        Error::MissingStructField { field, .. } => {
            left_out.iter().any(|entry| entry.name.as_ref().is_none_or(|name| name.text() == *field))
        }
        _ => !left_out.is_empty(),
    }
}

/// The RON of a step, put together from its entries, which may come from several sources.
struct StepRon {
    ron: String,
    /// Where each entry is in it, from behind the comma before it to the comma behind it.
    pieces: Vec<Range<usize>>,
    /// Where the value of each entry is in it.
    values: Vec<usize>,
}

impl StepRon {
    fn new(name: &str, entries: &[Entry]) -> Self {
        let mut text = Self { ron: format!("{name}("), pieces: Vec::new(), values: Vec::new() };
        for entry in entries {
            let start = text.ron.len();
            if let Some(name) = &entry.name {
                text.ron += &format!("{}: ", name.text());
            }
            text.values.push(text.ron.len());
            text.ron += &entry.value.ron();
            text.pieces.push(start..text.ron.len() + 1);
            text.ron += ",";
        }
        text.ron += ")";
        text
    }

    /// The entry that is to blame, and where in its value. `None` if that is no single one.
    fn culprit(&self, error: &SpannedError) -> Option<(usize, usize)> {
        let offset = self.offset(error.span.start);
        let at = self.pieces.iter().position(|piece| piece.contains(&offset))?;
        Some((at, offset.saturating_sub(self.values[at])))
    }

    fn offset(&self, position: Position) -> usize {
        let line: usize =
            self.ron.split_inclusive('\n').take(position.line.saturating_sub(1)).map(str::len).sum();
        let column: usize =
            self.ron[line..].chars().take(position.col.saturating_sub(1)).map(char::len_utf8).sum();
        line + column
    }
}
