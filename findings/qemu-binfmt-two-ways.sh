#!/bin/bash
# qemu-user-static 7.2 (Debian 12, 1:7.2+dfsg-7+deb12u18+b3) with binfmt-support 2.2.2: what one package registers in two ways.
#
# One would expect: the package's record for binfmt-support and its file for systemd-binfmt make the same entry in the kernel: same
# emulator, same magic, same flags.
# Seen: by binfmt-support the flags are PF, by systemd-binfmt's file POF. binfmt-support has a word for C (`credentials`), for P and
# for F, and none for O alone; C would bring O, and with it setuid programs of guests that become root.
# So whether an emulated program is handed to the emulator as an open file (which systemd from 255 on needs: it executes
# /proc/self/fd/N, closed on exec) depends on the host's process 1, on the same release with the same packages.
# Linux 6.7 or later: the entries are made in a user namespace's own binfmt_misc.
set -eu
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
chmod 755 "$work"
cd "$work"
apt-get -qq -o APT::Sandbox::User=root download "qemu-user-static=1:7.2+dfsg-7+deb12u18+b3" binfmt-support=2.2.2-2 libpipeline1=1.5.7-1
for deb in ./*.deb; do dpkg-deb -x "$deb" root; done
library=$(echo root/usr/lib/*-linux-gnu)
export LD_LIBRARY_PATH=$work/$library
emulator=$work/root/usr/bin/qemu-aarch64-static
# The paths alone are made those of this folder.
mkdir import admin
sed "s|^interpreter .*|interpreter $emulator|" root/usr/share/binfmts/qemu-aarch64 >import/qemu-aarch64
sed "s|:/usr/libexec/[^:]*:|:$emulator:|" root/usr/lib/binfmt.d/qemu-aarch64.conf >binfmt.conf

cat >compare <<'SCRIPT'
set -eu
place=/proc/sys/fs/binfmt_misc
mount -t binfmt_misc binfmt_misc $place
root/usr/sbin/update-binfmts --importdir "$PWD/import" --admindir "$PWD/admin" --import qemu-aarch64
grep flags $place/qemu-aarch64 >by-record
echo -1 >$place/qemu-aarch64
cat binfmt.conf >$place/register
grep flags $place/qemu-aarch64 >by-file
SCRIPT
unshare --map-root-user --mount bash compare
echo "binfmt-support: $(cat by-record); systemd-binfmt: $(cat by-file)"
[ "$(cat by-record)" = 'flags: PF' ] && [ "$(cat by-file)" = 'flags: POF' ]
