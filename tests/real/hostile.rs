//! The pair, built by somebody who has all sorts of things set, opened, ignored and limited: it has to be the farm that anybody
//! else gets.

use crate::Test;
use crate::farm::{CONTAINERS, answers, left_nothing};
use crate::site::Site;
use anyhow::{Result, ensure};

pub(crate) const TESTS: &[Test] = &[("from_a_hostile_environment_it_is_the_same_farm", same_farm)];

/// Starts Drover. A library path that would keep natives from being started, an `sh` that an empty entry of PATH would find,
/// a TMPDIR that is nobody else's, another language, options for dpkg, apt, perl, qemu and virsh that break them.
const START: &str = r#"
    mkdir -p -m 700 /root/here/tmp; cd /root/here
    printf '#!/bin/false\n' >sh; cp sh dpkg; cp sh virsh; chmod 755 sh dpkg virsh
    printf 'APT::Get::Simulate "true";\n' >apt.conf
    umask 077; exec 9</etc/passwd; ulimit -S -n 64; ulimit -S -f 100000
    set -- ../../run/bin/drover run ../../run/farm/plans/debian-pair.ron
    exec env -i --ignore-signal=CHLD,TERM,USR1 --block-signal=INT,HUP PATH=:.:bin HOME=/nowhere TERM=vt100 \
        LANG=de_DE.UTF-8 LC_ALL=de_DE.UTF-8 LANGUAGE=de_DE:de LD_LIBRARY_PATH=/root/here LD_BIND_NOW=1 MALLOC_ARENA_MAX=1 \
        PERL5LIB=/root/here PERL5OPT=-MNoSuchModule QEMU_STRACE=1 QEMU_CPU=nonsense APT_CONFIG=/root/here/apt.conf \
        DPKG_ROOT=/nowhere DPKG_FORCE=bad-verify DEBIAN_FRONTEND=dialog VIRSH_DEBUG=0 LIBVIRT_DEFAULT_URI=test:///default \
        MAKEFLAGS=-n CARGO_HOME=/nowhere TMPDIR=/root/here/tmp TOKEN=very-secret ENV=/root/here/sh BASH_ENV=/root/here/sh \
        CDPATH=/root TZ=Asia/Tokyo POSIXLY_CORRECT=1 MIRROR=http://nowhere.invalid LXC_CACHE_PATH=/nowhere \
        SSH_AUTH_SOCK=/nowhere DROVER_RUN=1-1.1 "$@""#;

fn same_farm(site: &Site) -> Result<()> {
    let host = site.fresh_host("hostile")?;
    let first = host.spawn(&["sh", "-c", START])?.wait_aloud()?;
    println!("    {:.1} s", first.elapsed.as_secs_f64());
    first.ok()?;
    left_nothing(&host)?;
    for (container, machine) in CONTAINERS {
        answers(&host, container, machine)?;
    }
    let secrets =
        host.shell("grep -rl very-secret /var/lib/drover /srv/libvirt /var/cache/lxc /etc /var/log || true")?;
    ensure!(secrets.is_empty(), "a secret of the caller's is in {secrets}");
    let left = host.shell("ls /root/here/tmp")?;
    ensure!(left.is_empty(), "TMPDIR was used: {left}");
    open_to_others(&host.shell(MODES)?)?;
    // What the template and dpkg made has the modes that it has anywhere: so says the comparison of whole trees.
    site.compare(&host)
}

/// What must be open to others than root for anything to work, by name and mode.
const MODES: &str = "
    for root in /var/cache/lxc/debian/rootfs-bookworm-* /srv/libvirt/rootfs/*/rootfs; do
        stat -c '%a %n' $root/usr $root/usr/bin $root/usr/lib $root/etc $root/var $root/etc/hosts $root/etc/passwd
    done
    stat -c '%a %n' /etc/lxc/dnsmasq-hosts.conf /etc/default/lxc-net /etc/lxc/dnsmasq.conf /srv/libvirt/rootfs
    stat -c '%a %n' /home/abuild/.ssh /home/abuild/.ssh/id_rsa";

fn open_to_others(modes: &str) -> Result<()> {
    ensure!(modes.lines().count() == 4 * 7 + 4 + 2, "something is missing:\n{modes}");
    for line in modes.lines() {
        let expected = match line.rsplit('/').next().unwrap_or_default() {
            ".ssh" => "700",
            "id_rsa" => "600",
            "hosts" | "passwd" | "dnsmasq-hosts.conf" | "dnsmasq.conf" | "lxc-net" => "644",
            _ => "755",
        };
        ensure!(line.starts_with(&format!("{expected} ")), "`{line}` is not {expected}");
    }
    Ok(())
}
