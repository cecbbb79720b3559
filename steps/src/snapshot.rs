//! Copies of trees that cost nothing, where the file system is Btrfs, and as little as can be elsewhere.
//!
//! It does not know what the trees are.

use crate::program;
use anyhow::{Context, Result};
use drover_engine::{Cmd, Cx};
use rustix::fs::statfs;
use std::fs;
use std::path::Path;

/// The magic number that statfs(2) lists.
const BTRFS: u64 = 0x9123_683e;

/// Whether `path` is on Btrfs, and this host has the program for it.
///
/// # Errors
/// When that cannot be found out.
pub fn is_possible(path: &Path) -> Result<bool> {
    let found = statfs(path).with_context(|| format!("look at the file system of `{}`", path.display()))?;
    Ok(u64::from(found.f_type as u32) == BTRFS && program::find("btrfs").is_some())
}

/// Makes the directory `path`, of which snapshots can be made if its file system lets us.
///
/// # Errors
/// When it cannot be made.
pub fn make_tree(cx: &Cx, path: &Path) -> Result<()> {
    let shown = path.display();
    let parent = path.parent().with_context(|| format!("`{shown}` has no directory above it"))?;
    fs::create_dir_all(parent).with_context(|| format!("make `{}`", parent.display()))?;
    if path.is_dir() || !is_possible(parent)? {
        return fs::create_dir_all(path).with_context(|| format!("make `{shown}`"));
    }
    cx.run(&Cmd::new("btrfs").args(["subvolume", "create"]).arg(path))
}

/// A program that stands in for `rsync`: a whole copy of `tree` to somewhere that is empty becomes a snapshot of it; where
/// `tree` is no subvolume, or there is no Btrfs, a copy by `cp`, which shares blocks where it can; everything else is for the
/// real `rsync`, also what `cp` could not bring to its end.
pub fn rsync(tree: &Path, real: &Path) -> Result<String> {
    let snapshot = if is_possible(tree)? {
        "\tif [ \"$(stat -c %i \"$from\")\" = 256 ] && rmdir \"$to\"; then\n\
         \t\tbtrfs subvolume snapshot \"${from%/}\" \"${to%/}\" && exit 0\n\
         \t\tmkdir \"$to\"\n\
         \tfi\n"
    } else {
        ""
    };
    Ok(format!(
        "#!/bin/sh\n\
         # In PATH of the template of lxc-create only; see the manual of the step LxcCreate.\n\
         from= to=\n\
         for word; do from=$to to=$word; done\n\
         if [ \"${{from%/}}\" = '{tree}' ]; then\n\
         {snapshot}\
         \tcp --archive --reflink=auto \"$from/.\" \"$to\" && exit 0\n\
         fi\n\
         exec '{real}' \"$@\"\n",
        tree = tree.display(),
        real = real.display()
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use drover_engine::HostFile;
    use std::os::unix::fs::MetadataExt;

    /// The tree is copied whole, and what is not about it, or what `cp` does not bring to its end, is for the real one.
    #[test]
    fn the_real_one_does_what_is_left() -> Result<()> {
        let dir = tempfile::tempdir()?;
        let path = |name: &str| dir.path().join(name);
        fs::create_dir_all(path("tree/b"))?;
        fs::create_dir_all(path("to"))?;
        fs::write(path("tree/a"), "a")?;
        fs::hard_link(path("tree/a"), path("tree/b/c"))?;
        HostFile::new(path("real")).mode(0o755).write("#!/bin/sh\necho real \"$@\"\n")?;
        HostFile::new(path("rsync")).mode(0o755).write(&rsync(&path("tree"), &path("real"))?)?;
        let cx = Cx::to_look();
        let run = |from: &str, to: &str| {
            let words = ["-a", from, to].map(str::to_owned);
            cx.read(&Cmd::new(path("rsync")).args(words))
        };
        let (tree, to) = (format!("{}/", path("tree").display()), format!("{}/", path("to").display()));
        assert!(run("/elsewhere/", &to)?.starts_with("real -a /elsewhere/"));
        assert_eq!(run(&tree, &to)?, "");
        let copy = fs::metadata(path("to/a"))?;
        assert_eq!((copy.ino(), copy.nlink()), (fs::metadata(path("to/b/c"))?.ino(), 2));
        let nowhere = format!("{}/", path("real").display());
        assert!(run(&tree, &nowhere)?.starts_with("real -a"));
        Ok(())
    }

    #[test]
    fn a_tree_is_made_wherever_it_is() -> Result<()> {
        let dir = tempfile::tempdir()?;
        make_tree(&Cx::to_look(), &dir.path().join("a/b"))?;
        make_tree(&Cx::to_look(), &dir.path().join("a/b"))?;
        assert!(dir.path().join("a/b").is_dir());
        Ok(())
    }
}
