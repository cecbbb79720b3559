#!/bin/bash
# qemu-user 7.2 (Debian 12) and 10.0 (its backports): which flags of clone(2) an emulated program may use.
#
# One would expect: flags that only the kernel acts upon are handed on, since qemu-user translates system calls and the
# kernel under it knows them all; and what unshare(2) may do, clone(2) may do.
# Seen, in an emulated arm64 perl, as root of a user namespace:
#   clone with CLONE_PIDFD: EINVAL under 7.2; a process under 10.0.
#   clone with CLONE_NEWNS: EINVAL under both, though unshare(CLONE_NEWNS) succeeds under both.
# So a systemd of version 255 or later, which starts all its processes with CLONE_PIDFD, boots but starts nothing under 7.2;
# under 10.0, units that have credentials still fail, since systemd clones with CLONE_NEWNS for these.
set -eu
OLD='1:7.2+dfsg-7+deb12u18+b3'
NEW='1:10.0.2+ds-2+deb13u1~bpo12+1'
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
chmod 755 "$work"
cd "$work"
mkdir -p lists/partial archives/partial parts
mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' 'Codename: bookworm' | head -n 1)
key=/usr/share/keyrings/debian-archive-keyring.gpg
for suite in bookworm bookworm-updates bookworm-backports; do
    echo "deb [arch=amd64,arm64 signed-by=$key] $mirror $suite main"
done >sources.list
echo "deb [arch=amd64,arm64 signed-by=$key] ${mirror%/debian/}/debian-security bookworm-security main" >>sources.list
cat >apt.conf <<END
Dir::Etc::sourcelist "$work/sources.list";
Dir::Etc::sourceparts "$work/parts";
Dir::State::lists "$work/lists";
Dir::State::status "/dev/null";
Dir::Cache "$work";
APT::Architecture "amd64";
APT::Architectures { "amd64"; "arm64"; };
APT::Sandbox::User "root";
END
export APT_CONFIG=$work/apt.conf
apt-get -qq update
apt-get -qq download perl-base:arm64=5.36.0-7+deb12u4 libc6:arm64 libcrypt1:arm64
for deb in ./*_arm64.deb; do dpkg-deb -x "$deb" root; done
apt-get -qq download "qemu-user-static=$OLD" && dpkg-deb -x qemu-user-static_*.deb old && rm qemu-user-static_*.deb
apt-get -qq download "qemu-user=$NEW" && dpkg-deb -x qemu-user_*.deb new

# The numbers are those of arm64: clone is 220, unshare is 97, exit_group is 94.
cat >clone.pl <<'END'
my ($name, $flags) = @ARGV;
my $fd = pack("l", -1);
my $child = syscall(220, hex($flags) | 17, 0, $fd, 0, 0);
if ($child == 0) { syscall(94, 0) }
print "clone $name: ", $child < 0 ? "$!" : "a process", "\n";
waitpid($child, 0) if $child > 0;
END
cat >unshare.pl <<'END'
print "unshare CLONE_NEWNS: ", syscall(97, 0x20000) < 0 ? "$!" : "done", "\n";
END
for version in old new; do
    qemu=$(find $version -path "*/bin/*" \( -name qemu-aarch64 -o -name qemu-aarch64-static \) -type f)
    echo "$("$qemu" --version | head -n 1)"
    run() { unshare --user --map-root-user --mount "$qemu" -L root root/usr/bin/perl "$@"; }
    { run clone.pl "no flag" 0; run clone.pl CLONE_PIDFD 1000; run clone.pl CLONE_NEWNS 20000; run unshare.pl; } | tee $version.out
done
grep -qx 'clone no flag: a process' old.out && grep -qx 'clone no flag: a process' new.out
grep -qx 'clone CLONE_PIDFD: Invalid argument' old.out
grep -qx 'clone CLONE_PIDFD: a process' new.out
grep -qx 'clone CLONE_NEWNS: Invalid argument' old.out && grep -qx 'clone CLONE_NEWNS: Invalid argument' new.out
grep -qx 'unshare CLONE_NEWNS: done' old.out && grep -qx 'unshare CLONE_NEWNS: done' new.out
