//! A step as the plan writes it, and how it becomes a step of the engine: placed somewhere.
//!
//! The plan says `DefineDomain(memory: "1 GiB")` once; each container makes a node of it.

use crate::inputs::Parameters;
use anyhow::{Error, Result, anyhow};
use drover_engine::{Check, Claim, Cx, Inputs, Need, Resource, Step, Undo};
use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

/// A step of the plan that acts at a place `P`: the farm's host, a container, or a base system.
///
/// The contract of its parts is that of [`Step`]; each is told where it acts.
pub trait FarmStep<P>: Parameters + Debug + Send + Sync {
    /// The progress line.
    fn title(&self, at: &P) -> String;

    /// What tells it from other steps of its kind at the same place, where there can be many; part of its node's id.
    fn name(&self) -> Option<String> {
        None
    }

    /// What having this step in the plan says about the place, such as where the storage is. Called while the plan is
    /// expanded, before any node is made; reads nothing but the step itself.
    ///
    /// # Errors
    /// When the place contradicts it, such as an address outside of the farm's network.
    fn shape(&self, _at: &mut P) -> Result<()> {
        Ok(())
    }

    /// Steps that come with this one, each with its name in node ids. Called when the place has its final shape.
    fn companions(&self, _at: &P) -> Vec<(String, Arc<dyn FarmStep<P>>)> {
        Vec::new()
    }

    /// The facts of its place that it uses, from those of `inputs`: together with its parameters they are its
    /// [inputs](Inputs). Whatever changes what this step does, and is said by the plan elsewhere, belongs here: the name of
    /// the account for a step that writes it somewhere, the mirror for one that downloads. What this step only waits for
    /// does not.
    fn facts(&self, at: &P) -> Inputs;

    /// What must be there first.
    fn needs(&self, _at: &P) -> Vec<Need> {
        Vec::new()
    }

    /// What is there afterwards.
    fn provides(&self, _at: &P) -> Vec<Resource> {
        Vec::new()
    }

    /// What it holds a share of while it runs.
    fn claims(&self, _at: &P) -> Vec<Claim> {
        Vec::new()
    }

    /// How long it takes when nothing is known from earlier runs.
    fn estimate(&self, _at: &P) -> Duration {
        Duration::from_secs(1)
    }

    /// How long one attempt may take before it is stopped.
    fn timeout(&self, _at: &P) -> Duration {
        Duration::from_secs(600)
    }

    /// Can this host ever do it? See [`Step::precondition`].
    ///
    /// # Errors
    /// Says what is missing, and names the command that mends it.
    fn precondition(&self, _cx: &Cx, _at: &P) -> Result<()> {
        Ok(())
    }

    /// Is it done already? That is also the proof that it was done. See [`Step::check`].
    ///
    /// # Errors
    /// When that cannot be found out.
    fn check(&self, cx: &Cx, at: &P) -> Result<Check>;

    /// Does it. See [`Step::apply`].
    ///
    /// # Errors
    /// When it could not be done.
    fn apply(&self, cx: &Cx, at: &P) -> Result<()>;

    /// How long `check` may take to be satisfied once it was applied. See [`Step::patience`].
    fn patience(&self, _at: &P) -> Duration {
        Duration::ZERO
    }

    /// What to say when it was applied, and is needed all the same for this reason. See [`Step::disproved`].
    fn disproved(&self, _cx: &Cx, _at: &P, reason: String) -> Error {
        anyhow!("done, and yet {reason}")
    }

    /// What takes away with itself all that this step made. See [`Step::goes_with`]: the container's `ROOTFS`, for a step
    /// that edits that; its `DOMAIN`, for one that edits the definition.
    fn goes_with(&self, _at: &P) -> Option<Resource> {
        None
    }

    /// How what this step made is taken back. See [`Step::undo`]. For what steps do most, it is one line:
    /// - a text file of the host, written by [`ours::write`](crate::ours::write): [`ours::undo`](crate::ours::undo);
    /// - one in a container, by [`ours::write_inside`](crate::ours::write_inside):
    ///   [`ours::undo_inside`](crate::ours::undo_inside);
    /// - a domain's definition, by [`domain::apply_edit`](crate::domain::apply_edit):
    ///   [`domain::undo_edit`](crate::domain::undo_edit);
    /// - directories, by [`ours::make_directories`](crate::ours::make_directories):
    ///   [`ours::undo_directories`](crate::ours::undo_directories).
    ///
    /// Several of them are joined by [`Undo::and`].
    ///
    /// # Errors
    /// When that cannot be found out.
    fn undo<'a>(&'a self, _cx: &Cx, _at: &'a P) -> Result<Undo<'a>> {
        Ok(Undo::default().keep("what it changed stays: it has no undo"))
    }
}

/// A step of the plan, placed.
#[derive(Debug)]
pub struct Placed<P> {
    /// What the plan says.
    pub step: Arc<dyn FarmStep<P>>,
    /// Where it acts.
    pub at: Arc<P>,
    /// Whether it concerns one container, or what some of them share: see [`Step::is_local`].
    pub local: bool,
}

// A part of the contract that is forgotten here would silently be the default for every step.
#[deny(clippy::missing_trait_methods)]
impl<P: Debug + Send + Sync> Step for Placed<P> {
    fn inputs(&self) -> Inputs {
        self.step.parameters().and(self.step.facts(&self.at))
    }

    fn title(&self) -> String {
        self.step.title(&self.at)
    }

    fn needs(&self) -> Vec<Need> {
        self.step.needs(&self.at)
    }

    fn provides(&self) -> Vec<Resource> {
        self.step.provides(&self.at)
    }

    fn claims(&self) -> Vec<Claim> {
        self.step.claims(&self.at)
    }

    fn estimate(&self) -> Duration {
        self.step.estimate(&self.at)
    }

    fn timeout(&self) -> Duration {
        self.step.timeout(&self.at)
    }

    fn is_local(&self) -> bool {
        self.local
    }

    fn precondition(&self, cx: &Cx) -> Result<()> {
        self.step.precondition(cx, &self.at)
    }

    fn check(&self, cx: &Cx) -> Result<Check> {
        self.step.check(cx, &self.at)
    }

    fn apply(&self, cx: &Cx) -> Result<()> {
        self.step.apply(cx, &self.at)
    }

    fn patience(&self) -> Duration {
        self.step.patience(&self.at)
    }

    fn disproved(&self, cx: &Cx, reason: String) -> Error {
        self.step.disproved(cx, &self.at, reason)
    }

    fn goes_with(&self) -> Option<Resource> {
        self.step.goes_with(&self.at)
    }

    fn undo<'a>(&'a self, cx: &Cx) -> Result<Undo<'a>> {
        self.step.undo(cx, &self.at)
    }
}
