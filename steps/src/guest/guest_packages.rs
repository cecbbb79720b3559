//! # GuestPackages
//! Installs packages in the container, from its own release.
//!
//! The document: `chroot "$ALTROOT" apt-get install sudo bash vim mc p7zip p7zip-full pigz pbzip2 git`, from the host, "to
//! use its networking, while the operating environment in containers may be not yet configured". Drover does it in two
//! steps: `fetch-packages` resolves and downloads natively, with an apt of its own that checks signatures and shares its
//! downloads with the whole farm; `guest-packages` then unpacks and configures with the container's own dpkg, with
//! `/proc` as packages want it, in mounts of its own that vanish with the command.
//!
//! ```ron
//! GuestPackages(["comfort", "build-essential"])
//! ```
//! Each name is a set or a package. A package that a release may lack is written `?name`: then it is said, and not an error.
//! A name that the release has no package of, but that another package provides (`p7zip` in Debian 14: `7zip`), stands for that.
//!
//! | set | what is in it |
//! | --- | --- |
//! | `comfort` | the document's: sudo, bash, vim, mc, p7zip, p7zip-full (7zip from Debian 13 on), pigz, pbzip2, git |
//! | `nut-build` | what NUT is built with, as its `docs/config-prereqs.txt` has it; what older releases lack is optional |
//! | `nut-docs` | what its documentation is made with; the document: "it may be wise to not install" it everywhere |
//!
//! In a CentOS container the sets have CentOS's names, and the container's own yum installs them, from its own repositories
//! and `epel-release`'s, by itself: nothing is shared with others then. Optional packages that they do not have are named in
//! the container's `/etc/drover-lacking-packages`; remove a line there to have it looked for again.
//!
//! **Killed in the middle**, it goes on where it stopped: what dpkg has unpacked and configured stays so.
//!
//! In an emulated container, this is assisted by native programs: see the manual of `Bootstrap`.
//!
//! **Changes** the container's packages. What was only installed because something else needs it is marked so, as apt does.
//! While packages are configured no service is started (`/usr/sbin/policy-rc.d`, removed at the end).
//!
//! **To take it back**: `apt-get purge` in the container.

use super::cut_short;
use super::emulate::{Guest, PACKAGES, watch_dpkg};
use super::fetch_packages::{FetchPackages, apt_directory};
use super::package_order::{Action, PackageOrder};
use super::{package_sets, yum};
use crate::archives::{self, Deb};
use crate::assist::Client;
use crate::container::Container;
use crate::dpkg::Status;
use crate::inputs;
use crate::release::Distribution;
use crate::resource;
use crate::step::FarmStep;
use crate::words;
use anyhow::{Context, Error, Result, anyhow, ensure};
use drover_engine::{Access, Check, Claim, Cmd, Cx, HostFile, Inputs, Need, Resource, Rootfs, Undo};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// Lets no service be started.
const POLICY: (&str, &str) =
    ("/usr/sbin/policy-rc.d", "#!/bin/sh\n# drover: packages are being installed\nexit 101\n");
/// Where apt keeps which packages were installed automatically.
pub(super) const STATES: &str = "/var/lib/apt/extended_states";

/// See the manual above.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GuestPackages(pub Vec<String>);

/// Where the order of a container's packages is kept.
pub(super) fn order_file(cx: &Cx, at: &Container) -> PathBuf {
    cx.cache("packages").join(&at.name)
}

/// The order of a container's packages, if it is known.
pub(super) fn read_order(cx: &Cx, at: &Container) -> Result<Option<PackageOrder>> {
    let file = HostFile::new(order_file(cx, at));
    let order = file.read().and_then(|text| text.map(|text| PackageOrder::parse(&text)).transpose());
    order.with_context(|| {
        format!("`{}` is damaged: remove it, and the next run makes it again", file.path().display())
    })
}

impl GuestPackages {
    /// The names of all packages that are wanted, sets unfolded, each once; an optional one as `?name`.
    fn wanted(&self, at: &Container) -> Vec<String> {
        let unfold = |name: &String| package_sets::unfold(name, at.base.release);
        let names: BTreeSet<_> = self.0.iter().flat_map(unfold).collect();
        // What one asks for and another would like is asked for.
        let asked = |name: &&String| plain(name) == *name || !names.contains(plain(name));
        names.iter().filter(asked).cloned().collect()
    }

    /// Those of the wanted packages that are not completely installed, by what apt found when the order was made: an
    /// optional one may be lacking, and what is wanted by a name that only others provide is there with one of them.
    pub(super) fn missing<'a>(wanted: &'a [String], status: &Status, order: &PackageOrder) -> Vec<&'a str> {
        let missing = |name: &&String| {
            let plain = plain(name);
            let is_left_out = plain != *name && order.lacking.iter().any(|lacks| lacks == plain);
            let is_provided = order.provided.iter().any(|name| name == plain) && status.is_provided(plain);
            !status.is_installed(plain) && !is_left_out && !is_provided
        };
        wanted.iter().filter(missing).map(|name| plain(name)).collect()
    }
}

/// Whether its packages are RPM's.
fn is_rpm(at: &Container) -> bool {
    at.base.release.distribution == Distribution::CentOS
}

/// The name of a package that may be optional.
pub(super) fn plain(name: &str) -> &str {
    name.strip_prefix('?').unwrap_or(name)
}

impl FarmStep<Container> for GuestPackages {
    fn title(&self, at: &Container) -> String {
        format!("install packages in {}", at.name)
    }

    fn facts(&self, at: &Container) -> Inputs {
        inputs::rootfs(at).and(inputs::release(&at.base)).and(inputs::arch(&at.base))
    }

    fn shape(&self, at: &mut Container) -> Result<()> {
        for name in self.0.iter().map(|name| plain(name)) {
            words::no_misspelt_set(name, package_sets::names())?;
            if is_rpm(at) { words::rpm(name) } else { words::package(name) }?;
        }
        Ok(())
    }

    fn companions(&self, at: &Container) -> Vec<(String, Arc<dyn FarmStep<Container>>)> {
        if is_rpm(at) {
            return Vec::new();
        }
        vec![(
            "fetch-packages".to_owned(),
            Arc::new(FetchPackages { packages: self.0.clone(), wanted: self.wanted(at) }),
        )]
    }

    fn needs(&self, at: &Container) -> Vec<Need> {
        let fetched = at.resource(resource::FETCHED);
        vec![
            Need::Must(at.resource(resource::ROOTFS)),
            if is_rpm(at) { Need::IfAny(fetched) } else { Need::Must(fetched) },
        ]
    }

    fn provides(&self, at: &Container) -> Vec<Resource> {
        at.edited(resource::GUEST_EDIT, "packages").into()
    }

    fn claims(&self, at: &Container) -> Vec<Claim> {
        let mut claims = vec![at.accounts_lock()];
        if at.base.is_emulated() {
            claims.push(Claim::shares(resource::EMULATION_POOL, 1));
        }
        claims
    }

    fn estimate(&self, at: &Container) -> Duration {
        Duration::from_secs(if at.base.is_emulated() { 120 } else { 15 })
    }

    fn timeout(&self, _at: &Container) -> Duration {
        Duration::from_secs(2 * 3600)
    }

    fn precondition(&self, _cx: &Cx, at: &Container) -> Result<()> {
        ensure!(
            at.base.release.distribution != Distribution::Other,
            "how packages are installed in `{}` is not known: leave the step out (`without: [\"GuestPackages\"]`), and say it \
             with `GuestCommand`",
            at.name
        );
        Ok(())
    }

    fn goes_with(&self, at: &Container) -> Option<Resource> {
        Some(at.resource(resource::ROOTFS))
    }

    fn undo<'a>(&'a self, _cx: &Cx, at: &'a Container) -> Result<Undo<'a>> {
        // Of a container that was there before: somebody may rely on them by now.
        Ok(Undo::default().keep(format!("the packages stay in {}", at.name)))
    }

    fn check(&self, cx: &Cx, at: &Container) -> Result<Check> {
        let wanted = self.wanted(at);
        if is_rpm(at) {
            return yum::check(cx, at, &wanted);
        }
        let Some(rootfs) = Rootfs::find(at.rootfs())? else {
            return Ok(Check::needed(format!("the container `{}` does not exist", at.name)));
        };
        let status = Status::of(&rootfs)?;
        let order = read_order(cx, at)?.unwrap_or_default();
        let missing = Self::missing(&wanted, &status, &order);
        if !missing.is_empty() {
            return Ok(Check::needed(format!("not installed in `{}`: {}", at.name, missing.join(", "))));
        }
        if rootfs.read(POLICY.0)?.as_deref() == Some(POLICY.1) {
            return Ok(Check::needed(format!("`{}` may not start services since a run was killed", at.name)));
        }
        Ok(match status.unfinished() {
            Some((name, package)) => Check::needed(format!("`{name}` is {} in `{}`", package.state, at.name)),
            None => Check::Satisfied,
        })
    }

    fn apply(&self, cx: &Cx, at: &Container) -> Result<()> {
        if is_rpm(at) {
            return yum::apply(cx, at, &self.wanted(at));
        }
        let rootfs = Rootfs::open(at.rootfs())?;
        let order = read_order(cx, at)?.unwrap_or_default();
        let debs = order.debs();
        archives::prove(cx, &debs)?;
        cut_short::clear(&rootfs)?;
        let tmp = cx.cache(&format!("tmp/{}", at.name));
        let guest = Guest::new(&at.rootfs()).with_packages(archives::directory(cx), &tmp)?;
        rootfs.write(POLICY.0, POLICY.1, Access::root(0o755))?;
        let status = Status::of(&rootfs)?;
        let version = |name: &str| lasting_version(&status, &debs, name);
        let coming = debs.iter().filter(|deb| deb.has_perl_modules()).map(|deb| deb.name.as_str());
        let modules: Vec<_> = status.perl_modules().chain(coming).map(str::to_owned).collect();
        let client =
            Client { base: &at.base, name: &at.name, is_base: false, version: &version, modules: &modules };
        guest.assisted(cx, &client, |guest| {
            mend(cx, guest, &rootfs, &debs)?;
            for part in order.actions.chunk_by(|one, other| is_unpack(one) == is_unpack(other)) {
                install(cx, guest, &Status::of(&rootfs)?, part)?;
            }
            cx.run(&guest.dpkg().args(["--force-confold", "--configure", "-a"]))
        })?;
        mark_automatic(&rootfs, &order, &self.wanted(at), at)?;
        // dpkg did not wait for the disk.
        cx.run(&Cmd::new("sync").arg("--file-system").arg(at.rootfs()))?;
        rootfs.remove(POLICY.0)?;
        cx.remove_tree(&apt_directory(cx, at))?;
        cx.remove_tree(&tmp)
    }

    fn disproved(&self, cx: &Cx, at: &Container, reason: String) -> Error {
        match read_order(cx, at) {
            Err(error) => error.context(reason),
            Ok(None) if !is_rpm(at) => anyhow!("{reason}, and `fetch-packages` found nothing to install"),
            Ok(_) => anyhow!("done, and yet {reason}"),
        }
    }
}

/// The version of a package, if that is to stay as it is.
fn lasting_version(status: &Status, debs: &[Deb], name: &str) -> Option<String> {
    let present = &status.package(name)?.version;
    let stays = debs.iter().all(|deb| deb.name != name || deb.version == *present);
    stays.then(|| present.clone())
}

/// Unpacks once more what was killed while its configuration files were put in place.
fn mend(cx: &Cx, guest: &Guest, rootfs: &Rootfs, debs: &[Deb]) -> Result<()> {
    let names = cut_short::half_placed(rootfs)?;
    for deb in debs.iter().filter(|deb| names.contains(&deb.name)) {
        let file = format!("{PACKAGES}/{}", deb.file);
        cx.run(&guest.dpkg().args(["--force-depends", "--force-confold", "--unpack", &file]))?;
    }
    Ok(())
}

fn is_unpack(action: &Action) -> bool {
    matches!(action, Action::Unpack(_))
}

/// Unpacks, or configures, those packages of a part of the order with which that is not done yet.
fn install(cx: &Cx, guest: &Guest, status: &Status, part: &[Action]) -> Result<()> {
    let (mut files, mut names) = (Vec::new(), Vec::new());
    for action in part {
        match action {
            Action::Unpack(deb) if !is_unpacked(status, deb) => {
                files.push(format!("{PACKAGES}/{}", deb.file));
            }
            Action::Configure(name) if !status.is_installed(name) => names.push(name.clone()),
            Action::Unpack(_) | Action::Configure(_) => {}
        }
    }
    let (verb, state, words) =
        if names.is_empty() { ("--unpack", "unpacked", files) } else { ("--configure", "installed", names) };
    if words.is_empty() {
        return Ok(());
    }
    let (mut done, total) = (0, words.len() as u64);
    let dpkg = guest.dpkg().args(["--force-confold", verb]).args(words);
    watch_dpkg(cx, &dpkg, state, |_| {
        done += 1;
        cx.progress(done.min(total), total);
    })
    .with_context(|| format!("{} packages", verb.trim_start_matches('-')))
}

fn is_unpacked(status: &Status, deb: &Deb) -> bool {
    status.package(&deb.name).is_some_and(|package| package.is_unpacked() && package.version == deb.version)
}

/// Marks what was installed only because something else needs it, as apt does.
fn mark_automatic(rootfs: &Rootfs, order: &PackageOrder, wanted: &[String], at: &Container) -> Result<()> {
    let mut states = rootfs.read_to_edit(STATES)?.unwrap_or_default();
    let status = Status::of(rootfs)?;
    let provides = |deb: &Deb, name: &String| {
        let package = status.package(&deb.name);
        order.provided.contains(name) && package.is_some_and(|package| package.provides.contains(name))
    };
    let asked = |deb: &Deb| {
        let by_name = wanted.iter().any(|name| plain(name) == deb.name);
        by_name || order.provided.iter().any(|name| provides(deb, name))
    };
    for deb in order.debs().iter().filter(|deb| !asked(deb)) {
        if !states.lines().any(|line| line.strip_prefix("Package: ") == Some(deb.name.as_str())) {
            let arch = at.base.arch.debian();
            states += &format!("Package: {}\nArchitecture: {arch}\nAuto-Installed: 1\n\n", deb.name);
        }
    }
    rootfs.write(STATES, &states, Access::root(0o644))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted(names: &[&str], distribution: Distribution, release: &str) -> Vec<String> {
        let farm = Arc::new(crate::farm::Farm::default());
        let release = crate::release::find(distribution, release).expect("in the table");
        let arch = crate::architecture::Architecture::Amd64;
        let base = Arc::new(crate::base::Base {
            release,
            arch,
            mirrors: Vec::new(),
            keyring: None,
            farm: farm.clone(),
        });
        let at = Container {
            name: "a".to_owned(),
            base,
            farm,
            address: None,
            ssh_port: None,
            memory: None,
            joins_controllers: true,
        };
        GuestPackages(names.iter().map(ToString::to_string).collect()).wanted(&at)
    }

    #[test]
    fn sets_are_unfolded_and_names_are_there_once() {
        let all = wanted(&["git", "comfort", "nut-build", "libgpiod-dev"], Distribution::Debian, "bookworm");
        let count = |name: &str| all.iter().filter(|other| *other == name).count();
        assert_eq!(
            (count("git"), count("p7zip-full"), count("?libtool-bin"), count("comfort")),
            (1, 1, 1, 0)
        );
        assert_eq!(
            (count("libgpiod-dev"), count("?libgpiod-dev")),
            (1, 0),
            "what is asked for is not optional"
        );
        let forky = wanted(&["comfort", "nut-build"], Distribution::Debian, "forky");
        let newer = ["7zip", "?ksh93u+m", "?liblua5.1-0-dev"];
        assert!(
            newer.iter().all(|name| forky.iter().filter(|other| other == name).count() == 1),
            "{forky:?}"
        );
        assert!(["p7zip", "p7zip-full", "?ksh"].iter().all(|name| !forky.contains(&(*name).to_owned())));
        let trixie = wanted(&["nut-build"], Distribution::Debian, "trixie");
        assert!(trixie.contains(&"?ksh".to_owned()) && trixie.contains(&"?liblua5.1-0-dev".to_owned()));
        let centos = wanted(&["nut-build", "nut-docs"], Distribution::CentOS, "7");
        assert!(centos.contains(&"gcc-c++".to_owned()) && !centos.contains(&"g++".to_owned()));
    }

    #[test]
    fn only_an_optional_package_may_be_lacking() {
        let status = Status::parse("Package: a\nStatus: install ok installed\n");
        let wanted = ["a", "?a", "b", "?c", "?d"].map(str::to_owned);
        let lacking = ["b", "c"].map(str::to_owned).to_vec();
        let order = PackageOrder { lacking, ..PackageOrder::default() };
        assert_eq!(GuestPackages::missing(&wanted, &status, &order), ["b", "d"]);
    }

    #[test]
    fn a_name_that_others_provide_is_there_with_one_of_them() {
        let status =
            Status::parse("Package: 7zip\nStatus: install ok installed\nProvides: p7zip (= 1), awk\n");
        let wanted = ["awk", "p7zip", "rar"].map(str::to_owned);
        let provided = ["p7zip", "rar"].map(str::to_owned).to_vec();
        let order = PackageOrder { provided, ..PackageOrder::default() };
        let missing = GuestPackages::missing(&wanted, &status, &order);
        assert_eq!(missing, ["awk", "rar"], "of awk, the release has a package");
    }
}
