//! Looking at the world without changing it: preconditions and dry runs.
//!
//! It does not know what is recorded.

use crate::cx::Nobody;
use crate::failure::{Stop, denied, guard};
use crate::until::taken_apart;
use crate::{Attempt, Check, Cx, Edge, Environment, Graph, Interrupt, Mark, Node, Resource, Scope, Sweep};
use drover_state::{Failure, NodeId, Phase, Remedy};
use rayon::prelude::*;
use serde::Serialize;
use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How long all preconditions together may take, most of which look for a file.
const PATIENCE: Duration = Duration::from_secs(600);

/// Somebody who looks.
#[derive(Clone, Debug)]
pub(crate) struct Look {
    pub(crate) interrupt: Interrupt,
    pub(crate) cache: Arc<Path>,
    pub(crate) environment: Environment,
    pub(crate) mark: Mark,
    pub(crate) sweep: Sweep,
    pub(crate) diagnose: fn(&Failure) -> Option<Remedy>,
}

/// A precondition that is not met.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Complaint {
    /// Which node has it.
    pub id: NodeId,
    /// Where the plan asks for that.
    pub origin: String,
    /// What is missing.
    pub failure: Failure,
    /// Whether it holds up only what needs this node.
    pub local: bool,
}

/// A precondition that is not met yet, and that steps which have still to be done may mend. It is asked again after them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Postponed {
    /// What is wrong as long as they are not done.
    pub complaint: Complaint,
    /// The nodes that have to be done first.
    pub after: Vec<NodeId>,
}

/// Something that could not be found out, and may yet turn out to be missing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Doubt {
    /// Which node's precondition says so.
    pub id: NodeId,
    /// What was not found out, and why.
    pub text: String,
}

/// What the preconditions of nodes say, in the plan's order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Readiness {
    /// What this host lacks.
    pub complaints: Vec<Complaint>,
    /// What it lacks until other steps are done.
    pub postponed: Vec<Postponed>,
    /// What could not be found out.
    pub doubts: Vec<Doubt>,
}

/// Hears the doubts of somebody who only looks, and nothing else.
#[derive(Default)]
struct Listener(Mutex<Vec<String>>);

impl Attempt for Listener {
    fn line(&self, _line: &str) {}

    fn progress(&self, _done: u64, _total: u64) {}

    fn doubt(&self, text: &str) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(text.to_owned());
    }
}

/// Preconditions are not met; nothing was changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unmet(pub Vec<Complaint>);

impl Look {
    /// What this host lacks, over all selected nodes. Runs in the current pool.
    pub(crate) fn preconditions(&self, graph: &Graph, selected: &[bool]) -> Readiness {
        let nodes = graph.nodes().par_iter().zip(selected).with_max_len(1).filter(|(_, selected)| **selected);
        let door = || {
            let listener = Arc::new(Listener::default());
            (self.door(Arc::clone(&listener) as _, PATIENCE), listener)
        };
        let asked = nodes.map_init(door, |(cx, listener), (node, _)| {
            let complaint = self.precondition(cx, node);
            let said = std::mem::take(&mut *listener.0.lock().unwrap_or_else(PoisonError::into_inner));
            (complaint, said.into_iter().map(|text| Doubt { id: node.id.clone(), text }).collect::<Vec<_>>())
        });
        let (complaints, doubts): (Vec<_>, Vec<_>) = asked.unzip();
        let mut readiness =
            Readiness { doubts: doubts.into_iter().flatten().collect(), ..Readiness::default() };
        for Verdict { complaint, until } in complaints.into_iter().flatten() {
            let after = self.to_mend(graph, selected, &complaint.id, until.as_ref());
            match after.is_empty() {
                true => readiness.complaints.push(complaint),
                false => readiness.postponed.push(Postponed { complaint, after }),
            }
        }
        readiness
    }

    /// What this host lacks for the node. Once the run is to stop, nothing is looked at any more.
    fn precondition(&self, cx: &Cx, node: &Node) -> Option<Verdict> {
        if self.interrupt.level() > 0 {
            return None;
        }
        let mut until = None;
        let answer = guard(Phase::Precondition, || {
            let Err(error) = node.step.precondition(cx) else { return Ok(()) };
            let (error, resource) = taken_apart(error);
            until = resource;
            match denied(&error) {
                // Whoever may not look cannot run it either.
                Some(why) => {
                    cx.doubt(&why);
                    Ok(())
                }
                None => Err(error),
            }
        });
        match answer {
            Ok(()) | Err(Stop::Interrupted) => None,
            Err(Stop::Failed(mut failure)) => {
                failure.remedy = (self.diagnose)(&failure);
                let (id, origin, local) = (node.id.clone(), node.origin.clone(), node.step.is_local());
                Some(Verdict { complaint: Complaint { id, origin, failure: *failure, local }, until })
            }
        }
    }

    /// The nodes that have still to be done, and may change what the precondition of `id` says.
    fn to_mend(
        &self,
        graph: &Graph,
        selected: &[bool],
        id: &NodeId,
        until: Option<&Resource>,
    ) -> Vec<NodeId> {
        let menders = menders(graph, id.as_str(), until).into_iter();
        let waiting = menders.filter(|node| selected[*node] && !self.is_done(&graph.nodes()[*node]));
        waiting.map(|node| graph.nodes()[node].id.clone()).collect()
    }

    /// Whether nothing is to be done for the node. One of which that cannot be told will say so itself when it is its turn.
    fn is_done(&self, node: &Node) -> bool {
        guard(Phase::Check, || node.step.check(&self.cx(node.step.timeout()))) == Ok(Check::Satisfied)
    }

    /// A door to the world for somebody who only looks: what is said there is not kept.
    pub(crate) fn cx(&self, patience: Duration) -> Cx {
        self.door(Arc::new(Nobody), patience)
    }

    fn door(&self, attempt: Arc<dyn Attempt>, patience: Duration) -> Cx {
        Cx::new(Scope {
            attempt,
            interrupt: self.interrupt.clone(),
            deadline: Instant::now() + patience,
            cache: Arc::clone(&self.cache),
            environment: self.environment.clone(),
            mark: self.mark.clone(),
            sweep: self.sweep.clone(),
        })
    }
}

/// What a precondition said, and the resource that may change it.
struct Verdict {
    complaint: Complaint,
    until: Option<Resource>,
}

/// The nodes before `id` that may change what its precondition says: those that provide the resource on which that hangs, and
/// those that the plan puts before it; and whatever these need.
fn menders(graph: &Graph, id: &str, until: Option<&Resource>) -> Vec<usize> {
    let nodes = graph.nodes();
    let Some(node) = graph.find(id) else { return Vec::new() };
    let mut before = vec![false; nodes.len()];
    before[node] = true;
    graph.add_upstream(&mut before, |_| true);
    let provides = |other: &usize| until.is_some_and(|it| nodes[*other].step.provides().contains(it));
    let is_put_first = |other: &usize| nodes[node].after.contains(&nodes[*other].id);
    let mut menders = vec![false; nodes.len()];
    for other in (0..nodes.len()).filter(|other| before[*other] && *other != node) {
        menders[other] = provides(&other) || is_put_first(&other);
    }
    graph.add_upstream(&mut menders, Edge::is_hard);
    (0..nodes.len()).filter(|other| menders[*other]).collect()
}

impl fmt::Display for Postponed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let after: Vec<_> = self.after.iter().map(|id| format!("`{id}`")).collect();
        write!(f, "{}; that is asked again after {}", self.complaint.failure.why(), after.join(", "))
    }
}

/// Each complaint once, however many nodes have it.
impl fmt::Display for Unmet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut told: BTreeMap<usize, Vec<&NodeId>> = BTreeMap::new();
        let mut firsts = HashMap::new();
        for (place, Complaint { id, failure, .. }) in self.0.iter().enumerate() {
            let first = *firsts.entry((&failure.message, &failure.causes)).or_insert(place);
            told.entry(first).or_default().push(id);
        }
        f.write_str("this host is not ready; nothing was changed")?;
        for (first, ids) in told {
            write!(f, "\n  {}", self.0[first].failure.why())?;
            let ids: Vec<_> = ids.iter().map(|id| format!("`{id}`")).collect();
            match ids.as_slice() {
                [first, second, others @ ..] if !others.is_empty() => {
                    write!(f, " (for {first}, {second} and {} more)", others.len())?;
                }
                ids => write!(f, " (for {})", ids.join(" and "))?,
            }
        }
        Ok(())
    }
}

impl std::error::Error for Unmet {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::failure::failure;

    #[test]
    fn a_complaint_is_told_once() {
        let complaint = |id: &str, text: &str| Complaint {
            id: id.into(),
            origin: String::new(),
            failure: failure(Phase::Precondition, &anyhow::anyhow!("no {text}").context("cannot bootstrap")),
            local: false,
        };
        let unmet = Unmet(
            ["a", "b", "c"].iter().map(|id| complaint(id, "rsync")).chain([complaint("d", "wget")]).collect(),
        );
        let expected = "this host is not ready; nothing was changed\n  \
                        cannot bootstrap: no rsync (for `a`, `b` and 1 more)\n  cannot bootstrap: no wget (for `d`)";
        assert_eq!(unmet.to_string(), expected);
    }
}
