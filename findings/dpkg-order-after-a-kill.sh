#!/bin/bash
# dpkg 1.21.23 (Debian 12): the order in which `dpkg --configure -a` goes on.
#
# One would expect: the order follows from the packages; after a kill, `dpkg --configure -a` does the rest as it would have done.
# Seen: it goes through the packages in the order of a hash of their names, and puts off to the end of the queue each that waits for
# another. Begun anew, those that were put off no longer wait, and come first: here after 4 of the 19 places at which the
# configuration of 20 packages can be cut short, in a base system of Debian 12 with openssh-server after most of 130.
# So a system whose installation was interrupted has other numbers than one that went through in one go, wherever the packages take
# the next free one (`adduser --system`): the same group is 101 here and 102 there.
set -eu
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
chmod 755 "$work"
cd "$work"
apt-get -qq -o APT::Sandbox::User=root download dpkg=1.21.23
dpkg-deb -x ./dpkg_*.deb tools
PATH=$work/tools/usr/bin:$PATH
dpkg --version | head -n 1
# Each package needs the one of twice its number, and that of three times.
for number in $(seq 1 20); do
    needs=
    for other in $((number * 2)) $((number * 3)); do
        if [ "$other" -le 20 ]; then needs=${needs:+$needs, }part$other; fi
    done
    mkdir -p "part$number/DEBIAN"
    {
        printf 'Package: part%s\nVersion: 1\nArchitecture: all\nMaintainer: nobody <nobody@localhost>\n' "$number"
        if [ -n "$needs" ]; then echo "Depends: $needs"; fi
        echo 'Description: empty'
    } >"part$number/DEBIAN/control"
    dpkg-deb --root-owner-group --build "part$number" "part$number.deb" >/dev/null
done
mkdir -p system/var/lib/dpkg/{info,updates,triggers}
touch system/var/lib/dpkg/{status,available}
run() { LC_ALL=C dpkg --force-not-root --root="$work/system" --log=/dev/null "$@"; }
order() { run --no-act --configure -a | sed -n 's/^Setting up \([^ ]*\) .*/\1/p'; }
run --unpack part*.deb >out
order >whole
other=0
for done in $(seq 1 19); do
    run --configure "$(sed -n "${done}p" whole)" >out
    tail -n "+$((done + 1))" whole >expected
    order >rest
    if ! cmp -s expected rest; then other=$((other + 1)); fi
done
echo "another order after $other of 19 interruptions"
[ "$other" -eq 4 ]
