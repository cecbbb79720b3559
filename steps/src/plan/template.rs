//! The name of a container, with `{arch}` and the like in it, and what a name must be like.
//!
//! It does not know which names are taken.

use super::diagnostic::Diagnostic;
use super::scan::Value;
use super::source::Span;
use super::suggest::{and, did_you_mean};
use crate::architecture::Architecture;
use crate::release::Release;

/// What may stand in braces.
const VARIABLES: &[&str] = &["{arch}", "{release}", "{distribution}", "{version}"];

/// Names with a meaning of their own: in node ids, and on every host.
const RESERVED: &[&str] = &["host", "bootstrap", "localhost"];

/// The longest label that a host name may have.
const LONGEST: usize = 63;

/// The name of an entry of `containers`.
pub(super) struct Template {
    text: String,
    span: Span,
}

impl Template {
    /// The name in `value`, if all that stands in braces is known.
    pub(super) fn new(value: &Value, wrong: &mut Vec<Diagnostic>) -> Option<Self> {
        let text = value.string(wrong)?;
        let before = wrong.len();
        let mut rest = 0;
        while let Some(open) = text[rest..].find('{').map(|at| rest + at) {
            let Some(close) = text[open..].find('}').map(|at| open + at) else {
                let place = inside(value, &text, open, text.len());
                wrong.push(Diagnostic::new("`{` is never closed", &place).help("a `}` is missing"));
                break;
            };
            let variable = &text[open..=close];
            if !VARIABLES.contains(&variable) {
                let place = inside(value, &text, open, close + 1);
                let message = format!("there is no variable `{variable}`");
                wrong.push(Diagnostic::new(message, &place).maybe_help(did_you_mean(variable, VARIABLES)));
            }
            rest = close + 1;
        }
        (wrong.len() == before).then(|| Self { text, span: value.span.clone() })
    }

    /// The name for a release and an architecture.
    pub(super) fn fill(&self, release: &Release, arch: Architecture) -> String {
        self.text
            .replace("{arch}", arch.debian())
            .replace("{release}", release.code_name)
            .replace("{distribution}", &release.distribution.to_string())
            .replace("{version}", release.version)
    }

    /// Whether the names that came of it are host names, each once.
    pub(super) fn check<'a>(&self, names: impl Iterator<Item = &'a str>, wrong: &mut Vec<Diagnostic>) {
        let mut seen: Vec<&str> = Vec::new();
        for name in names {
            if let Some(diagnostic) = self.fault(name, name) {
                wrong.push(diagnostic);
                return;
            }
            if seen.contains(&name) {
                let message = format!("more than one container would be called `{name}`");
                let missing: Vec<_> = ["{distribution}", "{release}", "{arch}"]
                    .into_iter()
                    .filter(|variable| !self.text.contains(variable))
                    .collect();
                let help = format!(
                    "the lists multiply: put {} into the name",
                    and(&missing).replace(" and ", " or ")
                );
                wrong.push(Diagnostic::new(message, &self.span).help(help));
                return;
            }
            seen.push(name);
        }
    }

    /// Whether what is written outside of braces can be part of a host name: for names that could not be made.
    pub(super) fn check_alone(&self, wrong: &mut Vec<Diagnostic>) {
        let made = VARIABLES.iter().fold(self.text.clone(), |text, name| text.replace(name, "x"));
        if let Some(diagnostic) = self.fault(&made, &self.text) {
            wrong.push(diagnostic);
        }
    }

    /// What is wrong with `name`, which is shown as `shown`.
    fn fault(&self, name: &str, shown: &str) -> Option<Diagnostic> {
        let message = format!("`{shown}` is no host name: {}", fault(name)?);
        let help = self.better().map(|better| format!("did you mean `{better}`?"));
        Some(Diagnostic::new(message, &self.span).maybe_help(help))
    }

    /// The name with what is not allowed made allowed, if that helps.
    fn better(&self) -> Option<String> {
        let allowed = |c: char| c.is_ascii_alphanumeric() || "-{}".contains(c);
        let better: String = self.text.chars().map(|c| if allowed(c) { c } else { '-' }).collect();
        let better = better.trim_matches('-');
        if better == self.text {
            let is_odd =
                |name: &str| name.starts_with(|c: char| c.is_ascii_digit()) || name.starts_with("{version}");
            return (is_odd(better) || is_uuid(better)).then(|| format!("{{distribution}}-{better}"));
        }
        (better != self.text && !better.is_empty() && !RESERVED.contains(&better)).then(|| better.to_owned())
    }
}

fn is_uuid(name: &str) -> bool {
    let parts: Vec<_> = name.split('-').collect();
    let is_hex = |part: &&str| part.bytes().all(|byte| byte.is_ascii_hexdigit());
    parts.iter().map(|part| part.len()).eq([8, 4, 4, 4, 12]) && parts.iter().all(is_hex)
}

/// What keeps `name` from being a host name.
fn fault(name: &str) -> Option<String> {
    let bad = name.chars().find(|c| !c.is_ascii_alphanumeric() && *c != '-');
    match bad {
        Some('_') => Some("it holds an underscore".to_owned()),
        Some(c) => Some(format!("it holds `{c}`")),
        None if name.is_empty() => Some("it is empty".to_owned()),
        None if name.len() > LONGEST => Some(format!("it is longer than {LONGEST} characters")),
        None if name.starts_with('-') || name.ends_with('-') => {
            Some("it starts or ends with a hyphen".to_owned())
        }
        None if name.bytes().all(|byte| byte.is_ascii_digit()) => {
            Some("it is a number, which virsh takes for the id of a running domain".to_owned())
        }
        None if name
            .strip_prefix("0x")
            .is_some_and(|hex| hex.bytes().all(|byte| byte.is_ascii_hexdigit())) =>
        {
            Some("it is a number, which ssh takes for an address".to_owned())
        }
        None if is_uuid(name) => Some("it is a UUID, which virsh takes for that of a domain".to_owned()),
        None if RESERVED.contains(&name.to_ascii_lowercase().as_str()) => Some("it is reserved".to_owned()),
        None => None,
    }
}

/// The bytes `from..to` of the text in `value`; all of it where escapes make that hard to tell.
fn inside(value: &Value, text: &str, from: usize, to: usize) -> Span {
    let raw = value.span.text();
    match raw.find(text) {
        Some(start) => value.span.part(start + from..start + to),
        None => value.span.clone(),
    }
}
