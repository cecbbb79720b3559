//! A storage on Btrfs in a file: made and mounted, never over anybody's data; and on it, what copies cost.

use crate::Test;
use crate::contract::{Fresh, keeps_contract, run};
use crate::farm::drover;
use crate::site::Site;
use anyhow::{Context, Result, ensure};
use std::time::Instant;
use throwaway::Host;

pub(crate) const TESTS: &[Test] = &[
    ("on_btrfs_a_container_is_a_snapshot_of_its_base_system", snapshots),
    ("a_device_is_a_storage_unless_it_holds_data", device),
];

const PLAN: &str = "Plan(
    name: \"btrfs\",
    host: [
        HostPackages,
        Storage(Btrfs(path: \"/srv/big\", on: Loop(file: \"/var/lib/big.img\", size: \"6 GiB\"))),
        RelocateCache, Binfmt, BuildHome(path: \"/home/abuild\", user: \"abuild\", uid: 399, gid: 399),
    ],
    containers: [(name: \"on-btrfs-{arch}\", distribution: Debian, release: \"bookworm\", arch: amd64),
                 (name: \"again-{arch}\", distribution: Debian, release: \"bookworm\", arch: amd64)],
    each: [Bootstrap, LxcCreate, BuildAccount],
)";
const NAME: &str = "/root/btrfs.ron";
const BASE: &str = "/srv/big/cache-lxc/debian/rootfs-bookworm-amd64";

fn snapshots(site: &Site) -> Result<()> {
    let host = site.built("snapshots")?;
    host.write(NAME, PLAN)?;
    // Copied, since what is in a lower layer of an overlay cannot be renamed.
    host.shell(
        "rm -rf /var/cache/lxc/debian/rootfs-bookworm-arm64
        cp -a /var/cache/lxc /var/cache/copy; rm -rf /var/cache/lxc; mv /var/cache/copy /var/cache/lxc",
    )?;
    refused(&host)?;
    run(&host, NAME, "host/packages")?;
    keeps_contract(&host, NAME, "host/storage", Fresh::Needed)?;
    host.shell("umount /srv/big")?;
    keeps_contract(&host, NAME, "host/storage", Fresh::Needed)?;
    host.shell("test \"$(findmnt --noheadings --output FSTYPE /srv/big)\" = btrfs; grep -c ' /srv/big btrfs .*# Drover: Storage' /etc/fstab")?;
    // Base systems that are there are moved, and stay what they are.
    keeps_contract(&host, NAME, "host/relocate-cache", Fresh::Needed)?;
    host.shell(&format!("test -L /var/cache/lxc; test -x {BASE}/usr/bin/dpkg"))?;
    let copied = created(&host, "on-btrfs-amd64")?;
    let tree = host.path("/srv/big/rootfs/on-btrfs-amd64/rootfs");
    ensure!(tree.join("etc/debian_version").exists(), "there is no system in it");

    // One that is made there is a subvolume, and a container a snapshot of it.
    host.shell(&format!("rm -rf --one-file-system {BASE}"))?;
    run(&host, NAME, "bootstrap/*")?;
    host.shell(&format!("test $(stat -c %i {BASE}) = 256"))?;
    let snapped = created(&host, "again-amd64")?;
    host.shell("test $(stat -c %i /srv/big/rootfs/again-amd64/rootfs) = 256")?;
    let whole: u64 = host.shell(&format!("du -sk {BASE} | cut -f 1"))?.trim().parse()?;
    println!(
        "    a base system has {} MiB; lxc-create with shared blocks: {} MiB, {:.1} s; with a snapshot: {} MiB, {:.1} s",
        whole >> 10,
        copied.0 >> 10,
        copied.1,
        snapped.0 >> 10,
        snapped.1
    );
    ensure!(snapped.0 < whole / 2 && copied.0 < whole / 2, "nothing was saved");
    // What is made of the same base is the same, however it was copied; and what is done to a snapshot stays there.
    host.shell(&format!(
        "echo changed >/srv/big/rootfs/again-amd64/rootfs/etc/issue; no grep -q changed {BASE}/etc/issue"
    ))?;
    keeps_contract(&host, NAME, "again-amd64/build-account", Fresh::Needed)?;
    // A half-made one is removed and made anew.
    host.shell("touch /srv/big/rootfs/again-amd64/partial")?;
    run(&host, NAME, "again-amd64/lxc-create")?;
    host.shell("test $(stat -c %i /srv/big/rootfs/again-amd64/rootfs) = 256; no grep -q changed /srv/big/rootfs/again-amd64/rootfs/etc/issue")?;
    taken_away(&host)
}

/// What somebody has put there keeps all of it where it is; without that, the storage goes, its file and its line too.
fn taken_away(host: &Host) -> Result<()> {
    // The pair was made by another plan, which would need the host's part.
    let destroy = ["destroy", NAME, "--yes", "--disregard-others"];
    host.shell("echo data >/srv/big/theirs")?;
    drover(host, &destroy)?.ok()?;
    host.shell("grep -q data /srv/big/theirs; no test -e /srv/big/rootfs/again-amd64; rm /srv/big/theirs")?;
    // Where the pair is stays, with it.
    drover(host, &destroy)?.ok()?;
    host.shell(
        "no findmnt /srv/big; no grep -q 'Drover: Storage' /etc/fstab; no test -e /var/lib/big.img
        no test -L /var/cache/lxc; losetup --list >/run/loops; no grep big.img /run/loops
        test -d /srv/libvirt/rootfs/jenkins-debian12-amd64/rootfs",
    )?;
    Ok(())
}

/// Makes a container; how many KiB that takes on the disk, and how many seconds.
fn created(host: &Host, name: &str) -> Result<(u64, f64)> {
    let used = || -> Result<u64> {
        let text = host.shell("sync --file-system /srv/big; df --output=used /srv/big | tail -n 1")?;
        text.trim().parse().context("df prints no number")
    };
    let (before, begin) = (used()?, Instant::now());
    run(host, NAME, &format!("{name}/lxc-create"))?;
    let seconds = begin.elapsed().as_secs_f64();
    Ok((used()?.saturating_sub(before), seconds))
}

/// Nothing that holds data is formatted or hidden, and it is named.
fn refused(host: &Host) -> Result<()> {
    let is_refused = |why: &str, settings: &[&str]| -> Result<()> {
        let settings = settings.iter().flat_map(|setting| ["--set", *setting]);
        let arguments: Vec<_> = ["run", NAME, "--only", "host/storage"].into_iter().chain(settings).collect();
        let ended = drover(host, &arguments)?.exits(7)?;
        ensure!(ended.stderr.contains(why), "`{why}` is not in {}", ended.stderr);
        Ok(())
    };
    host.shell("truncate -s 300M /var/lib/big.img; mkfs.ext4 -q -L precious /var/lib/big.img")?;
    let before = host.shell("sha256sum /var/lib/big.img")?;
    is_refused("`/var/lib/big.img` holds something (ext4 called precious)", &[])?;
    ensure!(host.shell("sha256sum /var/lib/big.img")? == before, "it was touched");
    host.shell("rm /var/lib/big.img; mkdir -p /srv/big; echo mine >/srv/big/file")?;
    is_refused("`/srv/big` holds something", &[])?;
    host.shell("rm /srv/big/file")?;
    if host.shell("cat /proc/misc")?.contains("device-mapper") {
        println!("    not exercised: what is said where there is no device mapper");
    } else {
        let lvm = "Lvm(path: \"/srv/big\", volume: (group: \"vg0\", name: \"libvirt\", size: \"6 GiB\"))";
        is_refused("this kernel has no device-mapper", &[&format!("host.Storage={lvm}")])?;
    }
    let zfs = "Zfs(path: \"/srv/big\", dataset: \"tank/libvirt\")";
    is_refused("modprobe zfs", &[&format!("host.Storage={zfs}")])?;
    let home = "(dataset: \"tank/abuild\", deduplicate: true)";
    let ended = drover(
        host,
        &["run", NAME, "--only", "host/build-home", "--set", &format!("host.BuildHome.zfs={home}")],
    )?;
    ensure!(ended.exits(7)?.stderr.contains("a home on ZFS needs ZFS"), "a home on ZFS is not refused");
    println!("    not exercised: LVM and ZFS beyond their preconditions");
    Ok(())
}

/// On a device: a file that the kernel shows as one stands for a disk.
fn device(site: &Site) -> Result<()> {
    let host = site.built("device")?;
    let shown = host.shell("truncate -s 1G /var/lib/disk.img; losetup --find --show /var/lib/disk.img")?;
    let device = shown.trim();
    let proved = on(&host, device);
    host.shell("if mountpoint -q /srv/disk; then umount /srv/disk; fi")?;
    host.shell(&format!("losetup --detach {device}"))?;
    proved
}

fn on(host: &Host, device: &str) -> Result<()> {
    const PLAN: &str = "/root/device.ron";
    let storage = format!("Storage(Btrfs(path: \"/srv/disk\", on: Device(\"{device}\")))");
    host.write(PLAN, &format!("Plan(name: \"device\", host: [HostPackages, {storage}])"))?;
    host.shell(&format!("mkfs.ext4 -q -L precious {device}"))?;
    let before = host.shell(&format!("sha256sum <{device}"))?;
    let refused = drover(host, &["run", PLAN])?.exits(7)?;
    ensure!(refused.stderr.contains("holds something (ext4 called precious)"), "{}", refused.stderr);
    ensure!(host.shell(&format!("sha256sum <{device}"))? == before, "it was touched");

    // As it says itself.
    host.shell(&format!(
        "wipefs --quiet --all {device}; dd if=/dev/zero of={device} bs=1M count=1 conv=notrunc status=none"
    ))?;
    run(host, PLAN, "host/packages")?;
    keeps_contract(host, PLAN, "host/storage", Fresh::Needed)?;
    let mounted = host.shell("findmnt --noheadings --output SOURCE,FSTYPE /srv/disk")?;
    ensure!(mounted.split_whitespace().eq([device, "btrfs"]), "{mounted}");
    host.shell("echo data >/srv/disk/theirs; umount /srv/disk")?;
    // What is ours is used as it is, with what is in it.
    keeps_contract(host, PLAN, "host/storage", Fresh::Needed)?;
    host.shell("grep -q data /srv/disk/theirs; rm /srv/disk/theirs")?;

    // The pair was made by another plan, which would need the host's part.
    let gone = drover(host, &["destroy", PLAN, "--yes", "--disregard-others"])?.ok()?;
    ensure!(gone.stderr.contains(&format!("wipefs --all {device}")), "{}", gone.stderr);
    host.shell(&format!(
        "no findmnt /srv/disk; no grep -q {device} /etc/fstab; blkid --match-token TYPE=btrfs {device}"
    ))
    .map(drop)
}
