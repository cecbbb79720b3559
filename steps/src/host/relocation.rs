//! A directory moved elsewhere, with a relative link left in its place. Used by `RelocateCache` and `RelocateHome`.
//!
//! Killed anywhere, the next attempt goes on: what is being copied lies in `PLACE.moving` and counts for nothing; what was
//! moved aside lies in `DIRECTORY.drover-moved` until the link stands. It does not know what the directory holds.

mod back;

use super::volume::Volume;
use anyhow::{Context, Result, bail, ensure};
use drover_engine::{Check, Cmd, Cx};
use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::symlink;
use std::path::{Component, Path, PathBuf};

/// A directory, and where it is to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Relocation {
    /// Where everybody looks for it.
    pub(super) from: PathBuf,
    /// Where it is to be.
    pub(super) to: PathBuf,
}

/// What is at a path.
#[derive(Debug, PartialEq, Eq)]
enum Found {
    Nothing,
    Link(PathBuf),
    Directory { empty: bool },
    Else,
}

impl Relocation {
    /// Complains about what cannot be, before anything is touched.
    pub(super) fn ensure_possible(&self, cx: &Cx) -> Result<()> {
        let Self { from, to } = self;
        ensure!(to.is_absolute() && from.is_absolute(), "`{}` must be a path from the root", to.display());
        ensure!(
            !to.starts_with(from) && !from.starts_with(to),
            "`{}` and `{}` are one in the other: choose another place",
            from.display(),
            to.display()
        );
        let (at_from, at_to) = (find(from)?, find(to)?);
        if let Found::Link(target) = &at_from {
            return self.ensure_ours(target);
        }
        ensure!(
            at_from != Found::Else,
            "`{}` is there and is no directory: move it out of the way",
            from.display()
        );
        if let Found::Else | Found::Link(_) = at_to {
            bail!(
                "`{}` is there and is no directory: move it out of the way, or choose another place",
                to.display()
            );
        }
        if at_from != (Found::Directory { empty: false }) {
            return Ok(());
        }
        ensure!(
            at_to != (Found::Directory { empty: false }),
            "both `{0}` and `{1}` hold something, and which is to stay is not for Drover to say: empty one of them \
             (`ls -A {0} {1}`)",
            from.display(),
            to.display()
        );
        let mounts = drover_engine::mount_at_or_below(from)?;
        ensure!(
            mounts.is_none(),
            "`{}` is mounted in `{}`, which is to be moved: umount it first",
            mounts.unwrap_or_default().display(),
            from.display()
        );
        let volume = Volume::of(to)?;
        if volume.holds(from)? { Ok(()) } else { volume.require_space(size(cx, from)?) }
    }

    /// Where a link that reads `target` leads in the old place.
    fn leads(&self, target: &Path) -> PathBuf {
        plain(&self.from.parent().unwrap_or(Path::new("/")).join(target))
    }

    /// Whether a link that is there leads where this one would.
    fn ensure_ours(&self, target: &Path) -> Result<()> {
        let leads = self.leads(target);
        ensure!(
            leads == self.to,
            "`{0}` is a link to `{1}` already, and the plan says `{2}`: remove the link (`rm {0}`), or say \
             `{1}` in the plan",
            self.from.display(),
            leads.display(),
            self.to.display()
        );
        Ok(())
    }

    /// Whether it is where it is to be, and the link stands.
    pub(super) fn check(&self) -> Result<Check> {
        let Self { from, to } = self;
        let reason = match find(from)? {
            Found::Nothing => format!("`{}` does not exist", from.display()),
            Found::Directory { .. } | Found::Else => {
                format!("`{}` is still in its old place", from.display())
            }
            Found::Link(target) => {
                self.ensure_ours(&target)?;
                if target.is_absolute() {
                    format!("the link `{}` is not relative", from.display())
                } else if find(to)? == Found::Nothing {
                    format!("`{}` does not exist", to.display())
                } else if find(&self.aside())? != Found::Nothing {
                    format!("`{}` is left of the move", self.aside().display())
                } else {
                    return Ok(Check::Satisfied);
                }
            }
        };
        Ok(Check::needed(reason))
    }

    /// Moves it.
    pub(super) fn apply(&self, cx: &Cx) -> Result<()> {
        self.ensure_possible(cx)?;
        // Moved aside, and no link yet: what was copied is complete.
        if find(&self.from)? == Found::Nothing && find(&self.aside())? != Found::Nothing {
            self.settle()?;
        }
        match find(&self.from)? {
            Found::Directory { empty: false } => self.carry(cx)?,
            Found::Directory { empty: true } => {
                fs::remove_dir(&self.from).with_context(|| format!("remove `{}`", self.from.display()))?;
            }
            _ => {}
        }
        fs::create_dir_all(&self.to).with_context(|| format!("make `{}`", self.to.display()))?;
        self.link()?;
        cx.remove_tree(&self.aside())
    }

    /// Brings what is in the old place to the new one.
    fn carry(&self, cx: &Cx) -> Result<()> {
        let above = self.to.parent().unwrap_or(Path::new("/"));
        fs::create_dir_all(above).with_context(|| format!("make `{}`", above.display()))?;
        if find(&self.to)? != Found::Nothing {
            fs::remove_dir(&self.to)
                .with_context(|| format!("remove `{}`, which is empty", self.to.display()))?;
        }
        match fs::rename(&self.from, &self.to) {
            Ok(()) => return Ok(()),
            Err(error) if error.kind() == ErrorKind::CrossesDevices => {}
            Err(error) => {
                let (from, to) = (self.from.display(), self.to.display());
                return Err(error).with_context(|| format!("rename `{from}` to `{to}`"));
            }
        }
        let moving = self.moving();
        cx.remove_tree(&moving)?;
        cx.run(&Cmd::new("cp").args(["--archive", "--one-file-system", "--"]).arg(&self.from).arg(&moving))?;
        cx.run(&Cmd::new("sync").arg("--file-system").arg(&moving))?;
        let aside = self.aside();
        fs::rename(&self.from, aside).with_context(|| format!("rename `{}`", self.from.display()))?;
        self.settle()
    }

    /// Gives what was copied its name, and links to it.
    fn settle(&self) -> Result<()> {
        if find(&self.to)? == Found::Nothing {
            let moving = self.moving();
            fs::rename(&moving, &self.to).with_context(|| format!("rename `{}`", moving.display()))?;
        }
        self.link()
    }

    /// Makes the link, in place of one that is not relative.
    fn link(&self) -> Result<()> {
        let target = relative(&self.from, &self.to);
        if let Found::Link(found) = find(&self.from)? {
            if found == target {
                return Ok(());
            }
            fs::remove_file(&self.from)
                .with_context(|| format!("remove the link `{}`", self.from.display()))?;
        }
        symlink(&target, &self.from).with_context(|| format!("make the link `{}`", self.from.display()))
    }

    /// Where it is while it is being copied.
    fn moving(&self) -> PathBuf {
        with_end(&self.to, ".moving")
    }

    /// Where what was copied lies until the link stands.
    fn aside(&self) -> PathBuf {
        with_end(&self.from, ".drover-moved")
    }
}

fn with_end(path: &Path, end: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(end);
    name.into()
}

fn find(path: &Path) -> Result<Found> {
    let data = match fs::symlink_metadata(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Found::Nothing),
        data => data.with_context(|| format!("look at `{}`", path.display()))?,
    };
    if data.is_symlink() {
        return Ok(Found::Link(
            fs::read_link(path).with_context(|| format!("read the link `{}`", path.display()))?,
        ));
    }
    if !data.is_dir() {
        return Ok(Found::Else);
    }
    let mut entries = fs::read_dir(path).with_context(|| format!("read `{}`", path.display()))?;
    Ok(Found::Directory { empty: entries.next().is_none() })
}

/// What is in a directory, in bytes.
fn size(cx: &Cx, path: &Path) -> Result<u64> {
    let said = cx
        .read(&Cmd::new("du").args(["--summarize", "--block-size=1", "--one-file-system", "--"]).arg(path))?;
    let number = said.split_whitespace().next().and_then(|number| number.parse().ok());
    number.with_context(|| format!("`du` says `{}` of `{}`", said.trim(), path.display()))
}

/// The path without `.` and `..`.
fn plain(path: &Path) -> PathBuf {
    let mut plain = PathBuf::new();
    for part in path.components() {
        match part {
            Component::ParentDir => drop(plain.pop()),
            Component::CurDir => {}
            part => plain.push(part),
        }
    }
    plain
}

/// What a link at `link` reads that leads to `to`, as `ln --relative` has it.
fn relative(link: &Path, to: &Path) -> PathBuf {
    let above = link.parent().unwrap_or(Path::new("/"));
    let shared = above.components().zip(to.components()).take_while(|(one, other)| one == other).count();
    let up = above.components().skip(shared).map(|_| Component::ParentDir);
    up.chain(to.components().skip(shared)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    struct World {
        place: tempfile::TempDir,
        cx: Cx,
    }

    impl World {
        fn new() -> Result<Self> {
            Ok(Self { place: tempfile::tempdir()?, cx: Cx::to_look() })
        }

        fn relocation(&self) -> Relocation {
            let path = |path: &str| self.place.path().join(path);
            Relocation { from: path("var/cache/lxc"), to: path("srv/cache-lxc") }
        }

        fn fill(&self, path: &Path) -> Result<()> {
            fs::create_dir_all(path.join("debian"))?;
            fs::write(path.join("debian/data"), "data\n")?;
            Ok(symlink("data", path.join("debian/link"))?)
        }

        fn is_done(&self) -> Result<()> {
            let Relocation { from, to } = self.relocation();
            assert_eq!(fs::read_link(&from)?, Path::new("../../srv/cache-lxc"));
            assert_eq!(fs::read_to_string(to.join("debian/data"))?, "data\n");
            assert_eq!(fs::read_link(from.join("debian/link"))?, Path::new("data"));
            assert_eq!(self.relocation().check()?, Check::Satisfied);
            let left = fs::read_dir(from.parent().context("var/cache")?)?.count();
            assert_eq!(left, 1, "nothing lies about");
            Ok(())
        }
    }

    #[test]
    fn needed_then_moved_then_left_alone() -> Result<()> {
        let world = World::new()?;
        let relocation = world.relocation();
        world.fill(&relocation.from)?;
        assert!(!relocation.check()?.is_satisfied());
        assert!(relocation.from.is_dir(), "a check moves nothing");
        for _ in 0..2 {
            relocation.apply(&world.cx)?;
            world.is_done()?;
        }
        Ok(())
    }

    #[test]
    fn nothing_there_is_made_and_an_empty_place_is_used() -> Result<()> {
        let world = World::new()?;
        let relocation = world.relocation();
        fs::create_dir_all(relocation.from.parent().context("var/cache")?)?;
        relocation.apply(&world.cx)?;
        assert!(relocation.from.is_symlink() && relocation.to.is_dir());
        fs::remove_file(&relocation.from)?;
        world.fill(&relocation.to)?;
        fs::create_dir_all(&relocation.from)?;
        relocation.apply(&world.cx)?;
        world.is_done()
    }

    /// As a kill leaves it at each point of a move to another file system.
    #[test]
    fn killed_anywhere_it_goes_on() -> Result<()> {
        for point in ["copying", "copied", "aside", "named", "linked"] {
            let world = World::new()?;
            let relocation = world.relocation();
            world.fill(&relocation.from)?;
            fs::create_dir_all(relocation.to.parent().context("srv")?)?;
            match point {
                "copying" => fs::create_dir_all(relocation.moving().join("debian"))?,
                "copied" => world.fill(&relocation.moving())?,
                _ => {
                    let place = if point == "aside" { relocation.moving() } else { relocation.to.clone() };
                    world.fill(&place)?;
                    fs::rename(&relocation.from, relocation.aside())?;
                    if point == "linked" {
                        relocation.link()?;
                    }
                }
            }
            assert!(!relocation.check()?.is_satisfied(), "{point}");
            relocation.apply(&world.cx).with_context(|| point.to_owned())?;
            world.is_done().with_context(|| point.to_owned())?;
        }
        Ok(())
    }

    #[test]
    fn what_is_not_ours_to_decide_is_refused() -> Result<()> {
        let world = World::new()?;
        let relocation = world.relocation();
        let refused = |says: &str| {
            let error = format!("{:#}", relocation.ensure_possible(&world.cx).expect_err("refused"));
            assert!(error.contains(says), "{error}");
        };
        world.fill(&relocation.from)?;
        world.fill(&relocation.to)?;
        refused("both");
        fs::remove_dir_all(&relocation.from)?;
        symlink("/elsewhere/cache", &relocation.from)?;
        refused("is a link to `/elsewhere/cache` already");
        assert!(relocation.check().is_err());
        fs::remove_file(&relocation.from)?;
        fs::write(&relocation.from, "")?;
        refused("is no directory");
        // An absolute link to the right place is made a relative one.
        fs::remove_file(&relocation.from)?;
        symlink(&relocation.to, &relocation.from)?;
        assert!(!relocation.check()?.is_satisfied());
        relocation.apply(&world.cx)?;
        world.is_done()
    }
}
