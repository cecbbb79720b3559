//! The ground the other tests stand on: is what they take for granted true?

use crate::Test;
use crate::site::Site;
use anyhow::{Result, ensure};
use throwaway::{Fault, Host, HostOptions};

pub(crate) const TESTS: &[Test] = &[
    ("a_host_is_thrown_away", a_host_is_thrown_away),
    ("layers_are_laid_over_each_other", layers_are_laid_over_each_other),
    ("apt_installs_from_the_mirror", apt_installs_from_the_mirror),
    ("the_mirror_fails_on_demand", the_mirror_fails_on_demand),
];

fn a_host_is_thrown_away(site: &Site) -> Result<()> {
    let host = Host::boot(&site.ground, "harness", HostOptions::new())?;
    host.write("/etc/throwaway", "here\n")?;
    ensure!(host.shell("cat /etc/throwaway; hostname")? == "here\ndrover-harness\n");
    host.shell(
        "mount -t tmpfs tmpfs /mnt; for g in /sys/fs/cgroup/*; do mkdir $g/deep; done; (setsid sleep 1000 &)",
    )?;
    ensure!(host.shell("ls /sys/class/net")? == "lo\n");
    drop(host);
    ensure!(!std::path::Path::new("/etc/throwaway").exists());
    site.before.compare()
}

fn layers_are_laid_over_each_other(site: &Site) -> Result<()> {
    let lower = site.ground.layer("lower", HostOptions::new(), |host| {
        host.write("/etc/both", "lower\n")?;
        host.write("/etc/lower", "lower\n")
    })?;
    let upper = site.ground.layer("upper", HostOptions::new().over(&lower), |host| {
        host.write("/etc/both", "upper\n")?;
        host.shell("rm /etc/lower").map(drop)
    })?;
    let host = Host::boot(&site.ground, "harness", HostOptions::new().over(&upper))?;
    let seen = host.shell("cat /etc/both; ls /etc/lower 2>&1 || true")?;
    ensure!(seen.starts_with("upper\n") && seen.contains("No such file"), "{seen}");
    drop(host);
    site.before.compare()
}

fn apt_installs_from_the_mirror(site: &Site) -> Result<()> {
    let host = site.fresh_host("harness")?;
    host.shell("apt-get -q update")?;
    let log = host.shell("apt-get install -y --no-install-recommends rsync arch-test")?;
    ensure!(log.contains("Setting up arch-test"), "{log}");
    Ok(())
}

fn the_mirror_fails_on_demand(site: &Site) -> Result<()> {
    let host = site.fresh_host("harness")?;
    host.shell("apt-get -q update")?;
    let fetch =
        "cd /tmp; rm -f *.deb; apt-get -o Acquire::Retries=0 -o Acquire::http::Timeout=2 download ethtool";
    for fault in Fault::ALL {
        host.break_mirror(fault, 1, "/ethtool_")?;
        let failed = host.run(&["sh", "-c", fetch])?;
        ensure!(!failed.status.success(), "apt did not mind `{fault}`: {failed:?}");
        host.shell(fetch)?;
        host.mend_mirror()?;
    }
    let log = host.mirror_log()?;
    ensure!(log.iter().any(|line| line.starts_with("404 ") && line.ends_with("missing")), "{log:?}");
    Ok(())
}
