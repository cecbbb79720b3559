//! The step: a typed unit of work, in three parts, and the way back.
//!
//! It does not know when it runs nor what runs beside it.

use crate::{Check, Claim, Cx, Inputs, Need, Resource, Undo};
use anyhow::{Error, Result, anyhow};
use std::fmt::Debug;
use std::time::Duration;

/// A typed unit of work.
///
/// `precondition` and `check` only read. `apply` may be killed anywhere and called again. What strings the three
/// together is `run_step`, and nothing else is. There is no other proof than `check`: so no state that would be no proof is
/// ever taken for done.
pub trait Step: Debug + Send + Sync {
    /// The progress line: what is being done, as in "define the domain jenkins-debian12-arm64".
    fn title(&self) -> String;

    /// What it is made from, as far as the plan says it: see [`Inputs`]. Two steps with the same inputs do the same.
    fn inputs(&self) -> Inputs;

    /// What must be there first.
    fn needs(&self) -> Vec<Need> {
        Vec::new()
    }

    /// What is there afterwards.
    fn provides(&self) -> Vec<Resource> {
        Vec::new()
    }

    /// What it holds a share of while it runs.
    fn claims(&self) -> Vec<Claim> {
        Vec::new()
    }

    /// How long it takes when nothing is known from earlier runs.
    fn estimate(&self) -> Duration {
        Duration::from_secs(1)
    }

    /// How long one attempt may take before it is stopped.
    fn timeout(&self) -> Duration {
        Duration::from_secs(600)
    }

    /// Whether a host that can never do it holds up only what needs this step; else nothing is begun at all.
    fn is_local(&self) -> bool {
        false
    }

    /// Can this host ever do it? Reads only; concerns the host. What cannot be found out now is no error but a [`Cx::doubt`];
    /// what another step may mend is an error with the mark [`crate::until`]: it is asked for again after that step. So is
    /// any of a node that the plan itself puts `after` others.
    ///
    /// # Errors
    /// Says what is missing, and names the command that mends it.
    fn precondition(&self, _cx: &Cx) -> Result<()> {
        Ok(())
    }

    /// Is it done already? Reads only. It is also the proof that was done what `apply` did: nothing else is asked.
    ///
    /// # Errors
    /// When that cannot be found out. While an earlier step's product is absent, the answer is `Needed`.
    fn check(&self, cx: &Cx) -> Result<Check>;

    /// Does it. May be killed anywhere and called again.
    ///
    /// # Errors
    /// When it could not be done.
    fn apply(&self, cx: &Cx) -> Result<()>;

    /// How long `check` may take to be satisfied once it was applied, before it counts as disproved.
    fn patience(&self) -> Duration {
        Duration::ZERO
    }

    /// What to say when it was applied, and is needed all the same for this reason. The place for what the world tells of why.
    fn disproved(&self, _cx: &Cx, reason: String) -> Error {
        anyhow!("done, and yet {reason}")
    }

    /// What takes away with itself all that this step made: the provider of this resource, when undoing that takes away
    /// the [whole](Undo::whole). A container's root file system, for a step that edits it. Whoever was there before stays,
    /// and then `undo` is asked.
    fn goes_with(&self) -> Option<Resource> {
        None
    }

    /// How what this step made is taken back, as the world is now. Reads only: the actions change it. Asked of nodes only
    /// that are recorded as made by us; and again, after the actions, when there must be none left.
    ///
    /// What the world will not tell by then has to be [remembered](Cx::remember) in `apply`, before the change. In short:
    /// - it made something: `cx.remember(NAME, "")` in `apply` if that was not there; here, if it is remembered and still
    ///   there, `Undo::default().act("remove it", ...)`;
    /// - somebody else may need it by now: [`Undo::act_if`], which may answer why it stays;
    /// - it leaves nothing: `Undo::default()`;
    /// - it cannot know: [`Undo::keep`], and why. That is also what a step says that does not say anything here.
    ///
    /// # Errors
    /// When that cannot be found out.
    fn undo<'a>(&'a self, _cx: &Cx) -> Result<Undo<'a>> {
        Ok(Undo::default().keep("what it changed stays: it has no undo"))
    }
}
