//! Toy steps for unit tests, written as one line: `a b=5 c:a,b? d:c~ e@disk*2`.
//!
//! A word is a node: its name, `=` its estimate in seconds, `:` whom it needs (`x` must, `x?` if any, `x+` helps, `x~` after, `x!`
//! the node of that name, as the plan's `after` has it), `@` what it claims. Each provides the resource of its own name. They do nothing.

use crate::{Check, Claim, Cx, Graph, GraphError, Inputs, Need, Node, Resource, Step};
use anyhow::Result;
use drover_state::NodeId;
use std::sync::Arc;
use std::time::Duration;

#[derive(Debug)]
struct Toy {
    name: String,
    needs: Vec<Need>,
    claims: Vec<Claim>,
    estimate: Duration,
}

/// The graph that `text` describes.
pub(crate) fn graph(text: &str) -> Result<Graph, Vec<GraphError>> {
    let nodes = text.split_whitespace().enumerate().map(|(index, word)| {
        let (toy, after) = toy(word);
        let id = toy.name.as_str().into();
        Node { id, step: Arc::new(toy), origin: format!("plan.ron:{}", index + 1), after }
    });
    Graph::new(nodes.collect())
}

/// A toy, and the nodes that it comes after.
fn toy(word: &str) -> (Toy, Vec<NodeId>) {
    let (word, claims) = word.split_once('@').unwrap_or((word, ""));
    let (word, needs) = word.split_once(':').unwrap_or((word, ""));
    let (name, estimate) = word.split_once('=').unwrap_or((word, "1"));
    let estimate = estimate.parse().expect("a test writes whole seconds");
    let after = list(needs).filter_map(|item| item.strip_suffix('!')).map(NodeId::from);
    let toy = Toy {
        name: name.to_owned(),
        needs: list(needs).filter(|item| !item.ends_with('!')).map(need).collect(),
        claims: list(claims).map(claim).collect(),
        estimate: Duration::from_secs(estimate),
    };
    (toy, after.collect())
}

fn list(text: &str) -> impl Iterator<Item = &str> {
    text.split(',').filter(|item| !item.is_empty())
}

fn need(text: &str) -> Need {
    match text.split_at(text.len() - 1) {
        (name, "?") => Need::IfAny(resource(name)),
        (name, "+") => Need::Helps(resource(name)),
        (name, "~") => Need::After(resource(name).kind),
        _ => Need::Must(resource(text)),
    }
}

fn claim(text: &str) -> Claim {
    let (pool, weight) = text.split_once('*').unwrap_or((text, "1"));
    Claim::shares(pool, weight.parse().expect("a test writes whole weights"))
}

/// Kinds are `&'static str`, so that steps cannot misspell them; a test's few are leaked.
fn resource(name: &str) -> Resource {
    Resource::new(name.to_owned().leak(), "toy")
}

impl Step for Toy {
    fn title(&self) -> String {
        self.name.clone()
    }

    fn inputs(&self) -> Inputs {
        Inputs::default().with("name", &self.name)
    }

    fn needs(&self) -> Vec<Need> {
        self.needs.clone()
    }

    fn provides(&self) -> Vec<Resource> {
        vec![resource(&self.name)]
    }

    fn claims(&self) -> Vec<Claim> {
        self.claims.clone()
    }

    fn estimate(&self) -> Duration {
        self.estimate
    }

    fn check(&self, _cx: &Cx) -> Result<Check> {
        Ok(Check::Satisfied)
    }

    fn apply(&self, _cx: &Cx) -> Result<()> {
        Ok(())
    }
}
