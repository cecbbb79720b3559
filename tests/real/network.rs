//! What does not count of the settings of lxc-net is said before anything waits for it; reservations are dnsmasq's; and what is not
//! proved is never taken for done.

use crate::Test;
use crate::contract::run;
use crate::farm::{CONTAINERS, PAIR, answers, drover, outcomes};
use crate::site::Site;
use anyhow::{Result, ensure};
use std::time::{Duration, Instant};
use throwaway::Host;

pub(crate) const TESTS: &[Test] = &[
    ("settings_of_lxc_net_that_do_not_count_are_told_before_it_starts", settings),
    ("what_an_earlier_step_mends_does_not_stop_the_run", mended),
    ("a_container_that_was_not_proved_is_made_anew_and_a_login_that_cannot_work_is_not_waited_for", proofs),
];

const NODE: &str = "host/lxc-net";

fn settings(site: &Site) -> Result<()> {
    let host = site.fresh_host("lxc-net-settings")?;
    run(&host, PAIR, "host/packages")?;
    host.shell("cp /etc/default/lxc /var/tmp/lxc")?;
    for (node, spoil, complaint) in [
        ("host/bridge", "sed -i '/lxc-net/d' /etc/default/lxc", "does not read `/etc/default/lxc-net`"),
        ("host/bridge-dns", "sed -i '/lxc-net/d' /etc/default/lxc", "does not read `/etc/default/lxc-net`"),
        ("host/bridge", "echo LXC_ADDR=10.9.9.1 >>/etc/default/lxc", "sets LXC_ADDR (to `10.9.9.1`) after"),
        (
            "host/bridge-dns",
            "echo LXC_DHCP_CONFILE=/x >>/etc/default/lxc",
            "sets LXC_DHCP_CONFILE (to `/x`) after",
        ),
    ] {
        host.shell(spoil)?;
        let stopped = drover(&host, &["run", "--only", node, PAIR])?.exits(7)?;
        ensure!(stopped.stderr.contains(complaint), "`{complaint}` is not in:\n{}", stopped.stderr);
        let doctor = drover(&host, &["doctor", PAIR])?.exits(7)?.stdout;
        ensure!(doctor.contains(complaint), "{doctor}");
        host.shell("cp /var/tmp/lxc /etc/default/lxc")?;
    }
    reservations(&host)?;
    for node in ["host/bridge", "host/bridge-dns", NODE] {
        run(&host, PAIR, node)?;
    }
    let called = host.shell("tr '\\0' ' ' </proc/$(cat /run/lxc/dnsmasq.pid)/cmdline")?;
    ensure!(called.contains("--conf-file=/etc/lxc/dnsmasq.conf"), "{called}");
    drover(&host, &["plan", "--detailed-exitcode", "--only", "host/*", "--exclude", "host/binfmt*", PAIR])?;
    // Started again by hand with something else, with files and process as they were noted.
    host.shell(
        "cp /etc/default/lxc-net /var/tmp/net; sed -i '/CONFILE/d' /etc/default/lxc-net
        /usr/libexec/lxc/lxc-net stop; /usr/libexec/lxc/lxc-net start; cp /var/tmp/net /etc/default/lxc-net",
    )?;
    run(&host, PAIR, NODE)?;
    let called = host.shell("tr '\\0' ' ' </proc/$(cat /run/lxc/dnsmasq.pid)/cmdline")?;
    ensure!(called.contains("--conf-file=/etc/lxc/dnsmasq.conf"), "{called}");
    Ok(())
}

/// Reservations in every place that dnsmasq reads: a name that has one is adopted, an address is never given twice.
fn reservations(host: &Host) -> Result<()> {
    host.shell(
        "mkdir -p /etc/lxc/hosts.d; echo '52:54:00:00:00:09,10.0.3.98' >/etc/lxc/hosts.d/mac
        printf 'dhcp-host=JENKINS-DEBIAN12-AMD64,10.0.3.99 # by hand\\ndhcp-hostsdir=/etc/lxc/hosts.d\\n' >>/etc/lxc/dnsmasq.conf",
    )?;
    let amd64 = "jenkins-debian12-amd64/reserve-address";
    drover(host, &["plan", "--detailed-exitcode", "--only", amd64, PAIR])?.exits(0)?;
    host.shell("sed 's/arch: .amd64, arm64./arch: arm64/' /run/farm/plans/debian-pair.ron >/root/one.ron")?;
    for taken in ["10.0.3.98", "10.0.3.99"] {
        let value = format!("each.ReserveAddress=Fixed({taken:?})");
        let words =
            ["run", "--only", "jenkins-debian12-arm64/reserve-address", "--set", &value, "/root/one.ron"];
        let refused = drover(host, &words)?.exits(1)?;
        let told = refused.stdout + &refused.stderr;
        ensure!(told.contains("is taken by the line"), "{taken}: {told}");
    }
    Ok(())
}

fn mended(site: &Site) -> Result<()> {
    let host = site.fresh_host("mended")?;
    host.shell(
        "sed 's/HostPackages,/HostPackages, RelocateCache,/' /run/farm/plans/debian-pair.ron >/root/relocated.ron
        mkdir -p /var/cache/lxc; mount -t tmpfs -o nodev,size=50m tmpfs /var/cache/lxc; mkdir /var/cache/lxc/debian",
    )?;
    // What is mounted there cannot be moved: that is for whoever mounted it, and told at once.
    let stopped = drover(&host, &["run", "--only", "host/relocate-cache", "/root/relocated.ron"])?;
    ensure!(stopped.exits(0).is_err(), "a mount was moved");
    host.shell("umount /var/cache/lxc; rm -rf /var/cache/lxc; mount --bind /var /var; mount -o remount,bind,nodev /var")?;
    let unpack = "bootstrap/debian-bookworm-amd64/unpack";
    let planned = drover(&host, &["plan", "--until", unpack, "/root/relocated.ron"])?.ok()?.stdout;
    ensure!(planned.contains("is mounted nodev") && planned.contains("`host/relocate-cache`"), "{planned}");
    drover(&host, &["run", "--until", unpack, "/root/relocated.ron"])?.ok()?;
    let outcomes = outcomes(&host)?;
    ensure!(outcomes.get(unpack).is_some_and(|it| it == "changed"), "{outcomes:?}");
    Ok(())
}

fn proofs(site: &Site) -> Result<()> {
    let host = site.fresh_host("proofs")?;
    unproved(&host)?;
    logins(&host)
}

/// A container of which `lxc-create` says that it is made, and that has no host keys, is none: the next run makes it anew.
fn unproved(host: &Host) -> Result<()> {
    let (name, machine) = CONTAINERS[0];
    host.shell(&format!(
        "printf '#!/bin/sh\\n/usr/bin/lxc-create \"$@\" || exit\\nrm -f /srv/libvirt/rootfs/{name}/rootfs/etc/ssh/ssh_host_*\\n' \
            >/usr/local/bin/lxc-create; chmod +x /usr/local/bin/lxc-create"
    ))?;
    let node = format!("{name}/lxc-create");
    for _ in 0..2 {
        let failed = drover(host, &["run", "--until", &node, PAIR])?.exits(1)?;
        let told = failed.stdout + &failed.stderr;
        ensure!(told.contains("has no ssh host keys"), "{told}");
        drover(host, &["plan", "--detailed-exitcode", "--only", &node, PAIR])?.exits(2)?;
    }
    host.shell("rm /usr/local/bin/lxc-create")?;
    drover(host, &["run", "--until", name, PAIR])?.ok()?;
    ensure!(outcomes(host)?.get(&node).is_some_and(|it| it == "changed"), "{:?}", outcomes(host)?);
    answers(host, name, machine)
}

fn logins(host: &Host) -> Result<()> {
    let (name, _) = CONTAINERS[0];
    let all = format!("{name}/*");
    // What others make of a name is nothing to Drover. Without a proof, it logs in anew.
    host.shell(&format!(
        "printf 'Host jenkins-*\\n  ProxyCommand false\\n  Port 2222\\n' >>/etc/ssh/ssh_config
        install -o abuild -g abuild -m 600 /dev/stdin /home/abuild/.ssh/config <<.\nHost {name}\n  HostName nowhere.invalid\n.\n"
    ))?;
    host.shell("rm -rf /var/lib/drover/cache/proofs")?;
    run(host, PAIR, &all)?;
    let doctor = drover(host, &["doctor", PAIR])?.stdout;
    ensure!(doctor.contains(&format!("`ssh {name}` of `abuild` is not what Drover proves")), "{doctor}");
    // A home that others may write to: known, so not waited for.
    host.shell(&format!(
        "chmod 777 /home/abuild; rm -rf /var/lib/drover/cache/proofs; virsh -c lxc:///system destroy {name}"
    ))?;
    let doctor = drover(host, &["doctor", PAIR])?.stdout;
    ensure!(doctor.contains("others than `abuild` may write to `/home/abuild` (mode 0777)"), "{doctor}");
    let begun = Instant::now();
    let failed = drover(host, &["run", "--only", &all, PAIR])?.exits(1)?;
    let told = failed.stdout + &failed.stderr;
    ensure!(
        told.contains("may write to `/home/abuild`") && told.contains("chmod go-w /home/abuild"),
        "{told}"
    );
    ensure!(begun.elapsed() < Duration::from_secs(90), "it was waited for {:?}", begun.elapsed());
    host.shell("chmod 755 /home/abuild")?;
    run(host, PAIR, &all)
}
