#!/bin/sh
# Makes a Debian package of a Drover that is built: the program, its manuals, the plans, and a unit that brings the farm up when
# the machine starts. It installs on the release that it is made on, and on later ones.
#
# deb.sh PROGRAM DIRECTORY: the package is DIRECTORY/drover_VERSION_ARCHITECTURE.deb. It does not know how Drover is built.
set -eu
umask 022

program=$(realpath "$1")
directory=$(realpath "$2")
here=$(dirname "$(realpath "$0")")
root=$(mktemp -d)
trap 'rm -rf "$root"' EXIT
chmod 755 "$root"
docs=$root/usr/share/doc/drover
mkdir -p "$root/DEBIAN" "$root/usr/share/man/man1" "$root/usr/share/drover" "$docs"

install -D --mode=755 --strip "$program" "$root/usr/bin/drover"
install -D --mode=644 "$here/drover.service" "$root/usr/lib/systemd/system/drover.service"
cp -r --no-preserve=all "$here/../plans" "$root/usr/share/drover/plans"
install --mode=644 "$here/../README.md" "$docs/README.md"
install --mode=644 "$here/../LICENSE" "$docs/copyright"
"$program" manuals "$root/manuals"
mv "$root/manuals"/*.1 "$root/usr/share/man/man1"
mv "$root/manuals" "$docs/steps"
gzip --best --no-name "$root/usr/share/man/man1"/*.1

# The loader refuses a library that lacks a version of symbols that the program names.
libc=$(objdump --private-headers "$program" | sed -n 's/.* GLIBC_\([0-9.]*\)$/\1/p' | sort --version-sort | tail -n 1)
libraries="libc6 (>= $libc)"
for library in $(objdump --private-headers "$program" | sed -n 's/^ *NEEDED *//p'); do
    case $library in
    libc.so.6 | libm.so.6 | ld-linux-*) ;;
    libgcc_s.so.1) libraries="$libraries, libgcc-s1" ;;
    *) echo "which package has $library? say so in $0" >&2 && exit 1 ;;
    esac
done

version=$("$program" --version | cut -d ' ' -f 2)
architecture=$(dpkg --print-architecture)
cat >"$root/DEBIAN/control" <<CONTROL
Package: drover
Version: $version
Architecture: $architecture
Maintainer: the Drover project <drover@localhost>
Section: admin
Priority: optional
Depends: $libraries, init-system-helpers
Installed-Size: $(du --summarize --block-size=1024 "$root/usr" | cut -f 1)
Description: farms of multi-architecture LXC containers for continuous integration
 Drover builds persistent containers wrapped by libvirt-LXC, one for each distribution release and processor
 architecture, most of them emulated by qemu-user. It carries out a plan as a graph of steps, in parallel, remembers
 what it did in /var/lib/drover, and goes on where it stopped. The packages that a host needs it installs itself.
CONTROL

cat >"$root/DEBIAN/postinst" <<'SCRIPT'
#!/bin/sh
set -e
if [ "$1" = configure ]; then
    deb-systemd-helper unmask drover.service >/dev/null || true
    if deb-systemd-helper --quiet was-enabled drover.service; then
        deb-systemd-helper enable drover.service >/dev/null
    else
        deb-systemd-helper update-state drover.service >/dev/null
    fi
    [ ! -d /run/systemd/system ] || systemctl --system daemon-reload
fi
SCRIPT
cat >"$root/DEBIAN/postrm" <<'SCRIPT'
#!/bin/sh
set -e
# The farm stays, and so does what is remembered of it.
case $1 in
remove) [ ! -x /usr/bin/deb-systemd-helper ] || deb-systemd-helper mask drover.service >/dev/null ;;
purge)
    [ ! -x /usr/bin/deb-systemd-helper ] || {
        deb-systemd-helper purge drover.service >/dev/null
        deb-systemd-helper unmask drover.service >/dev/null
    }
    ;;
esac
[ ! -d /run/systemd/system ] || systemctl --system daemon-reload
SCRIPT
chmod 755 "$root/DEBIAN/postinst" "$root/DEBIAN/postrm"
(cd "$root" && find usr -type f -print0 | LC_ALL=C sort -z | xargs -0 md5sum >DEBIAN/md5sums)

package=$directory/drover_${version}_$architecture.deb
dpkg-deb --root-owner-group --build "$root" "$package"
