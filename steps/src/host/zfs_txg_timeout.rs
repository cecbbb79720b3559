//! # ZfsTxgTimeout
//! Lets ZFS write its transactions less often, so that small writes do not become large ones.
//!
//! The document: "Server was set up with ZFS as recommended, and lots of I/O hit the disk even when application writes are
//! negligible … reduce the frequency of TXG sync from modern default of 5 sec to conservative 30-60 sec".
//!
//! ```ron
//! ZfsTxgTimeout(seconds: 30)
//! ```
//! **Changes** the parameter `zfs_txg_timeout` of the kernel's module, now, and
//! `/etc/modprobe.d/drover-zfs-txg-timeout.conf`, for the next time that the module is loaded. A crash loses the writes of
//! so many seconds.
//!
//! A host without ZFS is an error that says how to get it. (`TmpfsWorkspace` is the document's other way.)
//!
//! **To take it back** remove the file, and write 5 to `/sys/module/zfs/parameters/zfs_txg_timeout`.

use super::privilege;
use crate::farm::Farm;
use crate::resource::PACKAGES;
use crate::step::FarmStep;
use anyhow::{Context, Result, ensure};
use drover_engine::{Check, Cx, HostFile, Need, Resource};
use serde::Deserialize;
use std::fs;
use std::path::Path;

/// What the module uses now.
const PARAMETER: &str = "/sys/module/zfs/parameters/zfs_txg_timeout";
/// What it will use.
const FILE: &str = "/etc/modprobe.d/drover-zfs-txg-timeout.conf";

/// See the manual above.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ZfsTxgTimeout {
    /// How long a transaction group is kept open at the most.
    pub seconds: u32,
}

impl ZfsTxgTimeout {
    fn text(&self) -> String {
        format!("# Drover: plan's step ZfsTxgTimeout\noptions zfs zfs_txg_timeout={}\n", self.seconds)
    }
}

/// Complains if the kernel has no ZFS.
pub(super) fn require_zfs(what: &str) -> Result<()> {
    ensure!(
        Path::new("/sys/module/zfs").is_dir(),
        "{what} needs ZFS, which this kernel has not loaded: `modprobe zfs`; if there is no such module, add `contrib` to \
         the host's apt sources and `apt-get install linux-headers-$(dpkg --print-architecture) zfs-dkms zfsutils-linux`"
    );
    Ok(())
}

impl FarmStep<Farm> for ZfsTxgTimeout {
    fn title(&self, _at: &Farm) -> String {
        format!("let ZFS write every {} s", self.seconds)
    }

    fn shape(&self, _at: &mut Farm) -> Result<()> {
        ensure!(
            (1..=300).contains(&self.seconds),
            "{} s are no sensible time between writes: ZFS's own is 5, the document says 30 to 60",
            self.seconds
        );
        Ok(())
    }

    fn needs(&self, _at: &Farm) -> Vec<Need> {
        vec![Need::IfAny(Resource::new(PACKAGES, "host"))]
    }

    fn precondition(&self, _cx: &Cx, _at: &Farm) -> Result<()> {
        privilege::require_root()?;
        require_zfs("ZfsTxgTimeout")
    }

    fn check(&self, _cx: &Cx, _at: &Farm) -> Result<Check> {
        let lasting = Check::text(FILE, HostFile::new(FILE).read()?.as_deref(), &self.text());
        lasting.and_then(|| {
            let now = match fs::read_to_string(PARAMETER) {
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                    return Ok(Check::needed("the module zfs is not loaded"));
                }
                now => now.with_context(|| format!("read `{PARAMETER}`"))?,
            };
            let now = now.trim();
            Ok(match now == self.seconds.to_string() {
                true => Check::Satisfied,
                false => Check::needed(format!("`{PARAMETER}` is {now}, not {}", self.seconds)),
            })
        })
    }

    fn apply(&self, _cx: &Cx, _at: &Farm) -> Result<()> {
        HostFile::new(FILE).write(&self.text())?;
        fs::write(PARAMETER, self.seconds.to_string()).with_context(|| format!("write `{PARAMETER}`"))
    }
}
