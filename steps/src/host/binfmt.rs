//! # Binfmt
//! Programs of every architecture in the plan can be executed on this host.
//!
//! The document: "Install qemu with its `/usr/bin/qemu-*-static` and registration in `/var/lib/binfmt`".
//!
//! ```ron
//! Binfmt
//! ```
//!
//! With it comes one step for each architecture (`binfmt-arm64`, ...): what the distribution registers is enabled, the
//! emulator must be static and registered with flag F (the kernel opens it at registration, so that it is found from within
//! a container too), and the proof is a real program of that architecture (arch-test's) that runs. Architectures that the
//! host's processor runs by itself are proved the same way. One that fails does not keep the others back.
//!
//! Where flag C is missing, programs with the setuid bit, `sudo` among them, do not become root under the
//! emulator: a note in the log says so when the architecture is enabled.
//!
//! **Changes** `/proc/sys/fs/binfmt_misc`: mounted if it is not, and the entries `qemu-*` of these architectures. The kernel
//! forgets them when the machine restarts; the distribution's `binfmt-support` brings them back where it is started at boot.
//!
//! **To take it back** `drover destroy`, which takes away what was not registered before; or `update-binfmts --disable
//! qemu-aarch64`, and so on.

use super::emulation::Emulation;
use crate::architecture::Architecture;
use crate::farm::Farm;
use crate::resource::{BINFMT, PACKAGES};
use crate::service;
use crate::step::FarmStep;
use anyhow::{Context, Result, ensure};
use drover_engine::{Check, Cmd, Cx, Inputs, Need, Resource, Undo};
use serde::{Deserialize, Serialize};
use std::io::ErrorKind;
use std::path::Path;
use std::sync::Arc;

/// Where the kernel's registrations are seen.
pub(super) const REGISTRATIONS: &str = "/proc/sys/fs/binfmt_misc";

/// See the manual above.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Binfmt {}

impl FarmStep<Farm> for Binfmt {
    fn title(&self, _at: &Farm) -> String {
        "let the kernel know foreign programs".to_owned()
    }

    fn facts(&self, _at: &Farm) -> Inputs {
        Inputs::default()
    }

    fn companions(&self, at: &Farm) -> Vec<(String, Arc<dyn FarmStep<Farm>>)> {
        let companion = |arch: &Architecture| -> (String, Arc<dyn FarmStep<Farm>>) {
            (format!("binfmt-{arch}"), Arc::new(Emulation(*arch)))
        };
        at.members.architectures.iter().map(companion).collect()
    }

    fn needs(&self, _at: &Farm) -> Vec<Need> {
        // The packages may bring the kernel's module.
        vec![Need::IfAny(Resource::new(PACKAGES, "host"))]
    }

    fn provides(&self, _at: &Farm) -> Vec<Resource> {
        vec![Resource::new(BINFMT, REGISTRATIONS)]
    }

    fn precondition(&self, cx: &Cx, at: &Farm) -> Result<()> {
        if !at.members.are_emulated() || kernel_has_it()? {
            return Ok(());
        }
        let module = cx.probe(&Cmd::new("/sbin/modprobe").args(["--dry-run", "binfmt_misc"]));
        let module = module.context("the kernel does not know binfmt_misc, and modules cannot be loaded")?;
        ensure!(
            module.status.success(),
            "the kernel does not know binfmt_misc, which emulation needs: install one that does (CONFIG_BINFMT_MISC)"
        );
        Ok(())
    }

    fn check(&self, _cx: &Cx, at: &Farm) -> Result<Check> {
        if !at.members.are_emulated() {
            return Ok(Check::Satisfied);
        }
        Ok(match status()?.as_deref() {
            Some("enabled") => Check::Satisfied,
            Some(other) => Check::needed(format!("binfmt_misc is {other}")),
            None => Check::needed(format!("{REGISTRATIONS} is not mounted")),
        })
    }

    fn apply(&self, cx: &Cx, _at: &Farm) -> Result<()> {
        if !kernel_has_it()? {
            cx.run(&Cmd::new("/sbin/modprobe").arg("binfmt_misc"))?;
        }
        if status()?.is_none() {
            cx.remember(MOUNTED, "")?;
            mount(cx)?;
        }
        if status()?.as_deref() == Some("disabled") {
            let file = Path::new(REGISTRATIONS).join("status");
            std::fs::write(&file, "1").with_context(|| format!("cannot write to `{}`", file.display()))?;
        }
        Ok(())
    }

    fn undo<'a>(&'a self, cx: &Cx, _at: &'a Farm) -> Result<Undo<'a>> {
        if !cx.has_made(MOUNTED)? || status()?.is_none() {
            return Ok(Undo::default());
        }
        Ok(Undo::default().act_if(format!("umount {REGISTRATIONS} if nothing is registered there"), unmount))
    }
}

/// Remembered if it was mounted here.
const MOUNTED: &str = "mounted";

fn unmount(cx: &Cx) -> Result<Option<String>> {
    let entries = Path::new(REGISTRATIONS).read_dir().context("cannot see what is registered")?;
    for entry in entries {
        let name = entry?.file_name().to_string_lossy().into_owned();
        if !["status", "register"].contains(&name.as_str()) {
            return Ok(Some(format!("{REGISTRATIONS} stays mounted: `{name}` is registered there")));
        }
    }
    cx.run(&Cmd::new("umount").arg(REGISTRATIONS)).map(|()| None)
}

fn kernel_has_it() -> Result<bool> {
    let known = std::fs::read_to_string("/proc/filesystems").context("cannot read `/proc/filesystems`")?;
    Ok(known.lines().any(|line| line.split_whitespace().last() == Some("binfmt_misc")))
}

/// `enabled` or `disabled`; `None` while it is not mounted.
fn status() -> Result<Option<String>> {
    let file = Path::new(REGISTRATIONS).join("status");
    match std::fs::read_to_string(&file) {
        Ok(text) => Ok(Some(text.trim().to_owned())),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).with_context(|| format!("cannot read `{}`", file.display())),
    }
}

/// Mounts it for the whole host, which is the one thing that a private mount cannot do.
fn mount(cx: &Cx) -> Result<()> {
    if service::systemd_runs() {
        return cx.run(&Cmd::new("systemctl").args(["start", "proc-sys-fs-binfmt_misc.mount"]));
    }
    cx.run(&Cmd::new("mount").args(["-t", "binfmt_misc", "binfmt_misc", REGISTRATIONS]))
}
