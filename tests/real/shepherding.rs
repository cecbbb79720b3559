//! Steps that the pair's plan does not have, one by one, on a host with the pair: needed, done, left alone.

use crate::Test;
use crate::contract::{Fresh, keeps_contract, run};
use crate::farm::{CONTAINERS, answers, drover};
use crate::site::Site;
use anyhow::{Result, ensure};
use throwaway::Host;

pub(crate) const TESTS: &[Test] =
    &[("steps_beyond_the_pair_are_needed_then_done_then_left_alone", one_by_one)];

const PLAN: &str = "Plan(
    name: \"shepherding\",
    include: [\"/run/farm/plans/debian-pair.ron\"],
    host: [
        TmpfsWorkspace(path: \"/home/abuild/work\", size: \"64 MiB\"),
        EditDomains(name: \"cpus\", matching: \"jenkins-*\", change: Cpus(2)),
        EditDomains(name: \"theirs\", matching: \"their*\", change: Memory(\"256 MiB\")),
    ],
    containers: [],
    each: [
        JoinControllers,
        GuestCommand(
            name: \"marker\", run: \"uname -m >/etc/marker; echo $$ >>/etc/marker\",
            check: \"test -s /etc/marker || { echo no marker; exit 1; }\",
        ),
        GuestFile(path: \"/etc/farm\", content: \"this farm\\n\"),
    ],
)";
const NAME: &str = "/root/shepherding.ron";

/// Somebody's own domain, which the second edit is about.
const THEIRS: &str = "mkdir -p /srv/theirs
    virsh -c lxc:///system define /dev/stdin <<'XML'
<domain type='lxc'><name>theirs</name><memory unit='KiB'>65536</memory><vcpu>1</vcpu>
<os><type>exe</type><init>/sbin/init</init></os>
<devices><filesystem type='mount'><source dir='/srv/theirs'/><target dir='/'/></filesystem></devices></domain>
XML";

fn one_by_one(site: &Site) -> Result<()> {
    let host = site.built("shepherding")?;
    host.write(NAME, PLAN)?;
    run(&host, NAME, "host/[!te]*")?;
    host.shell(THEIRS)?;
    keeps_contract(&host, NAME, "host/tmpfs-workspace", Fresh::Needed)?;
    let mounted = host
        .shell("findmnt --noheadings --output FSTYPE,SIZE /home/abuild/work; stat -c %U /home/abuild/work")?;
    ensure!(mounted.split_whitespace().eq(["tmpfs", "64M", "abuild"]), "{mounted}");
    host.shell("umount /home/abuild/work")?;
    keeps_contract(&host, NAME, "host/tmpfs-workspace", Fresh::Needed)?;

    for edit in ["host/edit-domains-cpus", "host/edit-domains-theirs"] {
        keeps_contract(&host, NAME, edit, Fresh::Needed)?;
    }
    host.shell(
        "xml() { virsh -c lxc:///system dumpxml --inactive $1; }
        for name in amd64 arm64; do xml jenkins-debian12-$name | grep -q '<vcpu[^>]*>2<'; done
        xml theirs | grep -q \"<memory unit='KiB'>262144<\"; xml theirs | grep -q '<vcpu[^>]*>1<'",
    )?;
    for (container, machine) in CONTAINERS {
        for step in ["join-controllers", "guest-command-marker", "guest-file-etc-farm"] {
            keeps_contract(&host, NAME, &format!("{container}/{step}"), Fresh::Needed)?;
        }
        let marker = host.read(&format!("/srv/libvirt/rootfs/{container}/rootfs/etc/marker"))?;
        ensure!(marker.starts_with(machine), "{container}: {marker}");
    }
    // It starts with all of that, and sees the workspace through its home.
    let (container, machine) = CONTAINERS[0];
    run(&host, NAME, &format!("{container}/*"))?;
    answers(&host, container, machine)?;
    let seen = host.shell(&format!(
        "echo here >/home/abuild/work/file
        pid=$(pgrep -P $(cat /run/libvirt/lxc/{container}.pid) | head -n 1)
        nsenter --mount --root --wd --target $pid sh -c 'cat /home/abuild/work/file; grep -c ^processor /proc/cpuinfo >/dev/null; \
         grep ^JoinControllers= /etc/systemd/system.conf'"
    ))?;
    ensure!(seen == "here\nJoinControllers=\n", "{seen}");
    drover(&host, &["plan", "--detailed-exitcode", "--only", &format!("{container}/*"), NAME])?.exits(0)?;
    taken_away(&host)
}

/// The workspace goes with what is in it; a domain of others becomes what it was.
fn taken_away(host: &Host) -> Result<()> {
    drover(host, &["destroy", NAME, "--yes"])?.ok()?;
    host.shell(
        "no findmnt /home/abuild/work; no grep -q /home/abuild/work /etc/fstab
        grep -q \"<memory unit='KiB'>65536<\" /etc/libvirt/lxc/theirs.xml",
    )?;
    Ok(())
}
