//! The stage `resolve`: which packages make the system, by the mirror's signed indexes.
//!
//! Names follow debootstrap's rule, so that the set is the same; apt then proves that they fit together and may add what the
//! rule misses. It does not download packages.

use super::checkpoint::{self, keep, stage};
use super::manifest::Manifest;
use super::{hosting, package_set, place, pool, seal};
use crate::apt::{Apt, Setup};
use crate::archives::Deb;
use crate::base::Base;
use crate::deb822::Paragraph;
use crate::inputs;
use crate::mirror::Mirror;
use crate::ours::remove_empty;
use crate::package_index::{PackageIndex, file_name};
use crate::resource::{LXC_CACHE, MIRROR_POOL, PACKAGES};
use crate::step::FarmStep;
use anyhow::{Context, Result, bail, ensure};
use drover_engine::{Check, Claim, Cx, Inputs, Need, Resource, Undo};
use serde::Serialize;
use std::collections::{BTreeSet, HashMap};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// See the manual of the bootstrap.
#[derive(Debug, Serialize)]
pub(super) struct Resolve;

impl FarmStep<Base> for Resolve {
    fn title(&self, at: &Base) -> String {
        format!("resolve the packages of {}", at.id())
    }

    fn facts(&self, at: &Base) -> Inputs {
        inputs::base(at)
    }

    fn needs(&self, at: &Base) -> Vec<Need> {
        let cache = Resource::new(LXC_CACHE, at.farm.lxc_cache.display().to_string());
        let cache = Some(Need::IfAny(cache));
        let packages = hosting::lacks_packages(at).then(|| Need::IfAny(Resource::new(PACKAGES, "host")));
        cache.into_iter().chain(packages).collect()
    }

    fn provides(&self, at: &Base) -> Vec<Resource> {
        vec![stage(at, "resolve")]
    }

    fn claims(&self, _at: &Base) -> Vec<Claim> {
        vec![Claim::shares(MIRROR_POOL, 1)]
    }

    fn estimate(&self, _at: &Base) -> Duration {
        Duration::from_secs(5)
    }

    fn precondition(&self, cx: &Cx, at: &Base) -> Result<()> {
        if seal::is_complete(at)? || checkpoint::manifest(at)?.is_some() {
            return Ok(());
        }
        hosting::ensure_hosted(cx, at)
    }

    fn check(&self, _cx: &Cx, at: &Base) -> Result<Check> {
        if seal::is_complete(at)? || checkpoint::manifest(at)?.is_some() {
            return Ok(Check::Satisfied);
        }
        Ok(Check::needed(format!("the packages of `{}` are not known yet", at.rootfs().display())))
    }

    fn apply(&self, cx: &Cx, at: &Base) -> Result<()> {
        resolve(cx, at).map(drop)
    }

    fn undo<'a>(&'a self, _cx: &Cx, at: &'a Base) -> Result<Undo<'a>> {
        let half_made = [at.partial(), checkpoint::directory(at)].into_iter().filter(|path| path.exists());
        let undo = half_made.fold(Undo::default(), |undo, path| {
            undo.act(format!("remove the half-made {}", path.display()), move |cx| cx.remove_tree(&path))
        });
        // The last base system of a distribution leaves its directory empty.
        let Some(place) = at.rootfs().parent().map(Path::to_owned).filter(|place| place.is_dir()) else {
            return Ok(undo);
        };
        let ours = [at.partial(), checkpoint::directory(at), at.rootfs()];
        for entry in place.read_dir().with_context(|| format!("read `{}`", place.display()))? {
            if !ours.contains(&entry?.path()) {
                return Ok(undo);
            }
        }
        Ok(undo.act_if(format!("remove {}", place.display()), move |_| remove_empty(&place)))
    }
}

/// Where the apt that is private to a base system keeps everything.
pub(super) fn apt_directory(cx: &Cx, base: &Base) -> PathBuf {
    cx.cache(&format!("apt/{}", base.id()))
}

/// The apt that is private to a base system, with the lists that it has.
pub(super) fn apt(cx: &Cx, base: &Base, mirror: &Mirror) -> Result<Apt> {
    Apt::set_up(
        cx,
        Setup {
            dir: apt_directory(cx, base),
            archives: mirror.archives(),
            arch: base.arch,
            status: "",
            extended_states: "",
        },
    )
}

/// Finds the packages by what the mirror has now, and keeps what was found.
pub(super) fn resolve(cx: &Cx, base: &Base) -> Result<Manifest> {
    place::make(base)?;
    let mirror = Mirror::of(cx, base)?;
    pool::hand_over(cx, base)?;
    let apt = apt(cx, base, &mirror)?;
    apt.update(cx)?;
    let text = apt.index_text()?;
    let index = PackageIndex::new(&text);
    let (required, all) = package_set::names(base.release, &index);
    let files = apt.files(cx, &Vec::from_iter(all))?;
    let (manifest, available) = describe(&index, &files, &required)?;
    keep(base, &manifest, &available)?;
    cx.note(&format!("{} packages, {} of them required", files.len(), manifest.required.len()));
    Ok(manifest)
}

/// The manifest of `files`, and their paragraphs in the index, in its order.
fn describe(
    index: &PackageIndex<'_>,
    files: &[String],
    required: &BTreeSet<String>,
) -> Result<(Manifest, String)> {
    let mut wanted: HashMap<&str, bool> = files.iter().map(|file| (file.as_str(), false)).collect();
    let (mut manifest, mut available) = (Manifest::default(), String::new());
    for package in index.packages() {
        let file = file_name(package).unwrap_or_default();
        let Some(found) = wanted.get_mut(file.as_str()).filter(|found| !**found) else { continue };
        *found = true;
        let deb = deb(package, file)
            .with_context(|| format!("the index says too little of a package:\n{}", package.text()))?;
        let group = if required.contains(&deb.name) { &mut manifest.required } else { &mut manifest.base };
        group.push(deb);
        available.push_str(package.text());
        available.push_str("\n\n");
    }
    if let Some((file, _)) = wanted.iter().find(|(_, found)| !**found) {
        bail!("apt wants `{file}`, which the index does not have");
    }
    ensure!(!manifest.required.is_empty(), "apt finds no packages that are required");
    manifest.required.sort_by(|a, b| a.name.cmp(&b.name));
    manifest.base.sort_by(|a, b| a.name.cmp(&b.name));
    Ok((manifest, available))
}

/// What the index says of a package file.
pub(crate) fn deb(package: Paragraph<'_>, file: String) -> Option<Deb> {
    let field = |name| package.field(name).map(str::to_owned);
    let size = package.field("Size")?.parse().ok()?;
    Some(Deb { name: field("Package")?, version: field("Version")?, file, size, sha256: field("SHA256")? })
}
