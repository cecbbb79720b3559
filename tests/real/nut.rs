//! What NUT is built with, and what its documentation is made with, installed in a native and in an emulated container.
//!
//! Not for every day: that is a thousand packages. From a mirror of its own, made like the others'.

use crate::Test;
use crate::assist::remark;
use crate::farm::{drover, left_nothing};
use crate::site::Site;
use anyhow::Result;
use drover_steps::guest::package_set;
use drover_steps::release::Distribution::Debian;
use std::time::Instant;
use throwaway::Host;
use throwaway::mirror::{Contents, FARM, Mirror, Release};

pub(crate) const TESTS: &[Test] = &[("nut_is_built_with_what_is_installed", installed)];

const PLAN: &str = "Plan(
    name: \"nut\",
    host: [HostPackages, Storage(Directory(\"/srv/libvirt\")), Binfmt],
    containers: [(name: \"nut-{arch}\", distribution: Debian, release: \"bookworm\", arch: [amd64, arm64])],
    each: [Bootstrap, LxcCreate, GuestPackages([\"comfort\", \"nut-build\", \"nut-docs\"])],
)";
const NAME: &str = "/root/nut.ron";

fn installed(site: &Site) -> Result<()> {
    let sets: Vec<_> = ["nut-build", "nut-docs"].iter().flat_map(|set| package_set(set, Debian)).collect();
    let mirror = mirror(site, &sets, Release { architectures: &["amd64", "arm64"], ..FARM.releases[0] })?;
    let host = Host::boot(&site.ground, "nut", Site::options_with(&mirror))?;
    host.write(NAME, PLAN)?;
    drover(&host, &["run", NAME, "--until", "*/lxc-create"])?.ok()?;
    let begun = Instant::now();
    drover(&host, &["run", NAME])?.ok()?;
    println!("    both at once, downloads and all: {:.0} s", begun.elapsed().as_secs_f64());
    println!("    arm64: {}", remark(&host, "nut-arm64/guest-packages")?);
    let wanted: Vec<_> = sets.iter().filter(|name| !name.starts_with('?')).map(String::as_str).collect();
    for arch in ["amd64", "arm64"] {
        let count = host.shell(&format!(
            "root=/srv/libvirt/rootfs/nut-{arch}/rootfs
            for name in {}; do chroot $root dpkg-query --show --showformat '${{db:Status-Abbrev}}' $name | grep -qx 'ii '; done
            test -z \"$(chroot $root dpkg --audit)\"
            printf 'int main(void) {{ return 42; }}' >$root/tmp/a.c
            chroot $root cc -o /tmp/a /tmp/a.c; code=0; chroot $root /tmp/a || code=$?; test $code = 42
            chroot $root dpkg-query --show | wc -l",
            wanted.join(" ")
        ))?;
        println!("    {arch}: {} packages", count.trim());
    }
    drover(&host, &["plan", "--detailed-exitcode", NAME])?.exits(0)?;
    left_nothing(&host)
}

/// A mirror that has these packages, too.
fn mirror(site: &Site, more: &[String], release: Release) -> Result<Mirror> {
    let patterns: Vec<_> = more.iter().map(|name| pattern(name)).collect();
    let patterns: Vec<_> = patterns.iter().map(String::as_str).collect();
    let packages = [release.packages, &[&patterns]].concat();
    Mirror::prepare(
        &site.ground,
        &Contents { releases: &[Release { packages: &packages, ..release }], ..FARM },
    )
}

/// What apt has to be told: what is optional may match nothing.
fn pattern(name: &str) -> String {
    name.strip_prefix('?')
        .map_or_else(|| name.to_owned(), |name| format!("?and(?exact-name({name}), ?not(?virtual))"))
}
