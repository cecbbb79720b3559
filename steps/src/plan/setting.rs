//! `--set PATH=VALUE`: one thing of a plan, changed on the command line.
//!
//! A value is put where a plan would have it and read as it would be there, so that a mistake in it is told the same
//! way, with the argument in place of the file. It does not know which fields a step has.

use super::diagnostic::Diagnostic;
use super::outline::{CONTAINER, ContainerText, Outline, Place, StepText, steps};
use super::scan::{Entry, Quotes, Shape, Value, scan_from};
use super::source::{Source, Span};
use super::suggest::did_you_mean;
use std::sync::Arc;

/// What a path may begin with.
const ROOTS: &[&str] = &["name", "mirror", "keyring", "assist", "env", "host", "containers", "each"];

/// Changes a plan as an argument of `--set` says; what is wrong with that goes to `wrong`.
pub(super) fn set(outline: &mut Outline, argument: &str, wrong: &mut Vec<Diagnostic>) {
    if let Err(diagnostic) = apply(outline, &Source::new("--set", argument), wrong) {
        wrong.push(*diagnostic);
    }
}

type Applied = Result<(), Box<Diagnostic>>;

fn refuse(message: impl Into<String>, span: &Span, help: Option<String>) -> Applied {
    Err(Box::new(Diagnostic::new(message, span).maybe_help(help)))
}

fn apply(outline: &mut Outline, source: &Arc<Source>, wrong: &mut Vec<Diagnostic>) -> Applied {
    let whole = Span::new(source, 0..source.text.len());
    let Some(equals) = source.text.find('=') else {
        return refuse(
            "expected `PATH=VALUE`",
            &whole,
            Some("such as `each.DefineDomain.memory=\"2 GiB\"`".to_owned()),
        );
    };
    let path = segments(source, equals);
    let Some(value) = value(source, equals + 1, wrong) else { return Ok(()) };
    let names: Vec<&str> = path.iter().map(Span::text).collect();
    match names.as_slice() {
        ["name"] => outline.name = Some(value),
        ["mirror"] => outline.mirror = Some(value),
        ["keyring"] => outline.keyring = Some(value),
        ["assist"] => outline.assist = Some(value),
        ["env"] => outline.env = value.list(wrong).to_vec(),
        ["host", _] | ["host", _, _] => return step(&mut outline.host, &path, value),
        ["each", _] | ["each", _, _] => return step(&mut outline.each, &path, value),
        ["containers", _, _] | ["containers", _, _, _] => return containers(outline, &path, &value, wrong),
        [root, ..] if !ROOTS.contains(root) => {
            return refuse(format!("a plan has no `{root}` to set"), &path[0], did_you_mean(root, ROOTS));
        }
        _ => {
            let help = "paths are `name`, `mirror`, `keyring`, `assist`, `env`, `host.STEP.FIELD`, `each.STEP.FIELD`, `containers.NAME.FIELD` \
                        and `containers.NAME.STEP.FIELD`";
            return refuse("this path leads nowhere", &Span::new(source, 0..equals), Some(help.to_owned()));
        }
    }
    Ok(())
}

/// The parts of the path that ends at `end`.
fn segments(source: &Arc<Source>, end: usize) -> Vec<Span> {
    let mut start = 0;
    let parts = source.text[..end].split('.').map(|part| {
        let span = Span::new(source, start..start + part.len());
        start = span.range.end + 1;
        span
    });
    parts.collect()
}

/// The value from `start` on: RON, or text without its quotes.
fn value(source: &Arc<Source>, start: usize, wrong: &mut Vec<Diagnostic>) -> Option<Value> {
    let text = source.text[start..].trim_end();
    let whole = Span::new(source, start..start + text.len());
    if text.is_empty() {
        wrong.push(Diagnostic::new("a value is missing", &whole).help("write `PATH=VALUE`"));
        return None;
    }
    let mut faults = Vec::new();
    match scan_from(source, start, &mut faults) {
        Some(value) if faults.is_empty() && value.span.range.end == whole.range.end => {
            let quotes = match value.shape {
                Shape::Name | Shape::Leaf => Quotes::MayBeMissing,
                Shape::List(_) | Shape::Call(..) => Quotes::AsWritten,
            };
            Some(Value { quotes, ..value })
        }
        _ if text.contains(['"', '[', '(', '{']) && !faults.is_empty() => {
            wrong.append(&mut faults);
            None
        }
        _ => Some(Value { span: whole, shape: Shape::Leaf, quotes: Quotes::Added }),
    }
}

/// Changes the step that a path of `LIST.STEP` or `LIST.STEP.FIELD` names.
fn step(steps: &mut [StepText], path: &[Span], value: Value) -> Applied {
    let [list, name, field @ ..] = path else { return Ok(()) };
    match steps.iter_mut().find(|step| step.kind.name == name.text()) {
        Some(step) => {
            step.set(field.first(), value);
            Ok(())
        }
        None => {
            let known: Vec<_> = steps.iter().map(|step| step.kind.name).collect();
            let message = format!("`{}` has no step `{}`", list.text(), name.text());
            refuse(message, name, did_you_mean(name.text(), &known))
        }
    }
}

impl StepText {
    /// Gives a field, or if none is named the step itself, another value.
    fn set(&mut self, field: Option<&Span>, value: Value) {
        let Some(field) = field else {
            self.entries = vec![Entry { name: None, value }];
            return;
        };
        let is_it = |entry: &&mut Entry| entry.name.as_ref().is_some_and(|name| name.text() == field.text());
        match self.entries.iter_mut().find(is_it) {
            Some(entry) => entry.value = value,
            None => self.entries.push(Entry { name: Some(field.clone()), value }),
        }
    }
}

fn containers(outline: &mut Outline, path: &[Span], value: &Value, wrong: &mut Vec<Diagnostic>) -> Applied {
    let [_, which, rest @ ..] = path else { return Ok(()) };
    let each = &outline.each;
    let mut found = false;
    for (index, container) in outline.containers.iter_mut().enumerate() {
        if !container.is_meant(which.text(), index) {
            continue;
        }
        found = true;
        match rest {
            [field] if CONTAINER.fields.contains(&field.text()) => {
                container.set(field.text(), value.clone(), wrong);
            }
            _ => container_step(container, each, rest, value)?,
        }
    }
    if found {
        return Ok(());
    }
    let names: Vec<_> = outline.containers.iter().filter_map(ContainerText::template).collect();
    let names: Vec<_> = names.iter().map(String::as_str).collect();
    let message = format!("`containers` has no entry `{}`", which.text());
    refuse(message, which, did_you_mean(which.text(), &names))
}

/// Changes a step of a container: its own one, or one that it has from `each`, which becomes its own.
fn container_step(container: &mut ContainerText, each: &[StepText], path: &[Span], value: &Value) -> Applied {
    let [name, field @ ..] = path else { return Ok(()) };
    let is_it = |step: &&StepText| step.kind.name == name.text();
    if !container.steps.iter().any(|step| is_it(&step)) {
        let Some(step) = each.iter().find(is_it) else {
            let own = container.steps.iter().chain(each).map(|step| step.kind.name);
            let known: Vec<_> = CONTAINER.fields.iter().copied().chain(own).collect();
            let message = format!("a container has no field or step `{}`", name.text());
            return refuse(message, name, did_you_mean(name.text(), &known));
        };
        container.steps.push(step.clone());
    }
    for step in container.steps.iter_mut().filter(|step| step.kind.name == name.text()) {
        step.set(field.first(), value.clone());
    }
    Ok(())
}

impl ContainerText {
    /// Its name as it is written, if that can be read.
    fn template(&self) -> Option<String> {
        self.name.as_ref()?.string(&mut Vec::new())
    }

    /// Whether a path means this one, the `index`th: by name, by number, or all with `*`.
    fn is_meant(&self, which: &str, index: usize) -> bool {
        which == "*" || which.parse() == Ok(index) || self.template().is_some_and(|name| name == which)
    }

    fn set(&mut self, field: &str, value: Value, wrong: &mut Vec<Diagnostic>) {
        match field {
            "steps" => self.steps = steps(&value, Place::Container, wrong),
            "without" => self.without = value.list(wrong).to_vec(),
            "name" => self.name = Some(value),
            "distribution" => self.distribution = Some(value),
            "release" => self.release = Some(value),
            "arch" => self.arch = Some(value),
            "keyring" => self.keyring = Some(value),
            _ => self.mirror = Some(value),
        }
    }
}
