//! The processes that run on the other side: they make a throw-away host, live in it, and serve its mirror.
//!
//! They are this very program, called with a word that no user would type. They do not know tests.

use crate::layout::{Bind, Layout};
use crate::{cgroups, loopback, server};
use anyhow::{Context, Result, bail};
use rustix::mount::{
    MountFlags, MountPropagationFlags, UnmountFlags, mount, mount_bind, mount_bind_recursive, mount_change,
    mount_remount, unmount,
};
use rustix::process::WaitOptions;
use signal_hook::consts::SIGCHLD;
use signal_hook::iterator::Signals;
use std::ffi::CString;
use std::fs;
use std::io::{Read, Write};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

/// Makes the namespaces' outer half: control groups.
pub(crate) const OUTER: &str = "throwaway-outer";
/// Makes the inner half, and is process 1 of the host.
pub(crate) const INIT: &str = "throwaway-init";
/// Removes the control groups of a host that is gone.
pub(crate) const SWEEP: &str = "throwaway-sweep";
/// Serves the mirror.
pub(crate) const SERVE: &str = "throwaway-serve";

/// To be called first in `main`: does what is asked with one of those words, and then does not return.
pub fn serve_if_asked() {
    let args: Vec<String> = std::env::args().collect();
    let [_, word, rest @ ..] = args.as_slice() else { return };
    let result = match (word.as_str(), rest) {
        (OUTER, [layout]) => outer(layout),
        (INIT, [layout]) => init(layout),
        (SWEEP, [name, scratch]) => sweep(name, Path::new(scratch)),
        (SERVE, [tree, control]) => server::serve(Path::new(tree), Path::new(control)),
        _ => return,
    };
    if let Err(error) = result {
        eprintln!("{error:#}");
        std::process::exit(1);
    }
    std::process::exit(0);
}

/// Runs in a mount namespace of its own.
fn outer(encoded: &str) -> Result<()> {
    let layout = Layout::decode(encoded)?;
    with_scratch(&layout.root, |scratch| cgroups::enter(&layout.group, scratch))?;
    let mut unshare = Command::new("unshare");
    unshare.args(["--pid", "--fork", "--kill-child", "--uts", "--ipc", "--cgroup"]);
    if layout.own_network {
        unshare.arg("--net");
    }
    unshare.arg(std::env::current_exe()?).args([INIT, encoded]);
    Err(unshare.exec()).context("`unshare` cannot be started")
}

/// Runs in a mount namespace of its own.
fn sweep(name: &str, scratch: &Path) -> Result<()> {
    with_scratch(scratch, |scratch| cgroups::sweep(name, scratch))
}

fn with_scratch(directory: &Path, act: impl FnOnce(&Path) -> Result<()>) -> Result<()> {
    mount_kind("tmpfs", directory, "mode=755")?;
    act(directory)?;
    unmount(directory, UnmountFlags::DETACH).context("the scratch directory cannot be unmounted")
}

/// Process 1: makes the host, says so, collects what dies, and ends when nobody holds its standard input any more;
/// with it, every process of the host ends.
fn init(encoded: &str) -> Result<()> {
    let layout = Layout::decode(encoded)?;
    // The proc that is still mounted is this machine's: it says who we are there.
    let pid = fs::read_link("/proc/self")?;
    make(&layout)?;
    let ended = Signals::new([SIGCHLD])?;
    std::thread::spawn(|| reap(ended));
    println!("{}", pid.display());
    std::io::stdout().flush()?;
    std::io::stdin().read_to_end(&mut Vec::new())?;
    Ok(())
}

/// Collects at once what dies, as any init does: a dead process that still has its number is taken for a living one.
fn reap(mut ended: Signals) {
    for _ in &mut ended {
        while let Ok(Some(_)) = rustix::process::wait(WaitOptions::NOHANG) {}
    }
}

fn make(layout: &Layout) -> Result<()> {
    let root = layout.root.as_path();
    let bottom = layout.bottom.as_path();
    match &layout.layer {
        None => overlay(&[bottom], &layout.upper, &layout.work, root)?,
        Some(layer) if layer.starts_with(bottom) => {
            // What lies below another lower one cannot be one itself: an overlay that nobody writes to is.
            let below = layout.between.join("root");
            overlay(&[bottom], layer, &layout.between.join("work"), &below)?;
            overlay(&[&below], &layout.upper, &layout.work, root)?;
        }
        Some(layer) => overlay(&[layer, bottom], &layout.upper, &layout.work, root)?,
    }
    mount_kind("proc", &root.join("proc"), "")?;
    mount_kind("sysfs", &root.join("sys"), "")?;
    mount_devices(&root.join("dev"))?;
    mount_kind("tmpfs", &root.join("tmp"), "mode=1777")?;
    mount_kind("tmpfs", &root.join("run"), "mode=755")?;
    fs::create_dir(root.join("run/lock"))?;
    mount_kind("tmpfs", &root.join("sys/fs/cgroup"), "mode=755")?;
    cgroups::mount_at(&root.join("sys/fs/cgroup"))?;
    mount_kind("binfmt_misc", &root.join("proc/sys/fs/binfmt_misc"), "")?;
    for wanted in &layout.binds {
        bind(wanted, root)?;
    }
    rustix::system::sethostname(layout.name.as_bytes())?;
    if layout.own_network {
        loopback::bring_up()?;
    }
    make_root(root)
}

/// Of the lower ones, the first is on top.
fn overlay(lower: &[&Path], upper: &Path, work: &Path, target: &Path) -> Result<()> {
    for directory in [work, target] {
        fs::create_dir_all(directory)?;
    }
    // Without redirects, directories of the lower one could not be renamed, as they can be on an ordinary disk.
    let lower: Vec<_> = lower.iter().map(|path| path.display().to_string()).collect();
    let options = format!(
        "redirect_dir=on,lowerdir={},upperdir={},workdir={}",
        lower.join(":"),
        upper.display(),
        work.display()
    );
    mount_kind("overlay", target, &options)
}

fn mount_kind(kind: &str, target: &Path, options: &str) -> Result<()> {
    let options = CString::new(options)?;
    mount(kind, target, kind, MountFlags::empty(), Some(options.as_c_str()))
        .with_context(|| format!("{kind} cannot be mounted on `{}`", target.display()))
}

/// The devices are this machine's; terminals and shared memory are the host's own.
fn mount_devices(dev: &Path) -> Result<()> {
    mount_bind_recursive("/dev", dev).context("`/dev` cannot be bound")?;
    mount_kind("devpts", &dev.join("pts"), "newinstance,ptmxmode=0666,mode=620,gid=5")?;
    mount_kind("tmpfs", &dev.join("shm"), "mode=1777")
}

fn bind(bind: &Bind, root: &Path) -> Result<()> {
    let Ok(inside) = bind.target.strip_prefix("/run") else {
        bail!("`{}` cannot be bound: it is not below /run", bind.target.display());
    };
    let target = root.join("run").join(inside);
    if bind.source.is_dir() {
        fs::create_dir_all(&target)?;
    } else {
        fs::create_dir_all(target.parent().context("a bind's target has no parent")?)?;
        fs::write(&target, "")?;
    }
    mount_bind(&bind.source, &target)
        .with_context(|| format!("`{}` cannot be bound", bind.source.display()))?;
    if !bind.writable {
        mount_remount(&target, MountFlags::BIND | MountFlags::RDONLY, "")?;
    }
    Ok(())
}

/// Leaves this machine's tree for good: nothing of it stays mounted.
fn make_root(root: &Path) -> Result<()> {
    mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC)?;
    std::env::set_current_dir(root)?;
    rustix::process::pivot_root(".", ".").context("`/` cannot be changed")?;
    unmount(".", UnmountFlags::DETACH).context("the old `/` cannot be unmounted")?;
    std::env::set_current_dir("/")?;
    Ok(())
}
