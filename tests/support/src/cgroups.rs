//! Control groups of a throw-away host: one group of its own in every hierarchy, which it sees as the root.
//!
//! So what libvirt leaves in there never meets this machine's own groups, and can be swept as a whole.

use anyhow::{Context, Result};
use rustix::mount::{MountFlags, mount};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// A hierarchy of control groups that this machine uses.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Hierarchy {
    /// Its mount options, such as `cpu,cpuacct` or `none,name=systemd`; empty for version 2.
    options: String,
    /// The directory it is mounted on, such as `cpu,cpuacct`, `systemd`, or nothing for version 2.
    directory: String,
}

/// The hierarchies to give to a host: those of version 1 if there are any, else that of version 2.
///
/// Hybrid machines also have a version 2 without controllers, which libvirt does not get on with.
fn hierarchies() -> Result<Vec<Hierarchy>> {
    let text = fs::read_to_string("/proc/self/cgroup").context("`/proc/self/cgroup` cannot be read")?;
    let mut found: Vec<_> =
        text.lines().filter_map(|line| line.split(':').nth(1)).filter_map(version_1).collect();
    if found.is_empty() {
        found.push(Hierarchy { options: String::new(), directory: String::new() });
    }
    Ok(found)
}

fn version_1(controllers: &str) -> Option<Hierarchy> {
    let (options, directory) = match controllers.strip_prefix("name=") {
        _ if controllers.is_empty() => return None,
        Some(name) => (format!("none,{controllers}"), name.to_owned()),
        None => (controllers.to_owned(), controllers.to_owned()),
    };
    Some(Hierarchy { options, directory })
}

impl Hierarchy {
    fn mount_below(&self, directory: &Path) -> Result<PathBuf> {
        let target = directory.join(&self.directory);
        fs::create_dir_all(&target)?;
        let kind = if self.options.is_empty() { "cgroup2" } else { "cgroup" };
        let options = std::ffi::CString::new(self.options.clone())?;
        mount("cgroup", &target, kind, MountFlags::empty(), Some(options.as_c_str()))
            .with_context(|| format!("{kind} `{}` cannot be mounted", self.options))?;
        Ok(target)
    }
}

/// Puts this process into the group `name` of every hierarchy, making it. For this the hierarchies are mounted below
/// `scratch`, in this process's own mount namespace.
pub(crate) fn enter(name: &str, scratch: &Path) -> Result<()> {
    for hierarchy in hierarchies()? {
        let root = hierarchy.mount_below(scratch)?;
        let group = root.join(name);
        // A test that was killed could not sweep.
        remove(&group).with_context(|| format!("control group `{}` cannot be removed", group.display()))?;
        fs::create_dir(&group)?;
        inherit_cpuset(&root, &group)?;
        join(&group)?;
    }
    Ok(())
}

fn join(group: &Path) -> Result<()> {
    fs::write(group.join("cgroup.procs"), "0")
        .with_context(|| format!("`{}` cannot be entered", group.display()))
}

/// A new cpuset is empty, and no process may enter an empty one.
fn inherit_cpuset(root: &Path, group: &Path) -> Result<()> {
    for file in ["cpuset.cpus", "cpuset.mems"] {
        if root.join("cpuset.memory_migrate").exists() {
            fs::write(group.join(file), fs::read_to_string(root.join(file))?)?;
        }
    }
    Ok(())
}

/// Mounts the hierarchies where a system looks for them; they begin at this process's own groups.
pub(crate) fn mount_at(directory: &Path) -> Result<()> {
    for hierarchy in hierarchies()? {
        let target = hierarchy.mount_below(directory)?;
        if hierarchy.options.is_empty() {
            // Version 2 allows processes in leaves only, and the host wants to make groups of its own.
            let leaf = target.join("init");
            fs::create_dir_all(&leaf)?;
            join(&leaf)?;
        }
        if hierarchy.directory.contains(',') {
            for controller in hierarchy.directory.split(',') {
                std::os::unix::fs::symlink(&target, directory.join(controller))?;
            }
        }
    }
    Ok(())
}

/// Removes the group `name` and all below it from every hierarchy; its processes have to be gone.
pub(crate) fn sweep(name: &str, scratch: &Path) -> Result<()> {
    for hierarchy in hierarchies()? {
        let group = hierarchy.mount_below(scratch)?.join(name);
        remove(&group).with_context(|| format!("control group `{}` cannot be removed", group.display()))?;
    }
    Ok(())
}

fn remove(group: &Path) -> io::Result<()> {
    let entries = match fs::read_dir(group) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        entries => entries?,
    };
    for entry in entries {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            remove(&entry.path())?;
        }
    }
    fs::remove_dir(group)
}
