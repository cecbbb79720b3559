//! What no two containers may share: names, addresses and ports of the host.
//!
//! It does not know where they came from.

use super::diagnostic::Diagnostic;
use super::expand::Written;
use super::source::Span;
use std::collections::HashMap;
use std::fmt::Display;
use std::hash::Hash;

/// Tells of names that are used twice.
pub(super) fn names(containers: &[Written], wrong: &mut Vec<Diagnostic>) {
    // Host names do not tell capital letters from small ones.
    let names = containers.iter().map(|written| (written.container.name.to_ascii_lowercase(), &written.name));
    for (name, first, again) in twice(names) {
        // One entry that makes a name twice has been told of when its lists were multiplied.
        if first != again {
            let message = format!("the name `{name}` is used twice");
            wrong.push(Diagnostic::new(message, again).also(first, "first used here"));
        }
    }
}

/// Tells of addresses that are used twice.
pub(super) fn addresses(containers: &[Written], wrong: &mut Vec<Diagnostic>) {
    let given =
        containers.iter().filter_map(|written| Some((written.container.address?, written.address.as_ref()?)));
    given_twice("address", "ReserveAddress(Auto)", given, wrong);
}

/// Tells of ports of the host that are to lead to two containers.
pub(super) fn ports(containers: &[Written], wrong: &mut Vec<Diagnostic>) {
    let given =
        containers.iter().filter_map(|written| Some((written.container.ssh_port?, written.port.as_ref()?)));
    given_twice("port", "ExposeSsh(Auto)", given, wrong);
}

fn given_twice<'a, K: Clone + Eq + Hash + Display>(
    what: &str,
    otherwise: &str,
    given: impl Iterator<Item = (K, &'a Span)>,
    wrong: &mut Vec<Diagnostic>,
) {
    for (key, first, again) in twice(given) {
        let diagnostic = Diagnostic::new(format!("the {what} `{key}` is given twice"), again);
        wrong.push(match first == again {
            true => diagnostic.help(format!("more than one container takes this step: write `{otherwise}`")),
            false => diagnostic.also(first, "first given here"),
        });
    }
}

/// Keys that occur again, each once, with the places of the first and the second.
fn twice<'a, K: Clone + Eq + Hash>(
    keys: impl Iterator<Item = (K, &'a Span)>,
) -> Vec<(K, &'a Span, &'a Span)> {
    let mut seen: HashMap<K, (&Span, bool)> = HashMap::new();
    let mut again = Vec::new();
    for (key, span) in keys {
        match seen.get_mut(&key) {
            Some((first, told)) if !*told => {
                *told = true;
                again.push((key, *first, span));
            }
            Some(_) => {}
            None => {
                seen.insert(key, (span, false));
            }
        }
    }
    again
}
