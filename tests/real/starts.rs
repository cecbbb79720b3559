//! How much of what is done for emulated systems runs natively, counted by the kernel and not by Drover.

use anyhow::Result;
use std::path::{Path, PathBuf};
use throwaway::{Host, Opens, files_below};

/// A count of started programs that goes on until it is asked for.
pub(crate) struct Starts {
    natives: Opens,
    emulated: Opens,
}

impl Starts {
    /// Counts how often a native program is started for the emulated systems of a host, and how often their emulator.
    pub(crate) fn of(host: &Host, emulator: &str) -> Result<Self> {
        let natives = host.path("/var/lib/drover/cache/assist");
        let emulator = host.path(emulator);
        let natives = Opens::of(move || programs(&natives))?;
        Ok(Self { natives, emulated: Opens::of(move || vec![emulator.clone()])? })
    }

    /// Says it, and returns the part that was native.
    pub(crate) fn end(self) -> Result<f64> {
        let (natives, emulated) = (self.natives.end()?, self.emulated.end()?);
        let share = natives as f64 / (natives + emulated) as f64;
        println!(
            "    counted by the kernel: {natives} native programs, {emulated} emulated: {:.1} %",
            share * 100.0
        );
        Ok(share)
    }
}

/// The native programs that are offered to emulated systems.
fn programs(natives: &Path) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(natives) else { return Vec::new() };
    entries.flatten().flat_map(|base| files_below(&base.path().join("programs"))).collect()
}
