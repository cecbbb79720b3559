//! The name of a node, such as `jenkins-debian12-arm64/define-domain`.
//!
//! It is the key of everything that is remembered; it does not know what the node does.

use serde::{Deserialize, Serialize};
use std::borrow::Borrow;
use std::fmt;
use std::sync::Arc;

/// The name of a node: where it acts (`host`, a container, a bootstrap), a slash, and the step's name.
///
/// Cheap to clone. Equal names are equal nodes, over all runs of one state directory.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct NodeId(Arc<str>);

impl NodeId {
    /// The id of `step` at `place`.
    pub fn new(place: &str, step: &str) -> Self {
        Self(format!("{place}/{step}").into())
    }

    /// The whole name.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Where it acts: all before the last slash.
    pub fn place(&self) -> &str {
        self.0.rsplit_once('/').map_or("", |(place, _)| place)
    }

    /// What it does: all behind the last slash.
    pub fn step(&self) -> &str {
        self.0.rsplit_once('/').map_or(&self.0, |(_, step)| step)
    }
}

impl From<&str> for NodeId {
    fn from(name: &str) -> Self {
        Self(name.into())
    }
}

impl Borrow<str> for NodeId {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl fmt::Debug for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
