//! A text file of the host, edited so that it is always whole: old or new, never half; but for one that is a mount of its own,
//! and cannot be replaced.
//!
//! It does not know what the text means.

use crate::{Access, whole};
use anyhow::{Context, Result, bail};
use rustix::process::{getegid, geteuid};
use std::fs::File;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

/// A text file of the host.
#[derive(Clone, Debug)]
pub struct HostFile {
    path: PathBuf,
    mode: u32,
    owner: Option<(u32, u32)>,
}

impl HostFile {
    /// The file at `path`. Should it have to be made: mode 644, owned by whoever runs this.
    pub fn new(path: impl AsRef<Path>) -> Self {
        Self { path: path.as_ref().to_owned(), mode: 0o644, owner: None }
    }

    /// The mode it gets if it has to be made.
    #[must_use]
    pub fn mode(mut self, mode: u32) -> Self {
        self.mode = mode;
        self
    }

    /// The owner, uid and gid, it gets if it has to be made.
    #[must_use]
    pub fn owner(mut self, uid: u32, gid: u32) -> Self {
        self.owner = Some((uid, gid));
        self
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Its text; `None` if there is no such file.
    ///
    /// # Errors
    /// When it cannot be read, or is no regular file. Bytes that are not UTF-8 come through as they are, when the text is written.
    pub fn read(&self) -> Result<Option<String>> {
        let text = || -> Result<Option<String>> {
            let Some((dir, name)) = self.place()? else { return Ok(None) };
            match whole::open(&dir, &name)? {
                Some(file) => Ok(Some(whole::text(&file)?)),
                None => Ok(None),
            }
        };
        text().with_context(|| format!("read `{}`", self.path.display()))
    }

    /// Replaces its text: written beside it, flushed to disk, renamed. An existing file keeps its mode, owner and
    /// extended attributes; missing directories are made. A link is followed to the file it names. Writing what
    /// is there already changes nothing, not even the modification time. A file that is a mount of its own, as `/etc/hosts` is
    /// in many a container, is written where it is.
    ///
    /// # Errors
    /// When that fails; the old file is then untouched.
    pub fn write(&self, text: &str) -> Result<()> {
        let (uid, gid) = self.owner.unwrap_or_else(|| (geteuid().as_raw(), getegid().as_raw()));
        let access = Access { mode: self.mode, uid, gid };
        let written = || -> Result<()> {
            if let Some(dir) = self.path.parent() {
                std::fs::create_dir_all(dir).with_context(|| format!("make `{}`", dir.display()))?;
            }
            let (dir, name) = self.place()?.context("its directory is gone")?;
            whole::replace(&dir, &name, text, access)
        };
        written().with_context(|| format!("write `{}`", self.path.display()))
    }

    /// Its mode and owner; `None` if there is no such file.
    ///
    /// # Errors
    /// As [`HostFile::read`].
    pub fn access(&self) -> Result<Option<Access>> {
        let access = || -> Result<Option<Access>> {
            let Some((dir, name)) = self.place()? else { return Ok(None) };
            let Some(file) = whole::open(&dir, &name)? else { return Ok(None) };
            let stat = rustix::fs::fstat(&file)?;
            Ok(Some(Access { mode: stat.st_mode & 0o7777, uid: stat.st_uid, gid: stat.st_gid }))
        };
        access().with_context(|| format!("look at `{}`", self.path.display()))
    }

    /// Its mode; without such a file the one that it gets if it has to be made.
    ///
    /// # Errors
    /// As [`HostFile::read`].
    pub fn mode_there(&self) -> Result<u32> {
        Ok(self.access()?.map_or(self.mode, |access| access.mode))
    }

    /// Gives the file that is there this mode and owner.
    ///
    /// # Errors
    /// When it is not there, or that fails.
    pub fn set_access(&self, access: Access) -> Result<()> {
        let set = || -> Result<()> {
            let (dir, name) = self.place()?.context("its directory is gone")?;
            whole::set_access(whole::open(&dir, &name)?.context("it is gone")?, access)
        };
        set().with_context(|| format!("change mode and owner of `{}`", self.path.display()))
    }

    /// The directory of the file that it names, held open, and the name in it. `None` without such a directory.
    fn place(&self) -> Result<Option<(File, String)>> {
        let file = follow(&self.path)?;
        let name =
            file.file_name().context("it has no file name")?.to_str().context("its name is not UTF-8")?;
        let dir = match file.parent() {
            Some(dir) if dir != Path::new("") => dir,
            _ => Path::new("."),
        };
        match File::open(dir) {
            Ok(dir) => Ok(Some((dir, name.to_owned()))),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error).with_context(|| format!("open `{}`", dir.display())),
        }
    }
}

/// The path that `path` leads to when links at its end are followed; what it names need not exist.
fn follow(path: &Path) -> Result<PathBuf> {
    let mut path = path.to_owned();
    for _ in 0..40 {
        match std::fs::read_link(&path) {
            Ok(target) => path = path.parent().unwrap_or(Path::new("/")).join(target),
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::InvalidInput) => {
                return Ok(path);
            }
            Err(error) => return Err(error).with_context(|| format!("follow `{}`", path.display())),
        }
    }
    bail!("it is a link that leads in a circle; remove it");
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::fs::{FileType, Mode, XattrFlags, getxattr, mknodat, setxattr};
    use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

    fn names(dir: &Path) -> Vec<std::ffi::OsString> {
        std::fs::read_dir(dir).expect("a directory").flatten().map(|entry| entry.file_name()).collect()
    }

    #[test]
    fn a_new_file_gets_what_was_asked_for_and_its_directories() -> Result<()> {
        let dir = tempfile::tempdir()?;
        let file = HostFile::new(dir.path().join("etc/lxc/hosts")).mode(0o640);
        assert_eq!(file.read()?, None);
        file.write("a\n")?;
        assert_eq!(file.read()?.as_deref(), Some("a\n"));
        assert_eq!(file.path().metadata()?.mode() & 0o7777, 0o640);
        assert_eq!(names(&dir.path().join("etc/lxc")), ["hosts"]);
        Ok(())
    }

    #[test]
    fn an_old_file_keeps_mode_and_attributes_and_stays_untouched_where_nothing_changes() -> Result<()> {
        let dir = tempfile::tempdir()?;
        let path = dir.path().join("f");
        std::fs::write(&path, "old\n")?;
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o4711))?;
        setxattr(&path, "user.drover", b"kept", XattrFlags::empty())?;
        let before = path.metadata()?;

        HostFile::new(&path).write("old\n")?;
        assert_eq!(
            (path.metadata()?.ino(), path.metadata()?.mtime_nsec()),
            (before.ino(), before.mtime_nsec())
        );

        HostFile::new(&path).write("new\n")?;
        assert_eq!(std::fs::read_to_string(&path)?, "new\n");
        assert_eq!(path.metadata()?.mode(), before.mode());
        assert_ne!(path.metadata()?.ino(), before.ino());
        let mut value = [0; 16];
        let length = getxattr(&path, "user.drover", value.as_mut_slice())?;
        assert_eq!(&value[..length], b"kept");
        Ok(())
    }

    #[test]
    fn mode_and_owner_are_set_apart_from_the_text() -> Result<()> {
        let dir = tempfile::tempdir()?;
        let file = HostFile::new(dir.path().join("f"));
        assert_eq!(file.access()?, None);
        file.write("a\n")?;
        let wanted = Access { mode: 0o600, ..file.access()?.context("it is there")? };
        file.set_access(wanted)?;
        assert_eq!(file.access()?, Some(wanted));
        Ok(())
    }

    #[test]
    fn a_link_is_followed_to_the_file_it_names() -> Result<()> {
        let dir = tempfile::tempdir()?;
        std::fs::create_dir(dir.path().join("deep"))?;
        symlink("deep/second", dir.path().join("first"))?;
        symlink("../file", dir.path().join("deep/second"))?;
        let file = HostFile::new(dir.path().join("first"));
        assert_eq!(file.read()?, None);
        file.write("through\n")?;
        assert_eq!(std::fs::read_to_string(dir.path().join("file"))?, "through\n");
        assert!(dir.path().join("first").symlink_metadata()?.is_symlink());
        Ok(())
    }

    #[test]
    fn what_is_no_regular_file_is_refused_without_waiting_for_it() -> Result<()> {
        let dir = tempfile::tempdir()?;
        let fifo = dir.path().join("fifo");
        mknodat(rustix::fs::CWD, &fifo, FileType::Fifo, Mode::from_raw_mode(0o600), 0)?;
        symlink("loop", dir.path().join("loop"))?;
        let message =
            |name: &str| format!("{:#}", HostFile::new(dir.path().join(name)).read().expect_err("it fails"));
        assert!(message("fifo").contains("it is a FIFO"), "{}", message("fifo"));
        assert!(message("loop").contains("in a circle"), "{}", message("loop"));
        assert!(HostFile::new(&fifo).write("x").is_err());
        assert!(HostFile::new(dir.path()).write("x").is_err());
        Ok(())
    }

    #[test]
    fn bytes_that_are_no_text_stay_as_they_are() -> Result<()> {
        let dir = tempfile::tempdir()?;
        let file = HostFile::new(dir.path().join("f"));
        std::fs::write(file.path(), b"# caf\xe9\none\n")?;
        let text = file.read()?.context("it is there")?;
        file.write(&(text + "two\n"))?;
        assert_eq!(std::fs::read(file.path())?, b"# caf\xe9\none\ntwo\n");
        let check = crate::Check::text("f", 0o644, file.read()?.as_deref(), "one\n");
        assert!(format!("{check:?}").contains("caf\\\\xe9"), "{check:?}");
        Ok(())
    }

    /// In a copy of this program, which has mounts of its own.
    #[test]
    fn one_that_is_a_mount_of_its_own_is_written_where_it_is() -> Result<()> {
        const INSIDE: &str = "DROVER_TEST_MOUNTS";
        let unshare = || {
            let all = ["--user", "--map-root-user", "--mount", "--propagation", "private"];
            let mut command = std::process::Command::new("unshare");
            command.args(if geteuid().is_root() { &all[2..] } else { &all[..] });
            command
        };
        if std::env::var_os(INSIDE).is_none() {
            if !unshare().arg("true").status()?.success() {
                println!("not tested: no mount namespace can be made here");
                return Ok(());
            }
            let test = "host_file::tests::one_that_is_a_mount_of_its_own_is_written_where_it_is";
            let ended =
                unshare().arg(std::env::current_exe()?).args(["--exact", test]).env(INSIDE, "1").output()?;
            let said = String::from_utf8_lossy(&ended.stdout);
            assert!(ended.status.success() && said.contains("1 passed"), "{said}");
            return Ok(());
        }
        let dir = tempfile::tempdir()?;
        let (one, other) = (dir.path().join("hosts"), dir.path().join("elsewhere"));
        std::fs::write(&one, "")?;
        std::fs::write(&other, "long and longer\n")?;
        rustix::mount::mount_bind(&other, &one)?;
        for text in ["short\n", "and a longer one again\n"] {
            HostFile::new(&one).write(text)?;
            assert_eq!(std::fs::read_to_string(&one)?, text);
            assert_eq!(std::fs::read_to_string(&other)?, text);
        }
        assert_eq!(names(dir.path()).len(), 2, "nothing is left beside it");
        Ok(())
    }

    #[test]
    fn what_a_killed_writer_left_is_cleared_away() -> Result<()> {
        let dir = tempfile::tempdir()?;
        std::fs::write(dir.path().join(".f.drover-new"), "half")?;
        HostFile::new(dir.path().join("f")).write("whole\n")?;
        assert_eq!(names(dir.path()), ["f"]);
        Ok(())
    }
}
