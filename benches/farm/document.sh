#!/bin/bash
# The document's own commands for containers of Debian 12, one after the other, on a host that is prepared already:
# packages, bridge, dnsmasq, libvirt-LXC, account and key. Ends when each answers ssh.
# $1: the mirror; the rest: the architectures.
set -euo pipefail
export MIRROR=$1 SECURITY_MIRROR=${1%/debian}/debian-security LIBVIRT_DEFAULT_URI=lxc:///system
shift
storage=/srv/libvirt/rootfs
mkdir -p "$storage"

for arch; do
    name=jenkins-debian12-$arch
    lxc-create -P "$storage" -n "$name" -t debian -- -r bookworm -a "$arch"

    # The host's architecture, since libvirt refuses others; the memory that the plan gives.
    sed 's/^lxc.arch = .*/lxc.arch = x86_64/' "$storage/$name/config" > /tmp/config
    virsh domxml-from-native lxc-tools /tmp/config |
        sed -e 's,dir:/srv,/srv,' -e 's,65536,1048576,g' \
            -e "s,</devices>,<filesystem type='mount' accessmode='passthrough'><source dir='/home/abuild'/><target dir='/home/abuild'/></filesystem></devices>," \
            > /tmp/x
    virsh define /tmp/x

    root=$storage/$name/rootfs
    mkdir -p "$root/home/abuild"
    for file in issue issue.net; do
        printf '%s %s\n' '\S{NAME} \S{VERSION_ID} \n \l@\b ;' \
            'Current IP(s): \4{eth0} \4{eth1} \4{eth2} \4{eth3}' >> "$root/etc/$file"
    done
    groupadd -R "$root" -g 399 abuild
    useradd -R "$root" -u 399 -g abuild -M -N -s /bin/bash abuild
    printf '\n# For CI: Allow passing any envvars:\nAcceptEnv *\n' >> "$root/etc/ssh/sshd_config"

    # The chroot finds the mirror as the host does.
    cp --remove-destination /etc/hosts /etc/resolv.conf "$root/etc/"
    mount -o bind /proc "$root/proc"
    printf '#!/bin/sh\nexit 101\n' > "$root/usr/sbin/policy-rc.d"
    chmod +x "$root/usr/sbin/policy-rc.d"
    chroot "$root" apt-get -q update
    DEBIAN_FRONTEND=noninteractive chroot "$root" apt-get -qy --no-install-recommends install \
        sudo bash vim mc p7zip p7zip-full pigz pbzip2 git
    rm "$root/usr/sbin/policy-rc.d"
    umount "$root/proc"

    virsh start "$name"
done

for arch; do
    name=jenkins-debian12-$arch
    for _ in $(seq 300); do
        ssh -i /home/abuild/.ssh/id_rsa -o BatchMode=yes -o StrictHostKeyChecking=no -o ConnectTimeout=2 \
            -o SendEnv='*' "abuild@$name" uname -m && continue 2
        sleep 1
    done
    echo "$name does not answer" >&2
    exit 1
done
