//! A host whose process 1 is systemd: daemons and the bridge are started, enabled and stopped through it. One is of Debian 12,
//! the other of Debian 13, whose systemd knows version 2 of control groups alone.

use crate::Test;
use crate::debian_13::registered_by_debian_12;
use crate::farm::PAIR;
use crate::site::Site;
use anyhow::{Result, bail, ensure};
use std::thread::sleep;
use std::time::{Duration, Instant};
use throwaway::{Finished, Host, Running};

pub(crate) const TESTS: &[Test] = &[("a_host_with_systemd_starts_and_stops_through_it", through_it)];
/// Not for every day yet.
pub(crate) const OF_DEBIAN_13: &[Test] = &[("a_debian_13_host_with_systemd_is_prepared", prepared)];

/// A host in a host: processes and mounts of its own, in which systemd is process 1.
struct Booted<'a> {
    host: &'a Host,
    id: String,
    /// Systemd lives as long as this does.
    _outer: Running,
}

/// Where this machine has version 1 of control groups, version 2 beside it: what libvirt does not get on with.
const HYBRID: &str = "if test -d /sys/fs/cgroup/memory; then
    mkdir -p /sys/fs/cgroup/unified && mount -t cgroup2 cgroup2 /sys/fs/cgroup/unified; fi";

/// Version 2 of control groups alone, from a group of its own on, which is gone with it.
const UNIFIED: &str = "mkdir -p /run/second && mount -t cgroup2 cgroup2 /run/second
    group=$(mktemp -d /run/second/drover-XXXXXX); echo $$ >$group/cgroup.procs
    echo 'echo 1 >'$group'/cgroup.kill; for i in $(seq 50); do
        find '$group' -depth -type d -exec rmdir {} + 2>/dev/null; test -d '$group' || exit 0; sleep 0.1
        done; exit 1' >/run/sweep";

impl<'a> Booted<'a> {
    /// Boots as far as its basic target, with control groups that a script prepares: this machine's own services stay where
    /// they are.
    fn boot(host: &'a Host, groups: &str) -> Result<Self> {
        // The kernel's registrations are this machine's: systemd's own are not to replace those that other hosts go by.
        host.shell("ln -sf /dev/null /etc/systemd/system/systemd-binfmt.service")?;
        // Registrations are there already, so that systemd does not mount them on demand: that does not reach from a host to
        // one in it.
        let script = format!(
            "{groups}
            exec env container=throwaway unshare --pid --mount --cgroup --fork --kill-child --mount-proc sh -euc '
                test ! -e /run/sweep || {{ umount -R /sys/fs/cgroup; mount -t cgroup2 cgroup2 /sys/fs/cgroup; }}
                mount -t binfmt_misc binfmt_misc /proc/sys/fs/binfmt_misc
                exec /lib/systemd/systemd --system --unit=basic.target'"
        );
        let outer = host.spawn(&["sh", "-euc", &script])?;
        let mut booted = Self { host, id: String::new(), _outer: outer };
        let until = Instant::now() + Duration::from_secs(180);
        while Instant::now() < until && booted._outer.is_running()? {
            booted.id = host.shell("pgrep -xo systemd || true")?.trim().to_owned();
            let is_up = || booted.run(&["systemctl", "is-active", "basic.target"]);
            if !booted.id.is_empty() && is_up()?.status.success() {
                return Ok(booted);
            }
            sleep(Duration::from_millis(200));
        }
        bail!("systemd does not boot: {}", booted._outer.stderr()?)
    }

    fn run(&self, command: &[&str]) -> Result<Finished> {
        self.host.run(&[&["nsenter", "--target", &self.id, "--mount", "--pid", "--"], command].concat())
    }

    fn drover(&self, arguments: &[&str]) -> Result<Finished> {
        self.run(&[&["drover"], arguments].concat())
    }

    /// Whether a unit is so: `active`, `enabled`.
    fn is(&self, what: &str, unit: &str) -> Result<bool> {
        Ok(self.run(&["systemctl", &format!("is-{what}"), "--quiet", unit])?.status.success())
    }
}

impl Drop for Booted<'_> {
    fn drop(&mut self) {
        let swept = self.host.run(&["sh", "-uc", "test ! -e /run/sweep || . /run/sweep"]);
        if let Err(error) = swept.and_then(Finished::ok) {
            eprintln!("control groups of systemd are left: {error:#}");
        }
    }
}

/// The host's part of the plan, from nothing. A container is not started: where this machine's controllers belong to version 1 of
/// control groups, version 2 has none for it.
fn prepared(site: &Site) -> Result<()> {
    registered_by_debian_12(site)?;
    let host = Host::boot(&site.ground, "systemd-13", site.options_on("trixie")?)?;
    let booted = Booted::boot(&host, UNIFIED)?;
    let first = booted.run(&["systemctl", "--version"])?.ok()?.stdout;
    ensure!(first.starts_with("systemd 257 "), "{first}");
    booted.drover(&["run", PAIR, "--only", "host/*"])?.ok()?;
    for unit in ["lxc-net", "libvirtd"] {
        ensure!(booted.is("active", unit)?, "{unit} is not active");
        ensure!(booted.is("enabled", unit)?, "{unit} is not enabled");
    }
    ensure!(host.shell("ip -o -4 address show dev lxcbr0")?.contains("10.0.3.1/24"), "there is no bridge");
    booted.run(&["virsh", "-c", "lxc:///system", "list", "--all"])?.ok()?;
    booted.drover(&["plan", PAIR, "--only", "host/*", "--detailed-exitcode"])?.exits(0)?;
    Ok(())
}

fn through_it(site: &Site) -> Result<()> {
    let host = site.built("systemd")?;
    let booted = Booted::boot(&host, HYBRID)?;
    let kind = booted.run(&["cat", "/proc/1/comm"])?.ok()?.stdout;
    ensure!(kind == "systemd\n", "process 1 is {kind}");
    // Somebody has switched it off: at the next boot there would be no bridge.
    booted.run(&["systemctl", "disable", "lxc-net", "libvirtd"])?.ok()?;

    // A package is missing. What its scripts say to systemd while it is installed, systemd hears.
    booted.run(&["dpkg", "--purge", "--force-depends", "ethtool"])?.ok()?;
    host.write(
        "/etc/apt/apt.conf.d/50told",
        "DPkg::Post-Invoke {\"systemctl show --property=Version >>/root/told 2>&1 || true\";};\n",
    )?;

    booted.drover(&["run", PAIR, "--only", "host/*"])?.ok()?;
    let told = host.read("/root/told")?;
    ensure!(told.starts_with("Version="), "packages' scripts cannot talk to systemd: {told}");
    for unit in ["lxc-net", "libvirtd"] {
        ensure!(booted.is("active", unit)?, "{unit} is not active");
        ensure!(booted.is("enabled", unit)?, "{unit} is not enabled");
    }
    let daemon =
        booted.run(&["systemctl", "show", "--property=MainPID", "--value", "libvirtd"])?.ok()?.stdout;
    let groups = booted.run(&["cat", &format!("/proc/{}/cgroup", daemon.trim())])?.ok()?.stdout;
    ensure!(groups.contains("libvirtd.service"), "libvirtd is not systemd's: {groups}");
    if host.path("/sys/fs/cgroup/unified").is_dir() {
        let drop_in = booted.run(&["systemctl", "cat", "libvirtd"])?.ok()?.stdout;
        ensure!(drop_in.contains("PrivateMounts=yes"), "{drop_in}");
    }
    booted.drover(&["plan", PAIR, "--only", "host/*", "--detailed-exitcode"])?.exits(0)?;

    // It is restarted as the document has it, once, because something that it reads has changed.
    let started =
        || booted.run(&["systemctl", "show", "--property=ExecMainStartTimestampMonotonic", "lxc-net"]);
    let before = started()?.ok()?.stdout;
    host.shell("echo somebody,10.0.3.200 >>/etc/lxc/dnsmasq-hosts.conf")?;
    booted.drover(&["run", PAIR, "--only", "host/lxc-net"])?.ok()?;
    ensure!(started()?.ok()?.stdout != before, "lxc-net was not restarted");

    // What could not be exercised: a container on this very host. With both generations of control groups and systemd's
    // register of machines, libvirt 9 gives up: "NoMachineForPID: PID 501 does not belong to any known machine".
    booted.run(&["systemctl", "--quiet", "stop", "libvirtd.service", "lxc-net.service"])?.ok()?;
    ensure!(!host.shell("ip -o link")?.contains("lxcbr0"), "the bridge is still there");
    Ok(())
}
