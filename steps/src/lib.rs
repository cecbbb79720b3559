//! The documented procedures as steps, one file each, and the plan language that composes them.
//!
//! `host/`, `bootstrap/` and `guest/` hold the steps; `plan/` reads a plan and expands it into the engine's nodes;
//! beside them the few things steps share. This room does not know terminals nor the journal.

pub mod apt;
pub mod apt_sources;
pub mod architecture;
pub mod archives;
mod assist;
pub mod base;
pub mod bootstrap;
pub mod container;
pub mod deb822;
pub mod diagnosis;
mod dnsmasq_config;
pub mod dnsmasq_hosts;
pub mod doctor;
pub mod domain;
pub mod dpkg;
pub mod farm;
mod file_text;
pub mod guest;
pub mod herd;
pub mod host;
mod inputs;
pub mod mirror;
mod mounts;
pub mod ours;
pub mod package_index;
pub mod plan;
pub mod program;
pub mod registry;
pub mod release;
pub mod resource;
mod script;
pub mod service;
pub mod size;
pub mod snapshot;
pub mod ssh_ports;
pub mod step;
pub mod survey;
mod tail;
pub mod topic;
pub mod trust;
mod words;
