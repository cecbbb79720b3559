//! # RelocateHome
//! Moves the home of the account that builds to the storage, where there is more room, and leaves a link.
//!
//! The document: "Maybe similarly relocate shared `/home/abuild` to reduce strain on rootfs?"
//!
//! ```ron
//! RelocateHome
//! RelocateHome(to: "/big/abuild")
//! ```
//!
//! | option | meaning |
//! | --- | --- |
//! | `to` | where it is to be; `home-USER` in the storage if not given |
//!
//! As `RelocateCache`: what is there is moved, the link is relative, and nothing is decided that is yours to decide. Nobody
//! may be at work in the home meanwhile: a process of the account is an error that names it. Containers that run have the
//! old place bound, and see the new one when they are started the next time.
//!
//! **To take it back** `drover destroy`; or remove the link and move the directory to where it was.

use super::relocation::Relocation;
use crate::farm::Farm;
use crate::inputs;
use crate::resource::{ACCOUNT, HOME, STORAGE};
use crate::step::FarmStep;
use crate::words;
use anyhow::{Context, Result, bail};
use drover_engine::{Check, Cx, Inputs, Need, Resource, Undo, until};
use serde::{Deserialize, Serialize};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::time::Duration;

/// See the manual above.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RelocateHome {
    /// Where it is to be.
    #[serde(default, deserialize_with = "crate::words::de_optional_path")]
    pub to: Option<PathBuf>,
}

impl RelocateHome {
    fn relocation(&self, at: &Farm) -> Relocation {
        let to = self.to.clone().unwrap_or_else(|| at.storage.join(format!("home-{}", at.account.user)));
        Relocation { from: at.account.home.clone(), to }
    }
}

/// Complains about a process of the account: it may be writing to its home.
fn ensure_idle(at: &Farm) -> Result<()> {
    for entry in fs::read_dir("/proc").context("cannot read `/proc`")? {
        let path = entry?.path();
        let number = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        // A process that ended meanwhile is nobody's.
        let is_its = path.metadata().is_ok_and(|data| data.uid() == at.account.uid);
        if is_its && number.bytes().all(|byte| byte.is_ascii_digit()) {
            let name = fs::read_to_string(path.join("comm")).unwrap_or_default();
            bail!(
                "`{}` (process {number}) of `{1}` is at work, and the home of `{1}` is to be moved: stop its builds and \
                 containers first",
                name.trim(),
                at.account.user
            );
        }
    }
    Ok(())
}

impl FarmStep<Farm> for RelocateHome {
    fn title(&self, at: &Farm) -> String {
        format!("move {} to {}", at.account.home.display(), self.relocation(at).to.display())
    }

    fn shape(&self, _at: &mut Farm) -> Result<()> {
        Ok(self
            .to
            .iter()
            .try_for_each(|to| words::path(&to.to_string_lossy(), "the new place of the home"))?)
    }

    fn facts(&self, at: &Farm) -> Inputs {
        inputs::home(at).with("moved.to", self.relocation(at).to.display())
    }

    fn needs(&self, at: &Farm) -> Vec<Need> {
        vec![
            Need::IfAny(Resource::new(STORAGE, at.storage.display().to_string())),
            Need::IfAny(Resource::new(ACCOUNT, &at.account.user)),
        ]
    }

    fn provides(&self, at: &Farm) -> Vec<Resource> {
        vec![Resource::new(HOME, &at.account.user)]
    }

    fn timeout(&self, _at: &Farm) -> Duration {
        Duration::from_secs(3600)
    }

    fn precondition(&self, cx: &Cx, at: &Farm) -> Result<()> {
        let storage = Resource::new(STORAGE, at.storage.display().to_string());
        self.relocation(at).ensure_possible(cx).map_err(until(storage))?;
        if self.relocation(at).check()?.is_satisfied() { Ok(()) } else { ensure_idle(at) }
    }

    fn check(&self, _cx: &Cx, at: &Farm) -> Result<Check> {
        self.relocation(at).check()
    }

    fn apply(&self, cx: &Cx, at: &Farm) -> Result<()> {
        ensure_idle(at)?;
        self.relocation(at).apply_ours(cx)
    }

    fn undo<'a>(&'a self, cx: &Cx, at: &'a Farm) -> Result<Undo<'a>> {
        self.relocation(at).undo(cx)
    }
}
