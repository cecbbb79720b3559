//! Native assist: emulated systems run the native twins of some of their programs, which makes them several times faster and
//! leaves the same behind.
//!
//! `twin` is the step that makes natives of the base system for the host's own processor, `natives` how; `offer` is what one
//! guest is offered of them; `tally` is what came of it. What the programs do in a guest is in the crate `drover-assist`.

mod natives;
mod offer;
mod tally;
mod twin;

pub(crate) use natives::has_modules;
pub(crate) use offer::{Client, Help, Offer, offer};
pub(crate) use twin::{Twin, resource};
