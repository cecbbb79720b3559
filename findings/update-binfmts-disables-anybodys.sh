#!/bin/bash
# binfmt-support 2.2.2-2 (Debian 12): whose entries `update-binfmts --disable NAME` takes away.
#
# One would expect: it knows the entries of its own database (/var/lib/binfmts); a name that is not in it, such as one that
# systemd-binfmt registered, is refused with an error, and the kernel's entry stays.
# Seen: it takes the kernel's entry away, says nothing, and ends with 0. To enable it again is refused, `not in database of
# installed binary formats`, with 2: what is not in the database can be taken away by it and not be brought back.
# Linux 6.7 or later: the entry is made in a user namespace's own binfmt_misc.
set -eu
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
chmod 755 "$work"
cd "$work"
apt-get -qq -o APT::Sandbox::User=root download binfmt-support=2.2.2-2 libpipeline1=1.5.7-1
for deb in ./*.deb; do dpkg-deb -x "$deb" root; done
library=$(echo root/usr/lib/*-linux-gnu)
export LD_LIBRARY_PATH=$work/$library
mkdir import admin

cat >inside <<'SCRIPT'
set -u
place=/proc/sys/fs/binfmt_misc
mount -t binfmt_misc binfmt_misc $place
# As systemd-binfmt does with a line of binfmt.d.
echo ':somebodys:E::somebodys::/bin/cat:' >$place/register
binfmts() { root/usr/sbin/update-binfmts --importdir "$PWD/import" --admindir "$PWD/admin" "$@"; }
test -e $place/somebodys && echo "before: there"
binfmts --disable somebodys 2>&1
echo "disable: $?"
test -e $place/somebodys && echo "after: there" || echo "after: gone"
binfmts --enable somebodys 2>&1
echo "enable: $?"
SCRIPT
unshare --map-root-user --mount bash inside | tee said
[ "$(grep -v '^update-binfmts' said | tr '\n' ' ')" = 'before: there disable: 0 after: gone enable: 2 ' ]
