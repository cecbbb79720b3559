//! # DefineDomain
//! Makes the container known to libvirt-LXC, from the configuration that `lxc-create` wrote.
//!
//! The document: `virsh -c lxc:///system domxml-from-native lxc-tools CONFIG | sed -e 's,dir:/srv,/srv,' > /tmp/x &&
//! virsh define /tmp/x`, with more memory than the generic 64 MiB, and `os/arch` reverted to the host's.
//!
//! ```ron
//! DefineDomain(memory: "1 GiB")
//! ```
//! - `memory` is the limit of the container's memory cgroup. Where `/tmp` is in memory (from Debian 13 on), it has half of it.
//!
//! **What is converted** is a copy of the configuration in which `lxc.arch` names an architecture that libvirt-LXC
//! knows: it refuses foreign ones, and does not care, since the emulator does the rest. A container that the host runs
//! without an emulator keeps its own, so that `uname -m` in an i386 container says `i686`. LXC's scheme `dir:` is taken
//! off the root file system's path.
//!
//! **Of a domain that is there** only memory, architecture and the root file system are compared and set; what others
//! added to it stays: its uuid, interfaces, file systems. A domain that runs keeps its old definition until it is
//! started again.
//!
//! **To take it back**: `drover destroy`, or `virsh -c lxc:///system undefine NAME`, when it does not run.

use crate::architecture::Architecture;
use crate::container::Container;
use crate::domain::{self, Lookup, Validation};
use crate::inputs;
use crate::size::Size;
use crate::step::FarmStep;
use crate::{resource, survey};
use anyhow::{Context, Result};
use drover_engine::{Check, Claim, Cx, HostFile, Inputs, Need, Resource, Undo};
use serde::{Deserialize, Serialize};
use std::io::Write;
use xmltree::{Element, XMLNode};

/// See the manual above.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DefineDomain {
    /// How much memory its programs may have together.
    pub memory: Size,
}

/// The architecture that libvirt is told.
fn architecture(at: &Container) -> &'static str {
    if at.base.is_emulated() { Architecture::host().libvirt() } else { at.base.arch.libvirt() }
}

/// LXC's configuration, naming an architecture that libvirt knows.
fn convertible(config: &str, architecture: &str) -> String {
    let others = config.lines().filter(|line| survey::config_value(line, "lxc.arch").is_none());
    let lines: String = others.map(|line| format!("{line}\n")).collect();
    format!("{lines}lxc.arch = {architecture}\n")
}

/// Sets the text of `element`, unless it says that already; says what it was.
fn set_text(element: &mut Element, text: &str) -> Option<String> {
    let before = element.get_text().map(|text| text.trim().to_owned()).unwrap_or_default();
    if before == text {
        return None;
    }
    element.children = vec![XMLNode::Text(text.to_owned())];
    Some(before)
}

fn set_attribute(element: &mut Element, key: &str, value: &str) -> Option<String> {
    if element.attributes.get(key).is_some_and(|known| known == value) {
        return None;
    }
    Some(element.attributes.insert(key.to_owned(), value.to_owned()).unwrap_or_default())
}

impl DefineDomain {
    /// Sets what this step is about; says the first thing that was otherwise.
    pub(super) fn edit(&self, at: &Container, definition: &mut Element) -> Result<Option<String>> {
        let mut reasons = self.set_memory(definition);
        let arch =
            set_attribute(domain::child(domain::child(definition, "os"), "type"), "arch", architecture(at));
        reasons.extend(arch.map(|was| format!("architecture `{was}`, not `{}`", architecture(at))));
        reasons.extend(set_root(at, definition)?);
        let reason = reasons.first().map(|reason| format!("the domain `{}` has {reason}", at.name));
        Ok(reason)
    }

    fn set_memory(&self, definition: &mut Element) -> Vec<String> {
        let kib = self.memory.kib.to_string();
        let mut reasons = Vec::new();
        for name in ["memory", "currentMemory"] {
            let element = domain::child(definition, name);
            let unit = set_attribute(element, "unit", "KiB");
            let amount = set_text(element, &kib);
            if unit.is_some() || amount.is_some() {
                let was = amount.unwrap_or_else(|| kib.clone());
                reasons.push(format!(
                    "{name} {was} {}, not {}",
                    unit.as_deref().unwrap_or("KiB"),
                    self.memory
                ));
            }
        }
        reasons
    }

    fn define(&self, cx: &Cx, at: &Container) -> Result<()> {
        let path = at.directory().join("config");
        let config =
            HostFile::new(&path).read()?.with_context(|| format!("`{}` is not there", path.display()))?;
        let mut copy = tempfile::NamedTempFile::new().context("cannot make a temporary file")?;
        copy.write_all(convertible(&config, architecture(at)).as_bytes())?;
        copy.flush()?;
        let convert = domain::virsh().args(["domxml-from-native", "lxc-tools"]).arg(copy.path());
        let mut definition = domain::parse(&cx.read(&convert)?)?;
        self.edit(at, &mut definition)?;
        domain::define(cx, &definition, Validation::Skipped)
    }
}

/// Sets where the root file system is.
fn set_root(at: &Container, definition: &mut Element) -> Result<Option<String>> {
    let path = at.rootfs().display().to_string();
    let devices = domain::child(definition, "devices");
    let mut systems = domain::children(devices, "filesystem");
    let root = systems.find(|system| domain::attribute(system, "target", "dir") == Some("/"));
    let root = root.with_context(|| format!("the definition of `{}` has no root file system", at.name))?;
    let was = set_attribute(domain::child(root, "source"), "dir", &path);
    Ok(was.map(|was| format!("its root file system in `{was}`, not `{path}`")))
}

impl FarmStep<Container> for DefineDomain {
    fn title(&self, at: &Container) -> String {
        format!("define the domain {}", at.name)
    }

    fn facts(&self, at: &Container) -> Inputs {
        inputs::rootfs(at).and(inputs::arch(&at.base))
    }

    fn needs(&self, at: &Container) -> Vec<Need> {
        vec![
            Need::Must(at.resource(resource::ROOTFS)),
            Need::Must(Resource::new(resource::LIBVIRT, domain::URI)),
            Need::IfAny(at.edit(resource::GUEST_EDIT, "lxc-config")),
        ]
    }

    fn provides(&self, at: &Container) -> Vec<Resource> {
        vec![at.resource(resource::DOMAIN)]
    }

    fn claims(&self, at: &Container) -> Vec<Claim> {
        vec![domain::lock(at)]
    }

    fn shape(&self, at: &mut Container) -> Result<()> {
        at.memory = Some(self.memory);
        Ok(())
    }

    fn check(&self, cx: &Cx, at: &Container) -> Result<Check> {
        domain::check_edit(cx, at, &|definition| self.edit(at, definition))
    }

    fn apply(&self, cx: &Cx, at: &Container) -> Result<()> {
        match domain::find(cx, &at.name)? {
            Lookup::Found(_) => domain::apply_edit(cx, at, Validation::Skipped, &|it| self.edit(at, it)),
            Lookup::Missing(_) => {
                cx.remember(DEFINED, "")?;
                self.define(cx, at).with_context(|| format!("cannot define `{}`", at.name))
            }
        }
    }

    fn undo<'a>(&'a self, cx: &Cx, at: &'a Container) -> Result<Undo<'a>> {
        if !cx.has_made(DEFINED)? {
            return domain::undo_edit(cx, &at.name);
        }
        if domain::state_to_undo(cx, &at.name)?.is_none() {
            return Ok(Undo::default());
        }
        let what = format!("undefine the domain {}, unless it runs", at.name);
        Ok(Undo::default().whole().act_if(what, |cx| {
            if domain::state_to_undo(cx, &at.name)?.is_some_and(|state| state != "shut off") {
                return Ok(Some(format!("the domain {} stays: somebody has started it", at.name)));
            }
            cx.run(&domain::virsh().args(["undefine", &at.name])).map(|()| None)
        }))
    }
}

/// Remembered if the domain was not there before.
const DEFINED: &str = "defined";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_copy_names_one_architecture_and_keeps_the_rest() {
        let config = "# lxc.arch\nlxc.net.0.type = veth\nlxc.arch = s390x\nlxc.pty.max = 1024";
        let copy = "# lxc.arch\nlxc.net.0.type = veth\nlxc.pty.max = 1024\nlxc.arch = x86_64\n";
        assert_eq!(convertible(config, "x86_64"), copy);
    }
}
