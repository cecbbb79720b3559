//! What a run of Drover leaves on disk, and what may be read of it while the run is still on.
//!
//! This room knows events and files. It does not know graphs, threads, terminals or containers.
//!
//! A run takes the [`Lock`] of its [`StateDir`] and opens the [`Journal`] with it. Those who only look need neither:
//! they read what a run writes beside the journal.

mod current;
mod damage;
mod directory;
mod event;
mod event_file;
mod failure;
mod high;
mod history;
mod journal;
mod live;
mod lock;
mod node;
mod pack;
mod programs;
mod record;
mod recovery;
mod seal;
mod status;
mod store;
mod upkeep;

pub use directory::{KEPT_LOGS, StateDir};
pub use event::{Event, EventKind, Outcome, RunId, since};
pub use event_file::EventReader;
pub use failure::{Failure, Phase, Remedy};
pub use history::{History, Records};
pub use journal::Journal;
pub use live::{Live, live};
pub use lock::{Gone, Held, Holder, Lock, holder};
pub use node::NodeId;
pub use programs::{HeldBack, Program, Programs, Why};
pub use record::NodeRecord;
pub use seal::{seal_text, unseal_text};
pub use status::Status;
pub use upkeep::{Fault, check, export, repair};
