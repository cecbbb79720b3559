//! Whether the mirror of each base system can be reached, and hosts it.

use super::{Finding, Patient};
use crate::bootstrap::{Hosting, hosting};
use crate::mirror_seen;
use crate::release::Distribution;
use anyhow::Result;
use drover_engine::Cx;
use std::collections::{BTreeMap, BTreeSet};

pub(super) fn look(cx: &Cx, patient: &Patient<'_>) -> Result<Vec<Finding>> {
    let bases: BTreeMap<_, _> = patient
        .containers
        .iter()
        .map(|container| (container.base.id(), &container.base))
        // Where other distributions are from is known to their templates alone.
        .filter(|(_, base)| base.release.distribution != Distribution::Other)
        .collect();
    let mut unseen = BTreeSet::new();
    for base in bases.values().filter(|base| base.release.keys.is_some()) {
        // That none can be found is said below.
        unseen.extend(mirror_seen::obstacles(cx, base).unwrap_or_default());
    }
    let unseen = unseen.into_iter().map(|why| {
        let mend = "let what serves it listen at all addresses, as apt-cacher-ng does by default; or name a mirror that \
                    containers reach in the plan, as in `mirror: \"http://...\"`";
        Finding::amber("mirror of containers", why, mend)
    });
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
            Ok(Hosting::Believed(why)) => Finding::amber(
                about,
                why,
                "sign the mirror, and name its key in the source's `Signed-By`, or in the plan, as in \
                 `keyring: \"/usr/share/keyrings/company.gpg\"`",
            ),
            Err(error) => {
                Finding::red(about, format!("{error:#}"), "name a mirror that hosts it in the plan")
            }
        }
    });
    Ok(judged.chain(unseen).collect())
}
