//! Where throw-away things live on disk, and the layers that hosts are laid over.
//!
//! It does not know what is in a layer, only how to make each once.

use crate::cleanup::remove_tree;
use crate::host::Bottom;
use crate::registered::Registered;
use crate::{Host, HostOptions};
use anyhow::{Context, Result, bail};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The directory below `target/` where throw-away things live.
#[derive(Clone, Debug)]
pub struct Ground {
    dir: PathBuf,
    _registered: Arc<Registered>,
}

/// The changes that a host left, for other hosts to start from.
#[derive(Clone, Debug)]
pub struct Layer {
    pub(crate) bottom: Bottom,
    pub(crate) path: PathBuf,
}

impl Ground {
    /// The ground below `target`, a directory such as Cargo's `CARGO_TARGET_TMPDIR`.
    ///
    /// # Errors
    /// When this process may not make throw-away hosts, or the directory cannot be made or is of no use; the message
    /// says what would be.
    pub fn below(target: impl AsRef<Path>) -> Result<Self> {
        if !rustix::process::geteuid().is_root() {
            bail!("throw-away hosts need root");
        }
        let dir = target.as_ref().join("throwaway");
        fs::create_dir_all(&dir).with_context(|| format!("`{}` cannot be made", dir.display()))?;
        let ground = Self { dir: dir.canonicalize()?, _registered: Arc::new(Registered::note()?) };
        ground.reject_overlay()?;
        // A copy of this program, since hosts are made and ended by it, and it may be built anew meanwhile.
        remove_tree(&ground.program())?;
        fs::copy(std::env::current_exe()?, ground.program())?;
        Ok(ground)
    }

    /// A path in it.
    pub fn join(&self, path: impl AsRef<Path>) -> PathBuf {
        self.dir.join(path)
    }

    /// The control group of the host `name`: grounds of other checkouts may have hosts of that name at the same time.
    pub(crate) fn group(&self, name: &str) -> String {
        let checksum = crc32fast::hash(self.dir.as_os_str().as_encoded_bytes());
        format!("drover-{name}-{checksum:08x}")
    }

    /// The program that makes hosts: a copy of this one.
    pub(crate) fn program(&self) -> PathBuf {
        self.dir.join("program")
    }

    /// The layer called `name`, made by `make` in a host with `options` if it is not there yet.
    ///
    /// # Errors
    /// When it has to be made and cannot be.
    pub fn layer(
        &self,
        name: &str,
        options: HostOptions,
        make: impl FnOnce(&mut Host) -> Result<()>,
    ) -> Result<Layer> {
        let bottom = options.bottom().clone();
        let path = self.layer_path(name, &bottom);
        if !path.exists() {
            let mut host = Host::boot_on_copy(self, &format!("layer-{name}"), options)?;
            make(&mut host).with_context(|| format!("layer `{name}` could not be made"))?;
            host.seal(&path)?;
        }
        Ok(Layer { bottom, path })
    }

    /// The layer called `name`, if it was made on what hosts with `options` stand on.
    pub fn existing_layer(&self, name: &str, options: &HostOptions) -> Option<Layer> {
        let bottom = options.bottom().clone();
        let path = self.layer_path(name, &bottom);
        path.exists().then_some(Layer { bottom, path })
    }

    /// Where a layer is kept: its changes are those of what is at the bottom, and of nothing else.
    pub(crate) fn layer_path(&self, name: &str, bottom: &Bottom) -> PathBuf {
        self.dir.join("layers").join(bottom.name()).join(name)
    }

    /// Overlayfs cannot keep its changes on another overlayfs, such as a build container's own root.
    fn reject_overlay(&self) -> Result<()> {
        const OVERLAYFS: i64 = 0x794c_7630;
        let found = rustix::fs::statfs(&self.dir)?;
        if found.f_type == OVERLAYFS {
            bail!(
                "`{}` is on overlayfs, which cannot hold throw-away hosts; set CARGO_TARGET_DIR to a directory on a disk",
                self.dir.display()
            );
        }
        Ok(())
    }
}
