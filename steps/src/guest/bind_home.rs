//! # BindHome
//! Lets the container see the build account's home directory of the host, at the same path.
//!
//! The document: `virsh edit` each domain "to bind-mount the common /home/abuild location", by a `<filesystem>` of type
//! `mount`; "note that generated XML might not conform to current LXC schema, so it fails validation during save".
//!
//! ```ron
//! BindHome
//! BindHome(validate: false)
//! ```
//! - `validate`, true unless said otherwise: whether the definition must conform to libvirt's schema. With `false`, it is
//!   validated all the same, and taken if it fails; the log then says what libvirt said.
//!
//! **Changes** the domain's definition: one `<filesystem>` whose target is the account's home, once. It is seen when the
//! domain starts the next time.
//!
//! **To take it back**: `drover destroy`, or remove the `<filesystem>` with `virsh -c lxc:///system edit NAME`.

use crate::container::Container;
use crate::domain::{self, Validation};
use crate::inputs;
use crate::resource;
use crate::step::FarmStep;
use crate::words::plain_path;
use anyhow::{Context, Result};
use drover_engine::{Check, Claim, Cx, Inputs, Need, Resource, Undo};
use serde::{Deserialize, Serialize};
use xmltree::Element;

/// See the manual above.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BindHome {
    /// Whether the definition must conform to libvirt's schema.
    #[serde(default = "validated")]
    pub validate: bool,
}

fn validated() -> bool {
    true
}

impl BindHome {
    fn validation(&self) -> Validation {
        if self.validate { Validation::Required } else { Validation::Waived }
    }
}

/// Sees to it that the home is bound, once; and then the workspace, which would not be seen through the home.
pub(super) fn edit(at: &Container, definition: &mut Element) -> Result<Option<String>> {
    let paths = [Some(&at.farm.account.home), at.farm.workspace.as_ref()];
    let paths: Vec<_> = paths.into_iter().flatten().map(|path| path.display().to_string()).collect();
    let is_ours = |device: &Element| paths.iter().any(|path| is_bound_to(device, path));
    let source = |device: &Element| domain::attribute(device, "source", "dir").map(plain_path);
    let bound = domain::devices(definition, "filesystem").filter(|device| is_ours(device));
    let is: Vec<_> = bound.map(|device| (plain_path(target(device)), source(device))).collect();
    if is
        .iter()
        .map(|(target, source)| (target, source.as_ref()))
        .eq(paths.iter().map(|path| (path, Some(path))))
    {
        return Ok(None);
    }
    let devices = domain::child(definition, "devices");
    devices.children.retain(|node| node.as_element().is_none_or(|it| !is_ours(it)));
    paths.iter().for_each(|path| domain::add_device(definition, binding(path)));
    let reason = paths.iter().find_map(|path| match is.iter().find(|(target, _)| target == path) {
        None => Some(format!("does not see `{path}`")),
        Some((_, Some(other))) if other != path => Some(format!("has `{other}` at `{path}`")),
        Some(_) => None,
    });
    let reason = reason.unwrap_or_else(|| "has its directories in another order".to_owned());
    Ok(Some(format!("the domain `{}` {reason}", at.name)))
}

fn target(device: &Element) -> &str {
    domain::attribute(device, "target", "dir").unwrap_or_default()
}

fn is_bound_to(device: &Element, home: &str) -> bool {
    device.name == "filesystem" && domain::is_dir(device, "target", home)
}

fn binding(home: &str) -> Element {
    let source = domain::element("source", &[("dir", home)]);
    let target = domain::element("target", &[("dir", home)]);
    domain::parent("filesystem", &[("type", "mount"), ("accessmode", "passthrough")], vec![source, target])
}

impl FarmStep<Container> for BindHome {
    fn title(&self, at: &Container) -> String {
        format!("bind {} into {}", at.farm.account.home.display(), at.name)
    }

    fn facts(&self, at: &Container) -> Inputs {
        inputs::name(at).and(inputs::home(&at.farm)).and(inputs::workspace(&at.farm))
    }

    fn needs(&self, at: &Container) -> Vec<Need> {
        let account = Resource::new(resource::ACCOUNT, &at.farm.account.user);
        vec![Need::Must(at.resource(resource::DOMAIN)), Need::Must(account)]
    }

    fn provides(&self, at: &Container) -> Vec<Resource> {
        at.edited(resource::DOMAIN_EDIT, "home").into()
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
        let done = domain::apply_edit(cx, at, self.validation(), &|definition| edit(at, definition));
        done.context("should only libvirt's schema be in the way, `BindHome(validate: false)` skips that")
    }
}
