//! How much memory the host has: the one reader of `/proc/meminfo`. It does not know what it is for.

use anyhow::{Context, Result};
use std::fs;

/// The host's memory, in KiB.
pub(super) fn total() -> Result<u64> {
    let text = fs::read_to_string("/proc/meminfo").context("cannot read `/proc/meminfo`")?;
    let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"));
    let number = line.and_then(|line| line.split_whitespace().next()).and_then(|number| number.parse().ok());
    number.context("`/proc/meminfo` does not say how much memory there is")
}
