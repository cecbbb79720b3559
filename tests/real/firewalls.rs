//! A firewall that does not let DHCP, names or ssh through is said before anything waits for it, with the command that opens it: rules
//! as people have them, and the programs themselves that make such rules.
//!
//! What is sent through them, and how, is the business of the step; here only what it says is known, and that it helps.

use crate::Test;
use crate::contract::run;
use crate::farm::{PAIR, drover};
use crate::site::Site;
use anyhow::{Context, Result, bail, ensure};
use throwaway::{Finished, Host};

pub(crate) const TESTS: &[Test] = &[
    ("a_firewall_is_named_with_the_command_that_opens_it", firewalls),
    ("programs_that_make_a_firewall_are_opened_by_their_own_commands", programs),
];

const NODE: &str = "host/lxc-net";

/// Rules as people have them, each with what is said of them, and how they are taken back if not by the command that is told.
const FIREWALLS: &[(&str, &[&str], Option<&str>)] = &[
    (
        "nft 'table inet filter { chain input { type filter hook input priority 0; policy drop; ct state established,related \
         accept; iif lo accept; tcp dport 22 accept; }; }'",
        &[
            "(table `inet filter`, chain `input`) stops requests for an address",
            "`nft insert rule inet filter input iifname \"lxcbr0\" accept`",
        ],
        None,
    ),
    (
        "nft 'table ip own { chain guard { udp dport { 53, 67 } drop; }; chain in { type filter hook input priority 10; jump guard; }; }'",
        &["(table `ip own`, chain `guard`) stops requests", "questions for names"],
        None,
    ),
    (
        "nft 'table inet filter { chain out { type filter hook output priority 0; policy drop; oif lo accept; }; }'",
        &[
            "(table `inet filter`, chain `out`) stops answers",
            "ssh from the host",
            "out oifname \"lxcbr0\" accept`",
        ],
        None,
    ),
    (
        "nft 'table inet filter { chain forward { type filter hook forward priority 0; policy drop; }; }'",
        &["(table `inet filter`, chain `forward`) stops connections of the containers to the world"],
        None,
    ),
    (
        "nft 'table bridge filter { chain input { type filter hook input priority 0; policy drop; }; }'",
        &["(table `bridge filter`, chain `input`) stops requests", "meta ibrname \"lxcbr0\" accept"],
        Some("nft delete table bridge filter"),
    ),
    (
        "ip link show lxcbr0 >/dev/null 2>&1 || ip link add lxcbr0 type bridge; nft 'table netdev edge { chain in { type filter hook ingress device \"lxcbr0\" priority 0; \
         ip protocol udp drop; }; }'",
        &["(table `netdev edge`, chain `in`) stops requests", "nft -a list chain netdev edge in"],
        Some("nft delete table netdev edge"),
    ),
    (
        "iptables -P INPUT DROP",
        &["(table `ip filter`, chain `INPUT`) stops requests", "`iptables -I INPUT -i lxcbr0 -j ACCEPT`"],
        None,
    ),
    (
        "iptables -N DOCKER-USER; iptables -A DOCKER-USER -j RETURN; iptables -A FORWARD -j DOCKER-USER; iptables -P FORWARD DROP; \
         iptables -A FORWARD -i docker0 -j ACCEPT",
        &[
            "chain `FORWARD`) stops connections of the containers to the world",
            "`iptables -I DOCKER-USER -i lxcbr0 -j ACCEPT && ",
        ],
        None,
    ),
    (
        "iptables -N ufw-before-input; iptables -A INPUT -j ufw-before-input; iptables -P INPUT DROP; iptables -A ufw-before-input \
         -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT; iptables -P FORWARD DROP",
        &["`ufw allow in on lxcbr0`", "`ufw route allow in on lxcbr0 && ufw route allow out on lxcbr0`"],
        Some("iptables -P INPUT ACCEPT; iptables -P FORWARD ACCEPT"),
    ),
    (
        "nft 'table inet firewalld { chain filter_INPUT { type filter hook input priority 10; ct state established accept; iif lo \
         accept; reject with icmpx admin-prohibited; }; }'",
        &[
            "chain `filter_INPUT`) stops requests",
            "`firewall-cmd --permanent --zone=trusted --add-interface=lxcbr0 && firewall-cmd --reload`",
        ],
        Some("nft delete table inet firewalld"),
    ),
];

fn firewalls(site: &Site) -> Result<()> {
    let host = site.fresh_host("firewalls")?;
    run(&host, PAIR, "host/packages")?;
    for (spoil, complaints, mend) in FIREWALLS {
        host.shell(spoil)?;
        let before =
            host.shell("nft --stateless list ruleset; ip -oneline link; ls /run/netns 2>/dev/null || true")?;
        let stopped =
            drover(&host, &["run", "--only", NODE, PAIR])?.exits(7).with_context(|| (*spoil).to_owned())?;
        for complaint in *complaints {
            ensure!(stopped.stderr.contains(complaint), "`{complaint}` is not in:\n{}", stopped.stderr);
        }
        let after =
            host.shell("nft --stateless list ruleset; ip -oneline link; ls /run/netns 2>/dev/null || true")?;
        ensure!(before == after, "looking changed the host:\n{before}\n{after}");
        match mend {
            Some(mend) => drop(host.shell(mend)?),
            None => follow(&host, stopped)?,
        }
        let planned = drover(&host, &["plan", "--only", NODE, PAIR])?.ok()?.stdout;
        ensure!(!planned.contains("firewall"), "after `{spoil}` was mended:\n{planned}");
        host.shell("nft flush ruleset")?;
    }
    let (spoil, ..) = FIREWALLS[0];
    host.shell(spoil)?;
    let doctor = drover(&host, &["doctor", PAIR])?.exits(7)?.stdout;
    ensure!(doctor.contains("the host's firewall (table"), "{doctor}");
    host.shell("nft flush ruleset")?;
    // What concerns IPv6 alone, or others, stops nothing of this.
    for harmless in [
        "nft 'table ip6 filter { chain input { type filter hook input priority 0; policy drop; }; }'",
        "nft 'table inet filter { chain input { type filter hook input priority 0; iifname \"eth9\" drop; tcp dport 25 reject; }; }'",
    ] {
        host.shell(harmless)?;
        let planned = drover(&host, &["plan", "--only", NODE, PAIR])?.ok()?.stdout;
        ensure!(!planned.contains("firewall"), "`{harmless}`:\n{planned}");
        host.shell("nft flush ruleset")?;
    }
    Ok(())
}

/// Does what is told, first by the run that was stopped, until nothing more is told: one command at a time, as somebody would who
/// reads it.
fn follow(host: &Host, mut said: Finished) -> Result<()> {
    for _ in 0..6 {
        let Some((_, rest)) = said.stderr.split_once("the host's firewall (") else { return Ok(()) };
        let rest = rest.split_once(": `").context("no command is told")?.1;
        let command = rest.split('`').next().unwrap_or_default();
        host.shell(command).with_context(|| said.stderr.clone())?;
        said = drover(host, &["run", "--only", NODE, PAIR])?;
    }
    bail!("what is told does not open it")
}

/// A program that makes a firewall: how it starts, what is said of it then, and how it ends.
struct Program {
    start: &'static str,
    said: &'static [&'static str],
    end: &'static str,
}

const PROGRAMS: [Program; 4] = [
    Program {
        start: "ufw --force enable",
        said: &[
            "chain `ufw-skip-to-policy-input`) stops requests for an address",
            "`ufw allow in on lxcbr0`",
            "`ufw route allow in on lxcbr0 && ufw route allow out on lxcbr0`",
        ],
        end: "ufw --force reset; ufw disable",
    },
    Program {
        start: "mkdir -p /run/dbus; pgrep -x dbus-daemon || dbus-daemon --system --fork; firewalld; \
            for i in $(seq 60); do sleep 0.5; if firewall-cmd --state; then exit 0; fi; done; exit 1",
        said: &[
            "(table `inet firewalld`, chain `filter_IN_public`) stops requests",
            "`firewall-cmd --permanent --zone=trusted --add-interface=lxcbr0 && firewall-cmd --reload`",
        ],
        end: "pkill firewalld; while pgrep firewalld; do sleep 0.1; done; pkill dbus-daemon",
    },
    // Where nothing was forwarded before, Docker forwards for itself alone.
    Program {
        start: "echo 0 >/proc/sys/net/ipv4/ip_forward; dockerd >/var/log/dockerd 2>&1 & \
            for i in $(seq 60); do sleep 0.5; if grep -q 'API listen' /var/log/dockerd; then exit 0; fi; done; cat /var/log/dockerd; exit 1",
        said: &[
            "chain `FORWARD`) stops connections of the containers to the world",
            "`iptables -I DOCKER-USER -i lxcbr0 -j ACCEPT && ",
        ],
        end: "pkill dockerd; while pgrep dockerd; do sleep 0.1; done; iptables -P FORWARD ACCEPT",
    },
    Program {
        start: "iptables-legacy -P INPUT DROP",
        said: &["of iptables-legacy", "`iptables-legacy -I INPUT -i lxcbr0 -j ACCEPT`"],
        end: "iptables-legacy -P INPUT ACCEPT; iptables-legacy -F",
    },
];

fn programs(site: &Site) -> Result<()> {
    let host = site.fresh_host("firewall-programs")?;
    run(&host, PAIR, "host/packages")?;
    host.shell("apt-get -qy install --no-install-recommends ufw firewalld docker.io")?;
    for Program { start, said, end } in PROGRAMS {
        host.shell(start)?;
        let stopped = drover(&host, &["run", "--only", NODE, PAIR])?.exits(7).context(start)?;
        for complaint in said {
            ensure!(stopped.stderr.contains(complaint), "`{complaint}` is not in:\n{}", stopped.stderr);
        }
        follow(&host, stopped).context(start)?;
        let planned = drover(&host, &["plan", "--only", NODE, PAIR])?.ok()?.stdout;
        ensure!(!planned.contains("firewall"), "after `{start}` was opened:\n{planned}");
        host.shell(end)?;
        // What is up is not started once more.
        host.shell("/usr/libexec/lxc/lxc-net stop; nft flush ruleset")?;
    }
    Ok(())
}
