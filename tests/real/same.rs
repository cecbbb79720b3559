//! Whether two systems are the same that were made in two ways. Every difference that there may be has a reason.

use anyhow::{Result, ensure};
use throwaway::{Host, Tree};

/// What may differ, by how its path begins, and why.
pub(crate) type Explained = &'static [(&'static str, &'static str)];

/// What differs each time that a system is made, whatever makes it.
pub(crate) const ANYWAY: Explained = &[
    ("etc/machine-id", "random"),
    ("etc/ssh/ssh_host_", "random"),
    ("var/log/", "time stamps"),
    ("var/cache/ldconfig/aux-cache", "inode numbers and times of the libraries"),
    ("var/lib/dpkg/status-old", "dpkg's copy of what was before: that depends on where it was interrupted"),
];

/// Where the base system of a release and an architecture is.
pub(crate) fn base(release: &str, arch: &str) -> String {
    format!("/var/cache/lxc/debian/rootfs-{release}-{arch}")
}

/// Proves that two systems, each somewhere in a host, are the same but for what is explained.
pub(crate) fn is_same(one: (&Host, &str), other: (&Host, &str), explained: Explained) -> Result<()> {
    let tree = |(host, path): (&Host, &str)| Tree::of(host.path(path), |_| false);
    let (its, ours) = (tree(one)?, tree(other)?);
    ensure!(its.len() > 5000, "`{}` has only {} files", one.1, its.len());
    let lines = its.differences(&ours);
    let is_explained =
        |line: &&String| explained.iter().any(|(path, why)| line.starts_with(path) && !why.is_empty());
    let unexplained: Vec<_> = lines.iter().filter(|line| !is_explained(line)).collect();
    ensure!(unexplained.is_empty(), "`{}` is not the same: {unexplained:#?}", other.1);
    println!("    {}: {} entries, {} of them different, all explained", other.1, its.len(), lines.len());
    Ok(())
}
