//! Looking is quick: what a look at a farm that stands asks of the host is counted, by what is executed; and drift is told.

use crate::Test;
use crate::farm::{CONTAINERS, PAIR, drover, outcomes};
use crate::site::Site;
use anyhow::{Result, ensure};
use throwaway::Host;

pub(crate) const TESTS: &[Test] = &[("a_look_asks_the_world_once", looked)];

/// Lists the domains, and asks about all of them.
const VIRSH: usize = 2;
/// Programs that are counted: each call of one is a line of a file, whoever calls it.
const COUNTED: [&str; 3] = ["virsh", "ssh", "ssh-keyscan"];
const CALLS: &str = "/run/calls";
/// The native one.
const NAME: &str = CONTAINERS[0].0;

fn looked(site: &Site) -> Result<()> {
    let host = site.built("looking")?;
    // The second run proves anew what the systems have written while they booted.
    for _ in 0..2 {
        drover(&host, &["run", PAIR])?.ok()?;
    }
    count_calls(&host)?;

    drover(&host, &["plan", "--detailed-exitcode", PAIR])?.exits(0)?;
    expect(&host, "plan", VIRSH, 0)?;
    drover(&host, &["run", PAIR])?.ok()?;
    expect(&host, "run", VIRSH, 0)?;
    let changed: Vec<_> = outcomes(&host)?.into_iter().filter(|(_, it)| it != "unchanged").collect();
    ensure!(changed.is_empty(), "{changed:?}");
    // Many more containers are no more questions. That the disk may be too small for them does not matter here.
    host.write("/root/many.ron", &many(&host.read(PAIR)?))?;
    let planned = drover(&host, &["plan", "--brief", "/root/many.ron"])?.stdout;
    ensure!(planned.contains("new-59/await-ssh: the domain `new-59` is not defined"), "{planned}");
    expect(&host, "plan of many", VIRSH, 0)?;

    // What a proof depended on has changed: it is made anew, and kept by a run only.
    host.shell(&format!("touch /srv/libvirt/rootfs/{NAME}/rootfs/etc/passwd"))?;
    for _ in 0..2 {
        drover(&host, &["plan", "--detailed-exitcode", PAIR])?.exits(0)?;
        expect(&host, "plan after a change", VIRSH, 1)?;
    }
    drover(&host, &["run", PAIR])?.ok()?;
    expect(&host, "run after a change", VIRSH, 1)?;
    drover(&host, &["plan", "--detailed-exitcode", PAIR])?.exits(0)?;
    expect(&host, "plan after that", VIRSH, 0)?;

    inside(&host, "systemctl stop ssh.socket ssh.service")?;
    tells(&host, "await-ssh: port 22 of ")?;
    inside(&host, "systemctl start ssh.service")?;
    host.shell("mv /home/abuild/.ssh/authorized_keys /home/abuild/.ssh/nobody")?;
    tells(&host, "Permission denied")?;
    host.shell("mv /home/abuild/.ssh/nobody /home/abuild/.ssh/authorized_keys")?;
    host.shell(&format!("sed -i.bak 's/^10[^ ]* {NAME}/10.0.3.254 {NAME}/' /etc/hosts"))?;
    tells(&host, "ssh abuild@")?;
    host.shell("mv /etc/hosts.bak /etc/hosts")?;
    drover(&host, &["plan", "--detailed-exitcode", PAIR])?.exits(0)?;
    host.shell(&format!("virsh -q -c lxc:///system destroy {NAME}"))?;
    tells(&host, "await-ssh: the domain `jenkins-debian12-amd64` is shut off")?;
    let again = drover(&host, &["run", PAIR])?.ok()?.stderr;
    ensure!(again.contains("drifted"), "{again}");
    drover(&host, &["plan", "--detailed-exitcode", PAIR])?.exits(0).map(drop)
}

/// From now on, calls of these programs are counted.
fn count_calls(host: &Host) -> Result<()> {
    host.write(CALLS, "")?;
    host.shell(&format!("chmod 666 {CALLS}"))?;
    for program in COUNTED {
        let script = format!("#!/bin/sh\necho {program} >>{CALLS}\nexec /usr/bin/{program} \"$@\"\n");
        // Root and the account that builds have different paths.
        for directory in ["/usr/local/sbin", "/usr/local/bin"] {
            host.write(&format!("{directory}/{program}"), &script)?;
            host.shell(&format!("chmod 755 {directory}/{program}"))?;
        }
    }
    Ok(())
}

/// Compares the calls since the last time; `virsh` is the most that may be.
fn expect(host: &Host, what: &str, virsh: usize, ssh: usize) -> Result<()> {
    let calls = host.read(CALLS)?;
    let count = |program: &str| calls.lines().filter(|line| *line == program).count();
    let called = COUNTED.map(count);
    ensure!(
        (1..=virsh).contains(&called[0]) && called[1..] == [ssh, 0],
        "{what} calls {COUNTED:?} {called:?} times, not {virsh}, {ssh}, 0"
    );
    host.write(CALLS, "")
}

fn inside(host: &Host, command: &str) -> Result<()> {
    let enter = format!("virsh -q -c lxc:///system lxc-enter-namespace --noseclabel {NAME} --");
    host.shell(&format!("{enter} /bin/{command}")).map(drop)
}

/// A plan says this of the native container.
fn tells(host: &Host, text: &str) -> Result<()> {
    let told = drover(host, &["plan", "--brief", "--detailed-exitcode", PAIR])?.exits(2)?.stdout;
    let awaited = told.lines().find(|line| line.contains(&format!("{NAME}/await-ssh: ")));
    ensure!(awaited.is_some_and(|line| line.contains(text)), "no `{text}` in {told}");
    Ok(())
}

/// The plan with sixty more containers.
fn many(pair: &str) -> String {
    let new = |number| {
        format!("(name: \"new-{number}\", distribution: Debian, release: \"bookworm\", arch: amd64),\n")
    };
    let new: String = (0..60).map(new).collect();
    pair.replacen("containers: [", &format!("containers: [\n{new}"), 1)
}
