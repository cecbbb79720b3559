//! # SshdAcceptEnv
//! Lets ssh clients hand their environment to the container, as CI does with `ssh -o SendEnv='*'`.
//!
//! The document: `grep 'AcceptEnv \*' sshd_config || ( echo "" ; echo "# For CI: Allow passing any envvars:"; echo
//! 'AcceptEnv *' ) >> sshd_config`.
//!
//! ```ron
//! SshdAcceptEnv
//! ```
//! **Changes** `/etc/ssh/sshd_config` in the container: the document's three lines, at the end, or before the first
//! `Match`, behind which they would count for some only. A line that is commented out does not count as there. Where the
//! system's own is `/usr/etc/ssh/sshd_config`, a file in `/etc/ssh/sshd_config.d` is made instead, which that includes.
//!
//! **Mind** that emulators have options in the environment, too: what is started by `ssh -o SendEnv='*'` in an emulated container
//! where `QEMU_VERSION` is set prints the emulator's version in place of its work, and ends with 0. sshd cannot be told to leave
//! out one name.
//!
//! **To take it back**: `drover destroy`, or remove the lines.

use crate::container::Container;
use crate::inputs;
use crate::ours;
use crate::resource;
use crate::step::FarmStep;
use anyhow::{Context, Result, ensure};
use drover_engine::{Access, Check, Cx, Inputs, Need, Resource, Rootfs, Undo};
use serde::{Deserialize, Serialize};

const FILE: &str = "etc/ssh/sshd_config";
/// Where it is in systems whose `/etc` holds nothing but what differs, and what such a system reads as well.
const VENDORS: &str = "usr/etc/ssh/sshd_config";
const INCLUDED: &str = "/etc/ssh/sshd_config.d/*.conf";
const DROP_IN: &str = "etc/ssh/sshd_config.d/50-drover.conf";
const BLOCK: &str = "\n# For CI: Allow passing any envvars:\nAcceptEnv *\n";

/// See the manual above.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SshdAcceptEnv {}

/// The words of a line of sshd's configuration, without a remark behind them; the first is the keyword, which may be followed by
/// `=`.
fn words(line: &str) -> impl Iterator<Item = &str> {
    let words = line.split([' ', '\t', '=', '\r']).filter(|word| !word.is_empty());
    words.take_while(|word| !word.starts_with('#')).map(|word| word.trim_matches('"'))
}

/// The file that is to have the block, and what stands in it.
fn find(rootfs: &Rootfs) -> Result<Option<(&'static str, String)>> {
    if let Some(text) = rootfs.read_to_edit(FILE)? {
        return Ok(Some((FILE, text)));
    }
    let Some(vendors) = rootfs.read(VENDORS)? else { return Ok(None) };
    let is_read =
        vendors.lines().any(|line| is_keyword(line, "Include") && words(line).any(|word| word == INCLUDED));
    ensure!(
        is_read,
        "/{VENDORS} does not say `Include {INCLUDED}`, and there is no /{FILE}: copy the one to the other in the container"
    );
    Ok(Some((DROP_IN, rootfs.read_to_edit(DROP_IN)?.unwrap_or_default())))
}

fn is_keyword(line: &str, keyword: &str) -> bool {
    words(line).next().is_some_and(|word| word.eq_ignore_ascii_case(keyword))
}

/// The text with the block.
fn edited(before: &str) -> String {
    let mut global = before.lines().take_while(|line| !is_keyword(line, "Match"));
    if global.any(|line| is_keyword(line, "AcceptEnv") && words(line).any(|word| word == "*")) {
        return before.to_owned();
    }
    let mut offset = 0;
    let place = before.split_inclusive('\n').find_map(|line| {
        offset += line.len();
        is_keyword(line.trim_end(), "Match").then_some(offset - line.len())
    });
    let (head, tail) = before.split_at(place.unwrap_or(before.len()));
    let gap = if head.is_empty() || head.ends_with('\n') { "" } else { "\n" };
    let blank = if tail.is_empty() { "" } else { "\n" };
    format!("{head}{gap}{BLOCK}{blank}{tail}")
}

impl FarmStep<Container> for SshdAcceptEnv {
    fn title(&self, at: &Container) -> String {
        format!("let {} accept an environment by ssh", at.name)
    }

    fn facts(&self, at: &Container) -> Inputs {
        inputs::rootfs(at)
    }

    fn needs(&self, at: &Container) -> Vec<Need> {
        vec![Need::Must(at.resource(resource::ROOTFS))]
    }

    fn provides(&self, at: &Container) -> Vec<Resource> {
        at.edited(resource::GUEST_EDIT, "accept-env").into()
    }

    fn goes_with(&self, at: &Container) -> Option<Resource> {
        Some(at.resource(resource::ROOTFS))
    }

    fn undo<'a>(&'a self, cx: &Cx, at: &'a Container) -> Result<Undo<'a>> {
        let undo = ours::undo_inside(cx, &at.rootfs(), FILE)?;
        Ok(undo.and(ours::undo_inside(cx, &at.rootfs(), DROP_IN)?))
    }

    fn check(&self, _cx: &Cx, at: &Container) -> Result<Check> {
        let Some(rootfs) = Rootfs::find(at.rootfs())? else {
            return Ok(Check::needed(format!("the container `{}` does not exist", at.name)));
        };
        let Some((file, before)) = find(&rootfs)? else {
            return Ok(Check::needed(format!("the container `{}` has no /{FILE}", at.name)));
        };
        let mode = rootfs.mode_there(file)?;
        Ok(match Check::text(&format!("/{file} of {}", at.name), mode, Some(&before), &edited(&before)) {
            Check::Needed { diff, .. } => {
                Check::Needed { reason: format!("sshd of `{}` accepts no environment", at.name), diff }
            }
            satisfied @ Check::Satisfied => satisfied,
        })
    }

    fn apply(&self, cx: &Cx, at: &Container) -> Result<()> {
        let rootfs = Rootfs::open(at.rootfs())?;
        let (file, before) = find(&rootfs)?
            .with_context(|| format!("`{}` has no /{FILE}: install openssh-server in it", at.name))?;
        if file == DROP_IN {
            rootfs.mkdir_all("etc/ssh/sshd_config.d", Access::root(0o755))?;
        }
        ours::write_inside(cx, &rootfs, file, &edited(&before), Access::root(0o644))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_block_is_added_once_and_counts_for_all() {
        let debian = "Include /etc/ssh/sshd_config.d/*.conf\n#AcceptEnv *\nAcceptEnv LANG LC_*\n";
        assert_eq!(edited(debian), format!("{debian}{BLOCK}"));
        let with_match = format!("{debian}Match User a\n  AcceptEnv *\n");
        let once = edited(&with_match);
        assert_eq!(once, format!("{debian}{BLOCK}\nMatch User a\n  AcceptEnv *\n"));
        assert_eq!(edited(&once), once);
        assert_eq!(edited("acceptenv\tLANG *"), "acceptenv\tLANG *");
        assert_eq!(edited("UsePAM yes"), format!("UsePAM yes\n{BLOCK}"));
    }

    #[test]
    fn a_remark_behind_a_line_says_nothing() {
        for theirs in ["AcceptEnv LANG LC_* # not *\n", "#AcceptEnv *\n", "AcceptEnv LANG #*\n"] {
            assert_eq!(edited(theirs), format!("{theirs}{BLOCK}"));
        }
        for theirs in ["AcceptEnv * # all of it\n", "AcceptEnv \"*\"\r\n", "AcceptEnv=LANG *\n"] {
            assert_eq!(edited(theirs), theirs);
        }
        assert_eq!(edited("UsePAM yes # no Match\n"), format!("UsePAM yes # no Match\n{BLOCK}"));
    }

    #[test]
    fn a_system_whose_own_file_is_elsewhere_gets_a_file_beside_it() -> Result<()> {
        let place = tempfile::tempdir()?;
        let rootfs = Rootfs::open(place.path())?;
        assert_eq!(find(&rootfs)?, None);
        for directory in ["usr/etc/ssh", "etc/ssh"] {
            rootfs.mkdir_all(directory, Access::root(0o755))?;
        }
        rootfs.write(VENDORS, "UsePAM yes\n", Access::root(0o644))?;
        assert!(find(&rootfs).expect_err("it would not be read").to_string().contains("Include"));
        rootfs.write(VENDORS, &format!("Include {INCLUDED}\n"), Access::root(0o644))?;
        assert_eq!(find(&rootfs)?, Some((DROP_IN, String::new())));
        rootfs.write(FILE, "UsePAM no\n", Access::root(0o600))?;
        assert_eq!(find(&rootfs)?, Some((FILE, "UsePAM no\n".to_owned())));
        Ok(())
    }
}
