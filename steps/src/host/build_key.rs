//! # BuildKey
//! An ssh key without a passphrase, with which the account that builds gets into the containers.
//!
//! The document: "It may help to generate an ssh key without a passphrase for abuild that it would trust, to sub-login from
//! CI agent sessions into the container: `ssh-keygen`, `cat ~/.ssh/id_rsa.pub >> ~/.ssh/authorized_keys`,
//! `chmod 640 ~/.ssh/authorized_keys`".
//!
//! ```ron
//! BuildKey
//! ```
//!
//! **Changes** in the account's home, as that account: `.ssh` (mode 700), `.ssh/id_rsa` (RSA, 3072 bits, mode 600) and
//! `.ssh/id_rsa.pub`, a line in `.ssh/authorized_keys` (mode 640). A key that is there is never replaced; its public half
//! is written again if it got lost. Other lines of `authorized_keys` stay as they are, and a line that trusts the key already
//! counts, whatever options it has.
//!
//! **To take it back** `drover destroy`, or remove the line and the two files. A key that was there before stays.

use super::program;
use crate::farm::{Account, Farm};
use crate::inputs;
use crate::ours;
use crate::resource::{ACCOUNT, HOME, KEY, PACKAGES};
use crate::step::FarmStep;
use anyhow::{Context, Result, ensure};
use drover_engine::{Access, Check, Cmd, Cx, Entry, Inputs, Kind, Need, Resource, Rootfs, Undo};
use serde::{Deserialize, Serialize};
use std::path::Path;

// Paths in the home. It is the account's, so root goes there only where no link of the account's can lead it astray.
const DIRECTORY: &str = ".ssh";
const PRIVATE: &str = ".ssh/id_rsa";
const PUBLIC: &str = ".ssh/id_rsa.pub";
const TRUSTED: &str = ".ssh/authorized_keys";
/// Where a key is made before it is whole.
const PARTIAL: &str = ".ssh/.id_rsa.partial";
const PARTIAL_PUBLIC: &str = ".ssh/.id_rsa.partial.pub";

const MODES: [(&str, u32); 3] = [(DIRECTORY, 0o700), (PRIVATE, 0o600), (TRUSTED, 0o640)];

// Remembered if they were made here.
const MADE_DIRECTORY: &str = "made the directory";
const MADE_KEY: &str = "made the key";
const MADE_PUBLIC: &str = "made the public half";

/// See the manual above.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BuildKey {}

impl FarmStep<Farm> for BuildKey {
    fn title(&self, at: &Farm) -> String {
        format!("make an ssh key for {}", at.account.user)
    }

    fn facts(&self, at: &Farm) -> Inputs {
        inputs::account(at)
    }

    fn needs(&self, at: &Farm) -> Vec<Need> {
        vec![
            Need::Must(Resource::new(PACKAGES, "host")),
            Need::Must(Resource::new(ACCOUNT, &at.account.user)),
            Need::IfAny(Resource::new(HOME, &at.account.user)),
        ]
    }

    fn provides(&self, at: &Farm) -> Vec<Resource> {
        vec![Resource::new(KEY, &at.account.user)]
    }

    fn precondition(&self, cx: &Cx, at: &Farm) -> Result<()> {
        let there = Rootfs::find(&at.account.home)?.map(|home| home.entry(PRIVATE)).transpose()?.flatten();
        if there.is_none() || program::find("ssh-keygen").is_none() {
            return Ok(());
        }
        let key = at.key();
        let output = cx.probe(&keygen(&key).args(["-y", "-P", ""]))?;
        ensure!(
            output.status.success(),
            "the key `{0}` cannot be used unattended ({1}): if it has a passphrase, take it off with `ssh-keygen -p -f {0}`",
            key.display(),
            output.stderr.trim()
        );
        Ok(())
    }

    fn check(&self, cx: &Cx, at: &Farm) -> Result<Check> {
        let Some(home) = Rootfs::find(&at.account.home)? else {
            return Ok(Check::needed(format!("{} does not exist", at.account.home.display())));
        };
        check_modes(&home, &at.account)?
            .and_then(|| check_trust(&home, &at.account))?
            .and_then(|| Ok(program::check_installed(&["ssh-keygen"])))?
            .and_then(|| check_halves(cx, &home, at))
    }

    fn apply(&self, cx: &Cx, at: &Farm) -> Result<()> {
        let account = &at.account;
        let home = Rootfs::open(&account.home)?;
        for (path, made) in [(DIRECTORY, MADE_DIRECTORY), (PRIVATE, MADE_KEY), (PUBLIC, MADE_PUBLIC)] {
            if home.entry(path)?.is_none() {
                cx.remember(made, "")?;
            }
        }
        home.mkdir_all(DIRECTORY, access(account, 0o700))?;
        if home.entry(PRIVATE)?.is_none() {
            make_key(cx, &home, account)?;
        }
        if home.entry(PUBLIC)?.is_none() {
            let public = cx.read(&keygen(&at.key()).args(["-y", "-P", ""]))?;
            home.write(PUBLIC, &public, access(account, 0o644))?;
        }
        trust(cx, &home, account)?;
        for (path, mode) in MODES {
            let path = account.home.join(path);
            cx.run(&as_account(account, "chmod").arg(format!("{mode:o}")).arg(path))?;
        }
        Ok(())
    }

    fn undo<'a>(&'a self, cx: &Cx, at: &'a Farm) -> Result<Undo<'a>> {
        let home_path = &at.account.home;
        let Some(home) = Rootfs::find(home_path)? else { return Ok(Undo::default()) };
        let mut undo = ours::undo_inside(cx, home_path, TRUSTED)?;
        for (path, made) in
            [(PRIVATE, MADE_KEY), (PUBLIC, MADE_PUBLIC), (PARTIAL, MADE_KEY), (PARTIAL_PUBLIC, MADE_KEY)]
        {
            if cx.has_made(made)? && home.entry(path)?.is_some() {
                let what = format!("remove {}", home_path.join(path).display());
                undo = undo.act(what, move |_| Rootfs::open(home_path)?.remove(path));
            }
        }
        if cx.has_made(MADE_DIRECTORY)? && home.entry(DIRECTORY)?.is_some() {
            let directory = home_path.join(DIRECTORY);
            let what = format!("remove {} if nothing is left in it", directory.display());
            undo = undo.act_if(what, move |_| ours::remove_empty(&directory));
        }
        Ok(undo)
    }
}

/// Whether the public half belongs to the key: a key that others do not know lets nobody in.
fn check_halves(cx: &Cx, home: &Rootfs, at: &Farm) -> Result<Check> {
    let key = at.key();
    let derived = cx.probe(&as_account(&at.account, "ssh-keygen").args(["-y", "-P", "", "-f"]).arg(&key))?;
    ensure!(
        derived.status.success(),
        "`ssh-keygen` cannot use `{}`: {}",
        key.display(),
        derived.stderr.trim()
    );
    let public = home.read(PUBLIC)?.unwrap_or_default();
    if blob(&derived.stdout).is_some() && blob(&derived.stdout) == blob(&public) {
        return Ok(Check::Satisfied);
    }
    let half = at.account.home.join(PUBLIC);
    Ok(Check::needed(format!(
        "`{}` is not the public half of `{}`: remove it, then run again",
        half.display(),
        key.display()
    )))
}

fn keygen(key: &Path) -> Cmd {
    Cmd::new("ssh-keygen").arg("-f").arg(key)
}

/// A call of `program` with the account's rights and no more.
fn as_account(account: &Account, program: &str) -> Cmd {
    let ids = [format!("--reuid={}", account.uid), format!("--regid={}", account.gid)];
    Cmd::new("setpriv").args(ids).args(["--clear-groups", "--", program])
}

fn access(account: &Account, mode: u32) -> Access {
    Access { mode, uid: account.uid, gid: account.gid }
}

fn check_modes(home: &Rootfs, account: &Account) -> Result<Check> {
    let expected = MODES.into_iter().chain([(PUBLIC, 0o644)]);
    for (path, mode) in expected {
        let name = account.home.join(path);
        let Some(entry) = home.entry(path)? else {
            return Ok(Check::needed(format!("{} does not exist", name.display())));
        };
        if let Some(fault) = fault(entry, account, mode).filter(|_| path != PUBLIC) {
            return Ok(Check::needed(format!("{} {fault}", name.display())));
        }
    }
    Ok(Check::Satisfied)
}

/// What is wrong with something in `.ssh`, if anything is.
fn fault(entry: Entry, account: &Account, mode: u32) -> Option<String> {
    if entry.kind == Kind::Link {
        // Whoever made it manages the file it leads to.
        return None;
    }
    if (entry.uid, entry.gid) != (account.uid, account.gid) {
        return Some(format!("belongs to {}:{}", entry.uid, entry.gid));
    }
    (entry.mode != mode).then(|| format!("has mode {:o}, not {mode:o}", entry.mode))
}

fn check_trust(home: &Rootfs, account: &Account) -> Result<Check> {
    let public = home.read(PUBLIC)?.unwrap_or_default();
    let trusted = home.read(TRUSTED)?;
    let after = with_key(trusted.as_deref().unwrap_or(""), &public);
    let mode = home.entry(TRUSTED)?.map_or(0o600, |entry| entry.mode);
    Ok(Check::text(&account.home.join(TRUSTED).display().to_string(), mode, trusted.as_deref(), &after))
}

fn trust(cx: &Cx, home: &Rootfs, account: &Account) -> Result<()> {
    let public = home.read(PUBLIC)?.context("the public key is gone again")?;
    let trusted = home.read_to_edit(TRUSTED)?.unwrap_or_default();
    ours::write_inside(cx, home, TRUSTED, &with_key(&trusted, &public), access(account, 0o640))
}

/// Makes the key beside its place, then moves it there, the private half last: where that is, the other is too.
fn make_key(cx: &Cx, home: &Rootfs, account: &Account) -> Result<()> {
    home.remove(PARTIAL)?;
    home.remove(PARTIAL_PUBLIC)?;
    let partial = account.home.join(PARTIAL);
    let comment = format!("{}@farm", account.user);
    let kind = ["-q", "-t", "rsa", "-b", "3072", "-N", "", "-C", &comment];
    cx.run(&as_account(account, "ssh-keygen").args(kind).arg("-f").arg(&partial))?;
    for (from, to) in [(PARTIAL_PUBLIC, PUBLIC), (PARTIAL, PRIVATE)] {
        let (from, to) = (account.home.join(from), account.home.join(to));
        cx.run(
            &as_account(account, "mv").args(["--no-clobber", "--no-target-directory"]).arg(&from).arg(&to),
        )?;
    }
    Ok(())
}

/// The key itself in a line of ssh's, whatever options stand before it.
fn blob(line: &str) -> Option<&str> {
    // The base64 of every key of OpenSSH's begins with the length of its kind's name.
    line.split_whitespace().find(|word| word.starts_with("AAAA"))
}

/// `trusted` with the key `public` in it, once.
fn with_key(trusted: &str, public: &str) -> String {
    let known = |line: &str| !line.trim_start().starts_with('#') && blob(line) == blob(public);
    if blob(public).is_none() || trusted.lines().any(known) {
        return trusted.to_owned();
    }
    super::lines::with_line(trusted, public.trim())
}

#[cfg(test)]
mod tests {
    use super::with_key;

    const KEY: &str = "ssh-rsa AAAAB3Nza one@host\n";

    #[test]
    fn the_key_is_trusted_once() {
        assert_eq!(with_key("", KEY), KEY);
        assert_eq!(with_key(KEY, KEY), KEY);
        assert_eq!(with_key("ssh-ed25519 AAAAC3 x", KEY), format!("ssh-ed25519 AAAAC3 x\n{KEY}"));
    }

    #[test]
    fn a_line_with_options_and_another_comment_counts() {
        let line = "from=\"10.0.3.0/24\" ssh-rsa AAAAB3Nza somebody\n";
        assert_eq!(with_key(line, KEY), line);
    }

    #[test]
    fn a_line_that_is_commented_out_does_not_count() {
        let line = "# ssh-rsa AAAAB3Nza one@host\n";
        assert_eq!(with_key(line, KEY), format!("{line}{KEY}"));
    }
}
