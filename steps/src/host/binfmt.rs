//! # Binfmt
//! Programs of every architecture in the plan can be executed on this host.
//!
//! The document: "Install qemu with its `/usr/bin/qemu-*-static` and registration in `/var/lib/binfmt`".
//!
//! ```ron
//! Binfmt
//! Binfmt(emulator: Release("trixie"))
//! Binfmt(emulator: Backports, others: Renew)
//! ```
//!
//! | option | meaning |
//! | --- | --- |
//! | `emulator` | whose emulators: `Host`, unless it is said, those of the host's packages; `Backports`, those of the backports of the host's own release; `Release("trixie")`, those of that release of Debian |
//! | `others` | what becomes of an entry that neither Drover nor the host's packages made: `Leave`, unless it is said, or `Renew` |
//!
//! With it comes one step for each architecture (`binfmt-arm64`, ...). The rule is the one that the host's packages ship: in
//! `binfmt.d` (`/etc`, `/run`, `/usr/local/lib`, `/usr/lib`), or in `/usr/share/binfmts`. The
//! emulator must be static and registered with flag F (the kernel opens it at registration, so that it is found from within
//! a container too), and the proof is a real program of that architecture (arch-test's) that runs. Where there is no such
//! program, a right entry is left alone, and the report says that it is not proved. Architectures that the
//! host's processor runs by itself are proved the same way. One that fails does not keep the others back.
//!
//! systemd 255 and later (Debian 13) start everything by `pidfd_spawn` and execute an open file. Under an emulator they boot
//! if qemu is 8.2 or later and the entry has flag O. An entry of the host's packages without it is registered anew, and so is
//! one whose emulator was upgraded since (flag F keeps the old one alive). What Drover registers has the flags O, C and F; with
//! C, programs with the setuid bit, `sudo` among them, become root. Where the emulator is too old, `plan`
//! and `doctor` say so before anything is fetched, and the option `emulator` mends it: the package `qemu-user` is fetched from
//! the mirror of the host, its signature is proved, and its emulators are kept in `/usr/lib/drover/qemu/SUITE`; the host's own packages stay as they
//! are. Remove that directory for a newer version.
//!
//! Containers that run while an entry is renewed are told of: programs that run go on under the old emulator.
//!
//! **Changes** `/proc/sys/fs/binfmt_misc`: mounted if it is not, and the entries `qemu-*` of these architectures. The kernel
//! forgets them when the machine restarts. What brings them back is told of those that are not as the packages have them:
//! systemd-binfmt by `/etc/binfmt.d/qemu-ARCH.conf`, or, without systemd, `binfmt-support` by its record in `/var/lib/binfmts`.
//!
//! **To take it back** `drover destroy`, which takes away what Drover registered, unless somebody has registered it anew, and
//! brings back what was there. `update-binfmts --disable qemu-aarch64` takes an entry away until the machine restarts.

use super::emulation::Emulation;
use super::emulator::{Choice, Emulator, Others};
use super::fetch_emulator::FetchEmulator;
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
pub struct Binfmt {
    /// Whose emulators.
    #[serde(default)]
    pub emulator: Emulator,
    /// What becomes of entries that somebody else made.
    #[serde(default)]
    pub others: Others,
}

impl FarmStep<Farm> for Binfmt {
    fn title(&self, _at: &Farm) -> String {
        "let the kernel know foreign programs".to_owned()
    }

    fn facts(&self, _at: &Farm) -> Inputs {
        Inputs::default()
    }

    fn shape(&self, at: &mut Farm) -> Result<()> {
        self.emulator.ensure_known()?;
        at.emulator = Some(Choice { emulator: self.emulator.clone(), others: self.others });
        Ok(())
    }

    fn companions(&self, at: &Farm) -> Vec<(String, Arc<dyn FarmStep<Farm>>)> {
        let companion = |arch: &Architecture| -> (String, Arc<dyn FarmStep<Farm>>) {
            let step = Emulation { arch: *arch, emulator: self.emulator.clone(), others: self.others };
            (format!("binfmt-{arch}"), Arc::new(step))
        };
        let mut all: Vec<_> = at.members.architectures.iter().map(companion).collect();
        if self.emulator != Emulator::Host && at.members.are_emulated() {
            all.push(("emulator".to_owned(), Arc::new(FetchEmulator(self.emulator.clone()))));
        }
        all
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
