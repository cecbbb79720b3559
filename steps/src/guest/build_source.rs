//! A source that is to be built: a directory or a tarball of the host, what tells one state of it from another, and how
//! the account that builds gets a copy.
//!
//! It does not know how it is built.

use crate::archives::hex;
use crate::farm::Account;
use anyhow::{Context, Result, bail, ensure};
use drover_engine::{Cmd, Cx};
use sha2::{Digest, Sha256};
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

/// What version control keeps beside a tree: copied, but no part of its state.
const HISTORY: [&str; 4] = [".git", ".svn", ".hg", "CVS"];

/// What `tar` is told of a tarball that it reads from a pipe, by the end of its name.
const TARBALLS: [(&str, &str); 9] = [
    (".tar.gz", "--gzip"),
    (".tgz", "--gzip"),
    (".tar.xz", "--xz"),
    (".txz", "--xz"),
    (".tar.bz2", "--bzip2"),
    (".tbz2", "--bzip2"),
    (".tar.zst", "--zstd"),
    (".tar.lz", "--lzip"),
    (".tar", ""),
];

/// Root reads, since a source may be anybody's; the account writes, so that it cannot lead root anywhere. What holds the
/// lock is still building for a run that was killed.
const COPY: &str = r#"
source=$1 place=$2 unpack=$3
shift 3
"$@" mkdir -p "$place"
if [ -d "$source" ]; then tar -C "$source" -c .; else cat "$source"; fi |
    "$@" flock "$place/lock" sh -euc 'rm -rf "$1/tree"; mkdir "$1/tree"; eval "exec tar -C \"\$1/tree\" -x $2"' copy "$place" "$unpack"
"#;

/// Makes sure that `source` is something that can be built.
///
/// # Errors
/// Says what it is instead.
pub(super) fn ensure_usable(source: &Path) -> Result<()> {
    let shown = source.display();
    let found = fs::metadata(source).with_context(|| format!("look at the source `{shown}`"))?;
    if found.is_dir() {
        return Ok(());
    }
    ensure!(found.is_file(), "the source `{shown}` is neither a directory nor a tarball");
    flag(source).map(drop)
}

fn flag(tarball: &Path) -> Result<&'static str> {
    let name = tarball.display().to_string();
    match TARBALLS.iter().find(|(end, _)| name.ends_with(end)) {
        Some((_, flag)) => Ok(flag),
        None => bail!(
            "the source `{name}` is no directory, and its name does not end as that of a tarball does: {}",
            TARBALLS.map(|(end, _)| end).join(", ")
        ),
    }
}

/// A digest of all that is in a source: names, contents, links, and what can be executed.
///
/// # Errors
/// When something of it cannot be read.
pub(super) fn fingerprint(source: &Path) -> Result<String> {
    let mut digest = Sha256::new();
    add(&mut digest, source, Path::new(""))?;
    Ok(hex(&digest.finalize()))
}

fn add(digest: &mut Sha256, source: &Path, name: &Path) -> Result<()> {
    let path = if name == Path::new("") { source.to_owned() } else { source.join(name) };
    let found = path.symlink_metadata().with_context(|| format!("look at `{}`", path.display()))?;
    // The source itself may be a link; what is in it is taken as it is.
    let is_top = name == Path::new("");
    let kind = if is_top { path.metadata()?.file_type() } else { found.file_type() };
    digest.update(name.as_os_str().as_bytes());
    if kind.is_dir() {
        digest.update(b"\0directory\0");
        let mut names = Vec::new();
        for entry in fs::read_dir(&path).with_context(|| format!("read `{}`", path.display()))? {
            names.push(entry?.file_name());
        }
        names.sort_unstable();
        names.retain(|name| !HISTORY.iter().any(|history| name == history));
        return names.iter().try_for_each(|entry| add(digest, source, &name.join(entry)));
    }
    if kind.is_symlink() {
        digest.update(b"\0link\0");
        digest.update(fs::read_link(&path)?.as_os_str().as_bytes());
    } else if kind.is_file() {
        digest.update(if found.permissions().mode() & 0o100 == 0 { b"\0file\0" } else { b"\0prog\0" });
        let mut contents = Sha256::new();
        let mut file = fs::File::open(&path).with_context(|| format!("read `{}`", path.display()))?;
        io::copy(&mut file, &mut HashWriter(&mut contents))
            .with_context(|| format!("read `{}`", path.display()))?;
        digest.update(contents.finalize());
    }
    Ok(())
}

struct HashWriter<'a>(&'a mut Sha256);

impl io::Write for HashWriter<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Puts a fresh copy of the source into `tree` at `place`, as the account, instead of what was there.
///
/// # Errors
/// When it cannot be read or written.
pub(super) fn copy(cx: &Cx, source: &Path, place: &Path, account: &Account) -> Result<()> {
    let unpack =
        if source.is_dir() { String::new() } else { format!("--strip-components=1 {}", flag(source)?) };
    let command = Cmd::new("bash").args(["-euo", "pipefail", "-c", COPY, "copy"]);
    cx.run(&command.arg(source).arg(place).arg(unpack).args(as_account(account)))
        .with_context(|| format!("copy `{}` to `{}`", source.display(), place.display()))
}

/// What runs the words after it as the account, in Drover's environment (`drover steps environment`), but for what is only for
/// installing packages.
pub(super) fn as_account(account: &Account) -> Vec<String> {
    let words = ["setpriv", "--reuid", &account.uid.to_string(), "--regid", &account.gid.to_string()];
    let path = "PATH=/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin";
    let environment = [
        "--clear-groups".to_owned(),
        "env".to_owned(),
        "--unset=DEBIAN_FRONTEND".to_owned(),
        "--unset=DEBCONF_NONINTERACTIVE_SEEN".to_owned(),
        path.to_owned(),
        "SHELL=/bin/sh".to_owned(),
        "LC_ALL=C.UTF-8".to_owned(),
        format!("HOME={}", account.home.display()),
        format!("USER={}", account.user),
        format!("LOGNAME={}", account.user),
    ];
    words.into_iter().map(str::to_owned).chain(environment).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn a_source_is_told_from_another_by_all_that_is_in_it() -> Result<()> {
        let dir = tempfile::tempdir()?;
        let tree = dir.path().join("tree");
        fs::create_dir_all(tree.join("src"))?;
        fs::write(tree.join("src/a.c"), "int a;\n")?;
        symlink("a.c", tree.join("src/b.c"))?;
        let mut seen = vec![fingerprint(&tree)?];
        let mut changed = |what: &str| -> Result<()> {
            let now = fingerprint(&tree)?;
            assert!(!seen.contains(&now), "{what}");
            seen.push(now);
            Ok(())
        };
        fs::write(tree.join("src/a.c"), "int b;\n")?;
        changed("a content")?;
        fs::set_permissions(tree.join("src/a.c"), fs::Permissions::from_mode(0o755))?;
        changed("what can be executed")?;
        fs::rename(tree.join("src/a.c"), tree.join("src/c.c"))?;
        changed("a name")?;
        fs::remove_file(tree.join("src/b.c"))?;
        symlink("c.c", tree.join("src/b.c"))?;
        changed("a link")?;
        let last = fingerprint(&tree)?;
        fs::create_dir(tree.join(".git"))?;
        fs::write(tree.join(".git/index"), "x")?;
        assert_eq!(fingerprint(&tree)?, last, "history is no part of it");
        symlink("tree", dir.path().join("link"))?;
        assert_eq!(fingerprint(&dir.path().join("link"))?, last, "wherever it is named");
        Ok(())
    }

    #[test]
    fn what_cannot_be_built_is_refused() -> Result<()> {
        let dir = tempfile::tempdir()?;
        assert!(ensure_usable(dir.path()).is_ok());
        fs::write(dir.path().join("a-1.tar.xz"), "")?;
        assert!(ensure_usable(&dir.path().join("a-1.tar.xz")).is_ok());
        fs::write(dir.path().join("a.zip"), "")?;
        let error = ensure_usable(&dir.path().join("a.zip")).expect_err("no tarball").to_string();
        assert!(error.contains(".tar.gz"), "{error}");
        assert!(ensure_usable(&dir.path().join("absent")).is_err());
        Ok(())
    }
}
