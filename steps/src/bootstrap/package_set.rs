//! Which packages a base system is asked to have; what they depend on is for `resolve` to find.

use crate::release::Release;

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

/// What debootstrap counts among the required packages beyond their priority: systems of bookworm are merged from the start,
/// and a package says so.
pub(super) fn also_required(release: &Release) -> &'static [&'static str] {
    release.quirks.also_required
}

/// What debootstrap never takes as a dependency: the conversion of a system that is not merged.
pub(super) fn never(release: &Release) -> &'static [&'static str] {
    release.quirks.never_required
}
