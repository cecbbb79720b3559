# Runs a program in an emulated system: `$1` is its root, `$2` its emulator's name, `$3` how, `plain`, `assisted` or `uncounted`;
# the program follows. Assisted, that is with what Drover left below its state directory, mounted as Drover does it; starts are
# then counted in a file, unless that is what is left out.
mount -t proc proc "$1/proc"
if [ "$3" = plain ]; then exec /usr/sbin/chroot "$1" "${@:4}"; fi
base=${1##*/rootfs-}
here=/var/lib/drover/cache/assist/debian-${base%-*}-amd64 entry=/proc/sys/fs/binfmt_misc/qemu-$2
hex() { sed -n "s/^$1 //p" "$entry" | sed 's/../\\x&/g'; }
registration=":assist:M:0:$(hex magic):$(hex mask):$here/switch:PF"
qemu=$(sed -n 's/^interpreter //p' "$entry")
mount --bind "$here/natives" "$1/proc/tty/ldisc"
mount --bind "/var/lib/drover/cache/assist/offers/debian-$base" "$1/proc/tty/ldisc/offer"
mount --bind "$qemu" "$1/proc/tty/ldisc/qemu"
counts=/var/lib/drover/cache/assist/counts/by-hand-$base
[ -s "$counts" ] || (umask 000; mkdir -p "${counts%/*}"; head -c 32768 /dev/zero >"$counts")
if [ "$3" = assisted ]; then mount --bind "$counts" "$1/proc/tty/ldisc/counts"; fi
exec "$here/enter" "$1/proc/sys/fs/binfmt_misc" "$registration" -- /usr/sbin/chroot "$1" "${@:4}"
