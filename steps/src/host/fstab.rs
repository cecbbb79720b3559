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

    /// Whether a line is about this place, by whatever links and with whatever slashes it names it.
    fn is_here(&self, line: &str) -> bool {
        let place = field(line, 1).map(PathBuf::from);
        place.is_some_and(|place| place == self.path || mounts::real(&place) == mounts::real(&self.path))
    }

    /// Whether a line of somebody else's mounts just this, by whatever name: then ours is not needed.
    fn is_same(&self, line: &str) -> bool {
        let is_kind = field(line, 2).is_some_and(|kind| kind == self.kind || kind == "auto");
        let by = field(line, 0).map(|source| device(&source));
        is_kind
            && self.kind != "tmpfs"
            && self.is_here(line)
            && !self.is_ours(line)
            && by == Some(device(&self.source))
    }

    fn is_ours(&self, line: &str) -> bool {
        self.is_here(line) && line.ends_with(&format!("# Drover: {}", self.step))
    }

    /// The table with the line once, in place of an older one of ours.
    fn edited(&self, table: &str) -> String {
        let is_ours = table.lines().filter(|line| self.is_ours(line)).eq([self.line()]);
        if is_ours || table.lines().any(|line| self.is_same(line)) {
            return table.to_owned();
        }
        let others = table.lines().filter(|line| !self.is_ours(line));
        let others: String = others.map(|line| format!("{line}\n")).collect();
        lines::with_line(&others, &self.line())
    }

    /// Complains if the table has a line of somebody else's for this place.
    pub(super) fn ensure_ours(&self) -> Result<()> {
        let table = HostFile::new(FSTAB).read()?.unwrap_or_default();
        let is_foreign = |line: &&str| self.is_here(line) && !self.is_ours(line) && !self.is_same(line);
        let foreign = table.lines().find(is_foreign);
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
        let place = mounts::real(&self.path);
        let here = table.iter().rfind(|mount| mount.point == place);
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
        let is = match device.strip_prefix("/dev/loop") {
            // What stands for a device is known by the device that stands for it.
            Some(number) if !self.source.starts_with("/dev/") => {
                let file = format!("/sys/block/loop{number}/loop/backing_file");
                fs::read_to_string(&file).with_context(|| format!("read `{file}`"))?.trim_end().into()
            }
            _ => self::device(&device),
        };
        ensure!(
            is == self::device(&self.source),
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

/// The field of that number in a line of the table, as it is meant: blanks are written as a backslash and three octal digits.
fn field(line: &str, number: usize) -> Option<String> {
    let line = line.trim_start();
    let field = line.split_whitespace().nth(number).filter(|_| !line.starts_with('#'))?;
    Some(
        ["\\040", "\\011", "\\134"]
            .iter()
            .zip([" ", "\t", "\\"])
            .fold(field.to_owned(), |field, (from, to)| field.replace(from, to)),
    )
}

/// What a name of a file system in the table stands for: `UUID=...` and the like for a device.
fn device(source: &str) -> PathBuf {
    const NAMES: [(&str, &str); 5] = [
        ("UUID=", "uuid"),
        ("LABEL=", "label"),
        ("PARTUUID=", "partuuid"),
        ("PARTLABEL=", "partlabel"),
        ("ID=", "id"),
    ];
    let named = NAMES.iter().find_map(|(tag, by)| Some((by, source.strip_prefix(tag)?.trim_matches('"'))));
    let path = named.map_or_else(
        || PathBuf::from(source),
        |(by, name)| PathBuf::from(format!("/dev/disk/by-{by}/{name}")),
    );
    mounts::real(&path)
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
    fn what_somebody_else_mounts_by_another_name_is_mounted() -> Result<()> {
        let place = tempfile::tempdir()?;
        let root = place.path().canonicalize()?;
        let at = |name: &str| root.join(name).display().to_string();
        fs::write(root.join("disk"), "")?;
        std::os::unix::fs::symlink("disk", root.join("by-uuid"))?;
        fs::create_dir(root.join("srv"))?;
        std::os::unix::fs::symlink("srv", root.join("link"))?;
        let ours = Mount { source: at("disk"), path: root.join("srv"), kind: "btrfs", ..mount("noatime") };
        for line in [
            format!("{} {} btrfs defaults 0 0\n", at("by-uuid"), at("srv")),
            format!("{} {}/ auto defaults\n", at("disk"), at("link")),
        ] {
            assert_eq!(ours.edited(&line), line);
        }
        for line in [
            format!("{} {} btrfs defaults 0 0\n", at("other"), at("srv")),
            format!("{} {} ext4 defaults 0 0\n", at("disk"), at("srv")),
            format!("#{} {} btrfs defaults 0 0\n", at("disk"), at("srv")),
        ] {
            assert!(ours.edited(&line).ends_with("# Drover: TmpfsWorkspace\n"), "{line}");
        }
        assert_eq!(device("UUID=\"1-2\""), Path::new("/dev/disk/by-uuid/1-2"));
        assert_eq!(device("LABEL=x"), Path::new("/dev/disk/by-label/x"));
        let blank = Mount { path: "/srv/a b".into(), ..mount("x") };
        assert!(blank.is_here("tmpfs /srv/a\\040b/ tmpfs x 0 0"));
        Ok(())
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
