//! # BuildHome
//! The account that builds, and its home, shared by the host and all containers.
//!
//! The document: "Prepare `/home/abuild` on the host system; account user and group ID numbers are 399 as on the rest of
//! the CI farm".
//!
//! ```ron
//! BuildHome(path: "/home/abuild", user: "abuild", uid: 399, gid: 399)
//! BuildHome(path: "/home/abuild", user: "abuild", uid: 399, gid: 399, zfs: (dataset: "tank/abuild"))
//! BuildHome(path: "/home/abuild", user: "abuild", uid: 399, gid: 399,
//!           zfs: (dataset: "tank/abuild", quota: "200 GiB", deduplicate: true))
//! ```
//!
//! | option | meaning |
//! | --- | --- |
//! | `path` | the home directory |
//! | `user` | the account's name; its group is called the same |
//! | `uid`, `gid` | their numbers, the same in every container |
//! | `zfs` | the home is a dataset of ZFS, compressed with lz4; the document: "preferably in ZFS with lightweight compression like lz4" |
//! | `zfs.quota` | how much it may hold; no limit if not given |
//! | `zfs.deduplicate` | "optionally, only if the amount of available system RAM permits, with deduplication" |
//!
//! **The rule for deduplication**: 5 GiB of memory for each TiB that the dataset may hold (its quota, else its whole pool),
//! and that no more than half of the host's memory, since builds need the other half. It is what the table of blocks takes:
//! 320 bytes for each block, of 64 KiB on average. Otherwise it is refused before anything runs, with the quota that would
//! do. It concerns what is written from then on.
//!
//! A name or number that somebody else has is an error before anything runs; no account is ever changed.
//!
//! An account that a directory service knows (LDAP, SSSD), and no file of this host, is as good.
//!
//! **Changes** the group and the account (`groupadd`, `useradd --system`, shell `/bin/bash`, no password), and the directory,
//! mode 755, empty: nothing is copied from `/etc/skel`, the containers have their own shells' files. A home that is there
//! keeps its mode and all that is in it.
//!
//! **To take it back** `drover destroy`, which leaves a home in which something is left, and the account with it; or
//! `userdel abuild` (the group goes with it), and remove the directory.

use super::accounts::{self, HostAccount, HostGroup};
use super::home_dataset::HomeDataset;
use super::zfs;
use crate::farm::{Account, Farm};
use crate::mounts;
use crate::ours;
use crate::resource::{ACCOUNT, PACKAGES};
use crate::step::FarmStep;
use crate::words;
use anyhow::{Context, Result, bail, ensure};
use drover_engine::{Check, Claim, Cmd, Cx, Inputs, Need, Resource, Undo};
use rustix::fs::{AtFlags, CWD, Gid, Uid, chownat};
use serde::{Deserialize, Serialize};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// See the manual above.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BuildHome {
    /// The home directory.
    #[serde(deserialize_with = "crate::words::de_path")]
    pub path: PathBuf,
    /// The account's name.
    pub user: String,
    /// User id.
    pub uid: u32,
    /// Group id.
    pub gid: u32,
    /// The dataset that it is.
    pub zfs: Option<HomeDataset>,
}

impl FarmStep<Farm> for BuildHome {
    fn title(&self, _at: &Farm) -> String {
        format!("prepare the account {} and its home", self.user)
    }

    fn facts(&self, _at: &Farm) -> Inputs {
        Inputs::default()
    }

    fn shape(&self, at: &mut Farm) -> Result<()> {
        words::path(&self.path.to_string_lossy(), "the home")?;
        let is_field = !self.path.to_string_lossy().contains([':', ' ']);
        ensure!(is_field, "the home `{}` cannot stand in a table of accounts or mounts", self.path.display());
        words::account(&self.user)?;
        self.zfs.iter().try_for_each(|zfs| zfs::ensure_name(&zfs.dataset))?;
        words::id(self.uid, "uid")?;
        words::id(self.gid, "gid")?;
        at.account =
            Account { user: self.user.clone(), uid: self.uid, gid: self.gid, home: self.path.clone() };
        Ok(())
    }

    fn needs(&self, _at: &Farm) -> Vec<Need> {
        // dpkg makes accounts too, and whoever is first has the lock.
        vec![Need::IfAny(Resource::new(PACKAGES, "host"))]
    }

    fn provides(&self, _at: &Farm) -> Vec<Resource> {
        vec![Resource::new(ACCOUNT, &self.user)]
    }

    fn claims(&self, _at: &Farm) -> Vec<Claim> {
        vec![Claim::lock("host accounts")]
    }

    fn precondition(&self, cx: &Cx, at: &Farm) -> Result<()> {
        for key in [&self.user, &self.uid.to_string()] {
            self.accept_account(accounts::account(cx, key)?)?;
        }
        for key in [&self.user, &self.gid.to_string()] {
            self.accept_group(accounts::group(cx, key)?)?;
        }
        let zfs = self.zfs.iter().try_for_each(|zfs| zfs.precondition(cx, &self.path));
        zfs.map_err(at.until_installed(&["zfs-dkms", "zfsutils-linux"]))?;
        self.accept_home()
    }

    fn check(&self, cx: &Cx, _at: &Farm) -> Result<Check> {
        if accounts::group(cx, &self.user)?.is_none() {
            return Ok(Check::needed(format!("there is no group {}", self.user)));
        }
        if accounts::account(cx, &self.user)?.is_none() {
            return Ok(Check::needed(format!("there is no account {}", self.user)));
        }
        if let Some(database) = self.missing_shadow(cx)? {
            return Ok(Check::needed(format!("/etc/{database} has no line for {}", self.user)));
        }
        if let Some(zfs) = &self.zfs
            && let needed @ Check::Needed { .. } = zfs.dataset(&self.path).check(cx)?
        {
            return Ok(needed);
        }
        let home = self.path.display();
        Ok(match self.owner()? {
            None => Check::needed(format!("{home} does not exist")),
            Some(owner) if owner != (self.uid, self.gid) => {
                Check::needed(format!("{home} belongs to {}:{}", owner.0, owner.1))
            }
            Some(_) => Check::Satisfied,
        })
    }

    fn apply(&self, cx: &Cx, _at: &Farm) -> Result<()> {
        let (uid, gid) = (self.uid.to_string(), self.gid.to_string());
        if accounts::group(cx, &self.user)?.is_none() {
            cx.remember(MADE_GROUP, "")?;
            cx.run(&Cmd::new("groupadd").args(["--gid", &gid, &self.user]))?;
        }
        if accounts::account(cx, &self.user)?.is_none() {
            cx.remember(MADE_ACCOUNT, "")?;
            let ids = ["--system", "--uid", &uid, "--gid", &gid, "--no-create-home", "--shell", "/bin/bash"];
            cx.run(&Cmd::new("useradd").args(ids).arg("--home-dir").arg(&self.path).arg(&self.user))?;
        }
        // Killed between two of the files that they write, useradd and groupadd leave the shadow behind.
        match self.missing_shadow(cx)? {
            Some("shadow") => cx.run(&Cmd::new("pwconv"))?,
            Some(_) => cx.run(&Cmd::new("grpconv"))?,
            None => {}
        }
        self.zfs.iter().try_for_each(|zfs| zfs.dataset(&self.path).apply(cx))?;
        self.make_home(cx)
    }

    fn undo<'a>(&'a self, cx: &Cx, _at: &'a Farm) -> Result<Undo<'a>> {
        let made_account = cx.has_made(MADE_ACCOUNT)?;
        let made_group = cx.has_made(MADE_GROUP)?;
        let mut undo = ours::undo_directories(cx)?;
        if made_account && accounts::account(cx, &self.user)?.is_some() {
            let what = format!("remove the account {}, unless something is left in its home", self.user);
            undo = undo.act_if(what, |cx| self.remove_account(cx));
        }
        if made_group && accounts::group(cx, &self.user)?.is_some() {
            let what = format!("remove the group {}, if the account is gone", self.user);
            undo = undo.act_if(what, |cx| self.remove_group(cx));
        }
        Ok(undo)
    }
}

/// Remembered if they were made here.
const MADE_GROUP: &str = "made the group";
const MADE_ACCOUNT: &str = "made the account";

impl BuildHome {
    fn accept_account(&self, found: Option<HostAccount>) -> Result<()> {
        let Some(found) = found else { return Ok(()) };
        ensure!(
            found.name == self.user && found.uid == self.uid && found.gid == self.gid,
            "the account `{}` has uid {} and gid {}, the plan gives `{}` uid {} and gid {}: change one of them",
            found.name,
            found.uid,
            found.gid,
            self.user,
            self.uid,
            self.gid
        );
        ensure!(
            mounts::real(&found.home) == mounts::real(&self.path),
            "the home of `{}` is `{}`, the plan says `{}`: `usermod --home {2} {0}`",
            self.user,
            found.home.display(),
            self.path.display()
        );
        Ok(())
    }

    fn accept_group(&self, found: Option<HostGroup>) -> Result<()> {
        let Some(found) = found else { return Ok(()) };
        ensure!(
            found.name == self.user && found.gid == self.gid,
            "the group `{}` has gid {}, the plan gives `{}` gid {}: change one of them",
            found.name,
            found.gid,
            self.user,
            self.gid
        );
        Ok(())
    }

    /// Complains if the home is somebody else's. Root's is what a killed attempt may leave.
    fn accept_home(&self) -> Result<()> {
        let Some((uid, _)) = self.owner()? else { return Ok(()) };
        let home = self.path.display();
        ensure!(self.path.is_dir(), "the home `{home}` is there and is no directory: move it out of the way");
        ensure!(
            uid == self.uid || uid == 0,
            "the home `{home}` belongs to uid {uid}, not to `{0}`: `chown -R {0}:{0} {home}` if it is to be its",
            self.user
        );
        Ok(())
    }

    /// Which of the shadow files lacks the account or its group; only root can tell. Those that a directory service knows, and
    /// no file of this host, have no line there.
    fn missing_shadow(&self, cx: &Cx) -> Result<Option<&'static str>> {
        if !rustix::process::geteuid().is_root() {
            return Ok(None);
        }
        for (database, table) in [("shadow", "/etc/passwd"), ("gshadow", "/etc/group")] {
            let is_used =
                Path::new("/etc").join(database).exists() && accounts::is_shadowed(table, &self.user)?;
            if is_used && !accounts::has_entry(cx, database, &self.user)? {
                return Ok(Some(database));
            }
        }
        Ok(None)
    }

    /// Who owns the home, if there is one.
    fn owner(&self) -> Result<Option<(u32, u32)>> {
        match self.path.metadata() {
            Ok(data) => Ok(Some((data.uid(), data.gid()))),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error).with_context(|| format!("cannot look at `{}`", self.path.display())),
        }
    }

    /// Files without an account would be the next one's that gets its number.
    fn remove_account(&self, cx: &Cx) -> Result<Option<String>> {
        if self.path.is_dir() {
            return Ok(Some(format!("the account {} stays, since {} does", self.user, self.path.display())));
        }
        cx.run(&Cmd::new("userdel").arg(&self.user)).map(|()| None)
    }

    /// `userdel` removes the group of the same name, where login.defs says so.
    fn remove_group(&self, cx: &Cx) -> Result<Option<String>> {
        if accounts::account(cx, &self.user)?.is_some() {
            return Ok(Some(format!("the group {} stays, since the account does", self.user)));
        }
        if accounts::group(cx, &self.user)?.is_some() {
            cx.run(&Cmd::new("groupdel").arg(&self.user))?;
        }
        Ok(None)
    }

    fn make_home(&self, cx: &Cx) -> Result<()> {
        let home = self.path.display();
        ours::make_directories(cx, &self.path, 0o755)?;
        match self.owner()? {
            Some(owner) if owner == (self.uid, self.gid) => Ok(()),
            Some((uid, _)) if uid == 0 || uid == self.uid => {
                let (uid, gid) = (Uid::from_raw(self.uid), Gid::from_raw(self.gid));
                chownat(CWD, &self.path, Some(uid), Some(gid), AtFlags::empty())
                    .with_context(|| format!("cannot give `{home}` to `{}`", self.user))
            }
            other => bail!("the home `{home}` was to be `{}`'s, and belongs to {other:?}", self.user),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::BuildHome;
    use crate::farm::Farm;
    use crate::host::accounts::{HostAccount, HostGroup};
    use crate::step::FarmStep;

    fn step() -> BuildHome {
        BuildHome { path: "/home/abuild".into(), user: "abuild".to_owned(), uid: 399, gid: 399, zfs: None }
    }

    fn account(name: &str, uid: u32, home: &str) -> Option<HostAccount> {
        Some(HostAccount { name: name.to_owned(), uid, gid: 399, home: home.into() })
    }

    #[test]
    fn the_account_itself_is_accepted() {
        assert!(step().accept_account(account("abuild", 399, "/home/abuild")).is_ok());
        assert!(step().accept_account(None).is_ok());
        assert!(step().accept_group(Some(HostGroup { name: "abuild".to_owned(), gid: 399 })).is_ok());
    }

    #[track_caller]
    fn refused(found: Option<HostAccount>, why: &str) {
        let error = step().accept_account(found).expect_err("it is somebody else").to_string();
        assert!(error.contains(why), "{error}");
    }

    #[test]
    fn somebody_else_is_named() {
        refused(account("obs", 399, "/home/obs"), "the account `obs` has uid 399");
        refused(account("abuild", 1001, "/home/abuild"), "the account `abuild` has uid 1001");
        refused(account("abuild", 399, "/srv/abuild"), "`usermod --home /home/abuild abuild`");
        let group = step().accept_group(Some(HostGroup { name: "obs".to_owned(), gid: 399 }));
        assert!(group.expect_err("it is another").to_string().contains("the group `obs` has gid 399"));
    }

    #[test]
    fn the_farm_takes_the_plans_account() -> anyhow::Result<()> {
        let mut farm = Farm::default();
        BuildHome { uid: 500, gid: 501, ..step() }.shape(&mut farm)?;
        assert_eq!((farm.account.uid, farm.account.gid), (500, 501));
        assert!(BuildHome { uid: 0, ..step() }.shape(&mut farm).is_err());
        Ok(())
    }
}
