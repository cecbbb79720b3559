//! Throw-away hosts, and a mirror that fails on demand: what Drover's tests and benchmarks stand on.
//!
//! A [`Host`] is an overlay of a [`Root`], or of this machine's `/`, with its own mounts, processes, network, names and control groups.
//! Whatever is done in it is gone when it is dropped; whatever is to be kept becomes a [`Layer`] that other hosts are
//! laid over. The [`mirror`] is what they install from: packages that apt fetched, signed anew, served on loopback.
//!
//! This crate knows no steps, and one plan: that of a base system, of which a [`Root`] is made.

mod cgroups;
mod checkout;
mod cleanup;
mod command;
mod fault;
mod ground;
mod host;
mod inside;
mod layout;
mod loopback;
pub mod mirror;
mod opens;
mod registered;
mod root;
mod server;
mod signature;
mod stanza;
mod trace;
mod tree;
mod turn;
mod workshop;

pub use checkout::Checkout;
pub use command::{Finished, Running};
pub use fault::Fault;
pub use ground::{Ground, Layer};
pub use host::{Host, HostOptions, Network};
pub use inside::serve_if_asked;
pub use opens::{Opens, files_below};
pub use root::Root;
pub use trace::Trace;
pub use tree::Tree;
pub use turn::Turn;
