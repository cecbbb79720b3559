//! The way back of a step: actions that say what they do before they do it, and what stays.
//!
//! It does not know what is recorded.

use crate::Cx;
use anyhow::Result;
use std::fmt;

/// How what a step made is taken back. Nothing at all, if nothing of it is there.
#[derive(Debug, Default)]
pub struct Undo<'a> {
    /// What is to be done, in this order. Each may be killed anywhere; what it has done does not come up again.
    pub actions: Vec<Action<'a>>,
    /// What stays, and why, a sentence each.
    pub kept: Vec<String>,
    /// Whether that takes away what goes with it, too: see [`crate::Step::goes_with`].
    pub whole: bool,
}

/// One thing that is done to take something back.
pub struct Action<'a> {
    /// What it does: "remove the account abuild".
    pub what: String,
    act: Box<Act<'a>>,
}

/// Does it, or says what stays after all, and why.
type Act<'a> = dyn FnOnce(&Cx) -> Result<Option<String>> + 'a;

impl<'a> Undo<'a> {
    /// And this has to be done.
    #[must_use]
    pub fn act(self, what: impl Into<String>, act: impl FnOnce(&Cx) -> Result<()> + 'a) -> Self {
        self.act_if(what, |cx| act(cx).map(|()| None))
    }

    /// And this, unless it turns out, once those that come before are undone, that it has to stay: then the answer is why,
    /// and the node is [kept](drover_state::Outcome::Kept).
    #[must_use]
    pub fn act_if(
        mut self,
        what: impl Into<String>,
        act: impl FnOnce(&Cx) -> Result<Option<String>> + 'a,
    ) -> Self {
        self.actions.push(Action { what: what.into(), act: Box::new(act) });
        self
    }

    /// And what goes with it goes.
    #[must_use]
    pub fn whole(mut self) -> Self {
        self.whole = true;
        self
    }

    /// And this stays, for this reason.
    #[must_use]
    pub fn keep(mut self, what: impl Into<String>) -> Self {
        self.kept.push(what.into());
        self
    }

    /// This, then that.
    #[must_use]
    pub fn and(mut self, mut other: Self) -> Self {
        self.actions.append(&mut other.actions);
        self.kept.append(&mut other.kept);
        self
    }
}

impl Action<'_> {
    /// Does it, or answers why it stays.
    ///
    /// # Errors
    /// When it could not be done.
    pub fn take(self, cx: &Cx) -> Result<Option<String>> {
        (self.act)(cx)
    }
}

impl fmt::Debug for Action<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)
    }
}
