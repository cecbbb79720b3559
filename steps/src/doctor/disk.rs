//! Disk space where the farm, the base systems and Drover's own cache are kept. What a plan's containers are going to take
//! is asked by `Storage`; this is what is free, and whether it is next to nothing.

use super::{Finding, Patient};
use anyhow::{Context, Result};
use drover_engine::Cx;
use rustix::fs::statvfs;
use std::path::Path;

/// Less than this is little for logs and downloaded packages, in MiB.
const LITTLE: u64 = 1024;
/// With less than this nothing can be done, in MiB.
const NOTHING: u64 = 64;

pub(super) fn look(_cx: &Cx, patient: &Patient<'_>) -> Result<Vec<Finding>> {
    let state = patient.state.map(|state| state.path().to_owned());
    let places = [Some(patient.farm.storage.clone()), Some(patient.farm.lxc_cache.clone()), state];
    places.into_iter().flatten().map(|place| Ok(judge(&place, free(&place)?))).collect()
}

/// How much is free where `place` is or would be, in MiB.
fn free(place: &Path) -> Result<u64> {
    let existing = place.ancestors().find(|path| path.exists()).unwrap_or(Path::new("/"));
    let data = statvfs(existing).with_context(|| format!("cannot look at `{}`", existing.display()))?;
    Ok(data.f_bavail.saturating_mul(data.f_frsize) >> 20)
}

fn judge(place: &Path, free: u64) -> Finding {
    let place = place.display();
    let found = format!("{free} MiB are free at {place}");
    let mend = format!("make room: `df -h {place}`, and `drover herd` shows what the containers take");
    match free {
        ..NOTHING => Finding::red("disk", found, mend),
        NOTHING..LITTLE => Finding::amber("disk", found, mend),
        _ => Finding::green("disk", found),
    }
}

#[cfg(test)]
mod tests {
    use super::super::Level;
    use super::*;

    #[test]
    fn next_to_nothing_is_in_the_way_and_little_is_told() {
        let level = |free| judge(Path::new("/srv/libvirt"), free).level;
        assert_eq!([0, 63].map(level), [Level::Red; 2]);
        assert_eq!([64, 1023].map(level), [Level::Amber; 2]);
        assert_eq!(level(1024), Level::Green);
        assert!(free(Path::new("/no/such/place")).is_ok_and(|free| free > 0));
    }
}
