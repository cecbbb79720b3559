//! debootstrap's second stage, in steps that can each be done again: the order in which packages are configured decides the
//! numbers of accounts, so what was killed goes on in the order in which it began.
//!
//! It does not know checks nor claims: see `configure`.

use super::checkpoint;
use super::manifest::Manifest;
use super::plain;
use crate::archives::Deb;
use crate::base::Base;
use crate::dpkg::{Package, Status};
use crate::guest::cut_short;
use crate::guest::emulate::{Guest, package_to_configure, watch_dpkg};
use crate::package_index::PackageIndex;
use anyhow::{Context, Result, ensure};
use drover_engine::{Access, Cx, HostFile, Rootfs};

/// Runs no service while packages are configured.
const POLICY: (&str, &str) = ("/usr/sbin/policy-rc.d", "#!/bin/sh\nexit 101\n");
/// Stands in for `start-stop-daemon` meanwhile.
const FAKE: &str = "#!/bin/sh\necho\necho \"Warning: Fake start-stop-daemon called, doing nothing\"\n";

/// All that the second stage works with.
pub(super) struct SecondStage<'a> {
    pub(super) cx: &'a Cx,
    pub(super) base: &'a Base,
    pub(super) manifest: &'a Manifest,
    pub(super) guest: Guest,
    pub(super) rootfs: Rootfs,
}

impl SecondStage<'_> {
    /// Does what is not done yet.
    pub(super) fn run(mut self) -> Result<()> {
        cut_short::clear_unfinished(&self.rootfs)?;
        self.once("core", Self::install_core)?;
        self.once("unpack-required", Self::unpack_required)?;
        self.forbid_services()?;
        self.once("configure-required", Self::configure_required)?;
        self.once("select", Self::select)?;
        self.once("pre-depended", Self::install_pre_depended)?;
        self.once("unpack-base", Self::unpack_base)?;
        self.once("configure-base", Self::configure_base)?;
        self.rootfs.remove(POLICY.0)
    }

    /// Runs a part unless it is marked as complete.
    fn once(&self, part: &str, run: fn(&Self) -> Result<()>) -> Result<()> {
        if checkpoint::is_marked(self.base, part, self.manifest)? {
            return Ok(());
        }
        run(self)?;
        checkpoint::mark(self.base, part, self.manifest)
    }

    fn status(&self) -> Result<Status> {
        Status::of(&self.rootfs)
    }

    /// What every other package takes for granted, one by one.
    fn install_core(&self) -> Result<()> {
        self.cx.run(&self.guest.command("/bin/true"))?;
        self.claim_dpkg()?;
        self.cx.run(&self.guest.command("/sbin/ldconfig"))?;
        if !self.status()?.is_installed("mawk") {
            self.rootfs.symlink("/usr/bin/awk", "mawk")?;
        }
        self.install(&["base-passwd", "base-files", "dpkg"])?;
        if self.rootfs.entry("/etc/localtime")?.is_none() {
            self.rootfs.symlink("/etc/localtime", "/usr/share/zoneinfo/UTC")?;
        }
        self.install(&["libc6", "perl-base"])?;
        if !self.status()?.is_installed("mawk") {
            self.rootfs.remove("/usr/bin/awk")?;
        }
        self.install(&["mawk"])
    }

    /// dpkg must not miss itself.
    fn claim_dpkg(&self) -> Result<()> {
        if !self.rootfs.read(crate::dpkg::STATUS)?.unwrap_or_default().is_empty() {
            return Ok(());
        }
        let version = &self.manifest.deb("dpkg")?.version;
        let claim =
            format!("Package: dpkg\nVersion: {version}\nMaintainer: unknown\nStatus: install ok installed\n");
        self.rootfs.mkdir_all("/var/lib/dpkg/info", Access::root(0o755))?;
        self.rootfs.write("/var/lib/dpkg/info/dpkg.list", "", Access::root(0o644))?;
        self.rootfs.write(crate::dpkg::STATUS, &claim, Access::root(0o644))
    }

    /// Installs core packages, each by itself, unless they are installed.
    fn install(&self, names: &[&str]) -> Result<()> {
        for name in names {
            let status = self.status()?;
            let package = status.package(name);
            if package.is_some_and(|package| package.is_installed() && package.maintainer != "unknown") {
                continue;
            }
            let file = plain::in_guest(self.base, self.manifest.deb(name)?)?;
            self.cx.run(&self.guest.dpkg().args(["--force-depends", "--install"]).arg(file))?;
        }
        Ok(())
    }

    /// Unpacks the required packages, the core ones once more. Nothing is configured yet, so one that is merely unpacked is
    /// done, and one that is installed is a core package whose turn is still to come.
    fn unpack_required(&self) -> Result<()> {
        let status = self.status()?;
        let done = |deb: &Deb| {
            status.package(&deb.name).is_some_and(|package| package.state == "unpacked" && !package.broken)
        };
        self.unpack(&self.manifest.required, done, &["--force-depends"])
    }

    /// Unpacks those of `debs` that are not `done`.
    fn unpack(&self, debs: &[Deb], done: impl Fn(&Deb) -> bool, options: &[&str]) -> Result<()> {
        let files = debs.iter().filter(|deb| !done(deb)).map(|deb| plain::in_guest(self.base, deb));
        let files = files.collect::<Result<Vec<_>>>()?;
        if files.is_empty() {
            return Ok(());
        }
        let total = debs.len() as u64;
        let mut unpacked = total - files.len() as u64;
        let dpkg = self.guest.dpkg().args(options).arg("--unpack").args(files);
        watch_dpkg(self.cx, &dpkg, "unpacked", |_| {
            unpacked += 1;
            self.cx.progress(unpacked.min(total), total);
        })
    }

    /// From here on, no service is started. The real `start-stop-daemon` is not touched: another stands before it.
    fn forbid_services(&mut self) -> Result<()> {
        self.rootfs.write(POLICY.0, POLICY.1, Access::root(0o755))?;
        let fake = HostFile::new(checkpoint::directory(self.base).join("start-stop-daemon")).mode(0o755);
        fake.write(FAKE)?;
        self.guest = self.guest.clone().with(fake.path(), "/usr/sbin/start-stop-daemon");
        Ok(())
    }

    fn configure_required(&self) -> Result<()> {
        self.rootfs.write("/var/lib/dpkg/cmethopt", "apt apt\n", Access::root(0o644))?;
        self.configure_all("required", &["--force-configure-any", "--force-depends"])
    }

    /// Configures all that is unpacked, and what a killed dpkg has left to triggers.
    fn configure_all(&self, part: &str, options: &[&str]) -> Result<()> {
        self.mend_half_placed()?;
        self.configure(part, options, &["--pending"])?;
        if self.status()?.unfinished().is_none() {
            return Ok(());
        }
        self.cx.run(&self.guest.dpkg().args(options).args(["--configure", "--pending"]))
    }

    /// Configures `wanted` in the order in which dpkg would if nobody disturbed it.
    fn configure(&self, part: &str, options: &[&str], wanted: &[&str]) -> Result<()> {
        let order = self.order(part, options, wanted)?;
        let status = self.status()?;
        let left = |name: &&String| status.package(name).is_some_and(Package::awaits_configuration);
        let left: Vec<_> = order.iter().filter(left).collect();
        if left.is_empty() {
            return Ok(());
        }
        let total = (self.manifest.required.len() + self.manifest.base.len()) as u64;
        let mut done = status.installed() as u64;
        let dpkg = self.guest.dpkg().args(options).arg("--configure").args(left);
        watch_dpkg(self.cx, &dpkg, "installed", |_| {
            done += 1;
            self.cx.progress(done.min(total), total);
        })
    }

    /// The order in which dpkg configures `wanted`, as it was when it was first asked. It goes through them by their names
    /// and comes back to those that others keep waiting, so that one which begins in the middle would find another order.
    fn order(&self, part: &str, options: &[&str], wanted: &[&str]) -> Result<Vec<String>> {
        if let Some(order) = checkpoint::order(self.base, part, self.manifest)? {
            return Ok(order);
        }
        let mut order = Vec::new();
        // Even what it merely would do, it writes into its log (dpkg's src/main/configure.c).
        let asked = ["--no-act", "--log=/dev/null"];
        let dpkg = self.guest.dpkg().args(asked).args(options).arg("--configure").args(wanted);
        self.cx.watch(&dpkg, &mut |line| order.extend(package_to_configure(line).map(str::to_owned)))?;
        checkpoint::keep_order(self.base, part, self.manifest, &order)?;
        Ok(order)
    }

    /// Unpacks once more what was killed while its configuration files were put in place.
    fn mend_half_placed(&self) -> Result<()> {
        let names = cut_short::half_placed(&self.rootfs)?;
        let debs = names.iter().map(|name| self.manifest.deb(name).cloned()).collect::<Result<Vec<_>>>()?;
        self.unpack(&debs, |_| false, &["--force-depends", "--force-overwrite", "--force-confold"])
    }

    /// Tells dpkg which packages are wanted, from which it finds those that others depend on beforehand.
    fn select(&self) -> Result<()> {
        let available = checkpoint::available(self.base)?;
        self.rootfs.write("/var/lib/dpkg/available", &available, Access::root(0o644))?;
        let names = self.manifest.debs();
        let selections: String = names.iter().map(|deb| format!("{} install\n", deb.name)).collect();
        self.cx.run(&self.guest.command("dpkg").arg("--set-selections").stdin(selections))
    }

    /// Installs what other packages need to be configured before they are unpacked.
    fn install_pre_depended(&self) -> Result<()> {
        self.mend_half_placed()?;
        let available = checkpoint::available(self.base)?;
        let index = PackageIndex::new(&available);
        while let Some(next) = self.next_pre_depended()? {
            let status = self.status()?;
            let group = index.closure([next.as_str()], &[]);
            let missing: Vec<_> = group.iter().filter(|name| !status.is_installed(name)).collect();
            ensure!(!missing.is_empty(), "dpkg wants `{next}` first, which is installed");
            let debs = missing.iter().map(|name| self.manifest.deb(name).cloned());
            let debs = debs.collect::<Result<Vec<_>>>()?;
            // In two commands: `--install` leaves what a killed one has unpacked as it is, unconfigured.
            let done = |deb: &Deb| status.package(&deb.name).is_some_and(Package::is_unpacked);
            self.unpack(&debs, done, &["--force-overwrite", "--force-confold", "--skip-same-version"])?;
            let names: Vec<_> = missing.into_iter().map(String::as_str).collect();
            self.configure(&format!("pre-depended-{next}"), &["--force-confold"], &names)?;
        }
        Ok(())
    }

    /// The package that dpkg wants next, if it wants one: it ends with 1 when there is none.
    fn next_pre_depended(&self) -> Result<Option<String>> {
        let ended = self.cx.probe(&self.guest.command("dpkg").arg("--predep-package"))?;
        let name = ended.stdout.lines().find_map(|line| line.strip_prefix("Package: "));
        ensure!(
            name.is_some() || ended.status.code() == Some(1),
            "`dpkg --predep-package` failed: {}",
            ended.stderr.trim()
        );
        Ok(name.map(str::to_owned))
    }

    fn unpack_base(&self) -> Result<()> {
        let status = self.status()?;
        let done = |deb: &Deb| status.package(&deb.name).is_some_and(Package::is_unpacked);
        let options = ["--force-overwrite", "--force-confold", "--skip-same-version"];
        self.unpack(&self.manifest.base, done, &options)
    }

    fn configure_base(&self) -> Result<()> {
        self.configure_all("base", &["--force-confold", "--skip-same-version"])?;
        match self.status()?.unfinished() {
            None => Ok(()),
            Some((name, package)) => {
                Err(anyhow::anyhow!("`{name}` is still {}", package.state)).context("configure all packages")
            }
        }
    }
}
