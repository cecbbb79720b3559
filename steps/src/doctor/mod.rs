//! The host against what a plan needs, beyond what the steps themselves ask: kernel, memory, disk, mirrors, what killed runs left,
//! and the troubles that the document knows, by their symptoms. Reads only.
//!
//! What a step's precondition or check tells already is not told again here: whoever shows a diagnosis asks those, too.

mod disk;
mod kernel;
mod leftovers;
mod memory;
mod mirrors;
mod ssh;
mod symptoms;

use crate::container::Container;
use crate::farm::Farm;
use anyhow::Result;
use drover_engine::Cx;
use drover_state::StateDir;
use serde::Serialize;
use std::sync::Arc;

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Level {
    /// As it should be.
    Green,
    /// Works, or a run mends it; worth knowing.
    Amber,
    /// A run cannot do what the plan says.
    Red,
}

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// How bad it is.
    pub level: Level,
    /// What was looked at: `kernel`, `mirror debian-bookworm-arm64`.
    pub about: String,
    /// What was found.
    pub found: String,
    /// What mends it: a command, or a step for the plan.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mend: Option<String>,
}

impl Finding {
    /// All is well.
    pub fn green(about: impl Into<String>, found: impl Into<String>) -> Self {
        Self { level: Level::Green, about: about.into(), found: found.into(), mend: None }
    }

    /// Worth knowing.
    pub fn amber(about: impl Into<String>, found: impl Into<String>, mend: impl Into<String>) -> Self {
        Self { level: Level::Amber, about: about.into(), found: found.into(), mend: Some(mend.into()) }
    }

    /// In the way.
    pub fn red(about: impl Into<String>, found: impl Into<String>, mend: impl Into<String>) -> Self {
        Self { level: Level::Red, about: about.into(), found: found.into(), mend: Some(mend.into()) }
    }

    /// What could not be looked at.
    fn unknown(about: &str, error: &anyhow::Error) -> Self {
        Self { level: Level::Amber, about: about.to_owned(), found: format!("{error:#}"), mend: None }
    }
}

/// What is examined.
#[derive(Clone, Copy, Debug)]
pub struct Patient<'a> {
    /// The farm of the plan.
    pub farm: &'a Farm,
    /// Its containers.
    pub containers: &'a [Arc<Container>],
    /// Where runs are remembered, if there were any.
    pub state: Option<&'a StateDir>,
}

type Look = fn(&Cx, &Patient<'_>) -> Result<Vec<Finding>>;

/// Everything that is looked at here, in order. What cannot be looked at is a finding as well.
pub fn examine(cx: &Cx, patient: &Patient<'_>) -> Vec<Finding> {
    let looks: [(&str, Look); 7] = [
        ("kernel", kernel::look),
        ("memory", memory::look),
        ("disk", disk::look),
        ("mirror", mirrors::look),
        ("left-overs", leftovers::look),
        ("ssh", ssh::look),
        ("symptoms", symptoms::look),
    ];
    let each = |(about, look): &(&str, Look)| match look(cx, patient) {
        Ok(findings) => findings,
        Err(error) => vec![Finding::unknown(about, &error)],
    };
    looks.iter().flat_map(each).collect()
}
