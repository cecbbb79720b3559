//! Failures of what runs for another architecture, and of libvirt's containers.

use super::Known;

/// Lines that qemu-user 7.2, dash 0.5.12, unshare 2.38.1, OpenSSH 9.2, libvirt 9.0.0 and LXC 5.0.2 wrote; those of
/// systemd 257.13 wrote; those of `guest-idle`, `bridge-checksums`, `guest-no-address` and the first of `guest-silent` are the step
/// `AwaitSsh`'s own.
pub(super) static KNOWN: &[Known] = &[
    Known {
        class: "emulator-crash",
        transient: false,
        cause: "the emulator ran into a program that it cannot run",
        remedy: "see which program it was in the log; another version of qemu-user-static may run it (backports), or \
                 leave this architecture out with `--exclude`",
        signs: &[(
            "qemu: uncaught target signal",
            "qemu: uncaught target signal 11 (Segmentation fault) - core dumped",
        )],
    },
    Known {
        class: "emulator-incomplete",
        transient: false,
        cause: "a program uses a system call that the emulator does not know",
        remedy: "a newer qemu-user-static may know it (backports)",
        signs: &[("Unsupported syscall: ", "Unsupported syscall: 425")],
    },
    Known {
        class: "no-emulation",
        transient: false,
        cause: "the kernel was not told which emulator runs programs of that architecture",
        remedy: "add `Binfmt` to the plan's host, or: mount -t binfmt_misc binfmt_misc /proc/sys/fs/binfmt_misc && \
                 update-binfmts --enable",
        signs: &[
            ("Exec format error", "unshare: failed to execute /bin/true: Exec format error"),
            // The C library's execvp gives what the kernel refuses to a shell.
            (": 1: *ELF*: not found", "/srv/alien: 1: \u{7f}ELF\u{2}\u{1}\u{1}\u{2}\u{fffd}\u{1}: not found"),
            (
                "Invalid ELF image for this architecture",
                "qemu-aarch64-static: /bin/true: Invalid ELF image for this architecture",
            ),
        ],
    },
    Known {
        class: "no-loader",
        transient: false,
        cause: "the emulator finds no dynamic loader for the program: it was started outside of its own root file \
                system, or that one is not complete",
        remedy: "start it by `chroot ROOTFS PROGRAM`; if that says the same, its libraries are missing there: `drover \
                 destroy --container NAME PLAN` and a run make it anew",
        signs: &[(
            "Could not open '/lib*/ld*.so*': No such file or directory",
            "qemu-aarch64-static: Could not open '/lib/ld-linux-aarch64.so.1': No such file or directory",
        )],
    },
    Known {
        class: "libvirt-architecture",
        transient: false,
        cause: "libvirt-LXC knows the host's own architectures only, and the configuration names another",
        remedy: "define the domain by the step `DefineDomain`, which names the host's",
        signs: &[(
            "could not find capabilities for",
            "error: invalid argument: could not find capabilities for ostype=exe arch=s390x domaintype=lxc ",
        )],
    },
    Known {
        class: "libvirt-down",
        transient: false,
        cause: "libvirt's daemon does not run, or does not answer",
        remedy: "add `LibvirtLxc` to the plan's host, or: service libvirtd start",
        signs: &[
            ("failed to connect to the hypervisor", "error: failed to connect to the hypervisor"),
            (
                "Failed to connect socket to '",
                "error: Failed to connect socket to '/var/run/libvirt/libvirt-sock': Connection refused",
            ),
        ],
    },
    Known {
        class: "libvirt-cgroups",
        transient: false,
        cause: "libvirt cannot work with both generations of control groups mounted at once",
        remedy: "add `LibvirtLxc` to the plan's host: it starts libvirtd without /sys/fs/cgroup/unified in sight",
        signs: &[(
            "Unable to create directory /sys/fs/cgroup/unified",
            "error: internal error: guest failed to start: Failure in libvirt_lxc startup: Unable to create \
                 directory /sys/fs/cgroup/unified: No such file or directory",
        )],
    },
    Known {
        class: "guest-cgroups",
        transient: false,
        cause: "the system in the container is older than version 2 of control groups, which this host has",
        remedy: "add `JoinControllers` to the container's steps; or upgrade systemd in the container (backports), which \
                 is then no longer the old environment as is",
        signs: &[(
            // The document's own line, from a container of CentOS 7.
            "Failed to create symlink /sys/fs/cgroup/net_cls",
            "Failed to create symlink /sys/fs/cgroup/net_cls: Operation not permitted",
        )],
    },
    Known {
        class: "bridge-down",
        transient: false,
        cause: "the bridge that the container is to be attached to is not up",
        remedy: "add `Bridge` to the plan's host, or: service lxc-net start",
        signs: &[(
            "Unable to add bridge *: No such device",
            "error: Unable to add bridge lxcbr0 port vnet0: No such device",
        )],
    },
    Known {
        class: "ssh-refused",
        transient: false,
        cause: "the container answers, and does not let the account in with that key",
        remedy: "add `BuildKey` to the plan's host, `BindHome` and `BuildAccount` to the containers' steps, and see the \
                 modes: sshd reads no key in a home that others may write to",
        signs: &[(
            "Permission denied (publickey",
            "root@127.0.0.1: Permission denied (publickey,keyboard-interactive).",
        )],
    },
    Known {
        class: "ssh-host-key",
        transient: false,
        cause: "whoever answers there is not the container whose keys are known: another one has its address, or it was made \
                anew",
        remedy: "`drover herd` shows who has which address; `ssh-keygen -R NAME` forgets the old key",
        signs: &[("Host key verification failed", "Host key verification failed.")],
    },
    Known {
        class: "emulated-systemd",
        transient: false,
        cause: "the emulator cannot do what the container's systemd starts programs by: a file descriptor of the new process \
                (CLONE_PIDFD), or the execution of an open file (flag O of the registration)",
        remedy: "`Binfmt(emulator: Backports)` or `Binfmt(emulator: Release(\"trixie\"))` in the plan's host fetches a newer \
                 emulator and registers it with the flags that it needs; then start the container again",
        signs: &[(
            "Failed to spawn executor",
            "console: dev-hugepages.mount: Failed to spawn executor: Invalid argument",
        )],
    },
    Known {
        class: "guest-idle",
        transient: false,
        cause: "the container's init waits and has started nothing: it cannot run programs there",
        remedy: "the lines of its console say why; if the emulator is too old for its systemd, `drover doctor` says so, and \
                 `Binfmt(emulator: Backports)` in the plan's host fetches a newer one; then start the container again",
        signs: &[(
            "its init has slept for * and has started nothing",
            "`ssh -o SendEnv='*' abuild@a uname -m`: its init has slept for 30 s and has started nothing",
        )],
    },
    Known {
        class: "bridge-checksums",
        transient: false,
        cause: "the bridge leaves out checksums, and an emulated DHCP client takes no answer without them",
        remedy: "run again, which switches checksum offload off on the bridge",
        signs: &[(
            "an emulated DHCP client needs transmit checksums",
            "lease: none for 10.0.3.245 in /var/lib/misc/dnsmasq.lxcbr0.leases; an emulated DHCP client needs transmit \
             checksums: ethtool -K lxcbr0 tx off",
        )],
    },
    Known {
        class: "guest-no-address",
        transient: false,
        cause: "the container runs, and has not asked for its address or not taken it",
        remedy: "see the lines of its console and what its init has started; `virsh -c lxc:///system console NAME` shows what \
                 its DHCP client says",
        signs: &[("lease: none for ", "lease: none for 10.0.3.245 in /var/lib/misc/dnsmasq.lxcbr0.leases")],
    },
    Known {
        class: "guest-silent",
        transient: false,
        cause: "nobody answers on the container's port of ssh: it has not booted, or its sshd does not run",
        remedy: "`virsh -c lxc:///system console NAME` shows how far it is; a container on a slow host may only need longer: \
                 run again",
        signs: &[
            (
                "` does not answer: ",
                "`jenkins-debian12-arm64` does not answer: port 22 of 10.0.3.245: Connection refused (os error 111)",
            ),
            ("ssh: connect to host ", "ssh: connect to host 127.0.0.1 port 2223: Connection refused"),
        ],
    },
    Known {
        class: "template-missing",
        transient: false,
        cause: "LXC has no template of that name",
        remedy: "ls /usr/share/lxc/templates shows those that are there; more come with `apt-get install \
                 lxc-templates`",
        signs: &[(
            "lxc-create: *Template \"*\" not found",
            "lxc-create: x: ../src/lxc/lxccontainer.c: __lxcapi_create: 1799 Template \"nosuch\" not found",
        )],
    },
];
