//! What is believed of an archive: its signature, by the keys of its release, and its age.
//!
//! A current release must be signed by a key that is valid today. One that lives on in the archive was signed in its
//! time: the same keys count, though they have expired since, and so does a Release file past its Valid-Until. Nothing is
//! ever used unsigned, but from a source that the host's own apt is told to believe without (`trusted=yes`), which is said
//! aloud. It does not fetch anything.

use crate::keys::Keys;
use crate::program;
use crate::release::Release;
use anyhow::{Context, Result, bail};
use drover_engine::{Cmd, Cx, HostFile};
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};

/// A program that checks signatures. gpgv comes with the farm's packages; apt 3 brings sqv in its place. sqv judges a key by
/// the day of the signature, and refuses what was signed in ways that do not count any more, which archived releases are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verifier {
    Gpgv,
    Sqv,
}

/// Which of the programs that are there checks the signature of a release, archived or not.
fn verifier(has: impl Fn(&str) -> bool, archived: bool) -> Option<Verifier> {
    if has("gpgv") {
        Some(Verifier::Gpgv)
    } else if has("sqv") && !archived {
        Some(Verifier::Sqv)
    } else {
        None
    }
}

/// What has to be installed before signatures of the release can be checked here; `None` if nothing has to.
pub fn missing_verifier(release: &Release) -> Option<&'static str> {
    verifier(is_installed, release.is_archived()).is_none().then_some("gpgv")
}

fn is_installed(program: &str) -> bool {
    program::find(program).is_some()
}

/// The text that is signed in the file `signed`, if it is signed by one of `keys`; `archived` says whether keys of its time
/// count.
///
/// # Errors
/// When it is not, with what the program that checks it says; or when there is no such program.
pub fn verified(cx: &Cx, signed: &Path, keys: &Keys, archived: bool) -> Result<String> {
    let plain = signed.with_file_name("Release");
    let directory = signed.parent().context("a file is in a directory")?;
    let keyrings = keys.binary_files(directory)?;
    let keyrings = keyrings.iter().flat_map(|file| [OsStr::new("--keyring"), file.as_os_str()]);
    let verifier = verifier(is_installed, archived);
    match verifier.context("`gpgv` is not installed: `apt-get install gpgv`")? {
        Verifier::Gpgv => {
            let command = Cmd::new("gpgv").args(["--status-fd", "1"]).args(keyrings).arg("--output");
            let ended = cx.probe(&command.arg(&plain).arg(signed))?;
            // gpgv itself ends well if the key has expired.
            if !ended.status.success() || !is_good(&ended.stdout, keys, archived) {
                bail!("{}{}", expired(&ended.stdout), ended.stderr.trim());
            }
        }
        Verifier::Sqv => {
            let command = Cmd::new("sqv").args(keyrings).args(["--cleartext", "--output"]);
            let ended = cx.probe(&command.arg(&plain).arg(signed))?;
            // It prints whose signatures are good.
            if !ended.status.success() || !ended.stdout.lines().any(|key| keys.admit(key.trim(), key.trim()))
            {
                bail!("{}", ended.stderr.trim());
            }
        }
    }
    fs::read_to_string(&plain).with_context(|| format!("read `{}`", plain.display()))
}

/// Whether one of the signatures that gpgv tells of is good.
fn is_good(status: &str, keys: &Keys, archived: bool) -> bool {
    let is_good = says(status, "GOODSIG") || (archived && says(status, "EXPKEYSIG"));
    is_good
        && (keys.fingerprints.is_empty() || signers(status).any(|(key, primary)| keys.admit(key, primary)))
}

/// The keys whose signatures gpgv found valid, and the keys to which they belong, by their fingerprints.
fn signers(status: &str) -> impl Iterator<Item = (&str, &str)> {
    let valid = status.lines().filter_map(|line| line.strip_prefix("[GNUPG:] VALIDSIG "));
    valid.filter_map(|line| Some((line.split(' ').next()?, line.split(' ').next_back()?)))
}

fn says(status: &str, word: &str) -> bool {
    status.lines().any(|line| line.strip_prefix("[GNUPG:] ").is_some_and(|rest| rest.starts_with(word)))
}

/// What is said first when the key has expired: gpgv's own words are easily missed.
fn expired(status: &str) -> &'static str {
    if says(status, "EXPKEYSIG") { "EXPKEYSIG: the key has expired; " } else { "" }
}

/// A gpgv for apt that takes the signatures of keys that have expired since. Beyond that it is the host's own.
///
/// # Errors
/// When it cannot be written.
pub fn gpgv_of_its_time(directory: &Path) -> Result<PathBuf> {
    let script = HostFile::new(directory.join("gpgv-of-its-time")).mode(0o755);
    script.write(GPGV)?;
    Ok(script.path().to_owned())
}

/// apt reads what gpgv tells on a descriptor that an option names: there, an expired key becomes a good one.
const GPGV: &str = r#"#!/bin/sh
# For archived releases only: a signature by a key of its time is good though the key has expired since.
status=
previous=
for argument; do
    [ "$previous" != --status-fd ] || status=$argument
    previous=$argument
done
[ -n "$status" ] || exec gpgv "$@"
told=$(mktemp)
eval "gpgv \"\$@\" $status>\"\$told\""
ended=$?
eval "sed 's/^\[GNUPG:\] EXPKEYSIG /[GNUPG:] GOODSIG /' \"\$told\" >&$status"
rm -f "$told"
exit $ended
"#;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn either_program_proves_a_current_release_and_gpgv_alone_an_archived_one() {
        let both = |_: &str| true;
        assert_eq!(verifier(both, false), Some(Verifier::Gpgv));
        assert_eq!(verifier(both, true), Some(Verifier::Gpgv));
        assert_eq!(verifier(|name| name == "sqv", false), Some(Verifier::Sqv));
        assert_eq!(verifier(|name| name == "sqv", true), None);
        assert_eq!(verifier(|_| false, false), None);
    }

    const EXPIRED: &str =
        "[GNUPG:] NEWSIG\n[GNUPG:] KEYEXPIRED 1609372800\n[GNUPG:] EXPKEYSIG 58A3 Old <o@x>\n";

    #[test]
    fn an_expired_key_is_good_for_an_archived_release_alone() {
        let any = Keys::default();
        assert!(is_good(EXPIRED, &any, true) && !is_good(EXPIRED, &any, false));
        assert!(is_good("[GNUPG:] GOODSIG 58A3 Now <o@x>\n", &any, false));
        for bad in
            ["[GNUPG:] BADSIG 58A3 x\n", "[GNUPG:] NO_PUBKEY 58A3\n", "[GNUPG:] REVKEYSIG 58A3 x\n", ""]
        {
            assert!(!is_good(bad, &any, true), "{bad}");
        }
        assert!(expired(EXPIRED).contains("has expired"));
    }

    #[test]
    fn where_fingerprints_are_named_no_other_key_counts() {
        let status =
            "[GNUPG:] GOODSIG 58A3 Now <o@x>\n[GNUPG:] VALIDSIG AA01 2026-01-01 0 0 4 0 1 8 00 BB02\n";
        let good = |fingerprint: &str| is_good(status, &Keys::named(fingerprint), false);
        assert!(good("AA01") && good("aa01!") && good("BB02") && !good("BB02!") && !good("CC03"));
    }
}
