//! Whether the mirror of each base system can be reached, and hosts it.

use super::{Finding, Patient};
use crate::bootstrap::{Hosting, hosting};
use crate::release::Distribution;
use anyhow::Result;
use drover_engine::Cx;
use std::collections::BTreeMap;

pub(super) fn look(cx: &Cx, patient: &Patient<'_>) -> Result<Vec<Finding>> {
    let bases: BTreeMap<_, _> = patient
        .containers
        .iter()
        .map(|container| (container.base.id(), &container.base))
        // Where other distributions are from is known to their templates alone.
        .filter(|(_, base)| base.release.distribution != Distribution::Other)
        .collect();
    let judged = bases.into_iter().map(|(id, base)| {
        let about = format!("mirror {id}");
        match hosting(cx, base) {
            Ok(Hosting::Hosted(said)) => Finding::green(about, said),
            Ok(Hosting::Unasked(why)) => Finding::amber(
                about,
                why,
                "see whether the network and the mirror's name work; or name another mirror in the plan",
            ),
            Ok(Hosting::Unproved(why)) => Finding::amber(
                about,
                why,
                "nothing, if the plan's host has `HostPackages`, which installs it; else `apt-get install gpgv \
                 debian-archive-keyring`",
            ),
            Err(error) => {
                Finding::red(about, format!("{error:#}"), "name a mirror that hosts it in the plan")
            }
        }
    });
    Ok(judged.collect())
}
