//! # LibvirtLxc
//! libvirt's daemon runs, and answers at `lxc:///system`.
//!
//! The document takes it for granted ("Prepare LXC and LIBVIRT-LXC integration").
//!
//! ```ron
//! LibvirtLxc
//! ```
//!
//! The daemon is started by what the host has: systemd, `/etc/init.d/libvirtd`, or itself (`virtlogd -d`, `libvirtd -d`).
//! systemd is told to start it at boot, and a script is by its package; where there is neither, run the plan again.
//!
//! On a host with hybrid cgroups (version 1, and version 2 beside it at `/sys/fs/cgroup/unified`) libvirt cannot start a
//! container: "Unable to create directory /sys/fs/cgroup/unified". There the daemon runs in mounts of its own,
//! without that one. A daemon that runs otherwise is restarted, but never while a domain of libvirt-LXC runs:
//! that proves that it copes.
//!
//! **Changes** which daemons run; under systemd on hybrid cgroups also
//! `/etc/systemd/system/libvirtd.service.d/drover-hybrid-cgroups.conf`.
//!
//! **To take it back** `drover destroy`; or stop `libvirtd` and `virtlogd`, and remove that file.

use super::cgroups::{self, UNIFIED};
use super::process::Process;
use super::program;
use crate::domain::{self, Lookup};
use crate::farm::Farm;
use crate::ours;
use crate::resource::{LIBVIRT, PACKAGES};
use crate::service::{self, Starter};
use crate::step::FarmStep;
use anyhow::{Context, Result, bail};
use drover_engine::{Check, Cmd, Cx, HostFile, Inputs, Need, Output, Resource, Undo};
use rustix::process::Signal;
use serde::{Deserialize, Serialize};
use std::path::Path;
use std::time::Duration;

const URI: &str = "lxc:///system";
const DROP_IN: &str = "/etc/systemd/system/libvirtd.service.d/drover-hybrid-cgroups.conf";

/// See the manual above.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LibvirtLxc {}

impl FarmStep<Farm> for LibvirtLxc {
    fn title(&self, _at: &Farm) -> String {
        "start libvirt-LXC".to_owned()
    }

    fn facts(&self, _at: &Farm) -> Inputs {
        Inputs::default()
    }

    fn needs(&self, _at: &Farm) -> Vec<Need> {
        vec![Need::Must(Resource::new(PACKAGES, "host"))]
    }

    fn provides(&self, _at: &Farm) -> Vec<Resource> {
        vec![Resource::new(LIBVIRT, URI)]
    }

    fn estimate(&self, _at: &Farm) -> Duration {
        Duration::from_secs(3)
    }

    fn timeout(&self, _at: &Farm) -> Duration {
        Duration::from_secs(180)
    }

    fn precondition(&self, _cx: &Cx, _at: &Farm) -> Result<()> {
        cgroups::require_any()
    }

    fn check(&self, cx: &Cx, _at: &Farm) -> Result<Check> {
        let installed = program::check_installed(&["virsh"]);
        installed
            .and_then(|| check_answer(cx))?
            .and_then(|| check_cgroups(cx))?
            .and_then(|| service::check_enabled(cx, "libvirtd"))
    }

    fn apply(&self, cx: &Cx, _at: &Farm) -> Result<()> {
        await_starters(cx)?;
        if check_answer(cx)?.is_satisfied() && check_cgroups(cx)?.is_satisfied() {
            return service::enable(cx, "libvirtd");
        }
        if daemon()?.is_none() {
            cx.remember(STARTED, "")?;
        }
        let starter = Starter::of("libvirtd");
        let hybrid = cgroups::is_hybrid()?;
        let started = match &starter {
            Starter::Systemd => start_unit(cx, hybrid),
            Starter::Script(script) => {
                stop(cx).and_then(|()| cx.run(&daemon_command(script, "start", hybrid)))
            }
            Starter::Nothing => stop(cx).and_then(|()| start_daemons(cx, hybrid)),
        };
        started.with_context(|| format!("libvirtd could not be started by {starter}"))?;
        service::enable(cx, "libvirtd")?;
        await_answer(cx)
    }

    fn undo<'a>(&'a self, cx: &Cx, _at: &'a Farm) -> Result<Undo<'a>> {
        let mut undo = service::undo_enable(cx, "libvirtd")?;
        if cx.has_made(STARTED)? && is_up()? {
            undo = undo.act_if("stop libvirtd and virtlogd, unless a domain runs", take_down);
        }
        if Path::new(DROP_IN).exists() {
            undo = undo.act(format!("remove {DROP_IN}"), |cx| {
                ours::remove(Path::new(DROP_IN))?;
                cx.run(&Cmd::new("systemctl").arg("daemon-reload"))
            });
        }
        Ok(undo)
    }
}

/// Remembered if no daemon ran before.
const STARTED: &str = "started";

/// The units that bring the daemon back when somebody calls, first.
const UNITS: [&str; 6] = [
    "libvirtd.socket",
    "libvirtd-ro.socket",
    "libvirtd-admin.socket",
    "libvirtd.service",
    "virtlogd.socket",
    "virtlogd.service",
];

/// Stops the daemons, unless a domain runs.
fn take_down(cx: &Cx) -> Result<Option<String>> {
    await_starters(cx)?;
    if daemon()?.is_some() && runs_domains(cx)? {
        return Ok(Some("libvirtd goes on: a domain that is not ours runs".to_owned()));
    }
    match Starter::of("libvirtd") {
        Starter::Systemd => cx.run(&Cmd::new("systemctl").arg("stop").args(UNITS))?,
        Starter::Script(script) => cx.run(&Cmd::new(script).arg("stop"))?,
        Starter::Nothing => {}
    }
    for left in [daemon()?, log_daemon()?].into_iter().flatten() {
        left.end(cx, Signal::TERM)?;
    }
    Ok(None)
}

/// The daemons.
const DAEMONS: [&str; 2] = ["virtlogd", "libvirtd"];

/// Waits until nobody starts one.
fn await_starters(cx: &Cx) -> Result<()> {
    DAEMONS.into_iter().try_for_each(|daemon| service::await_starter(cx, daemon))
}

/// Whether one runs, or is being started.
fn is_up() -> Result<bool> {
    let runs = daemon()?.is_some() || log_daemon()?.is_some();
    DAEMONS.into_iter().try_fold(runs, |found, daemon| Ok(found || service::is_starting(daemon)?))
}

fn log_daemon() -> Result<Option<Process>> {
    Process::of_pid_file(Path::new("/run/virtlogd.pid"), "virtlogd")
}

fn check_answer(cx: &Cx) -> Result<Check> {
    if cx.is_settled() {
        // Others list the domains anyway.
        return Ok(match &*domain::all(cx)? {
            Lookup::Found(_) => Check::Satisfied,
            Lookup::Missing(reason) => Check::needed(reason),
        });
    }
    let output = virsh(cx, &["version"])?;
    if output.status.success() {
        return Ok(Check::Satisfied);
    }
    Ok(Check::needed(format!("libvirt does not answer at {URI}: {}", last_line(&output.stderr))))
}

/// Whether the daemon that answers can start containers here.
fn check_cgroups(cx: &Cx) -> Result<Check> {
    let Some(daemon) = daemon()? else { return Ok(Check::Satisfied) };
    if !cgroups::is_hybrid()? || !cgroups::sees_unified(daemon.id)? || runs_domains(cx)? {
        return Ok(Check::Satisfied);
    }
    let id = daemon.id;
    Ok(Check::needed(format!("libvirtd (process {id}) sees {UNIFIED}, where it cannot start containers")))
}

fn runs_domains(cx: &Cx) -> Result<bool> {
    if cx.is_settled()
        && let Lookup::Found(listing) = &*domain::all(cx)?
    {
        return Ok(listing.runs_any());
    }
    let output = virsh(cx, &["list", "--name"])?;
    if !output.status.success() {
        bail!("the domains at {URI} cannot be listed: {}", last_line(&output.stderr));
    }
    Ok(output.stdout.lines().any(|line| !line.trim().is_empty()))
}

fn virsh(cx: &Cx, args: &[&str]) -> Result<Output> {
    cx.probe(&Cmd::new("virsh").args(["-c", URI]).args(args))
}

fn last_line(text: &str) -> &str {
    text.trim().lines().last().unwrap_or("it said nothing")
}

/// The daemon that runs, if one does.
fn daemon() -> Result<Option<Process>> {
    Process::of_pid_file(Path::new("/run/libvirtd.pid"), "libvirtd")
}

/// Ends a daemon that does not answer, or sees what it should not. Domains outlive it.
fn stop(cx: &Cx) -> Result<()> {
    let Some(old) = daemon()? else { return Ok(()) };
    cx.note(&format!("libvirtd (process {}) is restarted", old.id));
    old.end(cx, Signal::TERM).context("end it yourself, then run again")
}

fn start_daemons(cx: &Cx, hybrid: bool) -> Result<()> {
    if log_daemon()?.is_none() {
        cx.run(&service::lasting("virtlogd", "virtlogd").arg("-d"))?;
    }
    cx.run(&daemon_command(Path::new("libvirtd"), "-d", hybrid))
}

/// A call of `program` that leaves the daemon behind; on hybrid cgroups in mounts of its own, which still follow the
/// host's, but without the one that keeps libvirt from starting containers.
fn daemon_command(program: &Path, arg: &str, hybrid: bool) -> Cmd {
    if !hybrid {
        return service::lasting("libvirtd", program).arg(arg);
    }
    let script = format!("umount {UNIFIED} && exec \"$@\"");
    let private =
        service::lasting("libvirtd", "unshare").args(["--mount", "--propagation", "slave", "sh", "-c"]);
    private.arg(script).args(["sh".as_ref(), program.as_os_str(), arg.as_ref()])
}

fn start_unit(cx: &Cx, hybrid: bool) -> Result<()> {
    if hybrid {
        HostFile::new(DROP_IN).write(&drop_in())?;
        cx.run(&Cmd::new("systemctl").arg("daemon-reload"))?;
    }
    cx.run(&Cmd::new("systemctl").args(["restart", "libvirtd"])).context("see `journalctl -u libvirtd`")
}

/// What lets systemd start the daemon as [`daemon_command`] does.
fn drop_in() -> String {
    format!(
        "# Written by Drover: libvirt-LXC cannot start containers where it sees version 2 beside version 1.\n\
        [Service]\nPrivateMounts=yes\nExecStart=\n\
        ExecStart=/bin/sh -c 'umount {UNIFIED} && exec /usr/sbin/libvirtd $LIBVIRTD_ARGS'\n"
    )
}

fn await_answer(cx: &Cx) -> Result<()> {
    for _ in 0..60 {
        if virsh(cx, &["version"])?.status.success() {
            return Ok(());
        }
        cx.sleep(Duration::from_millis(500))?;
    }
    bail!("libvirtd was started, but does not answer at {URI}: see what `libvirtd --verbose` says")
}
