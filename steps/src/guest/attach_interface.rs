//! # AttachInterface
//! Gives the container's domain a network interface on the farm's bridge, if it has none there.
//!
//! The document: `virsh dumpxml X | grep "bridge='lxcbr0'" || virsh attach-interface --domain X --config --type bridge
//! --source lxcbr0`.
//!
//! ```ron
//! AttachInterface
//! ```
//! **Changes** the domain's definition: one `<interface>` of type `bridge`. What it gets by default is libvirt's to say;
//! the step `UniqueMac` sees to its hardware address. It is there when the domain starts the next time.
//!
//! **To take it back**: `drover destroy`, or `virsh -c lxc:///system detach-interface NAME bridge --config`.

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
pub struct AttachInterface {}

pub(super) fn edit(at: &Container, definition: &mut Element) -> Result<Option<String>> {
    let bridge = at.farm.bridge.as_str();
    if domain::devices(definition, "interface")
        .any(|it| domain::attribute(it, "source", "bridge") == Some(bridge))
    {
        return Ok(None);
    }
    let source = domain::element("source", &[("bridge", bridge)]);
    domain::add_device(definition, domain::parent("interface", &[("type", "bridge")], vec![source]));
    Ok(Some(format!("the domain `{}` has no interface on `{bridge}`", at.name)))
}

impl FarmStep<Container> for AttachInterface {
    fn title(&self, at: &Container) -> String {
        format!("attach {} to {}", at.name, at.farm.bridge)
    }

    fn facts(&self, at: &Container) -> Inputs {
        inputs::name(at).and(inputs::bridge(&at.farm))
    }

    fn needs(&self, at: &Container) -> Vec<Need> {
        vec![Need::Must(at.resource(resource::DOMAIN))]
    }

    fn provides(&self, at: &Container) -> Vec<Resource> {
        let [edit, edits] = at.edited(resource::DOMAIN_EDIT, "interface");
        vec![at.resource(resource::INTERFACE), edit, edits]
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
