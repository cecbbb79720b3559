//! Which step would provide what a plan lacks: found out from the examples in the steps' manuals.
//!
//! It does not know what is lacking, nor why.

use super::expand::Expanded;
use super::scan::scan_from;
use super::source::Source;
use crate::registry::{KINDS, Kind, Parse};
use crate::resource::BASE;
use crate::step::FarmStep;
use drover_engine::Resource;

/// A line of help: the step that provides this resource, or at least others of its kind.
pub(super) fn provider(resource: &Resource, expanded: &Expanded) -> Option<String> {
    // Of the edits of a container each is made by a step of its own: `account of jenkins-debian12-arm64`.
    let what = |resource: &Resource| resource.name.split(" of ").next().map(str::to_owned);
    let is_kind = |other: &Resource| other.kind == resource.kind;
    let is_it = |other: &Resource| is_kind(other) && what(other) == what(resource);
    let find = |is_it: &dyn Fn(&Resource) -> bool| {
        KINDS.iter().find(|step| provides(step, resource.kind, expanded, is_it))
    };
    let step = find(&is_it).or_else(|| find(&is_kind))?;
    let list = match step.parse {
        Parse::Host(_) => "host",
        Parse::Container(_) | Parse::Bootstrap => "each",
    };
    Some(format!("add `{}` to `{list}`", example(step)?))
}

fn provides(step: &Kind, kind: &str, expanded: &Expanded, is_it: &dyn Fn(&Resource) -> bool) -> bool {
    let Some(text) = example(step) else { return false };
    let text = if text.contains('(') { text } else { format!("{text}()") };
    match step.parse {
        Parse::Host(parse) => parse(&text).is_ok_and(|step| has(&*step, &expanded.farm, is_it)),
        Parse::Container(parse) => {
            let first = expanded.containers.first().zip(parse(&text).ok());
            first.is_some_and(|(written, step)| has(&*step, &written.container, is_it))
        }
        Parse::Bootstrap => kind == BASE,
    }
}

/// Whether a step, or one that comes with it, provides such a resource.
fn has<P>(step: &dyn FarmStep<P>, at: &P, is_it: &dyn Fn(&Resource) -> bool) -> bool {
    step.provides(at).iter().any(is_it)
        || step.companions(at).iter().any(|(_, step)| step.provides(at).iter().any(is_it))
}

/// How the manual of a step writes it: the first value of its first example.
fn example(step: &Kind) -> Option<String> {
    let manual = step.manual();
    let (_, example) = manual.split_once("```ron\n")?;
    let value = scan_from(&Source::new("", example.split_once("```")?.0), 0, &mut Vec::new())?;
    Some(value.span.text().to_owned())
}
