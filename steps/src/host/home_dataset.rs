//! The home of the account that builds as a dataset of ZFS, and the rule for its deduplication.
//!
//! It does not know whose home it is.

use super::memory;
use super::zfs::Dataset;
use crate::size::Size;
use anyhow::{Result, ensure};
use drover_engine::Cx;
use serde::{Deserialize, Serialize};
use std::path::Path;

/// A dataset of ZFS for the home.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HomeDataset {
    /// Its name.
    pub dataset: String,
    /// How much it may hold.
    pub quota: Option<Size>,
    /// Whether what is there twice is kept once.
    #[serde(default)]
    pub deduplicate: bool,
}

impl HomeDataset {
    /// It, mounted at `path`.
    pub(super) fn dataset(&self, path: &Path) -> Dataset<'_> {
        let mut properties = vec![("compression", "lz4".to_owned())];
        properties.push(("dedup", if self.deduplicate { "on" } else { "off" }.to_owned()));
        properties.extend(self.quota.map(|quota| ("quota", (quota.kib << 10).to_string())));
        Dataset { name: &self.dataset, path: path.to_owned(), properties }
    }

    /// Complains if there is no such pool, or too little memory.
    pub(super) fn precondition(&self, cx: &Cx, path: &Path) -> Result<()> {
        let pool = self.dataset(path).precondition(cx, "a home on ZFS")?;
        if self.deduplicate { ensure_memory(self.quota, pool, memory::total()? << 10) } else { Ok(()) }
    }
}

/// Memory for each byte that is deduplicated, as a share: 5 GiB for a TiB.
const DEDUPLICATION: (u64, u64) = (5, 1024);

/// Complains if the host has too little memory, of `memory` bytes, for what a dataset in a pool of `pool` bytes may hold.
fn ensure_memory(quota: Option<Size>, pool: u64, memory: u64) -> Result<()> {
    let (part, whole) = DEDUPLICATION;
    let holds = quota.map_or(pool, |quota| quota.kib << 10).min(pool);
    let (takes, may_take) = (holds / whole * part, memory / 2);
    ensure!(
        takes <= may_take,
        "deduplication takes {} MiB of memory for {} GiB of data (5 GiB for each TiB), and may take half of this host's, {} MiB: \
         leave it out, or `quota: \"{} GiB\"`",
        takes >> 20,
        holds >> 30,
        may_take >> 20,
        (may_take / part * whole) >> 30
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn deduplication_is_for_those_who_have_the_memory() {
        let (gib, tib) = (1 << 30, 1 << 40);
        assert!(ensure_memory(None, tib, 10 * gib).is_ok());
        let error = ensure_memory(None, 4 * tib, 16 * gib).expect_err("20 GiB of 8").to_string();
        assert!(
            error.contains("20480 MiB of memory for 4096 GiB") && error.contains("quota: \"1638 GiB\""),
            "{error}"
        );
        let quota = Some(Size { kib: 1638 << 20 });
        assert!(ensure_memory(quota, 4 * tib, 16 * gib).is_ok(), "what is proposed is accepted");
    }
}
