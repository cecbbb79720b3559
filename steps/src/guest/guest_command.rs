//! # GuestCommand
//! Runs a command of your own in the container's file system, by its own programs: for what no other step does.
//!
//! ```ron
//! GuestCommand(name: "locale", run: "echo 'de_DE.UTF-8 UTF-8' >>/etc/locale.gen; locale-gen", check: "locale -a | grep -q de_DE.utf8")
//! GuestCommand(name: "ccache", run: "/usr/sbin/update-ccache-symlinks", creates: "/usr/lib/ccache/gcc")
//! ```
//!
//! | option | meaning |
//! | --- | --- |
//! | `name` | what it is called: the node is `CONTAINER/guest-command-NAME`; a container can have many |
//! | `run` | the command, for `sh -eu` of the container, as its root |
//! | `creates` | it is done when this path is there, in the container |
//! | `unless` | it is done when this command ends well, in the container |
//! | `check` | as `unless`; its last line says what is missing |
//! | `after` | steps that come first, as every step can say: `after: ["GuestPackages"]` |
//!
//! Exactly one of `creates`, `unless` and `check` is needed, as for `Command`. It runs in the root file system, with
//! `/proc`, and whether the container runs or not; with the host's network, but with the container's own idea of names. It
//! comes after the container's account and packages, and before the container is started, if the plan has those. In an
//! emulated container it runs under the emulator alone: what fails with native programs is done again without them, and
//! what is yours is done once.
//!
//! **To take it back** is for you: Drover does not know what it did.

use super::emulate::Guest;
use crate::container::Container;
use crate::inputs;
use crate::resource;
use crate::script::Script;
use crate::step::FarmStep;
use anyhow::Result;
use drover_engine::{Check, Claim, Cmd, Cx, Inputs, Need, Resource, Rootfs, Undo};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// See the manual above.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GuestCommand {
    /// What it is called.
    pub name: String,
    /// The command.
    pub run: String,
    /// It is done when this is there.
    pub creates: Option<String>,
    /// It is done when this ends well.
    pub unless: Option<String>,
    /// It is done when this ends well; else its last line says what is missing.
    pub check: Option<String>,
}

fn shell(at: &Container, text: &str) -> Cmd {
    Guest::new(&at.rootfs()).command("/bin/sh").args(["-euc", text])
}

impl GuestCommand {
    fn script(&self) -> Script<'_> {
        Script {
            name: &self.name,
            run: &self.run,
            creates: self.creates.as_deref(),
            unless: self.unless.as_deref(),
            check: self.check.as_deref(),
        }
    }
}

impl FarmStep<Container> for GuestCommand {
    fn title(&self, at: &Container) -> String {
        format!("run the command {} in {}", self.name, at.name)
    }

    fn facts(&self, at: &Container) -> Inputs {
        inputs::rootfs(at)
    }

    fn name(&self) -> Option<String> {
        Some(self.name.clone())
    }

    fn shape(&self, _at: &mut Container) -> Result<()> {
        self.script().ensure_sound("GuestCommand")
    }

    fn needs(&self, at: &Container) -> Vec<Need> {
        let mut all = vec![Need::Must(at.resource(resource::ROOTFS))];
        all.extend(
            ["account", "packages", "file"].map(|what| Need::IfAny(at.edit(resource::GUEST_EDIT, what))),
        );
        if at.base.is_emulated() {
            all.push(Need::Must(Resource::new(resource::EMULATION, at.base.arch.debian())));
        }
        all
    }

    fn provides(&self, at: &Container) -> Vec<Resource> {
        at.edited(resource::GUEST_EDIT, "command").into()
    }

    fn claims(&self, at: &Container) -> Vec<Claim> {
        if at.base.is_emulated() { vec![Claim::shares(resource::EMULATION_POOL, 1)] } else { Vec::new() }
    }

    fn timeout(&self, _at: &Container) -> Duration {
        Duration::from_secs(3600)
    }

    fn goes_with(&self, at: &Container) -> Option<Resource> {
        Some(at.resource(resource::ROOTFS))
    }

    fn undo<'a>(&'a self, _cx: &Cx, at: &'a Container) -> Result<Undo<'a>> {
        Ok(Undo::default().keep(format!("what the command {} did in {} stays", self.name, at.name)))
    }

    fn check(&self, cx: &Cx, at: &Container) -> Result<Check> {
        let Some(rootfs) = Rootfs::find(at.rootfs())? else {
            return Ok(Check::needed(format!("the container `{}` does not exist", at.name)));
        };
        self.script().check(cx, |text| shell(at, text), |path| Ok(rootfs.entry(path)?.is_some()))
    }

    fn apply(&self, cx: &Cx, at: &Container) -> Result<()> {
        cx.run(&shell(at, &self.run))
    }
}
