#!/bin/bash
# lxc 5.0.2 (Debian 12, 1:5.0.2-1+deb12u4): what `lxc-update-config` loses.
#
# One would expect: it turns the words of LXC 2 into those of LXC 3: `lxc.rootfs.backend = btrfs` and `lxc.rootfs = /path` become
# `lxc.rootfs.path = btrfs:/path` wherever they stand; the file as it was is in `config.backup`, also after a second call.
# Seen: the backend counts only if its line is the last one of the file; anywhere else, and so in what lxc-create of LXC 2 wrote, the
# container becomes one of `dir:`, without a word. And a second call, which finds nothing to do, puts the new file in place of the backup.
# So a container on btrfs, zfs or lvm that was made by LXC 2 is treated as a directory afterwards, and after a second try nothing says
# what it was.
set -eu
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
chmod 755 "$work"
cd "$work"
apt-get -qq -o APT::Sandbox::User=root download lxc=1:5.0.2-1+deb12u4
dpkg-deb -x ./lxc_*.deb tools
update() { sh tools/usr/bin/lxc-update-config -c "$1"; }
printf '%s\n' 'lxc.utsname = old' 'lxc.rootfs = /srv/old/rootfs' 'lxc.rootfs.backend = btrfs' >last
printf '%s\n' 'lxc.rootfs.backend = btrfs' 'lxc.rootfs = /srv/old/rootfs' 'lxc.utsname = old' >first
cp first original
for config in last first; do
    update "$config"
    echo "its line is the $config: $(grep '^lxc.rootfs.path' "$config")"
done
cmp first.backup original
update first
if cmp -s first.backup original; then echo "the backup is kept" >&2; exit 1; fi
echo "after a second call the backup says: $(grep rootfs first.backup)"
grep -qx 'lxc.rootfs.path = btrfs:/srv/old/rootfs' last
grep -qx 'lxc.rootfs.path = dir:/srv/old/rootfs' first
