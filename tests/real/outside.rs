//! A port of the host leads to a container's ssh, for somebody who is in another network.

use crate::Test;
use crate::contract::{Fresh, keeps_contract, run};
use crate::farm::{CONTAINERS, drover};
use crate::site::Site;
use anyhow::{Context, Result, ensure};
use throwaway::Host;

pub(crate) const TESTS: &[Test] = &[("a_port_of_the_host_leads_to_ssh_from_another_network", reached)];

const PLAN: &str = "Plan(
    name: \"outside\",
    include: [\"/run/farm/plans/debian-pair.ron\"],
    host: [],
    containers: [],
    each: [ExposeSsh(Auto)],
)";
const NAME: &str = "/root/outside.ron";

/// Another network namespace, in which `$run` runs things, and a cable to the host, which is 192.0.2.1 there.
const NETWORK: &str = "unshare --net sleep infinity >/dev/null 2>&1 & outside=$!; echo $outside >/run/outside
    here=$(readlink /proc/self/ns/net)
    until test $(readlink /proc/$outside/ns/net) != $here; do sleep 0.1; done
    ip link add to-outside type veth peer name to-host netns $outside
    ip address add 192.0.2.1/24 dev to-outside && ip link set to-outside up
    nsenter --net --target $outside sh -euc 'ip address add 192.0.2.2/24 dev to-host; ip link set to-host up; ip link set lo up'";

fn reached(site: &Site) -> Result<()> {
    let host = site.built("outside")?;
    host.write(NAME, PLAN)?;
    // Somebody else's firewall, which stays.
    run(&host, NAME, "host/*")?;
    host.shell("nft add table inet theirs")?;
    host.shell(NETWORK)?;
    for (container, _) in CONTAINERS {
        run(&host, NAME, &format!("{container}/*-*"))?;
        ensure!(!port(&host, container)?.is_empty(), "no port leads to {container}");
    }
    for (container, machine) in CONTAINERS {
        let port = port(&host, container)?;
        let said = from_outside(&host, "192.0.2.1", &port)?;
        ensure!(said == format!("{machine} {container}\n"), "port {port} of the host leads to {said}");
        // From the host itself, and from another container.
        ensure!(
            here(&host, &port)?.starts_with(machine),
            "the host does not reach {container} by its own port"
        );
    }
    let (first, second) = (CONTAINERS[0].0, CONTAINERS[1].0);
    let hairpin = host.shell(&format!(
        "nsenter --net --target $(cat /run/libvirt/lxc/{first}.pid | xargs -I@ pgrep -P @ | head -n 1) \
         timeout 120 ssh-keyscan -T 60 -t ed25519 -p {} 10.0.3.1 2>/dev/null",
        port(&host, second)?
    ))?;
    ensure!(hairpin.contains("ssh-ed25519"), "a container does not reach another one by the host's port");

    // Gone, as when the host restarts: it comes back, with the same ports.
    let before = host.read("/etc/lxc/drover-ssh.nft")?;
    host.shell("nft delete table ip drover_ssh")?;
    keeps_contract(&host, NAME, &format!("{first}/expose-ssh"), Fresh::Needed)?;
    ensure!(host.read("/etc/lxc/drover-ssh.nft")? == before, "the ports have changed");
    host.shell("nft list table inet theirs")?;
    refused(&host)?;
    taken_away(&host)
}

/// With a container goes its port, and with the last one all that the host had for them; the firewall of others stays.
fn taken_away(host: &Host) -> Result<()> {
    let [(gone, _), (left, machine)] = CONTAINERS;
    let closed = port(host, gone)?;
    drover(host, &["destroy", NAME, "--container", gone, "--yes"])?.ok()?;
    ensure!(port(host, gone).is_err(), "the rules still name {gone}");
    host.shell(&format!("nft list table ip drover_ssh >/run/rules; no grep -w {closed} /run/rules"))?;
    let said = from_outside(host, "192.0.2.1", &port(host, left)?)?;
    ensure!(said == format!("{machine} {left}\n"), "the other one's port leads to {said}");
    drover(host, &["destroy", NAME, "--container", left, "--yes"])?.ok()?;
    host.shell(
        "no test -e /etc/lxc/drover-ssh.nft; no nft list table ip drover_ssh; nft list table inet theirs",
    )?;
    Ok(())
}

/// A port at which the host itself listens is not taken away from it.
fn refused(host: &Host) -> Result<()> {
    let _server = host.spawn(&[
        "perl",
        "-MIO::Socket::INET",
        "-e",
        "my $s = IO::Socket::INET->new(LocalPort => 22222, Listen => 1) or die; sleep 600",
    ])?;
    host.shell("for i in $(seq 100); do grep -q ':56CE 00000000:0000 0A' /proc/net/tcp && exit 0; sleep 0.05; done; exit 1")?;
    let pair = host.read("/run/farm/plans/debian-pair.ron")?;
    let one =
        pair.replace("[amd64, arm64]", "amd64").replace("AwaitSsh,", "AwaitSsh, ExposeSsh(Fixed(22222)),");
    host.write("/root/one.ron", &one)?;
    let ended = drover(host, &["run", "/root/one.ron", "--only", "jenkins-debian12-amd64/expose-ssh"])?;
    ensure!(ended.code() != Some(0), "it was taken: {ended:?}");
    let told = format!("{}{}", ended.stdout, ended.stderr);
    ensure!(told.contains("listens at port 22222"), "{told}");
    Ok(())
}

/// The port that leads to a container.
fn port(host: &Host, container: &str) -> Result<String> {
    let rules = host.read("/etc/lxc/drover-ssh.nft")?;
    let rule = rules.lines().find(|line| line.ends_with(&format!("\"{container}\"")));
    let port = rule.and_then(|rule| rule.split_whitespace().nth(2)).context("no port")?;
    Ok(port.to_owned())
}

const SSH: &str = "timeout 40 ssh -i /home/abuild/.ssh/id_rsa -o BatchMode=yes -o StrictHostKeyChecking=no \
     -o UserKnownHostsFile=/dev/null -o LogLevel=ERROR";

fn from_outside(host: &Host, address: &str, port: &str) -> Result<String> {
    host.shell(&format!(
        "nsenter --net --target $(cat /run/outside) {SSH} -p {port} abuild@{address} 'echo $(uname -m) $(hostname)'"
    ))
}

fn here(host: &Host, port: &str) -> Result<String> {
    host.shell(&format!("{SSH} -p {port} abuild@192.0.2.1 uname -m"))
}
