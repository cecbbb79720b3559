//! `cargo bench --bench farm`: the project's plans against the document's own commands, side by side in one run: the pair,
//! and three of the nine architectures, by which the whole is judged; `-- pair` or `-- three` for one of them.
//!
//! Both start on a host that is prepared (packages, bridge, libvirt, account, key), with the same mirror on loopback, and
//! end when all containers answer ssh. Whole processes are timed, from outside. It does not know how either works.

use anyhow::{Context, Result};
use std::process::ExitCode;
use std::time::Duration;
use throwaway::mirror::{FARM as MIRRORED, Mirror};
use throwaway::{Ground, Host, HostOptions};

/// What is built both ways.
struct Farm {
    name: &'static str,
    plan: &'static str,
    /// The architectures that the plan is left with, if not all.
    settings: &'static [&'static str],
    architectures: &'static [&'static str],
}

const FARMS: [Farm; 2] = [
    Farm {
        name: "pair",
        plan: "/run/farm/plans/debian-pair.ron",
        settings: &[],
        architectures: &["amd64", "arm64"],
    },
    Farm {
        name: "three",
        plan: "/run/farm/plans/debian-multiarch.ron",
        settings: &["--set", "containers.0.arch=[amd64, arm64, s390x]"],
        architectures: &["amd64", "arm64", "s390x"],
    },
];

const DOCUMENT: &str = "/run/farm/document.sh";
/// The mirror's address, as the host's own sources name it.
const MIRROR: &str = "sed -n 's/^URIs: //p; s/^deb [^h]*\\(http[^ ]*\\).*/\\1/p' /etc/apt/sources.list /etc/apt/sources.list.d/* 2>/dev/null | head -n 1";

fn main() -> ExitCode {
    throwaway::serve_if_asked();
    match compare() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

fn compare() -> Result<()> {
    let ground = Ground::below(env!("CARGO_TARGET_TMPDIR"))?;
    let mirror = Mirror::prepare(&ground, &MIRRORED)?;
    let words: Vec<_> = std::env::args().collect();
    let is_named = |farm: &&Farm| words.iter().any(|word| word == farm.name);
    let named: Vec<_> = FARMS.iter().filter(is_named).collect();
    for farm in if named.is_empty() { FARMS.iter().collect() } else { named } {
        let document = by_document(&prepared(&ground, &mirror, farm)?, farm)?;
        let drover = by_drover(&prepared(&ground, &mirror, farm)?, farm)?;
        println!("\n{}, from a prepared host to containers that answer ssh", farm.architectures.join(" "));
        println!("document {:8.1} s", document.as_secs_f64());
        let ratio = drover.as_secs_f64() / document.as_secs_f64();
        println!("drover   {:8.1} s   ratio {ratio:.2}", drover.as_secs_f64());
    }
    Ok(())
}

/// A host on which all is done that is not about a container.
fn prepared(ground: &Ground, mirror: &Mirror, farm: &Farm) -> Result<Host> {
    let options = HostOptions::new()
        .installing_from(mirror)
        .show(env!("CARGO_BIN_EXE_drover"), "/run/bin/drover")
        .show(concat!(env!("CARGO_MANIFEST_DIR"), "/plans"), "/run/farm/plans")
        .show(concat!(env!("CARGO_MANIFEST_DIR"), "/benches/farm/document.sh"), DOCUMENT);
    let host = Host::boot(ground, "bench-farm", options)?;
    let only = ["--only", "host", "--only", "*/reserve-address", "--only", "*/hosts-file"];
    host.run(&[&["drover", "run", farm.plan], farm.settings, &only].concat())?
        .ok()
        .context("preparing the host")?;
    Ok(host)
}

fn by_document(host: &Host, farm: &Farm) -> Result<Duration> {
    let uri = host.shell(MIRROR)?;
    let ended = host.run(&[&["bash", DOCUMENT, uri.trim()], farm.architectures].concat())?;
    Ok(ended.ok().context("the document's commands")?.elapsed)
}

fn by_drover(host: &Host, farm: &Farm) -> Result<Duration> {
    Ok(host.run(&[&["drover", "run", farm.plan], farm.settings].concat())?.ok()?.elapsed)
}
