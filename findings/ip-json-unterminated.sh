#!/bin/bash
# iproute2 6.1.0 (Debian 12): `ip -json route show table N` for a routing table that has no routes.
#
# One would expect: `[]` and success, or nothing on standard output and an error: a reader of JSON can tell either.
# Seen: standard output is the one character `[`, which is no JSON; standard error says "ipv4: FIB table does not exist",
# the exit status is 2. `table all` with a filter that nothing matches prints `[]` and ends with 0.
# So a program that asks whether a table of policy routing is in use has to look at the status before it parses.
set -eu
VERSION=6.1.0-3
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
chmod 755 "$work"
cd "$work"
apt-get -qq -o APT::Sandbox::User=root download "iproute2=$VERSION" libbpf1=1:1.1.2-0+deb12u1 libelf1=0.188-2.1 libmnl0=1.0.4-3 libcap2=1:2.66-4+deb12u3+b1
for deb in ./*.deb; do dpkg-deb -x "$deb" root; done
export LD_LIBRARY_PATH=$work/root/usr/lib/$(dpkg-architecture -qDEB_HOST_MULTIARCH 2>/dev/null || echo x86_64-linux-gnu)
ip=$(echo root/bin/ip root/usr/bin/ip | tr ' ' '\n' | while read -r f; do [ -x "$f" ] && echo "$work/$f" && break; done)
"$ip" -V

status=0
said=$(unshare --map-root-user --net "$ip" -json -4 route show table 999 2>error) || status=$?
echo "table 999: standard output '$said', status $status, standard error: $(head -n 1 error)"
[ "$said" = '[' ] && [ "$status" = 2 ]
said=$(unshare --map-root-user --net "$ip" -json -4 route show table all type blackhole | tr -d ' \n')
echo "table all type blackhole: standard output '$said'"
[ "$said" = '[]' ]
