//! Steps that act on a container.

mod accounts;
mod attach_interface;
mod await_ssh;
mod bind_home;
mod build_account;
mod console;
pub mod cut_short;
mod define_domain;
#[cfg(test)]
mod domain_edits;
pub mod emulate;
mod fetch_packages;
mod guest_command;
mod guest_file;
mod guest_packages;
mod half_made;
mod hosts_block;
mod hosts_file;
mod issue;
mod join_controllers;
mod lxc_create;
mod package_order;
mod reserve_address;
mod ssh_proof;
mod sshd_accept_env;
mod start_domain;
mod unique_mac;

pub use attach_interface::AttachInterface;
pub use await_ssh::AwaitSsh;
pub use bind_home::BindHome;
pub use build_account::BuildAccount;
pub use console::Console;
pub use define_domain::DefineDomain;
pub use guest_command::GuestCommand;
pub use guest_file::GuestFile;
pub use guest_packages::GuestPackages;
pub(crate) use half_made::MARK;
pub use hosts_file::HostsFile;
pub use issue::Issue;
pub use join_controllers::JoinControllers;
pub use lxc_create::LxcCreate;
pub use reserve_address::ReserveAddress;
pub use sshd_accept_env::SshdAcceptEnv;
pub use start_domain::StartDomain;
pub use unique_mac::UniqueMac;
