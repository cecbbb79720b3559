//! Whom Drover believes: an archive that is out of date, signed by a key that has expired, by somebody else, or changed on
//! the way, is refused, and the reason is said. Nothing is ever used unauthenticated in silence.

use crate::Test;
use crate::farm::drover;
use crate::site::Site;
use anyhow::{Result, ensure};
use throwaway::{Host, HostOptions};

pub(crate) const TESTS: &[Test] = &[("an_archive_that_cannot_be_believed_is_refused", refused)];

const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";
const PLAN: &str = "Plan(name: \"old\", mirror: \"http://127.0.0.1/debian\", host: [],
    containers: [(name: \"old\", distribution: Debian, release: \"bookworm\", arch: amd64)], each: [Bootstrap])";

fn refused(site: &Site) -> Result<()> {
    let host = Host::boot(
        &site.ground,
        "signatures",
        HostOptions::new()
            .show(env!("CARGO_BIN_EXE_drover"), "/run/bin/drover")
            .show(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/archive"), "/run/archive"),
    )?;
    host.write("/root/plan.ron", PLAN)?;
    host.shell(
        "mkdir -p tree/debian/dists/bookworm/main/binary-amd64 control /usr/share/keyrings
        cp /run/archive/Packages tree/debian/dists/bookworm/main/binary-amd64/",
    )?;
    let _server = host.spawn(&["/run/bin/throwaway", "throwaway-serve", "/root/tree", "/root/control"])?;
    host.shell("for i in $(seq 100); do test ! -e control/listening || exit 0; sleep 0.05; done; exit 1")?;

    // What is served, whom the host trusts, and what is said of it.
    for (served, trusted, said) in [
        ("by-old-key", "old-key", "EXPKEYSIG"),
        ("by-old-key", "other-key", "No public key|NO_PUBKEY"),
        ("by-other-key", "other-key", "index-expired"),
        ("changed", "other-key", "BAD signature|BADSIG"),
    ] {
        host.shell(&format!(
            "cd tree/debian/dists/bookworm; base64 -d /run/archive/{trusted}.base64 >{KEYRING}
            case {served} in
                changed) sed 's/^Label: Debian$/Label: Changed/' /run/archive/by-other-key.InRelease >InRelease ;;
                *) cp /run/archive/{served}.InRelease InRelease ;;
            esac"
        ))?;
        let ended = drover(&host, &["run", "plan.ron"])?;
        ensure!(matches!(ended.code(), Some(1 | 7)), "`{served}` was believed: {ended:?}");
        let told = format!("{}{}", ended.stdout, ended.stderr);
        ensure!(said.split('|').any(|words| told.contains(words)), "`{said}` is not in\n{told}");
        ensure!(
            !host.path("/var/cache/lxc/debian/rootfs-bookworm-amd64.partial").exists(),
            "something was made of `{served}`"
        );
    }
    Ok(())
}
