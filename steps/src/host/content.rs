//! What a device, or a file that stands for one, holds: looked at before anything is formatted. Reads only.
//!
//! It does not know what it is wanted for.

use anyhow::{Context, Result, bail};
use drover_engine::{Cmd, Cx};
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;

/// The name that file systems of ours have.
pub(super) const LABEL: &str = "drover-storage";
/// How much of the beginning and of the end has to be empty: partition tables, superblocks and their copies are there.
const MARGIN: u64 = 1 << 20;
/// Where btrfs has its superblock, and in it what `mkfs.btrfs` writes there until it is done.
const BTRFS_MAGIC: u64 = (64 << 10) + 64;
const BTRFS_UNFINISHED: &[u8] = b"!BHRfS_M";

/// What is on a device or in a file.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Content {
    /// Nothing, or what a `mkfs` that was killed has left.
    Blank,
    /// A file system that has our name.
    Ours,
    /// Something else.
    Foreign(String),
}

/// Looks at it.
///
/// # Errors
/// When it cannot be read.
fn of(cx: &Cx, path: &Path) -> Result<Content> {
    let look = Cmd::new("wipefs").args(["--no-act", "--parsable", "--output", "TYPE,LABEL"]).arg(path);
    let listed = cx.read(&look).with_context(|| format!("look at what `{}` holds", path.display()))?;
    let signatures: Vec<_> =
        listed.lines().filter(|line| !line.starts_with('#') && !line.is_empty()).collect();
    match signatures.as_slice() {
        [] if is_empty(path)? => Ok(Content::Blank),
        [] => Ok(Content::Foreign("data without a signature".to_owned())),
        [one] if one.split(',').nth(1) == Some(LABEL) => Ok(Content::Ours),
        [one, ..] => Ok(Content::Foreign(one.trim_end_matches(',').replace(',', " called "))),
    }
}

/// Whether nothing can be told to be there.
fn is_empty(path: &Path) -> Result<bool> {
    let mut file = File::open(path).with_context(|| format!("open `{}`", path.display()))?;
    let size = file.seek(SeekFrom::End(0))?;
    let mut read = |from: u64, length: u64| -> Result<Vec<u8>> {
        let mut bytes = Vec::new();
        file.seek(SeekFrom::Start(from))?;
        file.by_ref().take(length).read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    if read(BTRFS_MAGIC, 8)? == BTRFS_UNFINISHED {
        return Ok(true);
    }
    let ends = [read(0, MARGIN)?, read(size.saturating_sub(MARGIN), MARGIN)?];
    Ok(ends.iter().flatten().all(|byte| *byte == 0))
}

/// Whether it holds a file system of ours; if not, it is blank.
///
/// # Errors
/// When it holds something else: says what, and how to go on.
pub(super) fn is_ours(cx: &Cx, path: &Path) -> Result<bool> {
    match of(cx, path)? {
        Content::Blank => Ok(false),
        Content::Ours => Ok(true),
        Content::Foreign(what) => bail!(
            "`{0}` holds something ({what}), and nothing that holds data is ever formatted: name another; or, if nobody needs \
             it, `wipefs --all {0}` and `dd if=/dev/zero of={0} bs=1M count=1 conv=notrunc`",
            path.display()
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_empty_is_blank() -> Result<()> {
        let dir = tempfile::tempdir()?;
        let path = dir.path().join("image");
        let cx = Cx::to_look();
        let hold = |at: u64, bytes: &[u8]| -> Result<Content> {
            use std::os::unix::fs::FileExt;
            let file = File::create(&path)?;
            file.set_len(8 << 20)?;
            file.write_all_at(bytes, at)?;
            of(&cx, &path)
        };
        assert_eq!(hold(0, b"")?, Content::Blank);
        assert_eq!(hold(512, b"my only copy")?, Content::Foreign("data without a signature".to_owned()));
        assert_eq!(hold((8 << 20) - 4, b"tail")?, Content::Foreign("data without a signature".to_owned()));
        // The magic of ext2, 3 and 4 alone.
        let signed = hold(1024 + 56, &[0x53, 0xef])?;
        assert!(matches!(signed, Content::Foreign(_)), "{signed:?}");
        assert_eq!(hold(BTRFS_MAGIC, BTRFS_UNFINISHED)?, Content::Blank, "mkfs was killed");
        hold(512, b"my only copy")?;
        let error = is_ours(&cx, &path).expect_err("it holds data").to_string();
        assert!(error.contains("wipefs --all") && error.contains("data without a signature"), "{error}");
        Ok(())
    }
}
