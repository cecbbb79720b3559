//! What the graph of a plan's steps has to complain of: needs that nothing provides, circles.
//!
//! It does not know how the graph is built.

use super::diagnostic::Diagnostic;
use super::expand::Expanded;
use super::nodes::Nodes;
use super::provider::provider;
use drover_engine::{Graph, GraphError, Link, Need, Resource};
use drover_state::NodeId;

/// The graph of these nodes, or everything that is wrong with it.
pub(super) fn graph(expanded: &Expanded, wrong: &mut Vec<Diagnostic>) -> Option<Graph> {
    let nodes = &expanded.nodes;
    let errors = match Graph::new(nodes.nodes.clone()) {
        Ok(graph) => return Some(graph),
        Err(errors) => errors,
    };
    // Each container has the needs of its steps: told once for all of them.
    let mut told: Vec<(String, &'static str)> = Vec::new();
    for error in &errors {
        match error {
            GraphError::Unmet { id, origin, resource } => {
                let key = (origin.clone(), resource.kind);
                if !told.contains(&key) {
                    told.push(key);
                    let more = errors.iter().filter(|other| is_like(other, origin, resource)).count() - 1;
                    wrong.push(unmet(expanded, id, resource, more));
                }
            }
            // Whoever put the nodes in order knew that they are there.
            GraphError::Absent { id, .. } => {
                wrong
                    .extend(nodes.spans.get(id).map(|span| Diagnostic::new(error.to_string(), &span.head())));
            }
            GraphError::Cycle(links) => wrong.extend(cycle(nodes, links)),
            // A container whose name is used twice is told of as such.
            GraphError::Duplicate { id, .. } if is_container(expanded, id.place()) => {}
            GraphError::Duplicate { id, .. } => wrong.extend(duplicate(nodes, id)),
        }
    }
    None
}

fn is_container(expanded: &Expanded, name: &str) -> bool {
    expanded.containers.iter().filter(|written| written.container.name == name).count() > 1
}

fn is_like(error: &GraphError, at: &str, what: &Resource) -> bool {
    matches!(error, GraphError::Unmet { origin, resource, .. } if origin == at && resource.kind == what.kind)
}

fn unmet(expanded: &Expanded, id: &NodeId, resource: &Resource, more: usize) -> Diagnostic {
    let who = match more {
        0 => format!("`{id}` needs"),
        1 => format!("`{id}` and one more need"),
        _ => format!("`{id}` and {more} more need"),
    };
    let message = format!("{who} {resource}, which no step of the plan provides");
    let help = provider(resource, expanded);
    match expanded.nodes.spans.get(id) {
        Some(span) => Diagnostic::new(message, &span.head()).maybe_help(help),
        None => Diagnostic::nowhere(message).maybe_help(help),
    }
}

pub(super) fn cycle(nodes: &Nodes, links: &[Link]) -> Option<Diagnostic> {
    let first = links.first()?;
    let ids: Vec<_> = links.iter().chain([first]).map(|link| format!("`{}`", link.id)).collect();
    let message = format!("steps wait for each other: {}", ids.join(" waits for "));
    let mut diagnostic = Diagnostic::new(message, &nodes.spans.get(&first.id)?.head());
    for (link, label) in links.iter().zip(links.iter().map(label)) {
        let span = nodes.spans.get(&link.id)?.head();
        diagnostic = diagnostic.also(&span, label);
    }
    // Each place says why; the one without a reason would only repeat the first.
    diagnostic.places.remove(0);
    Some(diagnostic.help("take one of these needs away"))
}

fn label(link: &Link) -> String {
    match &link.need {
        Need::Must(resource) => format!("needs {resource}"),
        Need::IfAny(resource) => format!("uses {resource}"),
        Need::Helps(resource) => format!("is helped by {resource}"),
        Need::After(kind) => format!("comes after every {kind}"),
        Need::Node(id) => format!("comes after `{id}`"),
    }
}

fn duplicate(nodes: &Nodes, id: &NodeId) -> Option<Diagnostic> {
    Some(Diagnostic::new(format!("`{id}` is in the plan twice"), &nodes.spans.get(id)?.head()))
}
