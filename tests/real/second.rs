//! The tests where they are not first: on a machine that is prepared for a farm, has files of one, and whatever else tests and
//! benchmarks install.
//!
//! That machine is a throw-away host; what runs on it is this very program.

use crate::Test;
use crate::farm::{PAIR, drover};
use crate::site::Site;
use anyhow::{Result, ensure};
use std::fs;
use throwaway::{Checkout, Host};

/// Not for every day, for want of time.
pub(crate) const TESTS: &[Test] = &[("tests_run_where_a_farm_stands", second)];

/// Where they look for their ground.
const GROUND: &str = concat!(env!("CARGO_TARGET_TMPDIR"), "/throwaway");
/// A ground of its own has to be on a disk; what was fetched for the other serves here, too.
const SCRIPT: &str = "mount --bind /run/second GROUND; mount --bind /run/mirrors GROUND/mirror";

fn second(site: &Site) -> Result<()> {
    let checkout = Checkout::of(env!("CARGO_MANIFEST_DIR"))?;
    let own = site.ground.join("second");
    fs::create_dir_all(own.join("mirror"))?;
    let options = site.options_on("bookworm")?;
    let options = options.share(&own, "/run/second").share(site.ground.join("mirror"), "/run/mirrors");
    let host = Host::boot(&site.ground, "second", checkout.show(options))?;
    checkout.lay(&host)?;
    host.shell(&SCRIPT.replace("GROUND", GROUND))?;
    drover(&host, &["run", PAIR, "--only", "host/*", "--only", "bootstrap/debian-bookworm-amd64/*"])?.ok()?;
    host.shell("apt-get -qy install --no-install-recommends ninja-build")?;
    let ended = host.run(&["/run/bin/throwaway", "--exact", "apt_installs_from_the_mirror"])?.ok()?;
    ensure!(ended.stdout.contains("1 passed; 0 failed"), "{}", ended.stdout);
    ensure!(!ended.stdout.contains("making the mirror"), "it is another mirror: {}", ended.stdout);
    // It was made there, as it is here.
    ensure!(ended.stdout.contains("making the root file system"), "{}", ended.stdout);
    drop(host);
    fs::remove_dir_all(&own)?;
    Ok(())
}
