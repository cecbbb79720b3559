#!/bin/bash
# dnsmasq 2.90 (Debian 12, 2.90-4~deb12u2): which lines of a --dhcp-hostsfile it says nothing about.
#
# One would expect: a line whose address is none (10.0.3.300) is told with its number, as a repeated address is; of two lines for one name
# the first counts, or the second is told; a line with two names holds for both.
# Seen: only the repeated address is told. What is no address is taken for one more name, of two names in a line the last counts, and
# of two lines for a name the last counts: all without a word. The hosts meant by the first and the last kind get any address.
# So a slip in the file is found out by an address that nobody expected, never in the log.
# As root, in a network namespace of its own, with a request for each name over a veth.
set -eu
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
chmod 755 "$work"
cd "$work"
apt-get -qq -o APT::Sandbox::User=root download "dnsmasq-base=2.90-4~deb12u2" libnetfilter-conntrack3=1.0.9-3 libnfnetlink0=1.0.2-2 \
    libnftables1=1.0.6-2+deb12u2 libjansson4=2.14-2 libnftnl11=1.2.4-2 libmnl0=1.0.4-3 libxtables12=1.8.9-2
for deb in ./*.deb; do dpkg-deb -x "$deb" tools; done
library=$(echo tools/usr/lib/*-linux-gnu)
export LD_LIBRARY_PATH=$work/$library
printf '%s\n' right,10.0.3.11 again,10.0.3.11 slip,10.0.3.300 first,10.0.3.14,second twice,10.0.3.15 twice,10.0.3.16 >hosts

# Asks for an address by a name, over a device, as one of many machines.
cat >ask.pl <<'PERL'
use strict;
use warnings;
use Socket;
my ($device, $name, $number) = @ARGV;
socket(my $socket, PF_INET, SOCK_DGRAM, 0) or die "socket: $!";
setsockopt($socket, SOL_SOCKET, SO_BROADCAST, 1) or die "broadcast: $!";
setsockopt($socket, SOL_SOCKET, 25, pack('Z*', $device)) or die "device: $!";
bind($socket, sockaddr_in(68, INADDR_ANY)) or die "bind: $!";
my $head = pack('C4 N n2 x16 C6 x10 x64 x128 N', 1, 1, 6, 0, $number, 0, 0x8000, 2, 0, 0, 0, 0, $number, 0x63825363);
my $options = pack('C3 C2 a* C x64', 53, 1, 1, 12, length $name, $name, 255);
send($socket, $head . $options, 0, sockaddr_in(67, INADDR_BROADCAST)) or die "send: $!";
my $ready = '';
vec($ready, fileno($socket), 1) = 1;
select($ready, undef, undef, 10) or die "no answer for $name";
defined recv($socket, my $answer, 1500, 0) or die "recv: $!";
print "$name ", inet_ntoa(substr($answer, 16, 4)), "\n";
PERL

cat >serve <<'SCRIPT'
set -eu
ip link set lo up
ip link add name served type veth peer name asking
ip addr add 10.0.3.1/24 dev served
ip link set served up
unshare --net sleep 120 &
other=$!
until [ "$(readlink /proc/$other/ns/net)" != "$(readlink /proc/self/ns/net)" ]; do sleep 0.1; done
ip link set asking netns $other
nsenter --target $other --net ip link set asking up
tools/usr/sbin/dnsmasq --keep-in-foreground --conf-file=/dev/null --user=root --pid-file= --port=0 --interface=served --bind-interfaces \
    --dhcp-range=10.0.3.50,10.0.3.99 --dhcp-hostsfile="$PWD/hosts" --dhcp-leasefile="$PWD/leases" --no-ping --log-facility=- >log 2>&1 &
until grep -q 'read .*/hosts' log; do sleep 0.1; done
number=0
for name in right slip first second twice; do
    number=$((number + 1))
    nsenter --target $other --net perl ask.pl asking $name $number
done >given
kill $other
SCRIPT
tools/usr/sbin/dnsmasq --version | head -n 1
timeout 60 unshare --mount --net --pid --fork --kill-child --mount-proc bash serve
cat given
grep 'line [0-9]* of' log
[ "$(grep -c 'line [0-9]* of' log)" = 1 ]
grep -qx 'right 10.0.3.11' given
grep -qx 'second 10.0.3.14' given
grep -qx 'twice 10.0.3.16' given
for name in slip first; do grep -Eqx "$name 10\.0\.3\.[5-9][0-9]" given; done
