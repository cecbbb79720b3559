//! Steps placed: the engine's nodes, and where each is written.
//!
//! It does not know what the steps are.

use super::guest::Typed;
use super::ordered::Wish;
use super::source::Span;
use crate::base::Base;
use crate::step::{FarmStep, Placed};
use drover_engine::Node;
use drover_state::NodeId;
use std::collections::HashMap;
use std::fmt::Debug;
use std::sync::Arc;

/// The nodes of a plan, and where each is written.
#[derive(Default)]
pub(super) struct Nodes {
    pub(super) nodes: Vec<Node>,
    pub(super) spans: HashMap<NodeId, Span>,
    /// The order that nodes ask for beyond what they need, until [`super::ordered::order`] has seen to it.
    pub(super) wishes: Vec<Wish>,
}

impl Nodes {
    /// Adds a step at a place, and those that come with it.
    pub(super) fn step<P>(&mut self, place: &str, typed: &Typed<P>, at: &Arc<P>)
    where
        P: Debug + Send + Sync + 'static,
    {
        if !typed.after.is_empty() {
            self.wishes.push(Wish { node: self.nodes.len(), after: typed.after.clone() });
        }
        self.place(NodeId::new(place, &typed.slug), &typed.step, at, &typed.span);
        for (name, companion) in typed.step.companions(at) {
            self.place(NodeId::new(place, &name), &companion, at, &typed.span);
        }
    }

    /// Adds the chain that makes a base system.
    pub(super) fn bootstrap(&mut self, base: &Arc<Base>, span: &Span) {
        let place = format!("bootstrap/{}", base.id());
        for (slug, step) in crate::bootstrap::chain() {
            self.step(&place, &Typed::implied(slug, span, step), base);
        }
    }

    /// Adds the step that makes natives of a base system.
    pub(super) fn twin(&mut self, base: &Arc<Base>, span: &Span) {
        let place = format!("bootstrap/{}", base.id());
        self.step(&place, &Typed::implied("twin", span, Arc::new(crate::assist::Twin)), base);
    }

    fn place<P>(&mut self, id: NodeId, step: &Arc<dyn FarmStep<P>>, at: &Arc<P>, span: &Span)
    where
        P: Debug + Send + Sync + 'static,
    {
        self.spans.insert(id.clone(), span.clone());
        let local = id.place() != "host";
        let step = Arc::new(Placed { step: step.clone(), at: at.clone(), local });
        self.nodes.push(Node { id, step, origin: span.location(), after: Vec::new() });
    }
}
