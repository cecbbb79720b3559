//! Storage on a volume of LVM: made in a group that is there, formatted once, mounted.
//!
//! A new volume shows what the disk held before. So it is tagged until it is formatted: only what has the tag, or is blank,
//! is.

use crate::host::content;
use crate::host::fstab::{Mount, ensure_plain};
use crate::host::volume::ensure_room;
use crate::program;
use crate::size::Size;
use anyhow::{Context, Result, ensure};
use drover_engine::{Cmd, Cx};
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// What a volume has until it is formatted.
const TAG: &str = "drover_unformatted";

/// A volume.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Volume {
    /// The group that it is in.
    pub group: String,
    /// Its name.
    pub name: String,
    /// How large it is made.
    pub size: Size,
}

impl Volume {
    pub(super) fn ensure_sound(&self) -> Result<()> {
        let legal = |c: char| c.is_ascii_alphanumeric() || "_.+-".contains(c);
        for name in [&self.group, &self.name] {
            ensure!(
                !name.is_empty() && !name.starts_with('-') && name.chars().all(legal),
                "`{name}` cannot be the name of a group or volume of LVM"
            );
        }
        ensure_plain(&self.device(), "the volume")
    }

    fn device(&self) -> PathBuf {
        Path::new("/dev").join(&self.group).join(&self.name)
    }

    fn id(&self) -> String {
        format!("{}/{}", self.group, self.name)
    }

    pub(super) fn mount(&self, path: &Path) -> Mount {
        super::mount(self.device().display().to_string(), path, "ext4", "noatime,nofail")
    }

    /// Complains if the volume neither is there nor can be made, or if it holds something else.
    pub(super) fn precondition(&self, cx: &Cx, bytes: u64) -> Result<()> {
        super::require_module(cx, "device-mapper", "/proc/misc")?;
        program::require("a storage on LVM", &[("lvs", "lvm2"), ("mkfs.ext4", "e2fsprogs")])?;
        ensure_room(&self.device(), self.size.kib << 10, bytes)?;
        if self.tags(cx)?.is_some() {
            return self.is_ours(cx).map(drop);
        }
        let Some(free) = lvm(cx, "vgs", "vg_free", &self.group)? else {
            let groups = cx.read(&Cmd::new("vgs").args(["--noheadings", "--options", "vg_name"]))?;
            let groups: Vec<_> = groups.split_whitespace().collect();
            anyhow::bail!(
                "there is no volume group `{0}` ({1}): make it of a disk that nobody needs, `pvcreate /dev/DISK && vgcreate {0} \
                 /dev/DISK`",
                self.group,
                if groups.is_empty() {
                    "there are none".to_owned()
                } else {
                    format!("there are {}", groups.join(", "))
                }
            );
        };
        let free: u64 = free.parse().with_context(|| format!("vgs says `{free}`"))?;
        ensure!(
            self.size.kib << 10 <= free,
            "the volume group `{0}` has {1} MiB free, not {2}: make the volume smaller, or `vgextend {0} /dev/DISK`",
            self.group,
            free >> 20,
            self.size
        );
        Ok(())
    }

    /// The tags of the volume; `None` if it is not there.
    fn tags(&self, cx: &Cx) -> Result<Option<String>> {
        lvm(cx, "lvs", "lv_tags", &self.id())
    }

    fn is_unformatted(&self, cx: &Cx) -> Result<bool> {
        Ok(self.tags(cx)?.is_some_and(|tags| tags.split(',').any(|tag| tag == TAG)))
    }

    /// Whether it holds a file system of ours; an error if it holds anything else.
    fn is_ours(&self, cx: &Cx) -> Result<bool> {
        if self.is_unformatted(cx)? { Ok(false) } else { content::is_ours(cx, &self.device()) }
    }

    /// Makes and formats the volume, as far as that is not done.
    pub(super) fn make(&self, cx: &Cx) -> Result<()> {
        if self.tags(cx)?.is_none() {
            let size = format!("{}k", self.size.kib);
            let make = Cmd::new("lvcreate").args([
                "--yes",
                "--wipesignatures",
                "y",
                "--addtag",
                TAG,
                "--size",
                &size,
            ]);
            cx.run(&make.args(["--name", &self.name, &self.group]))?;
        }
        if !self.is_ours(cx)? {
            cx.run(&Cmd::new("mkfs.ext4").args(["-q", "-F", "-L", content::LABEL]).arg(self.device()))?;
        }
        if self.is_unformatted(cx)? {
            cx.run(&Cmd::new("lvchange").args(["--deltag", TAG, &self.id()]))?;
        }
        Ok(())
    }
}

/// What `program` of LVM reports of one thing; `None` if there is no such thing.
fn lvm(cx: &Cx, program: &str, column: &str, name: &str) -> Result<Option<String>> {
    let report = ["--noheadings", "--units", "b", "--nosuffix", "--options", column, name];
    let output = cx.probe(&Cmd::new(program).args(report))?;
    Ok(output.status.success().then(|| output.stdout.trim().to_owned()))
}
