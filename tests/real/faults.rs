//! A mirror that fails while a base system is made from it: what passes is tried again, what stays is reported, and no
//! fault ever gets into a system.

use crate::Test;
use crate::contract::run;
use crate::farm::{PAIR, drover, left_nothing};
use crate::site::Site;
use anyhow::{Result, ensure};
use throwaway::{Fault, Host};

pub(crate) const TESTS: &[Test] = &[("a_mirror_that_fails_never_breaks_a_base_system", faults)];

const BASE: &str = "bootstrap/debian-bookworm-amd64/*";

/// A fault that stays, in which file, and how it is told: the code that the run ends with, and words of the log.
const STAYING: [(Fault, &str, i32, &str); 6] = [
    (Fault::Missing, "/hostname_", 1, "404"),
    (Fault::Unavailable, "/hostname_", 1, "503"),
    (Fault::WrongSize, "/hostname_", 1, "File has unexpected size"),
    (Fault::WrongHash, "/hostname_", 1, "Hash Sum mismatch"),
    (Fault::WrongHash, "/bookworm/main/binary-amd64/Packages", 1, "Hash Sum mismatch"),
    // Signatures are looked at before anything is done.
    (Fault::WrongHash, "/bookworm/InRelease", 7, "is not signed as it should be"),
];

/// A fault that passes, in which file: each is met once in one and the same run.
const PASSING: [(Fault, &str); 6] = [
    (Fault::Unavailable, "/bash_"),
    (Fault::Missing, "/dash_"),
    (Fault::WrongSize, "/grep_"),
    (Fault::WrongHash, "/sed_"),
    (Fault::ClosedHalfway, "/tar_"),
    (Fault::Stalled, "/gzip_"),
];

fn faults(site: &Site) -> Result<()> {
    let host = site.built("faults")?;
    run(&host, PAIR, "host/*")?;
    for (fault, file, code, told) in STAYING {
        println!("    {fault} for good: {file}");
        forget_base(&host)?;
        host.break_mirror(fault, u32::MAX, file)?;
        reported(&host, code, told)?;
        host.mend_mirror()?;
    }
    forget_base(&host)?;
    for (fault, file) in PASSING {
        host.break_mirror(fault, 1, file)?;
    }
    println!("    all that passes, once each");
    run(&host, PAIR, BASE)?;
    let log = host.mirror_log()?;
    for (fault, file) in PASSING {
        let met = |line: &&String| line.contains(file) && line.ends_with(&fault.to_string());
        ensure!(log.iter().any(|line| met(&line)), "`{fault}` was not met for `{file}`");
    }
    site.compare(&host)
}

/// As if the base system had never been made, nor a package fetched.
fn forget_base(host: &Host) -> Result<()> {
    host.shell("rm -rf /var/cache/lxc/debian/*amd64* /var/lib/drover/cache")?;
    Ok(())
}

/// The run fails, says why, and leaves neither a base system nor a process.
fn reported(host: &Host, code: i32, told: &str) -> Result<()> {
    let failed = drover(host, &["run", PAIR, "--only", BASE])?.exits(code)?;
    let log = failed.stderr.lines().find_map(|line| line.trim().strip_prefix("log "));
    let log = log.map_or(Ok(String::new()), |log| host.read(log.trim()))?;
    let is_told = failed.stderr.contains(told) || log.contains(told);
    ensure!(is_told, "`{told}` is not told:\n{}\n--- the log\n{log}", failed.stderr);
    let bases = host.path("/var/cache/lxc/debian/rootfs-bookworm-amd64");
    ensure!(!bases.exists(), "there is a base system");
    left_nothing(host)
}
