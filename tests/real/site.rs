//! Where the real tests take place: the ground, the mirror, and the layers that they share.

use anyhow::Result;
use std::path::Path;
use std::sync::Mutex;
use throwaway::mirror::{EVERY, FARM, Mirror};
use throwaway::{Ground, Host, HostOptions, Trace};

/// Where the real tests take place.
pub(crate) struct Site {
    /// Where hosts live on disk.
    pub(crate) ground: Ground,
    /// This machine before the first test.
    pub(crate) before: Trace,
    mirror: Mutex<Option<Mirror>>,
}

impl Site {
    /// The site below Cargo's directory for tests.
    pub(crate) fn below(target: &str) -> Result<Self> {
        let ground = Ground::below(target)?;
        Ok(Self { ground, before: Trace::take()?, mirror: Mutex::default() })
    }

    /// The mirror, made when it is first needed.
    pub(crate) fn mirror(&self) -> Result<Mirror> {
        let mut mirror = self.mirror.lock().map_err(|_| anyhow::anyhow!("an earlier test panicked"))?;
        match &*mirror {
            Some(mirror) => Ok(mirror.clone()),
            None => Ok(mirror.insert(Mirror::prepare(&self.ground, &FARM)?).clone()),
        }
    }

    /// A host with nothing of a farm, that installs from the mirror.
    pub(crate) fn fresh_host(&self, name: &str) -> Result<Host> {
        Host::boot(&self.ground, name, self.options()?)
    }

    /// What hosts of these tests have: the mirror, drover, the plans.
    pub(crate) fn options(&self) -> Result<HostOptions> {
        self.options_with(&self.mirror()?)
    }

    /// The same for hosts that are a fresh Debian of that release.
    pub(crate) fn options_on(&self, release: &str) -> Result<HostOptions> {
        Ok(with_plans(HostOptions::fresh(&self.ground, &self.mirror()?, release, Path::new(DROVER))?))
    }

    /// The same with a mirror that has all architectures.
    pub(crate) fn options_for_all(&self) -> Result<HostOptions> {
        self.options_with(&Mirror::prepare(&self.ground, &EVERY)?)
    }

    /// The same with that mirror.
    pub(crate) fn options_with(&self, mirror: &Mirror) -> Result<HostOptions> {
        Ok(with_plans(HostOptions::usual(&self.ground, mirror, Path::new(DROVER))?))
    }
}

const DROVER: &str = env!("CARGO_BIN_EXE_drover");

fn with_plans(options: HostOptions) -> HostOptions {
    options.show(concat!(env!("CARGO_MANIFEST_DIR"), "/plans"), "/run/farm/plans")
}
