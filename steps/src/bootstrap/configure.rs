//! The stage `configure`: the system's own dpkg installs all packages, in the order of debootstrap's second stage.
//!
//! dpkg keeps durable state, so a configuration that was killed goes on where it was: what is in the wanted state already is
//! left alone, and what was caught half-way is done again. How it is done is in `second_stage`.

use super::checkpoint::{self, known_manifest, mark, stage};
use super::plain;
use super::second_stage::SecondStage;
use crate::archives;
use crate::assist::Client;
use crate::base::Base;
use crate::guest::emulate::Guest;
use crate::inputs;
use crate::resource::{EMULATION, EMULATION_POOL};
use crate::step::FarmStep;
use anyhow::{Context, Result};
use drover_engine::{Check, Claim, Cx, Inputs, Need, Resource, Rootfs, Undo};
use serde::Serialize;
use std::time::Duration;

/// See the manual of the bootstrap.
#[derive(Debug, Serialize)]
pub(super) struct Configure;

impl FarmStep<Base> for Configure {
    fn title(&self, at: &Base) -> String {
        match at.is_emulated() {
            true => format!("configure {}, emulated", at.id()),
            false => format!("configure {}", at.id()),
        }
    }

    fn facts(&self, at: &Base) -> Inputs {
        inputs::base(at)
    }

    fn needs(&self, at: &Base) -> Vec<Need> {
        let emulation = Resource::new(EMULATION, at.arch.debian());
        let twin = crate::assist::resource(at).map(Need::Helps);
        [Need::Must(stage(at, "unpack")), Need::IfAny(emulation)].into_iter().chain(twin).collect()
    }

    fn undo<'a>(&'a self, _cx: &Cx, _at: &'a Base) -> Result<Undo<'a>> {
        // `seal` and `resolve` take away the system, whole or half-made; what is downloaded is everybody's.
        Ok(Undo::default())
    }

    fn provides(&self, at: &Base) -> Vec<Resource> {
        vec![stage(at, "configure")]
    }

    fn claims(&self, at: &Base) -> Vec<Claim> {
        let mut claims = vec![Claim::lock(at.id())];
        if at.is_emulated() {
            claims.push(Claim::shares(EMULATION_POOL, 1));
        }
        claims
    }

    fn estimate(&self, at: &Base) -> Duration {
        Duration::from_secs(if at.is_emulated() { 200 } else { 20 })
    }

    fn timeout(&self, at: &Base) -> Duration {
        Duration::from_secs(if at.is_emulated() { 4800 } else { 600 })
    }

    fn check(&self, _cx: &Cx, at: &Base) -> Result<Check> {
        checkpoint::check(at, "configure")
    }

    fn apply(&self, cx: &Cx, at: &Base) -> Result<()> {
        let manifest = known_manifest(at)?;
        archives::prove(cx, &manifest.debs())?;
        checkpoint::trust_memory(at)?;
        let root = at.partial();
        let tmp = cx.cache(&format!("tmp/{}", at.id()));
        cx.remove_tree(&tmp)?;
        let mut guest = Guest::new(&root).with_packages(archives::directory(cx), &tmp)?.unsynced(cx)?;
        let copies = plain::directory(at);
        if copies.try_exists().with_context(|| format!("look at `{}`", copies.display()))? {
            guest = guest.with_copies(&copies, &tmp, plain::PLAIN)?;
        }
        let version = |name: &str| Some(manifest.deb(name).ok()?.version.clone());
        let debs = manifest.debs();
        let modules: Vec<_> =
            debs.iter().filter(|deb| deb.has_perl_modules()).map(|deb| deb.name.clone()).collect();
        let client = Client { base: at, name: &at.id(), is_base: true, version: &version, modules: &modules };
        let ended = guest.assisted(cx, &client, |guest| {
            let rootfs = Rootfs::open(&root)?;
            SecondStage { cx, base: at, manifest: &manifest, guest: guest.clone(), rootfs }.run()
        });
        cx.keep_log(&root.join("var/log/dpkg.log"));
        ended?;
        cx.remove_tree(&tmp)?;
        cx.remove_tree(&copies)?;
        mark(at, "configure", &manifest)
    }
}
