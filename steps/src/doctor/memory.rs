//! Memory, against what a farm of so many containers takes.

use super::{Finding, Patient};
use anyhow::{Context, Result};
use drover_engine::Cx;

/// What building takes at once, whatever the plan: apt, dpkg and an emulator, in MiB.
const BUILDING: u64 = 512;
/// What an idle container takes: an init, its journal, sshd, under an emulator, in MiB.
const PER_CONTAINER: u64 = 64;

pub(super) fn look(_cx: &Cx, patient: &Patient<'_>) -> Result<Vec<Finding>> {
    let text = std::fs::read_to_string("/proc/meminfo").context("how much memory is there?")?;
    Ok(vec![judge(&text, patient.containers.len() as u64)?])
}

fn judge(meminfo: &str, containers: u64) -> Result<Finding> {
    let available = mebibytes(meminfo, "MemAvailable")?;
    let swap = mebibytes(meminfo, "SwapFree")?;
    let wanted = BUILDING + containers * PER_CONTAINER;
    let found = format!(
        "{available} MiB of memory and {swap} MiB of swap space are free; building and running {containers} containers \
         takes about {wanted} MiB"
    );
    Ok(if available >= wanted {
        Finding::green("memory", found)
    } else if available + swap >= BUILDING {
        Finding::amber("memory", found, "add memory or swap space, or run fewer steps at once: `--jobs 1`")
    } else {
        Finding::red("memory", found, "add memory or swap space")
    })
}

fn mebibytes(meminfo: &str, name: &str) -> Result<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    let number = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
    Ok(number.with_context(|| format!("/proc/meminfo does not tell `{name}`"))? / 1024)
}

#[cfg(test)]
mod tests {
    use super::super::Level;
    use super::judge;

    #[test]
    fn what_is_free_is_held_against_what_is_wanted() {
        let level = |available: u64, swap: u64, containers| {
            let text = format!(
                "MemTotal: 9 kB\nMemAvailable:  {} kB\nSwapFree: {} kB\n",
                available * 1024,
                swap * 1024
            );
            judge(&text, containers).expect("both are told").level
        };
        assert_eq!(level(4000, 0, 9), Level::Green);
        assert_eq!(level(700, 0, 9), Level::Amber);
        assert_eq!(level(100, 500, 2), Level::Amber);
        assert_eq!(level(100, 100, 0), Level::Red);
        assert!(judge("MemTotal: 9 kB\n", 1).is_err());
    }
}
