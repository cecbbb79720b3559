//! # LxcConfig
//! Adds to LXC's configuration of the container what its template left out, and conversion to a domain needs.
//!
//! The document: "the CentOS helper did not generate some fields in the config file that were needed for conversion into
//! libvirt domxml (as found by trial and error, and comparison to other config files): `lxc.uts.name`, `lxc.arch`".
//!
//! ```ron
//! LxcConfig
//! ```
//! **Changes** the container's `config`: `lxc.uts.name`, the container's name, and `lxc.arch`, where they are missing, at its
//! end. What is there stays as it is, with its order and its comments.
//!
//! **To take it back** `drover destroy`, or remove the lines.

use crate::container::Container;
use crate::inputs;
use crate::ours;
use crate::release::Distribution;
use crate::step::FarmStep;
use crate::{resource, survey};
use anyhow::{Context, Result};
use drover_engine::{Check, Cx, HostFile, Inputs, Need, Resource, Undo};
use serde::{Deserialize, Serialize};

/// See the manual above.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LxcConfig {}

/// The configuration with what is missing.
fn edited(config: &str, name: &str, arch: &str) -> String {
    let mut text = config.to_owned();
    for (key, value) in [("lxc.uts.name", name), ("lxc.arch", arch)] {
        if survey::config_value(&text, key).is_none() {
            let gap = if text.is_empty() || text.ends_with('\n') { "" } else { "\n" };
            text += &format!("{gap}{key} = {value}\n");
        }
    }
    text
}

/// As the template of the distribution would have said it.
fn arch(at: &Container) -> &'static str {
    match at.base.release.distribution {
        Distribution::CentOS => at.base.arch.rpm(),
        _ => at.base.arch.debian(),
    }
}

fn file(at: &Container) -> HostFile {
    HostFile::new(at.directory().join("config"))
}

impl FarmStep<Container> for LxcConfig {
    fn title(&self, at: &Container) -> String {
        format!("complete LXC's configuration of {}", at.name)
    }

    fn facts(&self, at: &Container) -> Inputs {
        inputs::rootfs(at).and(inputs::release(&at.base)).and(inputs::arch(&at.base))
    }

    fn needs(&self, at: &Container) -> Vec<Need> {
        vec![Need::Must(at.resource(resource::ROOTFS))]
    }

    fn provides(&self, at: &Container) -> Vec<Resource> {
        at.edited(resource::GUEST_EDIT, "lxc-config").into()
    }

    fn goes_with(&self, at: &Container) -> Option<Resource> {
        Some(at.resource(resource::ROOTFS))
    }

    fn undo<'a>(&'a self, cx: &Cx, at: &'a Container) -> Result<Undo<'a>> {
        ours::undo(cx, file(at))
    }

    fn check(&self, _cx: &Cx, at: &Container) -> Result<Check> {
        let file = file(at);
        let Some(before) = file.read()? else {
            return Ok(Check::needed(format!("the container `{}` does not exist", at.name)));
        };
        let after = edited(&before, &at.name, arch(at));
        Ok(Check::text(&file.path().display().to_string(), file.mode_there()?, Some(&before), &after))
    }

    fn apply(&self, cx: &Cx, at: &Container) -> Result<()> {
        let file = file(at);
        let before = file.read()?.with_context(|| format!("`{}` is not there", file.path().display()))?;
        ours::write(cx, &file, &edited(&before, &at.name, arch(at)))
    }
}

#[cfg(test)]
mod tests {
    use super::edited;

    #[test]
    fn only_what_is_missing_is_added() {
        let centos = "# by the helper\nlxc.rootfs.path = dir:/srv/x/rootfs\nlxc.include = /usr/share/lxc/config/common.conf";
        let once = edited(centos, "jenkins-centos7-x86-64", "x86_64");
        assert_eq!(once, format!("{centos}\nlxc.uts.name = jenkins-centos7-x86-64\nlxc.arch = x86_64\n"));
        assert_eq!(edited(&once, "other", "arm64"), once);
        assert_eq!(edited("lxc.arch=amd64\n", "a", "x86_64"), "lxc.arch=amd64\nlxc.uts.name = a\n");
    }
}
