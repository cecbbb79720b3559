#!/bin/bash
# systemd 252.39 (Debian 12, 252.39-1~deb12u2): what `systemd-analyze verify` leaves behind.
#
# One would expect: `systemd-analyze verify FILE` reads units and says what is wrong with them; a machine is afterwards as it was before, as
# far as one without a running systemd is concerned in any case.
# Seen: it makes /run/systemd/systemd-units-load, by which a running manager notes when it has last loaded its units.
# So who verifies the units of a package in a chroot or container, and compares what is there before and after, finds a file that no
# package has.
set -eu
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
chmod 755 "$work"
cd "$work"
version=252.39-1~deb12u2
apt-get -qq -o APT::Sandbox::User=root download systemd=$version libsystemd-shared=$version
for deb in ./*.deb; do dpkg-deb -x "$deb" tools; done
library=$(echo tools/usr/lib/*-linux-gnu)
export LD_LIBRARY_PATH=$work/$library/systemd:$work/$library
printf '[Unit]\nDescription=does nothing\n[Service]\nType=oneshot\nExecStart=/bin/true\n' >nothing.service
cat >verify <<'SCRIPT'
set -eu
mount -t tmpfs tmpfs /run
tools/usr/bin/systemd-analyze verify "$PWD/nothing.service"
find /run -mindepth 1 >made
SCRIPT
tools/usr/bin/systemd-analyze --version | head -n 1
unshare --map-root-user --mount bash verify
cat made
[ "$(cat made)" = "$(printf '/run/systemd\n/run/systemd/systemd-units-load')" ]
