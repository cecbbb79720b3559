//! Which packages a base system is asked to have; what they depend on is for `resolve` to find.

use crate::package_index::PackageIndex;
use crate::release::Release;
use std::collections::BTreeSet;

/// The list of the template `lxc-debian`, but for the DHCP client: what a container needs beyond a minimal system.
const TEMPLATE: &[&str] = &[
    "init",
    "ifupdown",
    "locales",
    "ca-certificates",
    "dialog",
    "netbase",
    "net-tools",
    "iproute2",
    "openssh-server",
    "apt-transport-https",
];

/// What `debootstrap --variant=minbase` adds to the packages of priority `required`.
const MINBASE: &[&str] = &["apt"];

/// What a base system is asked to have, beyond its required packages.
pub(super) fn asked(release: &Release) -> impl Iterator<Item = &'static str> {
    MINBASE.iter().chain(TEMPLATE).copied().chain([release.quirks.dhcp_client])
}

/// The names of the required packages, and of all, by an index.
pub(super) fn names(release: &Release, index: &PackageIndex<'_>) -> (BTreeSet<String>, BTreeSet<String>) {
    let never = release.quirks.never_required;
    let by_priority = index.packages().filter(|package| package.field("Priority") == Some("required"));
    let by_priority = by_priority.filter_map(|package| package.field("Package"));
    let also = release.quirks.also_required.iter().copied();
    let required = index.closure(by_priority.chain(also), never);
    let mut all = index.closure(asked(release), never);
    all.extend(required.iter().cloned());
    (required, all)
}
