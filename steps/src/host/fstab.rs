//! What a step of ours has mounted, now and after a restart: its line in `/etc/fstab`, and the kernel's table of mounts.
//!
//! Lines of others stay as they are. It does not know what is kept there.

use super::lines;
use crate::mounts;
use crate::words;
use anyhow::{Context, Result, ensure};
use drover_engine::{Check, Claim, Cmd, Cx, HostFile};
use std::fs;
use std::path::{Path, PathBuf};

const FSTAB: &str = "/etc/fstab";
/// Remembered if it was mounted here.
const MOUNTED: &str = "mounted";

/// Something that is to be mounted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Mount {
    /// What: a device, a file, or `tmpfs`.
    pub(super) source: String,
    /// Where.
    pub(super) path: PathBuf,
    /// The kind of file system.
    pub(super) kind: &'static str,
    /// Its options.
    pub(super) options: String,
    /// Whose it is: a step's name, by which the line is marked.
    pub(super) step: &'static str,
}

/// Complains about a path that cannot stand in the table as it is.
pub(super) fn ensure_plain(path: &Path, what: &str) -> Result<()> {
    let shown = path.display().to_string();
    ensure!(
        words::path(&shown, what).is_ok() && !shown.contains([' ', '#', '\\']),
        "{what} `{shown}` must be a plain path from the root"
    );
    Ok(())
}

impl Mount {
    fn line(&self) -> String {
        let Self { source, path, kind, options, step } = self;
        format!("{source} {} {kind} {options} 0 0 # Drover: {step}", path.display())
    }

    fn is_here(&self, line: &str) -> bool {
        !line.trim_start().starts_with('#') && line.split_whitespace().nth(1) == self.path.to_str()
    }

    fn is_ours(&self, line: &str) -> bool {
        self.is_here(line) && line.ends_with(&format!("# Drover: {}", self.step))
    }

    /// The table with the line once, in place of an older one of ours.
    fn edited(&self, table: &str) -> String {
        if table.lines().filter(|line| self.is_ours(line)).eq([self.line()]) {
            return table.to_owned();
        }
        let others = table.lines().filter(|line| !self.is_ours(line));
        let others: String = others.map(|line| format!("{line}\n")).collect();
        lines::with_line(&others, &self.line())
    }

    /// Complains if the table has a line of somebody else's for this place.
    pub(super) fn ensure_ours(&self) -> Result<()> {
        let table = HostFile::new(FSTAB).read()?.unwrap_or_default();
        let foreign = table.lines().find(|line| self.is_here(line) && !self.is_ours(line));
        ensure!(
            foreign.is_none(),
            "{FSTAB} has the line `{}`, which is not ours: remove it, or leave the place as it is",
            foreign.unwrap_or_default()
        );
        Ok(())
    }

    /// Complains if what the directory holds would be hidden.
    pub(super) fn ensure_hides_nothing(&self) -> Result<()> {
        let path = self.path.display();
        if self.mounted()?.is_some() || !self.path.exists() {
            return Ok(());
        }
        let mut entries = fs::read_dir(&self.path).with_context(|| format!("cannot read `{path}`"))?;
        ensure!(entries.next().is_none(), "`{path}` holds something, which a mount would hide: move it away");
        let inside = drover_engine::mount_at_or_below(&self.path)?;
        ensure!(inside.is_none(), "something is mounted below `{path}`: umount it first");
        Ok(())
    }

    /// What is mounted there, as the kernel names it; `None` if nothing is.
    ///
    /// # Errors
    /// When something of another kind is.
    pub(super) fn mounted(&self) -> Result<Option<String>> {
        let table = mounts::all()?;
        let here = table.iter().rfind(|mount| mount.point == self.path);
        let Some(mount) = here else { return Ok(None) };
        ensure!(
            mount.kind == self.kind,
            "something else is mounted at `{0}`: `umount {0}`",
            self.path.display()
        );
        Ok(Some(mount.source.display().to_string()))
    }

    /// Whether it is mounted.
    ///
    /// # Errors
    /// When something else is.
    pub(super) fn is_mounted(&self) -> Result<bool> {
        let Some(device) = self.mounted()? else { return Ok(false) };
        let real = |path: &str| fs::canonicalize(path).unwrap_or_else(|_| path.into());
        let is = match device.strip_prefix("/dev/loop") {
            // What stands for a device is known by the device that stands for it.
            Some(number) if !self.source.starts_with("/dev/") => {
                let file = format!("/sys/block/loop{number}/loop/backing_file");
                fs::read_to_string(&file).with_context(|| format!("read `{file}`"))?.trim_end().into()
            }
            _ => real(&device),
        };
        ensure!(
            is == real(&self.source),
            "`{}` is mounted at `{1}`, not `{2}`: `umount {1}`",
            is.display(),
            self.path.display(),
            self.source
        );
        Ok(true)
    }

    /// Held by whoever changes the table.
    pub(super) fn lock() -> Claim {
        Claim::lock(FSTAB)
    }

    /// Whether the table has the line.
    pub(super) fn check_line(&self) -> Result<Check> {
        let file = HostFile::new(FSTAB);
        let table = file.read()?;
        let after = self.edited(table.as_deref().unwrap_or_default());
        Ok(Check::text(FSTAB, file.mode_there()?, table.as_deref(), &after))
    }

    /// Puts the line into the table.
    pub(super) fn write_line(&self) -> Result<()> {
        let file = HostFile::new(FSTAB);
        file.write(&self.edited(file.read()?.as_deref().unwrap_or_default()))
    }

    /// Whether there is something of ours to take back: that it was mounted here is remembered.
    pub(super) fn is_ours_to_undo(&self, cx: &Cx) -> Result<bool> {
        let table = HostFile::new(FSTAB).read()?.unwrap_or_default();
        let is_there = self.mounted()?.is_some() || table.lines().any(|line| self.is_ours(line));
        Ok(is_there && cx.has_made(MOUNTED)?)
    }

    /// Takes mount and line away.
    pub(super) fn unmount(&self, cx: &Cx) -> Result<()> {
        if self.mounted()?.is_some() {
            cx.run(&Cmd::new("umount").arg(&self.path))?;
        }
        let file = HostFile::new(FSTAB);
        let table = file.read()?.unwrap_or_default();
        let others = table.lines().filter(|line| !self.is_ours(line));
        file.write(&others.map(|line| format!("{line}\n")).collect::<String>())
    }

    /// Mounts it, with its options; or, where it is mounted, gives it those.
    pub(super) fn mount(&self, cx: &Cx) -> Result<()> {
        let again = self.mounted()?.is_some();
        if !again {
            cx.remember(MOUNTED, "")?;
        }
        let options = if again { format!("remount,{}", self.options) } else { self.options.clone() };
        cx.run(&Cmd::new("mount").args(["-t", self.kind, "-o", &options, &self.source]).arg(&self.path))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mount(options: &str) -> Mount {
        Mount {
            source: "tmpfs".to_owned(),
            path: "/home/abuild/work".into(),
            kind: "tmpfs",
            options: options.to_owned(),
            step: "TmpfsWorkspace",
        }
    }

    #[test]
    fn the_line_is_there_once_and_those_of_others_stay() {
        let table = "# static\n/dev/vda / ext4 defaults 0 1\n#tmpfs /home/abuild/work tmpfs x 0 0\n";
        let once = mount("size=1k").edited(table);
        assert_eq!(
            once,
            format!("{table}tmpfs /home/abuild/work tmpfs size=1k 0 0 # Drover: TmpfsWorkspace\n")
        );
        assert_eq!(mount("size=1k").edited(&once), once);
        let changed = mount("size=2k").edited(&once);
        assert_eq!(changed.lines().count(), 4, "{changed}");
        assert!(changed.contains("size=2k") && !changed.contains("size=1k"), "{changed}");
    }

    #[test]
    fn whose_a_line_is_is_told_by_its_mark() {
        let ours = mount("a").line();
        assert!(mount("b").is_ours(&ours) && mount("b").is_here(&ours));
        let theirs = "UUID=1  /home/abuild/work\text4 defaults 0 2";
        assert!(mount("b").is_here(theirs) && !mount("b").is_ours(theirs));
        assert!(!mount("b").is_here("/dev/vdb /home/abuild ext4 defaults 0 2"));
        assert!(ensure_plain(Path::new("/a/b"), "it").is_ok());
        assert!(
            ensure_plain(Path::new("/a b"), "it").is_err() && ensure_plain(Path::new("a"), "it").is_err()
        );
    }
}
