#!/bin/bash
# qemu-user-static 7.2 (Debian 12, 1:7.2+dfsg-7+deb12u18+b3) and arch-test 0.20: what a variable QEMU_VERSION does.
#
# One would expect: nothing. A name like that is what build files set to say which emulator they want (`ENV QEMU_VERSION=8.2`).
# Seen: each option of the emulator is read from a variable, also the one that takes no value. Where QEMU_VERSION is set, to
# anything or to nothing, every emulated program prints the emulator's version in place of what it does, and ends with 0: a
# whole build goes through, and nothing was done. It reaches containers by `docker run -e` and by SendEnv of ssh. (arch-test uses it:
# its option -n, "native", is nothing but that variable.)
set -eu
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
chmod 755 "$work"
cd "$work"
apt-get -qq -o APT::Sandbox::User=root download "qemu-user-static=1:7.2+dfsg-7+deb12u18+b3" arch-test=0.20-1
for deb in ./*.deb; do dpkg-deb -x "$deb" root; done
# A program of arm64 that prints "ok".
run() { env "$@" root/usr/bin/qemu-aarch64-static root/usr/lib/arch-test/arm64; }
plain=$(run A=1)
wanted=$(run QEMU_VERSION=8.2)
nothing=$(run QEMU_VERSION=)
echo "without: $plain; with 8.2: ${wanted%%(*}; with nothing: ${nothing%%(*}"
[ "$plain" = ok ] && [ "${wanted%%(*}" = 'qemu-aarch64 version 7.2.22 ' ] && [ "$wanted" = "$nothing" ]
