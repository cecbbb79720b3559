//! Storage on Btrfs: a file that stands for a device, or a device.
//!
//! The file is made beside its place and renamed, so that it is a file system or is not there.

use crate::host::content;
use crate::host::fstab::{Mount, ensure_plain};
use crate::host::volume::{Volume, ensure_room};
use crate::size::Size;
use crate::{ours, program};
use anyhow::{Context, Result, ensure};
use drover_engine::{Cmd, Cx};
use serde::{Deserialize, Serialize};
use std::fs::{self, File};
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};

/// Remembered if the file was made here.
const MADE: &str = "made the file";

/// What holds the file system.
#[derive(Debug, Serialize, Deserialize)]
pub enum On {
    /// A file of another file system.
    Loop {
        /// The file.
        file: PathBuf,
        /// How large it may become: it takes what is written to it.
        size: Size,
    },
    /// A device, or a partition of one.
    Device(PathBuf),
}

impl On {
    pub(super) fn ensure_sound(&self) -> Result<()> {
        ensure_plain(self.path(), "the file or device")?;
        if let Self::Loop { size, .. } = self {
            ensure!(size.kib >= 256 << 10, "{size} are too little for btrfs: give it 256 MiB at the least");
        }
        Ok(())
    }

    fn path(&self) -> &Path {
        match self {
            Self::Loop { file, .. } => file,
            Self::Device(device) => device,
        }
    }

    pub(super) fn mount(&self, path: &Path) -> Mount {
        let options = match self {
            Self::Loop { .. } => "loop,noatime,nofail",
            Self::Device(_) => "noatime,nofail",
        };
        super::mount(self.path().display().to_string(), path, "btrfs", options)
    }

    /// Complains if it cannot hold a file system with `bytes` in it.
    pub(super) fn precondition(&self, cx: &Cx, bytes: u64) -> Result<()> {
        super::require_module(cx, "btrfs", "/proc/filesystems")?;
        let path = self.path();
        if let Self::Device(device) = self {
            let shown = device.display();
            let kind =
                device.metadata().with_context(|| format!("there is no device `{shown}`; see `lsblk`"))?;
            ensure!(kind.file_type().is_block_device(), "`{shown}` is no device; see `lsblk`");
            let size = cx.read(&Cmd::new("blockdev").arg("--getsize64").arg(device))?;
            ensure_room(device, size.trim().parse().context("blockdev prints no number")?, bytes)?;
        }
        if let Self::Loop { file, size } = self {
            ensure!(!file.is_dir(), "`{}` is a directory: name a file", file.display());
            ensure_room(file, size.kib << 10, bytes)?;
            Volume::of(file)?.require_space(if file.exists() { 0 } else { bytes })?;
        }
        if path.exists() { content::is_ours(cx, path).map(drop) } else { Ok(()) }
    }

    /// Removes the file, if it was made here; a device stays as it is, and that is said.
    pub(super) fn remove(&self, cx: &Cx) -> Result<Option<String>> {
        let shown = self.path().display();
        match self {
            Self::Loop { file, .. } if cx.has_made(MADE)? => ours::remove(file).map(|()| None),
            Self::Loop { .. } => Ok(Some(format!("{shown} stays: it was there before"))),
            Self::Device(_) => Ok(Some(format!("the file system on {shown} stays: `wipefs --all {shown}`"))),
        }
    }

    /// Makes the file system, if it is not there.
    pub(super) fn make(&self, cx: &Cx) -> Result<()> {
        program::require("a storage on btrfs", &[("mkfs.btrfs", "btrfs-progs")])?;
        let path = self.path();
        if path.exists() {
            return if content::is_ours(cx, path)? { Ok(()) } else { format(cx, path) };
        }
        let Self::Loop { file, size } = self else { return format(cx, path) };
        let partial = PathBuf::from(format!("{}.partial", file.display()));
        if let Some(directory) = file.parent() {
            fs::create_dir_all(directory).with_context(|| format!("make `{}`", directory.display()))?;
        }
        let made = File::create(&partial).and_then(|image| image.set_len(size.kib << 10));
        made.with_context(|| format!("make `{}`", partial.display()))?;
        format(cx, &partial)?;
        cx.remember(MADE, "")?;
        fs::rename(&partial, file).with_context(|| format!("rename `{}`", partial.display()))
    }
}

fn format(cx: &Cx, path: &Path) -> Result<()> {
    cx.run(&Cmd::new("mkfs.btrfs").args(["--force", "--label", content::LABEL]).arg(path))
}
