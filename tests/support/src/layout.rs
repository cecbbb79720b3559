//! What a throw-away host is made of, as told from the outside to the process that makes it inside.
//!
//! Data only.

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// What a throw-away host is made of.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Layout {
    /// Its host name.
    pub(crate) name: String,
    /// The name of its control group, which no host of another ground has.
    pub(crate) group: String,
    /// An empty directory that becomes its `/`.
    pub(crate) root: PathBuf,
    /// The root file system at the bottom.
    pub(crate) bottom: PathBuf,
    /// The layer that it is laid over, if any, above that.
    pub(crate) layer: Option<PathBuf>,
    /// An empty directory, for what is in between.
    pub(crate) between: PathBuf,
    /// Where its changes are kept.
    pub(crate) upper: PathBuf,
    /// What overlayfs needs beside that.
    pub(crate) work: PathBuf,
    /// Whether it has a network of its own, with nothing but a loopback device.
    pub(crate) own_network: bool,
    /// Directories of this machine bound to paths below its `/run`.
    pub(crate) binds: Vec<Bind>,
}

/// A directory or file of this machine that a throw-away host sees.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Bind {
    /// Where it is on this machine.
    pub(crate) source: PathBuf,
    /// Where it is seen, below `/run`.
    pub(crate) target: PathBuf,
    /// Whether it may be written to.
    pub(crate) writable: bool,
}

impl Layout {
    /// As one argument.
    pub(crate) fn encode(&self) -> Result<String> {
        serde_json::to_string(self).context("a layout cannot be written as JSON")
    }

    /// From that argument.
    pub(crate) fn decode(text: &str) -> Result<Self> {
        serde_json::from_str(text).with_context(|| format!("`{text}` is no layout"))
    }
}
