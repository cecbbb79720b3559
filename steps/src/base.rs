//! A base system: what a bootstrap makes, once for all containers of one release and architecture.

use crate::architecture::Architecture;
use crate::farm::Farm;
use crate::release::Release;
use std::path::PathBuf;
use std::sync::Arc;

/// A base system.
#[derive(Clone, Debug)]
pub struct Base {
    /// The distribution and its release.
    pub release: &'static Release,
    /// The processor architecture.
    pub arch: Architecture,
    /// The mirrors that the plan names, the first one first; none for the host's own.
    pub mirrors: Vec<String>,
    /// The keys that the plan says the release is signed with; none for those of the host's apt or the distribution.
    pub keyring: Option<PathBuf>,
    /// The farm that it is made for.
    pub farm: Arc<Farm>,
}

impl Base {
    /// Its name in node ids, such as `debian-bookworm-arm64`.
    pub fn id(&self) -> String {
        format!("{}-{}-{}", self.release.distribution, self.release.code_name, self.arch.debian())
    }

    /// Where the template of `lxc-create` looks for it.
    pub fn rootfs(&self) -> PathBuf {
        let directory = self.farm.lxc_cache.join(self.release.distribution.to_string());
        directory.join(format!("rootfs-{}-{}", self.release.code_name, self.arch.debian()))
    }

    /// Where it is built, before it is complete; beside [`Base::rootfs`], so that one rename completes it.
    pub fn partial(&self) -> PathBuf {
        let mut name = self.rootfs().into_os_string();
        name.push(".partial");
        name.into()
    }

    /// The same release for the host's own processor, if this system is emulated and there is one.
    pub fn twin(&self) -> Option<Self> {
        let host = Architecture::host();
        let is_released = self.release.architectures.contains(&host);
        (self.is_emulated() && is_released).then(|| Self { arch: host, ..self.clone() })
    }

    /// Whether this host runs it under an emulator.
    pub fn is_emulated(&self) -> bool {
        !self.arch.runs_on(Architecture::host())
    }
}
