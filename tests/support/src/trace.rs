//! What this machine looks like from outside of all throw-away hosts: for proving that the tests changed nothing.

use crate::Tree;
use anyhow::{Result, bail};
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

/// What tests might leave behind on this machine.
#[derive(Debug)]
pub struct Trace {
    mounts: BTreeSet<String>,
    interfaces: BTreeSet<String>,
    groups: BTreeSet<String>,
    etc: Tree,
    packages: Tree,
}

impl Trace {
    /// Takes it.
    ///
    /// # Errors
    /// When something cannot be read.
    pub fn take() -> Result<Self> {
        Ok(Self {
            mounts: mounts()?,
            interfaces: names(Path::new("/sys/class/net"))?,
            groups: groups()?,
            etc: Tree::of("/etc", |_| false)?,
            packages: Tree::of("/var/lib/dpkg", |below| below.starts_with("info"))?,
        })
    }

    /// Compares it with how this machine is now.
    ///
    /// # Errors
    /// When something is left, or processes of hosts are: says what.
    pub fn compare(&self) -> Result<()> {
        let now = Self::take()?;
        let mut left = Vec::new();
        left.extend(news("mount", &self.mounts, &now.mounts));
        left.extend(news("network interface", &self.interfaces, &now.interfaces));
        left.extend(news("control group", &self.groups, &now.groups));
        left.extend(self.etc.differences(&now.etc).iter().map(|line| format!("/etc: {line}")));
        left.extend(
            self.packages.differences(&now.packages).iter().map(|line| format!("/var/lib/dpkg: {line}")),
        );
        if left.is_empty() { Ok(()) } else { bail!("this machine is not as it was:\n{}", left.join("\n")) }
    }
}

fn news(kind: &str, before: &BTreeSet<String>, now: &BTreeSet<String>) -> Vec<String> {
    now.difference(before).map(|name| format!("{kind} {name}")).collect()
}

fn mounts() -> Result<BTreeSet<String>> {
    let text = fs::read_to_string("/proc/self/mountinfo")?;
    Ok(text.lines().filter_map(|line| line.split(' ').nth(4)).map(str::to_owned).collect())
}

fn names(directory: &Path) -> Result<BTreeSet<String>> {
    let mut names = BTreeSet::new();
    for entry in fs::read_dir(directory)? {
        names.insert(entry?.file_name().to_string_lossy().into_owned());
    }
    Ok(names)
}

/// Control groups of hosts, in hierarchies that are mounted here.
fn groups() -> Result<BTreeSet<String>> {
    let mut found = BTreeSet::new();
    let root = Path::new("/sys/fs/cgroup");
    if !root.exists() {
        return Ok(found);
    }
    for hierarchy in names(root)? {
        let path = root.join(&hierarchy);
        if path.is_dir() {
            found.extend(names(&path)?.into_iter().filter(|name| name.starts_with("drover-")));
        }
    }
    Ok(found)
}
