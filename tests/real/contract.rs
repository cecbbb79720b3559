//! The contract of a step, proved on a node of a plan: looking changes nothing; needed, done, satisfied; again, and nothing
//! changes.
//!
//! It does not know any step.

use crate::farm::drover;
use anyhow::{Context, Result, ensure};
use std::collections::HashSet;
use throwaway::Host;

/// What a step says before it was ever done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fresh {
    /// That it is needed.
    Needed,
    /// Either: somebody else may have done it.
    Perhaps,
}

/// Proves the contract of the nodes of `plan` that match `node`.
pub(crate) fn keeps_contract(host: &Host, plan: &str, node: &str, fresh: Fresh) -> Result<()> {
    let before = trace(host)?;
    let planned = drover(host, &["plan", "--detailed-exitcode", "--only", node, plan])?;
    if fresh == Fresh::Needed {
        planned.exits(2).with_context(|| format!("`{node}` before it was done"))?;
    }
    let looked = trace(host)?;
    ensure!(before == looked, "looking at `{node}` changed: {}", difference(&before, &looked));
    run(host, plan, node)?;
    drover(host, &["plan", "--detailed-exitcode", "--only", node, plan])?
        .exits(0)
        .with_context(|| format!("`{node}` after a run"))?;
    let done = trace(host)?;
    run(host, plan, node)?;
    let again = trace(host)?;
    ensure!(done == again, "a second `{node}` changed: {}", difference(&done, &again));
    Ok(())
}

/// Runs the nodes that match; a failure is told with the log of the attempt.
pub(crate) fn run(host: &Host, plan: &str, nodes: &str) -> Result<()> {
    let ended = drover(host, &["run", "--only", nodes, plan])?.ok();
    let Err(error) = ended else { return Ok(()) };
    let logs =
        host.shell("cd /var/lib/drover/runs && find $(ls | tail -n 1) -name '*.log' -exec tail -n 200 {} +")?;
    Err(error.context(logs))
}

/// Every file that the steps could touch, with all that a change of it would change: the change time above all. What a
/// container that runs does is left out: to its own files, and to dnsmasq's leases; what the database of rpm notes of those
/// who read it; and what this machine's cargo does.
pub(crate) fn trace(host: &Host) -> Result<String> {
    host.shell(
        "as='%p %y %m %U:%G %s %T@ %C@ %l\\n'
        find /root -maxdepth 1 ! -name .cargo -printf \"$as\"
        for tree in /etc /home /srv /usr/sbin /var/cache/lxc /var/lib/misc /var/lib/dpkg /var/lib/binfmts /var/lib/lxc; do
            if test -e $tree; then
                find $tree -xdev -path '/srv/libvirt/rootfs/*/rootfs/*' -prune -o ! -name '*.leases' -printf \"$as\" | sort
            fi
        done
        for rootfs in /srv/libvirt/rootfs/*/rootfs; do
            name=${rootfs%/rootfs}; name=${name##*/}
            if test -d $rootfs && ! test -e /run/libvirt/lxc/$name.pid; then
                find $rootfs -xdev ! -name 'rpmdb.sqlite-*' -printf \"$as\" | sort
            fi
        done",
    )
}

/// What is in only one of two traces.
pub(crate) fn difference(before: &str, after: &str) -> String {
    let only = |one: &str, other: &str| {
        let others: HashSet<_> = other.lines().collect();
        one.lines().filter(|line| !others.contains(line)).collect::<Vec<_>>().join("\n")
    };
    format!("\n{}\n--- is now\n{}", only(before, after), only(after, before))
}
