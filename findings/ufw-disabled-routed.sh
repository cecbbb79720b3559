#!/bin/bash
# ufw 0.36.2 (Debian 12, 0.36.2-1) with iptables 1.8.9: what "disabled (routed)" means.
#
# One would expect: an active ufw that reports `Default: deny (incoming), allow (outgoing), disabled (routed)` does not concern itself with
# what the machine forwards: containers on a bridge reach the world once something turns forwarding on.
# Seen: the word says that net.ipv4.ip_forward is 0, nothing of the firewall: the policy of the chain FORWARD is DROP all the same. As soon
# as another program turns forwarding on (lxc-net, libvirt and Docker do), the same firewall without any change reports
# `deny (routed)`.
# As root, in namespaces and an overlay of its own: nothing of this machine is touched.
set -eu
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
chmod 755 "$work"
cd "$work"
mkdir upper work root
cat >inside <<'SCRIPT'
set -eu
mount -t overlay overlay -o "lowerdir=/,upperdir=$PWD/upper,workdir=$PWD/work" root
mount --rbind /dev root/dev
mount -t proc proc root/proc
mount -t tmpfs tmpfs root/run
mkdir root/run/lock
export DEBIAN_FRONTEND=noninteractive
chroot root apt-get -qqy -o APT::Sandbox::User=root install --no-install-recommends ufw=0.36.2-1 iptables=1.8.9-2 >out 2>&1 || { cat out >&2; exit 1; }
unshare --net chroot root sh -eu <<'NETWORK'
ip link set lo up 2>/dev/null || true
ufw version | head -n 1
ufw --force enable >/dev/null
for forward in 0 1; do
    echo $forward >/proc/sys/net/ipv4/ip_forward
    echo "ip_forward $forward: $(ufw status verbose | grep ^Default); $(iptables -S FORWARD | head -n 1)"
done
ufw disable >/dev/null
NETWORK
SCRIPT
unshare --mount --pid --fork --kill-child bash inside | tee said
grep -q '^ip_forward 0: .*disabled (routed); -P FORWARD DROP$' said
grep -q '^ip_forward 1: .*deny (routed); -P FORWARD DROP$' said
