#!/bin/bash
# apt 2.6.1 (Debian 12): what `apt-get indextargets` names before the first `apt-get update`.
#
# One would expect: all files that `apt-get update` would download, as its manual says, for tools that want to know the sources.
# Seen: nothing, and it ends with 0, as if there were no sources. It leaves out every target whose Release file is not there
# yet, as on a fresh machine or in an image without lists. Only with --no-release-info, which sounds like less, it names them all.
set -eu
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
chmod 755 "$work"
cd "$work"
apt-get -qq -o APT::Sandbox::User=root download apt=2.6.1 libapt-pkg6.0=2.6.1
for deb in ./*.deb; do dpkg-deb -x "$deb" root; done
library=$(echo root/usr/lib/*-linux-gnu)
mkdir -p etc/sources.list.d state/lists/partial cache/archives/partial
touch status
echo 'deb http://mirror.invalid/debian bookworm main' >etc/sources.list
targets() {
    LD_LIBRARY_PATH=$work/$library root/usr/bin/apt-get -o Dir::Etc="$work/etc" -o Dir::State="$work/state" \
        -o Dir::Cache="$work/cache" -o Dir::State::status="$work/status" indextargets "$@" 'Created-By: Packages' | grep -c ^MetaKey || true
}
echo "named: $(targets), without what Release files say: $(targets --no-release-info)"
[ "$(targets)" = 0 ] && [ "$(targets --no-release-info)" -gt 0 ]
