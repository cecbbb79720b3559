//! # Command
//! Runs a command of your own on the host: for what no other step does.
//!
//! ```ron
//! Command(name: "hugepages", run: "sysctl -w vm.nr_hugepages=64", unless: "test $(sysctl -n vm.nr_hugepages) -ge 64")
//! Command(name: "ccache", run: "install -d -o abuild /home/abuild/.ccache", creates: "/home/abuild/.ccache")
//! Command(name: "clock", run: "timedatectl set-ntp true", check: "timedatectl show | grep NTP=yes || { echo no NTP; exit 1; }")
//! ```
//!
//! | option | meaning |
//! | --- | --- |
//! | `name` | what it is called: the node is `host/command-NAME`; a plan can have many |
//! | `run` | the command, for `sh -eu` |
//! | `creates` | it is done when this path is there |
//! | `unless` | it is done when this command ends well |
//! | `check` | as `unless`; its last line says what is missing |
//! | `after` | steps that come first, as every step can say: `after: ["BuildHome"]` |
//!
//! Exactly one of `creates`, `unless` and `check` is needed: a command that does not say when it is done would be run by
//! every run, and nobody could tell whether it worked. What they ask must change nothing. After the command they are
//! asked again. A command that is killed in the middle is run again by the next run: write it so that this does no harm.
//!
//! It starts in `/`, with the environment that all programs get (`drover steps environment`). What it leaves running on purpose,
//! and without its output open, stays: only what a command that was killed had started is ended by the next run.
//!
//! **To take it back** is for you: Drover does not know what it did.

use crate::farm::Farm;
use crate::resource::CREATED;
use crate::script::Script;
use crate::step::FarmStep;
use anyhow::Result;
use drover_engine::{Check, Cmd, Cx, Inputs, Resource, Undo};
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// See the manual above.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Command {
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

fn shell(text: &str) -> Cmd {
    Cmd::new("sh").args(["-euc", text])
}

impl Command {
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

impl FarmStep<Farm> for Command {
    fn title(&self, _at: &Farm) -> String {
        format!("run the command {}", self.name)
    }

    fn facts(&self, _at: &Farm) -> Inputs {
        Inputs::default()
    }

    fn name(&self) -> Option<String> {
        Some(self.name.clone())
    }

    fn shape(&self, at: &mut Farm) -> Result<()> {
        at.created.extend(self.creates.as_ref().map(PathBuf::from));
        self.script().ensure_sound("Command")
    }

    fn provides(&self, _at: &Farm) -> Vec<Resource> {
        self.creates.iter().map(|path| Resource::new(CREATED, path)).collect()
    }

    fn timeout(&self, _at: &Farm) -> Duration {
        Duration::from_secs(3600)
    }

    fn check(&self, cx: &Cx, _at: &Farm) -> Result<Check> {
        self.script().check(cx, shell, |path| Ok(Path::new(path).symlink_metadata().is_ok()))
    }

    fn apply(&self, cx: &Cx, _at: &Farm) -> Result<()> {
        cx.run(&shell(&self.run))
    }

    fn undo<'a>(&'a self, _cx: &Cx, _at: &'a Farm) -> Result<Undo<'a>> {
        Ok(Undo::default().keep(format!("what the command {} did stays", self.name)))
    }
}
