//! # VirshDefaultUri
//! Makes libvirt-LXC what `virsh` talks to when nothing else is said.
//!
//! The document: "Edit the root (or whoever manages libvirt) `~/.profile` to default the virsh provider with
//! `LIBVIRT_DEFAULT_URI=lxc:///system`, `export LIBVIRT_DEFAULT_URI`".
//!
//! ```ron
//! VirshDefaultUri
//! ```
//! ```ron
//! VirshDefaultUri(account: "operator")
//! ```
//!
//! | option | meaning |
//! | --- | --- |
//! | `account` | whose profile; `root` if not given |
//!
//! **Changes** the account's `~/.profile`: both lines at its end, each once. Other lines stay as they are. A profile
//! that is not there is made, mode 644, owned by the account. Shells read it at the next login, and bash only where
//! there is neither `~/.bash_profile` nor `~/.bash_login`.
//!
//! **To take it back** `drover destroy`, or remove the two lines.

use super::accounts::{self, HostAccount};
use super::{lines, shell};
use crate::farm::Farm;
use crate::ours;
use crate::resource::{ACCOUNT, HOME};
use crate::step::FarmStep;
use crate::words;
use anyhow::{Context, Result, ensure};
use drover_engine::{Check, Cx, HostFile, Inputs, Need, Resource, Undo, until};
use serde::{Deserialize, Serialize};

const NAME: &str = "LIBVIRT_DEFAULT_URI";
const VALUE: &str = "lxc:///system";

/// See the manual above.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VirshDefaultUri {
    /// Whose profile.
    #[serde(default = "root")]
    pub account: String,
}

fn root() -> String {
    "root".to_owned()
}

impl FarmStep<Farm> for VirshDefaultUri {
    fn title(&self, _at: &Farm) -> String {
        format!("let {}'s virsh talk to libvirt-LXC", self.account)
    }

    fn shape(&self, _at: &mut Farm) -> Result<()> {
        Ok(words::account(&self.account)?)
    }

    fn facts(&self, _at: &Farm) -> Inputs {
        Inputs::default()
    }

    fn needs(&self, at: &Farm) -> Vec<Need> {
        // The plan makes one account and no other.
        let is_made = self.account == at.account.user;
        let needs = [ACCOUNT, HOME].map(|kind| Need::IfAny(Resource::new(kind, &self.account)));
        if is_made { needs.into() } else { Vec::new() }
    }

    fn precondition(&self, cx: &Cx, _at: &Farm) -> Result<()> {
        let account = Resource::new(ACCOUNT, &self.account);
        self.ensure_home(cx).map_err(until(account))
    }

    fn check(&self, cx: &Cx, _at: &Farm) -> Result<Check> {
        if accounts::account(cx, &self.account)?.is_none() {
            return Ok(Check::needed(format!("there is no account `{}` yet", self.account)));
        }
        let file = profile(&self.owner(cx)?);
        let before = file.read()?;
        let after =
            edit(before.as_deref().unwrap_or("")).with_context(|| file.path().display().to_string())?;
        Ok(Check::text(&file.path().display().to_string(), file.mode_there()?, before.as_deref(), &after))
    }

    fn apply(&self, cx: &Cx, _at: &Farm) -> Result<()> {
        let file = profile(&self.owner(cx)?);
        let after =
            edit(file.read()?.as_deref().unwrap_or("")).with_context(|| file.path().display().to_string())?;
        ours::write(cx, &file, &after)
    }

    fn undo<'a>(&'a self, cx: &Cx, _at: &'a Farm) -> Result<Undo<'a>> {
        match accounts::account(cx, &self.account)? {
            Some(owner) => ours::undo(cx, profile(&owner)),
            None => Ok(Undo::default()),
        }
    }
}

impl VirshDefaultUri {
    fn ensure_home(&self, cx: &Cx) -> Result<()> {
        let home = self.owner(cx)?.home;
        ensure!(home.is_dir(), "the home `{}` of `{}` does not exist", home.display(), self.account);
        Ok(())
    }

    fn owner(&self, cx: &Cx) -> Result<HostAccount> {
        let account = accounts::account(cx, &self.account)?;
        account.with_context(|| {
            format!("there is no account `{0}`: make it with `adduser {0}`, or name another", self.account)
        })
    }
}

fn profile(owner: &HostAccount) -> HostFile {
    HostFile::new(owner.home.join(".profile")).owner(owner.uid, owner.gid)
}

/// The profile with the variable set and exported.
fn edit(text: &str) -> Result<String> {
    let set = if lines::assigned(text, NAME) == Some(VALUE) {
        text.to_owned()
    } else {
        // The same line may stand in an `if`, where it does not count.
        let gap = if text.is_empty() || text.ends_with('\n') { "" } else { "\n" };
        format!("{text}{gap}{NAME}={VALUE}\n")
    };
    let exported = set.lines().any(|line| {
        line.trim().strip_prefix("export ").is_some_and(|rest| rest.trim_start().starts_with(NAME))
    });
    let after = if exported { set } else { lines::with_line(&set, &format!("export {NAME}")) };
    if after != text {
        shell::ensure_closed(text)?;
    }
    Ok(after)
}

#[cfg(test)]
mod tests {
    use super::edit;

    #[track_caller]
    fn check(before: &str, after: &str) {
        let edit = |text| edit(text).expect("something can follow");
        assert_eq!(edit(before), after);
        assert_eq!(edit(after), after, "a second edit changes it again");
    }

    #[test]
    fn both_lines_are_there_once() {
        check("", "LIBVIRT_DEFAULT_URI=lxc:///system\nexport LIBVIRT_DEFAULT_URI\n");
        check("mesg n\n", "mesg n\nLIBVIRT_DEFAULT_URI=lxc:///system\nexport LIBVIRT_DEFAULT_URI\n");
    }

    #[test]
    fn one_line_that_does_both_is_enough() {
        check(
            "export LIBVIRT_DEFAULT_URI=\"lxc:///system\"\n",
            "export LIBVIRT_DEFAULT_URI=\"lxc:///system\"\n",
        );
    }

    #[test]
    fn what_is_set_on_some_condition_does_not_count() {
        let theirs = "if [ -n \"$SSH_TTY\" ]; then\n  LIBVIRT_DEFAULT_URI=lxc:///system\nfi\n";
        check(theirs, &format!("{theirs}LIBVIRT_DEFAULT_URI=lxc:///system\nexport LIBVIRT_DEFAULT_URI\n"));
        assert!(edit("PS1='\n").is_err(), "it would become a part of the prompt");
    }

    #[test]
    fn another_default_is_overridden_below_it() {
        let foreign = "export LIBVIRT_DEFAULT_URI=qemu:///system\n";
        check(foreign, &format!("{foreign}LIBVIRT_DEFAULT_URI=lxc:///system\n"));
    }
}
