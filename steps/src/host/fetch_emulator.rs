//! Emulators that the host's packages do not have: what comes with the step `Binfmt` if the plan asks for others.
//!
//! They are fetched and proved as packages of base systems are, and are not installed: the host's packages stay as they are.

use super::elf;
use super::emulator::Emulator;
use crate::apt::{Apt, Setup};
use crate::architecture::Architecture;
use crate::archives::{self, Deb, LOCK};
use crate::base::Base;
use crate::bootstrap::{self, Hosting};
use crate::farm::Farm;
use crate::mirror::{Archive, Mirror};
use crate::ours;
use crate::package_index::{PackageIndex, file_name};
use crate::release::{self, Distribution};
use crate::resource::{EMULATOR, MIRROR_POOL, PACKAGES};
use crate::step::FarmStep;
use anyhow::{Context, Result, bail};
use drover_engine::{Check, Claim, Cmd, Cx, Inputs, Need, Resource, Undo};
use serde::Serialize;
use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// The emulators of another release than the host's are in their place.
#[derive(Debug, Serialize)]
pub(super) struct FetchEmulator(pub(super) Emulator);

/// Remembered if they were fetched here, and from which suite.
const FETCHED: &str = "fetched";

/// The packages that may hold static emulators, by what they are called in them: since Debian 13, and before.
const PACKAGED: [(&str, &str); 2] = [("qemu-user", ""), ("qemu-user-static", "-static")];

impl FarmStep<Farm> for FetchEmulator {
    fn title(&self, _at: &Farm) -> String {
        match &self.0 {
            Emulator::Release(name) => format!("fetch the emulators of {name}"),
            _ => "fetch the emulators of the host's backports".to_owned(),
        }
    }

    fn facts(&self, _at: &Farm) -> Inputs {
        Inputs::default()
    }

    fn needs(&self, _at: &Farm) -> Vec<Need> {
        vec![Need::Must(Resource::new(PACKAGES, "host"))]
    }

    fn provides(&self, _at: &Farm) -> Vec<Resource> {
        vec![Resource::new(EMULATOR, "host")]
    }

    fn claims(&self, _at: &Farm) -> Vec<Claim> {
        vec![Claim::shares(MIRROR_POOL, 1), Claim::lock(LOCK)]
    }

    fn estimate(&self, _at: &Farm) -> Duration {
        Duration::from_secs(30)
    }

    fn timeout(&self, _at: &Farm) -> Duration {
        Duration::from_secs(1800)
    }

    fn precondition(&self, cx: &Cx, at: &Farm) -> Result<()> {
        let Emulator::Release(_) = self.0 else { return Ok(()) };
        if self.missing(at)?.is_empty() {
            return Ok(());
        }
        match bootstrap::hosting(cx, &self.base(at)?)? {
            Hosting::Hosted(_) => {}
            Hosting::Unasked(why) | Hosting::Unproved(why) | Hosting::Believed(why) => cx.doubt(&why),
        }
        Ok(())
    }

    fn check(&self, _cx: &Cx, at: &Farm) -> Result<Check> {
        Ok(match self.missing(at)?.first() {
            None => Check::Satisfied,
            Some((_, file)) => Check::needed(format!("{} does not exist", file.display())),
        })
    }

    fn apply(&self, cx: &Cx, at: &Farm) -> Result<()> {
        let missing = self.missing(at)?;
        let Some((_, first)) = missing.first() else { return Ok(()) };
        let directory = first.parent().context("a file without a directory")?;
        let archive = self.archive(cx, at)?;
        let apt = Apt::set_up(
            cx,
            Setup {
                dir: cx.cache("apt/emulator"),
                archives: vec![archive.clone()],
                arch: Architecture::host(),
                status: "",
                extended_states: "",
            },
        )?;
        apt.update(cx)?;
        let text = apt.index_text()?;
        let index = PackageIndex::new(&text);
        ours::make_directories(cx, directory, 0o755)?;
        cx.remember(FETCHED, &archive.suite)?;
        for (package, suffix) in PACKAGED {
            let Some(deb) = packaged(&index, package) else { continue };
            apt.download(cx, std::slice::from_ref(&deb))?;
            if extract(cx, &deb, suffix, &missing)? {
                cx.remark(&format!("{package} {} of {}", deb.version, archive.suite));
                return Ok(());
            }
        }
        bail!("`{}` at `{}` has no package with static emulators", archive.suite, archive.uri)
    }

    fn undo<'a>(&'a self, cx: &Cx, at: &'a Farm) -> Result<Undo<'a>> {
        let files: Vec<_> =
            self.wanted(at)?.into_iter().map(|(_, file)| file).filter(|file| file.exists()).collect();
        let directories = ours::undo_directories(cx)?;
        if files.is_empty() || cx.remembered(FETCHED)?.is_none() {
            return Ok(directories);
        }
        let what = format!(
            "remove {}",
            files.iter().map(|file| file.display().to_string()).collect::<Vec<_>>().join(", ")
        );
        let files = Undo::default().act(what, move |_| {
            files.iter().try_for_each(|file| {
                fs::remove_file(file).with_context(|| format!("remove `{}`", file.display()))
            })
        });
        Ok(files.and(directories))
    }
}

impl FetchEmulator {
    /// What the emulators of the farm's architectures are called by qemu, and where each belongs.
    fn wanted(&self, at: &Farm) -> Result<BTreeSet<(&'static str, PathBuf)>> {
        let mut wanted = BTreeSet::new();
        for arch in at.members.architectures.iter().filter(|arch| !arch.runs_on(Architecture::host())) {
            if let Some(file) = self.0.fetched(*arch)? {
                wanted.insert((arch.qemu(), file));
            }
        }
        Ok(wanted)
    }

    fn missing(&self, at: &Farm) -> Result<Vec<(&'static str, PathBuf)>> {
        Ok(self.wanted(at)?.into_iter().filter(|(_, file)| !file.exists()).collect())
    }

    /// The system whose mirror has them.
    fn base(&self, at: &Farm) -> Result<Base> {
        let suite = self.0.suite()?.context("the host's own emulators are not fetched")?;
        let name = suite.trim_end_matches("-backports");
        let release = release::find(Distribution::Debian, name).with_context(|| {
            format!("the host is no Debian that Drover knows, so that there is no `{suite}`")
        })?;
        Ok(Base {
            release,
            arch: Architecture::host(),
            mirrors: Vec::new(),
            keyring: None,
            farm: Arc::new(at.clone()),
        })
    }

    fn archive(&self, cx: &Cx, at: &Farm) -> Result<Archive> {
        let suite = self.0.suite()?.context("the host's own emulators are not fetched")?;
        Ok(Archive { suite, ..Mirror::of(cx, &self.base(at)?)?.main })
    }
}

/// The package of that name in the index.
fn packaged(index: &PackageIndex<'_>, name: &str) -> Option<Deb> {
    let package = index.versions(name).last()?;
    bootstrap::deb(package, file_name(package)?)
}

/// Brings the emulators of a package to their places, one after the other and each at once. Returns whether they are static;
/// if not, nothing is there.
fn extract(cx: &Cx, deb: &Deb, suffix: &str, wanted: &[(&str, PathBuf)]) -> Result<bool> {
    const SCRIPT: &str = "file=$1 directory=$2; shift 2; dpkg-deb --fsys-tarfile \"$file\" | tar -C \"$directory\" -xf - \"$@\"";
    let place = tempfile::tempdir().context("make a temporary directory")?;
    let inside: Vec<_> = wanted.iter().map(|(name, _)| format!("./usr/bin/qemu-{name}{suffix}")).collect();
    let command = Cmd::new("bash").args(["-o", "pipefail", "-c", SCRIPT, "extract"]);
    let command = command.arg(archives::directory(cx).join(&deb.file)).arg(place.path()).args(&inside);
    cx.run(&command).with_context(|| format!("extract `{}`", deb.file))?;
    for ((_, target), inside) in wanted.iter().zip(&inside) {
        let source = place.path().join(inside);
        if elf::is_dynamic(&source)? {
            return Ok(false);
        }
        bring(&source, target).with_context(|| format!("bring an emulator to `{}`", target.display()))?;
    }
    Ok(true)
}

fn bring(source: &Path, target: &Path) -> Result<()> {
    let partial = target.with_extension("partial");
    fs::copy(source, &partial)?;
    fs::set_permissions(&partial, fs::Permissions::from_mode(0o755))?;
    fs::File::open(&partial)?.sync_all()?;
    Ok(fs::rename(&partial, target)?)
}
