//! What Drover made is taken away again, and nothing else: one container, then all of it; and it can be made again.

use crate::Test;
use crate::farm::{PAIR, drover, left_nothing, outcomes, start};
use crate::site::Site;
use anyhow::{Context, Result, ensure};
use std::collections::BTreeSet;
use std::time::Duration;
use throwaway::{Host, Tree};

pub(crate) const TESTS: &[Test] = &[
    ("one_container_is_destroyed_and_made_again", one),
    ("all_that_was_made_is_destroyed_and_nothing_else", all),
];

const ONE: &str = "jenkins-debian12-amd64";

/// What somebody else has, in the files that we share with them.
const FOREIGN: &str = "printf '10.9.9.9 theirs\\n' >>/etc/hosts
    printf 'theirs,10.0.3.99\\n' >>/etc/lxc/dnsmasq-hosts.conf
    printf 'export THEIRS=1\\n' >>/root/.profile
    printf '# theirs\\n' >>/etc/default/lxc-net
    printf 'ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAITheirs theirs\\n' >>/home/abuild/.ssh/authorized_keys
    mkdir -p /srv/libvirt/theirs && echo data >/srv/libvirt/theirs/data";

fn one(site: &Site) -> Result<()> {
    let host = site.built("destroy-one")?;
    // Nobody runs in a host that was just started.
    drover(&host, &["run", PAIR, "--only", "host/*"])?.ok()?;
    let before = Tree::of(host.path("/srv/libvirt/rootfs/jenkins-debian12-arm64"), |_| false)?;
    let unknown =
        drover(&host, &["destroy", PAIR, "--container", "jenkins-debian12-amd46", "--yes"])?.exits(4)?;
    ensure!(unknown.stderr.contains(&format!("did you mean `{ONE}`?")), "{}", unknown.stderr);
    let told = drover(&host, &["destroy", PAIR, "--container", ONE, "--dry-run", "--json"])?.ok()?;
    let told: serde_json::Value = serde_json::from_str(&told.stdout)?;
    let place = |step: &str| {
        let nodes = told.as_array().context("no list")?;
        let found = nodes.iter().position(|node| node["id"] == format!("{ONE}/{step}"));
        found.with_context(|| format!("`{step}` is not in {told:#}"))
    };
    ensure!(place("start-domain")? < place("define-domain")?, "the last is not the first: {told:#}");
    ensure!(place("define-domain")? < place("lxc-create")?, "the last is not the first: {told:#}");
    ensure!(told[0]["does"].is_array(), "{told:#}");
    // Nobody can be asked: it is shown, and nothing is done.
    let refused = drover(&host, &["destroy", PAIR, "--container", ONE])?.exits(1)?;
    ensure!(refused.stdout.contains("undefine the domain jenkins-debian12-amd64"), "{}", refused.stdout);
    ensure!(refused.stderr.contains("--yes"), "{}", refused.stderr);
    ensure!(host.path("/srv/libvirt/rootfs/jenkins-debian12-amd64/config").exists(), "it is gone already");

    drover(&host, &["destroy", PAIR, "--container", ONE, "--yes"])?.ok()?;
    ensure!(!host.path(format!("/srv/libvirt/rootfs/{ONE}")).exists(), "the container is still there");
    host.shell(
        "virsh -q -c lxc:///system list --all --name >/run/domains; no grep amd64 /run/domains; no grep amd64 /etc/hosts",
    )?;
    let report = drover(&host, &["report"])?.ok()?.stdout;
    ensure!(
        report.contains(&format!("(destroy /run/farm/plans/debian-pair.ron --container {ONE})")),
        "{report}"
    );
    ensure!(report.contains(&format!("{ONE}/lxc-create")) && report.contains("undone in "), "{report}");
    let report: serde_json::Value =
        serde_json::from_str(&drover(&host, &["report", "--json"])?.ok()?.stdout)?;
    ensure!(report["undone"].as_u64() > Some(10) && report["nodes"][0]["millis"].is_u64(), "{report:#}");
    let after = Tree::of(host.path("/srv/libvirt/rootfs/jenkins-debian12-arm64"), |_| false)?;
    ensure!(before.differences(&after).is_empty(), "the other one changed: {:?}", before.differences(&after));
    // The address is still known to dnsmasq until lxc-net starts again, which the next run sees to.
    drover(&host, &["run", PAIR, "--until", &format!("{ONE}/start-domain")])?.ok()?;
    let made: Vec<_> = outcomes(&host)?.into_iter().filter(|(_, outcome)| outcome == "changed").collect();
    ensure!(made.iter().any(|(node, _)| node == &format!("{ONE}/lxc-create")), "{made:?}");
    drover(&host, &["destroy", PAIR, "--container", ONE, "--yes"])?.ok()?;
    drover(&host, &["destroy", PAIR, "--container", ONE, "--yes"])?.ok()?;
    left_nothing(&host)
}

fn all(site: &Site) -> Result<()> {
    let fresh = snapshot(&site.fresh_host("destroy-reference")?)?;
    let host = site.built("destroy-all")?;
    drover(&host, &["run", PAIR, "--only", "host/*"])?.ok()?;
    host.shell(FOREIGN)?;
    // Killed anywhere, and once more, until nothing is left to be done.
    for moment in [500, 1000, 2000] {
        let mut run = start(&host, &["destroy", PAIR, "--yes"])?;
        std::thread::sleep(Duration::from_millis(moment));
        if run.is_running()? {
            host.shell("kill -9 $(pgrep -xo drover) || true")?;
        }
        run.wait()?;
    }
    killed_while_packages_go(&host)?;
    let resumed = drover(&host, &["resume"])?.exits(4)?;
    ensure!(resumed.stderr.contains("drover destroy"), "{}", resumed.stderr);
    let last = drover(&host, &["destroy", PAIR, "--yes"])?.ok()?;
    println!("{}", last.stderr);
    ensure!(
        outcomes(&host)?.get("host/build-home").is_some_and(|it| it == "kept"),
        "the home held something"
    );
    left_nothing(&host)?;

    for (file, line) in [
        ("/etc/hosts", "10.9.9.9 theirs"),
        ("/etc/lxc/dnsmasq-hosts.conf", "theirs,10.0.3.99"),
        ("/root/.profile", "export THEIRS=1"),
        ("/home/abuild/.ssh/authorized_keys", "theirs"),
        ("/srv/libvirt/theirs/data", "data"),
    ] {
        ensure!(host.read(file)?.contains(line), "{file} has lost the line of somebody else");
    }
    for (file, ours) in [
        ("/etc/hosts", "jenkins-"),
        ("/root/.profile", "LIBVIRT"),
        ("/home/abuild/.ssh/authorized_keys", "ssh-rsa"),
    ] {
        ensure!(!host.read(file)?.contains(ours), "{file} still has our line");
    }
    let now = snapshot(&host)?;
    let left: Vec<_> = now.files.symmetric_difference(&fresh.files).collect();
    println!("    {} files differ from those of a host that never had a farm", left.len());
    let stray: Vec<_> = left.iter().filter(|line| OURS.iter().any(|ours| line.contains(ours))).collect();
    ensure!(stray.is_empty(), "this is left behind: {stray:#?}");
    let packages: Vec<_> = now.packages.symmetric_difference(&fresh.packages).collect();
    ensure!(packages.is_empty(), "these packages came or went: {packages:?}");
    ensure!(!host.shell("ip -o link")?.contains("lxcbr0"), "the bridge is still there");
    Ok(())
}

/// Kills it when the first packages are removed and only their configuration is left of them, if that is still to come.
fn killed_while_packages_go(host: &Host) -> Result<()> {
    let mut run = start(host, &["destroy", PAIR, "--yes"])?;
    while run.is_running()? {
        let half =
            host.shell("dpkg-query --show --showformat '${db:Status-Abbrev}\n' | grep -c ^rc || true")?;
        if half.trim() != "0" {
            println!("    killed with {} packages half gone", half.trim());
            host.shell("kill -9 $(pgrep -xo drover) || true")?;
            break;
        }
    }
    run.wait().map(drop)
}

/// What only a farm brings; the rest of what is left is what purged packages, and upgrades that they asked for, leave.
const OURS: &[&str] = &[
    "jenkins-",
    "drover",
    "lxcbr0",
    "bookworm-",
    "/var/cache/lxc",
    "/etc/default/lxc-net",
    "/etc/lxc/dnsmasq.conf",
    "/home/abuild/.ssh/id_rsa",
    "/srv/libvirt/rootfs",
];

/// A host's packages, and its files but for the package manager's own memory.
struct Snapshot {
    packages: BTreeSet<String>,
    files: BTreeSet<String>,
}

/// Files by names, kinds, modes, owners and sizes; packages that are installed.
fn snapshot(host: &Host) -> Result<Snapshot> {
    let listed = host.shell(
        "find /etc /home /srv /root /usr /var -xdev \\( -path /var/lib/apt -o -path /var/lib/dpkg -o -path /var/cache/apt \
         -o -path /var/log -o -path /var/lib/drover -o -path /var/cache/debconf -o -path /var/cache/man \
         -o -path /var/cache/ldconfig -o -name '*.pyc' -o -name __pycache__ -o -name '*-' -path '/etc/*' \\) -prune \
         -o -type f -printf '%p %m %U:%G %s\\n' -o -printf '%p %y %m %U:%G %l\\n'",
    )?;
    let packages =
        host.shell("dpkg-query --show --showformat '${db:Status-Abbrev} ${Package}\\n' | grep ^ii")?;
    let lines = |text: &str| text.lines().map(str::to_owned).collect();
    Ok(Snapshot { packages: lines(&packages), files: lines(&listed) })
}
