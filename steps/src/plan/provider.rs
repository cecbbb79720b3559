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

/// A line of help: the step that provides resources of this kind.
pub(super) fn provider(kind: &str, expanded: &Expanded) -> Option<String> {
    let step = KINDS.iter().find(|step| provides(step, kind, expanded))?;
    let list = match step.parse {
        Parse::Host(_) => "host",
        Parse::Container(_) | Parse::Bootstrap => "each",
    };
    Some(format!("add `{}` to `{list}`", example(step)?))
}

fn provides(step: &Kind, kind: &str, expanded: &Expanded) -> bool {
    let Some(text) = example(step) else { return false };
    let text = if text.contains('(') { text } else { format!("{text}()") };
    match step.parse {
        Parse::Host(parse) => parse(&text).is_ok_and(|step| has(&*step, &expanded.farm, kind)),
        Parse::Container(parse) => {
            let first = expanded.containers.first().zip(parse(&text).ok());
            first.is_some_and(|(written, step)| has(&*step, &written.container, kind))
        }
        Parse::Bootstrap => kind == BASE,
    }
}

/// Whether a step, or one that comes with it, provides resources of this kind.
fn has<P>(step: &dyn FarmStep<P>, at: &P, kind: &str) -> bool {
    let is_it = |resource: &Resource| resource.kind == kind;
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
