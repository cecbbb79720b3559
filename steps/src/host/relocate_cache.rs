//! # RelocateCache
//! Moves LXC's cache of base systems to the storage, where there is more room, and leaves a link.
//!
//! The document: "If host root filesystem is small, relocate the LXC download cache to the (larger) `/srv/libvirt`
//! partition: `mkdir -p /srv/libvirt/cache-lxc; rm -rf /var/cache/lxc; ln -sfr /srv/libvirt/cache-lxc /var/cache/lxc`".
//!
//! ```ron
//! RelocateCache
//! RelocateCache(to: "/big/cache-lxc")
//! ```
//!
//! | option | meaning |
//! | --- | --- |
//! | `to` | where it is to be; `cache-lxc` in the storage if not given |
//!
//! What is there is moved, not removed as in the document: base systems take long to make. Where the new place is on another
//! file system it is copied, with owners, modes and links, and the old one is removed only when the link stands; so
//! there must be room for both. The link is relative, as in the document.
//!
//! A cache that is a link to another place already, or two places that both hold something, are errors before anything
//! runs: which of them is to stay is not for Drover to say.
//!
//! **To take it back** `drover destroy`; or remove the link and move the directory to where it was.

use super::relocation::Relocation;
use crate::farm::Farm;
use crate::inputs;
use crate::resource::{LXC_CACHE, STORAGE};
use crate::step::FarmStep;
use crate::words;
use anyhow::Result;
use drover_engine::{Check, Cx, Inputs, Need, Resource, Undo, until};
use serde::{Deserialize, Serialize};
use std::path::PathBuf;
use std::time::Duration;

/// See the manual above.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RelocateCache {
    /// Where it is to be.
    #[serde(default, deserialize_with = "crate::words::de_optional_path")]
    pub to: Option<PathBuf>,
}

/// What may bring the room that there is not yet in the new place.
fn storage(at: &Farm) -> Resource {
    Resource::new(STORAGE, at.storage.display().to_string())
}

impl RelocateCache {
    fn relocation(&self, at: &Farm) -> Relocation {
        let to = self.to.clone().unwrap_or_else(|| at.storage.join("cache-lxc"));
        Relocation { from: at.lxc_cache.clone(), to }
    }
}

impl FarmStep<Farm> for RelocateCache {
    fn title(&self, at: &Farm) -> String {
        format!("move {} to {}", at.lxc_cache.display(), self.relocation(at).to.display())
    }

    fn shape(&self, _at: &mut Farm) -> Result<()> {
        Ok(self
            .to
            .iter()
            .try_for_each(|to| words::path(&to.to_string_lossy(), "the new place of the cache"))?)
    }

    fn facts(&self, at: &Farm) -> Inputs {
        inputs::cache(at).with("moved.to", self.relocation(at).to.display())
    }

    fn needs(&self, at: &Farm) -> Vec<Need> {
        vec![Need::IfAny(storage(at))]
    }

    fn provides(&self, at: &Farm) -> Vec<Resource> {
        vec![Resource::new(LXC_CACHE, at.lxc_cache.display().to_string())]
    }

    fn timeout(&self, _at: &Farm) -> Duration {
        Duration::from_secs(3600)
    }

    fn precondition(&self, cx: &Cx, at: &Farm) -> Result<()> {
        self.relocation(at).ensure_possible(cx).map_err(until(storage(at)))
    }

    fn check(&self, _cx: &Cx, at: &Farm) -> Result<Check> {
        self.relocation(at).check()
    }

    fn apply(&self, cx: &Cx, at: &Farm) -> Result<()> {
        self.relocation(at).apply_ours(cx)
    }

    fn undo<'a>(&'a self, cx: &Cx, at: &'a Farm) -> Result<Undo<'a>> {
        self.relocation(at).undo(cx)
    }
}
