//! What `ron` has to say about a step, in the plan's words.
//!
//! It does not know where the step's text came together from.

use super::diagnostic::Diagnostic;
use super::fields::first_line;
use super::outline::StepText;
use super::scan::{Entry, Shape, Value};
use super::source::Span;
use super::suggest::{and, did_you_mean};
use ron::error::Error;

/// An error that concerns a step as a whole.
pub(super) fn of_step(step: &StepText, error: &Error) -> Diagnostic {
    let name = step.kind.name;
    let message = match error {
        Error::MissingStructField { field, .. } => format!("step `{name}` needs the field `{field}`"),
        _ if step.entries.is_empty() => format!("step `{name}` needs a value: `{name}(...)`"),
        other => format!("step `{name}`: {}", words(other, &step.span)),
    };
    Diagnostic::new(message, &step.span.head()).help(format!("`drover steps {name}` shows how it is written"))
}

/// An error that concerns an entry of a step, at a byte of its value.
pub(super) fn of_entry(step: &StepText, entry: &Entry, error: &Error, offset: usize) -> Diagnostic {
    let name = step.kind.name;
    match (error, &entry.name) {
        (Error::NoSuchStructField { expected, found, outer }, Some(field)) if field.text() == found => {
            let what = outer.as_deref().unwrap_or(name);
            let help = match expected {
                [] => Some(format!("`{what}` has no fields: write `{what}`")),
                _ => did_you_mean(found, expected),
            };
            Diagnostic::new(format!("step `{what}` has no field `{found}`"), field).maybe_help(help)
        }
        (Error::DuplicateStructField { field, .. }, Some(place)) => {
            Diagnostic::new(format!("field `{field}` is given twice"), place)
        }
        (Error::ExpectedStructLikeEnd, None) if offset == 0 => {
            Diagnostic::new(format!("step `{name}` takes one value"), &entry.value.span)
                .help("several are written as a list: `[..., ...]`")
        }
        (Error::ExpectedIdentifier | Error::SuggestRawIdentifier(_), None) => {
            Diagnostic::new(format!("step `{name}` takes no such value"), &entry.value.span)
                .help(format!("`drover steps {name}` shows how it is written"))
        }
        (_, field) => {
            let whose = match field {
                Some(field) => format!("`{}` of `{name}`", field.text()),
                None => format!("step `{name}`"),
            };
            let place = innermost(&entry.value, offset);
            Diagnostic::new(format!("{whose}: {}", words(error, &place)), &place).maybe_help(help(error))
        }
    }
}

/// The smallest part of a value that the byte at `offset` belongs to.
fn innermost(value: &Value, offset: usize) -> Span {
    let text = value.span.text();
    let behind = text.get(offset..).unwrap_or("");
    // `ron` may point at the space before the culprit.
    let at = value.span.range.start + offset + (behind.len() - behind.trim_start().len());
    find(value, at)
}

fn find(value: &Value, at: usize) -> Span {
    let inside = |span: &Span| span.range.contains(&at);
    match &value.shape {
        Shape::List(items) => items.iter().find(|item| inside(&item.span)).map(|item| find(item, at)),
        Shape::Call(Some(name), _) if inside(name) => Some(name.clone()),
        Shape::Call(_, entries) => entries.iter().find_map(|entry| match &entry.name {
            Some(name) if inside(name) => Some(name.clone()),
            _ => inside(&entry.value.span).then(|| find(&entry.value, at)),
        }),
        Shape::Name | Shape::Leaf => None,
    }
    .unwrap_or_else(|| value.span.clone())
}

/// What is wrong, with what was found at `place`.
fn words(error: &Error, place: &Span) -> String {
    let found = first_line(place.text());
    let expected = match error {
        Error::ExpectedString => "text in quotes",
        Error::ExpectedInteger | Error::InvalidIntegerDigit { .. } => "a whole number",
        Error::ExpectedBoolean => "`true` or `false`",
        Error::ExpectedFloat => "a number",
        Error::ExpectedArray => "a list, `[...]`",
        Error::ExpectedMap => "a map, `{...}`",
        Error::ExpectedIdentifier | Error::SuggestRawIdentifier(_) => "a name",
        Error::ExpectedStructLike | Error::ExpectedNamedStructLike(_) => "`(...)`",
        Error::UnexpectedChar(_) => return format!("`{found}` is no value"),
        Error::IntegerOutOfBounds => return format!("`{found}` is too large, or negative"),
        Error::NoSuchEnumVariant { found, .. } => return format!("there is no `{found}`"),
        Error::NoSuchStructField { found, .. } => return format!("there is no field `{found}`"),
        Error::MissingStructField { field, .. } => return format!("the field `{field}` is missing"),
        Error::InvalidValueForType { expected, .. } => expected,
        other => return format!("`{found}`: {}", lower(&other.to_string())),
    };
    format!("expected {expected}, found `{found}`")
}

fn help(error: &Error) -> Option<String> {
    match error {
        Error::NoSuchEnumVariant { expected, found, .. }
        | Error::NoSuchStructField { expected, found, .. } => did_you_mean(found, expected),
        Error::UnexpectedChar(_) => Some("text is written in quotes: `\"...\"`".to_owned()),
        Error::ExpectedStructLikeEnd => Some(format!("expected {} here", and(&[")"]))),
        _ => None,
    }
}

/// Begins a foreign message as ours begin.
fn lower(message: &str) -> String {
    let mut chars = message.chars();
    chars.next().map(|first| first.to_lowercase().chain(chars).collect()).unwrap_or_default()
}
