//! How the host mounts its control groups, which libvirt-LXC is particular about.

use anyhow::{Context, Result, bail};

/// Where hybrid hosts mount version 2.
pub(super) const UNIFIED: &str = "/sys/fs/cgroup/unified";

/// What libvirt-LXC asks of version 1.
const CONTROLLERS: [&str; 3] = ["cpuacct", "devices", "memory"];

/// Whether version 2 is mounted beside version 1.
pub(crate) fn is_hybrid() -> Result<bool> {
    let mounts = mounts("self")?;
    Ok(has_version_1(&mounts) && has_unified(&mounts))
}

/// Whether version 2 is mounted alone.
pub(crate) fn is_pure() -> Result<bool> {
    let mounts = mounts("self")?;
    Ok(!has_version_1(&mounts) && mounts.lines().any(|line| kind(line) == Some("cgroup2")))
}

/// Whether version 2 is among the mounts of this process.
pub(super) fn sees_unified(process: u32) -> Result<bool> {
    Ok(has_unified(&mounts(&process.to_string())?))
}

/// Complains if libvirt-LXC will not find the controllers that it needs.
pub(crate) fn require_any() -> Result<()> {
    let mounts = mounts("self")?;
    if !has_version_1(&mounts) {
        return match mounts.lines().any(|line| kind(line) == Some("cgroup2")) {
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
    Ok(has_version_1(&mounts("self")?))
}

fn mounts(process: &str) -> Result<String> {
    let path = format!("/proc/{process}/mounts");
    std::fs::read_to_string(&path).with_context(|| format!("cannot read `{path}`"))
}

fn kind(line: &str) -> Option<&str> {
    line.split(' ').nth(2)
}

fn has_version_1(mounts: &str) -> bool {
    mounts.lines().any(|line| kind(line) == Some("cgroup"))
}

fn has_unified(mounts: &str) -> bool {
    let is_it = |line: &str| kind(line) == Some("cgroup2") && line.split(' ').nth(1) == Some(UNIFIED);
    mounts.lines().any(is_it)
}

fn has_controller(mounts: &str, name: &str) -> bool {
    let options = |line: &str| line.split(' ').nth(3).map(str::to_owned).unwrap_or_default();
    mounts.lines().any(|line| kind(line) == Some("cgroup") && options(line).split(',').any(|it| it == name))
}

#[cfg(test)]
mod tests {
    use super::{has_controller, has_unified, has_version_1};

    const HYBRID: &str = "tmpfs /sys/fs/cgroup tmpfs rw,mode=755 0 0\n\
        cgroup /sys/fs/cgroup/cpu,cpuacct cgroup rw,relatime,cpu,cpuacct 0 0\n\
        cgroup2 /sys/fs/cgroup/unified cgroup2 rw,relatime 0 0\n";

    #[test]
    fn a_hybrid_host_is_recognised() {
        assert!(has_version_1(HYBRID) && has_unified(HYBRID));
        assert!(has_controller(HYBRID, "cpuacct") && !has_controller(HYBRID, "memory"));
    }

    #[test]
    fn a_pure_host_is_not_hybrid() {
        let pure = "cgroup2 /sys/fs/cgroup cgroup2 rw,nosuid 0 0\n";
        assert!(!has_version_1(pure) && !has_unified(pure));
    }
}
