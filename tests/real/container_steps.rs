//! The steps of a container, one by one: needed, done, left alone; and killed, and done all the same.

use crate::Test;
use crate::contract::{Fresh, keeps_contract, run};
use crate::farm::{CONTAINERS, PAIR, answers, drover};
use crate::kill::{Moment, kill_after, kill_at_each};
use crate::site::Site;
use anyhow::{Context, Result, ensure};
use std::time::Duration;
use throwaway::Host;

pub(crate) const TESTS: &[Test] = &[
    ("each_step_of_a_container_is_needed_then_done_then_left_alone", one_by_one),
    ("killed_steps_of_a_container_are_done_by_the_next_run", killed),
];

/// All steps of a container, in the order in which they need each other, each with what makes it needed if the fresh
/// container would have it already.
const STEPS: [(&str, &str); 15] = [
    ("reserve-address", "sed -i /^jenkins-debian12-amd64,/d /etc/lxc/dnsmasq-hosts.conf"),
    ("lxc-create", "virsh -c lxc:///system undefine $NAME; rm -rf /srv/libvirt/rootfs/$NAME"),
    ("define-domain", ""),
    ("bind-home", ""),
    ("attach-interface", "virsh -c lxc:///system detach-interface $NAME bridge --config"),
    ("unique-mac", ""),
    (
        "console",
        "virsh -c lxc:///system dumpxml --inactive $NAME | sed '/<console/,/<\\/console>/d' >/tmp/domain.xml
         virsh -c lxc:///system define /tmp/domain.xml",
    ),
    ("build-account", ""),
    ("issue", ""),
    ("sshd-accept-env", ""),
    ("hosts-file", "sed -i /jenkins-debian12-amd64/d /etc/hosts"),
    ("fetch-packages", "rm /var/lib/drover/cache/archives/vim_*"),
    ("guest-packages", ""),
    ("start-domain", ""),
    ("await-ssh", ""),
];

/// A host with the pair, of which nothing runs but what the host's steps start.
fn host(site: &Site, name: &str) -> Result<Host> {
    let host = site.built(name)?;
    run(&host, PAIR, "host/*")?;
    Ok(host)
}

fn one_by_one(site: &Site) -> Result<()> {
    let host = host(site, "container-steps")?;
    let (name, machine) = CONTAINERS[0];
    for (step, spoil) in STEPS {
        host.shell(&format!("NAME={name}; {spoil}")).with_context(|| format!("before `{step}`"))?;
        // A container that has started may answer at once.
        let fresh = if step == "await-ssh" { Fresh::Perhaps } else { Fresh::Needed };
        keeps_contract(&host, PAIR, &format!("{name}/{step}"), fresh)?;
    }
    answers(&host, name, machine)?;
    all_are_tested(&host, name)
}

/// A step that is not on the list is not tested.
fn all_are_tested(host: &Host, name: &str) -> Result<()> {
    let planned = drover(host, &["plan", "--json", "--only", &format!("{name}/*"), PAIR])?.ok()?;
    let planned: serde_json::Value = serde_json::from_str(&planned.stdout)?;
    let nodes = planned["nodes"].as_array().context("the plan has no nodes")?;
    for node in nodes {
        let id = node["id"].as_str().context("a node has no id")?;
        let is_tested = STEPS.iter().any(|(step, _)| id.strip_prefix(name) == Some(&format!("/{step}")));
        ensure!(is_tested, "`{id}` is not tested");
    }
    ensure!(nodes.len() == STEPS.len(), "{} nodes, {} tests", nodes.len(), STEPS.len());
    Ok(())
}

/// While the container is made; each next attempt begins again.
const MAKING: [Moment; 3] = [
    Moment::Started("jenkins-debian12-amd64/lxc-create", 0),
    Moment::Started("jenkins-debian12-amd64/lxc-create", 1),
    Moment::Started("jenkins-debian12-amd64/lxc-create", 3),
];

/// While its packages are installed; each next attempt goes on.
const INSTALLING: [Moment; 2] = [
    Moment::Started("jenkins-debian12-amd64/guest-packages", 0),
    Moment::Started("jenkins-debian12-amd64/guest-packages", 1),
];

fn killed(site: &Site) -> Result<()> {
    let host = host(site, "container-steps-killed")?;
    let (name, machine) = CONTAINERS[0];
    for (step, spoil) in STEPS {
        if matches!(step, "reserve-address" | "lxc-create" | "hosts-file") {
            host.shell(&format!("NAME={name}; {spoil}"))?;
        }
    }
    let all = "jenkins-debian12-amd64/*";
    kill_at_each(&host, &["run", "--only", all, PAIR], &MAKING)?;
    run(&host, PAIR, &format!("{name}/lxc-create"))?;
    // Those in between take a tenth of a second each.
    for moment in (1..=15).map(|step| Duration::from_millis(40 * step)) {
        kill_after(&host, &["run", "--only", all, PAIR, "--exclude", "*/guest-packages"], moment)?;
    }
    kill_at_each(&host, &["run", "--only", all, PAIR], &INSTALLING)?;
    run(&host, PAIR, all)?;
    answers(&host, name, machine)?;
    host.shell(&format!("virsh -c lxc:///system destroy {name}"))?;
    site.compare(&host)
}
