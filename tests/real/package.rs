//! The package that `make deb` makes, on each release that it is for: installed by dpkg alone, and gone when it is purged.
//!
//! It knows no farm: the systems are base systems that another test has made.

use anyhow::{Result, ensure};
use std::path::PathBuf;
use std::process::Command;
use throwaway::Host;

/// Releases that a package made on bookworm is for.
const RELEASES: &[&str] = &["bookworm", "trixie", "forky"];
/// Where a system finds it.
const PACKAGE: &str = "/root/drover.deb";

/// Makes the package, as `make deb` does.
pub(crate) fn made() -> Result<PathBuf> {
    let directory = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("package");
    std::fs::create_dir_all(&directory)?;
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/packaging/deb.sh");
    let ended = Command::new(script).arg(env!("CARGO_BIN_EXE_drover")).arg(&directory).output()?;
    ensure!(ended.status.success(), "{script}: {}", String::from_utf8_lossy(&ended.stderr));
    let name = concat!("drover_", env!("CARGO_PKG_VERSION"), "_amd64.deb");
    Ok(directory.join(name))
}

/// Installs it in a system of `release` at `root` in the host, uses it, and takes it away.
pub(crate) fn installs(host: &Host, root: &str, release: &str) -> Result<()> {
    if !RELEASES.contains(&release) {
        return Ok(());
    }
    std::fs::copy(made()?, host.path(format!("{root}{PACKAGE}")))?;
    host.shell(&format!(
        "inside() {{ chroot {root} \"$@\"; }}
        inside find / -xdev ! -path '/var/*' ! -path '/run/*' ! -path '/root/*' ! -path '/proc/*' | sort >/tmp/before
        inside dpkg --install {PACKAGE}
        inside drover --version
        inside drover steps DefineDomain | grep -q 'DefineDomain'
        inside drover graph /usr/share/drover/plans/debian-pair.ron | grep -q await-ssh
        zcat {root}/usr/share/man/man1/drover-run.1.gz | grep -q '^.TH'
        test -s {root}/usr/share/doc/drover/steps/DefineDomain.txt
        inside systemd-analyze verify --man=no drover.service
        test -L {root}/etc/systemd/system/multi-user.target.wants/drover.service
        inside dpkg --verify drover
        inside dpkg --purge drover
        inside find / -xdev ! -path '/var/*' ! -path '/run/*' ! -path '/root/*' ! -path '/proc/*' | sort >/tmp/after
        diff /tmp/before /tmp/after"
    ))?;
    println!("    {release}: the package comes and goes");
    Ok(())
}
