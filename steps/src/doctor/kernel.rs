//! What the kernel lets us do: namespaces, device nodes, control groups. Proved by doing it, where that leaves nothing.

use super::{Finding, Patient};
use crate::host::cgroups;
use anyhow::{Context, Result};
use drover_engine::{Cmd, Cx};

pub(super) fn look(cx: &Cx, _patient: &Patient<'_>) -> Result<Vec<Finding>> {
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").context("which kernel is it?")?;
    let kernel = format!("Linux {}", release.trim());
    Ok(vec![namespaces(cx, &kernel)?, devices(cx)?, control_groups()?])
}

/// Containers and every command in a rootfs need them.
fn namespaces(cx: &Cx, kernel: &str) -> Result<Finding> {
    let tried = cx.probe(
        &Cmd::new("unshare").args(["--mount", "--pid", "--net", "--ipc", "--uts", "--fork", "true"]),
    )?;
    Ok(match tried.status.success() {
        true => Finding::green("kernel", format!("{kernel}, with namespaces")),
        false => Finding::red(
            "kernel",
            format!("{kernel} makes no namespaces for us: {}", tried.stderr.trim()),
            "run it as root, on a machine or in a container that may (CAP_SYS_ADMIN)",
        ),
    })
}

/// Systems hold device nodes.
fn devices(cx: &Cx) -> Result<Finding> {
    let place = tempfile::tempdir_in("/var/tmp").context("make a temporary directory")?;
    let tried = cx.probe(&Cmd::new("mknod").arg(place.path().join("null")).args(["c", "1", "3"]))?;
    Ok(match tried.status.success() {
        true => Finding::green("device nodes", "can be made"),
        false => Finding::red(
            "device nodes",
            format!("cannot be made: {}", tried.stderr.trim()),
            "run it as root, on a machine or in a container that may (CAP_MKNOD)",
        ),
    })
}

fn control_groups() -> Result<Finding> {
    Ok(match cgroups::require_any() {
        Err(error) => {
            let text = format!("{error:#}");
            let (found, mend) = text.split_once(": `").unwrap_or((&text, "see the message"));
            Finding::red("control groups", found, mend.trim_end_matches('`'))
        }
        Ok(()) if cgroups::is_hybrid()? => Finding::amber(
            "control groups",
            "both generations are mounted, in which libvirt cannot start containers",
            "nothing: the step `LibvirtLxc` starts its daemon without version 2 in sight",
        ),
        Ok(()) if cgroups::is_pure()? => {
            let lacking = cgroups::without_version_1()?;
            let found = match lacking.is_empty() {
                true => "version 2".to_owned(),
                false => format!(
                    "version 2; the kernel has no version 1 of {}, which Debian 8 and CentOS 7 would want",
                    lacking.join(" and ")
                ),
            };
            Finding::green("control groups", found)
        }
        Ok(()) => Finding::green("control groups", "version 1"),
    })
}
