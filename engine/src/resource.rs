//! What steps need from each other, and what they share.
//!
//! Typed edges: the graph follows from what steps need and provide, not from hand-written lists of names.

use drover_state::NodeId;
use std::fmt;

/// Something that a step provides and others need, such as the domain of a container.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Resource {
    /// What it is: `domain`, `bridge`, `rootfs`.
    pub kind: &'static str,
    /// Which one.
    pub name: String,
}

impl Resource {
    /// The resource of this kind and name.
    pub fn new(kind: &'static str, name: impl Into<String>) -> Self {
        Self { kind, name: name.into() }
    }
}

impl fmt::Display for Resource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} `{}`", self.kind, self.name)
    }
}

/// How a step depends on resources.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Need {
    /// Somebody in the plan must provide it, and must have ended well.
    Must(Resource),
    /// If somebody in the plan provides it, that must have ended well first.
    IfAny(Resource),
    /// If somebody in the plan provides it, that must have ended first, however it ended: the step does without as well.
    Helps(Resource),
    /// Whoever in the plan provides something of this kind must have ended first, however it ended.
    After(&'static str),
    /// This node must have ended well first. Only the plan asks for that, by `after`; steps need resources.
    Node(NodeId),
}

/// A share in something that is scarce while the step runs: cores for emulation, the mirror, a lock.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Claim {
    /// The pool's name. A pool that nobody has given a capacity has capacity 1: a lock.
    pub pool: String,
    /// How much of it, at least 1. More than the capacity counts as all of it.
    pub weight: u32,
}

impl Claim {
    /// All alone: the pool called `name` has room for one.
    pub fn lock(name: impl Into<String>) -> Self {
        Self { pool: name.into(), weight: 1 }
    }

    /// `weight` shares of the pool called `name`.
    pub fn shares(name: impl Into<String>, weight: u32) -> Self {
        Self { pool: name.into(), weight }
    }
}
