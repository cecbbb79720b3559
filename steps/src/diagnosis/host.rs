//! Failures of the host itself: what it lacks, and what it forbids.
//!
//! Lines that coreutils 9.1, bash 5.2, perl, dpkg 1.21.22, apt 2.6.1, passwd 4.13, util-linux 2.38.1, debootstrap 1.0.128
//! and LXC 5.0.2 wrote; those of `program-missing` (the first), `killed` (the first) and `too-slow` are the engine's own. `Disk quota
//! exceeded` and `Cannot allocate memory` were not brought about: they are the C library's words for these errors.

use super::Known;

/// What stands first, since want of it makes everything else fail.
pub(super) static RESOURCES: &[Known] = &[
    Known {
        class: "disk-full",
        transient: false,
        cause: "a file system is full",
        remedy: "df -h shows which, and `drover herd` what the containers take; make room and run again",
        signs: &[
            (
                "No space left on device",
                " unable to fill /tmp/small/var/lib/dpkg/updates/tmp.i with padding: No space left on device",
            ),
            ("You don't have enough free space in", "E: You don't have enough free space in /tmp/small/."),
            ("Disk quota exceeded", "cp: error writing '/srv/x': Disk quota exceeded"),
        ],
    },
    Known {
        class: "read-only",
        transient: false,
        cause: "a file system is mounted read-only",
        remedy: "mount shows which (ro); a file system that had errors makes itself read-only: see dmesg",
        signs: &[("Read-only file system", "touch: cannot touch '/mnt/x': Read-only file system")],
    },
    Known {
        class: "out-of-memory",
        transient: false,
        cause: "the host has too little memory for what runs at once",
        remedy: "run fewer steps at once, as in `--jobs 1`, or add swap space",
        signs: &[
            ("Out of memory!", "Out of memory!"),
            ("xrealloc: cannot allocate", "bash: xrealloc: cannot allocate 7745536 bytes"),
            ("memory exhausted", "sort: memory exhausted"),
            ("Cannot allocate memory", "bash: fork: Cannot allocate memory"),
        ],
    },
    Known {
        class: "too-many-files",
        transient: false,
        cause: "no more files, or watches of files, may be opened: each container's init takes some",
        remedy: "sysctl -w fs.inotify.max_user_instances=1024, and ulimit -n for the limit of one process",
        signs: &[("Too many open files", "bash: /etc/passwd: Too many open files")],
    },
    Known {
        class: "too-many-processes",
        transient: false,
        cause: "no more processes may be started",
        remedy: "run fewer steps at once, as in `--jobs 1`, or raise the limit: ulimit -u",
        signs: &[("fork: Resource temporarily unavailable", "bash: fork: Resource temporarily unavailable")],
    },
];

/// What stands last, since it may follow from all else.
pub(super) static KNOWN: &[Known] = &[
    Known {
        class: "accounts-locked",
        transient: true,
        cause: "somebody else is changing accounts, or a program that did was killed and another now has its number",
        remedy: "let it end: the line before names the process; if that one has nothing to do with accounts, remove the \
                 lock, as in `rm /etc/passwd.lock`",
        signs: &[(
            "cannot lock /etc/*; try again later.",
            "useradd: cannot lock /etc/passwd; try again later.",
        )],
    },
    Known {
        class: "devices-forbidden",
        transient: false,
        cause: "this host may not make device nodes: it is a container itself, without the capability",
        remedy: "run on a machine, or in a container that is allowed to (CAP_MKNOD)",
        signs: &[("mknod: *: Operation not permitted", "mknod: /tmp/x: Operation not permitted")],
    },
    Known {
        class: "mount-options",
        transient: false,
        cause: "the file system is mounted in a way that forbids device nodes or programs in it",
        remedy: "mount -o remount,dev,exec, or put the storage elsewhere",
        signs: &[(
            "mounted with noexec or nodev",
            "E: Cannot install into target '/tmp/nd/r' mounted with noexec or nodev",
        )],
    },
    Known {
        class: "mount-busy",
        transient: false,
        cause: "somebody is still at work in what is to be unmounted",
        remedy: "fuser -vm PLACE shows who; let it end, and run again",
        signs: &[("target is busy", "umount: /mnt: target is busy.")],
    },
    Known {
        class: "not-root",
        transient: false,
        cause: "only root may do that",
        remedy: "run it as root: sudo drover run PLAN",
        signs: &[
            (
                ", are you root?",
                "E: Unable to acquire the dpkg frontend lock (/var/lib/dpkg/lock-frontend), are you root?",
            ),
            ("requires superuser privilege", "dpkg: error: requested operation requires superuser privilege"),
            ("can only run as root", "E: debootstrap can only run as root"),
            ("must be superuser to use mount", "mount: /mnt: must be superuser to use mount."),
            ("unshare failed: Operation not permitted", "unshare: unshare failed: Operation not permitted"),
            (
                "cannot change root directory to '*Operation not permitted",
                "chroot: cannot change root directory to '/': Operation not permitted",
            ),
        ],
    },
    Known {
        class: "permission-denied",
        transient: false,
        cause: "whoever runs this may not do that",
        remedy: "run it as root: sudo drover run PLAN; if it is root, the host is confined (a container, AppArmor)",
        signs: &[
            (
                "Permission denied",
                "lxc-create: zzz: ../src/lxc/utils.c: mkdir_p: 236 Permission denied - Failed to create directory \
                 \"/root/.local/\"",
            ),
            ("Operation not permitted", "chown: changing ownership of '/srv/x': Operation not permitted"),
        ],
    },
    Known {
        class: "program-missing",
        transient: false,
        cause: "a program that is needed is not installed",
        remedy: "add `HostPackages` to the plan's host, or install the package that holds it",
        signs: &[
            ("cannot be started: no such program", "`drover-no-such`: cannot be started: no such program"),
            (
                ": command not found",
                "/usr/share/lxc/templates/lxc-debian: line 250: debian-distro-info: command not found",
            ),
        ],
    },
    Known {
        class: "killed",
        transient: false,
        cause: "the kernel or somebody killed the process; most often memory ran out",
        remedy: "dmesg | grep -i 'out of memory' tells; run fewer steps at once, as in `--jobs 1`, or add swap space",
        signs: &[
            ("signal 9 (killed)", "`sh -c 'kill -9 $$'`: signal 9 (killed)"),
            (
                "was killed by signal (Killed)",
                " installed killed package post-installation script subprocess was killed by signal (Killed)",
            ),
        ],
    },
    Known {
        class: "too-slow",
        transient: false,
        cause: "the step took longer than it may, and was stopped",
        remedy: "see in the log where it stood still; run again to go on from there",
        signs: &[
            ("stopped after * s", "`sh -c 'sleep 98761 & sleep 98761; true'`: stopped after 0.2 s"),
            ("stopped waiting after * s", "stopped waiting after 0.2 s"),
        ],
    },
    Known {
        class: "package-script",
        transient: false,
        cause: "a package was unpacked, and its own script that sets it up failed",
        remedy: "see in the log what the script said before; run again to go on from that package",
        signs: &[
            (
                "script subprocess returned error exit status",
                " installed failing package post-installation script subprocess returned error exit status 1",
            ),
            ("dependency problems - leaving unconfigured", " dependency problems - leaving unconfigured"),
        ],
    },
];
