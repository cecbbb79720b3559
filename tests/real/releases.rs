//! Bullseye beside bookworm on one host, each release with its own natives: all of them answer.

use crate::Test;
use crate::assist::mostly_native;
use crate::farm::{CONTAINERS, asked, drover, left_nothing};
use crate::site::Site;
use anyhow::{Result, ensure};

pub(crate) const TESTS: &[Test] = &[("bullseye_stands_beside_bookworm", beside)];

const PLAN: &str = "Plan(
    name: \"releases\",
    include: [\"/run/farm/plans/debian-pair.ron\"],
    containers: [(
        name: \"jenkins-debian{version}-{arch}\", distribution: Debian, release: \"bullseye\", arch: [amd64, arm64],
        steps: [GuestPackages([\"sudo\"])],
    )],
)";
const NAME: &str = "/root/releases.ron";
/// What is added to the pair.
const OLDER: [(&str, &str); 2] =
    [("jenkins-debian11-amd64", "x86_64"), ("jenkins-debian11-arm64", "aarch64")];

fn beside(site: &Site) -> Result<()> {
    let host = site.built("releases")?;
    host.write(NAME, PLAN)?;
    drover(&host, &["run", NAME])?.ok()?;
    for step in ["bootstrap/debian-bullseye-arm64/configure", "jenkins-debian11-arm64/guest-packages"] {
        println!("    {step}: {}", mostly_native(&host, step)?);
    }
    for (version, containers) in [("11", OLDER), ("12", CONTAINERS)] {
        for (container, machine) in containers {
            let said =
                asked(&host, container, ". /etc/os-release; echo $VERSION_ID $(uname -m) $(hostname)")?;
            ensure!(said == format!("{version} {machine} {container}\n"), "{container} answers {said}");
        }
    }
    drover(&host, &["plan", "--detailed-exitcode", NAME])?.exits(0)?;
    left_nothing(&host)
}
