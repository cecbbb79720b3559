//! # HostPackages
//! The host's packages: everything that the other steps call.
//!
//! The document takes them for granted ("Prepare LXC and LIBVIRT-LXC integration", "Install qemu").
//!
//! ```ron
//! HostPackages
//! ```
//! ```ron
//! HostPackages(extra: ["tmux", "htop"])
//! ```
//!
//! | option | meaning |
//! | --- | --- |
//! | `extra` | packages that the farm does not need but you want |
//!
//! One transaction of apt, with what is missing and without recommended packages; what is installed is upgraded
//! only where something that is missing depends on it, and if nothing is missing apt is not called. Somebody else's lock is waited for. The package lists are fetched only if there are
//! none, or if they do not lead to a package. What a killed installation left half-done is configured first, also if that is all there
//! is to do. Configuration
//! files that you changed stay yours.
//!
//! No service starts by itself meanwhile: apt runs in mounts of its own, in which `/usr/sbin/policy-rc.d` forbids it. Your own
//! policy is not touched; where there is none, an empty, ineffective file is there meanwhile, to be mounted upon. A run
//! that is killed may leave that file: the next one removes it.
//!
//! **Changes** what apt changes: the packages, what they depend on, and the package lists.
//!
//! **To take it back** `drover destroy`, which purges the packages that were not there before, as far as nothing else
//! needs them, and no others; package lists stay. Not while there are containers or domains that are not ours. Without it:
//! `apt-get purge` what is not needed any more, then `apt-get autoremove`.

use super::apt::{self, Apt};
use super::policy;
use crate::farm::Farm;
use crate::resource::PACKAGES as RESOURCE;
use crate::step::FarmStep;
use crate::words;
use anyhow::{Context, Result, ensure};
use drover_engine::{Check, Claim, Cx, Inputs, Resource, Undo};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::io::ErrorKind;
use std::path::Path;
use std::time::Duration;

/// What the steps call, by package.
const PACKAGES: &[&str] = &[
    "arch-test",
    "binfmt-support",
    "debian-archive-keyring",
    "debootstrap",
    "distro-info",
    "dnsmasq-base",
    "ethtool",
    "gpgv",
    "iproute2",
    "iptables",
    "libvirt-clients",
    "libvirt-daemon",
    "libvirt-daemon-driver-lxc",
    "libvirt-daemon-system",
    "lxc",
    "lxc-templates",
    "nftables",
    "openssh-client",
    "openssl",
    "passwd",
    "qemu-user-static",
    "rsync",
    "util-linux",
    "wget",
];

/// What tells that the host is started by SysV's init, and what libvirt-daemon-system then needs: its first choice would
/// replace that init by systemd.
const SYSV: &str = "sysvinit-core";
const LIBVIRT_FOR_SYSV: &str = "libvirt-daemon-system-sysv";

/// See the manual above.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HostPackages {
    /// Packages that the farm does not need.
    #[serde(default)]
    pub extra: Vec<String>,
}

impl FarmStep<Farm> for HostPackages {
    fn title(&self, _at: &Farm) -> String {
        "install the host's packages".to_owned()
    }

    fn facts(&self, _at: &Farm) -> Inputs {
        Inputs::default()
    }

    fn shape(&self, at: &mut Farm) -> Result<()> {
        at.extra_packages.clone_from(&self.extra);
        Ok(self.extra.iter().try_for_each(|name| words::package(name))?)
    }

    fn provides(&self, _at: &Farm) -> Vec<Resource> {
        vec![Resource::new(RESOURCE, "host")]
    }

    fn claims(&self, _at: &Farm) -> Vec<Claim> {
        vec![Claim::lock("host apt")]
    }

    fn estimate(&self, _at: &Farm) -> Duration {
        Duration::from_secs(90)
    }

    fn timeout(&self, _at: &Farm) -> Duration {
        Duration::from_secs(3600)
    }

    fn precondition(&self, _cx: &Cx, _at: &Farm) -> Result<()> {
        for tool in ["/usr/bin/apt-get", "/usr/bin/dpkg", "/usr/bin/dpkg-query"] {
            ensure!(
                Path::new(tool).exists(),
                "`{tool}` does not exist: Drover needs a host of the Debian family"
            );
        }
        Ok(())
    }

    fn check(&self, cx: &Cx, at: &Farm) -> Result<Check> {
        let missing = self.missing(cx, at)?;
        if !missing.is_empty() {
            return Ok(Check::needed(format!("{NOT_INSTALLED}{}", missing.join(", "))));
        }
        if policy::is_left_behind()? {
            return Ok(Check::needed(format!("a killed installation left {}", policy::PATH)));
        }
        if apt::has_journal()? {
            return Ok(Check::needed(format!(
                "an installation was interrupted: {} is not empty",
                apt::JOURNAL
            )));
        }
        Ok(Check::Satisfied)
    }

    fn apply(&self, cx: &Cx, at: &Farm) -> Result<()> {
        let apt = Apt::new(cx)?;
        let installed = apt.finish_interrupted().and_then(|()| {
            let missing = self.missing(cx, at)?;
            if missing.is_empty() {
                return Ok(());
            }
            let mut ours = installed_by_us(cx)?;
            ours.extend(apt.new_with(&missing)?);
            cx.remember(OURS, &ours.iter().map(|name| format!("{name}\n")).collect::<String>())?;
            apt.install(&missing)
        });
        let cleaned = policy::clean_up();
        for log in ["/var/log/apt/term.log", "/var/log/dpkg.log"] {
            cx.keep_log(Path::new(log));
        }
        installed.and(cleaned)
    }

    fn undo<'a>(&'a self, cx: &Cx, at: &'a Farm) -> Result<Undo<'a>> {
        let ours = apt::present(cx, &installed_by_us(cx)?)?;
        if ours.is_empty() && cx.is_taken_over()? && cx.remembered(OURS)?.is_none() {
            let why = "the packages stay: which of them were there before Drover is not known any more";
            return Ok(Undo::default().keep(why));
        }
        if ours.is_empty() {
            return Ok(Undo::default());
        }
        let what = format!(
            "purge the {} packages that came with it and that nothing else needs ({}), unless containers are left",
            ours.len(),
            ours.iter().map(String::as_str).collect::<Vec<_>>().join(" ")
        );
        Ok(Undo::default().act_if(what, move |cx| {
            if let Some(left) = containers_left(at)? {
                return Ok(Some(format!("the packages stay: {left} is not ours, and needs them")));
            }
            Apt::purge(cx, &ours)?;
            let left = apt::present(cx, &ours)?;
            let names: Vec<_> = left.iter().map(String::as_str).collect();
            Ok((!left.is_empty()).then(|| format!("packages that others need stay: {}", names.join(", "))))
        }))
    }
}

/// What stands before the packages that are missing.
const NOT_INSTALLED: &str = "not installed: ";

/// What is remembered: the packages that were not there before, those that came as dependencies too.
const OURS: &str = "packages";

fn installed_by_us(cx: &Cx) -> Result<BTreeSet<String>> {
    Ok(cx.remembered(OURS)?.unwrap_or_default().lines().map(str::to_owned).collect())
}

/// A domain or container, whoever made it, that would be lost or left without its programs.
fn containers_left(farm: &Farm) -> Result<Option<String>> {
    for (directory, suffix) in [
        (Path::new("/etc/libvirt/lxc"), "xml"),
        (Path::new("/etc/libvirt/qemu"), "xml"),
        (Path::new("/var/lib/lxc"), ""),
        (farm.containers().as_path(), ""),
    ] {
        let entries = match directory.read_dir() {
            Err(error) if error.kind() == ErrorKind::NotFound => continue,
            entries => entries.with_context(|| format!("cannot read `{}`", directory.display()))?,
        };
        for entry in entries {
            let path = entry?.path();
            if path.extension().unwrap_or_default() == suffix {
                return Ok(Some(path.display().to_string()));
            }
        }
    }
    Ok(None)
}

impl HostPackages {
    /// The command that installs what this step says is missing, for who wants to do it by hand.
    pub fn by_hand(reason: &str) -> Option<String> {
        let names = reason.strip_prefix(NOT_INSTALLED)?;
        Some(format!("apt-get install --no-install-recommends {}", names.replace(", ", " ")))
    }

    /// Which packages are not, or not wholly, installed.
    fn missing<'a>(&'a self, cx: &Cx, at: &Farm) -> Result<Vec<&'a str>> {
        let extra = self.extra.iter().map(String::as_str);
        let wanted: Vec<&str> = PACKAGES.iter().chain(&at.tool_packages).copied().chain(extra).collect();
        let conditional = [SYSV, LIBVIRT_FOR_SYSV];
        let installed = apt::installed(cx, &[&wanted[..], &conditional].concat())?;
        let absent = |name: &&str| !installed.contains(*name);
        let mut missing: Vec<&str> = wanted.into_iter().filter(absent).collect();
        if installed.contains(SYSV) && absent(&LIBVIRT_FOR_SYSV) {
            missing.push(LIBVIRT_FOR_SYSV);
        }
        Ok(missing)
    }
}

#[cfg(test)]
mod tests {
    use super::{HostPackages, PACKAGES};
    use crate::farm::Farm;
    use crate::step::FarmStep;

    #[test]
    fn every_package_stands_once_in_order() {
        assert!(PACKAGES.is_sorted_by(|one, next| one < next));
    }

    #[test]
    fn what_cannot_be_a_package_is_refused() {
        let step = |name: &str| HostPackages { extra: vec![name.to_owned()] };
        let mut farm = Farm::default();
        assert!(step("g++").shape(&mut farm).is_ok());
        let error = step("-o=Dpkg::x").shape(&mut farm).expect_err("it is an option").to_string();
        assert!(error.contains("`-o=Dpkg::x` cannot be"), "{error}");
    }
}
