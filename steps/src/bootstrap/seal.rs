//! The stage `seal`: the system is proved to run, and one rename puts it where `lxc-create` looks for it.
//!
//! What stands there, whoever made it, is a base system if it is complete; else nobody touches it.

use super::checkpoint::{self, stage};
use super::package_set;
use super::resolve::apt_directory;
use crate::base::Base;
use crate::dpkg::Status;
use crate::guest::emulate::Guest;
use crate::inputs;
use crate::resource::BASE;
use crate::step::FarmStep;
use anyhow::{Context, Result, anyhow, bail};
use drover_engine::{Check, Claim, Cmd, Cx, Inputs, Kind, Need, Resource, Rootfs, Undo};
use serde::Serialize;
use std::fs;
use std::io::ErrorKind;
use std::time::Duration;

/// See the manual of the bootstrap.
#[derive(Debug, Serialize)]
pub(super) struct Seal;

impl FarmStep<Base> for Seal {
    fn title(&self, at: &Base) -> String {
        format!("prove {} and put it in its place", at.id())
    }

    fn facts(&self, at: &Base) -> Inputs {
        inputs::base(at)
    }

    fn needs(&self, at: &Base) -> Vec<Need> {
        vec![Need::Must(stage(at, "configure"))]
    }

    fn provides(&self, at: &Base) -> Vec<Resource> {
        vec![Resource::new(BASE, at.id())]
    }

    fn claims(&self, at: &Base) -> Vec<Claim> {
        vec![Claim::lock(at.id())]
    }

    fn estimate(&self, _at: &Base) -> Duration {
        Duration::from_secs(2)
    }

    fn check(&self, _cx: &Cx, at: &Base) -> Result<Check> {
        Ok(match is_complete(at)? {
            true => Check::Satisfied,
            false => Check::needed(format!("`{}` does not exist", at.rootfs().display())),
        })
    }

    fn apply(&self, cx: &Cx, at: &Base) -> Result<()> {
        let partial = at.partial();
        let rootfs = Rootfs::open(&partial)?;
        prove(&rootfs, at).with_context(|| format!("`{}` is not complete", partial.display()))?;
        if let Err(error) = run_programs(cx, at) {
            return Err(error.context(emulator(cx, at)?));
        }
        if rootfs.entry("/etc/mtab")?.is_some_and(|entry| entry.kind == Kind::File) {
            rootfs.remove("/etc/mtab")?;
        }
        let tree = fs::File::open(&partial).with_context(|| format!("open `{}`", partial.display()))?;
        rustix::fs::syncfs(&tree).with_context(|| format!("write `{}` to the disk", partial.display()))?;
        let place = at.rootfs();
        fs::rename(&partial, &place)
            .with_context(|| format!("rename `{}` to `{}`", partial.display(), place.display()))?;
        cx.remove_tree(&checkpoint::directory(at))?;
        cx.remove_tree(&apt_directory(cx, at))
    }

    fn undo<'a>(&'a self, _cx: &Cx, at: &'a Base) -> Result<Undo<'a>> {
        let place = at.rootfs();
        if !place.exists() {
            return Ok(Undo::default());
        }
        // Out of its place at once: what is only half there is no base system.
        let what = format!("remove the base system {}", place.display());
        Ok(Undo::default().act(what, move |cx| {
            cx.remove_tree(&at.partial())?;
            let partial = at.partial();
            match fs::rename(&place, &partial) {
                // An overlay does not move what lies below it: then it goes where it is.
                Err(error) if error.kind() == ErrorKind::CrossesDevices => cx.remove_tree(&place),
                moved => {
                    moved.with_context(|| format!("rename `{}`", place.display()))?;
                    cx.remove_tree(&partial)
                }
            }
        }))
    }
}

/// Whether there is a base system.
///
/// # Errors
/// When what stands in its place is not complete.
pub(super) fn is_complete(base: &Base) -> Result<bool> {
    let place = base.rootfs();
    let Some(rootfs) = Rootfs::find(&place)? else { return Ok(false) };
    prove(&rootfs, base).with_context(|| {
        let place = place.display();
        format!("`{place}` is there, but is no complete base system: look at it, then `rm -r --one-file-system {place}`")
    })?;
    Ok(true)
}

/// Ends well if the tree holds a complete system of the right architecture.
fn prove(rootfs: &Rootfs, base: &Base) -> Result<()> {
    let status = Status::of(rootfs)?;
    let dpkg = status.package("dpkg").context("it has no dpkg")?;
    if dpkg.arch != base.arch.debian() {
        bail!("its architecture is {}, not {}", dpkg.arch, base.arch);
    }
    if let Some((name, package)) = status.unfinished() {
        bail!("its package `{name}` is {}", package.state);
    }
    match package_set::asked(base.release).find(|name| !status.is_installed(name)) {
        None => Ok(()),
        Some(name) => Err(anyhow!("it has no `{name}`")),
    }
}

/// Runs a program that does nothing, and one that reads its configuration and keys.
fn run_programs(cx: &Cx, base: &Base) -> Result<()> {
    let guest = Guest::new(&base.partial());
    cx.run(&guest.command("/bin/true"))?;
    // sshd wants a directory in /run, which an init would have made; nothing of it is to stay.
    let run = checkpoint::directory(base).join("run");
    fs::create_dir_all(run.join("sshd")).with_context(|| format!("make `{}`", run.display()))?;
    cx.run(&guest.with(&run, "/run").command("/usr/sbin/sshd").arg("-t"))
}

/// Under what the programs were run, for an error.
fn emulator(cx: &Cx, base: &Base) -> Result<String> {
    if !base.is_emulated() {
        return Ok(format!("run programs of {}", base.id()));
    }
    let program = format!("qemu-{}-static", base.arch.qemu());
    let said = cx.probe(&Cmd::new(&program).arg("--version"))?.stdout;
    Ok(format!(
        "run programs of {} under {program} ({})",
        base.id(),
        said.lines().next().unwrap_or("no version")
    ))
}
