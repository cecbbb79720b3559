//! `cargo bench --bench farm`: plans/debian-pair.ron against the document's own commands, side by side in one run.
//!
//! Both start on a host that is prepared (packages, bridge, libvirt, account, key), with the same mirror on loopback, and
//! end when both containers answer ssh. Whole processes are timed, from outside. It does not know how either works.

use anyhow::{Context, Result};
use std::process::ExitCode;
use std::time::Duration;
use throwaway::mirror::{FARM, Mirror};
use throwaway::{Ground, Host, HostOptions};

const PLAN: &str = "/run/farm/plans/debian-pair.ron";
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
    let mirror = Mirror::prepare(&ground, &FARM)?;
    let document = by_document(&prepared(&ground, &mirror, "document")?)?;
    let drover = by_drover(&prepared(&ground, &mirror, "drover")?)?;
    println!("\nthe pair amd64 and arm64, from a prepared host to containers that answer ssh");
    println!("document {:8.1} s", document.as_secs_f64());
    let ratio = drover.as_secs_f64() / document.as_secs_f64();
    println!("drover   {:8.1} s   ratio {ratio:.2}", drover.as_secs_f64());
    Ok(())
}

/// A host on which all is done that is not about a container.
fn prepared(ground: &Ground, mirror: &Mirror, name: &str) -> Result<Host> {
    let options = HostOptions::new()
        .installing_from(mirror)
        .show(env!("CARGO_BIN_EXE_drover"), "/run/bin/drover")
        .show(concat!(env!("CARGO_MANIFEST_DIR"), "/plans"), "/run/farm/plans")
        .show(concat!(env!("CARGO_MANIFEST_DIR"), "/benches/farm/document.sh"), DOCUMENT);
    let host = Host::boot(ground, &format!("bench-{name}"), options)?;
    let only = ["--only", "host", "--only", "*/reserve-address", "--only", "*/hosts-file"];
    host.run(&[&["drover", "run", PLAN][..], &only].concat())?.ok().context("preparing the host")?;
    Ok(host)
}

fn by_document(host: &Host) -> Result<Duration> {
    let uri = host.shell(MIRROR)?;
    Ok(host.run(&["bash", DOCUMENT, uri.trim()])?.ok().context("the document's commands")?.elapsed)
}

fn by_drover(host: &Host) -> Result<Duration> {
    Ok(host.run(&["drover", "run", PLAN])?.ok()?.elapsed)
}
