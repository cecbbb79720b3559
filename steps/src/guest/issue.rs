//! # Issue
//! Lets the container say its name and addresses before somebody logs in, on the console and by ssh.
//!
//! The document: "reporting of assigned IP addresses on the console": `grep eth0 ALTROOT/etc/issue || printf … >>`, and
//! the same for `issue.net`.
//!
//! ```ron
//! Issue
//! ```
//! **Changes** `/etc/issue` and `/etc/issue.net` in the container: the document's line at the end of each, unless `eth0`
//! stands in it already. One that is a link, as to `../usr/lib/issue`, becomes a file of its own with the same text: what the
//! link names belongs to a package.
//!
//! **To take it back**: `drover destroy`, or remove the line.

use crate::container::Container;
use crate::inputs;
use crate::ours;
use crate::resource;
use crate::step::FarmStep;
use anyhow::Result;
use drover_engine::{Access, Check, Cx, Inputs, Kind, Need, Resource, Rootfs, Undo};
use serde::{Deserialize, Serialize};

const FILES: [&str; 2] = ["etc/issue", "etc/issue.net"];

/// The document's line; getty and sshd fill it in.
const LINE: &str = r"\S{NAME} \S{VERSION_ID} \n \l@\b ; Current IP(s): \4{eth0} \4{eth1} \4{eth2} \4{eth3}";

/// See the manual above.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Issue {}

/// The text with the line.
fn edited(before: &str) -> String {
    if before.contains("eth0") {
        return before.to_owned();
    }
    let gap = if before.is_empty() || before.ends_with('\n') { "" } else { "\n" };
    format!("{before}{gap}{LINE}\n")
}

/// The text of the file, and whether a link leads to it.
fn read(rootfs: &Rootfs, file: &str) -> Result<(Option<String>, bool)> {
    if rootfs.entry(file)?.is_some_and(|entry| entry.kind == Kind::Link)
        && let Some(text) = rootfs.read(file)?
    {
        return Ok((Some(text), true));
    }
    Ok((rootfs.read_to_edit(file)?, false))
}

fn check_file(at: &Container, rootfs: &Rootfs, file: &str) -> Result<Check> {
    let (before, _) = read(rootfs, file)?;
    let after = edited(before.as_deref().unwrap_or_default());
    Ok(
        match Check::text(
            &format!("/{file} of {}", at.name),
            rootfs.mode_there(file)?,
            before.as_deref(),
            &after,
        ) {
            Check::Needed { diff, .. } => Check::Needed {
                reason: format!("/{file} of `{}` does not show its addresses", at.name),
                diff,
            },
            satisfied @ Check::Satisfied => satisfied,
        },
    )
}

impl FarmStep<Container> for Issue {
    fn title(&self, at: &Container) -> String {
        format!("let {} show its addresses", at.name)
    }

    fn facts(&self, at: &Container) -> Inputs {
        inputs::rootfs(at)
    }

    fn needs(&self, at: &Container) -> Vec<Need> {
        vec![Need::Must(at.resource(resource::ROOTFS))]
    }

    fn provides(&self, at: &Container) -> Vec<Resource> {
        at.edited(resource::GUEST_EDIT, "issue").into()
    }

    fn goes_with(&self, at: &Container) -> Option<Resource> {
        Some(at.resource(resource::ROOTFS))
    }

    fn undo<'a>(&'a self, cx: &Cx, at: &'a Container) -> Result<Undo<'a>> {
        FILES
            .into_iter()
            .try_fold(Undo::default(), |undo, file| Ok(undo.and(ours::undo_inside(cx, &at.rootfs(), file)?)))
    }

    fn check(&self, _cx: &Cx, at: &Container) -> Result<Check> {
        let Some(rootfs) = Rootfs::find(at.rootfs())? else {
            return Ok(Check::needed(format!("the container `{}` does not exist", at.name)));
        };
        check_file(at, &rootfs, FILES[0])?.and_then(|| check_file(at, &rootfs, FILES[1]))
    }

    fn apply(&self, cx: &Cx, at: &Container) -> Result<()> {
        let rootfs = Rootfs::open(at.rootfs())?;
        for file in FILES {
            let (before, is_link) = read(&rootfs, file)?;
            let before = before.unwrap_or_default();
            let after = edited(&before);
            if is_link && before != after {
                rootfs.remove(file)?;
                rootfs.write(file, &before, Access::root(0o644))?;
            }
            if before == after {
                continue;
            }
            ours::write_inside(cx, &rootfs, file, &after, Access::root(0o644))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_is_added_once() {
        let debian = "Debian GNU/Linux 12 \\n \\l\n\n";
        let once = edited(debian);
        assert_eq!(once, format!("{debian}{LINE}\n"));
        assert_eq!(edited(&once), once);
        assert_eq!(edited("no newline"), format!("no newline\n{LINE}\n"));
    }
}
