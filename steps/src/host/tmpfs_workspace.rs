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

use super::fstab::{Mount, ensure_plain};
use super::memory;
use crate::farm::Farm;
use crate::inputs;
use crate::ours;
use crate::resource::{ACCOUNT, HOME, STORAGE};
use crate::size::Size;
use crate::step::FarmStep;
use anyhow::{Context, Result, ensure};
use drover_engine::{Check, Claim, Cx, Inputs, Need, Resource, Undo};
use rustix::fs::{AtFlags, CWD, Gid, Uid, chownat, statvfs};
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// See the manual above.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TmpfsWorkspace {
    /// Where it is.
    #[serde(deserialize_with = "crate::words::de_path")]
    pub path: PathBuf,
    /// How much it may take.
    pub size: Size,
}

impl TmpfsWorkspace {
    fn mount(&self, at: &Farm) -> Mount {
        let (uid, gid) = (at.account.uid, at.account.gid);
        Mount {
            source: "tmpfs".to_owned(),
            path: self.path.clone(),
            kind: "tmpfs",
            options: format!("size={}k,mode=755,uid={uid},gid={gid},nosuid,nodev", self.size.kib),
            step: "TmpfsWorkspace",
        }
    }

    /// How large what is mounted there is, in KiB; `None` if nothing is.
    fn mounted(&self, at: &Farm) -> Result<Option<u64>> {
        if self.mount(at).mounted()?.is_none() {
            return Ok(None);
        }
        let data = statvfs(&self.path).with_context(|| format!("look at `{}`", self.path.display()))?;
        Ok(Some(data.f_blocks * data.f_frsize / 1024))
    }
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

    fn facts(&self, at: &Farm) -> Inputs {
        inputs::ids(at)
    }

    fn shape(&self, at: &mut Farm) -> Result<()> {
        let path = self.path.display().to_string();
        ensure_plain(&self.path, "the workspace")?;
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
        let account = [ACCOUNT, HOME].map(|kind| Need::IfAny(Resource::new(kind, &at.account.user)));
        // Its line in the table of mounts comes first, whichever is quicker.
        let storage = Need::IfAny(Resource::new(STORAGE, at.storage.display().to_string()));
        account.into_iter().chain([storage]).collect()
    }

    fn claims(&self, _at: &Farm) -> Vec<Claim> {
        vec![Mount::lock()]
    }

    fn provides(&self, at: &Farm) -> Vec<Resource> {
        vec![Resource::new(crate::resource::WORKSPACE, &at.account.user)]
    }

    fn precondition(&self, _cx: &Cx, at: &Farm) -> Result<()> {
        ensure_fits(self.size, memory::total()?)?;
        self.mount(at).ensure_ours()?;
        self.mount(at).ensure_hides_nothing()
    }

    fn check(&self, _cx: &Cx, at: &Farm) -> Result<Check> {
        self.mount(at).check_line()?.and_then(|| {
            let path = self.path.display();
            Ok(match self.mounted(at)? {
                None => Check::needed(format!("no workspace is mounted at `{path}`")),
                Some(kib) if kib != self.size.kib => {
                    Check::needed(format!("the workspace at `{path}` has {kib} KiB, not {}", self.size))
                }
                Some(_) => Check::Satisfied,
            })
        })
    }

    fn apply(&self, cx: &Cx, at: &Farm) -> Result<()> {
        let mount = self.mount(at);
        mount.write_line()?;
        if mount.mounted()?.is_none() {
            let path = self.path.display();
            ours::make_directories(cx, &self.path, 0o755)?;
            let (uid, gid) = (Uid::from_raw(at.account.uid), Gid::from_raw(at.account.gid));
            chownat(CWD, &self.path, Some(uid), Some(gid), AtFlags::empty())
                .with_context(|| format!("give `{path}` to `{}`", at.account.user))?;
        }
        mount.mount(cx)
    }

    fn undo<'a>(&'a self, cx: &Cx, at: &'a Farm) -> Result<Undo<'a>> {
        let (mount, directories) = (self.mount(at), ours::undo_directories(cx)?);
        if !mount.is_ours_to_undo(cx)? {
            return Ok(directories);
        }
        let what = format!("umount {}, with what is in it", self.path.display());
        Ok(Undo::default().act(what, move |cx| mount.unmount(cx)).and(directories))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step(path: &str) -> TmpfsWorkspace {
        TmpfsWorkspace { path: path.into(), size: Size { kib: 1 << 20 } }
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
        assert!(memory::total().expect("it says") > 0);
    }
}
