//! A plan as it is written: host, containers, each, with every part's place, before lists multiply.
//!
//! It knows the fields and which steps there are; what a step's fields may be is for the step's own type.

use super::diagnostic::{Diagnostic, leave_steps};
use super::fields::{Fields, Record, first_line};
use super::scan::{Entry, Shape, Value};
use super::source::Span;
use super::suggest::nearest;
use crate::registry::{KINDS, Kind, Parse};
use std::collections::HashMap;

/// A plan as it is written, includes taken in.
#[derive(Debug, Default)]
pub(super) struct Outline {
    pub(super) name: Option<Value>,
    pub(super) include: Vec<Value>,
    pub(super) mirror: Option<Value>,
    pub(super) keyring: Option<Value>,
    pub(super) assist: Option<Value>,
    pub(super) env: Vec<Value>,
    pub(super) host: Vec<StepText>,
    pub(super) containers: Vec<ContainerText>,
    pub(super) each: Vec<StepText>,
}

/// A step as it is written.
#[derive(Clone, Debug)]
pub(super) struct StepText {
    pub(super) kind: &'static Kind,
    pub(super) span: Span,
    pub(super) entries: Vec<Entry>,
    /// What it says that it comes after: that is for the plan, not for the step.
    pub(super) after: Vec<Value>,
}

/// An entry of `containers`: one container, or as many as its lists multiply to.
#[derive(Clone, Debug)]
pub(super) struct ContainerText {
    pub(super) span: Span,
    pub(super) name: Option<Value>,
    pub(super) distribution: Option<Value>,
    pub(super) release: Option<Value>,
    pub(super) arch: Option<Value>,
    pub(super) mirror: Option<Value>,
    pub(super) keyring: Option<Value>,
    pub(super) steps: Vec<StepText>,
    pub(super) without: Vec<Value>,
}

/// A plan.
static PLAN: Record = Record {
    what: "a plan",
    fields: &["name", "include", "mirror", "keyring", "assist", "env", "host", "containers", "each"],
};

/// An entry of `containers`.
pub(super) static CONTAINER: Record = Record {
    what: "a container",
    fields: &["name", "distribution", "release", "arch", "mirror", "keyring", "steps", "without"],
};

/// What helps when no step is like what was found.
const LISTED: &str = "`drover steps` lists them";

/// Where a step is written.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    Host,
    Container,
}

/// The outline of a plan.
pub(super) fn outline(value: &Value, wrong: &mut Vec<Diagnostic>) -> Outline {
    let entries = match &value.shape {
        Shape::Call(Some(name), entries) if name.text() == "Plan" => entries,
        _ => {
            wrong.push(Diagnostic::new("a plan starts with `Plan(`", &value.span.head()));
            return Outline::default();
        }
    };
    let fields = Fields::new(&PLAN, &value.span, entries, wrong);
    let steps = |name: &str, place: Place, wrong: &mut Vec<Diagnostic>| match fields.get(name) {
        Some(list) => steps(list, place, wrong),
        None => Vec::new(),
    };
    Outline {
        host: steps("host", Place::Host, wrong),
        each: steps("each", Place::Container, wrong),
        name: fields.require("name", "\"my-farm\"", wrong).cloned(),
        include: fields.get("include").map(|list| list.list(wrong).to_vec()).unwrap_or_default(),
        mirror: fields.get("mirror").cloned(),
        keyring: fields.get("keyring").cloned(),
        assist: fields.get("assist").cloned(),
        env: fields.get("env").map(|list| list.list(wrong).to_vec()).unwrap_or_default(),
        containers: fields.get("containers").map(|list| containers(list, wrong)).unwrap_or_default(),
    }
}

fn containers(list: &Value, wrong: &mut Vec<Diagnostic>) -> Vec<ContainerText> {
    list.list(wrong).iter().filter_map(|value| container(value, wrong)).collect()
}

fn container(value: &Value, wrong: &mut Vec<Diagnostic>) -> Option<ContainerText> {
    let Shape::Call(None, entries) = &value.shape else {
        let message = format!("expected a container, found `{}`", first_line(value.span.text()));
        let help = "write `(name: \"...\", distribution: Debian, release: \"bookworm\", arch: amd64)`";
        wrong.push(Diagnostic::new(message, &value.span.head()).help(help));
        return None;
    };
    let before = wrong.len();
    let fields = Fields::new(&CONTAINER, &value.span, entries, wrong);
    let needed = [
        fields.require("name", "\"debian12-{arch}\"", wrong).cloned(),
        fields.require("distribution", "Debian", wrong).cloned(),
        fields.require("release", "\"bookworm\"", wrong).cloned(),
        fields.require("arch", "amd64", wrong).cloned(),
    ];
    let [name, distribution, release, arch] = needed;
    leave_steps(&mut wrong[before..]);
    Some(ContainerText {
        span: value.span.clone(),
        name,
        distribution,
        release,
        arch,
        mirror: fields.get("mirror").cloned(),
        keyring: fields.get("keyring").cloned(),
        steps: fields.get("steps").map(|list| steps(list, Place::Container, wrong)).unwrap_or_default(),
        without: fields.get("without").map(|list| list.list(wrong).to_vec()).unwrap_or_default(),
    })
}

/// A list of steps, each kind once.
pub(super) fn steps(list: &Value, place: Place, wrong: &mut Vec<Diagnostic>) -> Vec<StepText> {
    let mut steps: Vec<StepText> = Vec::new();
    let mut places = HashMap::new();
    for value in list.list(wrong) {
        let Some(step) = step(value, place, wrong) else { continue };
        match step.only().and_then(|kind| places.insert(kind, steps.len())) {
            Some(first) => {
                places.insert(step.kind.name, first);
                let message = format!("step `{}` is given twice", step.kind.name);
                wrong.push(Diagnostic::new(message, &step.span).also(&steps[first].span, "first given here"));
            }
            None => steps.push(step),
        }
    }
    steps
}

/// A step, if there is one of that name that may stand here.
pub(super) fn step(value: &Value, place: Place, wrong: &mut Vec<Diagnostic>) -> Option<StepText> {
    let (name, entries) = match &value.shape {
        Shape::Name => (&value.span, &[][..]),
        Shape::Call(Some(name), entries) => (name, entries.as_slice()),
        _ => {
            wrong.push(no_step(value));
            return None;
        }
    };
    let kind = find(name, place, wrong)?;
    let is_after = |entry: &&Entry| entry.name.as_ref().is_some_and(|name| name.text() == "after");
    let after = entries.iter().find(is_after).map(|entry| entry.value.list(wrong).to_vec());
    let entries = entries.iter().filter(|entry| !is_after(entry)).cloned().collect();
    Some(StepText { kind, span: value.span.clone(), entries, after: after.unwrap_or_default() })
}

fn no_step(value: &Value) -> Diagnostic {
    let found = first_line(value.span.text());
    let help = match Kind::find(found.trim_matches('"')) {
        Some(kind) => format!("write `{}`, without quotes", kind.name),
        None => LISTED.to_owned(),
    };
    Diagnostic::new(format!("expected a step, found `{found}`"), &value.span.head()).help(help)
}

/// The kind of step that `name` names, if it may stand here.
fn find(name: &Span, place: Place, wrong: &mut Vec<Diagnostic>) -> Option<&'static Kind> {
    let Some(kind) = Kind::find(name.text()) else {
        let here = KINDS.iter().filter(|kind| kind.place() == place).map(|kind| kind.name);
        let help = match nearest(name.text(), here) {
            Some(step) => format!("did you mean `{step}`?"),
            None => LISTED.to_owned(),
        };
        wrong.push(Diagnostic::new(format!("there is no step `{}`", name.text()), name).help(help));
        return None;
    };
    if kind.place() == place {
        return Some(kind);
    }
    let (acts, list) = match kind.place() {
        Place::Host => ("the host", "`host`"),
        Place::Container => ("a container", "`each`, or to `steps` of a container"),
    };
    let message = format!("step `{}` acts on {acts}", kind.name);
    wrong.push(Diagnostic::new(message, name).help(format!("move it to {list}")));
    None
}

impl Kind {
    fn place(&self) -> Place {
        match self.parse {
            Parse::Host(_) => Place::Host,
            Parse::Container(_) | Parse::Bootstrap => Place::Container,
        }
    }
}

impl StepText {
    /// Its kind, if there is only one of that at a place.
    fn only(&self) -> Option<&'static str> {
        (!self.kind.is_many()).then_some(self.kind.name)
    }
}

/// Puts steps in a list, each in place of the one of its kind, or at the end.
pub(super) fn put(steps: &mut Vec<StepText>, others: Vec<StepText>) {
    let known = steps.iter().enumerate().filter_map(|(place, step)| Some((step.only()?, place)));
    let mut places: HashMap<_, _> = known.collect();
    for step in others {
        match step.only().map(|kind| *places.entry(kind).or_insert(steps.len())) {
            Some(place) if place < steps.len() => steps[place] = step,
            _ => steps.push(step),
        }
    }
}
