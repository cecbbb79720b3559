#!/bin/bash
# iproute2 6.1.0 (Debian 12): an interface whose name is the beginning of a keyword, such as `a`.
#
# One would expect: `ip link add a type veth` makes an interface `a`, as `ip link add z type veth` makes `z`: both are
# valid names to the kernel.
# Seen: `a` is read as `address`, and the error is about that: '"type" is invalid lladdr'. With the keyword `name` before it
# the interface can be made; `ip address show dev a` then finds it.
# So a program that makes interfaces by names that it is given has to write `name` before each of them.
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

unshare --map-root-user --net bash -eu -c '
ip=$1
"$ip" link add z type veth peer name y
echo "z: made"
status=0
"$ip" link add a type veth peer name b 2>error || status=$?
echo "a: status $status, $(head -n 1 error)"
[ "$status" != 0 ] && grep -q "\"type\" is invalid lladdr" error
"$ip" link add name a type veth peer name b
"$ip" -oneline link show dev a | grep -q "a@b"
echo "name a: made, and shown by dev a"
' bash "$ip"
