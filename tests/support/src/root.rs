//! Root file systems that hosts are laid over: a fresh Debian of a minimal server, which Drover itself bootstraps from the
//! mirror.
//!
//! Each is made once and kept on the ground until what it is made of changes. This file knows one plan, that of a base system;
//! what is done on a host is none of its business.

use crate::cleanup::remove_tree;
use crate::mirror::{Mirror, SERVER, short_digest};
use crate::{Ground, Host, HostOptions};
use anyhow::{Context, Result};
use std::fs;
use std::path::{Path, PathBuf};

/// A root file system of a Debian host, for any number of hosts at a time.
#[derive(Clone, Debug)]
pub struct Root {
    /// Its name on the ground, which changes with what it is made of.
    pub(crate) name: String,
    pub(crate) path: PathBuf,
}

/// Where the host that makes it sees the directory that it is made in.
const PLACE: &str = "/run/root";

/// Drover bootstraps a base system, where it always does; beside that nothing is asked of the host.
const PLAN: &str = r#"Plan(
    name: "root",
    host: [],
    containers: [(name: "root", distribution: Debian, release: "RELEASE", arch: ARCH)],
    each: [Bootstrap],
)"#;

/// Makes of a base system what the installer of Debian would have left, but for a kernel. No service starts meanwhile.
const SCRIPT: &str = r#"
    cd /run/root; mv rootfs-RELEASE-ARCH root; r=$PWD/root
    mount --rbind /dev $r/dev; mount -t proc proc $r/proc; mount -t sysfs sysfs $r/sys
    mount -t tmpfs tmpfs $r/run; mount -t tmpfs tmpfs $r/tmp
    printf '#!/bin/sh\nexit 101\n' >$r/usr/sbin/policy-rc.d; chmod 755 $r/usr/sbin/policy-rc.d
    cp -a $r/etc/hosts hosts; cat /etc/hosts >$r/etc/hosts
    chroot $r apt-get -q update
    DEBIAN_FRONTEND=noninteractive chroot $r apt-get -qy install --no-install-recommends PACKAGES
    chroot $r apt-get clean
    rm -r $r/usr/sbin/policy-rc.d $r/var/lib/apt/lists; mv hosts $r/etc/hosts
    test -z "$(chroot $r dpkg --audit)""#;

impl Root {
    /// The root of a `release`, made if it is not there yet by `drover`, the program, from `mirror`, which has that release
    /// and what its hosts need.
    ///
    /// # Errors
    /// When it has to be made and cannot be.
    pub fn prepare(ground: &Ground, mirror: &Mirror, release: &str, drover: &Path) -> Result<Self> {
        const FORMAT: u32 = 1;
        let of = format!("{FORMAT} {} {PLAN} {SCRIPT} {SERVER:?}", mirror.name());
        let name = format!("{release}-{}", short_digest(&of));
        let path = ground.join("roots").join(&name);
        if !path.exists() {
            println!("    making the root file system `{name}` of hosts");
            let place = ground.join("roots").join(format!("{name}.partial"));
            remove_tree(&place)?;
            fs::create_dir_all(&place)?;
            make(ground, mirror, release, drover, &place)
                .with_context(|| format!("the root file system of a host of {release} could not be made"))?;
            fs::rename(place.join("root"), &path)?;
            remove_tree(&place)?;
        }
        Ok(Self { name, path })
    }
}

/// Names the release whose fresh Debian hosts are in place of this machine's own `/`, such as `bookworm`.
const RELEASE: &str = "DROVER_TEST_HOST";

/// The releases that fresh hosts can be of.
const RELEASES: [&str; 2] = ["bookworm", "trixie"];

/// What a machine has once a farm, or something like one, was prepared there: how that is done could not be seen on it.
const PREPARED: [&str; 3] = ["/var/lib/drover/journal", "/usr/sbin/libvirtd", "/usr/bin/arch-test"];

/// The release whose fresh Debian hosts are: the one that the environment names, or that of this machine if a farm was prepared
/// here; `None` for this machine's own `/`.
fn release_of_hosts() -> Result<Option<String>> {
    if let Ok(release) = std::env::var(RELEASE) {
        return Ok(Some(release));
    }
    let Some(trace) = PREPARED.iter().find(|path| Path::new(path).exists()) else { return Ok(None) };
    let known = fs::read_to_string("/etc/os-release").context("read `/etc/os-release`")?;
    let release = known.lines().find_map(|line| line.strip_prefix("VERSION_CODENAME="));
    let release =
        release.context("`/etc/os-release` names no VERSION_CODENAME")?.trim_matches('"').to_owned();
    if !RELEASES.contains(&release.as_str()) {
        println!(
            "    hosts are this machine, which has `{trace}`: tests may find nothing to do ({RELEASE}=bookworm helps)"
        );
        return Ok(None);
    }
    println!("    hosts are fresh ones of {release}, since this machine has `{trace}`");
    Ok(Some(release))
}

impl HostOptions {
    /// What hosts are that install from `mirror` and have `drover` in their PATH: this machine's own `/`; or a fresh Debian, of the
    /// release that the environment names by `DROVER_TEST_HOST`, or of this machine's own where a farm was prepared on it.
    ///
    /// # Errors
    /// As [`HostOptions::fresh`]; or when it cannot be found out which release this machine is.
    pub fn usual(ground: &Ground, mirror: &Mirror, drover: &Path) -> Result<Self> {
        match release_of_hosts()? {
            Some(release) => Self::fresh(ground, mirror, &release, drover),
            None => Ok(with(mirror, drover)),
        }
    }

    /// A fresh Debian of that `release`, that installs from `mirror`, with `drover` in its PATH.
    ///
    /// # Errors
    /// When its root file system has to be made, and cannot be: see [`Root::prepare`].
    pub fn fresh(ground: &Ground, mirror: &Mirror, release: &str, drover: &Path) -> Result<Self> {
        let root = Root::prepare(ground, mirror, release, drover)?;
        Ok(with(mirror, drover).on(&root))
    }
}

fn with(mirror: &Mirror, drover: &Path) -> HostOptions {
    HostOptions::new().installing_from(mirror).show(drover, "/run/bin/drover")
}

/// Leaves it as `root` in `place`.
fn make(ground: &Ground, mirror: &Mirror, release: &str, drover: &Path, place: &Path) -> Result<()> {
    let options = with(mirror, drover).share(place, PLACE);
    let host = Host::boot(ground, &format!("root-{release}"), options)?;
    let arch = host.shell("dpkg --print-architecture")?;
    let of_it = |text: &str| text.replace("RELEASE", release).replace("ARCH", arch.trim());
    host.write("/root/root.ron", &of_it(PLAN))?;
    host.shell(&format!("mkdir -p /var/cache/lxc/debian; mount --bind {PLACE} /var/cache/lxc/debian"))?;
    host.run(&["drover", "run", "/root/root.ron"])?.ok()?;
    host.shell(&of_it(SCRIPT).replace("PACKAGES", &crate::workshop::quoted(SERVER)))?;
    Ok(())
}
