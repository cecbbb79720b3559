# What the host's rules do to the traffic of a bridge, found out in network namespaces of our own: one that has the host's
# rules and a bridge like the farm's, one for a container, one for the world. Nothing of the host's is touched, and all of
# it is gone when this ends.
#
# Called by `unshare --net` as `sh probe.sh DIRECTORY BRIDGE ADDRESS PREFIX GUEST UPLINK UPLINK-ADDRESS BRIDGE-NF`. In the directory
# are the rules, and `interfaces`. Prints a line for each kind of traffic, `WHAT passes` or `WHAT stops`; what the rules did is in
# `trace` in the directory.
set -u
cd "$1" || exit 2
bridge=$2 own=$3 prefix=$4 guest=$5 uplink=$6 address=$7 nf=$8
world=9.9.9.9

quiet() { "$@" >/dev/null 2>&1; }

# Rules name interfaces, and some can only be loaded where these are.
ip link set lo up
while read -r name; do quiet ip link add "$name" type dummy; done <interfaces
quiet ip link del "$bridge"
quiet ip link del "$uplink"
ip link add "$bridge" type bridge && ip address add "$own/$prefix" dev "$bridge" && ip link set "$bridge" up || exit 2

unshare --net sleep 60 >/dev/null 2>&1 &
container=$!
unshare --net sleep 60 >/dev/null 2>&1 &
outside=$!
trap 'kill $container $outside 2>/dev/null' EXIT
ours=$(readlink /proc/$$/ns/net)
for process in $container $outside; do
    while test "$(readlink /proc/$process/ns/net)" = "$ours"; do sleep 0.02; done
done
inside() { nsenter --net="/proc/$container/ns/net" "$@"; }
beyond() { nsenter --net="/proc/$outside/ns/net" "$@"; }

ip link add drv-guest type veth peer name eth0 netns $container || exit 2
ip link set drv-guest master "$bridge" && ip link set drv-guest up
inside ip link set lo up
inside ip link set eth0 up
inside ip route add default dev eth0
ip link add "$uplink" type veth peer name eth0 netns $outside || exit 2
ip address add "$address" dev "$uplink" && ip link set "$uplink" up && quiet ip route add default dev "$uplink"
beyond ip link set eth0 up
beyond ip address add $world/32 dev eth0
beyond ip route add default via "${address%/*}" dev eth0 onlink
quiet sh -c 'echo 1 >/proc/sys/net/ipv4/ip_forward'
quiet sh -c "echo $nf >/proc/sys/net/bridge/bridge-nf-call-iptables"

# A table of ours that marks every packet, so that the kernel tells what each rule does to it.
for family in inet bridge; do
    quiet nft "add table $family drover; add chain $family drover in { type filter hook prerouting priority -450; };
        add rule $family drover in meta nftrace set 1;
        add chain $family drover out { type filter hook output priority -450; }; add rule $family drover out meta nftrace set 1"
done
for device in drv-guest "$bridge" "$uplink"; do
    quiet nft "add table netdev drover;
        add chain netdev drover \"c-$device\" { type filter hook ingress device \"$device\" priority -450; };
        add rule netdev drover \"c-$device\" meta nftrace set 1"
done
for file in nft.*; do
    test ! -e "$file" || quiet nft -f "$file" || echo "cannot load ${file#nft.}"
done
test ! -s iptables-nft || quiet iptables-nft-restore iptables-nft || echo "cannot load iptables-nft"
test ! -s iptables-legacy || quiet iptables-legacy-restore iptables-legacy || echo "cannot load iptables-legacy"
monitor=
if quiet nft list tables; then
    stdbuf -oL nft monitor trace >trace 2>/dev/null &
    monitor=$!
    sleep 0.3
fi

# All that is sent at one time is sent side by side: what is stopped is waited for.
senders=
aside() { ( "$@" ) & senders="$senders $!"; }
await() { for sender in $senders; do wait "$sender"; done; senders=; }
# `until_ready WHAT`
until_ready() { for _ in $(seq 50); do test -e "ready-$1" || sleep 0.1; done; }
# `datagram WHAT TO FROM ...`: somebody listens, somebody sends.
datagram() {
    what=$1 to=$2 port=$3 from=$4; shift 4
    $to perl net.pl listen "$what" "$port" 2 &
    listener=$!
    until_ready "$what"
    $from perl net.pl send "$@"
    if wait $listener; then echo "$what passes"; else echo "$what stops"; fi
}
# `connection WHAT TO FROM ADDRESS PORT`
connection() {
    $2 perl net.pl accept "$1" "$5" 4 &
    listener=$!
    until_ready "$1"
    if $3 perl net.pl connect "$4" "$5" 3; then echo "$1 passes"; else echo "$1 stops"; fi
    quiet kill $listener
    quiet wait $listener
}
here() { "$@"; }

aside datagram request here 67 inside 68 255.255.255.255 67 eth0
aside datagram answer inside 68 here 67 255.255.255.255 68 "$bridge"
await
inside ip address add "$guest/$prefix" dev eth0
inside ip route replace default via "$own" dev eth0
aside datagram names here 53 inside 0 "$own" 53 eth0
aside connection ssh inside here "$guest" 22
test "$(cat /proc/sys/net/ipv4/ip_forward)" != 1 || aside connection world beyond inside $world 80
await
sleep 0.3
test -z "$monitor" || kill $monitor
exit 0
