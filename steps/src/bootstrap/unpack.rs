//! The stage `unpack`: the tree of a system whose own dpkg can be run, made by programs of the host.
//!
//! As debootstrap's first stage: the required packages extracted, the few files and devices that they need. It is short, so
//! it starts over when it was interrupted.

use super::checkpoint::{self, known_manifest, mark, stage, trust_memory, unmark_all};
use super::{place, plain};
use crate::archives;
use crate::base::Base;
use crate::inputs;
use crate::mirror::Mirror;
use crate::mirror_seen;
use crate::resource::LXC_CACHE;
use crate::snapshot;
use crate::step::FarmStep;
use anyhow::{Context, Result};
use drover_engine::{Access, Check, Claim, Cmd, Cx, HostFile, Inputs, Need, Resource, Rootfs, Undo, until};
use serde::Serialize;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::time::Duration;

/// See the manual of the bootstrap.
#[derive(Debug, Serialize)]
pub(super) struct Unpack;

impl FarmStep<Base> for Unpack {
    fn title(&self, at: &Base) -> String {
        format!("unpack {}", at.id())
    }

    fn facts(&self, at: &Base) -> Inputs {
        inputs::base(at)
    }

    fn needs(&self, at: &Base) -> Vec<Need> {
        vec![Need::Must(stage(at, "fetch"))]
    }

    fn undo<'a>(&'a self, _cx: &Cx, _at: &'a Base) -> Result<Undo<'a>> {
        // `seal` and `resolve` take away the system, whole or half-made; what is downloaded is everybody's.
        Ok(Undo::default())
    }

    fn provides(&self, at: &Base) -> Vec<Resource> {
        vec![stage(at, "unpack")]
    }

    fn claims(&self, at: &Base) -> Vec<Claim> {
        vec![Claim::lock(at.id())]
    }

    fn estimate(&self, _at: &Base) -> Duration {
        Duration::from_secs(8)
    }

    fn precondition(&self, _cx: &Cx, at: &Base) -> Result<()> {
        let cache = Resource::new(LXC_CACHE, at.farm.lxc_cache.display().to_string());
        place::ensure_fit(at).map_err(until(cache))
    }

    fn check(&self, _cx: &Cx, at: &Base) -> Result<Check> {
        checkpoint::check(at, "unpack")
    }

    fn apply(&self, cx: &Cx, at: &Base) -> Result<()> {
        let manifest = known_manifest(at)?;
        archives::prove(cx, &manifest.required)?;
        let root = at.partial();
        unmark_all(at)?;
        cx.remove_tree(&root)?;
        trust_memory(at)?;
        make_root(cx, &root)?;
        match place::is_spread(at)? {
            true => extract_elsewhere(cx, at, &manifest.required, &root)?,
            false => extract_all(cx, at, &manifest.required, &root)?,
        }
        let rootfs = Rootfs::open(&root)?;
        write_etc(cx, at, &rootfs)?;
        make_devices(cx, &rootfs, &root)?;
        rootfs.mkdir_all("/var/lib/dpkg", Access::root(0o755))?;
        rootfs.write("/var/lib/dpkg/status", "", Access::root(0o644))?;
        rootfs.write("/var/lib/dpkg/available", "", Access::root(0o644))?;
        mark(at, "unpack", &manifest)
    }
}

fn make_root(cx: &Cx, root: &Path) -> Result<()> {
    snapshot::make_tree(cx, root)?;
    let access = fs::Permissions::from_mode(0o755);
    fs::set_permissions(root, access).with_context(|| format!("open `{}` to everybody", root.display()))
}

/// Extracts packages in a directory that is somewhere else on the disk, and links the files into `root`. dpkg replaces each of
/// them when it unpacks the packages once more, and what is deleted keeps ext4 from making files near it for a minute: it looks
/// at each inode that was deleted lately before it comes to a free one (Linux, `recently_deleted` in fs/ext4/ialloc.c).
fn extract_elsewhere(cx: &Cx, base: &Base, debs: &[archives::Deb], root: &Path) -> Result<()> {
    let elsewhere = checkpoint::directory(base).join("extracted");
    cx.remove_tree(&elsewhere)?;
    make_root(cx, &elsewhere)?;
    extract_all(cx, base, debs, &elsewhere)?;
    cx.run(&Cmd::new("cp").args(["--archive", "--link", "--no-target-directory"]).arg(&elsewhere).arg(root))?;
    cx.remove_tree(&elsewhere)
}

/// Extracts packages into `root`, an empty directory.
fn extract_all(cx: &Cx, base: &Base, debs: &[archives::Deb], root: &Path) -> Result<()> {
    link_usr(base, root)?;
    extract(cx, base, debs, root)?;
    unlink_unused(base, root)
}

/// The directories that a merged system has as links into `/usr`.
fn merged(base: &Base) -> impl Iterator<Item = &'static str> {
    let always: &[&str] = if base.release.quirks.merged_usr { &["bin", "sbin", "lib"] } else { &[] };
    let multilib = if base.release.quirks.merged_usr { base.arch.multilib() } else { &[] };
    always.iter().chain(multilib).copied()
}

/// Makes the links before anything is extracted, so that all of it comes to lie in `/usr`.
fn link_usr(base: &Base, root: &Path) -> Result<()> {
    for name in merged(base) {
        let directory = root.join("usr").join(name);
        fs::create_dir_all(&directory).with_context(|| format!("make `{}`", directory.display()))?;
        let link = root.join(name);
        symlink(format!("usr/{name}"), &link).with_context(|| format!("link `{}`", link.display()))?;
    }
    Ok(())
}

/// Removes the links that no package uses: debootstrap of bookworm links only what there is.
fn unlink_unused(base: &Base, root: &Path) -> Result<()> {
    for name in merged(base) {
        let directory = root.join("usr").join(name);
        let mut entries =
            fs::read_dir(&directory).with_context(|| format!("read `{}`", directory.display()))?;
        if entries.next().is_none() {
            let link = root.join(name);
            fs::remove_dir(&directory).with_context(|| format!("remove `{}`", directory.display()))?;
            fs::remove_file(&link).with_context(|| format!("remove `{}`", link.display()))?;
        }
    }
    Ok(())
}

/// What no script of a package reads and no program needs to run: dpkg brings it when it unpacks the packages once more, and has
/// not to replace it then.
const LEFT_OUT: [&str; 5] = ["doc", "info", "locale", "man", "zoneinfo"];

/// Extracts packages in order. What is there already stays: so do the links into `/usr`, also where a package brings them
/// itself, as base-files does from trixie on. That no file is in two packages is for dpkg to see, in `configure`.
fn extract(cx: &Cx, base: &Base, debs: &[archives::Deb], root: &Path) -> Result<()> {
    const SCRIPT: &str =
        "tail -c \"+$2\" \"$1\" | tar -C \"$3\" --skip-old-files --anchored \"${@:4}\" -xf -";
    let left_out: Vec<_> = LEFT_OUT.iter().map(|name| format!("--exclude=./usr/share/{name}/*")).collect();
    let copies = plain::make_directory(cx, base)?;
    for (done, deb) in (0_u64..).zip(debs) {
        cx.progress(done, debs.len() as u64);
        let failed = || format!("extract `{}`", deb.file);
        let copy = copies.join(&deb.file);
        let start = plain::write(cx, &archives::directory(cx).join(&deb.file), &copy).with_context(failed)?;
        // tail counts from 1.
        let command = Cmd::new("bash").args(["-o", "pipefail", "-c", SCRIPT, "extract"]);
        let command = command.arg(&copy).arg((start + 1).to_string()).arg(root).args(&left_out);
        cx.run(&command).with_context(failed)?;
    }
    Ok(())
}

/// Writes what debootstrap writes below `/etc`.
fn write_etc(cx: &Cx, base: &Base, rootfs: &Rootfs) -> Result<()> {
    for name in ["/etc/resolv.conf", "/etc/hostname"] {
        if Path::new(name).exists() && rootfs.entry(name)?.is_none() {
            let text = HostFile::new(name).read()?.unwrap_or_default();
            rootfs.write(name, &text, Access::root(mode_as_copied(Path::new(name))?))?;
        }
    }
    if rootfs.entry("/etc/fstab")?.is_none() {
        rootfs.write("/etc/fstab", "# UNCONFIGURED FSTAB FOR BASE SYSTEM\n", Access::root(0o644))?;
    }
    let mirror = Mirror::of(cx, base)?.main;
    let uri = mirror_seen::address(&base.farm, &mirror)?;
    let sources = format!("deb {uri} {} main\n", mirror.suite);
    rootfs.write("/etc/apt/sources.list", &sources, Access::root(0o644))
}

/// The mode of a copy of the host's file: its own, unless it is a link, less what others might do to it.
fn mode_as_copied(file: &Path) -> Result<u32> {
    let found = fs::symlink_metadata(file).with_context(|| format!("look at `{}`", file.display()))?;
    Ok(if found.is_file() { found.permissions().mode() & 0o755 } else { 0o644 })
}

/// Makes the devices of debootstrap's `setup_devices_simple`.
fn make_devices(cx: &Cx, rootfs: &Rootfs, root: &Path) -> Result<()> {
    let devices = [
        ("null", "1", "3"),
        ("zero", "1", "5"),
        ("full", "1", "7"),
        ("random", "1", "8"),
        ("urandom", "1", "9"),
        ("tty", "5", "0"),
        ("console", "5", "1"),
        ("ptmx", "5", "2"),
    ];
    for (name, major, minor) in devices {
        if rootfs.entry(&format!("/dev/{name}"))?.is_none() {
            let device = root.join("dev").join(name);
            cx.run(&Cmd::new("mknod").args(["-m", "666"]).arg(device).args(["c", major, minor]))?;
        }
    }
    rootfs.mkdir_all("/dev/pts", Access::root(0o755))?;
    rootfs.mkdir_all("/dev/shm", Access::root(0o755))?;
    rootfs.symlink("/dev/fd", "/proc/self/fd")?;
    rootfs.symlink("/dev/stdin", "/proc/self/fd/0")?;
    rootfs.symlink("/dev/stdout", "/proc/self/fd/1")?;
    rootfs.symlink("/dev/stderr", "/proc/self/fd/2")
}
