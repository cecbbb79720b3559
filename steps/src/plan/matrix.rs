//! An entry of `containers` multiplied out: one container for each distribution, release and architecture.
//!
//! It does not know steps.

use super::diagnostic::Diagnostic;
use super::fields::first_line;
use super::outline::ContainerText;
use super::scan::{Shape, Value};
use super::suggest::{and, did_you_mean};
use super::template::Template;
use crate::architecture::Architecture;
use crate::release::{Distribution, RELEASES, Release};

/// One of the containers that an entry multiplies to.
pub(super) struct Instance {
    pub(super) name: String,
    pub(super) release: &'static Release,
    pub(super) arch: Architecture,
}

/// All containers of an entry; what is wrong with it goes to `wrong`.
pub(super) fn multiply(text: &ContainerText, wrong: &mut Vec<Diagnostic>) -> Vec<Instance> {
    let template = text.name.as_ref().and_then(|name| Template::new(name, wrong));
    let releases = releases(text, wrong);
    let architectures = text.arch.as_ref().map(|list| architectures(list, wrong)).unwrap_or_default();
    let mut instances = Vec::new();
    for release in releases {
        for (arch, value) in &architectures {
            if !release.architectures.contains(arch) {
                wrong.push(not_made_for(release, *arch, value));
            } else if let Some(template) = &template {
                instances.push(Instance { name: template.fill(release, *arch), release, arch: *arch });
            }
        }
    }
    if let Some(template) = &template {
        if instances.is_empty() {
            template.check_alone(wrong);
        }
        template.check(instances.iter().map(|instance| instance.name.as_str()), wrong);
    }
    instances
}

fn not_made_for(release: &Release, arch: Architecture, value: &Value) -> Diagnostic {
    let others = RELEASES
        .iter()
        .filter(|other| other.distribution == release.distribution && other.architectures.contains(&arch));
    let others: Vec<_> = others.map(|other| other.code_name).collect();
    let names: Vec<_> = release.architectures.iter().map(|arch| arch.debian()).collect();
    let mut help = format!("it was released for {}", and(&names));
    if !others.is_empty() {
        help += &format!("; for `{arch}` there is {}", and(&others));
    }
    let message = format!("{:?} `{}` was not released for `{arch}`", release.distribution, release.code_name);
    Diagnostic::new(message, &value.span).help(help)
}

fn releases(text: &ContainerText, wrong: &mut Vec<Diagnostic>) -> Vec<&'static Release> {
    let distributions = text.distribution.as_ref().map(|list| distributions(list, wrong)).unwrap_or_default();
    let names = text.release.as_ref().map(Value::one_or_many).unwrap_or_default();
    let names: Vec<_> = names.iter().filter_map(|name| Some((name.string(wrong)?, name))).collect();
    let mut releases = Vec::new();
    for distribution in distributions {
        for (name, value) in &names {
            match crate::release::find(distribution, name) {
                Some(release) => releases.push(release),
                None => wrong.push(no_release(distribution, name, value)),
            }
        }
    }
    releases
}

fn no_release(distribution: Distribution, name: &str, value: &Value) -> Diagnostic {
    let known = || RELEASES.iter().filter(|release| release.distribution == distribution);
    let help = match known().find(|release| release.version == name) {
        Some(release) => Some(format!("version {name} is called `{}`", release.code_name)),
        None => did_you_mean(name, &known().map(|release| release.code_name).collect::<Vec<_>>()),
    };
    Diagnostic::new(format!("{distribution:?} has no release `{name}`"), &value.span).maybe_help(help)
}

fn distributions(list: &Value, wrong: &mut Vec<Diagnostic>) -> Vec<Distribution> {
    let known: Vec<_> =
        RELEASES.iter().map(|release| (plan_name(release.distribution), release.distribution)).collect();
    symbols("distribution", list, &known, wrong).into_iter().map(|(distribution, _)| distribution).collect()
}

fn architectures<'a>(list: &'a Value, wrong: &mut Vec<Diagnostic>) -> Vec<(Architecture, &'a Value)> {
    let known: Vec<_> = Architecture::all().map(|arch| (arch.debian().to_owned(), arch)).collect();
    symbols("architecture", list, &known, wrong)
}

/// What a plan calls a distribution: the name of the variant.
fn plan_name(distribution: Distribution) -> String {
    format!("{distribution:?}")
}

/// The members of a list of names, each once, of those in `known`.
fn symbols<'a, T: Copy + PartialEq>(
    what: &str,
    list: &'a Value,
    known: &[(String, T)],
    wrong: &mut Vec<Diagnostic>,
) -> Vec<(T, &'a Value)> {
    let mut members: Vec<(T, &Value)> = Vec::new();
    for value in list.one_or_many() {
        let member = match symbol(what, value, known) {
            Ok(member) => member,
            Err(diagnostic) => {
                wrong.push(diagnostic);
                continue;
            }
        };
        match members.iter().find(|(other, _)| *other == member) {
            Some((_, first)) => {
                let message = format!("{what} `{}` is given twice", value.span.text());
                wrong.push(Diagnostic::new(message, &value.span).also(&first.span, "first given here"));
            }
            None => members.push((member, value)),
        }
    }
    members
}

/// Whether `assist` is on: it is unless the plan turns it off.
pub(super) fn assist(value: Option<&Value>, wrong: &mut Vec<Diagnostic>) -> bool {
    let known = [("On".to_owned(), true), ("Off".to_owned(), false)];
    match value.map(|value| symbol("value of `assist`", value, &known)) {
        Some(Ok(on)) => on,
        Some(Err(diagnostic)) => {
            wrong.push(diagnostic.maybe_help(Some("write `On` or `Off`".to_owned())));
            true
        }
        None => true,
    }
}

fn symbol<T: Copy>(what: &str, value: &Value, known: &[(String, T)]) -> Result<T, Diagnostic> {
    let found = first_line(value.span.text());
    let bare = found.trim_matches('"');
    let exact = known.iter().find(|(name, _)| name == bare);
    match exact {
        Some((_, member)) if value.shape == Shape::Name => Ok(*member),
        Some((name, _)) => {
            let message = format!("expected a name without quotes, found `{found}`");
            Err(Diagnostic::new(message, &value.span).help(format!("write `{name}`")))
        }
        None => {
            let mut names: Vec<_> = known.iter().map(|(name, _)| name.as_str()).collect();
            names.dedup();
            // Another tool's name of an architecture, or something like one of the names.
            let called = Architecture::called(bare).map(|arch| arch.debian());
            let called = called.filter(|name| names.contains(name));
            let help =
                called.map(|name| format!("did you mean `{name}`?")).or_else(|| did_you_mean(bare, &names));
            Err(Diagnostic::new(format!("there is no {what} `{bare}`"), &value.span).maybe_help(help))
        }
    }
}
