//! The switch, started as the kernel starts it, counts what it does: also side by side, when it is killed, and whatever
//! somebody has done to the file.
//!
//! It runs in a user and mount namespace of the test's own, in which scripts play the guest's programs, its natives and the
//! emulator. Where no namespace can be made, or there is no switch for this processor, the tests say so.

use drover_assist::counts::{Counts, OTHERS, SIZE, Starts};
use drover_assist::layout;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Where a guest sees all of it.
const PLACE: &str = "/proc/tty/ldisc";

/// A directory as a guest sees it, and the programs of a guest.
struct Stage {
    top: PathBuf,
}

impl Stage {
    /// None, where the switch cannot be tried.
    fn set(name: &str) -> Option<Self> {
        let stage = Self { top: Path::new(env!("CARGO_TARGET_TMPDIR")).join(name) };
        let _ = fs::remove_dir_all(&stage.top);
        let possible = Command::new("unshare").args(["-Urm", "mount", "--bind", "/tmp", PLACE]).output();
        if !possible.is_ok_and(|ended| ended.status.success()) || drover_assist::SWITCH.is_empty() {
            println!("not tried: there is no switch, or no namespace of one's own, on this host");
            return None;
        }
        fs::create_dir_all(stage.place("offer")).expect("a directory");
        fs::create_dir_all(stage.top.join("bin")).expect("a directory");
        executable(&stage.top.join("switch"), drover_assist::SWITCH);
        executable(&stage.place("qemu"), b"#!/bin/sh\necho emulated\n");
        fs::write(stage.place("counts"), [0; SIZE]).expect("a file");
        Some(stage)
    }

    fn place(&self, name: &str) -> PathBuf {
        self.top.join("place").join(name)
    }

    /// A program of the guest.
    fn program(&self, name: &str) -> PathBuf {
        let path = self.top.join("bin").join(name);
        executable(&path, b"of another processor");
        path
    }

    /// A program of the guest that a native is offered of, which is returned.
    fn offered(&self, name: &str) -> PathBuf {
        let path = self.program(name);
        let native = self.place("offer").join(path.strip_prefix("/").expect("a whole path"));
        fs::create_dir_all(native.parent().expect("a directory")).expect("a directory");
        executable(&native, b"#!/bin/sh\necho native\n");
        native
    }

    /// Runs a script in the directory of the guest's programs, the place being mounted. `$0` is the switch.
    fn run(&self, script: &str) -> String {
        let mounted = format!("mount --rbind '{}' {PLACE}\n{script}", self.place("").display());
        let ended = Command::new("unshare")
            .args(["-Urm", "sh", "-euc", &mounted])
            .arg(self.top.join("switch"))
            .env_clear()
            .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
            .current_dir(self.top.join("bin"))
            .stdin(Stdio::null())
            .output()
            .expect("unshare");
        let said = String::from_utf8_lossy(&ended.stdout).into_owned();
        assert!(ended.status.success(), "{script}: {said}{}", String::from_utf8_lossy(&ended.stderr));
        said
    }

    fn counts(&self) -> Counts {
        Counts::read(&fs::read(self.place("counts")).expect("the file"))
    }

    fn starts(&self, name: &str) -> Starts {
        self.counts().programs.get(name).copied().unwrap_or_default()
    }

    fn emulated(&self) -> u64 {
        self.counts().programs.values().map(Starts::emulated).sum()
    }
}

fn executable(path: &Path, bytes: &[u8]) {
    fs::write(path, bytes).expect("a file");
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).expect("its owner");
}

#[test]
fn starts_are_counted_for_what_they_are() {
    let Some(stage) = Stage::set("kinds") else { return };
    let [_, set_id, held, broken] = ["dash", "set-id", "held", "broken"].map(|name| stage.offered(name));
    stage.program("bash");
    fs::set_permissions(stage.top.join("bin/set-id"), fs::Permissions::from_mode(0o4755)).expect("its owner");
    assert!(set_id.exists());
    symlink("/", held.with_extension("unless-1")).expect("a link");
    fs::write(broken, "\x7fELF").expect("a file");
    symlink("dash", stage.top.join("bin/sh")).expect("a link");
    let said = stage.run(
        "\"$0\" dash dash; \"$0\" ./sh sh; LC_ALL=C.UTF-8 LANG=de_DE.UTF-8 \"$0\" dash -dash; \"$0\" bash bash
         LD_LIBRARY_PATH= \"$0\" dash x; LC_ALL=de_DE.UTF-8 \"$0\" dash x; LANG=de_DE \"$0\" dash x
         LC_ALL= PERL5LIB=/x \"$0\" sh x; LD_LIBRARY_PATH=/x \"$0\" bash x
         \"$0\" set-id x; \"$0\" held x; \"$0\" broken x; \"$0\" nothing x",
    );
    let times = |word| said.lines().filter(|line| *line == word).count();
    assert_eq!((times("native"), times("emulated")), (3, 10), "{said}");
    let none = Starts::default();
    for (name, starts) in [
        ("dash", Starts { native: 3, environment: 4, ..none }),
        ("bash", Starts { unlisted: 2, ..none }),
        ("set-id", Starts { set_id: 1, ..none }),
        ("held", Starts { unless: 1, ..none }),
        ("broken", Starts { refused: 1, ..none }),
        ("nothing", Starts { unlisted: 1, ..none }),
        ("sh", none),
    ] {
        assert_eq!(stage.starts(name), starts, "{name}");
    }
    let counted = stage.counts().variables;
    let variables = [("LANG=de_DE", 1), ("LC_ALL=de_DE.UTF-8", 1), ("LD_LIBRARY_PATH", 1), ("PERL5LIB", 1)];
    assert_eq!(counted, variables.map(|(name, count)| (name.to_owned(), count)).into());
}

#[test]
fn side_by_side_none_is_lost() {
    let Some(stage) = Stage::set("many") else { return };
    // More names than there are slots, each new to all at the same time.
    let names: Vec<_> = (0..600).map(|number| format!("a-name-like-{number}")).collect();
    names.iter().for_each(|name| drop(stage.program(name)));
    stage.offered("dash");
    // Whoever comes first keeps a slot.
    stage.run("\"$0\" dash x");
    stage.run(
        "for turn in 1 2 3 4; do (for name in a-*; do \"$0\" $name x; \"$0\" dash x; done) >/dev/null & done; wait",
    );
    let counts = stage.counts();
    assert_eq!((stage.starts("dash").native, stage.emulated()), (2401, 2400));
    let whole = names.iter().filter(|name| stage.starts(name).unlisted == 4).count() as u64;
    let others = stage.starts(OTHERS).unlisted;
    assert!(
        whole >= 400 && others == 2400 - 4 * whole,
        "{whole} names of their own, {others} others: {counts:?}"
    );
}

#[test]
fn a_kill_anywhere_costs_its_own_start_at_the_most() {
    let Some(stage) = Stage::set("killed") else { return };
    (0..40).for_each(|number| drop(stage.program(&format!("systemd-{number}"))));
    stage.run(
        "for turn in 1 2 3 4 5; do
             for name in systemd-*; do
                 \"$0\" $name x >/dev/null 2>&1 & one=$!
                 \"$0\" $name x >/dev/null 2>&1 & kill -9 $one $! || :
             done
         done 2>/dev/null; wait",
    );
    let before = stage.emulated();
    assert!(before <= 400, "{before}");
    stage.run("for name in systemd-*; do \"$0\" $name x; done >/dev/null");
    assert_eq!(stage.emulated() - before, 40);
    let all = (0..40).all(|number| stage.starts(&format!("systemd-{number}")).unlisted > 0);
    assert!(all, "{:?}", stage.counts());
}

#[test]
fn whatever_becomes_of_the_file_programs_start() {
    let Some(stage) = Stage::set("nonsense") else { return };
    stage.offered("dash");
    for harm in [
        ": >counts",
        "echo short >counts",
        "head -c 9000 /dev/zero >counts",
        "truncate -s 1T counts",
        "head -c 32768 /dev/urandom >counts",
        "head -c 32768 /dev/zero | tr '\\0' '\\377' >counts",
        "head -c 32768 /dev/zero | tr '\\0' / >counts",
        "rm counts",
        "mkdir counts",
        "rmdir counts; ln -s /dev/zero counts",
        "rm counts; mkfifo counts",
    ] {
        let said = stage.run(&format!("(cd {PLACE}; {harm}); timeout 5 \"$0\" dash x"));
        assert_eq!(said, "native\n", "{harm}");
    }
}

#[test]
fn nonsense_is_read_as_numbers_and_names_to_be_shown() {
    let bytes: Vec<_> = (0..SIZE).map(|at| u8::try_from(at * 7 % 251).expect("small")).collect();
    for file in [&bytes[..], &[0xff; SIZE], &[b'/'; SIZE], &bytes[..100], &[], &[0x1b; 3 * SIZE]] {
        let counts = Counts::read(file);
        let names: Vec<_> = counts.programs.keys().chain(counts.variables.keys()).collect();
        assert!(names.len() <= layout::PAGES * layout::SLOTS);
        let shown =
            |name: &&String| name.len() <= layout::NAME && name.chars().all(|sign| sign.is_ascii_graphic());
        assert!(names.iter().all(shown), "{names:?}");
    }
    assert_eq!(Counts::read(&[0; SIZE]), Counts::default());
}

#[test]
fn slots_are_where_the_layout_says() {
    let mut file = vec![0; SIZE];
    let mut fill = |slot: usize, name: &layout::Name, kind: usize, count: u8| {
        let at = slot * layout::SLOT;
        file[at..at + layout::NAME].copy_from_slice(name);
        file[at + layout::NAME + 4 * kind] = count;
    };
    fill(1, &layout::program(b"dash"), layout::NATIVE, 7);
    fill(layout::SLOTS + 5, &layout::program(b"dash"), layout::PRELOAD, 2);
    fill(2, &layout::program(b"\x1b[31m"), layout::UNLISTED, 1);
    fill(3, &layout::variable(b"LD_PRELOAD"), layout::ENVIRONMENT, 3);
    fill(0, &[0; layout::NAME], layout::UNLISTED, 4);
    let counts = Counts::read(&file);
    assert_eq!(counts.programs["dash"], Starts { native: 7, preload: 2, ..Starts::default() });
    assert_eq!((counts.programs["?[31m"].unlisted, counts.programs[OTHERS].unlisted), (1, 4));
    assert_eq!(counts.variables["LD_PRELOAD"], 3);
}
