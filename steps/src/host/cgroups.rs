//! How the host mounts its control groups, which libvirt-LXC is particular about.

use crate::mounts::{self, Mounted};
use anyhow::{Context, Result, bail};
use std::path::Path;

/// Where hybrid hosts mount version 2.
pub(super) const UNIFIED: &str = "/sys/fs/cgroup/unified";

/// What libvirt-LXC asks of version 1.
const CONTROLLERS: [&str; 3] = ["cpuacct", "devices", "memory"];

/// Whether version 2 is mounted beside version 1.
pub(crate) fn is_hybrid() -> Result<bool> {
    let mounts = mounts::all()?;
    Ok(has_version_1(&mounts) && has_unified(&mounts))
}

/// Whether version 2 is mounted alone.
pub(crate) fn is_pure() -> Result<bool> {
    let mounts = mounts::all()?;
    Ok(!has_version_1(&mounts) && has_version_2(&mounts))
}

/// Whether version 2 is among the mounts of this process.
pub(super) fn sees_unified(process: u32) -> Result<bool> {
    Ok(has_unified(&mounts::of_process(process)?))
}

/// Complains if libvirt-LXC will not find the controllers that it needs.
pub(crate) fn require_any() -> Result<()> {
    let mounts = mounts::all()?;
    if !has_version_1(&mounts) {
        return match has_version_2(&mounts) {
            true => Ok(()),
            false => bail!("no cgroups are mounted: `mount -t cgroup2 cgroup2 /sys/fs/cgroup`"),
        };
    }
    match CONTROLLERS.into_iter().find(|controller| !has_controller(&mounts, controller)) {
        None => Ok(()),
        Some(name) => bail!(
            "the cgroup controller `{name}` is not mounted, libvirt-LXC needs it: \
            `mkdir -p /sys/fs/cgroup/{name} && mount -t cgroup -o {name} cgroup /sys/fs/cgroup/{name}`"
        ),
    }
}

/// Whether version 1 is mounted, which old systems need.
pub(crate) fn has_any_of_version_1() -> Result<bool> {
    Ok(has_version_1(&mounts::all()?))
}

/// Which of the controllers that old systems ask version 1 for the kernel has in version 2 alone, whatever it is told at boot:
/// Debian's of 6.12 and later has `memory` and `cpuset` so.
///
/// # Errors
/// When the kernel does not say what it has.
pub(crate) fn without_version_1() -> Result<Vec<&'static str>> {
    let read = |path: &str| std::fs::read_to_string(path).with_context(|| format!("cannot read `{path}`"));
    let release = read("/proc/sys/kernel/osrelease")?;
    let config = format!("/boot/config-{}", release.trim());
    let config = match std::fs::read_to_string(&config) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
        text => text.with_context(|| format!("cannot read `{config}`"))?,
    };
    Ok(lacking(&read("/proc/cgroups")?, &config))
}

/// The same, by `/proc/cgroups`, which lists what can be had in version 1, though not all kernels leave the others out, and by
/// the kernel's configuration, which may not be there.
fn lacking(listed: &str, config: &str) -> Vec<&'static str> {
    let all = [("memory", "# CONFIG_MEMCG_V1 is not set"), ("cpuset", "# CONFIG_CPUSETS_V1 is not set")];
    let is_listed = |name| listed.lines().any(|line| line.split_whitespace().next() == Some(name));
    let is_off = |option: &str| config.lines().any(|line| line == option);
    let lacking = all.into_iter().filter(|(name, option)| !is_listed(name) || is_off(option));
    lacking.map(|(name, _)| name).collect()
}

fn has_version_1(mounts: &[Mounted]) -> bool {
    mounts.iter().any(|mount| mount.kind == "cgroup")
}

fn has_version_2(mounts: &[Mounted]) -> bool {
    mounts.iter().any(|mount| mount.kind == "cgroup2")
}

fn has_unified(mounts: &[Mounted]) -> bool {
    mounts.iter().any(|mount| mount.kind == "cgroup2" && mount.point == Path::new(UNIFIED))
}

fn has_controller(mounts: &[Mounted], name: &str) -> bool {
    mounts.iter().any(|mount| mount.kind == "cgroup" && mount.options.iter().any(|option| option == name))
}

#[cfg(test)]
mod tests {
    use super::{has_controller, has_unified, has_version_1, lacking};
    use crate::mounts::parse;

    #[test]
    fn what_the_kernel_has_in_version_2_alone_is_found_in_either_place() {
        let listed = "#subsys_name\thierarchy\tnum_cgroups\tenabled\ncpuset\t0\t1\t1\nmemory\t0\t45\t1\n";
        assert!(lacking(listed, "").is_empty());
        assert!(lacking(listed, "CONFIG_MEMCG_V1=y\nCONFIG_CPUSETS_V1=y\n").is_empty());
        let debian = "CONFIG_MEMCG=y\n# CONFIG_MEMCG_V1 is not set\n# CONFIG_CPUSETS_V1 is not set\n";
        assert_eq!(lacking(listed, debian), ["memory", "cpuset"]);
        assert_eq!(lacking("#subsys_name\thierarchy\ncpu\t0\ncpuset\t0\n", ""), ["memory"]);
    }

    const HYBRID: &[u8] = b"1 0 0:1 / /sys/fs/cgroup rw - tmpfs tmpfs rw,mode=755\n\
        2 1 0:2 / /sys/fs/cgroup/cpu,cpuacct rw,relatime shared:3 - cgroup cgroup rw,cpu,cpuacct\n\
        3 1 0:3 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw\n";

    #[test]
    fn a_hybrid_host_is_recognised() {
        let mounts = parse(HYBRID);
        assert!(has_version_1(&mounts) && has_unified(&mounts));
        assert!(has_controller(&mounts, "cpuacct") && !has_controller(&mounts, "memory"));
    }

    #[test]
    fn a_pure_host_is_not_hybrid() {
        let pure = parse(b"1 0 0:1 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw\n");
        assert!(!has_version_1(&pure) && !has_unified(&pure));
    }
}
