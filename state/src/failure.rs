//! A failure as data: what is left of an error once its process has ended.
//!
//! It does not know how errors arise nor how they are printed.

use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// What a step was doing when it failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Phase {
    /// Finding out whether this host can ever do it.
    Precondition,
    /// Finding out whether it is done already.
    Check,
    /// Doing it.
    Apply,
    /// Proving it.
    Verify,
    /// Taking it back.
    Undo,
}

/// Why a step failed, in enough words to go on from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// What the step was doing.
    pub phase: Phase,
    /// The outermost error.
    pub message: String,
    /// What caused it, outermost first.
    pub causes: Vec<String>,
    /// The command that failed, as one would type it, if it was a command.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub command: Option<String>,
    /// How that command ended: `exit status 1`, `signal 9`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<String>,
    /// The last lines of its output.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tail: Vec<String>,
    /// Where the whole output is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub log: Option<PathBuf>,
    /// What is known about failures that look like this one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remedy: Option<Remedy>,
}

impl Failure {
    /// Why, in one line: the error and what caused it, outermost first.
    pub fn why(&self) -> String {
        std::iter::once(&self.message).chain(&self.causes).map(String::as_str).collect::<Vec<_>>().join(": ")
    }
}

/// What is known about a class of failures.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Remedy {
    /// The class, a stable word such as `mirror-unreachable`.
    pub class: String,
    /// The likely cause, one sentence.
    pub cause: String,
    /// What to do about it: a command, or a sentence.
    pub remedy: String,
    /// Whether trying again may help without anybody doing anything.
    pub transient: bool,
}
