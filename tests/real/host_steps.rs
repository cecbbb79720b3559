//! The steps of the host, one by one: needed, done, left alone; and killed, and done all the same.

use crate::Test;
use crate::contract::{Fresh, difference, keeps_contract, run, trace};
use crate::farm::{drover, start};
use crate::kill::kill_after;
use crate::site::Site;
use anyhow::{Context, Result, ensure};
use std::time::Duration;
use throwaway::Host;

pub(crate) const TESTS: &[Test] = &[
    ("each_step_of_the_host_is_needed_then_done_then_left_alone", one_by_one),
    ("killed_steps_of_the_host_are_done_by_the_next_run", killed),
    ("what_the_host_cannot_do_is_said_before_anything_runs", refused),
    ("a_network_of_somebody_elses_is_never_taken", networks),
    ("a_package_of_somebody_elses_makes_no_room", packages),
];

/// All architectures, so that a program of each is executed.
const PLAN: &str = "/run/farm/plans/debian-multiarch.ron";

/// In the order in which they need each other.
const NODES: [&str; 10] = [
    "host/packages",
    "host/storage",
    "host/build-home",
    "host/build-key",
    "host/bridge",
    "host/bridge-dns",
    "host/lxc-net",
    "host/binfmt*",
    "host/libvirt-lxc",
    "host/virsh-default-uri",
];

fn one_by_one(site: &Site) -> Result<()> {
    let host = site.fresh_host("host-steps")?;
    for node in NODES {
        // Registrations are the kernel's: they may be there.
        let fresh = if node.contains("binfmt") { Fresh::Perhaps } else { Fresh::Needed };
        keeps_contract(&host, PLAN, node, fresh)?;
    }
    proven(&host)?;
    restarted_once(&host)
}

/// Proves by other means than drover's own what its steps are for.
fn proven(host: &Host) -> Result<()> {
    host.shell(
        "test \"$(id abuild)\" = 'uid=399(abuild) gid=399(abuild) groups=399(abuild)'
        test \"$(stat -c %a:%U:%G /home/abuild/.ssh /home/abuild/.ssh/authorized_keys | tr '\\n' ' ')\" = \
            '700:abuild:abuild 640:abuild:abuild '
        setpriv --reuid 399 --regid 399 --clear-groups ssh-keygen -y -P '' -f /home/abuild/.ssh/id_rsa >/dev/null
        test \"$(env -i HOME=/root PATH=$PATH sh -lc 'printenv LIBVIRT_DEFAULT_URI')\" = lxc:///system
        virsh -c lxc:///system list --all
        ip -4 address show dev lxcbr0 | grep -q 'inet 10.0.3.1/24 '
        ethtool -k lxcbr0 | grep -qx 'tx-checksumming: off'
        for arch in amd64 arm64 armel armhf i386 mips64el mipsel ppc64el s390x; do
            probe=/usr/libexec/arch-test/$arch; test -e $probe || probe=/usr/lib/arch-test/$arch
            test \"$($probe)\" = ok
        done
        test ! -e /usr/sbin/policy-rc.d || ! grep -q Drover /usr/sbin/policy-rc.d",
    )?;
    Ok(())
}

/// An edit of what lxc-net reads has it restarted by the next run, once, and by no other; not before what a killed run has
/// called to start it is done.
fn restarted_once(host: &Host) -> Result<()> {
    let dnsmasq = || host.shell("cat /run/lxc/dnsmasq.pid");
    let before = dnsmasq()?;
    run(host, PLAN, "host/lxc-net")?;
    ensure!(dnsmasq()? == before, "dnsmasq was restarted though nothing changed");
    host.shell("echo somebody,10.0.3.200 >>/etc/lxc/dnsmasq-hosts.conf")?;
    host.shell("flock --close /run/drover/lxc-net.starting sh -c 'touch /run/starting; sleep 1000.5' >/dev/null 2>&1 &")?;
    host.shell("timeout 60 sh -c 'until test -e /run/starting; do sleep 0.1; done'")?;
    let mut waiting = start(host, &["run", "--only", "host/lxc-net", PLAN])?;
    host.shell("timeout 60 sh -c 'until pgrep -xo drover; do sleep 0.1; done'; sleep 2")?;
    ensure!(waiting.is_running()? && dnsmasq()? == before, "it did not wait:\n{}", waiting.stderr()?);
    host.shell("pkill -fx 'sleep 1000.5'")?;
    waiting.wait()?.ok()?;
    let after = dnsmasq()?;
    ensure!(after != before, "dnsmasq was not restarted");
    run(host, PLAN, "host/lxc-net")?;
    ensure!(dnsmasq()? == after, "dnsmasq was restarted once more");
    Ok(())
}

fn killed(site: &Site) -> Result<()> {
    let host = site.fresh_host("host-steps-killed")?;
    // Its download, unpacking and configuring, of which each next run has less left.
    for moment in [300, 2000, 5000, 8000, 8000, 8000, 8000] {
        kill_after(&host, &["run", "--only", "host/packages", PLAN], Duration::from_millis(moment))?;
    }
    run(&host, PLAN, "host/packages")?;
    let half_done = host.shell("dpkg --audit; ls /var/lib/dpkg/updates")?;
    ensure!(half_done.is_empty(), "packages are half done: {half_done}");
    host.shell("cp -a /etc/default/lxc-net /root/.profile /var/tmp")?;
    for moment in (0..12).map(|step| Duration::from_millis(100 + 250 * step)) {
        host.shell(UNDO)?;
        kill_after(&host, &["run", "--only", "host/*", PLAN], moment)?;
        run(&host, PLAN, "host/*").with_context(|| format!("after a kill at {moment:?}"))?;
        drover(&host, &["plan", "--detailed-exitcode", "--only", "host/*", PLAN])?.exits(0)?;
        proven(&host)?;
        host.shell(ONCE).with_context(|| format!("after a kill at {moment:?}"))?;
    }
    Ok(())
}

/// Makes a host, whose packages stay, forget the other steps.
const UNDO: &str = "/usr/libexec/lxc/lxc-net stop >/dev/null 2>&1 || true
    for file in /run/libvirtd.pid /run/virtlogd.pid; do
        test ! -e $file || { id=$(cat $file); kill $id; while test -e /proc/$id; do sleep 0.05; done; }
    done
    if id abuild >/dev/null 2>&1; then userdel abuild; fi
    rm -rf /home/abuild /srv/libvirt /run/drover /etc/lxc/dnsmasq.conf /etc/lxc/dnsmasq-hosts.conf
    cp -a /var/tmp/lxc-net /etc/default/; cp -a /var/tmp/.profile /root/";

/// Each line that the steps write is there once, and nothing half-made lies about.
const ONCE: &str = "once() { test $(grep -c -- \"$1\" $2) = 1 || { echo \"$2: $1\" >&2; return 1; }; }
    for file in passwd shadow group gshadow; do once '^abuild:' /etc/$file; done
    for key in LXC_BRIDGE LXC_ADDR LXC_DHCP_RANGE LXC_DHCP_CONFILE; do once ^$key= /etc/default/lxc-net; done
    once ^dhcp-hostsfile= /etc/lxc/dnsmasq.conf; once ^dhcp-ignore-clid /etc/lxc/dnsmasq.conf
    once ^LIBVIRT_DEFAULT_URI= /root/.profile
    once ^ssh-rsa /home/abuild/.ssh/authorized_keys
    test \"$(ls -A /home/abuild/.ssh | sort | tr '\\n' ' ')\" = 'authorized_keys id_rsa id_rsa.pub '
    test $(pgrep -cx dnsmasq) = 1 && test $(pgrep -cx libvirtd) = 1";

fn refused(site: &Site) -> Result<()> {
    let host = site.fresh_host("host-steps-refused")?;
    let cases = [
        ("host/build-home", "useradd -u 399 -U obs", "the account `obs` has uid 399", "userdel obs"),
        ("host/build-home", "groupadd -g 399 obs", "the group `obs` has gid 399", "groupdel obs"),
        ("host/build-home", "useradd -u 4711 abuild", "the account `abuild` has uid 4711", "userdel abuild"),
        ("host/build-home", "install -d -o 77 /home/abuild", "belongs to uid 77", "rmdir /home/abuild"),
        ("host/storage", "mkdir -p /srv; touch /srv/libvirt", "is no directory", "rm /srv/libvirt"),
        (
            "host/storage",
            "mount -t tmpfs -o size=100m tmpfs /srv",
            "`/srv/libvirt` has 0.0 GiB free",
            "umount /srv",
        ),
        ("host/storage", "mount -t tmpfs -o nodev tmpfs /srv", "is mounted nodev", "umount /srv"),
    ];
    for (node, spoil, complaint, mend) in cases {
        host.shell(spoil)?;
        let before = trace(&host)?;
        let run =
            drover(&host, &["run", "--only", node, PLAN])?.exits(7).with_context(|| spoil.to_owned())?;
        ensure!(run.stderr.contains(complaint), "`{complaint}` is not in:\n{}", run.stderr);
        ensure!(before == trace(&host)?, "a refused run changed: {}", difference(&before, &trace(&host)?));
        host.shell(mend)?;
    }
    Ok(())
}

/// Each is a bridge, a name or a network that lxc-net would take from somebody, were it let.
fn networks(site: &Site) -> Result<()> {
    const BR0: &str = "ip link add br0 type bridge; ip link set br0 up";
    const GONE: &str = "ip link del br0";
    let host = site.fresh_host("host-networks")?;
    let cases = [
        ("br0", format!("{BR0}; ip address add 192.168.1.5/24 dev br0"), "it has the address 192.168.1.5/24", GONE),
        ("br0", format!("{BR0}; ip address add 10.0.3.1/24 dev br0"), "lxc-net did not make it", GONE),
        ("br0", format!("{BR0}; ip address add fd00::5/64 dev br0"), "it has the address fd00::5/64", GONE),
        ("br0", BR0.to_owned(), "lxc-net did not make it", GONE),
        (
            "br0",
            format!("{BR0}; ip link add vx0 type vxlan id 7 dstport 4789; ip link set vx0 master br0"),
            "the vxlan interface `vx0` is on it",
            "ip link del br0; ip link del vx0",
        ),
        (
            "lxcbr0",
            format!("{}; ip route add default dev lxcbr0 table 77", BR0.replace("br0", "lxcbr0")),
            "the default route leads over it",
            "ip link del lxcbr0",
        ),
        (
            "lxcbr0",
            "ip link add vpn0 type veth; ip link set vpn0 up; ip route add 10.0.0.0/8 dev vpn0 table 42".to_owned(),
            "`vpn0` leads to 10.0.0.0/8 (routing table 42)",
            "ip link del vpn0",
        ),
        (
            "lxcbr0",
            "ip link add lan0 type veth; ip address add 10.0.3.9/32 dev lan0; ip link set lan0 up".to_owned(),
            "`lan0` leads to 10.0.3.9/32",
            "ip link del lan0",
        ),
        (
            "br0",
            "mkdir -p /etc/network; printf 'iface br0 inet dhcp\n  bridge_ports eth0\n' >/etc/network/interfaces".to_owned(),
            "is configured in `/etc/network/interfaces` (`iface br0 inet dhcp`)",
            "rm /etc/network/interfaces",
        ),
        ("lan0", "ip link add lan0 type veth".to_owned(), "is no bridge", "ip link del lan0"),
    ];
    for (name, spoil, complaint, mend) in &cases {
        host.shell(spoil)?;
        let before = host.shell("ip address; ip route show table all")?;
        let name = format!("host.Bridge.name={name:?}");
        let words = ["run", "--only", "host/bridge", "--set", &name, PLAN];
        let run = drover(&host, &words)?.exits(7).with_context(|| spoil.clone())?;
        ensure!(run.stderr.contains(complaint), "`{complaint}` is not in:\n{}", run.stderr);
        ensure!(
            host.shell("ip address; ip route show table all")? == before,
            "`{spoil}`: the network changed"
        );
        host.shell(mend)?;
    }
    // What a VPN lays over the default route is no network of its own.
    host.shell("ip link add vpn0 type veth; ip link set vpn0 up; ip route add 0.0.0.0/1 dev vpn0")?;
    drover(&host, &["run", "--only", "host/bridge", PLAN])?.ok()?;
    Ok(())
}

/// What is needed conflicts with something that is there.
fn packages(site: &Site) -> Result<()> {
    let host = site.fresh_host("rival")?;
    host.shell(
        "mkdir -p rival/DEBIAN
        printf 'Package: rival\\nVersion: 1\\nArchitecture: all\\nMaintainer: nobody <nobody@localhost>\\nConflicts: arch-test\\n\
         Description: in the way\\n' >rival/DEBIAN/control
        dpkg-deb --build rival && dpkg --install rival.deb",
    )?;
    let failed = drover(&host, &["run", PLAN, "--only", "host/packages"])?.exits(1)?.stderr;
    ensure!(failed.contains("`rival`, which Drover did not install, would be removed"), "{failed}");
    let left = host
        .shell("dpkg-query --show --showformat '${db:Status-Abbrev}' rival; test ! -e /usr/bin/arch-test")?;
    ensure!(left.trim() == "ii", "{left}");
    host.shell("dpkg --purge rival")?;
    run(&host, PLAN, "host/packages")
}
