//! Steps, the graph of them, and the loop that runs it.
//!
//! # Invariants
//! 1. `state <- engine <- steps <- cli`, no other arrow. This room never prints, and knows neither LXC nor
//!    architectures. Steps change the world only through [`Cx`] and what it hands out.
//! 2. `schedule`, `graph`, `select` and `report` do no I/O and start no threads.
//! 3. Only the coordinator thread touches schedule, journal and observer. Workers send messages and own nothing; the
//!    one thing that they decide themselves is that a node is checked whose predecessors were all found done.
//! 4. A transition is durable before it is acted upon or shown: no step is applied before its start is on the disk.
//!    That nothing was to be done is no transition; it may be recorded a moment later.
//! 5. `check` changes nothing, and answers `Needed`, not an error, while an earlier step's product is absent, so that
//!    a dry run works on an empty host. `apply` may be killed anywhere and called again.
//! 6. The journal remembers, the world decides: no step is skipped, and none is repeated, on the journal's word alone.
//!    Nor is one repeated because the plan's text of it has changed: if its check is satisfied all the same, that is
//!    worth a remark ([`fingerprint`]).
//! 7. Steps return nothing to each other; every shared path or name stands in the plan.
//! 8. What was found out may be shared by many checks (a [`Sweep`]), but never beyond a change: whatever is applied or taken
//!    back, all that was known is forgotten.
//! 9. A step is proved by its own check and by nothing else: what a check accepts is what was to be proved, and what could not be
//!    proved is never taken for done by the next run.
//! 10. Every failure names node, phase and cause. An error is never turned into a bool.

mod attempt_log;
mod check;
mod command;
mod cx;
mod daemon;
mod environment;
mod failure;
mod fingerprint;
mod graph;
pub mod guardian;
mod host_file;
mod inherited;
mod interrupt;
mod jail;
mod lines;
mod look;
mod mark;
mod node;
mod observer;
mod odd;
mod pools;
mod preview;
mod process;
mod removal;
mod report;
mod resource;
mod rootfs;
mod run;
mod run_step;
mod schedule;
mod select;
mod step;
mod sweep;
mod takeback;
mod takeover;
#[cfg(test)]
mod toy;
mod undo;
mod until;
mod whole;

pub use check::Check;
pub use command::{Cmd, CommandError, Output};
pub use cx::{Attempt, Cx, MARK, Scope};
pub use environment::{Environment, not_to_be_passed, not_to_be_set, search_path};
pub use fingerprint::{Inputs, fingerprint};
pub use graph::{Edge, Graph, GraphError, Link};
pub use guardian::Leftover;
pub use host_file::HostFile;
pub use inherited::shed_inherited;
pub use interrupt::{Interrupt, Interrupted};
pub use jail::{Bind, Foreign, Jail};
pub use look::{Complaint, Doubt, Postponed, Readiness, Unmet};
pub use mark::Mark;
pub use node::Node;
pub use observer::Observer;
pub use preview::{Finding, Preview, PreviewOptions, preconditions, preview};
pub use removal::mount_at_or_below;
pub use report::{Blocked, Failed, Remark, Report};
pub use resource::{Claim, Need, Resource};
pub use rootfs::{Access, Entry, Kind, Rootfs};
pub use run::{Options, Work, run};
pub use run_step::{Retries, verify};
pub use schedule::Limits;
pub use select::{NothingSelected, Pattern, Selection};
pub use step::Step;
pub use sweep::Sweep;
pub use takeback::{Kept, Takeback, strangers, takebacks, undo};
pub use takeover::{Takeover, take_over, takeovers};
pub use undo::{Action, Undo};
pub use until::{Until, until};
