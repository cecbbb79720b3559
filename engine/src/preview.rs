//! The dry run: what a run would find, and what it would do about it.
//!
//! It changes nothing and records nothing.

use crate::failure::{Stop, denied, guard};
use crate::look::Look;
use crate::{Check, Environment, Graph, Interrupt, Interrupted, Node, Readiness, Sweep};
use anyhow::Result;
use drover_state::{Failure, NodeId, Phase, Remedy, Status};
use rayon::prelude::*;
use serde::Serialize;
use std::collections::HashMap;
use std::path::PathBuf;

/// How a dry run is done.
#[derive(Clone, Debug)]
pub struct PreviewOptions {
    /// How many nodes are looked at at the same time: twice this.
    pub jobs: usize,
    /// By which it is stopped.
    pub interrupt: Interrupt,
    /// Where a run would have its caches; need not exist.
    pub cache: PathBuf,
    /// What programs get, but for what a step sets.
    pub environment: Environment,
    /// What is known about a failure.
    pub diagnose: fn(&Failure) -> Option<Remedy>,
    /// What is found out; shared by all that is done with these options, or with clones of them.
    pub sweep: Sweep,
}

/// What a run would find of one node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Preview {
    /// Which.
    pub id: NodeId,
    /// Where the plan asks for it.
    pub origin: String,
    /// What it does.
    pub title: String,
    /// What is recorded of it.
    pub recorded: Status,
    /// What its check says.
    #[serde(flatten)]
    pub finding: Finding,
}

/// What a check says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "finding", rename_all = "kebab-case")]
pub enum Finding {
    /// There is nothing to do.
    Satisfied,
    /// There is.
    Needed {
        /// Why.
        reason: String,
        /// What would change, where that can be shown.
        #[serde(skip_serializing_if = "Option::is_none")]
        diff: Option<String>,
    },
    /// That can only be found out by root.
    Unknown {
        /// What must not be read.
        why: String,
    },
    /// The check failed.
    Failed {
        /// Why.
        failure: Box<Failure>,
    },
}

/// Checks every selected node, each as the world is now. The answers come in an order in which a run could go.
///
/// # Errors
/// [`Interrupted`], and when no workers can be started.
pub fn preview(
    graph: &Graph,
    selected: &[bool],
    recorded: &HashMap<NodeId, Status>,
    options: &PreviewOptions,
) -> Result<Vec<Preview>> {
    let look = options.look();
    let nodes: Vec<_> =
        graph.order().iter().filter(|node| selected[**node]).map(|node| &graph.nodes()[*node]).collect();
    let entry = |node: &&Node| {
        Ok(Preview {
            id: node.id.clone(),
            origin: node.origin.clone(),
            title: node.step.title(),
            recorded: recorded.get(&node.id).copied().unwrap_or_default(),
            finding: look.finding(node)?,
        })
    };
    // One that waits for an answer of the network must not hold up others that its worker would have taken.
    let nodes = nodes.par_iter().with_max_len(1);
    crate::run::pool(options.jobs)?.install(|| nodes.map(entry).collect())
}

/// What this host lacks, or may lack, for the selected nodes.
///
/// # Errors
/// [`Interrupted`], and when no workers can be started.
pub fn preconditions(graph: &Graph, selected: &[bool], options: &PreviewOptions) -> Result<Readiness> {
    let readiness = crate::run::pool(options.jobs)?.install(|| options.look().preconditions(graph, selected));
    if options.interrupt.level() > 0 { Err(Interrupted.into()) } else { Ok(readiness) }
}

impl PreviewOptions {
    fn look(&self) -> Look {
        Look {
            interrupt: self.interrupt.clone(),
            cache: self.cache.as_path().into(),
            environment: self.environment.clone(),
            // What only looks leaves nothing behind that would have to be found.
            mark: "preview".into(),
            sweep: self.sweep.clone(),
            diagnose: self.diagnose,
        }
    }
}

impl Look {
    fn finding(&self, node: &Node) -> Result<Finding> {
        if self.interrupt.level() > 0 {
            return Err(Interrupted.into());
        }
        let check = || match node.step.check(&self.cx(node.step.timeout())) {
            Ok(Check::Satisfied) => Ok(Finding::Satisfied),
            Ok(Check::Needed { reason, diff }) => Ok(Finding::Needed { reason, diff }),
            Err(error) => match denied(&error) {
                Some(why) => Ok(Finding::Unknown { why }),
                None => Err(error),
            },
        };
        match guard(Phase::Check, check) {
            Ok(finding) => Ok(finding),
            Err(Stop::Interrupted) => Err(Interrupted.into()),
            Err(Stop::Failed(mut failure)) => {
                failure.remedy = (self.diagnose)(&failure);
                Ok(Finding::Failed { failure })
            }
        }
    }
}
