//! Accounts and groups of the host, as the system's own name service knows them.

use anyhow::{Context, Result, bail};
use drover_engine::{Cmd, Cx, HostFile};
use std::path::PathBuf;

/// An account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct HostAccount {
    pub(super) name: String,
    pub(super) uid: u32,
    pub(super) gid: u32,
    pub(super) home: PathBuf,
}

/// A group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct HostGroup {
    pub(super) name: String,
    pub(super) gid: u32,
}

/// The account with this name, or with this number.
pub(super) fn account(cx: &Cx, key: &str) -> Result<Option<HostAccount>> {
    let Some(line) = getent(cx, "passwd", key)? else { return Ok(None) };
    parse_account(&line).map(Some).with_context(|| format!("`getent passwd {key}` answered `{line}`"))
}

/// The group with this name, or with this number.
pub(super) fn group(cx: &Cx, key: &str) -> Result<Option<HostGroup>> {
    let Some(line) = getent(cx, "group", key)? else { return Ok(None) };
    parse_group(&line).map(Some).with_context(|| format!("`getent group {key}` answered `{line}`"))
}

/// Whether the database has an entry called `key`: `shadow` and `gshadow`, which only root may read.
pub(super) fn has_entry(cx: &Cx, database: &str, key: &str) -> Result<bool> {
    Ok(getent(cx, database, key)?.is_some())
}

/// Whether a table of this host, `/etc/passwd` or `/etc/group`, has `name` itself and leaves its password to the shadow. What
/// a directory service knows is not in it.
pub(super) fn is_shadowed(table: &str, name: &str) -> Result<bool> {
    let text = HostFile::new(table).read()?.unwrap_or_default();
    Ok(leaves_to_shadow(&text, name))
}

fn leaves_to_shadow(text: &str, name: &str) -> bool {
    let fields = text.lines().map(|line| line.split(':').collect::<Vec<_>>());
    fields.into_iter().any(|fields| fields.first() == Some(&name) && fields.get(1) == Some(&"x"))
}

fn getent(cx: &Cx, database: &str, key: &str) -> Result<Option<String>> {
    let output = cx.probe(&Cmd::new("getent").args([database, key]))?;
    match output.status.code() {
        Some(0) => Ok(output.stdout.lines().next().map(str::to_owned)),
        // What getent ends with when there is no such entry.
        Some(2) => Ok(None),
        _ => bail!("`getent {database} {key}` ended with {}: {}", output.status, output.stderr.trim()),
    }
}

fn parse_account(line: &str) -> Option<HostAccount> {
    let fields: Vec<&str> = line.split(':').collect();
    let [name, _, uid, gid, _, home, _] = fields[..] else { return None };
    Some(HostAccount {
        name: name.to_owned(),
        uid: uid.parse().ok()?,
        gid: gid.parse().ok()?,
        home: home.into(),
    })
}

fn parse_group(line: &str) -> Option<HostGroup> {
    let mut fields = line.split(':');
    Some(HostGroup { name: fields.next()?.to_owned(), gid: fields.nth(1)?.parse().ok()? })
}

#[cfg(test)]
mod tests {
    use super::{leaves_to_shadow, parse_account, parse_group};

    #[test]
    fn what_no_file_of_the_host_has_needs_no_shadow() {
        let passwd =
            "root:x:0:0:root:/root:/bin/bash\nold:*:7:7::/:/bin/sh\n+abuild\nabuild2:x:8:8::/:/bin/sh\n";
        assert!(leaves_to_shadow(passwd, "root"));
        assert!(!leaves_to_shadow(passwd, "abuild"), "a directory service knows it");
        assert!(!leaves_to_shadow(passwd, "old"), "its password, or none, stands there");
    }

    #[test]
    fn lines_of_the_name_service_are_understood() {
        let account = parse_account("abuild:x:399:398:CI builds:/home/abuild:/bin/bash");
        let account = account.map(|account| (account.uid, account.gid, account.home.display().to_string()));
        assert_eq!(account, Some((399, 398, "/home/abuild".to_owned())));
        assert_eq!(parse_account("abuild:x:many:398::/:/bin/sh"), None);
        assert_eq!(parse_group("abuild:x:399:a,b").map(|group| group.gid), Some(399));
    }
}
