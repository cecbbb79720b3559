//! The bridge, running with the configuration that is written: what comes with the step `Bridge`.
//!
//! Whether a restart is pending is nowhere recorded as such. The stamp below `/run/drover` says which text which dnsmasq
//! has read; where it does not agree with the files and the process, a restart is due, whoever edited them, whenever.

use super::bridge::{DEFAULTS, own_address};
use super::bridge_dns::DNSMASQ;
use super::dnsmasq::{self, dnsmasq};
use super::process::Process;
use super::program;
use super::{firewall, lines};
use crate::farm::Farm;
use crate::inputs;
use crate::ours;
use crate::resource::{BRIDGE, LXC_NET_INPUT, PACKAGES};
use crate::service::{self, Starter};
use crate::step::FarmStep;
use anyhow::{Context, Result, bail};
use drover_engine::{Check, Cmd, Cx, HostFile, Inputs, Need, Resource, Undo};
use rustix::process::Signal;
use serde::Serialize;
use sha2::{Digest, Sha256};
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

const SERVICE: &str = "lxc-net";
const PROGRAM: &str = "/usr/libexec/lxc/lxc-net";

/// The bridge, running with the configuration that is written.
#[derive(Debug, Serialize)]
pub(super) struct LxcNet;

impl FarmStep<Farm> for LxcNet {
    fn title(&self, at: &Farm) -> String {
        format!("start the bridge {}", at.bridge)
    }

    fn facts(&self, at: &Farm) -> Inputs {
        inputs::bridge(at).and(inputs::network(at))
    }

    fn needs(&self, _at: &Farm) -> Vec<Need> {
        vec![
            Need::Must(Resource::new(PACKAGES, "host")),
            Need::Must(Resource::new(LXC_NET_INPUT, "Bridge")),
            Need::IfAny(Resource::new(LXC_NET_INPUT, "BridgeDns")),
            // One container whose address could not be reserved does not keep the bridge from the others.
            Need::After(LXC_NET_INPUT),
        ]
    }

    fn provides(&self, at: &Farm) -> Vec<Resource> {
        vec![Resource::new(BRIDGE, &at.bridge)]
    }

    fn estimate(&self, _at: &Farm) -> Duration {
        Duration::from_secs(2)
    }

    fn timeout(&self, _at: &Farm) -> Duration {
        Duration::from_secs(120)
    }

    fn precondition(&self, cx: &Cx, at: &Farm) -> Result<()> {
        firewall::ensure_open(cx, at)
    }

    fn check(&self, cx: &Cx, at: &Farm) -> Result<Check> {
        check_interface(&at.bridge)
            .and_then(|| Ok(program::check_installed(&["ip", "ethtool"])))?
            .and_then(|| check_address(cx, at))?
            .and_then(|| check_current(at))?
            .and_then(check_called)?
            .and_then(|| check_offload(cx, &at.bridge))?
            .and_then(|| service::check_enabled(cx, SERVICE))
    }

    fn apply(&self, cx: &Cx, at: &Farm) -> Result<()> {
        service::await_starter(cx, SERVICE)?;
        firewall::ensure_open(cx, at)?;
        let up = check_interface(&at.bridge)
            .and_then(|| check_address(cx, at))?
            .and_then(|| check_current(at))?
            .and_then(check_called)?;
        if let Check::Needed { reason, .. } = up {
            cx.note(&format!("lxc-net is restarted: {reason}"));
            // What is read now is what dnsmasq reads; an edit after this shows as a difference.
            let inputs = digest(at)?;
            if check_interface(&at.bridge).is_satisfied() && cx.remembered(STARTED)?.is_none() {
                cx.remember(WAS_UP, "")?;
            }
            cx.remember(STARTED, "")?;
            restart(cx)?;
            let dnsmasq = await_dnsmasq(cx)?;
            stamp(at).write(&stamp_text(&inputs, dnsmasq))?;
        }
        service::enable(cx, SERVICE)?;
        cx.run(&Cmd::new("ethtool").args(["-K", &at.bridge, "tx", "off"]))
    }

    fn undo<'a>(&'a self, cx: &Cx, at: &'a Farm) -> Result<Undo<'a>> {
        if cx.remembered(WAS_UP)?.is_some() {
            return Ok(Undo::default().keep(format!(
                "the bridge {} was up before: it stays so, until lxc-net is started again as it was configured before",
                at.bridge
            )));
        }
        let undo = service::undo_enable(cx, SERVICE)?;
        let is_up = check_interface(&at.bridge).is_satisfied() || dnsmasq()?.is_some();
        if !is_up && !service::is_starting(SERVICE)? {
            let is_left = traces(at).iter().any(|path| path.exists()) && cx.has_made(STARTED)?;
            let what = format!("forget whom the bridge {} lent addresses to", at.bridge);
            return Ok(if is_left { undo.act(what, |_| remove_traces(at)) } else { undo });
        }
        let what = format!("stop lxc-net, and with it the bridge {}, unless somebody is on it", at.bridge);
        Ok(undo.act_if(what, |cx| stop(cx, at)))
    }
}

/// Remembered of a bridge that was there before it was first started here,
const WAS_UP: &str = "was up";
/// and of one that was started here.
const STARTED: &str = "started";

/// Stops lxc-net unless somebody is on the bridge.
fn stop(cx: &Cx, farm: &Farm) -> Result<Option<String>> {
    service::await_starter(cx, SERVICE)?;
    if let Some(name) = on_bridge(&farm.bridge)? {
        return Ok(Some(format!("the bridge {} stays: `{name}` is on it", farm.bridge)));
    }
    match Starter::of(SERVICE) {
        Starter::Systemd => cx.run(&Cmd::new("systemctl").args(["stop", SERVICE])),
        Starter::Script(script) => cx.run(&Cmd::new(script).arg("stop")),
        Starter::Nothing => cx.run(&Cmd::new(PROGRAM).arg("stop")),
    }
    .context("lxc-net could not be stopped")?;
    if let Some(left) = dnsmasq()? {
        left.end(cx, Signal::TERM)?;
    }
    remove_traces(farm).map(|()| None)
}

/// What is left of a bridge that was started here: whom addresses were lent to, and what its dnsmasq had read.
fn traces(farm: &Farm) -> [PathBuf; 2] {
    [farm.leases(), stamp(farm).path().to_owned()]
}

/// Nobody was on the bridge before us: whom an address was lent to is of no use to anybody.
fn remove_traces(farm: &Farm) -> Result<()> {
    traces(farm).iter().try_for_each(|path| ours::remove(path))
}

/// An interface that is on the bridge.
fn on_bridge(name: &str) -> Result<Option<String>> {
    let ports = Path::new("/sys/class/net").join(name).join("brif");
    if !ports.is_dir() {
        return Ok(None);
    }
    let mut entries = ports.read_dir().with_context(|| format!("cannot read `{}`", ports.display()))?;
    Ok(entries.next().transpose()?.map(|entry| entry.file_name().to_string_lossy().into_owned()))
}

fn check_interface(name: &str) -> Check {
    if Path::new("/sys/class/net").join(name).join("bridge").is_dir() {
        return Check::Satisfied;
    }
    Check::needed(format!("there is no bridge {name}"))
}

fn check_address(cx: &Cx, farm: &Farm) -> Result<Check> {
    let shown =
        cx.read(&Cmd::new(path("ip")).args(["-4", "-oneline", "address", "show", "dev", &farm.bridge]))?;
    let wanted = format!("{}/{}", own_address(farm.network), farm.network.prefix_len());
    if shown.split_whitespace().any(|word| word == wanted) {
        return Ok(Check::Satisfied);
    }
    Ok(Check::needed(format!("the bridge {} does not have the address {wanted}", farm.bridge)))
}

/// Whether the dnsmasq that runs has read what is written.
fn check_current(farm: &Farm) -> Result<Check> {
    let Some(dnsmasq) = dnsmasq()? else {
        return Ok(Check::needed(format!("no dnsmasq serves the bridge {}", farm.bridge)));
    };
    let text = stamp_text(&digest(farm)?, dnsmasq);
    Ok(match stamp(farm).read()? {
        Some(stamped) if stamped == text => Check::Satisfied,
        Some(_) => Check::needed("lxc-net was started before its configuration got its present text"),
        None => Check::needed("it is not known which configuration lxc-net was started with"),
    })
}

/// Whether the dnsmasq that runs was called as the settings say: whatever they read like, that is what counts.
fn check_called() -> Result<Check> {
    let settings = HostFile::new(DEFAULTS).read()?.unwrap_or_default();
    let called = dnsmasq::options()?;
    let wanted = [
        ("LXC_BRIDGE", "interface"),
        ("LXC_ADDR", "listen-address"),
        ("LXC_DHCP_RANGE", "dhcp-range"),
        ("LXC_DHCP_CONFILE", "conf-file"),
    ];
    for (setting, option) in wanted {
        let Some(value) = lines::assigned(&settings, setting).filter(|value| !value.is_empty()) else {
            continue;
        };
        let has: Vec<_> =
            called.iter().filter(|(name, _)| name == option).map(|(_, has)| has.as_str()).collect();
        // lxc-net may add more to a range, such as its netmask.
        if !has.iter().any(|has| *has == value || has.starts_with(&format!("{value},"))) {
            let has = if has.is_empty() { "none".to_owned() } else { has.join(" and ") };
            return Ok(Check::needed(format!(
                "dnsmasq was started with --{option} {has}, not {value} as {DEFAULTS} says: see what else sets {setting} in \
                 /etc/default/lxc"
            )));
        }
    }
    Ok(Check::Satisfied)
}

/// Emulated DHCP clients do not see the kernel's mark on packets whose checksum is left to the hardware.
fn check_offload(cx: &Cx, bridge: &str) -> Result<Check> {
    let features = cx.read(&Cmd::new(path("ethtool")).args(["-k", bridge]))?;
    if features.lines().any(|line| line.trim() == "tx-checksumming: off") {
        return Ok(Check::Satisfied);
    }
    Ok(Check::needed(format!("transmit checksum offload is on at {bridge}")))
}

fn path(name: &str) -> PathBuf {
    program::find(name).unwrap_or_else(|| name.into())
}

fn await_dnsmasq(cx: &Cx) -> Result<Process> {
    for _ in 0..50 {
        if let Some(dnsmasq) = dnsmasq()? {
            return Ok(dnsmasq);
        }
        cx.sleep(Duration::from_millis(100))?;
    }
    bail!("lxc-net was started, but no dnsmasq runs: see what `{PROGRAM} start` says")
}

fn restart(cx: &Cx) -> Result<()> {
    let starter = Starter::of(SERVICE);
    let result = match &starter {
        Starter::Systemd => cx.run(&Cmd::new("systemctl").args(["restart", SERVICE])),
        Starter::Script(script) => restart_with(cx, script),
        Starter::Nothing => restart_with(cx, Path::new(PROGRAM)),
    };
    let hint = match starter {
        Starter::Systemd => "see `journalctl -u lxc-net`",
        _ => {
            "if its dnsmasq finds the address in use, another one listens on all: give that one `bind-interfaces`"
        }
    };
    result.with_context(|| format!("lxc-net could not be started by {starter}; {hint}"))
}

/// Stops and starts it by `program`. Not by its `restart`: that minds neither a bridge that was never started nor a dnsmasq
/// whose bridge somebody else has removed, which `stop` leaves running.
fn restart_with(cx: &Cx, program: &Path) -> Result<()> {
    cx.probe(&Cmd::new(program).arg("stop"))?;
    if let Some(left) = dnsmasq()? {
        left.end(cx, Signal::KILL)?;
    }
    cx.run(&service::lasting(SERVICE, program).arg("start"))
}

/// Where it is noted what the running dnsmasq has read; gone when the machine restarts, like the bridge.
fn stamp(farm: &Farm) -> HostFile {
    HostFile::new(format!("/run/drover/lxc-net-{}", farm.bridge))
}

fn stamp_text(inputs: &str, dnsmasq: Process) -> String {
    format!("{inputs} read by {dnsmasq}\n")
}

/// A digest of everything that lxc-net and its dnsmasq read when they start.
fn digest(farm: &Farm) -> Result<String> {
    let mut digest = Sha256::new();
    for path in [Path::new("/etc/default/lxc"), Path::new(DEFAULTS), Path::new(DNSMASQ), farm.dnsmasq_hosts()]
    {
        let text = HostFile::new(path).read()?;
        digest.update(format!("{} {:?}\n", path.display(), text));
    }
    Ok(digest.finalize().iter().fold(String::new(), |mut hex, byte| {
        write!(hex, "{byte:02x}").expect("a String takes everything");
        hex
    }))
}
