//! A container that somebody made by hand, with the document, is taken over as it is: not made anew, and not destroyed.

use crate::Test;
use crate::farm::{PAIR, drover, outcomes};
use crate::site::Site;
use anyhow::{Result, ensure};
use throwaway::Tree;

pub(crate) const TESTS: &[Test] = &[("a_container_made_by_hand_is_adopted", adopted)];

const NAME: &str = "jenkins-debian12-amd64";

/// The document's own commands for one container, on a host that is prepared.
const BY_HAND: &str = "export LIBVIRT_DEFAULT_URI=lxc:///system LANG=C.UTF-8
    MIRROR=$(sed -n 's/^URIs: //p' /etc/apt/sources.list.d/debian.sources | head -n 1) && export MIRROR
    lxc-create -P /srv/libvirt/rootfs -n jenkins-debian12-amd64 -t debian -- -r bookworm -a amd64
    sed 's/^lxc.arch = .*/lxc.arch = x86_64/' /srv/libvirt/rootfs/jenkins-debian12-amd64/config >/tmp/config
    virsh domxml-from-native lxc-tools /tmp/config | sed -e 's,dir:/srv,/srv,' >/tmp/x
    virsh define /tmp/x
    echo 'made by hand' >/srv/libvirt/rootfs/jenkins-debian12-amd64/rootfs/root/note";

fn adopted(site: &Site) -> Result<()> {
    let host = site.built("by-hand")?;
    drover(&host, &["run", PAIR, "--only", "host/*"])?.ok()?;
    drover(&host, &["destroy", PAIR, "--container", NAME, "--yes"])?.ok()?;
    host.shell(BY_HAND)?;
    // When it starts a domain, libvirt itself writes down where its control groups are.
    let print =
        format!("virsh -c lxc:///system dumpxml --inactive {NAME} | sed '/<resource>/,/<.resource>/d'");
    let definition = || host.shell(&print);
    let rootfs = || {
        Tree::of(host.path(format!("/srv/libvirt/rootfs/{NAME}/rootfs/etc")), |path| {
            // Copies that tools keep, and what a system that ran wrote.
            path.to_string_lossy().ends_with('-')
                || path.ends_with("machine-id")
                || path.ends_with("resolv.conf")
        })
    };
    let (before, files) = (definition()?, rootfs()?);

    drover(&host, &["run", PAIR, "--until", &format!("{NAME}/start-domain"), "--exclude", "guest-packages"])?
        .ok()?;
    let ended = outcomes(&host)?;
    let outcome = |step: &str| ended.get(&format!("{NAME}/{step}")).map(String::as_str);
    ensure!(outcome("lxc-create") == Some("adopted"), "{ended:?}");
    // The document's domain has the memory of all of them, and no interface of its own address.
    ensure!(outcome("define-domain") == Some("changed"), "{ended:?}");
    ensure!(host.path(format!("/srv/libvirt/rootfs/{NAME}/rootfs/root/note")).exists(), "it was made anew");
    let uuid = |text: &str| text.lines().find(|line| line.contains("<uuid>")).map(str::to_owned);
    ensure!(uuid(&before) == uuid(&definition()?), "the domain was defined anew");

    // What we added goes; the container, which is not ours, stays as it was.
    let destroyed = drover(&host, &["destroy", PAIR, "--container", NAME, "--yes"])?.ok()?;
    ensure!(!destroyed.stdout.contains("undefine"), "{}", destroyed.stdout);
    ensure!(host.path(format!("/srv/libvirt/rootfs/{NAME}/rootfs/root/note")).exists(), "it was destroyed");
    let after = definition()?;
    ensure!(after == before, "the definition is not as it was:\n{before}\n--- is now\n{after}");
    let changed = files.differences(&rootfs()?);
    ensure!(changed.is_empty(), "files of the container are not as they were: {changed:?}");
    Ok(())
}
