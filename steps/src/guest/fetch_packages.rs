//! The first half of `GuestPackages`: which packages the container needs, and their files. All of it runs natively.
//!
//! It does not touch the container.

use super::guest_packages::{GuestPackages, STATES, order_file, plain, read_order};
use super::package_order::{PackageOrder, cause};
use crate::apt::{Apt, Setup};
use crate::archives::{self, LOCK};
use crate::container::Container;
use crate::dpkg::{STATUS, Status};
use crate::inputs;
use crate::mirror::{Archive, Mirror};
use crate::package_index::PackageIndex;
use crate::resource;
use crate::step::FarmStep;
use anyhow::{Context, Result};
use drover_engine::{Check, Claim, Cx, HostFile, Inputs, Interrupted, Need, Resource, Rootfs, Undo};
use serde::Serialize;
use std::fs;
use std::path::PathBuf;
use std::time::Duration;

/// See the manual of `GuestPackages`.
#[derive(Debug, Serialize)]
pub(super) struct FetchPackages {
    /// The names as the plan has them.
    pub(super) packages: Vec<String>,
    /// The names of all packages that are wanted. What is in a set follows from Drover's own tables: it is no input.
    #[serde(skip)]
    pub(super) wanted: Vec<String>,
}

/// Whether an installation was begun: by what dpkg has noted, or by `text`, its file, which is all that apt looks at.
fn is_begun(status: &Status, text: &str) -> bool {
    status.unfinished().is_some() || Status::parse(text).unfinished().is_some()
}

impl FarmStep<Container> for FetchPackages {
    fn title(&self, at: &Container) -> String {
        format!("fetch packages for {}", at.name)
    }

    fn facts(&self, at: &Container) -> Inputs {
        inputs::rootfs(at).and(inputs::base(&at.base))
    }

    fn needs(&self, at: &Container) -> Vec<Need> {
        vec![Need::Must(at.resource(resource::ROOTFS))]
    }

    fn provides(&self, at: &Container) -> Vec<Resource> {
        vec![at.resource(resource::FETCHED)]
    }

    fn claims(&self, _at: &Container) -> Vec<Claim> {
        vec![Claim::shares(resource::MIRROR_POOL, 1), Claim::lock(LOCK)]
    }

    fn estimate(&self, _at: &Container) -> Duration {
        Duration::from_secs(10)
    }

    fn timeout(&self, _at: &Container) -> Duration {
        Duration::from_secs(1800)
    }

    fn goes_with(&self, at: &Container) -> Option<Resource> {
        Some(at.resource(resource::ROOTFS))
    }

    fn undo<'a>(&'a self, _cx: &Cx, _at: &'a Container) -> Result<Undo<'a>> {
        Ok(Undo::default())
    }

    fn check(&self, cx: &Cx, at: &Container) -> Result<Check> {
        let Some(rootfs) = Rootfs::find(at.rootfs())? else {
            return Ok(Check::needed(format!("the container `{}` does not exist", at.name)));
        };
        let text = rootfs.read(STATUS)?.unwrap_or_default();
        let status = Status::of(&rootfs)?;
        let is_begun = is_begun(&status, &text);
        let order = read_order(cx, at)?;
        let known = order.clone().unwrap_or_default();
        if GuestPackages::missing(&self.wanted, &status, &known).is_empty() {
            return Ok(Check::Satisfied);
        }
        // An installation that was begun is ended as it was begun: apt does not resolve half-installed packages.
        let fits = |order: &PackageOrder| is_begun || order.cause == cause(&self.wanted, &text);
        match order.filter(fits) {
            None => Ok(Check::needed(format!("what `{}` needs for its packages is not known yet", at.name))),
            Some(order) => Ok(match archives::missing(cx, &order.debs())? {
                None => Check::Satisfied,
                Some(deb) => Check::needed(format!("the package file `{}` is not fetched yet", deb.file)),
            }),
        }
    }

    fn apply(&self, cx: &Cx, at: &Container) -> Result<()> {
        let rootfs = Rootfs::open(at.rootfs())?;
        let status = rootfs.read(STATUS)?.unwrap_or_default();
        let mirror = Mirror::of(cx, &at.base)?;
        let mut archives = mirror.archives();
        let release = archives.len();
        archives.extend(mirror.security);
        let mut apt = self.apt(cx, at, &status, &archives)?;
        let is_begun = is_begun(&Status::of(&rootfs)?, &status);
        let known = read_order(cx, at)?.filter(|_| is_begun);
        if let Some(order) = known {
            return apt.download(cx, &order.debs());
        }
        if let Err(error) = apt.update(cx) {
            // An archive of updates that is out of step with its signed index does not keep the release itself from
            // being used. Said aloud, since what it would have mended stays as it is.
            if archives.len() == release || error.downcast_ref::<Interrupted>().is_some() {
                return Err(error);
            }
            archives.truncate(release);
            apt = self.apt(cx, at, &status, &archives)?;
            apt.update(cx)?;
            cx.note(&format!("{error:#}"));
            cx.note("the security archive cannot be used: packages come from the release alone");
        }
        let order = self.order(cx, &apt, &status)?;
        apt.download(cx, &order.debs())?;
        HostFile::new(order_file(cx, at)).write(&order.text())
    }
}

impl FetchPackages {
    /// An apt for the container, that finds packages in these archives.
    fn apt(&self, cx: &Cx, at: &Container, status: &str, archives: &[Archive]) -> Result<Apt> {
        let states = Rootfs::open(at.rootfs())?.read(STATES)?.unwrap_or_default();
        Apt::set_up(
            cx,
            Setup {
                dir: apt_directory(cx, at),
                archives: archives.to_vec(),
                arch: at.base.arch,
                status,
                extended_states: &states,
            },
        )
    }

    /// What apt would do in a container of this status.
    fn order(&self, cx: &Cx, apt: &Apt, status: &str) -> Result<PackageOrder> {
        let texts = apt
            .indexes()?
            .into_iter()
            .map(|index| fs::read_to_string(&index).with_context(|| format!("read `{}`", index.display())));
        let texts = texts.collect::<Result<Vec<_>>>()?;
        let indexes: Vec<_> = texts.iter().map(|text| PackageIndex::new(text)).collect();
        let present = Status::parse(status);
        let (mut names, mut lacking, mut provided) = (Vec::new(), Vec::new(), Vec::new());
        for name in &self.wanted {
            let plain = plain(name).to_owned();
            let is_real = indexes.iter().any(|index| index.versions(&plain).next().is_some());
            if !is_real && present.is_provided(&plain) {
                provided.push(plain);
            } else if plain == *name || apt.finds(cx, &plain)? {
                if !is_real {
                    provided.push(plain.clone());
                }
                names.push(plain);
            } else {
                cx.note(&format!("{plain} cannot be had in this release: left out, as it is optional"));
                lacking.push(plain);
            }
        }
        let simulated = apt.simulate(cx, &names)?;
        let order = PackageOrder::new(cause(&self.wanted, status), &simulated, &indexes)?;
        Ok(PackageOrder { lacking, provided, ..order })
    }
}

/// Where the apt that is private to a container keeps everything, until its packages are installed.
pub(super) fn apt_directory(cx: &Cx, at: &Container) -> PathBuf {
    cx.cache(&format!("apt/{}", at.name))
}
