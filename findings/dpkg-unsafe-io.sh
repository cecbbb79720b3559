#!/bin/bash
# dpkg 1.21.23 (Debian 12): what `--force-unsafe-io` leaves of the waiting for the disk.
#
# One would expect: with `--force-unsafe-io`, which every guide to quick bootstraps names, dpkg calls no fsync, or one for its
# database in the end.
# Seen: what it leaves out are the flushes of the files of packages alone. For each change of a package's state its database is
# still flushed: an empty package costs several fsyncs to install, each of 50 packages the same again.
# So a bootstrap of 150 packages waits for the disk about a thousand times, which nothing in dpkg can switch off.
set -eu
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
chmod 755 "$work"
cd "$work"
apt-get -qq -o APT::Sandbox::User=root download strace=6.1-0.1 libunwind8=1.6.2-3 dpkg=1.21.23
for deb in ./*.deb; do dpkg-deb -x "$deb" tools; done
library=$(echo tools/usr/lib/*-linux-gnu)
export LD_LIBRARY_PATH=$work/$library
dpkg=$work/tools/usr/bin/dpkg
"$dpkg" --version | head -n 1

package() {
    mkdir -p "$1/DEBIAN"
    printf 'Package: %s\nVersion: 1\nArchitecture: all\nMaintainer: nobody <nobody@localhost>\nDescription: empty\n' "$1" >"$1/DEBIAN/control"
    dpkg-deb --root-owner-group --build "$1" "$1.deb" >/dev/null
}
for number in $(seq 1 50); do package "empty$number"; done

flushes() {
    rm -rf system
    mkdir -p system/var/lib/dpkg/{info,updates}
    touch system/var/lib/dpkg/{status,available}
    unshare --map-root-user tools/usr/bin/strace -f -qq -e trace=fsync,fdatasync,sync_file_range,syncfs,sync -o trace \
        "$dpkg" --force-unsafe-io --force-not-root --force-script-chrootless --root="$PWD/system" --install "$@" >/dev/null 2>&1
    grep -c sync trace
}
one=$(flushes empty1.deb)
fifty=$(flushes empty*.deb)
echo "one empty package: $one flushes; 50 of them: $fifty"
[ "$one" -ge 5 ] && [ "$fifty" -ge 250 ]
