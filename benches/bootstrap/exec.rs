//! What it costs to start a program in an emulated system: under the emulator alone, and through the switch.
//!
//! An emulated shell starts one small program again and again, so each figure has that shell's share in it, too. It does
//! not know how the switch comes to be called.

use anyhow::{Context, Result, ensure};
use throwaway::Host;

/// So often is the program started.
const TIMES: u32 = 1000;

/// What runs it: the tests' own script.
const GUEST: &str = include_str!("../../tests/real/guest.sh");

/// Starts the program `$0` again and again, `$1` times.
const LOOP: &str = "i=0; while [ $i -lt $1 ]; do \"$0\" || exit; i=$((i + 1)); done";

/// Prints what a start costs in the base system of an architecture, which was made with assist just before.
pub(crate) fn compare(host: &Host, arch: &str, qemu: &str) -> Result<()> {
    let root = format!("/var/cache/lxc/debian/rootfs-bookworm-{arch}");
    // Under a name that is on no list, it is emulated.
    host.shell(&format!("cp {root}/usr/bin/true {root}/usr/bin/unlisted"))?;
    let start = |way, program| start(host, [&root, qemu, way], program);
    let plain = start("plain", "/usr/bin/unlisted")?;
    println!("{arch:7} {:56} {plain:8.3} ms", "a start under the emulator alone");
    for (program, kind) in [("/usr/bin/unlisted", "emulated"), ("/usr/bin/true", "native")] {
        for (way, counted) in [("uncounted", "not counted"), ("assisted", "counted")] {
            let took = start(way, program)?;
            let what = format!("through the switch, {kind}, {counted}");
            println!("{arch:7} {what:56} {took:8.3} ms   {:.2}", took / plain);
        }
    }
    Ok(())
}

/// What one start of a program takes, in milliseconds.
fn start(host: &Host, guest: [&str; 3], program: &str) -> Result<f64> {
    let unshare = ["unshare", "--mount", "--propagation", "private", "--pid", "--fork", "--kill-child"];
    let times = TIMES.to_string();
    let again = ["/bin/sh", "-c", LOOP, program, &times];
    let command = [&unshare[..], &["bash", "-euc", GUEST, "guest"], &guest, &again].concat();
    let ended = host.run(&command)?.ok().with_context(|| format!("start {program} in {guest:?}"))?;
    ensure!(ended.stdout.is_empty(), "{program} says {}", ended.stdout);
    Ok(ended.elapsed.as_secs_f64() * 1000.0 / f64::from(TIMES))
}
