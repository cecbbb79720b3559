//! What a container's files say about the system in it, whatever made it. Reads only.

use anyhow::{Context, Result};
use drover_engine::{Kind, Rootfs};

/// The system in a root file system, as far as its files tell.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct System {
    /// As it presents itself: `Debian GNU/Linux 12 (bookworm)`.
    pub pretty_name: Option<String>,
    /// The release's code name: `bookworm`.
    pub code_name: Option<String>,
    /// Debian's name of its architecture, which dpkg has.
    pub architecture: Option<String>,
}

/// Reads what system is in `rootfs`.
///
/// # Errors
/// When its files are there and cannot be read.
pub fn system(rootfs: &Rootfs) -> Result<System> {
    let release = rootfs.read("etc/os-release")?.unwrap_or_default();
    let packages = rootfs.read("var/lib/dpkg/status")?.unwrap_or_default();
    Ok(System {
        pretty_name: variable(&release, "PRETTY_NAME"),
        code_name: code_name(&release),
        architecture: dpkg_architecture(&packages),
    })
}

/// The public ssh host keys in `rootfs`, each a line `TYPE KEY COMMENT`.
///
/// # Errors
/// When they are there and cannot be read.
pub fn host_keys(rootfs: &Rootfs) -> Result<Vec<String>> {
    let names = rootfs.list("etc/ssh")?.unwrap_or_default();
    let mut keys = Vec::new();
    for name in names.iter().filter(|name| name.starts_with("ssh_host_") && name.ends_with("_key.pub")) {
        let path = format!("etc/ssh/{name}");
        if rootfs.entry(&path)?.is_some_and(|entry| entry.kind == Kind::File) {
            keys.push(rootfs.read(&path)?.with_context(|| format!("`{path}` was here a moment ago"))?);
        }
    }
    Ok(keys.into_iter().map(|key| key.trim().to_owned()).collect())
}

/// The last value of `key` in an LXC configuration.
pub fn config_value<'a>(config: &'a str, key: &str) -> Option<&'a str> {
    let mut pairs = config.lines().filter_map(|line| line.split_once('='));
    pairs.rfind(|(name, _)| name.trim() == key).map(|(_, value)| value.trim())
}

/// The code name in an os-release file: old ones have it in words, `8 (jessie)`; CentOS has numbers instead.
fn code_name(release: &str) -> Option<String> {
    let in_words = || {
        let version = variable(release, "VERSION")?;
        let (_, name) = version.split_once('(')?;
        Some(name.split([')', ' ']).next()?.to_lowercase())
    };
    let named = variable(release, "VERSION_CODENAME");
    match variable(release, "ID").as_deref() {
        Some("centos") => variable(release, "VERSION_ID"),
        _ => named.or_else(in_words),
    }
}

/// A variable of an os-release file.
fn variable(text: &str, name: &str) -> Option<String> {
    let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='))?;
    Some(value.trim().trim_matches(['"', '\'']).to_owned())
}

/// The architecture of dpkg itself, which is that of the system.
fn dpkg_architecture(status: &str) -> Option<String> {
    let paragraph = status.split("\n\n").find(|text| text.lines().any(|line| line == "Package: dpkg"))?;
    paragraph.lines().find_map(|line| line.strip_prefix("Architecture: ")).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_systems_write() {
        let release = "PRETTY_NAME=\"Debian GNU/Linux 12 (bookworm)\"\nVERSION_CODENAME=bookworm\n";
        assert_eq!(variable(release, "PRETTY_NAME").as_deref(), Some("Debian GNU/Linux 12 (bookworm)"));
        assert_eq!(variable(release, "VERSION_CODENAME").as_deref(), Some("bookworm"));
        assert_eq!(variable(release, "VERSION"), None);
        assert_eq!(code_name(release).as_deref(), Some("bookworm"));
        let jessie = "ID=debian\nVERSION_ID=\"8\"\nVERSION=\"8 (jessie)\"\n";
        assert_eq!(code_name(jessie).as_deref(), Some("jessie"));
        let centos = "ID=\"centos\"\nVERSION=\"7 (Core)\"\nVERSION_ID=\"7\"\n";
        assert_eq!(code_name(centos).as_deref(), Some("7"));
        let status = "Package: adduser\nArchitecture: all\n\nPackage: dpkg\nStatus: x\nArchitecture: arm64\n";
        assert_eq!(dpkg_architecture(status).as_deref(), Some("arm64"));
        let config = "# lxc.arch = no\nlxc.arch = amd64\nlxc.uts.name=a\nlxc.arch = arm64\n";
        assert_eq!(config_value(config, "lxc.arch"), Some("arm64"));
        assert_eq!(config_value(config, "lxc.uts.name"), Some("a"));
    }
}
