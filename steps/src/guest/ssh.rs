//! ssh to a container, by its name, as the account that builds, with its key and the host keys that the container's files
//! hold. It does not know what is done there.

use crate::container::Container;
use crate::survey;
use anyhow::{Context, Result};
use drover_engine::{Cmd, Rootfs};
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use tempfile::NamedTempFile;

/// What it takes to reach a container.
pub(super) struct Ssh<'a> {
    at: &'a Container,
    /// A known_hosts file of our own: nobody else's is read or changed.
    known_hosts: NamedTempFile,
}

impl<'a> Ssh<'a> {
    /// To this container; `None` while its files hold no host keys.
    ///
    /// # Errors
    /// When they cannot be read.
    pub(super) fn to(at: &'a Container) -> Result<Option<Self>> {
        let Some(rootfs) = Rootfs::find(at.rootfs())? else { return Ok(None) };
        let keys = survey::host_keys(&rootfs)?;
        if keys.is_empty() {
            return Ok(None);
        }
        let mut known_hosts = NamedTempFile::new().context("cannot make a temporary file")?;
        for key in keys {
            writeln!(known_hosts, "{} {key}", at.name)?;
        }
        // The account has to read it.
        known_hosts.as_file().set_permissions(std::fs::Permissions::from_mode(0o644))?;
        Ok(Some(Self { at, known_hosts }))
    }

    /// The command that runs `remote` there, with these variables, which are sent along; through `wrapper`, if that is
    /// not empty.
    pub(super) fn command<'v>(
        &self,
        wrapper: &[&str],
        variables: impl IntoIterator<Item = (&'v str, &'v str)>,
        remote: &str,
    ) -> Cmd {
        let account = &self.at.farm.account;
        let variables = variables.into_iter().map(|(name, value)| format!("{name}={value}"));
        let known_hosts = format!("UserKnownHostsFile={}", self.known_hosts.path().display());
        let options = [
            "SendEnv=*",
            "BatchMode=yes",
            "ConnectTimeout=30",
            "ServerAliveInterval=30",
            "StrictHostKeyChecking=yes",
            "GlobalKnownHostsFile=/dev/null",
            &known_hosts,
            "UpdateHostKeys=no",
            "IdentitiesOnly=yes",
        ];
        Cmd::new("setpriv")
            .args(["--reuid", &account.uid.to_string(), "--regid", &account.gid.to_string()])
            .args(["--init-groups", "--reset-env", "env", "LC_ALL=C"])
            .args(variables)
            .args(wrapper)
            .arg("ssh")
            // Neither the account's configuration nor the host's says what is meant by a container's name.
            .args(["-F", "none"])
            .args(options.iter().flat_map(|option| ["-o", *option]))
            .arg("-i")
            .arg(self.at.farm.key())
            .arg(format!("{}@{}", account.user, self.at.name))
            .arg(remote)
    }
}
