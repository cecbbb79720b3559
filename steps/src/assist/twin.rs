//! The step `twin`: natives of a release for all emulated systems of that release, made from its base system for the host's
//! own processor.
//!
//! It comes with the bootstrap of an emulated system, once for a release. It keeps them below the state directory, in
//! `cache/assist/BASE`; `drover destroy` takes them back.

use super::natives;
use crate::base::Base;
use crate::inputs;
use crate::resource::{BASE, TWIN};
use crate::step::FarmStep;
use anyhow::Result;
use drover_engine::{Check, Claim, Cx, Inputs, Need, Resource, Undo};
use serde::Serialize;
use std::time::Duration;

/// See the manual of the bootstrap.
#[derive(Debug, Serialize)]
pub(crate) struct Twin;

/// What stands for the natives that systems like `base` are offered, if there can be any.
pub(crate) fn resource(base: &Base) -> Option<Resource> {
    Some(Resource::new(TWIN, base.twin()?.id()))
}

impl FarmStep<Base> for Twin {
    fn title(&self, at: &Base) -> String {
        format!("make natives of {} for emulated systems", at.id())
    }

    fn facts(&self, at: &Base) -> Inputs {
        inputs::base(at)
    }

    fn needs(&self, at: &Base) -> Vec<Need> {
        vec![Need::Must(Resource::new(BASE, at.id()))]
    }

    fn provides(&self, at: &Base) -> Vec<Resource> {
        vec![Resource::new(TWIN, at.id())]
    }

    fn claims(&self, at: &Base) -> Vec<Claim> {
        vec![Claim::lock(at.id())]
    }

    fn estimate(&self, _at: &Base) -> Duration {
        Duration::from_secs(2)
    }

    fn check(&self, cx: &Cx, at: &Base) -> Result<Check> {
        natives::check(cx, at)
    }

    fn apply(&self, cx: &Cx, at: &Base) -> Result<()> {
        natives::make(cx, at)
    }

    fn undo<'a>(&'a self, cx: &Cx, at: &'a Base) -> Result<Undo<'a>> {
        let natives = natives::directory(cx, at);
        if !natives.exists() {
            return Ok(Undo::default());
        }
        let what = format!("remove the natives {}", natives.display());
        Ok(Undo::default().act(what, move |cx| cx.remove_tree(&natives)))
    }
}
