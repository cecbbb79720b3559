//! From nothing to a farm, with one command; and again, with nothing left to do.

use crate::Test;
use crate::farm::{CONTAINERS, PAIR, answers, drover, left_nothing, outcomes, start};
use crate::site::Site;
use anyhow::{Result, ensure};

pub(crate) const TESTS: &[Test] = &[("the_pair_is_built_boots_and_answers", built)];

fn built(site: &Site) -> Result<()> {
    let host = site.fresh_host("pair")?;
    let first = start(&host, &["run", PAIR])?.wait_aloud()?;
    println!("    first run: {:.1} s", first.elapsed.as_secs_f64());
    first.ok()?;
    left_nothing(&host)?;
    for (container, machine) in CONTAINERS {
        answers(&host, container, machine)?;
    }
    let second = drover(&host, &["run", PAIR])?.ok()?;
    println!("    second run: {:.1} s", second.elapsed.as_secs_f64());
    let changed: Vec<_> =
        outcomes(&host)?.into_iter().filter(|(_, outcome)| outcome != "unchanged").collect();
    ensure!(changed.is_empty(), "the second run changed something: {changed:?}");
    drover(&host, &["plan", "--detailed-exitcode", PAIR])?.exits(0)?;
    host.into_layer(&site.ground, "pair")?;
    Ok(())
}
