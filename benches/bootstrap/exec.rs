//! What it costs to start a program in an emulated system: under the emulator alone, and through the switch.
//!
//! An emulated shell starts one small program again and again, so each figure has that shell's share in it, too. It does
//! not know how the switch comes to be called: it does by hand what Drover does.

use anyhow::{Context, Result, ensure};
use throwaway::Host;

/// So often is the program started.
const TIMES: u32 = 1000;

/// `$1`: the system's root; `$2`: its emulator's name; `$3`: `plain` or `assisted`; `$4`: the program;
/// `$5`: how often.
const SCRIPT: &str = r#"
mount -t proc proc "$1/proc"
guest=(/usr/sbin/chroot "$1" /bin/sh -c 'i=0; while [ $i -lt $1 ]; do "$0" || exit; i=$((i + 1)); done' "$4" "$5")
if [ "$3" = plain ]; then exec "${guest[@]}"; fi
here=/var/lib/drover/cache/assist/debian-bookworm-amd64 entry=/proc/sys/fs/binfmt_misc/qemu-$2
hex() { sed -n "s/^$1 //p" "$entry" | sed 's/../\\x&/g'; }
mount --bind "$here/natives" "$1/proc/tty/ldisc"
mount --bind "/var/lib/drover/cache/assist/offers/debian-${1##*/rootfs-}" "$1/proc/tty/ldisc/offer"
mount --bind "$(sed -n 's/^interpreter //p' "$entry")" "$1/proc/tty/ldisc/qemu"
exec "$here/enter" "$1/proc/sys/fs/binfmt_misc" ":assist:M:0:$(hex magic):$(hex mask):$here/switch:PF" -- "${guest[@]}"
"#;

/// Prints what a start costs in the base system of an architecture, which was made with assist just before.
pub(crate) fn compare(host: &Host, arch: &str, qemu: &str) -> Result<()> {
    let root = format!("/var/cache/lxc/debian/rootfs-bookworm-{arch}");
    // Under a name that is on no list, it is emulated.
    host.shell(&format!("cp {root}/usr/bin/true {root}/usr/bin/unlisted"))?;
    let start = |way, program| start(host, &[&root, qemu, way, program]);
    let plain = start("plain", "/usr/bin/unlisted")?;
    println!("{arch:7} a start under the emulator alone {plain:32.3} ms");
    let emulated = start("assisted", "/usr/bin/unlisted")?;
    println!("{arch:7} through the switch, emulated {emulated:36.3} ms   {:.2}", emulated / plain);
    let native = start("assisted", "/usr/bin/true")?;
    println!("{arch:7} through the switch, native {native:38.3} ms   {:.2}", native / plain);
    Ok(())
}

/// What one start of a program takes, in milliseconds.
fn start(host: &Host, arguments: &[&str]) -> Result<f64> {
    let unshare = ["unshare", "--mount", "--propagation", "private", "--pid", "--fork", "--kill-child"];
    let times = TIMES.to_string();
    let command = [&unshare[..], &["bash", "-euc", SCRIPT, "starts"], arguments, &[&times]].concat();
    let ended = host.run(&command)?.ok().with_context(|| format!("start {arguments:?}"))?;
    ensure!(ended.stdout.is_empty(), "{arguments:?} says {}", ended.stdout);
    Ok(ended.elapsed.as_secs_f64() * 1000.0 / f64::from(TIMES))
}
