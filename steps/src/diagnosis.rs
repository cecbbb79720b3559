//! What is known about failures: from the words that tools use to the likely cause, and what to do about it.
//!
//! One table, in four parts: what is short, what archives say, what guests say, what the host forbids. Each of its signs
//! stands beside the line that it was taken from, as the tool wrote it when the failure was brought about on a Debian 12
//! or 13 host; the few that are quoted from a tool's own texts instead are named where they stand. It does not know which step
//! failed.

mod archive;
mod guest;
mod host;

use crate::tail::{TAIL, tail};
use drover_state::{Failure, Remedy};

/// A class of failures.
struct Known {
    class: &'static str,
    /// Whether trying again may help without anybody doing anything. Only then is it tried again.
    transient: bool,
    cause: &'static str,
    remedy: &'static str,
    /// A pattern that a line of the failure matches, `*` standing for anything, and a real line that does.
    signs: &'static [(&'static str, &'static str)],
}

/// What is known about a failure like this one. Of several classes whose signs it shows, the first in the table: there,
/// causes stand before what they entail. What the failure itself says comes before what else the command has said that
/// failed, which may have gone on for long after the cause; who asks whether to try again leaves the log out.
pub fn diagnose(failure: &Failure) -> Option<Remedy> {
    let words = [&failure.message].into_iter().chain(&failure.causes).chain(&failure.status);
    let said: Vec<_> = words.chain(&failure.tail).flat_map(|text| text.lines()).collect();
    let known = find(&said).or_else(|| find(&output(failure)?.lines().collect::<Vec<_>>()))?;
    Some(Remedy {
        class: known.class.to_owned(),
        cause: known.cause.to_owned(),
        remedy: known.remedy.to_owned(),
        transient: known.transient,
    })
}

/// What the failed command has said, as far as it is in reach, if it is what stands last in the log. A log that cannot be
/// read tells no more than none.
fn output(failure: &Failure) -> Option<String> {
    let mut text = tail(failure.log.as_deref()?).unwrap_or_default();
    let heading = match text.rfind("\n$ ") {
        Some(end) => end + 1,
        // It has said so much that its heading is out of reach.
        None if text.len() >= TAIL => return Some(text),
        None => 0,
    };
    let last = text.split_off(heading);
    last.starts_with(&format!("$ {}", failure.command.as_deref()?)).then_some(last)
}

/// The first class of which the lines show a sign.
fn find(lines: &[&str]) -> Option<&'static Known> {
    let shows = |(pattern, _): &(&str, &str)| lines.iter().any(|line| matches(pattern, line));
    table().find(|known| known.signs.iter().any(shows))
}

fn table() -> impl Iterator<Item = &'static Known> {
    host::RESOURCES.iter().chain(archive::KNOWN).chain(guest::KNOWN).chain(host::KNOWN)
}

/// Whether the parts of `pattern` between its stars stand in `line`, in that order.
fn matches(pattern: &str, line: &str) -> bool {
    let mut rest = line;
    pattern.split('*').all(|part| match rest.split_once(part) {
        Some((_, behind)) => {
            rest = behind;
            true
        }
        None => false,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use drover_state::Phase;

    fn failure(status: &str, tail: &[&str]) -> Failure {
        Failure {
            phase: Phase::Apply,
            message: "install the host's packages".to_owned(),
            causes: vec![format!("`apt-get install hello`: {status}")],
            command: Some("apt-get install hello".to_owned()),
            status: Some(status.to_owned()),
            tail: tail.iter().map(|&line| line.to_owned()).collect(),
            log: None,
            remedy: None,
        }
    }

    fn class(status: &str, tail: &[&str]) -> Option<(String, bool)> {
        diagnose(&failure(status, tail)).map(|remedy| (remedy.class, remedy.transient))
    }

    #[test]
    fn every_sign_leads_from_its_real_line_to_its_class() {
        for known in table() {
            for (pattern, line) in known.signs {
                assert!(matches(pattern, line), "{pattern} does not match {line}");
                let found = class("exit status 100", &["before", line, "after"]);
                assert_eq!(found, Some((known.class.to_owned(), known.transient)), "{line}");
            }
        }
    }

    #[test]
    fn every_class_stands_once_and_says_something() {
        let mut classes: Vec<_> = table().map(|known| known.class).collect();
        classes.sort_unstable();
        let count = classes.len();
        classes.dedup();
        assert_eq!(classes.len(), count, "{classes:?}");
        for known in table() {
            assert!(
                !known.signs.is_empty() && known.cause.len() > 10 && known.remedy.len() > 10,
                "{}",
                known.class
            );
        }
    }

    #[test]
    fn what_the_tail_has_lost_is_found_in_the_log_of_the_last_command() {
        // As dnf 4.14.0 wrote it below the template lxc-centos, which goes on for dozens of lines.
        let cause = "  - Curl error (6): Couldn't resolve host name for \
                     http://vault.centos.org/centos/7/os/x86_64/repodata/repomd.xml [Could not resolve host: vault.centos.org]";
        let after = "Failed to download 'CentOS base'";
        let found = |log: &str| {
            let file = tempfile::NamedTempFile::new().expect("a file");
            std::fs::write(&file, log).expect("written");
            let command = Some("lxc-create -n a".to_owned());
            let log = Some(file.path().to_owned());
            diagnose(&Failure { log, command, ..failure("exit status 1", &[after]) })
        };
        let remedy = found(&format!("$ rm x\n$ lxc-create -n a\n{cause}\n{after}\n")).expect("it is known");
        assert_eq!((remedy.class.as_str(), remedy.transient), ("mirror-unreachable", true));
        let long = "x\n".repeat(TAIL / 2);
        assert!(
            found(&format!("$ lxc-create -n a\n{long}{cause}\n{after}\n")).is_some(),
            "its heading is far away"
        );
        let other = "another command said it";
        assert_eq!(
            found(&format!("$ lxc-create -n a\n{cause}\n$ lxc-create -n a\n{after}\n")),
            None,
            "{other}"
        );
        assert_eq!(found(&format!("$ lxc-create -n a\n{after}\n$ wget x\n{cause}\n")), None, "{other}");
        assert_eq!(found(""), None);
    }

    #[test]
    fn nothing_is_made_up() {
        assert_eq!(class("exit status 1", &["E: something new"]), None);
        assert_eq!(class("exit status 3", &[]), None);
        assert_eq!(class("exit status 7", &["Connection refused"]), None, "whose?");
    }

    #[test]
    fn only_what_passes_by_itself_is_tried_again() {
        let mut transient: Vec<_> =
            table().filter(|known| known.transient).map(|known| known.class).collect();
        transient.sort_unstable();
        let expected = [
            "accounts-locked",
            "apt-locked",
            "mirror-closed",
            "mirror-failing",
            "mirror-out-of-step",
            "mirror-unreachable",
        ];
        assert_eq!(transient, expected);
    }

    #[test]
    fn the_cause_speaks_before_what_it_entails() {
        // As apt 2.6 and debootstrap 1.0.128 wrote them, in this order.
        let is = |class_: &str, tail: &[&str]| {
            assert_eq!(class("exit status 100", tail).expect("known").0, class_);
        };
        is(
            "mirror-failing",
            &[
                "E: Failed to fetch http://127.0.0.1:8503/debian/dists/bookworm/InRelease  503  Service Unavailable \
                 [IP: 127.0.0.1 8503]",
                "E: The repository 'http://127.0.0.1:8503/debian bookworm InRelease' is not signed.",
            ],
        );
        // As apt 3.0.3 wrote them, in this order.
        is(
            "key-missing",
            &[
                "W: OpenPGP signature verification failed: copy:/m bookworm InRelease: Sub-process /usr/bin/sqv returned an \
                 error code (1), error message is: Missing key AF6A24B49C3BD27E5DB803CC511D3733501F42E0, which is needed to \
                 verify signature.",
                "E: The repository 'copy:/m bookworm InRelease' is not signed.",
            ],
        );
        is(
            "signature-wrong",
            &[
                "W: OpenPGP signature verification failed: copy:/m bookworm InRelease: Sub-process /usr/bin/sqv returned an \
                 error code (1), error message is: Verifying signature:            Message has been manipulated",
                "E: The repository 'copy:/m bookworm InRelease' is not signed.",
            ],
        );
        is(
            "gpgv-missing",
            &[
                "W: OpenPGP signature verification failed: copy:/m bookworm InRelease: Internal error: Cannot find gpgv",
                "E: The repository 'copy:/m bookworm InRelease' is not signed.",
            ],
        );
        is(
            "not-on-mirror",
            &[
                "  404  Not Found [IP: 127.0.0.1 8404]",
                "E: The repository 'http://127.0.0.1:8404/debian bookworm Release' does not have a Release file.",
            ],
        );
        is(
            "mirror-unreachable",
            &[
                "  Cannot initiate the connection to 198.51.100.7:80 (198.51.100.7). - connect (101: Network is \
                 unreachable)",
                "E: The repository 'http://198.51.100.7/debian bookworm Release' does not have a Release file.",
            ],
        );
        is(
            "key-expired",
            &[
                "  The following signatures were invalid: EXPKEYSIG 20136E1515F0F397 Test <t@example.org>",
                "E: The repository 'file:/tmp/repo ./ InRelease' is not signed.",
            ],
        );
        is(
            "emulator-crash",
            &[
                "qemu: uncaught target signal 11 (Segmentation fault) - core dumped",
                " installed sshd package post-installation script subprocess returned error exit status 139",
            ],
        );
        is(
            "ssh-refused",
            &[
                "`a` does not answer: ssh abuild@a: abuild@a: Permission denied (publickey).",
                "journal: sshd[7]: Authentication refused",
            ],
        );
        is(
            "devices-forbidden",
            &[
                "mknod: /tmp/r/test-dev-null: Operation not permitted",
                "E: Cannot install into target '/tmp/r' mounted with noexec or nodev",
            ],
        );
    }

    #[test]
    fn a_process_that_was_killed_is_known_by_its_status() {
        for status in ["signal 9 (killed)", "exit status 137 (as by signal 9 (killed))"] {
            assert_eq!(class(status, &[]), Some(("killed".to_owned(), false)));
        }
        assert_eq!(class("stopped after 600 s", &[]), Some(("too-slow".to_owned(), false)));
    }
}
