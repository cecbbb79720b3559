//! Failures of fetching packages: locks, mirrors, signatures.

use super::Known;

/// Lines that apt 2.6.1 and 3.0.3 (with sqv 1.3.0), dpkg 1.21.22, debootstrap 1.0.128, wget 1.21.3, dnf 4.14.0 and the template lxc-debian wrote. Only the
/// address of a public mirror is replaced, by that of the loopback interface. "Invalid Release signature" is quoted from
/// debootstrap's own text, "Unknown error executing gpgv" from apt's.
pub(super) static KNOWN: &[Known] = &[
    Known {
        class: "apt-locked",
        transient: true,
        cause: "somebody else is installing packages",
        remedy: "let it end; `fuser -v /var/lib/dpkg/lock-frontend` shows who it is. Never remove the lock",
        signs: &[
            (
                "Could not get lock *It is held by process",
                "E: Could not get lock /var/lib/dpkg/lock-frontend. It is held by process 37 (perl)",
            ),
            (
                "Unable to acquire the dpkg frontend lock *is another process using it?",
                "E: Unable to acquire the dpkg frontend lock (/var/lib/dpkg/lock-frontend), is another process \
                 using it?",
            ),
            (
                "lock was locked by another process",
                "dpkg: error: dpkg frontend lock was locked by another process with pid 37",
            ),
        ],
    },
    Known {
        class: "release-unknown",
        transient: false,
        cause: "debootstrap knows no release of that name",
        remedy: "ls /usr/share/debootstrap/scripts shows those that it knows; a newer debootstrap knows newer ones",
        signs: &[("No such script: */scripts/", "E: No such script: /usr/share/debootstrap/scripts/nosuch")],
    },
    Known {
        class: "not-on-mirror",
        transient: false,
        cause: "the mirror does not have that file: a release or architecture that it does not host, or package lists \
                that are older than the mirror",
        remedy: "run again, which fetches the lists anew; if it stays, name a mirror that hosts it in the plan, as in \
                 `mirror: \"http://...\"`",
        signs: &[
            ("404  Not Found", "  404  Not Found [IP: 127.0.0.1 8404]"),
            (
                "Invalid Release file, no entry for",
                "E: Invalid Release file, no entry for main/binary-mips/Packages",
            ),
            ("Invalid release *not found in mirror", "Invalid release nosuch (not found in mirror)"),
            (
                "doesn't have the component",
                "W: Skipping acquire of configured file 'no-such-component/binary-amd64/Packages' as repository \
                 'http://127.0.0.1/debian bookworm InRelease' doesn't have the component 'no-such-component' \
                 (component misspelt in sources.list?)",
            ),
        ],
    },
    Known {
        class: "mirror-forbidden",
        transient: false,
        cause: "the mirror, or a proxy before it, refuses to serve us",
        remedy: "see what it says with `wget -S -O - URL`, and ask whoever runs it, or name another mirror",
        signs: &[(
            "403  Forbidden",
            "E: Failed to fetch http://127.0.0.1:8403/debian/dists/bookworm/InRelease  403  Forbidden [IP: \
             127.0.0.1 8403]",
        )],
    },
    Known {
        class: "mirror-unreachable",
        transient: true,
        cause: "the mirror cannot be reached, or its name not be resolved",
        remedy: "see whether the network and `getent hosts MIRROR` work; a proxy is set by `http_proxy`",
        signs: &[
            (
                "Failed to fetch *Could not resolve '",
                "W: Failed to fetch http://no-such-host.invalid/debian/dists/bookworm/InRelease  Could not resolve \
                 'no-such-host.invalid'",
            ),
            (
                "Temporary failure resolving '",
                "E: Failed to fetch http://no-such-host.invalid/debian/dists/bookworm/InRelease  Temporary failure \
                 resolving 'no-such-host.invalid'",
            ),
            (
                "Could not connect to ",
                "  Could not connect to 127.0.0.1:9 (127.0.0.1). - connect (111: Connection refused)",
            ),
            (
                "Cannot initiate the connection to ",
                "  Cannot initiate the connection to 198.51.100.7:80 (198.51.100.7). - connect (101: Network is \
                 unreachable)",
            ),
            (
                "Failed to fetch *connection timed out",
                "E: Failed to fetch http://127.0.0.1:81/debian/dists/bookworm/InRelease  Could not connect to \
                 127.0.0.1:81 (127.0.0.1), connection timed out",
            ),
            (
                "wget: unable to resolve host address",
                "wget: unable to resolve host address ‘no-such-host.invalid’",
            ),
            (
                "Connecting to *failed: Connection refused",
                "Connecting to 127.0.0.1:9... failed: Connection refused.",
            ),
            (
                "Curl error (6): Couldn't resolve host name",
                "  - Curl error (6): Couldn't resolve host name for \
                 http://vault.centos.org/centos/7/os/x86_64/repodata/repomd.xml [Could not resolve host: vault.centos.org]",
            ),
            (
                "Failed getting release file",
                "E: Failed getting release file http://127.0.0.1:9/debian/dists/bookworm/Release",
            ),
        ],
    },
    Known {
        class: "mirror-closed",
        transient: true,
        cause: "the mirror closed the connection, or stalled, in the middle",
        remedy: "run again; if it stays, name another mirror in the plan, as in `mirror: \"http://...\"`",
        signs: &[
            ("Connection failed [IP:", "  Connection failed [IP: 127.0.0.1 8001]"),
            (
                "Error reading from server",
                "  Error reading from server. Remote end closed connection [IP: 127.0.0.1 8002]",
            ),
            (
                "HTTP request sent, awaiting response... Read error",
                "HTTP request sent, awaiting response... Read error (Connection timed out) in headers.",
            ),
        ],
    },
    Known {
        class: "mirror-failing",
        transient: true,
        cause: "the mirror has a fault of its own",
        remedy: "run again later; if it stays, name another mirror in the plan, as in `mirror: \"http://...\"`",
        signs: &[
            (
                "  500  ",
                "E: Failed to fetch http://127.0.0.1:8500/debian/dists/bookworm/InRelease  500  Internal Server \
                 Error [IP: 127.0.0.1 8500]",
            ),
            (
                "  502  ",
                "E: Failed to fetch http://127.0.0.1:8502/debian/dists/bookworm/InRelease  502  Bad Gateway [IP: \
                 127.0.0.1 8502]",
            ),
            ("  503  ", "  503  Service Unavailable [IP: 127.0.0.1 8503]"),
            ("  504  ", "  504  Gateway Timeout [IP: 127.0.0.1 8504]"),
            ("ERROR 50*: ", "2026-11-23 19:32:34 ERROR 503: Service Unavailable."),
        ],
    },
    Known {
        class: "mirror-out-of-step",
        transient: true,
        cause: "what the mirror sent is not what its signed index says: it is being updated, or damaged",
        remedy: "run again later; if it stays, name another mirror in the plan, as in `mirror: \"http://...\"`",
        signs: &[
            (
                "Hash Sum mismatch",
                "E: Failed to fetch http://127.0.0.1/debian/pool/main/h/hello/hello_2.10-3_amd64.deb  Hash Sum \
                 mismatch",
            ),
            (
                "/Packages* was corrupt",
                "W: http://127.0.0.1/debian/dists/trixie/main/binary-amd64/Packages.gz was corrupt",
            ),
            (
                "File has unexpected size",
                "  File has unexpected size (20 != 53080). Mirror sync in progress? [IP: 127.0.0.1 8004]",
            ),
        ],
    },
    Known {
        class: "gpgv-missing",
        transient: false,
        cause: "gpgv, which checks the archive's signature, cannot be run: apt 3 does not bring it",
        remedy: "apt-get install gpgv",
        signs: &[
            ("Cannot find gpgv", "  Internal error: Cannot find gpgv"),
            (
                "Unknown error executing gpgv",
                "W: OpenPGP signature verification failed: http://127.0.0.1/debian jessie InRelease: Unknown error \
                 executing gpgv",
            ),
        ],
    },
    Known {
        class: "key-too-weak",
        transient: false,
        cause: "the archive's key, or its signature, is made by a method that does not count as secure any more",
        remedy: "upgrade the keyring (`apt-get install debian-archive-keyring`), or name a mirror that is signed by a key of \
                 today",
        signs: &[(
            " is not considered secure since ",
            "W: OpenPGP signature verification failed: copy:/m bookworm InRelease: Sub-process /usr/bin/sqv returned an \
             error code (1), error message is: Signing key on 7737D06F961B9128379C21DE6202408A5010DEF3 is not bound:  \
             \u{20}         No binding signature at time 2026-11-28T23:12:47Z   because: Policy rejected non-revocation \
             signature (PositiveCertification) requiring second pre-image resistance   because: SHA1 is not considered \
             secure since 2026-02-01T00:00:00Z",
        )],
    },
    Known {
        class: "key-expired",
        transient: false,
        cause: "the archive's signature was made with a key that has expired",
        remedy: "upgrade the keyring (`apt-get install debian-archive-keyring`); releases that are archived need the \
                 keyring of removed keys",
        signs: &[(
            "EXPKEYSIG",
            "W: GPG error: file:/tmp/repo ./ InRelease: The following signatures were invalid: EXPKEYSIG \
             20136E1515F0F397 Test <t@example.org>",
        )],
    },
    Known {
        class: "key-missing",
        transient: false,
        cause: "the archive is signed with a key that the keyring does not hold",
        remedy: "install or upgrade the keyring package of that distribution (`apt-get install \
                 debian-archive-keyring`)",
        signs: &[
            (
                "Missing key *, which is needed to verify signature",
                "  Sub-process /usr/bin/sqv returned an error code (1), error message is: Missing key \
                 AF6A24B49C3BD27E5DB803CC511D3733501F42E0, which is needed to verify signature.",
            ),
            (
                "NO_PUBKEY",
                "  The following signatures couldn't be verified because the public key is not available: NO_PUBKEY \
                 6ED0E7B82643E131 NO_PUBKEY 78DBA3BC47EF2265 NO_PUBKEY F8D2585B8783D481",
            ),
            ("Release signed by unknown key", "E: Release signed by unknown key (key id F8D2585B8783D481)"),
        ],
    },
    Known {
        class: "signature-wrong",
        transient: false,
        cause: "the archive's index is not what was signed: the mirror, or somebody on the way to it, changed it",
        remedy: "do not trust this mirror; name another in the plan, as in `mirror: \"http://...\"`",
        signs: &[
            (
                "Message has been manipulated",
                "  Sub-process /usr/bin/sqv returned an error code (1), error message is: Verifying signature:           \
                 \u{20}Message has been manipulated",
            ),
            (
                "OpenPGP signature verification failed",
                "W: OpenPGP signature verification failed: copy:/m bookworm InRelease: Sub-process /usr/bin/sqv returned \
                 an error code (1), error message is: Verifying signature:            Malformed packet: Malformed issuer \
                 fingerprint subpacket: expected 21 bytes, got 22",
            ),
            (
                "signatures were invalid: BADSIG",
                "  The following signatures were invalid: BADSIG BD93BCBADE06B46F Test2 <t2@example.org>",
            ),
            (
                "Clearsigned file isn't valid",
                "  Clearsigned file isn't valid, got 'NOSPLIT' (does the network require authentication?)",
            ),
            ("Invalid Release signature", "E: Invalid Release signature (key id F8D2585B8783D481)"),
            (
                "Error executing gpgv to check Release signature",
                "E: Error executing gpgv to check Release signature",
            ),
        ],
    },
    Known {
        class: "index-expired",
        transient: false,
        cause: "the archive's index says that it is too old: the mirror is no longer updated, or the clock is wrong",
        remedy: "compare `date` with a good clock; else name a mirror that is kept up, or the archive of old releases",
        signs: &[
            (
                "Release file for *is expired",
                "E: Release file for file:/tmp/repo/./InRelease is expired (invalid since 1d 0h 0min 1s). Updates for \
                 this repository will not be applied.",
            ),
            (
                "Release file for *is expired",
                "E: Release file for copy:/m/dists/bookworm/InRelease is expired (invalid since 4228d 13h 12min 50s). \
                 Updates for this repository will not be applied.",
            ),
        ],
    },
    Known {
        class: "clock-behind",
        transient: false,
        cause: "the archive's index is from the future: the clock of this host is behind",
        remedy: "set the clock: `date --set=...`, or `timedatectl set-ntp true`",
        signs: &[(
            "Release file for *is not valid yet",
            "E: Release file for file:/tmp/repo/./InRelease is not valid yet (invalid for another 1d 23h 59min 50s). \
             Updates for this repository will not be applied.",
        )],
    },
    Known {
        class: "not-signed",
        transient: false,
        cause: "the archive carries no signature",
        remedy: "use a signed one: what is not signed is never installed",
        signs: &[
            (
                "The repository '*is not signed",
                "E: The repository 'file:/tmp/repo ./ Release' is not signed.",
            ),
            (
                "does not have a Release file",
                "E: The repository 'file:/tmp/repo ./ Release' does not have a Release file.",
            ),
        ],
    },
    Known {
        class: "package-unknown",
        transient: false,
        cause: "the archive has no such package, or not in that version",
        remedy: "see `apt-cache policy PACKAGE`; the host's package lists may be old: `apt-get update`",
        signs: &[
            ("Unable to locate package", "E: Unable to locate package no-such-package-x"),
            ("E: Version '*was not found", "E: Version '9.9' for 'hello' was not found"),
        ],
    },
    Known {
        class: "package-unmet",
        transient: false,
        cause: "a package needs another one that the archive does not have, or that may not be installed beside those there",
        remedy: "see which in the log; `apt-mark showhold` shows packages that are held, and `apt-get update` fetches new lists",
        signs: &[
            ("have unmet dependencies", "The following packages have unmet dependencies:"),
            ("held broken packages", "E: Unable to correct problems, you have held broken packages."),
        ],
    },
    Known {
        class: "package-damaged",
        transient: false,
        cause: "a file that should be a package is none, or is cut short",
        remedy: "remove that file where it was downloaded to, and run again",
        signs: &[
            (
                "unexpected end of file or stream",
                "dpkg-deb (subprocess): cannot copy archive member from 'cut.deb' to decompressor pipe: unexpected end \
                 of file or stream",
            ),
            ("is not a Debian format archive", "dpkg-deb: error: 'junk.deb' is not a Debian format archive"),
        ],
    },
    Known {
        class: "package-conflict",
        transient: false,
        cause: "two packages have the same file",
        remedy: "take one of them out of the plan; both names stand in the message",
        signs: &[(
            "trying to overwrite '*', which is also in package",
            " trying to overwrite '/usr/same', which is also in package one 1",
        )],
    },
    Known {
        class: "dpkg-interrupted",
        transient: false,
        cause: "an installation of packages was interrupted, and is not finished",
        remedy: "dpkg --configure -a",
        signs: &[(
            "dpkg was interrupted",
            "E: dpkg was interrupted, you must manually run 'dpkg --configure -a' to correct the problem. ",
        )],
    },
];
