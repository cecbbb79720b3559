//! The steps of a container: what `each` says, changed by what the container itself says.
//!
//! It does not know which containers there are.

use super::diagnostic::Diagnostic;
use super::outline::{ContainerText, StepText};
use super::scan::Value;
use super::source::Span;
use super::suggest::did_you_mean;
use super::typed::typed;
use crate::container::Container;
use crate::registry::{Kind, Parse};
use crate::step::FarmStep;
use std::collections::HashMap;
use std::sync::Arc;

/// A step, read, and where it is written.
#[derive(Clone)]
pub(super) struct Typed<P> {
    /// Its name in node ids.
    pub(super) slug: String,
    /// Where it is written.
    pub(super) span: Span,
    /// Where its values are written: elsewhere, if the command line set them.
    values: Vec<Span>,
    /// What is written.
    pub(super) step: Arc<dyn FarmStep<P>>,
    /// What it says that it comes after.
    pub(super) after: Vec<Value>,
}

impl<P> Typed<P> {
    /// A step, read from `text`.
    pub(super) fn new(text: &StepText, step: Arc<dyn FarmStep<P>>) -> Self {
        let values = text.entries.iter().map(|entry| entry.value.span.clone()).collect();
        let slug = match step.name() {
            Some(name) => format!("{}-{name}", text.kind.slug),
            None => text.kind.slug.to_owned(),
        };
        Self { slug, span: text.span.clone(), values, step, after: text.after.clone() }
    }

    /// A step that comes with the one written at `span`.
    pub(super) fn implied(slug: &'static str, span: &Span, step: Arc<dyn FarmStep<P>>) -> Self {
        Self { slug: slug.to_owned(), span: span.clone(), values: Vec::new(), step, after: Vec::new() }
    }

    /// Where a value of it is written, if it is written in quotes.
    pub(super) fn find(&self, value: &str) -> Option<Span> {
        let quoted = format!("\"{value}\"");
        let span = self.values.iter().find(|span| span.text().contains(&quoted) || span.text() == value)?;
        Some(span.find(&quoted))
    }
}

/// The steps of a container.
#[derive(Clone, Default)]
pub(super) struct GuestSteps {
    /// Where its base system is asked for, if it is.
    pub(super) bootstrap: Option<Span>,
    /// The steps that act on it.
    pub(super) steps: Vec<Typed<Container>>,
}

impl GuestSteps {
    /// Reads a list of steps; what is wrong goes to `wrong`.
    pub(super) fn new(texts: &[StepText], wrong: &mut Vec<Diagnostic>) -> Self {
        let mut guest = Self::default();
        for text in texts {
            match text.kind.parse {
                Parse::Container(parse) => {
                    if let Some(step) = typed(text, parse, wrong) {
                        guest.steps.push(Typed::new(text, step));
                    }
                }
                Parse::Bootstrap => {
                    let after = text.after.first().map(|value| &value.span);
                    let entry = text.entries.first().map(|entry| &entry.value.span);
                    if let Some(span) = entry.or(after) {
                        let message = "step `Bootstrap` has no fields";
                        wrong.push(Diagnostic::new(message, span).help("write `Bootstrap`"));
                    }
                    guest.bootstrap = Some(text.span.clone());
                }
                Parse::Host(_) => {}
            }
        }
        guest
    }

    /// These steps, of `each`, as the container written as `text` changes them.
    pub(super) fn changed_by(
        &self,
        text: &ContainerText,
        each: &[StepText],
        wrong: &mut Vec<Diagnostic>,
    ) -> Self {
        let mut steps = self.clone();
        for kind in dropped(text, each, wrong) {
            match kind.parse {
                Parse::Bootstrap => steps.bootstrap = None,
                _ => steps.steps.retain(|step| !kind.is_called(&step.slug)),
            }
        }
        let own = Self::new(&text.steps, wrong);
        steps.bootstrap = own.bootstrap.or(steps.bootstrap);
        if own.steps.is_empty() {
            return steps;
        }
        let known = steps.steps.iter().enumerate().map(|(place, step)| (step.slug.clone(), place));
        let mut places: HashMap<_, _> = known.collect();
        for step in own.steps {
            match *places.entry(step.slug.clone()).or_insert(steps.steps.len()) {
                place if place < steps.steps.len() => steps.steps[place] = step,
                _ => steps.steps.push(step),
            }
        }
        steps
    }
}

/// The kinds of steps that a container goes `without`.
fn dropped(text: &ContainerText, each: &[StepText], wrong: &mut Vec<Diagnostic>) -> Vec<&'static Kind> {
    let mut kinds = Vec::new();
    for value in &text.without {
        let Some(name) = value.string(wrong) else { continue };
        match each.iter().find(|step| step.kind.name == name) {
            Some(step) => kinds.push(step.kind),
            None => {
                let known: Vec<_> = each.iter().map(|step| step.kind.name).collect();
                let message = format!("there is no step `{name}` in `each` to go without");
                wrong.push(Diagnostic::new(message, &value.span).maybe_help(did_you_mean(&name, &known)));
            }
        }
    }
    kinds
}
