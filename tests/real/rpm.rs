//! Packages of RPM's, in a container that has a yum of its own: a system that calls itself CentOS 7 and is Debian's, with
//! dnf by the name of yum, and packages that are made here and hold nothing.
//!
//! Not exercised: CentOS itself, its yum, its mirrors.

use crate::Test;
use crate::contract::{Fresh, keeps_contract};
use crate::farm::{drover, left_nothing};
use crate::site::Site;
use anyhow::{Result, ensure};
use drover_steps::guest::package_set;
use drover_steps::release::Distribution::CentOS;
use drover_steps::release::find;
use throwaway::Host;

pub(crate) const TESTS: &[Test] = &[("packages_of_rpm_are_installed_by_the_containers_own_yum", installed)];

const NAME: &str = "/root/rpm.ron";
const PACKAGES: &str = "jenkins-centos7-x86-64/guest-packages";
const ROOTFS: &str = "/srv/libvirt/rootfs/jenkins-centos7-x86-64/rootfs";

/// Optional ones that its repository does not have, and one that needs what nobody has.
const LACKING: [&str; 2] = ["p7zip-plugins", "pbzip2"];
const NEEDY: &str = "pbzip2";

/// The system, whose packages Debian's dpkg has installed, and whose rpm knows of none.
const SYSTEM: &str = "
    apt-get -q update; apt-get -qy install --no-install-recommends rpm createrepo-c
    mkdir -p $ROOTFS; cp -a /var/cache/lxc/debian/rootfs-bookworm-amd64/. $ROOTFS; cp /etc/hosts $ROOTFS/etc/hosts
    chroot $ROOTFS sh -ec 'apt-get -q update; apt-get -qy install --no-install-recommends dnf rpm; ln -s dnf-3 /usr/bin/yum'
    mkdir -p $ROOTFS/etc/yum.repos.d; rm $ROOTFS/etc/os-release; printf 'ID=\"centos\"\\nVERSION_ID=\"7\"\\n' >$ROOTFS/etc/os-release
    printf 'lxc.rootfs.path = dir:%s\\nlxc.uts.name = jenkins-centos7-x86-64\\n' $ROOTFS >${ROOTFS%/rootfs}/config
    printf '[local]\\nname=local\\nbaseurl=file:///srv/repo\\ngpgcheck=0\\n' >$ROOTFS/etc/yum.repos.d/local.repo";

fn plan(packages: &str) -> String {
    format!(
        "Plan(
            name: \"rpm\",
            host: [HostPackages, Storage(Directory(\"/srv/libvirt\"))],
            containers: [(name: \"jenkins-centos7-x86-64\", distribution: CentOS, release: \"7\", arch: amd64)],
            each: [LxcCreate, GuestPackages([{packages}])],
        )"
    )
}

fn installed(site: &Site) -> Result<()> {
    let host = site.built("rpm")?;
    host.shell(&format!("ROOTFS={ROOTFS}; {SYSTEM}"))?;
    let comfort = package_set("comfort", find(CentOS, "7").expect("in the table"));
    let names = comfort.iter().map(|name| name.trim_start_matches('?'));
    publish(&host, &names.filter(|name| *name == NEEDY || !LACKING.contains(name)).collect::<Vec<_>>())?;
    host.write(NAME, &plan("\"comfort\""))?;
    drover(&host, &["run", NAME, "--only", "*/lxc-create"])?.ok()?;
    unreachable(&host)?;
    host.write(NAME, &plan("\"comfort\""))?;
    keeps_contract(&host, NAME, PACKAGES, Fresh::Needed)?;
    let is_there = |name: &str| host.shell(&format!("chroot {ROOTFS} rpm -q {name} || true"));
    for name in comfort.iter().map(|name| name.trim_start_matches('?')) {
        let said = is_there(name)?;
        ensure!(said.starts_with(&format!("{name}-1-1")) != LACKING.contains(&name), "{name}: {said}");
    }
    // One more: what was found lacking stays so.
    publish(&host, &["late"])?;
    host.write(NAME, &plan("\"comfort\", \"late\""))?;
    keeps_contract(&host, NAME, PACKAGES, Fresh::Needed)?;
    ensure!(is_there("late")?.starts_with("late-1-1"), "it is not installed");
    // One that must be there, and is not.
    host.write(NAME, &plan("\"no-such-package\""))?;
    let failed = drover(&host, &["run", NAME, "--only", PACKAGES])?.exits(1)?;
    ensure!(failed.stderr.contains("yum could not install what is needed"), "{}", failed.stderr);
    left_nothing(&host)
}

/// Without its repository, nothing is taken for lacking, also where all may lack.
fn unreachable(host: &Host) -> Result<()> {
    host.shell(&format!("mv {ROOTFS}/srv/repo {ROOTFS}/srv/away"))?;
    host.write(NAME, &plan("\"?pigz\""))?;
    let failed = drover(host, &["run", NAME, "--only", PACKAGES])?.exits(1)?;
    ensure!(failed.stderr.contains("Cannot download repomd.xml"), "{}", failed.stderr);
    host.shell(&format!(
        "no test -e {ROOTFS}/etc/drover-lacking-packages; mv {ROOTFS}/srv/away {ROOTFS}/srv/repo"
    ))?;
    Ok(())
}

/// Makes packages, and has the container's repository hold these beside those that it holds.
fn publish(host: &Host, names: &[&str]) -> Result<()> {
    let package = |name: &&str| {
        let needs = if *name == NEEDY { "Requires: nobody-has-this\n" } else { "" };
        format!("%package -n {name}\nSummary: x\n{needs}%description -n {name}\n%files -n {name}\n")
    };
    let head =
        "Name: farm\nVersion: 1\nRelease: 1\nSummary: x\nLicense: none\nBuildArch: noarch\n%description\n";
    host.write("/root/farm.spec", &format!("{head}{}", names.iter().map(package).collect::<String>()))?;
    host.shell(&format!(
        "rpmbuild -bb --define '_topdir /root/rpm' /root/farm.spec
        mkdir -p {ROOTFS}/srv/repo; mv /root/rpm/RPMS/noarch/*.rpm {ROOTFS}/srv/repo
        createrepo_c {ROOTFS}/srv/repo; rm -rf {ROOTFS}/var/cache/dnf"
    ))?;
    Ok(())
}
