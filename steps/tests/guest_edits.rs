//! The steps that edit a container's root file system, on real trees: an honest one, and hostile ones.

mod silent;

use anyhow::Result;
use drover_engine::{Check, Cx};
use drover_steps::architecture::Architecture;
use drover_steps::base::Base;
use drover_steps::container::Container;
use drover_steps::farm::{Farm, PlanDirectory};
use drover_steps::registry::{Kind, Parse};
use drover_steps::release::{self, Distribution};
use drover_steps::step::FarmStep;
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tempfile::TempDir;

const EDITS: [&str; 5] = [
    "BuildAccount()",
    "Issue()",
    "SshdAcceptEnv()",
    "JoinControllers()",
    "GuestFile(path: \"/etc/profile.d/ci.sh\", content: \"export MAXPARMAKES=2\\n\", mode: \"0640\", owner: \"abuild:399\")",
];

/// A directory with `storage/rootfs/a/rootfs` in it, and `outside`, which nobody may touch.
struct World {
    place: TempDir,
    at: Container,
    cx: Cx,
}

impl World {
    fn new() -> Self {
        let place = tempfile::tempdir().expect("a directory");
        let farm = Arc::new(Farm { storage: place.path().join("storage"), ..Farm::default() });
        let release = release::find(Distribution::Debian, "bookworm").expect("bookworm is known");
        let base = Base {
            release,
            arch: Architecture::host(),
            mirrors: Vec::new(),
            keyring: None,
            farm: farm.clone(),
        };
        let at = Container {
            name: "a".to_owned(),
            base: Arc::new(base),
            farm,
            address: None,
            ssh_port: None,
            memory: None,
            joins_controllers: true,
        };
        Self { cx: silent::cx(place.path()), at, place }
    }

    /// With a system as Debian ships it, as far as these steps see one.
    fn honest() -> Self {
        let world = Self::new();
        for (path, text) in [
            (
                "etc/passwd",
                "root:x:0:0:root:/root:/bin/bash\nsshd:x:100:65534::/run/sshd:/usr/sbin/nologin\n",
            ),
            ("etc/group", "root:x:0:\nabuilder:x:1000:abuild"),
            ("etc/shadow", "root:*:19000:0:99999:7:::\nsshd:!:19000::::::\n"),
            ("etc/gshadow", "root:*::\n"),
            ("etc/issue", "Debian GNU/Linux 12 \\n \\l\n\n"),
            ("etc/issue.net", "Debian GNU/Linux 12\n"),
            ("etc/ssh/sshd_config", "UsePAM yes\nAcceptEnv LANG LC_*\nMatch User root\n\tX11Forwarding no\n"),
        ] {
            world.write(path, text);
        }
        world
    }

    fn path(&self, path: &str) -> PathBuf {
        self.at.rootfs().join(path)
    }

    fn outside(&self) -> PathBuf {
        self.place.path().join("outside")
    }

    fn write(&self, path: &str, text: &str) {
        let path = self.path(path);
        fs::create_dir_all(path.parent().expect("it has a parent")).expect("made");
        fs::write(path, text).expect("written");
    }

    fn apply(&self, step: &str) -> Result<()> {
        step_called(step).apply(&self.cx, &self.at)
    }

    fn check(&self, step: &str) -> Result<Check> {
        step_called(step).check(&self.cx, &self.at)
    }
}

/// The step that is written so; without parentheses, one without options.
fn step_called(text: &str) -> Arc<dyn FarmStep<Container>> {
    let name = text.split('(').next().unwrap_or_default();
    let kind = Kind::find(name).expect("a step of the list");
    let Parse::Container(parse) = &kind.parse else { panic!("`{name}` acts on a container") };
    let text = if text.contains('(') { text.to_owned() } else { format!("{text}()") };
    parse(&text).expect("it is written as its manual says")
}

/// All that can be told of a tree without opening devices: links, modes, owners, times, contents.
fn snapshot(root: &Path) -> BTreeMap<PathBuf, String> {
    let mut all = BTreeMap::new();
    let mut open = vec![root.to_owned()];
    while let Some(path) = open.pop() {
        let meta = fs::symlink_metadata(&path).expect("it is there");
        let kind = meta.file_type();
        let content = if kind.is_symlink() {
            format!("-> {}", fs::read_link(&path).expect("a link").display())
        } else if kind.is_file() {
            fs::read_to_string(&path).expect("text")
        } else if kind.is_fifo() || kind.is_char_device() {
            "special".to_owned()
        } else {
            open.extend(
                fs::read_dir(&path).expect("a directory").map(|entry| entry.expect("an entry").path()),
            );
            String::new()
        };
        let time = (meta.mtime(), meta.mtime_nsec());
        all.insert(path, format!("{:o} {}:{} {time:?} {content}", meta.mode(), meta.uid(), meta.gid()));
    }
    all
}

#[test]
fn needed_then_applied_then_satisfied_and_nothing_more() {
    let world = World::honest();
    for step in EDITS {
        let before = snapshot(world.place.path());
        assert!(!world.check(step).expect("checked").is_satisfied(), "{step} has something to do");
        assert_eq!(snapshot(world.place.path()), before, "checking {step} changes nothing");
        world.apply(step).expect("applied");
        assert_eq!(world.check(step).expect("checked"), Check::Satisfied, "{step}");
        let after = snapshot(world.place.path());
        world.apply(step).expect("applied again");
        assert_eq!(snapshot(world.place.path()), after, "applying {step} again changes nothing");
    }
    let read = |path: &str| fs::read_to_string(world.path(path)).expect("there");
    assert!(read("etc/passwd").ends_with("\nabuild:x:399:399::/home/abuild:/bin/bash\n"));
    assert_eq!(read("etc/group"), "root:x:0:\nabuilder:x:1000:abuild\nabuild:x:399:\n");
    assert!(read("etc/shadow").ends_with("\nabuild:!:18889:0:99999:7:::\n"));
    assert_eq!(read("etc/gshadow"), "root:*::\nabuild:!::\n");
    assert!(world.path("home/abuild").is_dir());
    assert!(read("etc/systemd/system.conf").ends_with("[Manager]\nJoinControllers=\n"));
    let file = fs::metadata(world.path("etc/profile.d/ci.sh")).expect("there");
    assert_eq!((file.mode() & 0o7777, file.uid(), file.gid()), (0o640, 399, 399));
    assert!(read("etc/issue").contains(r"Current IP(s): \4{eth0}"));
    assert!(read("etc/ssh/sshd_config").find("AcceptEnv *") < read("etc/ssh/sshd_config").find("Match"));
}

/// The texts of a tree's files, with their modes and owners.
fn files(root: &Path) -> BTreeMap<PathBuf, String> {
    let whole = snapshot(root).into_iter().filter(|(path, _)| path.is_file());
    whole
        .map(|(path, _)| {
            let meta = fs::metadata(&path).expect("it is there");
            let text = fs::read_to_string(&path).expect("text");
            (path, format!("{:o} {}:{} {text}", meta.mode(), meta.uid(), meta.gid()))
        })
        .collect()
}

#[test]
fn what_was_edited_is_taken_back_and_what_others_wrote_stays() {
    for text in EDITS {
        let world = World::honest();
        if text != EDITS[0] {
            world.apply(EDITS[0]).expect("there is the account");
        }
        let before = files(&world.at.rootfs());
        let step = step_called(text);
        step.apply(&world.cx, &world.at).expect("applied");
        assert_ne!(files(&world.at.rootfs()), before, "{text}");
        let undo = || {
            let actions = step.undo(&world.cx, &world.at).expect("it can be told").actions;
            actions.into_iter().map(|it| it.take(&world.cx).expect("undone")).collect::<Vec<_>>().len()
        };
        assert!(undo() > 0, "{text}");
        assert_eq!(files(&world.at.rootfs()), before, "{text}");
        assert_eq!(undo(), 0, "{text}: a second time");
    }
    let world = World::honest();
    let step = step_called("SshdAcceptEnv");
    step.apply(&world.cx, &world.at).expect("applied");
    let ours = fs::read_to_string(world.path("etc/ssh/sshd_config")).expect("there");
    world.write("etc/ssh/sshd_config", &format!("Port 2222\n{ours}# theirs\n"));
    for action in step.undo(&world.cx, &world.at).expect("it can be told").actions {
        action.take(&world.cx).expect("undone");
    }
    let left = fs::read_to_string(world.path("etc/ssh/sshd_config")).expect("there");
    assert!(left.starts_with("Port 2222\n") && left.ends_with("# theirs\n"), "{left}");
    assert!(!left.contains("AcceptEnv *"), "{left}");
}

#[test]
fn files_that_a_system_has_elsewhere_are_found() {
    let world = World::honest();
    fs::remove_file(world.path("etc/issue")).expect("removed");
    world.write("usr/lib/issue", "openSUSE \\n\n");
    symlink("../usr/lib/issue", world.path("etc/issue")).expect("linked");
    fs::remove_file(world.path("etc/ssh/sshd_config")).expect("removed");
    world.write("usr/etc/ssh/sshd_config", "Include /etc/ssh/sshd_config.d/*.conf\nUsePAM yes\n");
    for step in ["Issue", "SshdAcceptEnv"] {
        assert!(!world.check(step).expect("checked").is_satisfied(), "{step}");
        world.apply(step).expect("applied");
        assert_eq!(world.check(step).expect("checked"), Check::Satisfied, "{step}");
    }
    let read = |path: &str| fs::read_to_string(world.path(path)).expect("there");
    assert!(read("etc/issue").starts_with("openSUSE") && read("etc/issue").contains("eth0"));
    assert_eq!(read("usr/lib/issue"), "openSUSE \\n\n");
    assert!(fs::symlink_metadata(world.path("etc/issue")).expect("there").is_file());
    assert!(read("etc/ssh/sshd_config.d/50-drover.conf").contains("\nAcceptEnv *\n"));
    assert!(!world.path("etc/ssh/sshd_config").exists(), "it would hide the system's own");
}

#[test]
fn nothing_there_is_needed_and_no_error() {
    let world = World::new();
    for step in EDITS {
        assert!(!world.check(step).expect("checked").is_satisfied(), "{step}");
        assert!(world.apply(step).is_err(), "{step} has nothing to work on");
    }
}

/// Every way out of the tree: each replaces `path` by something that leads, or seems to lead, elsewhere.
fn lead_out(world: &World, path: &str, how: &str) {
    let victim = world.path(path);
    match how {
        "parent" => {
            fs::remove_dir_all(world.path("etc")).expect("removed");
            return symlink(world.outside(), world.path("etc")).expect("linked");
        }
        "parent by dots" => {
            fs::remove_dir_all(world.path("etc")).expect("removed");
            return symlink("../../../../outside", world.path("etc")).expect("linked");
        }
        _ => fs::remove_file(&victim).expect("removed"),
    }
    match how {
        "absolute" => symlink(world.outside().join("shadow"), victim).expect("linked"),
        "by dots" => symlink("../../../../../outside/shadow", victim).expect("linked"),
        "fifo" => rustix::fs::mkfifoat(rustix::fs::CWD, victim, rustix::fs::Mode::from(0o644)).expect("made"),
        "device" => symlink("/dev/null", victim).expect("linked"),
        other => panic!("no such way: {other}"),
    }
}

#[test]
fn no_link_leads_out_and_no_fifo_blocks() {
    let files =
        [("BuildAccount", "etc/passwd"), ("Issue", "etc/issue"), ("SshdAcceptEnv", "etc/ssh/sshd_config")];
    for how in ["absolute", "by dots", "parent", "parent by dots", "fifo", "device"] {
        for (step, file) in files {
            let world = World::honest();
            fs::create_dir_all(world.outside().join("ssh")).expect("made");
            for name in ["shadow", "passwd", "group", "issue", "issue.net", "ssh/sshd_config"] {
                fs::write(world.outside().join(name), "the host's own\n").expect("written");
            }
            lead_out(&world, file, how);
            let before = snapshot(&world.outside());
            let answer = world.check(step);
            assert!(!matches!(answer, Ok(Check::Satisfied)), "{step}, {how}: {answer:?}");
            let error = world.apply(step).expect_err("refused");
            assert!(format!("{error:#}").contains(&world.at.name), "{step}, {how}: {error:#}");
            assert_eq!(snapshot(&world.outside()), before, "{step}, {how}");
        }
    }
}

#[test]
fn an_id_or_a_name_of_somebody_else_is_refused() {
    for (file, line, says) in [
        ("etc/passwd", "obs:x:399:399::/:/bin/sh\n", "taken by `obs`"),
        ("etc/group", "obs:x:399:\n", "taken by `obs`"),
        ("etc/passwd", "abuild:x:1000:1000::/home/abuild:/bin/sh\n", "should have 399"),
    ] {
        let world = World::honest();
        world.write(file, line);
        let before = fs::read_to_string(world.path(file)).expect("there");
        let error = format!("{:#}", world.apply("BuildAccount").expect_err("refused"));
        assert!(error.contains(says), "{error}");
        assert_eq!(fs::read_to_string(world.path(file)).expect("there"), before);
    }
}

#[test]
fn a_file_that_drifted_is_put_right_text_mode_and_owner() {
    let world = World::honest();
    let step = "GuestFile(path: \"/etc/motd\", source: \"motd\")";
    assert!(world.check(step).is_err(), "the source is not there");
    let farm =
        Farm { plan_directory: PlanDirectory(world.place.path().to_owned()), ..(*world.at.farm).clone() };
    let world = World { at: Container { farm: Arc::new(farm), ..world.at }, ..world };
    fs::write(world.place.path().join("motd"), "hello\n").expect("written");
    world.apply(step).expect("applied");
    for spoil in ["echo bye >$1", "chmod 600 $1", "chown 7:7 $1"] {
        let path = world.path("etc/motd");
        let ended = std::process::Command::new("sh").args(["-euc", spoil, "sh"]).arg(&path).status();
        assert!(ended.expect("a shell").success());
        assert!(!world.check(step).expect("checked").is_satisfied(), "{spoil}");
        world.apply(step).expect("applied");
        assert_eq!(world.check(step).expect("checked"), Check::Satisfied, "{spoil}");
    }
}

/// A container that nobody can ever get into is none: neither as `lxc-create` left it, nor as somebody else did.
#[test]
fn a_container_without_host_keys_is_not_adopted() {
    let world = World::honest();
    for (path, text) in [
        ("etc/os-release", "ID=debian\nVERSION_CODENAME=bookworm\n"),
        ("etc/hostname", "a\n"),
        ("var/lib/dpkg/arch", ""),
        (
            "var/lib/dpkg/status",
            &format!(
                "Package: dpkg\nStatus: install ok installed\nArchitecture: {}\n\n",
                world.at.base.arch.debian()
            ),
        ),
    ] {
        world.write(path, text);
    }
    let config = format!("lxc.rootfs.path = dir:{}\nlxc.uts.name = a\n", world.at.rootfs().display());
    fs::write(world.at.directory().join("config"), config).expect("written");
    let Check::Needed { reason, .. } = world.check("LxcCreate").expect("checked") else { panic!("adopted") };
    assert!(reason.contains("`a` has no ssh host keys (`chroot "), "{reason}");
    // It is not ours: it stays, and the run says so.
    let before = snapshot(world.place.path());
    let error = world.apply("LxcCreate").expect_err("it was there before").to_string();
    assert!(error.contains("has no ssh host keys") && error.contains("not ours to remove"), "{error}");
    assert_eq!(snapshot(world.place.path()), before);
    world.write("etc/ssh/ssh_host_ed25519_key.pub", "ssh-ed25519 AAAA root@a\n");
    assert_eq!(world.check("LxcCreate").expect("checked"), Check::Satisfied);
}
