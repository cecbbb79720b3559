#!/bin/bash
# dpkg 1.21.23 (Debian 12): what `--no-act` writes.
#
# One would expect: `dpkg --no-act --configure -a`, which "may be used in conjunction with --configure" and is to change nothing, leaves
# no trace, in the log least of all: what is asked there is what has been done to a machine.
# Seen: the status stays as it is, but the log gets a line `configure NAME VERSION` for each package that would be configured, by
# which nothing tells that it was not. Only the lines `status installed NAME VERSION` are missing.
# So who counts in /var/log/dpkg.log how often a package was configured counts questions, too; `--log=/dev/null` keeps them out.
set -eu
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
chmod 755 "$work"
cd "$work"
apt-get -qq -o APT::Sandbox::User=root download dpkg=1.21.23 netbase=6.4
dpkg-deb -x ./dpkg_*.deb tools
PATH=$work/tools/usr/bin:$PATH
dpkg --version | head -n 1
mkdir -p system/var/lib/dpkg/{info,updates,triggers}
touch system/var/lib/dpkg/{status,available}
run() { LC_ALL=C dpkg --force-not-root --root="$work/system" --log="$work/$1" "${@:2}"; }
run real --unpack ./netbase_*.deb >out
cp system/var/lib/dpkg/status before
run asked --no-act --configure -a >out
cmp before system/var/lib/dpkg/status
cut -d ' ' -f 3- asked | tee lines
grep -q '^configure netbase:all 6.4' lines
if grep -q '^status installed' lines; then echo "the state is logged, too" >&2; exit 1; fi
