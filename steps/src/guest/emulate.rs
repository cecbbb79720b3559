//! Running the programs of a root file system: the only place through which any of them is run.
//!
//! Under an emulator or not, the call is the same: the kernel finds the interpreter by binfmt_misc. Whoever wants such
//! programs to run faster does it here. It does not know what they do.

use crate::assist::{Client, Help, Offer, offer};
use anyhow::{Context, Result};
use drover_assist::UNSYNCED;
use drover_engine::{Cmd, Cx, Interrupted, Jail};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// Where the packages that the farm shares are seen in a guest.
pub const PACKAGES: &str = "/tmp/packages";

/// A root file system whose programs are to be run.
#[derive(Clone, Debug)]
pub struct Guest {
    jail: Jail,
}

impl Guest {
    /// The system in `root`, with proc and sys.
    pub fn new(root: &Path) -> Self {
        Self { jail: Jail::chroot(root) }
    }

    /// Does a part of a step with natives in place of programs that do the same on every processor, where that can be. The
    /// run's report tells how many programs were native in the end, and why, if they were few. Should the part fail, the
    /// emulator alone has the last word: under assist, scripts can make no devices, and run no programs in a root of their
    /// own.
    ///
    /// # Errors
    /// Those of the part; or when it cannot be found out which way it can be done.
    pub(crate) fn assisted(
        &self,
        cx: &Cx,
        client: &Client<'_>,
        part: impl Fn(&Self) -> Result<()>,
    ) -> Result<()> {
        let Help { jail, count, tally } = match offer(cx, client, &self.jail)? {
            Offer::Native => return part(self),
            Offer::Off => {
                cx.remark("under plain qemu: assist is off");
                return part(self);
            }
            Offer::Plain(why) => {
                cx.warn(&format!("no program ran natively, all under plain qemu: {why}"));
                return part(self);
            }
            Offer::Assisted(help) => *help,
        };
        cx.note(&format!("{count} programs can run natively"));
        let ended = part(&Self { jail });
        tally.tell(cx);
        match ended {
            Err(error) if !error.is::<Interrupted>() => {
                cx.warn(&format!("failed with native programs, so again under plain qemu: {error:#}"));
                part(self)
            }
            ended => ended,
        }
    }

    /// A line of shell that runs its arguments as this system would, but in `root`, which may come to be only later and is a
    /// copy of this one.
    ///
    /// # Errors
    /// When something that it needs does not exist.
    pub fn line(&self, root: &Path) -> Result<String> {
        self.jail.line(root)
    }

    /// Whether native programs help.
    pub fn is_assisted(&self) -> bool {
        self.jail.foreign.is_some()
    }

    /// With the host's `packages` below [`PACKAGES`], read-only, in a `/tmp` of its own, which is `tmp` on the host: so
    /// nothing of it stays in the guest.
    ///
    /// # Errors
    /// When `tmp` cannot be made.
    pub fn with_packages(mut self, packages: PathBuf, tmp: &Path) -> Result<Self> {
        make_tmp(tmp)?;
        self.jail = self.jail.bind(tmp, "/tmp").bind_read_only(packages, PACKAGES);
        Ok(self)
    }

    /// With the host's directory `copies` below `target`, a name in the `/tmp` of [`Self::with_packages`], which is `tmp` on the
    /// host; read-only.
    ///
    /// # Errors
    /// When its place in `tmp` cannot be made.
    pub(crate) fn with_copies(mut self, copies: &Path, tmp: &Path, target: &str) -> Result<Self> {
        let name = Path::new(target).file_name().context("a directory has a name")?;
        let place = tmp.join(name);
        fs::create_dir_all(&place).with_context(|| format!("make `{}`", place.display()))?;
        self.jail = self.jail.bind_read_only(copies, target);
        Ok(self)
    }

    /// With the host's `file` in place of the one at `target`.
    #[must_use]
    pub fn with(mut self, file: &Path, target: &str) -> Self {
        self.jail = self.jail.bind(file, target);
        self
    }

    /// The same, where no program waits for the disk: for a system that is made anew if the machine should go down, and written
    /// as a whole in the end.
    ///
    /// # Errors
    /// When the program that does it cannot be written.
    pub(crate) fn unsynced(mut self, cx: &Cx) -> Result<Self> {
        if !UNSYNCED.is_empty() {
            self.jail = self.jail.unsynced(unsynced(cx)?);
        }
        Ok(self)
    }

    /// A program of the guest, with the environment in which packages are installed.
    pub fn command(&self, program: &str) -> Cmd {
        Cmd::new(program)
            .inside(&self.jail)
            .dir("/")
            .env("LC_ALL", "C")
            .env("HOME", "/root")
            .env("DEBIAN_FRONTEND", "noninteractive")
            .env("DEBCONF_NONINTERACTIVE_SEEN", "true")
    }

    /// dpkg of the guest, telling among its output how far it is. Not on its standard output itself, which dpkg would then
    /// close for the packages' scripts. It does not wait for the disk: whoever runs it sees to that in the end.
    pub fn dpkg(&self) -> Cmd {
        self.command("/bin/sh").args(["-c", "exec dpkg --force-unsafe-io --status-fd 3 \"$@\" 3>&1", "dpkg"])
    }
}

/// Where the program is that lets no other wait for the disk.
fn unsynced(cx: &Cx) -> Result<PathBuf> {
    let path = cx.cache("unsynced");
    let failed = || format!("write `{}`", path.display());
    if fs::read(&path).is_ok_and(|found| found == UNSYNCED) {
        return Ok(path);
    }
    let directory = path.parent().with_context(failed)?;
    fs::create_dir_all(directory).with_context(failed)?;
    // Others may be running the one that is there.
    let file = tempfile::NamedTempFile::new_in(directory).with_context(failed)?;
    fs::write(file.path(), UNSYNCED).with_context(failed)?;
    fs::set_permissions(file.path(), fs::Permissions::from_mode(0o700)).with_context(failed)?;
    let (file, temporary) = file.into_parts();
    // To be executed it may not be open for writing.
    drop(file);
    temporary.persist(&path).with_context(failed)?;
    Ok(path)
}

/// Runs a dpkg of [`Guest::dpkg`]: each time that a package reaches `state`, `reached` is told its name.
///
/// # Errors
/// When it does not end well.
pub fn watch_dpkg(cx: &Cx, dpkg: &Cmd, state: &str, mut reached: impl FnMut(&str)) -> Result<()> {
    cx.watch(dpkg, &mut |line| {
        if let Some(name) = package_in_state(line, state) {
            reached(name);
        }
    })
}

/// The name in a line such as `status: libc6:arm64: installed`, if the state is that.
fn package_in_state<'a>(line: &'a str, state: &str) -> Option<&'a str> {
    let (package, found) = line.strip_prefix("status: ")?.rsplit_once(": ")?;
    (found == state).then(|| package.split(':').next().unwrap_or(package))
}

/// The name in a line such as `processing: configure: libc6:arm64`.
pub fn package_to_configure(line: &str) -> Option<&str> {
    let package = line.strip_prefix("processing: configure: ")?;
    Some(package.split(':').next().unwrap_or(package))
}

/// A `/tmp` as guests have it, holding the directory that the packages are bound to.
fn make_tmp(tmp: &Path) -> Result<()> {
    let packages = tmp.join("packages");
    fs::create_dir_all(&packages).with_context(|| format!("make `{}`", packages.display()))?;
    let open = fs::Permissions::from_mode(0o1777);
    fs::set_permissions(tmp, open).with_context(|| format!("open `{}` to everybody", tmp.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn states_of_packages_are_read_from_what_dpkg_says() {
        let package = |line| package_in_state(line, "installed");
        assert_eq!(package("status: libc6:arm64: installed"), Some("libc6"));
        assert_eq!(package("status: adduser: installed"), Some("adduser"));
        assert_eq!(package("status: adduser: half-configured"), None);
        assert_eq!(package("processing: configure: adduser"), None);
        assert_eq!(package_to_configure("processing: configure: libc6:arm64"), Some("libc6"));
        assert_eq!(package_to_configure("processing: configure: adduser"), Some("adduser"));
        assert_eq!(package_to_configure("processing: trigproc: libc-bin"), None);
    }
}
