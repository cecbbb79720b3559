//! A relocation taken back. It does not know how directories are moved.

use super::{Found, Relocation, find};
use crate::ours;
use anyhow::Result;
use drover_engine::{Cx, Undo};

/// Remembered if all that is in the new place came with the move,
const MOVED: &str = "moved";
/// or if there was something before, and only the link is ours.
const LINKED: &str = "linked";

impl Relocation {
    /// Moves it, once it is remembered whether what is in the new place by then came from us.
    pub(in crate::host) fn apply_ours(&self, cx: &Cx) -> Result<()> {
        if cx.remembered(MOVED)?.is_none() && cx.remembered(LINKED)?.is_none() {
            let theirs = find(&self.to)? == Found::Directory { empty: false };
            cx.remember(if theirs { LINKED } else { MOVED }, "")?;
        }
        self.apply(cx)
    }

    /// How it is moved back. Where the new place held something before, only the link goes.
    pub(in crate::host) fn undo<'a>(self, cx: &Cx) -> Result<Undo<'a>> {
        let Self { from, to } = &self;
        let is_ours = self.is_linked()?;
        if cx.remembered(LINKED)?.is_some() && is_ours {
            let what = format!("remove the link {}: {} held something before", from.display(), to.display());
            return Ok(Undo::default().act(what, move |_| ours::remove(&self.from)));
        }
        let is_away =
            matches!(find(to)?, Found::Directory { .. }) && (is_ours || find(from)? == Found::Nothing);
        let is_half_back = self.back().is_linked()? || find(&self.back().aside())? != Found::Nothing;
        if !cx.has_made(MOVED)? || !(is_away || is_half_back) {
            return Ok(Undo::default());
        }
        let what = format!("move {} back to {}", to.display(), from.display());
        Ok(Undo::default().act(what, move |cx| self.return_home(cx)))
    }

    /// Moving back is moving, the other way; the link that it leaves in its place goes.
    fn return_home(&self, cx: &Cx) -> Result<()> {
        if let Found::Link(_) = find(&self.from)? {
            ours::remove(&self.from)?;
        }
        self.back().apply(cx)?;
        ours::remove(&self.to)
    }

    /// Whether the old place is a link to the new one.
    fn is_linked(&self) -> Result<bool> {
        Ok(matches!(find(&self.from)?, Found::Link(target) if self.leads(&target) == self.to))
    }

    fn back(&self) -> Self {
        Self { from: self.to.clone(), to: self.from.clone() }
    }
}
