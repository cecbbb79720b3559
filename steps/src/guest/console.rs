//! # Console
//! Gives the container's domain a console, if it has none.
//!
//! The document: "Make sure at least one console device exists".
//!
//! ```ron
//! Console
//! ```
//! **Changes** the domain's definition: one `<console>` of LXC's kind, so that `virsh console NAME` shows what the
//! system says while it starts. It is there when the domain starts the next time.
//!
//! **To take it back**: `drover destroy`, or remove the `<console>` with `virsh -c lxc:///system edit NAME`.

use crate::container::Container;
use crate::domain::{self, Validation};
use crate::inputs;
use crate::resource;
use crate::step::FarmStep;
use anyhow::Result;
use drover_engine::{Check, Claim, Cx, Inputs, Need, Resource, Undo};
use serde::{Deserialize, Serialize};
use xmltree::Element;

/// See the manual above.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Console {}

pub(super) fn edit(at: &Container, definition: &mut Element) -> Result<Option<String>> {
    if domain::devices(definition, "console").next().is_some() {
        return Ok(None);
    }
    let target = domain::element("target", &[("type", "lxc"), ("port", "0")]);
    domain::add_device(definition, domain::parent("console", &[("type", "pty")], vec![target]));
    Ok(Some(format!("the domain `{}` has no console", at.name)))
}

impl FarmStep<Container> for Console {
    fn title(&self, at: &Container) -> String {
        format!("give {} a console", at.name)
    }

    fn facts(&self, at: &Container) -> Inputs {
        inputs::name(at)
    }

    fn needs(&self, at: &Container) -> Vec<Need> {
        vec![Need::Must(at.resource(resource::DOMAIN))]
    }

    fn provides(&self, at: &Container) -> Vec<Resource> {
        at.edited(resource::DOMAIN_EDIT, "console").into()
    }

    fn claims(&self, at: &Container) -> Vec<Claim> {
        vec![domain::lock(at)]
    }

    fn goes_with(&self, at: &Container) -> Option<Resource> {
        Some(at.resource(resource::DOMAIN))
    }

    fn undo<'a>(&'a self, cx: &Cx, at: &'a Container) -> Result<Undo<'a>> {
        domain::undo_edit(cx, &at.name)
    }

    fn check(&self, cx: &Cx, at: &Container) -> Result<Check> {
        domain::check_edit(cx, at, &|definition| edit(at, definition))
    }

    fn apply(&self, cx: &Cx, at: &Container) -> Result<()> {
        domain::apply_edit(cx, at, Validation::Skipped, &|definition| edit(at, definition))
    }
}
