//! The mirror that throw-away hosts install from: packages that apt fetched, signed anew, served on loopback.
//!
//! It is made once and kept on the ground until what it is made of changes.

mod farm;
mod maker;

pub(crate) use farm::SERVER;
pub use farm::{EVERY, FARM};

use crate::cleanup::remove_tree;
use crate::fault::{Fault, Rule};
use crate::{Ground, Host, inside, server};
use anyhow::{Context, Result};
use maker::Maker;
use sha2::{Digest, Sha256};
use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// What the mirror has, beside all dependencies.
#[derive(Clone, Copy, Debug)]
pub struct Contents<'a> {
    /// The releases that the mirror has.
    pub releases: &'a [Release<'a>],
}

/// What the mirror has of a release, for systems that are empty at first.
#[derive(Clone, Copy, Debug)]
pub struct Release<'a> {
    /// Its code name.
    pub code_name: &'a str,
    /// Lists of packages; apt's patterns are welcome.
    pub packages: &'a [&'a [&'a str]],
    /// The architectures that the systems have, as Debian calls them.
    pub architectures: &'a [&'a str],
    /// The same lists for hosts, which have this machine's architecture.
    pub hosts: &'a [&'a [&'a str]],
    /// Packages of the release's backports, for hosts as well.
    pub backports: &'a [&'a str],
}

/// A mirror on disk.
#[derive(Clone, Debug)]
pub struct Mirror {
    dir: PathBuf,
}

/// How hosts call it.
const NAME: &str = "mirror.throwaway";
/// Where a host sees its tree, and the directory that it is controlled by.
const TREE: &str = "/run/mirror";
const CONTROL: &str = "/run/mirror-control";
const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

impl Mirror {
    /// The mirror with these contents, made if it is not there yet: for that, packages are fetched from the mirror that
    /// this machine's own sources name.
    ///
    /// # Errors
    /// When it has to be made and cannot be.
    pub fn prepare(ground: &Ground, contents: &Contents) -> Result<Self> {
        let all = ground.join("mirror");
        fs::create_dir_all(&all)?;
        let name = fingerprint(contents);
        let dir = all.join(&name);
        if !dir.exists() {
            println!("    making the mirror `{name}`; its packages are fetched once and kept below target/");
            let partial = all.join(format!("{name}.partial"));
            remove_tree(&partial)?;
            Maker { ground, contents, name: format!("{name}.partial"), dir: partial.clone() }.make()?;
            fs::rename(&partial, &dir)?;
        }
        Ok(Self { dir })
    }

    /// Its name on the ground, which changes with its contents.
    pub(crate) fn name(&self) -> String {
        self.dir.file_name().unwrap_or_default().to_string_lossy().into_owned()
    }

    /// Where its files are.
    pub(crate) fn tree(&self) -> PathBuf {
        self.dir.join("tree")
    }

    /// Makes `host`, which sees the tree, install from this mirror and nothing else, and starts to serve it there.
    pub(crate) fn attach(&self, host: &Host) -> Result<()> {
        host.shell(
            "rm -rf /etc/apt/sources.list /etc/apt/sources.list.d /etc/apt/preferences.d/* /var/lib/apt/lists; \
             mkdir -p /etc/apt/sources.list.d /var/lib/apt/lists/partial",
        )?;
        host.write("/etc/apt/sources.list.d/debian.sources", &sources(&host.release()?))?;
        host.write(
            "/etc/apt/apt.conf.d/99throwaway",
            &format!("Acquire::http::Proxy::{NAME} \"DIRECT\";\n"),
        )?;
        let hosts = host.read("/etc/hosts").unwrap_or_default();
        if !hosts.contains(NAME) {
            host.write("/etc/hosts", &format!("{hosts}\n127.0.0.1 {NAME}\n"))?;
        }
        fs::create_dir_all(host.path("/usr/share/keyrings"))?;
        fs::copy(self.dir.join("key.gpg"), host.path(KEYRING))?;
        self.serve(host)
    }

    fn serve(&self, host: &Host) -> Result<()> {
        fs::create_dir_all(host.path(CONTROL))?;
        // It ends with the host, and must not end before.
        let mut server = host.command(&["setsid", "/run/bin/throwaway", inside::SERVE, TREE, CONTROL]);
        let mut server =
            server.stdin(std::process::Stdio::null()).spawn().context("the mirror cannot be started")?;
        let until = Instant::now() + Duration::from_secs(60);
        while Instant::now() < until && server.try_wait()?.is_none() {
            if host.path(CONTROL).join(server::READY).exists() {
                return Ok(());
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        anyhow::bail!("the mirror does not listen")
    }
}

/// Faults and the access log of the mirror in a host.
impl Host {
    /// From now on, the first `times` requests for files whose path holds `pattern` meet `fault`; other faults as before.
    ///
    /// # Errors
    /// When the mirror cannot be told.
    pub fn break_mirror(&self, fault: Fault, times: u32, pattern: &str) -> Result<()> {
        let file = format!("{CONTROL}/{}", server::FAULTS);
        let before = self.read(&file).unwrap_or_default();
        self.write(&file, &format!("{before}{}\n", Rule { fault, times, pattern: pattern.to_owned() }))
    }

    /// From now on the mirror works.
    ///
    /// # Errors
    /// When the mirror cannot be told.
    pub fn mend_mirror(&self) -> Result<()> {
        self.write(&format!("{CONTROL}/{}", server::FAULTS), "")
    }

    /// The requests that the mirror has answered, as `STATUS BYTES PATH [FAULT]`.
    ///
    /// # Errors
    /// When its log cannot be read.
    pub fn mirror_log(&self) -> Result<Vec<String>> {
        let text = self.read(&format!("{CONTROL}/{}", server::ACCESS)).unwrap_or_default();
        Ok(text.lines().map(str::to_owned).collect())
    }
}

fn sources(release: &str) -> String {
    let part = |tree: &str, suites: &str| {
        format!(
            "Types: deb\nURIs: http://{NAME}/{tree}\nSuites: {suites}\nComponents: main\nSigned-By: {KEYRING}\n"
        )
    };
    let security = part("debian-security", &format!("{release}-security"));
    format!("{}\n{security}", part("debian", &format!("{release} {release}-updates")))
}

/// A name that changes with what the mirror is made of, and with nothing of this machine's.
fn fingerprint(contents: &Contents) -> String {
    const FORMAT: u32 = 6;
    short_digest(&format!("{FORMAT} {contents:?}"))
}

/// A short name for a text.
pub(crate) fn short_digest(text: &str) -> String {
    Sha256::digest(text).iter().take(6).map(|byte| format!("{byte:02x}")).collect()
}
