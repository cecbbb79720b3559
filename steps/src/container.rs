//! A container as the plan describes it.
//!
//! It does not look at the host: whether the container is there is for steps to find out.

use crate::base::Base;
use crate::farm::Farm;
use crate::size::Size;
use drover_engine::{Claim, Resource};
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::sync::Arc;

/// A container as the plan describes it.
#[derive(Clone, Debug)]
pub struct Container {
    /// Its name: a host name, a domain, a directory.
    pub name: String,
    /// The system in it.
    pub base: Arc<Base>,
    /// The farm that it belongs to.
    pub farm: Arc<Farm>,
    /// Its address, if the plan names one.
    pub address: Option<Ipv4Addr>,
    /// The port of the host that leads to its ssh, if the plan names one.
    pub ssh_port: Option<u16>,
    /// How much memory its domain has, if the plan says so.
    pub memory: Option<Size>,
    /// Whether its systemd joins the host's cgroups, as it does by itself.
    pub joins_controllers: bool,
}

impl Container {
    /// Its directory: LXC's `config`, and `rootfs`.
    pub fn directory(&self) -> PathBuf {
        self.farm.containers().join(&self.name)
    }

    /// Its root file system.
    pub fn rootfs(&self) -> PathBuf {
        self.directory().join("rootfs")
    }

    /// A resource of this container: `domain`, `rootfs`, `address`.
    pub fn resource(&self, kind: &'static str) -> Resource {
        Resource::new(kind, &self.name)
    }

    /// Held by whoever may change accounts in the container's root file system.
    pub fn accounts_lock(&self) -> Claim {
        Claim::lock(format!("accounts of {}", self.name))
    }

    /// An edit of this container, of the kind `DOMAIN_EDIT` or `GUEST_EDIT`: `console of jenkins-debian12-arm64`. This is for
    /// those who need that edit; whoever makes it provides [`Container::edited`].
    pub fn edit(&self, kind: &'static str, what: &str) -> Resource {
        Resource::new(kind, format!("{what} of {}", self.name))
    }

    /// All edits of this container of the kind `DOMAIN_EDIT` or `GUEST_EDIT`: for those who come after every one of them.
    pub fn edits(&self, kind: &'static str) -> Resource {
        Resource::new(kind, &self.name)
    }

    /// What the step that makes an edit provides: the edit, and a part of all [edits](Container::edits).
    pub fn edited(&self, kind: &'static str, what: &str) -> [Resource; 2] {
        [self.edit(kind, what), self.edits(kind)]
    }
}
