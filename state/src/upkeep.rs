//! Looking after a state directory: what is damaged in it and what follows from that, mending it, and getting out what stands
//! in it.
//!
//! To look changes nothing: the database, which cannot be opened without being written, is copied first. What is mended is
//! moved aside, never deleted. It does not know what the texts in it mean.

mod check;
mod copy;
mod export;
mod repair;

pub use check::check;
pub use export::export;
pub use repair::repair;

use serde::Serialize;
use std::path::PathBuf;

/// Something that is wrong in a state directory.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Fault {
    /// Where.
    pub path: PathBuf,
    /// What is wrong.
    pub found: String,
    /// What follows from it.
    pub consequence: String,
    #[serde(skip)]
    kind: Kind,
}

/// How a fault is mended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// Others can read it: closed.
    Open,
    /// Not what it should be, and made again without it: moved aside.
    InTheWay,
    /// Opening the journal mends it, or makes it anew.
    Journal,
    /// Events of a run: what is whole of them stays, what the journal has comes back.
    Events,
    /// Not ours to mend.
    Beyond,
}
