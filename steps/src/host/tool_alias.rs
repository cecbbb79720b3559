//! # ToolAlias
//! Gives a program of the host the name by which others call it: a link.
//!
//! The document: "you may need to install corresponding tools (e.g. yum4, rpm and dnf on Debian hosts for installing CentOS
//! and related guests). You may also need to pepper with symlinks to taste (e.g. yum => yum4)". Else `lxc-create` says
//! "'yum' command is missing".
//!
//! ```ron
//! ToolAlias(name: "yum")
//! ToolAlias(name: "pacman", target: "/opt/arch/bin/pacman")
//! ```
//!
//! | option | meaning |
//! | --- | --- |
//! | `name` | the name that is missing; a plan can have many |
//! | `target` | the program that it is to be; for `yum`, the first of `yum4`, `dnf-3` and `dnf` that is there |
//!
//! A program of that name that is there already is left as it is. A target that is not there is an error that says how to
//! get it.
//!
//! **Changes** the link `/usr/local/bin/NAME`.
//!
//! **To take it back** `drover destroy`, or remove the link.

use super::program;
use crate::farm::Farm;
use crate::ours;
use crate::resource::{PACKAGES, TOOL_ALIAS};
use crate::script::ensure_name;
use crate::step::FarmStep;
use crate::words;
use anyhow::{Context, Result, bail, ensure};
use drover_engine::{Check, Cx, Inputs, Need, Resource, Undo};
use serde::{Deserialize, Serialize};
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

/// What stands in for a program, and the package that holds it.
const STAND_INS: &[(&str, &[&str], &str)] = &[("yum", &["yum4", "dnf-3", "dnf"], "dnf")];

/// Remembered: where the link that was made here leads.
const TARGET: &str = "target";

/// See the manual above.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ToolAlias {
    /// The name that is missing.
    pub name: String,
    /// The program that it is to be.
    pub target: Option<PathBuf>,
}

impl ToolAlias {
    fn link(&self) -> PathBuf {
        Path::new("/usr/local/bin").join(&self.name)
    }

    fn target(&self) -> Result<PathBuf> {
        if let Some(target) = &self.target {
            ensure!(
                target.exists(),
                "`{}` is to be called `{}`, and is not there: install it, or name another `target`",
                target.display(),
                self.name
            );
            return Ok(target.clone());
        }
        let Some((_, names, package)) = STAND_INS.iter().find(|(name, ..)| *name == self.name) else {
            bail!(
                "nothing is known to stand in for `{0}`: say `ToolAlias(name: \"{0}\", target: \"/...\")`",
                self.name
            )
        };
        let found = names.iter().find_map(|name| program::find(name));
        found.with_context(|| {
            let names = names.join("`, `");
            format!("none of `{names}` is installed, which could stand in for `{}`: apt-get install {package} rpm", self.name)
        })
    }
}

impl FarmStep<Farm> for ToolAlias {
    fn title(&self, _at: &Farm) -> String {
        format!("see that there is a {}", self.name)
    }

    fn facts(&self, _at: &Farm) -> Inputs {
        Inputs::default()
    }

    fn name(&self) -> Option<String> {
        Some(self.name.clone())
    }

    fn shape(&self, at: &mut Farm) -> Result<()> {
        ensure_name(&self.name)?;
        self.target.iter().try_for_each(|target| words::path(&target.to_string_lossy(), "the program"))?;
        at.aliases.push(self.name.clone());
        Ok(())
    }

    fn needs(&self, _at: &Farm) -> Vec<Need> {
        vec![Need::IfAny(Resource::new(PACKAGES, "host"))]
    }

    fn provides(&self, _at: &Farm) -> Vec<Resource> {
        vec![Resource::new(TOOL_ALIAS, &self.name)]
    }

    fn check(&self, _cx: &Cx, _at: &Farm) -> Result<Check> {
        Ok(match program::find(&self.name) {
            Some(_) => Check::Satisfied,
            None => Check::needed(format!("there is no `{}`", self.name)),
        })
    }

    fn undo<'a>(&'a self, cx: &Cx, _at: &'a Farm) -> Result<Undo<'a>> {
        let link = self.link();
        let leads = fs::read_link(&link).ok().map(|it| it.display().to_string());
        // One that somebody made to lead elsewhere is not ours.
        let made = cx.remembered(TARGET)?.is_some_and(|made| leads == Some(made));
        let is_ours = made || (cx.is_taken_over()? && leads.is_some());
        if !is_ours {
            return Ok(Undo::default());
        }
        Ok(Undo::default().act(format!("remove the link {}", link.display()), move |_| ours::remove(&link)))
    }

    fn apply(&self, cx: &Cx, _at: &Farm) -> Result<()> {
        let (target, link) = (self.target()?, self.link());
        cx.remember(TARGET, &target.display().to_string())?;
        // A link that leads nowhere is what an earlier target left.
        if link.is_symlink() {
            fs::remove_file(&link).with_context(|| format!("remove the link `{}`", link.display()))?;
        }
        fs::create_dir_all("/usr/local/bin").context("make `/usr/local/bin`")?;
        symlink(&target, &link).with_context(|| format!("make the link `{}`", link.display()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stands_in_is_found_or_its_package_named() {
        let alias = |name: &str, target: Option<&str>| ToolAlias {
            name: name.to_owned(),
            target: target.map(Into::into),
        };
        assert_eq!(alias("x", Some("/bin/sh")).target().expect("it is there"), Path::new("/bin/sh"));
        assert!(alias("x", Some("/no/where")).target().is_err());
        assert!(alias("zypper", None).target().expect_err("unknown").to_string().contains("target:"));
        if ["yum4", "dnf-3", "dnf"].iter().all(|name| program::find(name).is_none()) {
            let error = alias("yum", None).target().expect_err("not installed").to_string();
            assert!(error.contains("apt-get install dnf rpm"), "{error}");
        }
    }
}
