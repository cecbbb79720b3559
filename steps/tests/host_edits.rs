//! The steps that edit the host where a plan says, on real trees: `HostFile`, `Command`, `RelocateCache`, `RelocateHome`.

mod silent;

use anyhow::{Context, Result, ensure};
use drover_engine::{Check, Cx};
use drover_steps::farm::{Account, Farm, PlanDirectory};
use drover_steps::registry::{Kind, Parse};
use drover_steps::step::FarmStep;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use tempfile::TempDir;

/// A directory that stands for the host.
struct World {
    place: TempDir,
    at: Farm,
    cx: Cx,
}

impl World {
    fn new() -> Result<Self> {
        let place = tempfile::tempdir()?;
        let path = |path: &str| place.path().join(path);
        // Nobody has this number, so nobody is at work in the home.
        let account = Account {
            user: "nobody-at-all".to_owned(),
            uid: 3_999_999,
            gid: 3_999_999,
            home: path("home/abuild"),
        };
        let at = Farm {
            storage: path("srv"),
            lxc_cache: path("var/cache/lxc"),
            account,
            plan_directory: PlanDirectory(path("plans")),
            ..Farm::default()
        };
        for (file, text) in [
            ("plans/tool", "#!/bin/sh\n"),
            ("var/cache/lxc/debian/x", "base\n"),
            ("home/abuild/.ssh/id", "key\n"),
        ] {
            fs::create_dir_all(path(file).parent().context("a parent")?)?;
            fs::write(path(file), text)?;
        }
        Ok(Self { cx: silent::cx(place.path()), at, place })
    }

    fn path(&self, path: &str) -> PathBuf {
        self.place.path().join(path)
    }

    /// The step that is written so; `@` stands for the directory.
    fn step(&self, text: &str) -> Result<Arc<dyn FarmStep<Farm>>> {
        let name = text.split('(').next().unwrap_or_default();
        let kind = Kind::find(name).context("a step of the list")?;
        let Parse::Host(parse) = &kind.parse else { panic!("`{name}` acts on the host") };
        Ok(parse(&text.replace('@', &self.place.path().display().to_string()))?)
    }

    /// All that can be told of the tree, but for the attempt's own log.
    fn snapshot(&self) -> Result<String> {
        let find = "find . -not -path ./log -not -path . -printf '%p %y %m %U:%G %s %T@ %l\\n' | sort";
        let said = Command::new("sh").args(["-euc", find]).current_dir(self.place.path()).output()?;
        Ok(String::from_utf8(said.stdout)?)
    }
}

const STEPS: [&str; 5] = [
    "HostFile(path: \"@/etc/sysctl.d/90.conf\", content: \"a = 1\\n\", mode: \"0600\")",
    "HostFile(path: \"@/bin/tool\", source: \"tool\", mode: \"0755\", owner: \"12:34\")",
    "Command(name: \"a\", run: \"date >@/date\", creates: \"@/date\")",
    "RelocateCache()",
    "RelocateHome()",
];

#[test]
fn needed_then_applied_then_satisfied_and_nothing_more() -> Result<()> {
    let world = World::new()?;
    for text in STEPS {
        let step = world.step(text)?;
        let before = world.snapshot()?;
        step.precondition(&world.cx, &world.at).with_context(|| text.to_owned())?;
        assert!(!step.check(&world.cx, &world.at)?.is_satisfied(), "{text} has something to do");
        assert_eq!(world.snapshot()?, before, "checking {text} changes nothing");
        step.apply(&world.cx, &world.at)?;
        assert_eq!(step.check(&world.cx, &world.at)?, Check::Satisfied, "{text}");
        let after = world.snapshot()?;
        // Whoever writes a command sees to this for himself.
        if !text.starts_with("Command") {
            step.apply(&world.cx, &world.at)?;
            assert_eq!(world.snapshot()?, after, "applying {text} again changes nothing");
        }
    }
    let tool = fs::metadata(world.path("bin/tool"))?;
    assert_eq!((tool.mode() & 0o7777, tool.uid(), tool.gid()), (0o755, 12, 34));
    assert_eq!(fs::read_link(world.path("var/cache/lxc"))?, PathBuf::from("../../srv/cache-lxc"));
    assert_eq!(fs::read_to_string(world.path("var/cache/lxc/debian/x"))?, "base\n");
    assert_eq!(fs::read_to_string(world.path("srv/home-nobody-at-all/.ssh/id"))?, "key\n");
    Ok(())
}

impl World {
    /// Takes back what the step did; answers what stays.
    fn undo(&self, step: &dyn FarmStep<Farm>) -> Result<Vec<String>> {
        for action in step.undo(&self.cx, &self.at)?.actions {
            assert_eq!(action.take(&self.cx)?, None);
        }
        let undo = step.undo(&self.cx, &self.at)?;
        assert!(undo.actions.is_empty(), "undone, and yet {:?}", undo.actions);
        Ok(undo.kept)
    }

    /// The tree without what is remembered, and without times.
    fn tree(&self) -> Result<String> {
        let find = "find . -path ./memory -prune -o -not -path ./log -not -path . -printf '%p %y %m %U:%G %l ' \
            -exec sh -c 'test -f $0 && sha256sum <$0 || echo' {} \\; | sort";
        let said = Command::new("sh").args(["-euc", find]).current_dir(self.place.path()).output()?;
        Ok(String::from_utf8(said.stdout)?)
    }
}

#[test]
fn what_was_done_is_taken_back_also_from_half_way() -> Result<()> {
    // Beside what each finds: a file of somebody else, and a relocation back that was killed.
    let there = "mkdir -p etc/sysctl.d; echo theirs >etc/sysctl.d/90.conf; chmod 640 etc/sysctl.d/90.conf";
    let places = "mkdir -p srv etc/sysctl.d bin";
    let no_link = "rm var/cache/lxc";
    let aside = "rm var/cache/lxc; cp -a srv/cache-lxc var/cache/lxc.moving; mv srv/cache-lxc srv/cache-lxc.drover-moved";
    let linked = "rm var/cache/lxc; mv srv/cache-lxc var/cache/lxc; ln -s ../var/cache/lxc srv/cache-lxc";
    let cases = STEPS.into_iter().filter(|text| !text.starts_with("Command")).map(|text| (places, text, ""));
    let more = [no_link, aside, linked].map(|killed| (places, "RelocateCache()", killed));
    for (first, text, killed) in cases.chain(more).chain([(there, STEPS[0], "")]) {
        let world = World::new()?;
        let shell = |script: &str| -> Result<()> {
            let ended = Command::new("sh").args(["-euc", script]).current_dir(world.place.path()).status()?;
            ensure!(ended.success(), "{script}");
            Ok(())
        };
        shell(first)?;
        let (step, before) = (world.step(text)?, world.tree()?);
        for _ in 0..2 {
            step.apply(&world.cx, &world.at)?;
        }
        assert_ne!(world.tree()?, before, "{text}");
        shell(killed)?;
        assert_eq!(world.undo(step.as_ref()).with_context(|| format!("{text} {killed}"))?, [""; 0]);
        assert_eq!(world.tree()?, before, "{text} {killed}");
        assert_eq!(world.undo(step.as_ref())?, [""; 0], "a second time");
    }
    Ok(())
}

#[test]
fn what_others_put_there_is_not_taken_away() -> Result<()> {
    let world = World::new()?;
    let step = world.step("HostFile(path: \"@/etc/farm/a.conf\", content: \"a = 1\\n\")")?;
    step.apply(&world.cx, &world.at)?;
    fs::write(world.path("etc/farm/a.conf"), "a = 1\nb = 2\n")?;
    world.undo(step.as_ref())?;
    assert_eq!(fs::read_to_string(world.path("etc/farm/a.conf"))?, "b = 2\n");
    // A cache that held something before the link was made stays where it is.
    fs::remove_dir_all(world.path("var/cache/lxc"))?;
    fs::create_dir_all(world.path("srv/cache-lxc/theirs"))?;
    let step = world.step("RelocateCache()")?;
    step.apply(&world.cx, &world.at)?;
    world.undo(step.as_ref())?;
    assert!(world.path("srv/cache-lxc/theirs").is_dir() && !world.path("var/cache/lxc").exists());
    Ok(())
}

#[test]
fn a_dry_run_shows_what_would_change() -> Result<()> {
    let world = World::new()?;
    for (text, is_shown) in [(STEPS[0].replace(", mode: \"0600\"", ""), true), (STEPS[0].to_owned(), false)] {
        let step = world.step(&text)?;
        step.apply(&world.cx, &world.at)?;
        fs::write(world.path("etc/sysctl.d/90.conf"), "a = 2\n")?;
        let Check::Needed { diff: Some(diff), .. } = step.check(&world.cx, &world.at)? else {
            panic!("a difference")
        };
        assert_eq!(diff.contains("-a = 2") && diff.contains("+a = 1"), is_shown, "{diff}");
        // What others may not read is not shown to them.
        assert_eq!(diff.contains("is not shown"), !is_shown, "{diff}");
    }
    Ok(())
}

#[test]
fn a_home_at_work_is_not_moved() -> Result<()> {
    let mut world = World::new()?;
    world.at.account.uid = rustix::process::geteuid().as_raw();
    let error = world.step("RelocateHome()")?.precondition(&world.cx, &world.at).expect_err("we are at work");
    assert!(error.to_string().contains("is at work"), "{error}");
    Ok(())
}

#[test]
fn what_this_host_lacks_is_said_with_what_mends_it() -> Result<()> {
    let world = World::new()?;
    let refused = |text: &str, says: &str| -> Result<()> {
        let error = world.step(text)?.precondition(&world.cx, &world.at).expect_err(text);
        assert!(format!("{error:#}").contains(says), "{error:#}");
        Ok(())
    };
    refused("HostFile(path: \"@/x\", source: \"gone\")", "plans/gone")?;
    refused("TmpfsWorkspace(path: \"@/ws\", size: \"100000 GiB\")", "half at the most")?;
    if !PathBuf::from("/sys/module/zfs").exists() {
        refused("ZfsTxgTimeout(seconds: 30)", "zfs-dkms")?;
    }
    Ok(())
}
