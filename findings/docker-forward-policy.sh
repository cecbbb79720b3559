#!/bin/bash
# Docker 20.10.24 (Debian 12, docker.io 20.10.24+dfsg1-1+deb12u1+b6) with iptables 1.8.9: when it closes a machine to what others forward.
#
# One would expect: a Docker that starts sets the policy of the chain FORWARD to DROP, as its documentation of packet filtering says; or it
# does not, by its configuration. Who bridges containers of another kind either always has to open it, or never.
# Seen: it depends on what was there first. Where net.ipv4.ip_forward is 0, Docker sets it to 1 and the policy to DROP; where something
# else has already set it to 1, the same Docker with the same configuration leaves the policy at ACCEPT.
# So containers on a bridge like that of lxc-net reach the world when Docker is started after it, and no longer when the machine
# was restarted and Docker came first.
# As root, in namespaces of its own: nothing of this machine's network is touched.
set -eu
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
chmod 755 "$work"
cd "$work"
apt-get -qq -o APT::Sandbox::User=root download "docker.io=20.10.24+dfsg1-1+deb12u1+b6" "containerd=1.6.20~ds1-1+deb12u3" \
    "runc=1.1.5+ds1-1+deb12u1" iptables=1.8.9-2 libxtables12=1.8.9-2 libip4tc2=1.8.9-2 libip6tc2=1.8.9-2 libnftnl11=1.2.4-2 \
    libmnl0=1.0.4-3 libdevmapper1.02.1=2:1.02.185-2
for deb in ./*.deb; do dpkg-deb -x "$deb" tools; done
library=$(echo tools/usr/lib/*-linux-gnu)
export LD_LIBRARY_PATH=$work/$library XTABLES_LIBDIR=$work/$library/xtables PATH=$work/bin:$work/tools/usr/sbin:$work/tools/usr/bin:$PATH
mkdir bin
for name in iptables ip6tables; do ln -s ../tools/usr/sbin/xtables-nft-multi "bin/$name"; done
dockerd --version

cat >try <<'SCRIPT'
set -eu
mount -t tmpfs tmpfs /run
ip link set lo up
echo "$1" >/proc/sys/net/ipv4/ip_forward
dockerd --data-root "$PWD/data" --exec-root "$PWD/exec" --pidfile "$PWD/pid" --host "unix://$PWD/socket" --storage-driver vfs >log 2>&1 &
for wait in $(seq 120); do
    if grep -q 'API listen' log; then break; fi
    sleep 0.5
done
grep -q 'API listen' log || { cat log >&2; exit 1; }
iptables -S FORWARD | head -n 1 >policy
[ "$(cat /proc/sys/net/ipv4/ip_forward)" = 1 ]
kill %1
wait || true
rm -rf data exec
SCRIPT
for before in 0 1; do
    unshare --mount --net --pid --fork --kill-child --mount-proc bash try "$before"
    echo "ip_forward was $before: $(cat policy)"
    cp policy "policy-$before"
done
[ "$(cat policy-0)" = '-P FORWARD DROP' ] && [ "$(cat policy-1)" = '-P FORWARD ACCEPT' ]
