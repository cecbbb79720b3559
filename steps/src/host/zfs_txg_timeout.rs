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
//! **To take it back** `drover destroy`; or remove the file, and write 5 to `/sys/module/zfs/parameters/zfs_txg_timeout`.

use crate::farm::Farm;
use crate::ours;
use crate::resource::PACKAGES;
use crate::step::FarmStep;
use anyhow::{Context, Result, ensure};
use drover_engine::{Check, Cx, HostFile, Inputs, Need, Resource, Undo};
use serde::{Deserialize, Serialize};
use std::fs;
use std::path::Path;

/// What the module uses now.
const PARAMETER: &str = "/sys/module/zfs/parameters/zfs_txg_timeout";
/// What it will use.
const FILE: &str = "/etc/modprobe.d/drover-zfs-txg-timeout.conf";

/// See the manual above.
#[derive(Debug, Serialize, Deserialize)]
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

    fn facts(&self, _at: &Farm) -> Inputs {
        Inputs::default()
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

    fn precondition(&self, _cx: &Cx, at: &Farm) -> Result<()> {
        require_zfs("ZfsTxgTimeout").map_err(at.until_installed(&["zfs-dkms", "zfsutils-linux"]))
    }

    fn check(&self, _cx: &Cx, _at: &Farm) -> Result<Check> {
        let file = HostFile::new(FILE);
        let lasting = Check::text(FILE, file.mode_there()?, file.read()?.as_deref(), &self.text());
        lasting.and_then(|| {
            Ok(match parameter()? {
                None => Check::needed("the module zfs is not loaded"),
                Some(now) if now == self.seconds.to_string() => Check::Satisfied,
                Some(now) => Check::needed(format!("`{PARAMETER}` is {now}, not {}", self.seconds)),
            })
        })
    }

    fn apply(&self, cx: &Cx, _at: &Farm) -> Result<()> {
        if let (None, Some(now)) = (cx.remembered(BEFORE)?, parameter()?) {
            cx.remember(BEFORE, &now)?;
        }
        ours::write(cx, &HostFile::new(FILE), &self.text())?;
        set_parameter(&self.seconds.to_string())
    }

    fn undo<'a>(&'a self, cx: &Cx, _at: &'a Farm) -> Result<Undo<'a>> {
        let undo = ours::undo(cx, HostFile::new(FILE))?;
        let (Some(before), Some(now)) = (cx.remembered(BEFORE)?, parameter()?) else { return Ok(undo) };
        if now == before || now != self.seconds.to_string() {
            return Ok(undo);
        }
        Ok(undo.act(format!("let ZFS write every {before} s again"), move |_| set_parameter(&before)))
    }
}

/// Remembered: what the module used before.
const BEFORE: &str = "before";

/// What the module uses now; `None` if it is not loaded.
fn parameter() -> Result<Option<String>> {
    match fs::read_to_string(PARAMETER) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        now => Ok(Some(now.with_context(|| format!("read `{PARAMETER}`"))?.trim().to_owned())),
    }
}

fn set_parameter(seconds: &str) -> Result<()> {
    fs::write(PARAMETER, seconds).with_context(|| format!("write `{PARAMETER}`"))
}
