//! What a proof by ssh depends on: as long as none of it changes, the proof holds.
//!
//! Everything is looked at from outside of the container, by its files and processes, and nothing is run in it. It does not
//! know how a proof is made, nor when one was.

use crate::container::Container;
use crate::domain;
use crate::host::registration;
use anyhow::{Context, Result};
use drover_engine::Cx;
use sha2::{Digest, Sha256};
use std::fmt;
use std::fs::{self, Metadata};
use std::io::ErrorKind;
use std::net::Ipv4Addr;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// Files of the host by which names are found and ssh is set up. That the name leads to the address is looked at each time.
const HOST_FILES: [&str; 4] =
    ["/etc/nsswitch.conf", "/etc/passwd", "/etc/ssh/ssh_config", "/etc/ssh/ssh_config.d"];
/// What the build account has for ssh, below its home. A list of hosts that are known is not among it: ours is made anew.
const ACCOUNT_FILES: [&str; 4] = [".ssh/id_rsa", ".ssh/id_rsa.pub", ".ssh/authorized_keys", ".ssh/config"];
/// Directories that sshd distrusts unless they belong to the account alone.
const ACCOUNT_DIRECTORIES: [&str; 2] = ["", ".ssh"];
/// What is in a container beside its `/etc`: what is installed, by Debian's list or those of RPM, and sshd itself.
const GUEST_FILES: [&str; 5] = [
    "var/lib/dpkg/status",
    "var/lib/rpm/Packages",
    "var/lib/rpm/rpmdb.sqlite",
    "usr/lib/sysimage/rpm/rpmdb.sqlite",
    "usr/sbin/sshd",
];
/// How files at the top of a container's `/etc` are called that it writes while it runs, and that sshd does not read. A client
/// of DHCP makes its new `resolv.conf` beside the old one.
const RESTLESS: [&str; 3] = ["resolv.conf", "adjtime", "mtab"];

/// A digest of all that a proof of this container, at `address`, depends on; `None` while it does not run.
///
/// # Errors
/// When something that is there cannot be looked at.
pub(super) fn digest(cx: &Cx, at: &Container, address: Ipv4Addr) -> Result<Option<String>> {
    let Some(instance) = instance(cx, at)? else { return Ok(None) };
    let mut inputs = Inputs::default();
    let account = &at.farm.account;
    inputs.add(&format_args!("{instance} {} {} {address} {account:?}", at.name, at.base.arch.uname()));
    let registration = registration(at.base.arch)?;
    inputs.add(&format_args!("{registration:?}"));
    if let Some(registration) = registration {
        inputs.tree(&registration.interpreter, &[])?;
    }
    for path in HOST_FILES {
        inputs.tree(Path::new(path), &[])?;
    }
    for path in ACCOUNT_DIRECTORIES {
        inputs.owner(&account.home.join(path))?;
    }
    for path in ACCOUNT_FILES {
        inputs.tree(&account.home.join(path), &[])?;
    }
    let rootfs = at.rootfs();
    inputs.tree(&rootfs.join("etc"), &RESTLESS)?;
    for path in GUEST_FILES {
        inputs.tree(&rootfs.join(path), &[])?;
    }
    Ok(Some(inputs.digest()))
}

/// The very start of the container that runs now.
fn instance(cx: &Cx, at: &Container) -> Result<Option<String>> {
    let Some(process) = domain::process(cx, &at.name)? else { return Ok(None) };
    let boot = "/proc/sys/kernel/random/boot_id";
    let boot = fs::read_to_string(boot).with_context(|| format!("read `{boot}`"))?;
    let stat = format!("/proc/{process}/stat");
    let text = match fs::read_to_string(&stat) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        text => text.with_context(|| format!("read `{stat}`"))?,
    };
    // Field 22, counted from behind the name, which may hold anything.
    let fields = text.rsplit_once(')').map_or("", |(_, fields)| fields);
    let started = fields.split_whitespace().nth(19).with_context(|| format!("`{stat}` has no start time"))?;
    Ok(Some(format!("{} {process} {started}", boot.trim())))
}

/// What was looked at, a line each.
#[derive(Default)]
struct Inputs(Sha256);

impl Inputs {
    fn add(&mut self, line: &fmt::Arguments<'_>) {
        self.0.update(format!("{line}\n"));
    }

    /// A file, and all below it, but for those at its top whose names begin with one of `without`. Links are not followed, and what
    /// is not there is noted as that. A change of any kind shows in the time of the last change, which nobody can set.
    fn tree(&mut self, path: &Path, without: &[&str]) -> Result<()> {
        let Some(meta) = look(path)? else {
            self.add(&format_args!("{} -", path.display()));
            return Ok(());
        };
        if !meta.is_dir() {
            self.add(&format_args!(
                "{} {} {} {} {}.{}",
                path.display(),
                meta.mode(),
                meta.ino(),
                meta.size(),
                meta.ctime(),
                meta.ctime_nsec()
            ));
            return Ok(());
        }
        self.owner(path)?;
        for below in members(path)? {
            let name = below.file_name().unwrap_or_default().to_string_lossy();
            if !without.iter().any(|beginning| name.starts_with(beginning)) {
                self.tree(&below, &[])?;
            }
        }
        Ok(())
    }

    /// Whose a file is, and who may do what with it; not when it was changed.
    fn owner(&mut self, path: &Path) -> Result<()> {
        match look(path)? {
            Some(meta) => {
                let (mode, uid, gid) = (meta.mode(), meta.uid(), meta.gid());
                self.add(&format_args!("{} {mode} {uid} {gid}", path.display()));
            }
            None => self.add(&format_args!("{} -", path.display())),
        }
        Ok(())
    }

    fn digest(self) -> String {
        crate::archives::hex(&self.0.finalize())
    }
}

/// What is at `path`, a link at its end not followed; `None` if nothing is, or no longer.
fn look(path: &Path) -> Result<Option<Metadata>> {
    match path.symlink_metadata() {
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => Ok(None),
        meta => meta.map(Some).with_context(|| format!("look at `{}`", path.display())),
    }
}

/// The files of a directory, in the order of their names; none if it is gone by now.
fn members(directory: &Path) -> Result<Vec<PathBuf>> {
    let doing = || format!("read `{}`", directory.display());
    let entries = match directory.read_dir() {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.with_context(doing)?,
    };
    let paths = entries.map(|entry| entry.map(|entry| entry.path()));
    let mut paths: Vec<_> = paths.collect::<Result<_, _>>().with_context(doing)?;
    paths.sort_unstable();
    Ok(paths)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{PermissionsExt, symlink};

    fn digest(path: &Path) -> String {
        let mut inputs = Inputs::default();
        inputs.tree(path, &RESTLESS).expect("looked at");
        inputs.digest()
    }

    #[test]
    fn every_change_of_a_tree_shows_and_nothing_else_does() {
        let place = tempfile::tempdir().expect("directory");
        let etc = place.path().join("etc");
        fs::create_dir_all(etc.join("ssh")).expect("made");
        fs::write(etc.join("ssh/sshd_config"), "AcceptEnv *\n").expect("written");
        fs::write(etc.join("passwd"), "root:x:0:0::/root:/bin/sh\n").expect("written");
        let mut seen = vec![digest(&etc)];
        assert_eq!(digest(&etc), seen[0], "nothing has changed");
        fs::write(etc.join("resolv.conf"), "nameserver 10.0.3.1\n").expect("written");
        fs::write(etc.join("resolv.conf.dhclient-new.17"), "").expect("written");
        assert_eq!(digest(&etc), seen[0], "a lease was renewed");
        let mut changed = |what: &str| {
            let now = digest(&etc);
            assert!(!seen.contains(&now), "{what}");
            seen.push(now);
        };
        // The same text by another file, as an editor leaves it.
        fs::write(etc.join("new"), "AcceptEnv *\n").expect("written");
        fs::rename(etc.join("new"), etc.join("ssh/sshd_config")).expect("renamed");
        changed("a file was replaced by an equal one");
        fs::set_permissions(etc.join("passwd"), fs::Permissions::from_mode(0o600)).expect("set");
        changed("a mode was changed");
        fs::create_dir(etc.join("ssh/sshd_config.d")).expect("made");
        changed("a directory was made");
        symlink("/nowhere", etc.join("ssh/sshd_config.d/ours.conf")).expect("linked");
        changed("a link was made");
        fs::write(etc.join("ssh/resolv.conf"), "").expect("written");
        changed("only the one at the top is of no interest");
        fs::remove_file(etc.join("passwd")).expect("removed");
        changed("a file was removed");
        fs::remove_dir_all(&etc).expect("removed");
        changed("all was removed");
    }
}
