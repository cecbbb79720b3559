//! What holds of every kind of step: each is in the table below, with every one of its fields, so that a new kind, or a new
//! field, cannot be left out.

mod silent;

use drover_engine::{Edge, Graph, Need, Node, fingerprint, verify};
use drover_steps::plan::{Settings, load};
use drover_steps::registry::{KINDS, Kind, Parse};
use drover_steps::resource;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::time::Duration;

/// Each kind, as a plan may write it, and what else it may say: all that differs between two lines is what a field says.
const WRITTEN: &[(&str, &[&str])] = &[
    ("HostPackages", &["", "extra: [\"tmux\"]"]),
    (
        "Storage",
        &[
            "Directory(\"/srv/libvirt\")",
            "Directory(\"/srv/other\")",
            "Zfs(path: \"/srv/libvirt\", dataset: \"tank/libvirt\")",
            "Zfs(path: \"/srv/libvirt\", dataset: \"tank/other\")",
            "Lvm(path: \"/srv/libvirt\", volume: (group: \"vg0\", name: \"libvirt\", size: \"100 GiB\"))",
            "Lvm(path: \"/srv/libvirt\", volume: (group: \"vg0\", name: \"libvirt\", size: \"200 GiB\"))",
            "Btrfs(path: \"/srv/libvirt\", on: Device(\"/dev/vdb\"))",
            "Btrfs(path: \"/srv/libvirt\", on: Loop(file: \"/var/lib/a.img\", size: \"100 GiB\"))",
        ],
    ),
    ("RelocateCache", &["", "to: \"/big/cache-lxc\""]),
    (
        "BuildHome",
        &[
            "path: \"/home/abuild\", user: \"abuild\", uid: 399, gid: 399",
            "path: \"/home/other\", user: \"abuild\", uid: 399, gid: 399",
            "path: \"/home/abuild\", user: \"builder\", uid: 399, gid: 399",
            "path: \"/home/abuild\", user: \"abuild\", uid: 400, gid: 399",
            "path: \"/home/abuild\", user: \"abuild\", uid: 399, gid: 400",
            "path: \"/home/abuild\", user: \"abuild\", uid: 399, gid: 399, zfs: (dataset: \"tank/abuild\")",
        ],
    ),
    ("RelocateHome", &["", "to: \"/big/abuild\""]),
    ("BuildKey", &[""]),
    (
        "Bridge",
        &[
            "name: \"lxcbr0\", network: \"10.0.3.0/24\"",
            "name: \"lxcbr1\", network: \"10.0.3.0/24\"",
            "name: \"lxcbr0\", network: \"10.0.4.0/24\"",
            "name: \"lxcbr0\", network: \"10.0.3.0/24\", dhcp: (\"10.0.3.100\", \"10.0.3.254\")",
        ],
    ),
    ("BridgeDns", &[""]),
    ("Binfmt", &["", "emulator: Backports", "emulator: Release(\"trixie\")", "others: Renew"]),
    ("LibvirtLxc", &[""]),
    ("VirshDefaultUri", &["", "account: \"operator\""]),
    (
        "TmpfsWorkspace",
        &[
            "path: \"/home/abuild/jenkins\", size: \"4 GiB\"",
            "path: \"/home/abuild/builds\", size: \"4 GiB\"",
            "path: \"/home/abuild/jenkins\", size: \"5 GiB\"",
        ],
    ),
    ("ZfsTxgTimeout", &["seconds: 30", "seconds: 31"]),
    ("ToolAlias", &["name: \"yum\"", "name: \"yum\", target: \"/usr/bin/dnf\""]),
    (
        "EditDomains",
        &[
            "name: \"x\", matching: \"old-*\", change: Cpus(2)",
            "name: \"x\", matching: \"odd-*\", change: Cpus(2)",
            "name: \"x\", matching: \"old-*\", change: Cpus(3)",
            "name: \"x\", matching: \"old-*\", change: Memory(\"2 GiB\")",
            "name: \"x\", matching: \"old-*\", change: Cpus(2), validate: false",
        ],
    ),
    (
        "HostFile",
        &[
            "path: \"/etc/motd\", content: \"a\"",
            "path: \"/etc/motd\", content: \"b\"",
            "path: \"/etc/motd\", source: \"a\"",
            "path: \"/etc/motd\", content: \"a\", mode: \"0600\"",
            "path: \"/etc/motd\", content: \"a\", owner: \"0:0\"",
        ],
    ),
    (
        "Command",
        &[
            "name: \"x\", run: \"a\", creates: \"/a\"",
            "name: \"x\", run: \"b\", creates: \"/a\"",
            "name: \"x\", run: \"a\", creates: \"/b\"",
            "name: \"x\", run: \"a\", unless: \"/a\"",
            "name: \"x\", run: \"a\", check: \"/a\"",
        ],
    ),
    ("Bootstrap", &[""]),
    ("LxcCreate", &["", "template: \"other\"", "options: [\"--enable-non-free\"]"]),
    ("LxcConfig", &[""]),
    ("ReserveAddress", &["Auto", "Fixed(\"10.0.3.77\")"]),
    ("DefineDomain", &["memory: \"1 GiB\"", "memory: \"2 GiB\""]),
    ("BindHome", &["", "validate: false"]),
    ("AttachInterface", &[""]),
    ("UniqueMac", &[""]),
    ("Console", &[""]),
    ("BuildAccount", &[""]),
    ("Issue", &[""]),
    ("SshdAcceptEnv", &[""]),
    ("HostsFile", &[""]),
    ("GuestPackages", &["[\"comfort\"]", "[\"comfort\", \"tmux\"]"]),
    ("JoinControllers", &[""]),
    (
        "GuestFile",
        &[
            "path: \"/etc/motd\", content: \"a\"",
            "path: \"/etc/motd\", content: \"b\"",
            "path: \"/etc/motd\", source: \"a\"",
            "path: \"/etc/motd\", content: \"a\", mode: \"0600\"",
            "path: \"/etc/motd\", content: \"a\", owner: \"0:0\"",
        ],
    ),
    (
        "GuestCommand",
        &[
            "name: \"x\", run: \"a\", creates: \"/a\"",
            "name: \"x\", run: \"b\", creates: \"/a\"",
            "name: \"x\", run: \"a\", creates: \"/b\"",
            "name: \"x\", run: \"a\", unless: \"/a\"",
            "name: \"x\", run: \"a\", check: \"/a\"",
        ],
    ),
    ("StartDomain", &["", "outdated: Restart"]),
    ("AwaitSsh", &[""]),
    ("ExposeSsh", &["Auto", "Fixed(2222)"]),
    (
        "Build",
        &[
            "source: \"/srv/a\"",
            "source: \"/srv/b\"",
            "source: \"/srv/a\", via: Ssh",
            "source: \"/srv/a\", commands: [\"make\"]",
            "source: \"/srv/a\", environment: {\"A\": \"b\"}",
        ],
    ),
];

fn is_on_host(kind: &Kind) -> bool {
    matches!(kind.parse, Parse::Host(_))
}

/// A plan with a step of every kind, in which `change` may change what a kind says.
fn plan(containers: &str, change: impl Fn(&str) -> Option<String>, more: &str) -> Graph {
    let list = |on_host: bool| {
        let mut list = String::new();
        for (name, says) in WRITTEN {
            let kind = Kind::find(name).unwrap_or_else(|| panic!("there is no kind `{name}`"));
            if is_on_host(kind) == on_host {
                let says = change(name).unwrap_or_else(|| says[0].to_owned());
                let text = if says.is_empty() { (*name).to_owned() } else { format!("{name}({says})") };
                write!(list, "{text}, ").expect("a text grows");
            }
        }
        list
    };
    let text = format!(
        "Plan(name: \"all\", host: [{}{more}], containers: [{containers}], each: [{}])",
        list(true),
        list(false)
    );
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("all.ron");
    std::fs::write(&path, &text).expect("written");
    load(&path, &Settings::default()).unwrap_or_else(|wrong| panic!("{}\n{text}", wrong[0])).graph
}

/// Two containers, one of them emulated wherever this runs.
const CONTAINERS: &str =
    "(name: \"one-{arch}\", distribution: Debian, release: \"bookworm\", arch: [amd64, arm64])";

/// One container.
const CONTAINER: &str = "(name: \"one\", distribution: Debian, release: \"bookworm\", arch: arm64)";

/// The names of the fields of a kind, as it tells them to somebody who misspells one; `None` if it takes a value.
fn fields(kind: &Kind) -> Option<&'static [&'static str]> {
    let text = format!("{}(misspelt: 1)", kind.name);
    let error = match kind.parse {
        Parse::Host(parse) => parse(&text).map(drop),
        Parse::Container(parse) => parse(&text).map(drop),
        Parse::Bootstrap => return Some(&[]),
    };
    match error.expect_err("no kind has such a field").code {
        ron::error::Error::NoSuchStructField { expected, .. } => Some(expected),
        _ => None,
    }
}

#[test]
fn every_kind_is_in_the_table_with_every_field() {
    let known: BTreeSet<_> = KINDS.iter().map(|kind| kind.name).collect();
    let written: BTreeSet<_> = WRITTEN.iter().map(|(name, _)| *name).collect();
    assert_eq!(known, written);
    for (name, says) in WRITTEN {
        let kind = Kind::find(name).expect("it is known");
        match fields(kind) {
            Some(fields) => {
                for field in fields {
                    assert!(says.iter().any(|it| it.contains(&format!("{field}:"))), "`{field}` of {name}");
                }
            }
            None => assert!(says.len() > 1, "the value of {name}"),
        }
    }
}

/// What a step would take back in a world in which it has made nothing.
fn undo(node: &Node) -> String {
    let place = tempfile::tempdir().expect("a directory");
    match node.step.undo(&silent::cx(place.path())) {
        Ok(undo) => format!("{} actions, {:?}, {}", undo.actions.len(), undo.kept, undo.whole),
        Err(error) => format!("{error:#}"),
    }
}

/// There is no proof of a step but its check: whatever a check accepts here is proved, and whatever it does not is not.
#[test]
fn a_check_accepts_what_proves_the_step_and_nothing_else() {
    let graph = plan(CONTAINERS, |_| None, "");
    let place = tempfile::tempdir().expect("a directory");
    let (mut accepted, mut refused) = (BTreeSet::new(), BTreeSet::new());
    for node in graph.nodes() {
        let cx = || silent::cx_within(place.path(), Duration::from_secs(5));
        let is_done = node.step.check(&cx()).is_ok_and(|check| check.is_satisfied());
        let proof = verify(node.step.as_ref(), &cx());
        assert_eq!(is_done, proof.is_ok(), "{}: {proof:?}", node.id);
        if is_done {
            accepted.insert(node.id.step())
        } else {
            refused.insert(node.id.step())
        };
    }
    assert!(refused.len() > accepted.len() && refused.len() > 30, "{accepted:?} here, {refused:?} not");
}

/// What a step says of itself, in every part that asks the world for nothing but what is installed.
fn says(node: &Node) -> String {
    let step = &node.step;
    format!(
        "{}\n{:?}\n{:?}\n{:?}\n{:?}\n{:?}\n{}\n{:?}",
        step.title(),
        step.needs(),
        step.provides(),
        step.claims(),
        step.estimate(),
        step.timeout(),
        step.is_local(),
        step.goes_with()
    )
}

/// A step that the plan puts after another, and before a third, says the same as without that.
#[test]
fn an_order_changes_nothing_but_the_order() {
    let last = |name: &str| format!("Command(name: \"last\", run: \"a\", creates: \"/last\"{name})");
    let free = plan(CONTAINERS, |_| None, &last(""));
    for (name, written) in WRITTEN {
        let kind = Kind::find(name).expect("it is known");
        // The first is one that waits for nobody.
        let first = if *name == "HostPackages" { "Storage" } else { "HostPackages" };
        let comma = if written[0].is_empty() { "" } else { ", " };
        let changed = format!("{}{comma}after: [\"{first}\"]", written[0]);
        let is_ordered = !matches!(kind.parse, Parse::Bootstrap);
        let change = |other: &str| (other == *name && is_ordered).then(|| changed.clone());
        let bound = plan(CONTAINERS, change, &last(&format!(", after: [\"{name}\"]")));
        assert_eq!(free.nodes().len(), bound.nodes().len());
        let mut ordered = 0;
        for (one, other) in free.nodes().iter().zip(bound.nodes()) {
            assert_eq!(one.id, other.id);
            assert_eq!(says(one), says(other), "{} with an order of {name}", one.id);
            if kind.is_called(one.id.step()) {
                assert_eq!(undo(one), undo(other), "{} with an order of {name}", one.id);
            }
            let more: Vec<_> = other.needs().into_iter().filter(|need| !one.needs().contains(need)).collect();
            assert!(more.iter().all(|need| matches!(need, Need::Node(_))), "{}: {more:?}", one.id);
            ordered += usize::from(!more.is_empty());
        }
        // Of a container's step there are two. What comes last has an order, too.
        let expected = if is_on_host(kind) {
            2
        } else if is_ordered {
            3
        } else {
            1
        };
        assert_eq!(ordered, expected, "{name}");
    }
}

/// Whoever starts a container, or builds in it, waits for whatever changes it.
#[test]
fn every_edit_of_a_container_is_waited_for() {
    let graph = plan(CONTAINERS, |_| None, "");
    let start = graph.find("one-arm64/start-domain").expect("it is in the plan");
    let build = graph.find("one-arm64/build").expect("it is in the plan");
    let waits = |later: usize, earlier: usize| {
        graph.after(earlier).any(|(node, edge)| node == later && edge == Edge::IfAny)
    };
    let mut edits = 0;
    for (index, node) in graph.nodes().iter().enumerate().filter(|(_, node)| node.id.place() == "one-arm64") {
        let carrier = node.step.goes_with().map(|resource| resource.kind);
        let provides = node.step.provides();
        let edits_as = |kind: &str| provides.iter().any(|resource| resource.kind == kind);
        // What is fetched is fetched for the container, and changes nothing in it.
        if node.id.step() == "fetch-packages" {
            continue;
        }
        let guest = carrier == Some(resource::ROOTFS) || edits_as(resource::GUEST_EDIT);
        let domain = carrier == Some(resource::DOMAIN) || edits_as(resource::DOMAIN_EDIT);
        assert!(!(guest || domain) || waits(start, index), "{} starts before {}", "start-domain", node.id);
        assert!(!guest || waits(build, index), "{} starts before {}", "build", node.id);
        edits += usize::from(guest || domain);
    }
    assert!(edits >= 12, "{edits} edits");
}

/// No step waits for something that is never there: a name that nobody has is a misspelt one.
#[test]
fn whatever_a_kind_waits_for_is_provided_by_some_kind() {
    let graph = plan(CONTAINERS, |_| None, "");
    let provided: BTreeSet<_> = graph.nodes().iter().flat_map(|node| node.step.provides()).collect();
    let kinds: BTreeSet<_> = provided.iter().map(|resource| resource.kind).collect();
    for node in graph.nodes() {
        for need in node.step.needs() {
            match &need {
                // Emulators are fetched only where a plan says whose.
                Need::IfAny(resource) if resource.kind == resource::EMULATOR => {}
                Need::Must(resource) | Need::IfAny(resource) | Need::Helps(resource) => {
                    assert!(provided.contains(resource), "{} waits for {resource}", node.id);
                }
                // Fixed ones are there only where a plan fixes something.
                Need::After(resource::FIXED_ADDRESS | resource::FIXED_PORT) => {}
                Need::After(kind) => assert!(kinds.contains(kind), "{} waits for every {kind}", node.id),
                Need::Node(_) => panic!("only a plan asks for nodes"),
            }
        }
    }
}

/// The steps of other kinds whose fingerprints a change of this kind changes: those that use what it says.
const USED: &str = "\
Storage(Directory(\"/srv/other\")): build build-account define-domain expose-ssh fetch-packages guest-command-x guest-file-etc-motd guest-packages issue join-controllers lxc-config lxc-create relocate-cache relocate-home sshd-accept-env unit-drop-ins
BuildHome(path: \"/home/other\", user: \"abuild\", uid: 399, gid: 399): await-ssh bind-home build build-account build-key relocate-home
BuildHome(path: \"/home/abuild\", user: \"builder\", uid: 399, gid: 399): await-ssh build build-account build-key expose-ssh relocate-home
BuildHome(path: \"/home/abuild\", user: \"abuild\", uid: 400, gid: 399): build build-account build-key tmpfs-workspace
BuildHome(path: \"/home/abuild\", user: \"abuild\", uid: 399, gid: 400): build build-account build-key tmpfs-workspace
Bridge(name: \"lxcbr1\", network: \"10.0.3.0/24\"): attach-interface await-ssh lxc-net unique-mac
Bridge(name: \"lxcbr0\", network: \"10.0.4.0/24\"): expose-ssh lxc-net reserve-address
Binfmt(emulator: Backports): binfmt-arm64 emulator
Binfmt(emulator: Release(\"trixie\")): binfmt-arm64 emulator
Binfmt(others: Renew): binfmt-arm64
TmpfsWorkspace(path: \"/home/abuild/builds\", size: \"4 GiB\"): bind-home build
DefineDomain(memory: \"2 GiB\"): unit-drop-ins
GuestPackages([\"comfort\", \"tmux\"]): fetch-packages
";

fn prints(graph: &Graph) -> BTreeMap<String, u64> {
    graph.nodes().iter().map(|node| (node.id.to_string(), fingerprint(node.step.as_ref()))).collect()
}

/// The ids of the nodes whose fingerprints are not the same in both, or that are in one of them only.
fn changed(one: &BTreeMap<String, u64>, other: &BTreeMap<String, u64>) -> BTreeSet<String> {
    one.keys().chain(other.keys()).filter(|id| one.get(*id) != other.get(*id)).cloned().collect()
}

#[test]
fn a_step_is_what_itself_and_the_facts_that_it_uses_are() {
    let before = prints(&plan(CONTAINER, |_| None, ""));
    let mut used = String::new();
    for (name, written) in WRITTEN {
        let kind = Kind::find(name).expect("it is known");
        let mut seen = BTreeSet::new();
        for says in *written {
            let after = prints(&plan(CONTAINER, |other| (other == *name).then(|| (*says).to_owned()), ""));
            let changed = changed(&before, &after);
            let is_own = |id: &&String| id.rsplit('/').next().is_some_and(|step| kind.is_called(step));
            let own: Vec<_> = changed.iter().filter(is_own).collect();
            assert_eq!(own.len(), usize::from(*says != written[0]), "{name}({says}): {own:?}");
            if let Some((_, print)) = after.iter().find(|(id, _)| is_own(id)) {
                assert!(seen.insert(*print), "{name}({says}) is another step than those before it");
            }
            let others: BTreeSet<_> = changed.iter().filter(|id| !is_own(id)).collect();
            let steps: BTreeSet<_> = others.iter().filter_map(|id| id.rsplit('/').next()).collect();
            if !steps.is_empty() {
                let steps: Vec<_> = steps.into_iter().collect();
                writeln!(used, "{name}({says}): {}", steps.join(" ")).expect("a text grows");
            }
        }
    }
    assert_eq!(used, USED);
}

#[test]
fn a_step_of_a_container_is_the_same_whatever_other_containers_are() {
    let other = |says: &str| {
        let more = format!("{CONTAINERS}, (name: \"other\", distribution: Debian, {says})");
        let mut prints = prints(&plan(&more, |_| None, ""));
        prints.retain(|id, _| !id.starts_with("other/") && !id.starts_with("bootstrap/debian-bullseye"));
        prints
    };
    let alone = prints(&plan(CONTAINERS, |_| None, ""));
    for says in [
        "release: \"bookworm\", arch: s390x",
        "release: \"bullseye\", arch: amd64",
        "release: \"bullseye\", arch: arm64, mirror: \"http://mirror.example.org/debian\"",
    ] {
        let known = other(says);
        assert!(alone.iter().all(|(id, print)| known.get(id) == Some(print)), "{says}");
    }
    let mirrored = CONTAINERS.replace("arch:", "mirror: \"http://mirror.example.org/debian\", arch:");
    let moved = prints(&plan(&mirrored, |_| None, ""));
    let steps = changed(&alone, &moved);
    let steps: BTreeSet<_> = steps.iter().filter_map(|id| id.rsplit('/').next()).collect();
    let expected =
        ["configure", "fetch", "fetch-packages", "lxc-create", "resolve", "seal", "twin", "unpack"];
    assert_eq!(steps, expected.into());
}
