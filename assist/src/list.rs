//! The one list of programs that may be native, each with the reason why that is safe. Whatever is not on it is emulated.
//!
//! What all of them share: the same package in the same version but for Debian's own revisions; their input and output are bytes of files, which they treat
//! alike on every processor; they run in the locales that need nothing of the guest's (`C`, `POSIX`, `C.UTF-8`).

/// Programs of a package that may be native.
#[derive(Clone, Copy, Debug)]
pub struct Entry {
    /// Debian's package.
    pub package: &'static str,
    /// The directory, links followed, as `/usr/bin`.
    pub directory: &'static str,
    /// The programs in it.
    pub programs: &'static [&'static str],
    /// Why they do the same on every processor, and what is left out because it would not.
    pub reason: &'static str,
    /// Where in the guest there must be nothing for them to be native; `{triplet}` is the guest's.
    pub unless: &'static [&'static str],
    /// What of what it writes depends on the processor's order of bytes.
    pub order: Order,
    /// Whether the program answers with the name of its own architecture, which then has to be made the guest's.
    pub named: bool,
}

/// What of what a program writes depends on the processor's order of bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// Nothing.
    None,
    /// What it is asked to write so: in a guest of the other order it is native only where it is known what runs, and was
    /// compared.
    Possible,
    /// All: in a guest of the other order it is never native.
    Certain,
}

const fn entry(package: &'static str, programs: &'static [&'static str], reason: &'static str) -> Entry {
    Entry { package, directory: "/usr/bin", programs, reason, unless: &[], order: Order::None, named: false }
}

/// All of them.
pub const LIST: &[Entry] = &[
    entry(
        "dash",
        &["dash"],
        "a shell: words, files and processes; arithmetic is 64 bits wide on every processor",
    ),
    Entry {
        unless: &["/usr/lib/{triplet}/perl", "/usr/lib/{triplet}/perl5"],
        order: Order::Possible,
        ..entry(
            "perl-base",
            &["perl"],
            "perl with the compiled modules of its own packages, and the guest's own Config.pm; no script of the base system \
             packs numbers in the processor's own order, in which the twin's perl would write them. Of modules from packages of their \
             own it finds those that the guest has, compiled for its own processor. As soon as the guest has others than the twin, \
             perl is emulated",
        )
    },
    entry("grep", &["grep"], "text in, text out"),
    entry("sed", &["sed"], "text in, text out"),
    entry("mawk", &["mawk"], "text in, text out; numbers are IEEE doubles everywhere"),
    entry(
        "coreutils",
        &[
            "[",
            "b2sum",
            "base32",
            "base64",
            "basename",
            "cat",
            "chgrp",
            "chmod",
            "chown",
            "cksum",
            "comm",
            "cp",
            "cut",
            "date",
            "dd",
            "df",
            "dir",
            "dirname",
            "du",
            "echo",
            "env",
            "expand",
            "expr",
            "false",
            "fmt",
            "fold",
            "groups",
            "head",
            "id",
            "install",
            "join",
            "link",
            "ln",
            "ls",
            "md5sum",
            "mkdir",
            "mkfifo",
            "mktemp",
            "mv",
            "nice",
            "nl",
            "nohup",
            "paste",
            "pathchk",
            "printenv",
            "pwd",
            "readlink",
            "realpath",
            "rm",
            "rmdir",
            "sha1sum",
            "sha224sum",
            "sha256sum",
            "sha384sum",
            "sha512sum",
            "sleep",
            "sort",
            "split",
            "stat",
            "stty",
            "sum",
            "sync",
            "tac",
            "tail",
            "tee",
            "test",
            "timeout",
            "touch",
            "tr",
            "true",
            "truncate",
            "tsort",
            "tty",
            "unexpand",
            "uniq",
            "unlink",
            "vdir",
            "wc",
            "whoami",
            "yes",
        ],
        "files, text and system calls, which the emulator passes on as well. Not: arch, nproc, uname (they name the \
         processor), od (its order of bytes), hostid, pinky, users, who (formats of the guest's libc), numfmt, printf, seq (the \
         widest float), stdbuf (a library of its own), chroot and mknod (they belong to the guest's rights)",
    ),
    entry(
        "findutils",
        &["find", "xargs"],
        "names of files; programs that they start are started as by anything else",
    ),
    entry("diffutils", &["cmp", "diff", "diff3", "sdiff"], "text in, text out"),
    entry(
        "debianutils",
        &["run-parts", "tempfile"],
        "names of files; starts what it finds as by anything else",
    ),
    entry("tar", &["tar"], "an archive is the same bytes everywhere"),
    entry("gzip", &["gzip"], "a compressed file is the same bytes everywhere"),
    entry("xz-utils", &["xz"], "a compressed file is the same bytes everywhere"),
    entry("bzip2", &["bzip2"], "a compressed file is the same bytes everywhere"),
    entry(
        "dpkg",
        &["dpkg-deb", "dpkg-split", "dpkg-statoverride", "update-alternatives"],
        "packages and their database are text and archives that name their architecture themselves",
    ),
    Entry {
        named: true,
        ..entry(
            "dpkg",
            &["dpkg", "dpkg-divert", "dpkg-query", "dpkg-trigger"],
            "its database and its packages are text and archives; what it was made for is one name in it, which is replaced by \
             the guest's",
        )
    },
    Entry {
        order: Order::Certain,
        ..entry(
            "libc-bin",
            &["localedef"],
            "a locale is numbers of 32 bits in the processor's own order of bytes, and nothing else of the processor is in it: \
             by its options --big-endian and --little-endian it is made for all others. What it is made of are texts of the \
             guest. So never where the order is another",
        )
    },
    entry("openssh-client", &["ssh-keygen"], "keys are the same text everywhere, and random"),
    entry("openssl", &["openssl"], "keys, digests and certificates are the same bytes everywhere"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_program_is_listed_once_and_with_a_reason() {
        let mut seen = std::collections::BTreeSet::new();
        for entry in LIST {
            assert!(!entry.reason.is_empty() && entry.unless.len() <= crate::place::UNLESS.len());
            for program in entry.programs {
                assert!(seen.insert((entry.directory, program)), "`{program}` is listed twice");
            }
        }
    }

    #[test]
    fn what_names_the_processor_is_not_listed() {
        let listed = |name| LIST.iter().any(|entry| entry.programs.contains(&name));
        for name in ["uname", "arch", "nproc", "od", "ldconfig", "locale", "getconf", "bash"] {
            assert!(!listed(name), "{name}");
        }
    }
}
