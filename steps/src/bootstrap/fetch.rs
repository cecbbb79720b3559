//! The stage `fetch`: the packages of the system are in the directory that the farm shares, and are what the mirror's signed
//! index says.
//!
//! A mirror moves on: what `resolve` found yesterday may be gone today. Then it is resolved again, once.

use super::checkpoint::{known_manifest, manifest, stage};
use super::resolve::{apt, resolve};
use super::seal;
use crate::archives::{self, LOCK};
use crate::base::Base;
use crate::inputs;
use crate::mirror::Mirror;
use crate::resource::MIRROR_POOL;
use crate::step::FarmStep;
use anyhow::Result;
use drover_engine::{Check, Claim, Cx, Inputs, Interrupted, Need, Resource, Undo};
use serde::Serialize;
use std::time::Duration;

/// See the manual of the bootstrap.
#[derive(Debug, Serialize)]
pub(super) struct Fetch;

impl FarmStep<Base> for Fetch {
    fn title(&self, at: &Base) -> String {
        format!("fetch the packages of {}", at.id())
    }

    fn facts(&self, at: &Base) -> Inputs {
        inputs::base(at)
    }

    fn needs(&self, at: &Base) -> Vec<Need> {
        vec![Need::Must(stage(at, "resolve"))]
    }

    fn undo<'a>(&'a self, _cx: &Cx, _at: &'a Base) -> Result<Undo<'a>> {
        // `seal` and `resolve` take away the system, whole or half-made; what is downloaded is everybody's.
        Ok(Undo::default())
    }

    fn provides(&self, at: &Base) -> Vec<Resource> {
        vec![stage(at, "fetch")]
    }

    fn claims(&self, _at: &Base) -> Vec<Claim> {
        vec![Claim::shares(MIRROR_POOL, 1), Claim::lock(LOCK)]
    }

    fn estimate(&self, _at: &Base) -> Duration {
        Duration::from_secs(15)
    }

    fn timeout(&self, _at: &Base) -> Duration {
        Duration::from_secs(1800)
    }

    fn check(&self, cx: &Cx, at: &Base) -> Result<Check> {
        if seal::is_complete(at)? {
            return Ok(Check::Satisfied);
        }
        let Some(manifest) = manifest(at)? else {
            return Ok(Check::needed(format!("the packages of {} are not known yet", at.id())));
        };
        let debs = manifest.debs();
        Ok(match archives::missing(cx, &debs)? {
            None => Check::Satisfied,
            Some(deb) => Check::needed(format!("the package file `{}` is not fetched yet", deb.file)),
        })
    }

    fn apply(&self, cx: &Cx, at: &Base) -> Result<()> {
        let apt = apt(cx, at, &Mirror::of(cx, at)?)?;
        match apt.download(cx, &known_manifest(at)?.debs()) {
            Err(error) if error.downcast_ref::<Interrupted>().is_none() => {
                cx.note(&format!("{error:#}"));
                cx.note("the mirror may have moved on: resolving the packages again");
                apt.download(cx, &resolve(cx, at)?.debs())
            }
            ended => ended,
        }
    }
}
