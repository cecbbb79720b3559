//! Trees with mounts and links in them, in a mount namespace of the tests' own. They need the right to make one.

use super::{mount_at_or_below, remove};
use anyhow::{Context, Result, ensure};
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Set for the copy of this program that runs in a mount namespace of its own.
const INSIDE: &str = "DROVER_TEST_INSIDE";

/// Runs `test` where it may mount: in a mount namespace that ends with it. Says so where that is not allowed.
fn may_mount(name: &str, test: impl FnOnce() -> Result<()>) -> Result<()> {
    if std::env::var_os(INSIDE).is_some() {
        return test();
    }
    let namespace = ["--user", "--map-root-user", "--mount", "--propagation", "private"];
    let namespace = if rustix::process::geteuid().is_root() { &namespace[2..] } else { &namespace[..] };
    let allowed = Command::new("unshare").args(namespace).arg("true").status()?;
    if !allowed.success() {
        println!("not tested: no mount namespace can be made here");
        return Ok(());
    }
    let test = format!("removal::tests::{name}");
    let ended = Command::new("unshare")
        .args(namespace)
        .arg(std::env::current_exe()?)
        .args(["--exact", &test, "--nocapture"])
        .env(INSIDE, "1")
        .output()?;
    let said = String::from_utf8_lossy(&ended.stdout).into_owned() + &String::from_utf8_lossy(&ended.stderr);
    ensure!(ended.status.success() && said.contains("1 passed"), "{said}");
    Ok(())
}

fn bind(source: &Path, target: &Path) -> Result<()> {
    let bound = Command::new("mount").arg("--bind").args([source, target]).status()?;
    ensure!(bound.success(), "`{}` cannot be bound", target.display());
    Ok(())
}

/// A tree five directories deep, and beside it, on the same file system, a directory with something precious in it.
struct World {
    dir: tempfile::TempDir,
}

const DEPTHS: [&str; 6] = ["", "a", "a/b", "a/b/c", "a/b/c/d", "a/b/c/d/e"];

impl World {
    fn new() -> Result<Self> {
        let world = Self { dir: tempfile::tempdir()? };
        fs::create_dir_all(world.tree().join(DEPTHS[5]))?;
        for depth in DEPTHS {
            fs::write(world.tree().join(depth).join("file"), depth)?;
        }
        fs::create_dir_all(world.path("precious/inside"))?;
        fs::write(world.path("precious/inside/data"), "precious")?;
        Ok(world)
    }

    fn path(&self, path: &str) -> PathBuf {
        self.dir.path().join(path)
    }

    fn tree(&self) -> PathBuf {
        self.path("tree")
    }

    fn is_untouched(&self) -> Result<()> {
        let data = fs::read_to_string(self.path("precious/inside/data")).context("the precious is gone")?;
        ensure!(data == "precious", "the precious is `{data}`");
        Ok(())
    }
}

fn plainly(path: &Path) -> Result<()> {
    remove(path, &mut || Ok(()))
}

#[test]
fn a_tree_goes_whole_and_links_are_not_followed() -> Result<()> {
    let world = World::new()?;
    symlink(world.path("precious"), world.tree().join("a/link"))?;
    symlink("../../precious", world.tree().join("relative"))?;
    plainly(&world.tree())?;
    assert!(!world.tree().exists());
    plainly(&world.tree())?;
    plainly(&world.path("never/was"))?;
    // A link in the tree's own place is what goes.
    symlink(world.path("precious"), world.tree())?;
    plainly(&world.tree())?;
    assert!(world.tree().symlink_metadata().is_err());
    world.is_untouched()
}

#[test]
fn a_bind_mount_at_any_depth_stops_it_before_anything_is_removed() -> Result<()> {
    may_mount("a_bind_mount_at_any_depth_stops_it_before_anything_is_removed", || {
        for depth in DEPTHS {
            let world = World::new()?;
            let target = world.tree().join(depth);
            bind(&world.path("precious"), &target)?;
            let error = plainly(&world.tree()).expect_err(depth).to_string();
            ensure!(error.contains("something is mounted at"), "{error}");
            assert_eq!(mount_at_or_below(&world.tree())?, Some(target.clone()), "{depth}");
            world.is_untouched()?;
            ensure!(Command::new("umount").arg(&target).status()?.success());
            assert_eq!(fs::read_to_string(target.join("file"))?, depth, "nothing was removed");
            plainly(&world.tree())?;
        }
        Ok(())
    })
}

/// `/var/cache/lxc` is such a link once the cache is relocated: what is compared with the kernel's table of mounts as it
/// was written is never found there.
#[test]
fn links_in_each_component_of_the_path_hide_no_mount() -> Result<()> {
    may_mount("links_in_each_component_of_the_path_hide_no_mount", || {
        let world = World::new()?;
        let parts: Vec<_> = DEPTHS[3].split('/').collect();
        for linked in 0..=parts.len() {
            // `linked` is where the path leads through a link.
            let real = parts[..linked].iter().fold(world.tree(), |path, part| path.join(part));
            let link = world.path(&format!("link-{linked}"));
            symlink(&real, &link)?;
            let path = parts[linked..].iter().fold(link, |path, part| path.join(part)).join("d");
            let target = path.join("e");
            bind(&world.path("precious"), &target)?;
            assert_eq!(mount_at_or_below(&path)?, Some(target.clone()), "{}", path.display());
            plainly(&path).expect_err("refused");
            world.is_untouched()?;
            ensure!(Command::new("umount").arg(&target).status()?.success());
        }
        Ok(())
    })
}

#[test]
fn a_file_that_is_a_mount_stops_it() -> Result<()> {
    may_mount("a_file_that_is_a_mount_stops_it", || {
        let world = World::new()?;
        bind(&world.path("precious/inside/data"), &world.tree().join("a/b/file"))?;
        plainly(&world.tree()).expect_err("refused");
        world.is_untouched()
    })
}

#[test]
fn a_mount_that_appears_meanwhile_is_not_entered() -> Result<()> {
    may_mount("a_mount_that_appears_meanwhile_is_not_entered", || {
        for (turn, depth) in DEPTHS.iter().enumerate().skip(1) {
            // Before the directory is opened, and while it is held open.
            for moment in [turn, turn + 1] {
                let world = World::new()?;
                let mut turns = 0;
                let ended = remove(&world.tree(), &mut || {
                    turns += 1;
                    let is_now = turns == moment && world.tree().join(depth).exists();
                    if is_now { bind(&world.path("precious"), &world.tree().join(depth)) } else { Ok(()) }
                });
                let error = format!("{:#}", ended.expect_err(depth));
                ensure!(error.contains("mounted"), "{error}");
                world.is_untouched()?;
            }
        }
        Ok(())
    })
}

#[test]
fn a_directory_that_is_exchanged_for_a_link_meanwhile_is_not_followed() -> Result<()> {
    let world = World::new()?;
    let mut turns = 0;
    let ended = remove(&world.tree(), &mut || {
        turns += 1;
        if turns == 2 {
            fs::rename(world.tree().join("a/b"), world.path("elsewhere"))?;
            symlink(world.path("precious"), world.tree().join("a/b"))?;
        }
        Ok(())
    });
    assert!(ended.is_ok(), "{ended:?}");
    world.is_untouched()
}

#[test]
fn a_tree_deeper_than_files_may_be_open_goes_too() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let top = dir.path().join("tree");
    fs::create_dir(&top)?;
    // Deeper than a path may be long, too: each part is made on its own, and then put into the one before.
    let part = |number: usize| dir.path().join(format!("part-{number}"));
    for number in (0..40).rev() {
        let deep = (0..100).fold(part(number), |path, _| path.join("d"));
        fs::create_dir_all(&deep)?;
        fs::write(deep.join("file"), "")?;
        if number < 39 {
            fs::rename(part(number + 1), deep.join("next"))?;
        }
    }
    fs::rename(part(0), top.join("deep"))?;
    plainly(&top)?;
    assert!(!top.exists());
    Ok(())
}

#[test]
fn what_the_pause_says_ends_it() -> Result<()> {
    let world = World::new()?;
    let mut turns = 0;
    let ended = remove(&world.tree(), &mut || {
        turns += 1;
        ensure!(turns < 3, "interrupted");
        Ok(())
    });
    assert!(format!("{:#}", ended.expect_err("ended")).contains("interrupted"));
    assert!(world.tree().exists());
    plainly(&world.tree())
}
