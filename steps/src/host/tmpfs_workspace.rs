//! # TmpfsWorkspace
//! A workspace in memory for builds, seen by the host and by every container: builds write much that nobody keeps.
//!
//! The document: "use discardable build workspaces in RAM-backed storage like /dev/shm (tmpfs) on Linux … and only use
//! persistent storage for the home directory with `.ccache` and `.gitcache-dynamatrix` directories".
//!
//! ```ron
//! TmpfsWorkspace(path: "/home/abuild/jenkins", size: "4 GiB")
//! ```
//!
//! | option | meaning |
//! | --- | --- |
//! | `path` | where it is, on the host and in containers; not the home itself, and not above it |
//! | `size` | how much it may take at the most |
//!
//! **The rule for its size**: no more than half of the host's memory, since builds, containers and the kernel's caches need
//! the other half; what it does not use it does not take. A larger one is refused before anything runs.
//!
//! The directory must be empty or absent: what it holds would be hidden. The home's `.ccache` and `.gitcache-dynamatrix`
//! stay where they are, on the disk.
//!
//! **Changes** one line in `/etc/fstab`, marked, and mounts it, mode 755, owned by the account. `BindHome` shows it to
//! containers, besides the home.
//!
//! **To take it back** `drover destroy`; or `umount PATH`, and remove the line. What is in it is lost.

use super::{lines, privilege};
use crate::farm::Farm;
use crate::ours;
use crate::resource::{ACCOUNT, HOME};
use crate::size::Size;
use crate::step::FarmStep;
use crate::tree;
use anyhow::{Context, Result, ensure};
use drover_engine::{Check, Cmd, Cx, HostFile, Need, Resource, Undo};
use rustix::fs::{AtFlags, CWD, Gid, Uid, chownat, statvfs};
use serde::Deserialize;
use std::fs;
use std::path::{Path, PathBuf};

const FSTAB: &str = "/etc/fstab";

/// See the manual above.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TmpfsWorkspace {
    /// Where it is.
    pub path: PathBuf,
    /// How much it may take.
    pub size: Size,
}

impl TmpfsWorkspace {
    fn options(&self, at: &Farm) -> String {
        let (uid, gid) = (at.account.uid, at.account.gid);
        format!("size={}k,mode=755,uid={uid},gid={gid},nosuid,nodev", self.size.kib)
    }

    fn line(&self, at: &Farm) -> String {
        format!("tmpfs {} tmpfs {} 0 0 # Drover: TmpfsWorkspace", self.path.display(), self.options(at))
    }

    /// The table with the line once, in place of an older one of ours.
    fn edited(&self, at: &Farm, table: &str) -> String {
        let path = self.path.display().to_string();
        let is_ours =
            |line: &&str| line.ends_with("# Drover: TmpfsWorkspace") && line.split(' ').nth(1) == Some(&path);
        if table.lines().filter(is_ours).eq([self.line(at)]) {
            return table.to_owned();
        }
        let others: String =
            table.lines().filter(|line| !is_ours(line)).map(|line| format!("{line}\n")).collect();
        lines::with_line(&others, &self.line(at))
    }

    /// How large what is mounted there is, in KiB; `None` if nothing is.
    fn mounted(&self) -> Result<Option<u64>> {
        let table = fs::read_to_string("/proc/self/mounts").context("cannot read `/proc/self/mounts`")?;
        let path = self.path.display().to_string().replace(' ', "\\040");
        let mut kinds = table.lines().filter(|line| line.split(' ').nth(1) == Some(&path));
        let Some(last) = kinds.next_back() else { return Ok(None) };
        ensure!(
            last.split(' ').nth(2) == Some("tmpfs"),
            "something else is mounted at `{0}`: `umount {0}`",
            self.path.display()
        );
        let data = statvfs(&self.path).with_context(|| format!("look at `{}`", self.path.display()))?;
        Ok(Some(data.f_blocks * data.f_frsize / 1024))
    }
}

/// The host's memory, in KiB.
fn memory() -> Result<u64> {
    let text = fs::read_to_string("/proc/meminfo").context("cannot read `/proc/meminfo`")?;
    let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"));
    let number = line.and_then(|line| line.split_whitespace().next()).and_then(|number| number.parse().ok());
    number.context("`/proc/meminfo` does not say how much memory there is")
}

fn ensure_fits(size: Size, memory: u64) -> Result<()> {
    ensure!(
        size.kib <= memory / 2,
        "a workspace of {size} is more than half of this host's memory ({} MiB): the rule is half at the most; \
         `size: \"{} MiB\"`",
        memory >> 10,
        memory >> 11
    );
    Ok(())
}

impl FarmStep<Farm> for TmpfsWorkspace {
    fn title(&self, _at: &Farm) -> String {
        format!("mount a workspace of {} at {}", self.size, self.path.display())
    }

    fn shape(&self, at: &mut Farm) -> Result<()> {
        let path = self.path.display().to_string();
        ensure!(
            self.path.is_absolute() && !path.contains([' ', '\t', '#']),
            "the workspace `{path}` must be a plain path from the root"
        );
        let home = &at.account.home;
        let inside = [".ccache", ".gitcache-dynamatrix", ".ssh"].map(|name| home.join(name));
        for kept in std::iter::once(home.clone()).chain(inside) {
            ensure!(
                !kept.starts_with(&self.path) && (kept == at.account.home || !self.path.starts_with(&kept)),
                "a workspace at `{path}` would hide `{}`, which is to be kept: choose a directory beside it",
                kept.display()
            );
        }
        at.workspace = Some(self.path.clone());
        Ok(())
    }

    fn needs(&self, at: &Farm) -> Vec<Need> {
        [ACCOUNT, HOME].map(|kind| Need::IfAny(Resource::new(kind, &at.account.user))).into()
    }

    fn provides(&self, at: &Farm) -> Vec<Resource> {
        vec![Resource::new(crate::resource::WORKSPACE, &at.account.user)]
    }

    fn precondition(&self, _cx: &Cx, _at: &Farm) -> Result<()> {
        privilege::require_root()?;
        ensure_fits(self.size, memory()?)?;
        if self.mounted()?.is_some() || !self.path.exists() {
            return Ok(());
        }
        let path = self.path.display();
        let mut entries = fs::read_dir(&self.path).with_context(|| format!("cannot read `{path}`"))?;
        ensure!(
            entries.next().is_none(),
            "`{path}` holds something, which a workspace would hide: move it away"
        );
        let inside = tree::mount_inside_of(&self.path)?;
        ensure!(inside.is_none(), "something is mounted below `{path}`: umount it first");
        Ok(())
    }

    fn check(&self, _cx: &Cx, at: &Farm) -> Result<Check> {
        let table = HostFile::new(FSTAB).read()?;
        let after = self.edited(at, table.as_deref().unwrap_or_default());
        Check::text(FSTAB, table.as_deref(), &after).and_then(|| {
            let path = self.path.display();
            Ok(match self.mounted()? {
                None => Check::needed(format!("no workspace is mounted at `{path}`")),
                Some(kib) if kib != self.size.kib => {
                    Check::needed(format!("the workspace at `{path}` has {kib} KiB, not {}", self.size))
                }
                Some(_) => Check::Satisfied,
            })
        })
    }

    fn apply(&self, cx: &Cx, at: &Farm) -> Result<()> {
        let file = HostFile::new(FSTAB);
        ours::write(cx, &file, &self.edited(at, file.read()?.as_deref().unwrap_or_default()))?;
        if self.mounted()?.is_some() {
            return cx.run(&mount(&format!("remount,{}", self.options(at)), &self.path));
        }
        let path = self.path.display();
        ours::make_directories(cx, &self.path, 0o755)?;
        let (uid, gid) = (Uid::from_raw(at.account.uid), Gid::from_raw(at.account.gid));
        chownat(CWD, &self.path, Some(uid), Some(gid), AtFlags::empty())
            .with_context(|| format!("give `{path}` to `{}`", at.account.user))?;
        cx.remember(MOUNTED, "")?;
        cx.run(&mount(&self.options(at), &self.path))
    }

    fn undo<'a>(&'a self, cx: &Cx, _at: &'a Farm) -> Result<Undo<'a>> {
        let mut undo = Undo::default();
        if cx.remembered(MOUNTED)?.is_some() && self.mounted()?.is_some() {
            undo = undo.act(format!("umount {}, with what is in it", self.path.display()), |cx| {
                cx.run(&Cmd::new("umount").arg(&self.path))
            });
        }
        Ok(undo.and(ours::undo(cx, HostFile::new(FSTAB))?).and(ours::undo_directories(cx)?))
    }
}

/// Remembered if it was mounted here.
const MOUNTED: &str = "mounted";

fn mount(options: &str, path: &Path) -> Cmd {
    Cmd::new("mount").args(["-t", "tmpfs", "-o", options, "tmpfs"]).arg(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step(path: &str) -> TmpfsWorkspace {
        TmpfsWorkspace { path: path.into(), size: Size { kib: 1 << 20 } }
    }

    #[test]
    fn the_line_is_there_once() {
        let farm = Farm::default();
        let table = "# static\n/dev/vda / ext4 defaults 0 1\n";
        let once = step("/home/abuild/work").edited(&farm, table);
        assert!(once.starts_with(table) && once.contains("size=1048576k,mode=755,uid=399,gid=399"), "{once}");
        assert_eq!(step("/home/abuild/work").edited(&farm, &once), once);
        let larger = TmpfsWorkspace { size: Size { kib: 2 << 20 }, ..step("/home/abuild/work") };
        let changed = larger.edited(&farm, &once);
        assert_eq!(changed.lines().count(), 3, "{changed}");
        assert!(changed.contains("size=2097152k"));
    }

    #[test]
    fn what_has_to_be_kept_is_not_hidden() {
        let mut farm = Farm::default();
        for bad in
            ["/home/abuild", "/home", "/home/abuild/.ccache", "/home/abuild/.gitcache-dynamatrix/x", "work"]
        {
            assert!(step(bad).shape(&mut farm).is_err(), "{bad}");
        }
        assert_eq!(farm.workspace, None);
        assert!(step("/home/abuild/jenkins").shape(&mut farm).is_ok());
        assert_eq!(farm.workspace, Some("/home/abuild/jenkins".into()));
    }

    #[test]
    fn half_of_the_memory_is_the_most() {
        assert!(ensure_fits(Size { kib: 4 << 20 }, 8 << 20).is_ok());
        let error = ensure_fits(Size { kib: 5 << 20 }, 8 << 20).expect_err("too much").to_string();
        assert!(error.contains("half at the most") && error.contains("4096 MiB"), "{error}");
        assert!(memory().expect("it says") > 0);
    }
}
