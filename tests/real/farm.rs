//! What the real tests do with a farm: build it, prove it from outside, look at what it became.

use crate::site::Site;
use anyhow::{Context, Result, ensure};
use std::collections::BTreeMap;
use std::path::Path;
use throwaway::{Finished, Host, Running, Tree};

/// The plan that the tests build.
pub(crate) const PAIR: &str = "/run/farm/plans/debian-pair.ron";
/// Its containers, and what their processors call themselves.
pub(crate) const CONTAINERS: [(&str, &str); 2] =
    [("jenkins-debian12-amd64", "x86_64"), ("jenkins-debian12-arm64", "aarch64")];

/// Runs drover to its end; how it ends is for the caller to judge.
pub(crate) fn drover(host: &Host, arguments: &[&str]) -> Result<Finished> {
    host.run(&[&["drover"], arguments].concat())
}

/// Starts drover.
pub(crate) fn start(host: &Host, arguments: &[&str]) -> Result<Running> {
    host.spawn(&[&["drover"], arguments].concat())
}

/// How each node ended in the last run, by its id.
pub(crate) fn outcomes(host: &Host) -> Result<BTreeMap<String, String>> {
    let mut ended = BTreeMap::new();
    for event in events(host)? {
        if let (Some(node), Some(outcome)) = (event["node"].as_str(), event["outcome"]["outcome"].as_str()) {
            ended.insert(node.to_owned(), outcome.to_owned());
        }
    }
    Ok(ended)
}

/// The events of the last run. A line that is not complete yet is left out.
pub(crate) fn events(host: &Host) -> Result<Vec<serde_json::Value>> {
    let runs = host.path("/var/lib/drover/runs");
    let mut names: Vec<_> =
        std::fs::read_dir(&runs).context("there are no runs")?.collect::<Result<_, _>>()?;
    names.sort_by_key(std::fs::DirEntry::file_name);
    let Some(last) = names.last() else { return Ok(Vec::new()) };
    let text = std::fs::read_to_string(last.path().join("events.jsonl")).unwrap_or_default();
    Ok(text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect())
}

/// Proves that a container answers ssh by its name, with the variables it was sent, without asking drover.
pub(crate) fn answers(host: &Host, container: &str, machine: &str) -> Result<()> {
    let answer = host.shell(&format!(
        "SENT=through ssh -i /home/abuild/.ssh/id_rsa -o BatchMode=yes -o StrictHostKeyChecking=no \
         -o UserKnownHostsFile=/dev/null -o ConnectTimeout=20 -o SendEnv='*' abuild@{container} \
         'uname -m; echo $SENT; hostname; for tool in sudo vim mc 7z pigz pbzip2 git; do command -v $tool; done'"
    ))?;
    let lines: Vec<_> = answer.lines().collect();
    ensure!(lines[..3.min(lines.len())] == [machine, "through", container], "{container} answers: {answer}");
    ensure!(lines.len() == 10, "{container} lacks tools: {answer}");
    Ok(())
}

/// What a container answers to a command by ssh, without asking drover.
pub(crate) fn asked(host: &Host, container: &str, command: &str) -> Result<String> {
    host.shell(&format!(
        "ssh -i /home/abuild/.ssh/id_rsa -o BatchMode=yes -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null \
         -o LogLevel=ERROR abuild@{container} '{command}'"
    ))
}

/// Proves that nothing of drover runs or is mounted any more.
pub(crate) fn left_nothing(host: &Host) -> Result<()> {
    let processes = host.shell("cat /proc/[0-9]*/comm 2>/dev/null || true")?;
    ensure!(!processes.lines().any(|name| name == "drover"), "drover still runs:\n{processes}");
    let marked =
        host.shell("grep -lazZ '^DROVER_' /proc/[0-9]*/environ 2>/dev/null | tr '\\0' '\\n' || true")?;
    ensure!(marked.trim().is_empty(), "processes of drover are left: {marked}");
    let mounts = host.read("/proc/1/mountinfo")?;
    let ours = |line: &&str| {
        ["/srv/libvirt", "/var/cache/lxc", "/var/lib/drover"].iter().any(|path| line.contains(path))
    };
    let left: Vec<_> = mounts.lines().filter(ours).collect();
    ensure!(left.is_empty(), "mounts are left: {left:?}");
    Ok(())
}

/// What a farm is when it is done: its containers' root file systems, its domains, the host's files.
pub(crate) struct World {
    parts: BTreeMap<String, Tree>,
    texts: BTreeMap<String, String>,
}

impl World {
    /// Looks at it.
    pub(crate) fn of(host: &Host) -> Result<Self> {
        let (mut parts, mut texts) = (BTreeMap::new(), BTreeMap::new());
        for (container, _) in CONTAINERS {
            let rootfs = host.path(format!("/srv/libvirt/rootfs/{container}/rootfs"));
            parts.insert(container.to_owned(), Tree::of(rootfs, differs_anyway)?);
            let xml = host.read(&format!("/etc/libvirt/lxc/{container}.xml"))?;
            texts.insert(format!("domain {container}"), without_uuid(&xml));
        }
        for base in ["rootfs-bookworm-amd64", "rootfs-bookworm-arm64"] {
            let tree = Tree::of(host.path(format!("/var/cache/lxc/debian/{base}")), differs_anyway)?;
            ensure!(!tree.is_empty(), "there is no {base}");
            parts.insert(base.to_owned(), tree);
        }
        for file in
            ["/etc/hosts", "/etc/default/lxc-net", "/etc/lxc/dnsmasq.conf", "/etc/lxc/dnsmasq-hosts.conf"]
        {
            // Reservations stand in the order in which they were made.
            let text = host.read(file)?;
            let mut lines: Vec<_> = text.lines().collect();
            if file.ends_with("dnsmasq-hosts.conf") {
                lines.sort_unstable();
            }
            texts.insert(file.to_owned(), lines.join("\n"));
        }
        Ok(Self { parts, texts })
    }

    /// What differs between two of them, one line each.
    pub(crate) fn differences(&self, other: &Self) -> Vec<String> {
        let mut lines = Vec::new();
        for (name, tree) in &self.parts {
            let Some(its) = other.parts.get(name) else { continue };
            lines.extend(tree.differences(its).iter().map(|line| format!("{name}: {line}")));
        }
        for (name, text) in &self.texts {
            if other.texts.get(name) != Some(text) {
                lines.push(format!("{name}:\n{text}\n--- is\n{:?}", other.texts.get(name)));
            }
        }
        lines
    }
}

/// A path of a root file system whose content is different each time that it is made, whatever makes it: keys and ids,
/// time stamps in logs and caches, and what a booted system writes.
fn differs_anyway(path: &Path) -> bool {
    const WHOLE: &[&str] =
        &["proc", "sys", "dev", "run", "tmp", "var/log", "var/tmp", "var/lib/systemd", "var/lib/dhcp"];
    const FILES: &[&str] = &[
        "etc/machine-id",
        "var/lib/dbus/machine-id",
        "var/cache/ldconfig/aux-cache",
        "etc/resolv.conf",
        // dpkg's copy of what its status was before: that depends on where it was interrupted.
        "var/lib/dpkg/status-old",
    ];
    let text = path.to_string_lossy();
    const BEGINNINGS: &[&str] = &["etc/ssh/ssh_host_", "var/backups/"];
    WHOLE.contains(&&*text)
        || FILES.contains(&&*text)
        || BEGINNINGS.iter().any(|beginning| text.starts_with(beginning))
}

fn without_uuid(xml: &str) -> String {
    xml.lines().filter(|line| !line.contains("<uuid>")).fold(String::new(), |text, line| text + line + "\n")
}

impl Site {
    /// A host in which the pair was built, just started: nothing of it runs.
    pub(crate) fn built(&self, name: &str) -> Result<Host> {
        let options = self.options()?;
        let layer = self.ground.existing_layer("pair", &options);
        let layer = layer.context("the test that builds the pair has to run first")?;
        Host::boot(&self.ground, name, options.over(&layer))
    }

    /// Proves that the farm in `host` is the one that an uninterrupted run made.
    pub(crate) fn compare(&self, host: &Host) -> Result<()> {
        let lines = World::of(&self.built("reference")?)?.differences(&World::of(host)?);
        ensure!(
            lines.is_empty(),
            "the farm differs from that of an uninterrupted run:\n{}",
            lines.join("\n")
        );
        Ok(())
    }
}
