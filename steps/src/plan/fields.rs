//! The fields of something in a plan: each known one once, everything else a mistake with a suggestion.
//!
//! It does not know what the fields mean.

use super::diagnostic::Diagnostic;
use super::scan::{Entry, Quotes, Shape, Value};
use super::source::Span;
use super::suggest::{did_you_mean, nearest};

/// Something that has fields.
pub(super) struct Record {
    /// What it is: `a container`.
    pub(super) what: &'static str,
    /// The names of its fields.
    pub(super) fields: &'static [&'static str],
}

/// The fields of something in a plan.
pub(super) struct Fields<'a> {
    /// What has them.
    record: &'static Record,
    /// All of it, for what is missing.
    span: &'a Span,
    found: Vec<(&'a Span, &'a Value)>,
    /// The fields that unknown ones were probably meant to be.
    meant: Vec<String>,
}

impl<'a> Fields<'a> {
    /// Sorts out what is in parentheses: of the record's fields, each at most once.
    pub(super) fn new(
        record: &'static Record,
        span: &'a Span,
        entries: &'a [Entry],
        wrong: &mut Vec<Diagnostic>,
    ) -> Self {
        let Record { what, fields: known } = *record;
        let mut fields = Self { record, span, found: Vec::new(), meant: Vec::new() };
        for entry in entries {
            let Some(name) = &entry.name else {
                let message =
                    format!("{what} has only named fields, found `{}`", first_line(entry.value.span.text()));
                wrong.push(Diagnostic::new(message, &entry.value.span).help("write `FIELD: value`"));
                continue;
            };
            if let Some((first, _)) = fields.found.iter().find(|(other, _)| other.text() == name.text()) {
                let message = format!("field `{}` is given twice", name.text());
                wrong.push(Diagnostic::new(message, name).also(first, "first given here"));
            } else if known.contains(&name.text()) {
                fields.found.push((name, &entry.value));
            } else {
                let message = format!("{what} has no field `{}`", name.text());
                wrong.push(Diagnostic::new(message, name).maybe_help(did_you_mean(name.text(), known)));
                fields.meant.extend(nearest(name.text(), known.iter().copied()).map(str::to_owned));
            }
        }
        fields
    }

    /// The value of a field that may be left out.
    pub(super) fn get(&self, name: &str) -> Option<&'a Value> {
        self.found.iter().find(|(found, _)| found.text() == name).map(|(_, value)| *value)
    }

    /// The value of a field that must be there; its absence is told, with an `example` of it,
    /// unless it is only misspelt.
    pub(super) fn require(
        &self,
        name: &str,
        example: &str,
        wrong: &mut Vec<Diagnostic>,
    ) -> Option<&'a Value> {
        let value = self.get(name);
        if value.is_none() && !self.meant.iter().any(|meant| meant == name) {
            let message = format!("{} needs the field `{name}`", self.record.what);
            wrong.push(
                Diagnostic::new(message, &self.span.head()).help(format!("such as `{name}: {example}`")),
            );
        }
        value
    }
}

impl Value {
    /// Its text, if it is text in quotes.
    pub(super) fn string(&self, wrong: &mut Vec<Diagnostic>) -> Option<String> {
        match crate::registry::ron().from_str(&self.ron()) {
            Ok(text) => Some(text),
            Err(_) if self.quotes == Quotes::MayBeMissing => Some(self.span.text().to_owned()),
            Err(_) if self.shape == Shape::Leaf && self.span.text().starts_with(['"', 'r']) => {
                wrong.push(
                    Diagnostic::new("this is no valid text", &self.span)
                        .help("a backslash is written `\\\\`"),
                );
                None
            }
            Err(_) => {
                let found = first_line(self.span.text());
                let help = matches!(self.shape, Shape::Name).then(|| format!("write `\"{found}\"`"));
                let message = format!("expected text in quotes, found `{found}`");
                wrong.push(Diagnostic::new(message, &self.span).maybe_help(help));
                None
            }
        }
    }

    /// Its items, if it is a list.
    pub(super) fn list(&self, wrong: &mut Vec<Diagnostic>) -> &[Self] {
        if let Shape::List(items) = &self.shape {
            return items;
        }
        let message = format!("expected a list, found `{}`", first_line(self.span.text()));
        wrong.push(Diagnostic::new(message, &self.span.head()).help("write `[...]`"));
        &[]
    }

    /// Its items if it is a list, else itself.
    pub(super) fn one_or_many(&self) -> &[Self] {
        match &self.shape {
            Shape::List(items) => items,
            _ => std::slice::from_ref(self),
        }
    }
}

/// The first line of a text: all that a message has room for.
pub(super) fn first_line(text: &str) -> &str {
    text.lines().next().unwrap_or("")
}
