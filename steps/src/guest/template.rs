//! The templates of `lxc-create`: which there are, what each of them needs, and how it is told which system is wanted.
//!
//! It does not know how `lxc-create` is run.

use crate::bootstrap::hosting;
use crate::container::Container;
use crate::farm::Farm;
use crate::program;
use crate::release::Distribution;
use anyhow::{Context, Result, anyhow, ensure};
use drover_engine::Cx;
use std::path::Path;

/// What other templates need that the step `HostPackages` does not install, by the package that holds it.
const MORE_TOOLS: &[(&str, &[(&str, &str)])] = &[
    ("centos", &[("yum", "dnf"), ("rpm", "rpm")]),
    ("fedora", &[("curl", "curl"), ("rpm", "rpm")]),
    ("archlinux", &[("pacman", "pacman-package-manager"), ("pacstrap", "arch-install-scripts")]),
    ("opensuse", &[("zypper", "zypper")]),
];

/// Where LXC keeps its templates.
pub(super) const TEMPLATES: &str = "/usr/share/lxc/templates";

/// The plan's other steps, which may install what a template needs.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Others {
    ToCome,
    Done,
}

/// The template that a container is made with.
pub(super) struct Template<'a> {
    /// Its name; empty if nothing says it.
    pub(super) name: String,
    at: &'a Container,
}

impl<'a> Template<'a> {
    /// The one of that name; else that of the container's distribution.
    pub(super) fn of(at: &'a Container, name: Option<&str>) -> Self {
        let name = name.map(str::to_owned).or_else(|| at.base.release.template()).unwrap_or_default();
        Self { name, at }
    }

    /// Whether it is the template of the distribution, which is told the release and the architecture.
    fn is_own(&self) -> bool {
        Some(&self.name) == self.at.base.release.template().as_ref()
    }

    /// Whether it only copies what `Bootstrap` has made.
    pub(super) fn copies(&self) -> bool {
        self.is_own() && self.at.base.release.is_bootstrapped()
    }

    /// Complains about what this host lacks for the template, beyond what other steps install.
    pub(super) fn ensure_possible(&self, cx: &Cx, others: Others) -> Result<()> {
        let (Self { name: template, at }, known) = (self, templates());
        ensure!(
            known.is_empty() || known.contains(template),
            "there is no template `{template}` in {TEMPLATES}; there are {}",
            known.join(", ")
        );
        let more = MORE_TOOLS.iter().find(|(name, _)| name == template).map_or(&[][..], |(_, tools)| tools);
        let promised = |tool: &str, package: &str| {
            let Farm { aliases, extra_packages, .. } = &*at.farm;
            others == Others::ToCome
                && (aliases.iter().any(|alias| alias == tool)
                    || extra_packages.iter().any(|extra| extra == package))
        };
        let tools: Vec<_> = more.iter().copied().filter(|(tool, package)| !promised(tool, package)).collect();
        let required = program::require(&format!("the template `{template}` of lxc-create"), &tools);
        let is_yum = tools.iter().any(|(tool, _)| *tool == "yum") && program::find("yum").is_none();
        required.with_context(|| match is_yum {
            true => {
                "'yum' command is missing (as the template says it); where it is called `yum4` or `dnf`, add \
                     `ToolAlias(name: \"yum\")` to `host`"
            }
            false => "the container cannot be made",
        })?;
        if self.copies() || !self.is_own() {
            return Ok(());
        }
        self.ensure_keys()?;
        hosting::ensure_hosted(cx, &at.base)
    }

    fn ensure_keys(&self) -> Result<()> {
        let release = self.at.base.release;
        let Some(keys) = release.keys.filter(|keys| !Path::new(keys.path).exists()) else { return Ok(()) };
        let lacks = anyhow!(
            "the keys of {release}'s archive, `{}`, are not on this host: apt-get install {} (where that is not packaged, copy \
             the file from a {:?} system)",
            keys.path,
            keys.package,
            release.distribution
        );
        Err(self.at.farm.until_installed(&[keys.package])(lacks))
    }

    /// What the template is told of the release and the architecture, in its own words.
    pub(super) fn system(&self, cx: &Cx) -> Result<Vec<String>> {
        let (release, arch) = (self.at.base.release, self.at.base.arch);
        if !self.is_own() {
            return Ok(Vec::new());
        }
        if release.distribution != Distribution::CentOS {
            return Ok(["-r", release.code_name, "-a", arch.debian()].map(str::to_owned).into());
        }
        let mut words: Vec<_> = ["-R", release.version, "-a", arch.rpm()].map(str::to_owned).into();
        // The lists of mirrors that the template knows are gone with the release.
        words.push(format!("--repo={}", hosting::repository(cx, &self.at.base)?));
        Ok(words)
    }
}

/// The names of the templates that are there; empty while LXC is not installed.
fn templates() -> Vec<String> {
    let Ok(entries) = std::fs::read_dir(TEMPLATES) else { return Vec::new() };
    let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    let mut names: Vec<_> = names.filter_map(|name| Some(name.strip_prefix("lxc-")?.to_owned())).collect();
    names.sort();
    names
}
