//! `GuestPackages` in containers whose packages are RPM's: by the container's own yum.
//!
//! Which packages are there is asked of the container's own rpm. It was exercised with Debian's dnf under yum's name; no
//! mirror of such a distribution was in reach.

use super::emulate::Guest;
use super::guest_packages::plain;
use crate::container::Container;
use anyhow::{Context, Result};
use drover_engine::{Access, Check, Cmd, CommandError, Cx, Rootfs};

/// What repositories of the distribution's own have to be added by a package before others are found.
const REPOSITORIES: &str = "epel-release";

/// Whether all of `wanted` are installed; an optional one that yum cannot have does not count once that was tried.
pub(super) fn check(cx: &Cx, at: &Container, wanted: &[String]) -> Result<Check> {
    if Rootfs::find(at.rootfs())?.is_none() {
        return Ok(Check::needed(format!("the container `{}` does not exist", at.name)));
    }
    let missing = missing(cx, at, wanted)?;
    Ok(match missing.is_empty() {
        true => Check::Satisfied,
        false => Check::needed(format!("not installed in `{}`: {}", at.name, missing.join(", "))),
    })
}

/// Those of `wanted` that are not installed, but for optional ones that are known to be lacking.
fn missing<'a>(cx: &Cx, at: &Container, wanted: &'a [String]) -> Result<Vec<&'a str>> {
    let known = Rootfs::open(at.rootfs())?.read(LACKING)?.unwrap_or_default();
    let guest = Guest::new(&at.rootfs());
    let mut missing = Vec::new();
    for name in wanted {
        let name_alone = plain(name);
        let is_left_out = name_alone != name && known.lines().any(|line| line == name_alone);
        let asked = cx.probe(&guest.command("/bin/rpm").args(["-q", "--whatprovides", name_alone]))?;
        if !asked.status.success() && !is_left_out {
            missing.push(name_alone);
        }
    }
    Ok(missing)
}

/// Which optional packages yum could not have.
const LACKING: &str = "/etc/drover-lacking-packages";

/// Installs what is missing: the repositories first, then what must be there at once, then the optional ones one by one.
pub(super) fn apply(cx: &Cx, at: &Container, wanted: &[String]) -> Result<()> {
    if !is_had(cx, at, REPOSITORIES)? {
        cx.note(&format!(
            "`{REPOSITORIES}` cannot be had: packages come from the distribution's own repositories alone"
        ));
    }
    let missing = missing(cx, at, wanted)?;
    let (optional, needed): (Vec<&str>, Vec<&str>) =
        missing.into_iter().partition(|name| wanted.contains(&format!("?{name}")));
    if !needed.is_empty() {
        cx.run(&install(at, &needed)).context("yum could not install what is needed")?;
    }
    for name in optional {
        if !is_had(cx, at, name)? {
            cx.note(&format!("{name} cannot be had in this release: left out, as it is optional"));
            let rootfs = Rootfs::open(at.rootfs())?;
            let known = rootfs.read(LACKING)?.unwrap_or_default();
            let gap = if known.is_empty() || known.ends_with('\n') { "" } else { "\n" };
            rootfs.write(LACKING, &format!("{known}{gap}{name}\n"), Access::root(0o644))?;
        }
    }
    Ok(())
}

fn install(at: &Container, names: &[&str]) -> Cmd {
    let yum = Guest::new(&at.rootfs()).command("/usr/bin/yum");
    // Else a repository that cannot be reached would be the same as one that lacks all packages.
    yum.args(["--assumeyes", "--setopt=*.skip_if_unavailable=0", "install"]).args(names)
}

/// Installs it, unless yum knows no such package, or none of what that needs. That the repositories cannot be reached is
/// another matter.
fn is_had(cx: &Cx, at: &Container, name: &str) -> Result<bool> {
    let Err(error) = cx.run(&install(at, &[name])) else { return Ok(true) };
    let said = error.downcast_ref::<CommandError>().map(|error| error.tail.as_slice()).unwrap_or_default();
    if said.iter().any(|line| cannot_be_had(line, name)) {
        return Ok(false);
    }
    Err(error).with_context(|| format!("yum could not install `{name}`"))
}

/// Whether yum says that it cannot find the package, or what it needs: yum 3 as its own texts have it, dnf 4.14.0 as it
/// wrote it.
fn cannot_be_had(line: &str, name: &str) -> bool {
    let line = line.trim();
    line == format!("No package {name} available.")
        || line == format!("No match for argument: {name}")
        || line.starts_with("Requires: ")
        || line.contains("nothing provides ")
}
