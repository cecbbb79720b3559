//! Whether the host's rules let through what containers live on: DHCP, names and ssh on the bridge, and the way out.
//!
//! Rules are not judged by reading them: they are loaded in a network namespace of our own that has a bridge like the farm's,
//! and packets are sent there. What stops one is what the kernel says stopped it. The host's own network is not touched, and
//! need not be up yet. It does not know who waits for the network.

mod remedy;
mod rules;
mod trace;

use super::bridge::own_address;
use super::program;
use crate::farm::Farm;
use anyhow::{Context, Result, bail, ensure};
use drover_engine::{Cmd, Cx};
use rules::Rules;
use std::fs;
use std::sync::Arc;
use trace::Culprit;

const PROBE: &str = include_str!("firewall/probe.sh");
const SENDER: &str = include_str!("firewall/net.pl");

/// The kinds of traffic that the probe tries, by its words for them, and what they are to a reader.
const TRAFFIC: [(&str, &str); 5] = [
    ("request", "requests for an address (DHCP, from the containers to port 67)"),
    ("answer", "answers with an address (DHCP, to port 68)"),
    ("names", "questions for names (DNS, from the containers to port 53)"),
    ("ssh", "ssh from the host to the containers"),
    ("world", "connections of the containers to the world"),
];

/// Ends well if all of it passes, or that cannot be found out here.
///
/// # Errors
/// Says what stops what, and how to let it through.
pub(crate) fn ensure_open(cx: &Cx, farm: &Farm) -> Result<()> {
    match complaint(cx, farm)? {
        Some(complaint) => bail!(complaint),
        None => Ok(()),
    }
}

/// What the host's rules stop, by what, and how to let it through; `None` if nothing is known to be stopped.
///
/// # Errors
/// When the rules cannot be read, or not be tried.
pub(crate) fn complaint(cx: &Cx, farm: &Farm) -> Result<Option<String>> {
    let question = format!("what a firewall stops on {} {}", farm.bridge, farm.network);
    Ok(Option::clone(&*Arc::clone(&cx.once(&question, || look(cx, farm))?)))
}

fn look(cx: &Cx, farm: &Farm) -> Result<Option<String>> {
    if !rustix::process::geteuid().is_root() {
        cx.doubt("only root can tell whether a firewall stops DHCP or ssh on the bridge");
        return Ok(None);
    }
    let rules = Rules::read(cx)?;
    if !rules.may_stop_anything() {
        return Ok(None);
    }
    for name in ["perl", "unshare", "nsenter", "ip"] {
        if program::find(name).is_none() {
            cx.doubt(&format!(
                "whether the host's firewall stops DHCP or ssh is not known: `{name}` is not installed"
            ));
            return Ok(None);
        }
    }
    let tried = attempt(cx, farm, &rules)?;
    if tried.stopped.is_empty() {
        for name in tried.not_loaded {
            cx.doubt(&format!(
                "what the rules of {name} stop is not known: they could not be tried apart from the host"
            ));
        }
        return Ok(None);
    }
    Ok(Some(tell(&tried.stopped, farm, &rules)))
}

/// A kind of traffic that does not get through.
struct Stopped {
    what: &'static str,
    by: Option<Culprit>,
}

struct Tried {
    stopped: Vec<Stopped>,
    /// The tables that the probe was without.
    not_loaded: Vec<String>,
}

/// Loads the rules in a namespace, and sends packets through them.
fn attempt(cx: &Cx, farm: &Farm, rules: &Rules) -> Result<Tried> {
    let place = tempfile::tempdir().context("make a temporary directory")?;
    let write = |name: &str, text: &str| {
        fs::write(place.path().join(name), text)
            .with_context(|| format!("write `{name}` for the firewall's probe"))
    };
    write("probe.sh", PROBE)?;
    write("net.pl", SENDER)?;
    rules.write(&write)?;
    let (uplink, address) = uplink(cx, farm)?;
    let others = interfaces()?.into_iter().filter(|name| *name != farm.bridge && *name != uplink);
    write("interfaces", &others.map(|name| name + "\n").collect::<String>())?;
    let network = farm.network;
    let guest = network.hosts().next_back().context("the network has no room")?;
    let call = Cmd::new("timeout")
        .args(["60", "unshare", "--net", "sh"])
        .arg(place.path().join("probe.sh"))
        .arg(place.path())
        .args([farm.bridge.as_str(), &own_address(network).to_string(), &network.prefix_len().to_string()])
        .args([guest.to_string(), uplink, address, bridge_nf()]);
    let said = cx.probe(&call)?;
    ensure!(
        said.status.success(),
        "the host's firewall could not be tried in a namespace of its own: {}",
        said.stderr.trim().lines().last().unwrap_or("no reason is given")
    );
    let trace = fs::read(place.path().join("trace")).unwrap_or_default();
    let drops = trace::drops(&String::from_utf8_lossy(&trace));
    let stops = |word: &str| said.stdout.lines().any(|line| line == format!("{word} stops"));
    let stopped = TRAFFIC.iter().filter(|(word, _)| stops(word)).map(|(word, what)| Stopped {
        what,
        by: drops.iter().find(|(traffic, _)| traffic == word).map(|(_, culprit)| culprit.clone()),
    });
    let not_loaded = said.stdout.lines().filter_map(|line| line.strip_prefix("cannot load "));
    Ok(Tried { stopped: stopped.collect(), not_loaded: not_loaded.map(str::to_owned).collect() })
}

/// What is stopped, each chain once with all that it stops and the command that lets it through.
fn tell(stopped: &[Stopped], farm: &Farm, rules: &Rules) -> String {
    // A packet that only follows another one, such as a question for a hardware address, tells nothing of its own.
    let any = stopped.iter().find_map(|stopped| stopped.by.clone());
    let mut told: Vec<(String, String, Vec<&str>)> = Vec::new();
    for Stopped { what, by } in stopped {
        let by =
            by.clone().or_else(|| rules.legacy_culprit(what)).or_else(|| any.clone()).unwrap_or_default();
        let (chain, mend) = (by.chain_in_words(), remedy::of(&by, farm, rules));
        match told.iter_mut().find(|known| (&known.0, &known.1) == (&chain, &mend)) {
            Some(known) => known.2.push(what),
            None => told.push((chain, mend, vec![what])),
        }
    }
    let told = told.into_iter().map(|(chain, mend, what)| {
        format!("the host's firewall ({chain}) stops {}: {mend}", what.join(", "))
    });
    told.collect::<Vec<_>>().join("; ")
}

/// The interface by which the host reaches the world, with an address in it.
fn uplink(cx: &Cx, farm: &Farm) -> Result<(String, String)> {
    let routes = cx.read(&Cmd::new("ip").args(["-4", "route", "show", "default"]))?;
    let words: Vec<_> = routes.split_whitespace().collect();
    let device = words.iter().position(|word| *word == "dev").and_then(|place| words.get(place + 1));
    let device = device.filter(|device| **device != farm.bridge).map_or("eth0", |device| *device);
    let shown = cx.probe(&Cmd::new("ip").args(["-4", "-oneline", "address", "show", "dev", device]))?.stdout;
    let address = shown.split_whitespace().skip_while(|word| *word != "inet").nth(1);
    let address = address.filter(|address| address.contains('/')).unwrap_or("172.31.255.2/24");
    Ok((device.to_owned(), address.to_owned()))
}

fn interfaces() -> Result<Vec<String>> {
    let entries = fs::read_dir("/sys/class/net").context("read `/sys/class/net`")?;
    let names = entries.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()));
    let names: Vec<String> = names.collect::<Result<_>>().context("read `/sys/class/net`")?;
    Ok(names.into_iter().filter(|name| name != "lo" && name != "bonding_masters").collect())
}

/// Whether frames on bridges are shown to the rules for IP.
fn bridge_nf() -> String {
    let setting = fs::read_to_string("/proc/sys/net/bridge/bridge-nf-call-iptables");
    setting.map_or("0".to_owned(), |setting| setting.trim().to_owned())
}
