//! Steps that act on the host, and the things of the host that they share.

mod accounts;
mod apt;
mod apt_lock;
mod binfmt;
mod bridge;
mod bridge_dns;
mod build_home;
mod build_key;
mod cgroups;
mod elf;
mod emulation;
mod host_packages;
mod libvirt_lxc;
mod lines;
mod lxc_net;
mod policy;
mod privilege;
mod process;
mod program;
mod routes;
mod storage;
mod virsh_default_uri;
mod volume;

pub use binfmt::Binfmt;
pub use bridge::Bridge;
pub use bridge_dns::BridgeDns;
pub use build_home::BuildHome;
pub use build_key::BuildKey;
pub use host_packages::HostPackages;
pub use libvirt_lxc::LibvirtLxc;
pub use storage::{Backing, Storage};
pub use virsh_default_uri::VirshDefaultUri;
