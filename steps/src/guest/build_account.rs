//! # BuildAccount
//! Gives the container the account that builds, with the host's user and group ids.
//!
//! The document: `groupadd -R ALTROOT -g 399 abuild; useradd -R ALTROOT -u 399 -g abuild -M -N -s /bin/bash abuild`, and
//! where useradd cannot find the group, "which it does not for some reason in some of those other-arch distros", lines
//! of its own in passwd and shadow.
//!
//! ```ron
//! BuildAccount
//! ```
//! Name, ids and home are those of the host's step `BuildHome`.
//!
//! **It always writes the lines itself**, which is the document's second way. `useradd -R` changes its root to the
//! container and then looks for groups by the modules that the container's `nsswitch.conf` names: libraries of a foreign
//! architecture, which the host's program cannot load. So the first way depends on the two systems' C libraries, and it
//! goes where the container's links lead. Lines have neither trouble, and come out the same for every architecture.
//!
//! **Changes** `passwd`, `group`, `shadow` and, where it is, `gshadow` in the container's `/etc`, one line each at the
//! end, unless the account is there; and makes the directory that the home is bound to. The account has no password. A
//! name or an id that somebody else has is an error.
//!
//! **To take it back**: `drover destroy`, which leaves the home; or `userdel -R STORAGE/rootfs/NAME/rootfs USER`.

use crate::container::Container;
use crate::farm::Account;
use crate::guest::accounts::Table;
use crate::inputs;
use crate::ours;
use crate::resource;
use crate::step::FarmStep;
use anyhow::{Context, Result};
use drover_engine::{Access, Check, Claim, Cx, Inputs, Kind, Need, Resource, Rootfs, Undo};
use serde::{Deserialize, Serialize};

/// See the manual above.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BuildAccount {}

/// The tables, with what the account's line in each has to say: fields by their place, and the whole line if there is
/// none. The group comes first: an account whose group is not there yet would be half-made.
fn tables(account: &Account) -> [Table; 4] {
    let Account { user, uid, gid, home } = account;
    let home = home.display().to_string();
    [
        Table {
            file: "etc/group",
            line: format!("{user}:x:{gid}:"),
            id: Some((2, gid.to_string())),
            set: Vec::new(),
            required: true,
        },
        Table {
            file: "etc/gshadow",
            line: format!("{user}:!::"),
            id: None,
            set: Vec::new(),
            required: false,
        },
        // The document's own line; the day of the last change means nothing without a password.
        Table {
            file: "etc/shadow",
            line: format!("{user}:!:18889:0:99999:7:::"),
            id: None,
            set: Vec::new(),
            required: true,
        },
        Table {
            file: "etc/passwd",
            line: format!("{user}:x:{uid}:{gid}::{home}:/bin/bash"),
            id: Some((2, uid.to_string())),
            set: vec![(3, gid.to_string()), (5, home)],
            required: true,
        },
    ]
}

/// The table's text, and what it should be; `None` if there is no such table and need not be.
fn edit(at: &Container, rootfs: &Rootfs, table: &Table) -> Result<Option<(String, String)>> {
    let before = rootfs.read_to_edit(table.file)?;
    if before.is_none() && !table.required {
        return Ok(None);
    }
    let before = before.with_context(|| format!("`{}` has no /{}", at.name, table.file))?;
    let after = table.edited(&before).with_context(|| format!("/{} of `{}`", table.file, at.name))?;
    Ok(Some((before, after)))
}

/// The home's path inside of the container.
fn home(at: &Container) -> String {
    at.farm.account.home.display().to_string().trim_start_matches('/').to_owned()
}

fn check_home(at: &Container, rootfs: &Rootfs) -> Result<Check> {
    Ok(match rootfs.entry(&home(at))? {
        Some(entry) if entry.kind == Kind::Directory => Check::Satisfied,
        _ => Check::needed(format!("`{}` has no directory /{} to bind the host's to", at.name, home(at))),
    })
}

impl FarmStep<Container> for BuildAccount {
    fn title(&self, at: &Container) -> String {
        format!("give {} the account {}", at.name, at.farm.account.user)
    }

    fn facts(&self, at: &Container) -> Inputs {
        inputs::rootfs(at).and(inputs::account(&at.farm))
    }

    fn needs(&self, at: &Container) -> Vec<Need> {
        vec![Need::Must(at.resource(resource::ROOTFS))]
    }

    fn claims(&self, at: &Container) -> Vec<Claim> {
        vec![at.accounts_lock()]
    }

    fn provides(&self, at: &Container) -> Vec<Resource> {
        at.edited(resource::GUEST_EDIT, "account").into()
    }

    fn goes_with(&self, at: &Container) -> Option<Resource> {
        Some(at.resource(resource::ROOTFS))
    }

    fn undo<'a>(&'a self, cx: &Cx, at: &'a Container) -> Result<Undo<'a>> {
        tables(&at.farm.account).into_iter().try_fold(Undo::default(), |undo, table| {
            Ok(undo.and(ours::undo_inside(cx, &at.rootfs(), table.file)?))
        })
    }

    fn check(&self, _cx: &Cx, at: &Container) -> Result<Check> {
        let Some(rootfs) = Rootfs::find(at.rootfs())? else {
            return Ok(Check::needed(format!("the container `{}` does not exist", at.name)));
        };
        for table in tables(&at.farm.account) {
            let Some((before, after)) = edit(at, &rootfs, &table)? else { continue };
            // Hashes of passwords stand in the lines around it, whatever mode somebody gave it.
            let mode = if table.file.ends_with("shadow") { 0o600 } else { rootfs.mode_there(table.file)? };
            if let Check::Needed { diff, .. } =
                Check::text(&format!("/{} of {}", table.file, at.name), mode, Some(&before), &after)
            {
                let user = &at.farm.account.user;
                let reason = format!("/{} of `{}` has no such line for `{user}`", table.file, at.name);
                return Ok(Check::Needed { reason, diff });
            }
        }
        check_home(at, &rootfs)
    }

    fn apply(&self, cx: &Cx, at: &Container) -> Result<()> {
        let rootfs = Rootfs::open(at.rootfs())?;
        for table in tables(&at.farm.account) {
            if let Some((_, after)) = edit(at, &rootfs, &table)? {
                ours::write_inside(cx, &rootfs, table.file, &after, Access::root(0o600))?;
            }
        }
        rootfs.mkdir_all(&home(at), Access::root(0o755))
    }
}
