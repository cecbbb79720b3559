//! The environment of every program that Drover starts. It is made here and nowhere else, so that what a farm becomes does not
//! depend on who starts Drover, from where, or through what.
//!
//! It does not know which program is started, nor what steps set for theirs.

use crate::MARK;
use rustix::process::geteuid;
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

/// Where programs are looked up first, whatever PATH the caller has: `su` leaves half of these out, `cron` more.
pub(crate) const SYSTEM_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// The variables by which programs find their proxies. Some programs read the one spelling, some the other.
const PROXIES: [&str; 10] = [
    "http_proxy",
    "https_proxy",
    "ftp_proxy",
    "all_proxy",
    "no_proxy",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "FTP_PROXY",
    "ALL_PROXY",
    "NO_PROXY",
];

/// What nobody can pass on: what programs say is read by Drover, and must not be translated; they are looked up where Drover
/// says; and the mark is Drover's own.
const OWN: [&str; 4] = ["PATH", "LC_ALL", "LANGUAGE", MARK];

/// A variable by which qemu-user is told to say its version: every emulated program would do that, whatever the value, in place of
/// its work, and end well (`arg_table` in QEMU's linux-user/main.c).
const SAYS_VERSION: &str = "QEMU_VERSION";

/// The environment that programs get, before a step adds its own variables. Cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Environment(Arc<[(OsString, OsString)]>);

impl Default for Environment {
    fn default() -> Self {
        Self::passing(std::iter::empty::<&str>())
    }
}

impl Environment {
    /// Drover's own variables, the caller's proxies, and those of the caller's variables that have these names. Names that
    /// are not set are left out.
    pub fn passing(names: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Self {
        Self::of(|name| std::env::var_os(name), names)
    }

    fn of(
        caller: impl Fn(&OsStr) -> Option<OsString>,
        names: impl IntoIterator<Item = impl AsRef<OsStr>>,
    ) -> Self {
        let mut variables: Vec<(OsString, OsString)> = vec![
            ("PATH".into(), path(caller("PATH".as_ref()))),
            ("HOME".into(), home(caller("HOME".as_ref())).into()),
            // Nobody sees a terminal: what programs write goes to a log.
            ("TERM".into(), "dumb".into()),
            ("LC_ALL".into(), "C.UTF-8".into()),
            // gettext asks this first, in every locale but `C` itself.
            ("LANGUAGE".into(), "".into()),
        ];
        let passed = names.into_iter().map(|name| name.as_ref().to_owned());
        for name in PROXIES.iter().map(OsString::from).chain(passed) {
            if !OWN.iter().chain([&SAYS_VERSION]).any(|own| name == *own)
                && let Some(value) = caller(&name)
            {
                variables.retain(|(known, _)| *known != name);
                variables.push((name, value));
            }
        }
        Self(variables.into())
    }

    /// Gives a process this environment and what is its own, and nothing else.
    pub(crate) fn give(&self, process: &mut Command, own: &[(OsString, OsString)]) {
        let variables = self.0.iter().chain(own);
        process.env_clear().envs(variables.map(|(name, value)| (name, value)));
    }
}

/// Why `name` cannot be that of a variable that is passed on; `None` if it can.
pub fn not_to_be_passed(name: &str) -> Option<String> {
    let legal = |c: char| c.is_ascii_alphanumeric() || c == '_';
    if let Some((name, _)) = name.split_once('=') {
        return Some(format!(
            "write `{name}` alone: its value is taken from the environment that Drover is started in"
        ));
    }
    if name.is_empty() || !name.chars().all(legal) || name.starts_with(|c: char| c.is_ascii_digit()) {
        return Some(format!("`{name}` is no name of a variable: letters, digits and `_`"));
    }
    if let Some(why) = not_to_be_set(name) {
        return Some(why);
    }
    OWN.contains(&name).then(|| format!("`{name}` is always Drover's own: see `drover steps environment`"))
}

/// Why a variable of that name can be set for no program of a guest, whatever its value; `None` if it can.
pub fn not_to_be_set(name: &str) -> Option<String> {
    (name == SAYS_VERSION).then(|| {
        format!(
            "`{name}` makes every emulated program print the emulator's version in place of its work: give the variable \
             another name"
        )
    })
}

/// The directories in which programs of the host are looked up, by Drover as by whatever it starts.
pub fn search_path() -> OsString {
    path(std::env::var_os("PATH"))
}

/// The system's own directories, then what the caller's PATH has beyond them, in which a program may be that no package of
/// the system holds. Entries that are empty or relative mean the current directory, and are nobody's to trust.
fn path(callers: Option<OsString>) -> OsString {
    let mut path = OsString::from(SYSTEM_PATH);
    let callers = callers.unwrap_or_default();
    let mut known: Vec<PathBuf> = std::env::split_paths(SYSTEM_PATH).collect();
    for directory in std::env::split_paths(&callers).filter(|directory| directory.is_absolute()) {
        if !known.contains(&directory) {
            path.push(":");
            path.push(&directory);
            known.push(directory);
        }
    }
    path
}

/// The home of the account that Drover runs as. `sudo` may leave HOME what it was for the caller; an account that a directory
/// service knows, and `/etc/passwd` does not, has no other place where it stands.
fn home(callers: Option<OsString>) -> PathBuf {
    let accounts = std::fs::read("/etc/passwd").unwrap_or_default();
    let accounts = String::from_utf8_lossy(&accounts);
    let known = home_in(&accounts, geteuid().as_raw()).map(PathBuf::from);
    let callers = || callers.map(PathBuf::from).filter(|home| home.is_absolute());
    known.or_else(callers).unwrap_or_else(|| Path::new("/").to_owned())
}

/// The home of the account with this number, in a text such as `/etc/passwd`.
fn home_in(accounts: &str, uid: u32) -> Option<&str> {
    let fields = accounts.lines().map(|line| line.split(':').collect::<Vec<_>>());
    let mut homes = fields.filter(|fields| fields.len() == 7 && fields[2].parse() == Ok(uid)).map(|it| it[5]);
    homes.next().filter(|home| home.starts_with('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a program gets whose caller has these variables, and passes these on.
    fn given(caller: &[(&str, &str)], names: &[&str]) -> Vec<String> {
        let find = |name: &OsStr| {
            caller.iter().find(|(known, _)| OsStr::new(known) == name).map(|(_, value)| value.into())
        };
        let Environment(variables) = Environment::of(find, names);
        let shown = variables.iter().map(|(name, value)| format!("{}={}", name.display(), value.display()));
        let mut shown: Vec<_> = shown.filter(|variable| !variable.starts_with("HOME=")).collect();
        shown.sort();
        shown
    }

    #[test]
    fn nothing_of_the_callers_is_given_but_proxies_and_what_is_named() {
        let caller = [
            ("PATH", "::/opt/bin:bin:./x:/usr/bin:/opt/bin"),
            ("TERM", "xterm"),
            ("LC_ALL", "de_DE.UTF-8"),
            ("LANGUAGE", "de"),
            ("LD_PRELOAD", "/x.so"),
            ("TMPDIR", "/tmp/user/0"),
            ("SECRET", "s"),
            ("CCACHE_DIR", "/c"),
            ("http_proxy", "http://p:1"),
            ("NO_PROXY", "localhost"),
            ("DROVER_RUN", "1-2.3"),
        ];
        let own = [
            "LANGUAGE=",
            "LC_ALL=C.UTF-8",
            "NO_PROXY=localhost",
            "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:/opt/bin",
            "TERM=dumb",
            "http_proxy=http://p:1",
        ];
        assert_eq!(given(&caller, &[]), own);
        let passed = given(&caller, &["CCACHE_DIR", "UNSET", "LC_ALL", "PATH", "LANGUAGE", "DROVER_RUN"]);
        assert_eq!(passed[0], "CCACHE_DIR=/c");
        assert_eq!(passed[1..], own);
        assert!(given(&caller, &["TERM"]).contains(&"TERM=xterm".to_owned()));
        assert_eq!(given(&[], &[])[2], format!("PATH={SYSTEM_PATH}"));
    }

    #[test]
    fn the_home_is_the_accounts() {
        let accounts = "root:x:0:0:root:/root:/bin/bash\nbad:x\nci:x:7:7::/home/ci:/bin/sh\nnone:x:8:8:::\n";
        assert_eq!(home_in(accounts, 0), Some("/root"));
        assert_eq!(home_in(accounts, 7), Some("/home/ci"));
        assert_eq!(home_in(accounts, 8), None);
        assert_eq!(home_in(accounts, 9), None);
    }

    #[test]
    fn names_that_cannot_be_passed_on_are_told() {
        for good in ["CCACHE_DIR", "_x", "LD_LIBRARY_PATH", "HOME", "TERM"] {
            assert_eq!(not_to_be_passed(good), None);
        }
        for bad in
            ["", "A-B", "1A", "Ä", "A B", "A=b", "PATH", "LC_ALL", "LANGUAGE", "DROVER_RUN", "QEMU_VERSION"]
        {
            assert!(not_to_be_passed(bad).is_some(), "{bad}");
        }
    }
}
