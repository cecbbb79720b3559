//! What keeps a login from working though all is there: files of the account that sshd does not trust, and what the account's
//! or the host's configuration of ssh makes of a container's name. It does not log in.

use crate::container::Container;
use crate::farm::Account;
use crate::program;
use crate::release::Distribution;
use anyhow::{Context, Result};
use drover_engine::{Cmd, Cx, Rootfs};
use std::fs::{self, Metadata};
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// What sshd looks at before it believes the account's list of keys, from the home on.
const LOOKED_AT: [&str; 3] = ["", ".ssh", ".ssh/authorized_keys"];

/// What says whom `ssh NAME` reaches.
const OPTIONS: [&str; 5] = ["hostname", "port", "proxycommand", "proxyjump", "hostkeyalias"];

/// Why the container's sshd will not believe the account's list of keys, and how to mend it; `None` if nothing is known
/// that speaks against it.
///
/// # Errors
/// When something that is there cannot be looked at.
pub(crate) fn distrusted(at: &Container) -> Result<Option<String>> {
    if let Some(rootfs) = Rootfs::find(at.rootfs())? {
        let text = rootfs.read("etc/ssh/sshd_config")?.unwrap_or_default();
        if text.lines().any(is_lenient) {
            return Ok(None);
        }
    }
    // Debian's sshd, and those made of it, take a group of the account's own for harmless.
    let is_debians = matches!(at.base.release.distribution, Distribution::Debian | Distribution::Ubuntu);
    distrusted_in(&at.farm.account, is_debians)
}

fn is_lenient(line: &str) -> bool {
    let mut words = line.split_whitespace().map(str::to_lowercase);
    words.next().as_deref() == Some("strictmodes") && words.next().as_deref() == Some("no")
}

fn distrusted_in(account: &Account, own_group_may_write: bool) -> Result<Option<String>> {
    for path in LOOKED_AT {
        let path = if path.is_empty() { account.home.clone() } else { account.home.join(path) };
        if let Some(meta) = look(&path)?
            && let Some(why) = untrusted(&path, &meta, account, own_group_may_write)
        {
            return Ok(Some(why));
        }
    }
    Ok(None)
}

fn untrusted(path: &Path, meta: &Metadata, account: &Account, own_group_may_write: bool) -> Option<String> {
    let (shown, mode) = (path.display(), meta.mode() & 0o7777);
    if meta.uid() != 0 && meta.uid() != account.uid {
        return Some(format!(
            "`{shown}` belongs to uid {}, not to `{1}`, and sshd believes no keys there: `chown {1} {shown}`",
            meta.uid(),
            account.user
        ));
    }
    let group_may = mode & 0o020 != 0 && !(own_group_may_write && meta.gid() == account.gid);
    (mode & 0o002 != 0 || group_may).then(|| {
        format!(
            "others than `{}` may write to `{shown}` (mode {mode:04o}), and sshd believes no keys there: `chmod go-w {shown}`",
            account.user
        )
    })
}

fn look(path: &Path) -> Result<Option<Metadata>> {
    match fs::metadata(path) {
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => Ok(None),
        meta => meta.map(Some).with_context(|| format!("look at `{}`", path.display())),
    }
}

/// What else than the container `ssh NAME` reaches, as the account calls it, by the configuration of the account or of the
/// host; `None` if it reaches what Drover does, which reads none of them.
///
/// # Errors
/// When ssh cannot be asked.
pub(crate) fn led_astray(cx: &Cx, at: &Container) -> Result<Option<String>> {
    if ["ssh", "setpriv"].iter().any(|name| program::find(name).is_none()) || !at.farm.account.home.exists() {
        return Ok(None);
    }
    let ask = |more: &[&str]| -> Result<String> {
        let command = as_account(&at.farm.account, "ssh").args(more).args(["-G", &at.name]);
        let said = cx.probe(&command)?;
        Ok(if said.status.success() { said.stdout } else { format!("error {}", said.stderr.trim()) })
    };
    Ok(difference(&ask(&["-F", "none"])?, &ask(&[])?).map(|option| {
        format!(
            "`ssh {}` of `{}` is not what Drover proves: its configuration, or that of the host, says `{option}` (`ssh -G {0}`, \
             ~/.ssh/config, /etc/ssh/ssh_config); `ssh -F none {0}` is",
            at.name, at.farm.account.user
        )
    }))
}

/// What `ssh -G` says by a configuration and not without, if it matters.
fn difference<'a>(without: &str, with: &'a str) -> Option<&'a str> {
    let matters = |line: &&str| {
        line.starts_with("error ") || OPTIONS.contains(&line.split(' ').next().unwrap_or_default())
    };
    with.lines().filter(matters).find(|line| !without.lines().any(|known| known == *line))
}

/// A call of `program` as the account, with what its login would give it.
pub(super) fn as_account(account: &Account, program: &str) -> Cmd {
    Cmd::new("setpriv")
        .args(["--reuid", &account.uid.to_string(), "--regid", &account.gid.to_string()])
        .args(["--init-groups", "--reset-env", "env", "LC_ALL=C", program])
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn what_others_may_write_to_is_not_believed() -> Result<()> {
        let place = tempfile::tempdir()?;
        let own = place.path().metadata()?;
        let account = Account {
            user: "abuild".to_owned(),
            uid: own.uid(),
            gid: own.gid(),
            home: place.path().join("home"),
        };
        let set =
            |path: &str, mode| fs::set_permissions(account.home.join(path), fs::Permissions::from_mode(mode));
        assert_eq!(distrusted_in(&account, true)?, None, "there is no home");
        fs::create_dir_all(account.home.join(".ssh"))?;
        fs::write(account.home.join(".ssh/authorized_keys"), "")?;
        for path in LOOKED_AT {
            for (mode, by_debian, by_others) in [
                (0o700, true, true),
                (0o755, true, true),
                (0o775, true, false),
                (0o777, false, false),
                (0o702, false, false),
            ] {
                set(path, mode)?;
                assert_eq!(distrusted_in(&account, true)?.is_none(), by_debian, "{path} {mode:o}");
                assert_eq!(distrusted_in(&account, false)?.is_none(), by_others, "{path} {mode:o}");
            }
            set(path, 0o700)?;
        }
        let others = Account { uid: own.uid() + 1, ..account.clone() };
        // What root owns is believed; nobody but root can make anything that is not its own.
        let is_root = own.uid() == 0;
        assert_eq!(distrusted_in(&others, true)?.is_none(), is_root);
        set("", 0o777)?;
        let why = distrusted_in(&account, true)?.context("it is not believed")?;
        assert!(
            why.contains("(mode 0777)") && why.ends_with(&format!("`chmod go-w {}`", account.home.display())),
            "{why}"
        );
        Ok(())
    }

    #[test]
    fn only_what_changes_whom_it_reaches_matters() {
        let without = "user abuild\nhostname a\nport 22\nsendenv LANG\nproxycommand none\n";
        assert_eq!(difference(without, without), None);
        assert_eq!(difference(without, &without.replace("LANG", "LC_*")), None);
        assert_eq!(difference(without, &without.replace("port 22", "port 2222")), Some("port 2222"));
        assert_eq!(
            difference(without, &without.replace("hostname a", "hostname b.example")),
            Some("hostname b.example")
        );
        assert_eq!(difference(without, &format!("{without}proxyjump gate\n")), Some("proxyjump gate"));
        assert_eq!(difference(without, "error line 3: Bad option"), Some("error line 3: Bad option"));
        assert!(
            is_lenient("  StrictModes no")
                && !is_lenient("#StrictModes no")
                && !is_lenient("StrictModes yes")
        );
    }
}
