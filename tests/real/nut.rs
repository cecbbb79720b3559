//! What NUT is built with, and what its documentation is made with, installed in native and in emulated containers; and
//! the document's own farm, as it stands in its plan, as far as mirrors of today have it.
//!
//! Not for every day: that is two thousand packages. From mirrors of their own, made like the others'.

use crate::Test;
use crate::assist::mostly_native;
use crate::farm::{answers, drover, left_nothing, outcomes};
use crate::site::Site;
use anyhow::{Result, ensure};
use drover_steps::guest::package_set;
use drover_steps::release::Distribution::Debian;
use drover_steps::release::find;
use std::time::Instant;
use throwaway::Host;
use throwaway::mirror::{Contents, FARM, Mirror, Release};

pub(crate) const TESTS: &[Test] = &[
    ("nut_is_built_with_what_is_installed", installed),
    ("nut_farm_of_the_document_is_built_where_mirrors_have_it", whole),
];

const PLAN: &str = "Plan(
    name: \"nut\",
    host: [HostPackages, Storage(Directory(\"/srv/libvirt\")), Binfmt],
    containers: [(name: \"nut-{arch}\", distribution: Debian, release: \"bookworm\", arch: [amd64, arm64])],
    each: [Bootstrap, LxcCreate, GuestPackages([\"comfort\", \"nut-build\", \"nut-docs\"])],
)";
const NAME: &str = "/root/nut.ron";

/// The document's farm, and the one of its containers for which mirrors still have everything.
const WHOLE: &str = "/run/farm/plans/nut-farm.ron";
const ARMHF: &str = "jenkins-debian11-armhf";
/// What fails of the others.
const NOWHERE: [&str; 7] = [
    "bootstrap/debian-bullseye-mips64el/resolve",
    "bootstrap/debian-buster-amd64/resolve",
    "bootstrap/debian-buster-mips/resolve",
    "bootstrap/debian-jessie-amd64/resolve",
    "bootstrap/debian-jessie-s390x/resolve",
    "jenkins-centos7-x86-64/lxc-create",
    "jenkins-ubuntu1804-s390x/lxc-create",
];

fn installed(site: &Site) -> Result<()> {
    let sets = sets(&["nut-build", "nut-docs"]);
    let bookworm = Release { architectures: &["amd64", "arm64"], ..FARM.releases[0] };
    let mirror = mirror(site, &[(bookworm, &sets)])?;
    let host = Host::boot(&site.ground, "nut", site.options_with(&mirror)?)?;
    host.write(NAME, PLAN)?;
    drover(&host, &["run", NAME, "--until", "*/lxc-create"])?.ok()?;
    let begun = Instant::now();
    drover(&host, &["run", NAME])?.ok()?;
    println!("    both at once, downloads and all: {:.0} s", begun.elapsed().as_secs_f64());
    println!("    arm64: {}", mostly_native(&host, "nut-arm64/guest-packages")?);
    for name in ["nut-amd64", "nut-arm64"] {
        println!("    {name}: {} packages", works(&host, name, &sets)?);
    }
    drover(&host, &["plan", "--detailed-exitcode", NAME])?.exits(0)?;
    left_nothing(&host)
}

/// As it stands: one container is built, boots and answers, the others are reported.
fn whole(site: &Site) -> Result<()> {
    let sets = sets(&["comfort", "nut-build"]);
    let bookworm = Release { architectures: &["amd64"], ..FARM.releases[0] };
    let bullseye = Release { architectures: &["amd64", "armhf"], ..FARM.releases[1] };
    let mirror = mirror(site, &[(bookworm, &[]), (bullseye, &sets)])?;
    let host = Host::boot(&site.ground, "nut-farm-whole", site.options_with(&mirror)?)?;
    let run = drover(&host, &["run", WHOLE])?.exits(1)?;
    println!(
        "    {:.0} s; guest-packages: {}",
        run.elapsed.as_secs_f64(),
        mostly_native(&host, &format!("{ARMHF}/guest-packages"))?
    );
    let outcomes = outcomes(&host)?;
    let failed: Vec<_> =
        outcomes.iter().filter(|(_, outcome)| *outcome == "failed").map(|(node, _)| node.as_str()).collect();
    ensure!(failed == NOWHERE, "{failed:#?}");
    for (node, outcome) in outcomes.iter().filter(|(node, _)| node.starts_with(ARMHF)) {
        ensure!(["changed", "adopted"].contains(&outcome.as_str()), "{node}: {outcome}");
    }
    answers(&host, ARMHF, "armv7l")?;
    println!("    {} packages", works(&host, ARMHF, &sets)?);
    left_nothing(&host)
}

fn sets(names: &[&str]) -> Vec<String> {
    let bookworm = find(Debian, "bookworm").expect("in the table");
    names.iter().flat_map(|set| package_set(set, bookworm)).collect()
}

/// Whether all that is wanted is installed, and the compiler's programs run. How many packages there are.
fn works(host: &Host, container: &str, sets: &[String]) -> Result<usize> {
    let wanted: Vec<_> = sets.iter().filter(|name| !name.starts_with('?')).map(String::as_str).collect();
    let count = host.shell(&format!(
        "root=/srv/libvirt/rootfs/{container}/rootfs
        for name in {}; do chroot $root dpkg-query --show --showformat '${{db:Status-Abbrev}}' $name | grep -qx 'ii '; done
        test -z \"$(chroot $root dpkg --audit)\"
        printf 'int main(void) {{ return 42; }}' >$root/tmp/a.c
        chroot $root cc -o /tmp/a /tmp/a.c; code=0; chroot $root /tmp/a || code=$?; test $code = 42
        chroot $root dpkg-query --show | wc -l",
        wanted.join(" ")
    ))?;
    Ok(count.trim().parse()?)
}

/// A mirror that has these releases, each with more packages than those of every day.
fn mirror(site: &Site, releases: &[(Release, &[String])]) -> Result<Mirror> {
    let patterns: Vec<Vec<_>> =
        releases.iter().map(|(_, more)| more.iter().map(|name| pattern(name)).collect()).collect();
    let patterns: Vec<Vec<&str>> =
        patterns.iter().map(|all| all.iter().map(String::as_str).collect()).collect();
    let packages: Vec<Vec<&[&str]>> = releases
        .iter()
        .zip(&patterns)
        .map(|((release, _), more)| [release.packages, &[more]].concat())
        .collect();
    let releases: Vec<_> = releases
        .iter()
        .zip(&packages)
        .map(|((release, _), packages)| Release { packages, ..*release })
        .collect();
    Mirror::prepare(&site.ground, &Contents { releases: &releases })
}

/// What apt has to be told: what is optional may match nothing.
fn pattern(name: &str) -> String {
    name.strip_prefix('?')
        .map_or_else(|| name.to_owned(), |name| format!("?and(?exact-name({name}), ?not(?virtual))"))
}
