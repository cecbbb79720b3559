//! # LxcCreate
//! Makes the container with the real `lxc-create`. Where the base system is Drover's (Debian), `Bootstrap` has put it where
//! the template looks for it, and the template only copies it and configures the copy; other templates do all of it.
//!
//! The document: `lxc-create -P /srv/libvirt/rootfs -n NAME -t debian -- -r bullseye -a mips64el`, `-t ubuntu -- -r bionic
//! -a s390x`, `-t centos -- -R 7 -a x86_64`.
//!
//! ```ron
//! LxcCreate
//! LxcCreate(options: ["--enable-non-free"])
//! LxcCreate(template: "archlinux", options: ["--arch", "x86_64"])
//! ```
//! - `template` is one of `/usr/share/lxc/templates`; if not given, that of the container's distribution. A container of
//!   a distribution that Drover does not know is `distribution: Other, release: "any"`.
//! - `options` are given to the template after the release and the architecture; a `template` that is not the
//!   distribution's gets nothing but these.
//!
//! **Before anything runs** it is found out whether the template is there, and what it needs: `yum` and `rpm` for `centos`
//! (a `yum` that is called otherwise is for `ToolAlias`), the archive's keys for `ubuntu`, `pacman` and `pacstrap` for
//! `archlinux`. A container whose template lacks something is left out of the run; the others are built.
//!
//! The template `centos` installs packages without checking their signatures (`yum --nogpgcheck`). That is said in the
//! step's log each time.
//!
//! **Makes** the container's directory below the storage: LXC's `config`, and `rootfs`.
//!
//! **The environment** of the template: `MIRROR` and `SECURITY_MIRROR` are the plan's or the host's own, which the
//! container's `sources.list` will name (a cache at the host's loopback interface by the bridge's address, if it serves that as
//! well; of what a container cannot reach, plan and doctor say so, and the run remarks it); `LXC_CACHE_PATH` is the farm's; `LANG` is `C.UTF-8`, so that the container's
//! locale (then `en_US.UTF-8`) does not depend on who runs Drover.
//!
//! **One answer of ours.** The template asks the mirror for `dists/testing/main/binary-ARCH/Release`, and takes every
//! architecture that *testing* has dropped (armel, i386, mipsel, mips64el, one after the other) for one that Debian
//! never released: it would then name the ports archive's keyring, and run `apt-get update` under the emulator to
//! install it, also for releases that have that architecture. A `wget` of ours stands first in the template's PATH,
//! says yes to that one question, and hands everything else to the real one. That the mirror has this release for this
//! architecture is known by then: the base system came from there.
//!
//! **The template's copy** of the base system by `rsync` is made by `cp --archive`, by an `rsync` of ours that stands first in its
//! PATH: it takes half of the time, and shares blocks where the file system can (XFS, bcachefs). Where the base system
//! is on Btrfs, the copy becomes a snapshot; where it was brought there as an ordinary directory (`RelocateCache`), one that shares its
//! blocks. The rest is as ever, and what `cp` does not bring to its end the real `rsync` does.
//!
//! In an emulated container that copies a base system, what the template runs by `chroot` is assisted by native programs (see
//! the manual of `Bootstrap`): a `chroot` of ours stands first in its PATH then, which also mounts `/proc` and `/sys`.
//!
//! **When it is interrupted**, LXC's mark `partial` stays in the container's directory. The next attempt removes what is
//! so marked, unless somebody still works on it or something is mounted below it, and begins again. What is neither
//! complete nor so marked is not ours to remove: that is an error. A container that `lxc-create` ends well with, and that lacks
//! something all the same (its ssh host keys, the archive of security fixes), is marked so, too: it is an error, and made anew by the
//! next run.
//!
//! The template holds a lock only while it copies; so containers are configured in parallel. The log of `lxc-create`
//! itself is kept beside the attempt's.
//!
//! **To take it back**: `drover destroy`; or `lxc-destroy -P STORAGE/rootfs -n NAME`, when its domain is undefined.

use crate::assist::Client;
use crate::container::Container;
use crate::dpkg::Status;
use crate::guest::emulate::Guest;
use crate::guest::half_made;
use crate::guest::stand_ins::{assisted_chroot, cheap_rsync, polite_wget};
use crate::guest::template::{Others, TEMPLATES, Template};
use crate::inputs;
use crate::mirror::{Archive, Mirror};
use crate::mirror_seen;
use crate::release::Distribution;
use crate::step::FarmStep;
use crate::words::plain_path;
use crate::{apt_proxy, domain, program, resource, survey};
use anyhow::{Context, Result, bail, ensure};
use drover_engine::{Check, Claim, Cmd, Cx, HostFile, Inputs, Need, Resource, Rootfs, Undo};
use serde::{Deserialize, Serialize};
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

/// Remembered if the container was made here.
const MADE: &str = "made";

/// See the manual above.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LxcCreate {
    /// The template, if it is not that of the distribution.
    pub template: Option<String>,
    /// Options for the template, after release and architecture.
    #[serde(default)]
    pub options: Vec<String>,
}

/// What is missing before this is the container that the plan names; `None` if nothing is.
fn mismatch(at: &Container) -> Result<Option<String>> {
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
        if is.map(plain_path).as_deref() != Some(value.as_str()) {
            return Ok(Some(format!(
                "`{key}` of `{}` is `{}`, not `{value}`",
                at.name,
                is.unwrap_or("missing")
            )));
        }
    }
    wrong_system(at)
}

/// Says so if the container has no ssh host keys: nobody would ever get in.
fn without_keys(at: &Container) -> Result<Option<String>> {
    let lacks = survey::host_keys(&Rootfs::open(at.rootfs())?)?.is_empty();
    Ok(lacks.then(|| {
        let rootfs = at.rootfs();
        format!("`{}` has no ssh host keys (`chroot {} ssh-keygen -A` makes them)", at.name, rootfs.display())
    }))
}

/// What is wrong with the system in the container's root file system; `None` if nothing is.
fn wrong_system(at: &Container) -> Result<Option<String>> {
    let Some(rootfs) = Rootfs::find(at.rootfs())? else {
        return Ok(Some(format!("the container `{}` has no root file system", at.name)));
    };
    if at.base.release.distribution == Distribution::Other {
        return Ok(None);
    }
    let system = survey::system(&rootfs)?;
    let mut expected = vec![("release", system.code_name, at.base.release.code_name)];
    // An RPM system does not say its architecture in a file that can be read here.
    if at.base.release.distribution != Distribution::CentOS {
        expected.push(("architecture", system.architecture, at.base.arch.debian()));
        let name = rootfs.read("etc/hostname")?.map(|text| text.trim().to_owned());
        expected.push(("host name", name, at.name.as_str()));
    }
    let wrong = expected.into_iter().find(|(_, is, should)| is.as_deref() != Some(should));
    Ok(wrong.map(|(what, is, should)| {
        format!(
            "the {what} of the container `{}` is `{}`, not `{should}`",
            at.name,
            is.as_deref().unwrap_or("missing")
        )
    }))
}

impl LxcCreate {
    /// Its template.
    fn template<'a>(&self, at: &'a Container) -> Template<'a> {
        Template::of(at, self.template.as_deref())
    }

    /// What is missing before this is the container of the plan; `None` if nothing is.
    fn shortcoming(&self, at: &Container) -> Result<Option<String>> {
        match mismatch(at)? {
            None if self.template(at).copies() => without_keys(at),
            found => Ok(found),
        }
    }

    /// A container that is there already stays, if it is the one of the plan.
    fn keep(&self, cx: &Cx, at: &Container) -> Result<()> {
        if let Some(why) = self.shortcoming(at)? {
            let containers = at.farm.containers();
            bail!(
                "{why}; it was there before, and is not ours to remove: lxc-destroy -P {} -n {}",
                containers.display(),
                at.name
            );
        }
        cx.note(&format!("`{}` is complete and stays: options are for making it only", at.name));
        Ok(())
    }

    /// Makes the container out of its base system.
    fn copy(&self, cx: &Cx, at: &Container) -> Result<()> {
        program::require("the template of lxc-create", &TOOLS)?;
        let base = at.base.rootfs();
        ensure!(base.is_dir(), "`{}` is not there, and lxc-create would make it by itself", base.display());
        let status = Status::of(&Rootfs::open(&base)?)?;
        let version = |name: &str| Some(status.package(name)?.version.clone());
        let modules: Vec<_> = status.perl_modules().map(str::to_owned).collect();
        let client =
            Client { base: &at.base, name: &at.name, is_base: true, version: &version, modules: &modules };
        Guest::new(&base).assisted(cx, &client, |guest| {
            half_made::remove(cx, &at.directory())?;
            let mut first = vec![polite_wget(cx)?, cheap_rsync(cx, at)?];
            if guest.is_assisted() {
                first.push(assisted_chroot(cx, at, guest)?);
            }
            self.create(cx, at, &first)
        })
    }

    /// Runs lxc-create; programs of ours are in the directories that are `first` in its PATH.
    fn create(&self, cx: &Cx, at: &Container, first: &[PathBuf]) -> Result<()> {
        if at.base.release.keys.is_none() {
            cx.note(&format!(
                "the template `{}` sees to signatures by itself, or not at all",
                self.template(at).name
            ));
        }
        if at.base.release.keys.is_some() {
            mirror_seen::obstacles(cx, &at.base)?.iter().for_each(|obstacle| cx.remark(obstacle));
        }
        cx.remember(MADE, "")?;
        let log = cx.cache("lxc-create").join(format!("{}.log", at.name));
        HostFile::new(&log).write("")?;
        let made = cx.run(&self.command(cx, at, first, &log)?);
        cx.keep_log(&log);
        made?;
        self.ensure_whole(at)
    }

    /// The template does not look at how its parts end. What it left out makes the container a half-made one, which the next
    /// attempt makes anew.
    fn ensure_whole(&self, at: &Container) -> Result<()> {
        let mut lacks = self.shortcoming(at)?;
        if let Some(security) =
            at.base.release.security.filter(|_| lacks.is_none() && self.template(at).copies())
        {
            let sources = Rootfs::open(at.rootfs())?.read("etc/apt/sources.list")?.unwrap_or_default();
            let named = sources.contains(security);
            let what = || format!("/etc/apt/sources.list of `{}` names no `{security}`", at.name);
            lacks = (!named).then(what);
        }
        let Some(lacks) = lacks else { return Ok(()) };
        if at.directory().is_dir() {
            half_made::mark(&at.directory())?;
        }
        bail!("lxc-create ended well, and yet {lacks}")
    }

    fn command(&self, cx: &Cx, at: &Container, first: &[PathBuf], log: &Path) -> Result<Cmd> {
        let path = drover_engine::search_path();
        let path = first.iter().cloned().chain(std::env::split_paths(&path));
        let path = std::env::join_paths(path).context("a directory of ours cannot stand in PATH")?;
        let command = Cmd::new("lxc-create")
            .env("PATH", path)
            .env("LANG", "C.UTF-8")
            .env("LC_ALL", "C.UTF-8")
            .env("LXC_CACHE_PATH", &at.farm.lxc_cache)
            .arg("-P")
            .arg(at.farm.containers())
            .args(["-n", &at.name, "-t", &self.template(at).name, "-l", "INFO", "-o"])
            .arg(log)
            .arg("--")
            .args(self.template(at).system(cx)?)
            .args(&self.options);
        if at.base.release.keys.is_none() {
            return Ok(command);
        }
        let mirror = Mirror::of(cx, &at.base)?;
        // A template that fetches does so on the host.
        let address = |archive: &Archive| match self.template(at).copies() {
            true => mirror_seen::address(&at.farm, archive),
            false => Ok(archive.uri.clone()),
        };
        let command = command.env("MIRROR", address(&mirror.main)?);
        let proxy = if self.template(at).copies() { None } else { apt_proxy::of(cx, &mirror.main.uri)? };
        // What a template runs to fetch packages does not ask apt. A proxy that the run's caller names is passed on by itself.
        let command = match proxy.filter(|proxy| proxy.contains("://")) {
            Some(proxy) if std::env::var_os("http_proxy").is_none() => {
                command.env("http_proxy", &proxy).env("https_proxy", proxy)
            }
            _ => command,
        };
        Ok(match &mirror.security {
            Some(archive) => command.env("SECURITY_MIRROR", address(archive)?),
            None => command,
        })
    }
}

impl FarmStep<Container> for LxcCreate {
    fn title(&self, at: &Container) -> String {
        format!("create the container {}", at.name)
    }

    fn facts(&self, at: &Container) -> Inputs {
        inputs::rootfs(at).and(inputs::base(&at.base))
    }

    fn shape(&self, at: &mut Container) -> Result<()> {
        let legal = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
        let odd = self.template.iter().find(|name| !name.chars().all(legal));
        ensure!(odd.is_none(), "`{}` cannot be the name of a template", odd.map_or("", |name| name));
        ensure!(
            !self.template(at).name.is_empty(),
            "nothing is said of what `{}` is made with: `LxcCreate(template: \"...\")`, one of {TEMPLATES}",
            at.name
        );
        Ok(())
    }

    fn precondition(&self, cx: &Cx, at: &Container) -> Result<()> {
        if at.directory().join("config").exists() {
            Ok(())
        } else {
            self.template(at).ensure_possible(cx, Others::ToCome)?;
            if at.base.release.keys.is_some() {
                mirror_seen::obstacles(cx, &at.base)?.iter().for_each(|obstacle| cx.doubt(obstacle));
            }
            Ok(())
        }
    }

    fn needs(&self, at: &Container) -> Vec<Need> {
        let storage = Resource::new(resource::STORAGE, at.farm.storage.display().to_string());
        let base = Resource::new(resource::BASE, at.base.id());
        let mut all = vec![
            if self.template(at).copies() { Need::Must(base) } else { Need::After(resource::TOOL_ALIAS) },
            Need::IfAny(Resource::new(resource::LXC_CACHE, at.farm.lxc_cache.display().to_string())),
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
        Duration::from_secs(3600)
    }

    fn check(&self, _cx: &Cx, at: &Container) -> Result<Check> {
        Ok(self.shortcoming(at)?.map_or(Check::Satisfied, Check::needed))
    }

    fn apply(&self, cx: &Cx, at: &Container) -> Result<()> {
        half_made::remove(cx, &at.directory())?;
        if at.directory().join("config").exists() {
            return self.keep(cx, at);
        }
        if self.template(at).copies() {
            return self.copy(cx, at);
        }
        program::require("lxc-create", &TOOLS[..2])?;
        self.template(at).ensure_possible(cx, Others::Done)?;
        self.create(cx, at, &[])
    }

    fn undo<'a>(&'a self, cx: &Cx, at: &'a Container) -> Result<Undo<'a>> {
        let directory = at.directory();
        // Only one that was not there when it was first to be made is ours, with all that is in it by now.
        if !directory.exists() || !cx.has_made(MADE)? {
            return Ok(Undo::default());
        }
        let what = format!("remove {} with all that is in it", directory.display());
        Ok(Undo::default().whole().act_if(what, move |cx| {
            if domain::state_to_undo(cx, &at.name)?.is_some() {
                return Ok(Some(format!("{} stays: a domain that is not ours uses it", directory.display())));
            }
            half_made::mark(&directory)?;
            half_made::remove(cx, &directory).map(|()| None)
        }))
    }
}
