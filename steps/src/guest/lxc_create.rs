//! # LxcCreate
//! Makes the container with the real `lxc-create`, from the base system that `Bootstrap` has put where the template
//! looks for it: the template only copies it and configures the copy.
//!
//! The document: `lxc-create -P /srv/libvirt/rootfs -n NAME -t debian -- -r bullseye -a mips64el`.
//!
//! ```ron
//! LxcCreate
//! LxcCreate(options: ["--enable-non-free"])
//! ```
//! - `options` are given to the template after the release and the architecture.
//!
//! **Makes** the container's directory below the storage: LXC's `config`, and `rootfs`.
//!
//! **The environment** of the template: `MIRROR` and `SECURITY_MIRROR` are the plan's or the host's own, which the
//! container's `sources.list` will name; `LXC_CACHE_PATH` is the farm's; `LANG` is `C.UTF-8`, so that the container's
//! locale (then `en_US.UTF-8`) does not depend on who runs Drover.
//!
//! **One answer of ours.** The template asks the mirror for `dists/testing/main/binary-ARCH/Release`, and takes every
//! architecture that *testing* has dropped (armel, i386, mipsel, mips64el, one after the other) for one that Debian
//! never released: it would then name the ports archive's keyring, and run `apt-get update` under the emulator to
//! install it, also for releases that have that architecture. A `wget` of ours stands first in the template's PATH,
//! says yes to that one question, and hands everything else to the real one. That the mirror has this release for this
//! architecture is known by then: the base system came from there.
//!
//! **When it is interrupted**, LXC's mark `partial` stays in the container's directory. The next attempt removes what is
//! so marked, unless somebody still works on it or something is mounted below it, and begins again. What is neither
//! complete nor so marked is not ours to remove: that is an error.
//!
//! The template holds a lock only while it copies; so containers are configured in parallel. The log of `lxc-create`
//! itself is kept beside the attempt's.
//!
//! **To take it back**: `lxc-destroy -P STORAGE/rootfs -n NAME`, when its domain is undefined.

use crate::container::Container;
use crate::guest::half_made;
use crate::mirror::Mirror;
use crate::step::FarmStep;
use crate::{program, resource, survey};
use anyhow::{Context, Result, bail, ensure};
use drover_engine::{Check, Claim, Cmd, Cx, HostFile, Need, Resource, Rootfs};
use serde::Deserialize;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// What the template runs, by the package that holds it. It does not check most of them, and goes on without.
const TOOLS: [(&str, &str); 8] = [
    ("lxc-create", "lxc"),
    ("rsync", "rsync"),
    ("wget", "wget"),
    ("debian-distro-info", "distro-info"),
    ("openssl", "openssl"),
    ("debootstrap", "debootstrap"),
    ("flock", "util-linux"),
    ("lscpu", "util-linux"),
];

/// See the manual above.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LxcCreate {
    /// Options for the template, after release and architecture.
    #[serde(default)]
    pub options: Vec<String>,
}

/// What is missing before this is the container of the plan; `None` if nothing is.
fn shortcoming(at: &Container) -> Result<Option<String>> {
    let directory = at.directory();
    if directory.join(half_made::MARK).exists() {
        return Ok(Some(format!("the container `{}` is half-made: lxc-create was interrupted", at.name)));
    }
    let Some(config) = HostFile::new(directory.join("config")).read()? else {
        return Ok(Some(format!("the container `{}` does not exist", at.name)));
    };
    for (key, value) in
        [("lxc.rootfs.path", at.rootfs().display().to_string()), ("lxc.uts.name", at.name.clone())]
    {
        let is = survey::config_value(&config, key).map(|value| value.trim_start_matches("dir:"));
        if is != Some(value.as_str()) {
            return Ok(Some(format!(
                "`{key}` of `{}` is `{}`, not `{value}`",
                at.name,
                is.unwrap_or("missing")
            )));
        }
    }
    wrong_system(at)
}

/// What is wrong with the system in the container's root file system; `None` if nothing is.
fn wrong_system(at: &Container) -> Result<Option<String>> {
    let Some(rootfs) = Rootfs::find(at.rootfs())? else {
        return Ok(Some(format!("the container `{}` has no root file system", at.name)));
    };
    let system = survey::system(&rootfs)?;
    let expected = [
        ("release", system.code_name, at.base.release.code_name),
        ("architecture", system.architecture, at.base.arch.debian()),
        ("host name", rootfs.read("etc/hostname")?.map(|text| text.trim().to_owned()), at.name.as_str()),
    ];
    let wrong = expected.into_iter().find(|(_, is, should)| is.as_deref() != Some(should));
    Ok(wrong.map(|(what, is, should)| {
        format!(
            "the {what} of the container `{}` is `{}`, not `{should}`",
            at.name,
            is.as_deref().unwrap_or("missing")
        )
    }))
}

/// The `wget` of ours, in a directory of its own that can stand first in PATH.
fn polite_wget(cx: &Cx) -> Result<PathBuf> {
    let real = program::find("wget").context("`wget` was here a moment ago")?;
    let directory = cx.cache("wget-for-lxc-create");
    let script = format!(
        "#!/bin/sh\n\
         # In PATH of the template of lxc-create only; see the manual of the step LxcCreate.\n\
         for argument; do\n\
         \tcase $argument in */dists/testing/main/binary-*/Release) exit 0 ;; esac\n\
         done\n\
         exec '{}' \"$@\"\n",
        real.display()
    );
    HostFile::new(directory.join("wget")).mode(0o755).write(&script)?;
    Ok(directory)
}

/// A container that is there already stays, if it is the one of the plan.
fn keep(cx: &Cx, at: &Container) -> Result<()> {
    if let Some(why) = shortcoming(at)? {
        let containers = at.farm.containers();
        bail!("{why}, and it is not ours to remove: lxc-destroy -P {} -n {}", containers.display(), at.name);
    }
    cx.note(&format!("`{}` is complete and stays: options are for making it only", at.name));
    Ok(())
}

impl LxcCreate {
    fn command(&self, cx: &Cx, at: &Container, log: &Path) -> Result<Cmd> {
        let path = std::env::var("PATH").context("PATH is not set")?;
        let path = format!("{}:{path}:/usr/sbin:/usr/bin:/sbin:/bin", polite_wget(cx)?.display());
        let mirror = Mirror::of(&at.base)?;
        let security = mirror.security.as_ref().map(|archive| ("SECURITY_MIRROR", &archive.uri));
        let mirrors = [("MIRROR", &mirror.main.uri)].into_iter().chain(security);
        let template = at.base.release.distribution.to_string();
        let command = Cmd::new("lxc-create")
            .env("PATH", path)
            .env("LANG", "C.UTF-8")
            .env("LC_ALL", "C.UTF-8")
            .env("LXC_CACHE_PATH", &at.farm.lxc_cache)
            .arg("-P")
            .arg(at.farm.containers())
            .args(["-n", &at.name, "-t", &template, "-l", "INFO", "-o"])
            .arg(log)
            .args(["--", "-r", at.base.release.code_name, "-a", at.base.arch.debian()])
            .args(&self.options);
        Ok(mirrors.fold(command, |command, (name, uri)| command.env(name, uri)))
    }
}

impl FarmStep<Container> for LxcCreate {
    fn title(&self, at: &Container) -> String {
        format!("create the container {}", at.name)
    }

    fn needs(&self, at: &Container) -> Vec<Need> {
        let storage = Resource::new(resource::STORAGE, at.farm.storage.display().to_string());
        let mut all = vec![
            Need::Must(Resource::new(resource::BASE, at.base.id())),
            Need::Must(storage),
            Need::Must(Resource::new(resource::PACKAGES, "host")),
        ];
        if at.base.is_emulated() {
            all.push(Need::Must(Resource::new(resource::EMULATION, at.base.arch.debian())));
        }
        all
    }

    fn provides(&self, at: &Container) -> Vec<Resource> {
        vec![at.resource(resource::ROOTFS)]
    }

    fn claims(&self, at: &Container) -> Vec<Claim> {
        if at.base.is_emulated() { vec![Claim::shares(resource::EMULATION_POOL, 1)] } else { Vec::new() }
    }

    fn estimate(&self, at: &Container) -> Duration {
        Duration::from_secs(if at.base.is_emulated() { 25 } else { 8 })
    }

    fn timeout(&self, _at: &Container) -> Duration {
        Duration::from_secs(1800)
    }

    fn check(&self, _cx: &Cx, at: &Container) -> Result<Check> {
        Ok(shortcoming(at)?.map_or(Check::Satisfied, Check::needed))
    }

    fn apply(&self, cx: &Cx, at: &Container) -> Result<()> {
        half_made::remove(cx, &at.directory())?;
        if at.directory().join("config").exists() {
            return keep(cx, at);
        }
        program::require("the template of lxc-create", &TOOLS)?;
        let base = at.base.rootfs();
        ensure!(base.is_dir(), "`{}` is not there, and lxc-create would make it by itself", base.display());
        let log = cx.cache("lxc-create").join(format!("{}.log", at.name));
        HostFile::new(&log).write("")?;
        let made = cx.run(&self.command(cx, at, &log)?);
        cx.keep_log(&log)?;
        made
    }

    fn verify(&self, _cx: &Cx, at: &Container) -> Result<()> {
        if let Some(why) = shortcoming(at)? {
            bail!("lxc-create ended well, and yet {why}");
        }
        // The template does not look at how its parts end.
        let rootfs = Rootfs::open(at.rootfs())?;
        let sources = rootfs.read("etc/apt/sources.list")?.unwrap_or_default();
        if let Some(security) = at.base.release.security {
            ensure!(
                sources.contains(security),
                "lxc-create ended well, and yet /etc/apt/sources.list of `{}` names no `{security}`",
                at.name
            );
        }
        ensure!(
            !survey::host_keys(&rootfs)?.is_empty(),
            "lxc-create ended well, and yet `{}` has no ssh host keys",
            at.name
        );
        Ok(())
    }
}
