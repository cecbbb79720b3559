//! What the configuration of packages leaves behind when it is killed, where it would stand in the way of the next one.

use crate::dpkg::{Package, Status};
use anyhow::Result;
use drover_engine::{Kind, Rootfs};

/// What packages write when they are configured for the first time and then take for granted, be it only half of it.
struct First {
    package: &'static str,
    files: &'static [&'static str],
    /// Directories of which all that is no directory was written by the package.
    filled: &'static [&'static str],
}

/// Those that are known to, wherever they are installed.
const FIRST: &[First] = &[First {
    // Would compare the list line by line, which takes minutes, and not link the certificates that it links already.
    package: "ca-certificates",
    files: &["/etc/ca-certificates.conf", "/etc/ca-certificates.conf.dpkg-new"],
    filled: &["/etc/ssl/certs"],
}];

/// Those whose files are theirs alone while a system is made, and may be somebody else's later: each is written only where it is
/// not there yet, and takes more than one system call (postinst scripts of bullseye to forky).
const FIRST_OF_ALL: &[First] = &[
    First::of("base-passwd", &["/etc/passwd", "/etc/group"]),
    First::of("base-files", &["/root/.profile", "/root/.bashrc", "/etc/profile", "/etc/motd"]),
    First::of("libc-bin", &["/etc/nsswitch.conf"]),
    First::of("netbase", &["/etc/hosts", "/etc/networks", "/etc/sysctl.d/bindv6only.conf"]),
    First::of("ifupdown", &["/etc/network/interfaces"]),
    First::of("locales", &["/etc/locale.gen"]),
    First::of(
        "openssh-server",
        &[
            "/etc/ssh/ssh_host_rsa_key",
            "/etc/ssh/ssh_host_rsa_key.pub",
            "/etc/ssh/ssh_host_ecdsa_key",
            "/etc/ssh/ssh_host_ecdsa_key.pub",
            "/etc/ssh/ssh_host_ed25519_key",
            "/etc/ssh/ssh_host_ed25519_key.pub",
        ],
    ),
];

impl First {
    const fn of(package: &'static str, files: &'static [&'static str]) -> Self {
        Self { package, files, filled: &[] }
    }
}

/// Clears the way for configuring the packages of a system that is being made, after it was killed or not. Nobody may be at work
/// there.
///
/// # Errors
/// When something cannot be read or removed.
pub fn clear_unfinished(rootfs: &Rootfs) -> Result<()> {
    clear(rootfs)?;
    forget(rootfs, FIRST_OF_ALL)
}

/// Clears the way for configuring packages, after it was killed or not. Nobody may be at work there.
///
/// # Errors
/// When something cannot be read or removed.
pub fn clear(rootfs: &Rootfs) -> Result<()> {
    remove_locks(rootfs)?;
    forget(rootfs, FIRST)
}

/// Removes what was written by those packages whose first configuration was killed.
fn forget(rootfs: &Rootfs, packages: &[First]) -> Result<()> {
    let status = Status::of(rootfs)?;
    for first in packages {
        if status.package(first.package).is_some_and(is_first_time) {
            first.files.iter().try_for_each(|file| rootfs.remove(file))?;
            first.filled.iter().try_for_each(|directory| empty(rootfs, directory))?;
        }
    }
    Ok(())
}

fn is_first_time(package: &Package) -> bool {
    package.state == "half-configured" && package.config_version.is_empty()
}

fn empty(rootfs: &Rootfs, directory: &str) -> Result<()> {
    for name in rootfs.list(directory)?.unwrap_or_default() {
        let path = format!("{directory}/{name}");
        if rootfs.entry(&path)?.is_some_and(|entry| entry.kind != Kind::Directory) {
            rootfs.remove(&path)?;
        }
    }
    Ok(())
}

/// The packages that were killed while their configuration files were put in place: dpkg would never record those that are
/// there already, so these packages are to be unpacked once more.
///
/// # Errors
/// When something cannot be read.
pub fn half_placed(rootfs: &Rootfs) -> Result<Vec<String>> {
    let status = Status::of(rootfs)?;
    let mut names = Vec::new();
    for (name, package) in status.packages().filter(|(_, package)| package.state == "unpacked") {
        for file in &package.new_conffiles {
            if rootfs.entry(&format!("{file}.dpkg-new"))?.is_none() {
                names.push(name.to_owned());
                break;
            }
        }
    }
    names.sort();
    Ok(names)
}

/// Removes the locks of `useradd` and the like. They name a process, and in a new world of processes another has its
/// number, so that the lock would be honoured for ever.
fn remove_locks(rootfs: &Rootfs) -> Result<()> {
    for name in rootfs.list("/etc")?.unwrap_or_default() {
        if is_lock(&name) {
            rootfs.remove(&format!("/etc/{name}"))?;
        }
    }
    Ok(())
}

fn is_lock(name: &str) -> bool {
    let files = ["passwd", "group", "shadow", "gshadow", "subuid", "subgid"];
    let Some((file, end)) = name.split_once('.') else { return false };
    files.contains(&file)
        && (end == "lock" || (!end.is_empty() && end.bytes().all(|byte| byte.is_ascii_digit())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_by_a_killed_first_configuration_is_written_anew() -> Result<()> {
        let root = tempfile::tempdir()?;
        let write = |name: &str, text: &str| {
            let path = root.path().join(name);
            std::fs::create_dir_all(path.parent().expect("it is below the root"))?;
            std::fs::write(path, text)
        };
        let status = |state: &str, more: &str| {
            let package = |name: &str| {
                format!(
                    "Package: {name}\nStatus: install ok {state}\nArchitecture: all\nVersion: 2\n{more}\n"
                )
            };
            write("var/lib/dpkg/status", &(package("netbase") + &package("openssh-server")))
        };
        let files = ["etc/hosts", "etc/networks", "etc/ssh/ssh_host_rsa_key"];
        let left = || files.iter().filter(|file| root.path().join(file).exists()).count();
        files.iter().try_for_each(|file| write(file, ""))?;
        write("etc/ssh/sshd_config", "")?;
        let rootfs = Rootfs::open(root.path())?;
        for (state, more) in [("installed", ""), ("unpacked", ""), ("half-configured", "Config-Version: 1\n")]
        {
            status(state, more)?;
            clear_unfinished(&rootfs)?;
            assert_eq!(left(), files.len(), "{state} {more}");
        }
        status("half-configured", "")?;
        clear(&rootfs)?;
        assert_eq!(left(), files.len(), "of a system that is made already");
        clear_unfinished(&rootfs)?;
        assert_eq!(left(), 0);
        assert!(root.path().join("etc/ssh/sshd_config").exists());
        Ok(())
    }

    #[test]
    fn only_locks_are_taken_for_locks() {
        assert!(["passwd.lock", "gshadow.lock", "group.4711"].iter().all(|name| is_lock(name)));
        assert!(
            ["passwd", "passwd-", "passwd.org", "shadow.", "dpkg.lock"].iter().all(|name| !is_lock(name))
        );
    }
}
