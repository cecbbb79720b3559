//! The program as one uses it, with plans that need no containers: what is shown, what is asked, what it ends with.

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// A directory with a plan, a state, and what the plan makes.
struct World(TempDir);

/// How a command ended.
struct Ended {
    code: Option<i32>,
    stdout: String,
    stderr: String,
}

impl World {
    fn new() -> Result<Self> {
        Self::with(
            "HostFile(path: \"@/etc/one.conf\", content: \"a = 1\\n\"),
            HostFile(path: \"@/etc/two.conf\", content: \"b = 2\\n\"),
            Command(name: \"mark\", run: \"touch @/mark\", creates: \"@/mark\"),",
        )
    }

    /// One whose plan has these steps, in which `@` is its directory.
    fn with(steps: &str) -> Result<Self> {
        let world = Self(tempfile::tempdir()?);
        let steps = steps.replace('@', &world.0.path().display().to_string());
        let containers = "[(name: \"ci-amd64\", distribution: Debian, release: \"bookworm\", arch: amd64)]";
        let plan = format!("Plan(name: \"files\", host: [{steps}], containers: {containers}, each: [])");
        fs::write(world.path("plan.ron"), plan)?;
        Ok(world)
    }

    fn path(&self, path: &str) -> PathBuf {
        self.0.path().join(path)
    }

    fn drover(&self, arguments: &[&str]) -> Result<Ended> {
        let mut command = Command::new(env!("CARGO_BIN_EXE_drover"));
        command.current_dir(self.0.path()).args(["--state", "state"]).args(arguments).stdin(Stdio::null());
        let output = command.output().context("the program is built")?;
        Ok(Ended {
            code: output.status.code(),
            stdout: String::from_utf8(output.stdout)?,
            stderr: String::from_utf8(output.stderr)?,
        })
    }

    /// As [`World::drover`], if it ends so.
    fn ends(&self, code: i32, arguments: &[&str]) -> Result<Ended> {
        let ended = self.drover(arguments)?;
        ensure!(
            ended.code == Some(code),
            "{arguments:?}: {:?}\n{}{}",
            ended.code,
            ended.stdout,
            ended.stderr
        );
        Ok(ended)
    }

    fn json(&self, arguments: &[&str]) -> Result<Value> {
        let ended = self.ends(0, arguments)?;
        serde_json::from_str(&ended.stdout).with_context(|| ended.stdout.clone())
    }
}

#[test]
fn where_nothing_was_made_there_is_nothing_to_undo() -> Result<()> {
    let world = World::new()?;
    let nothing = world.ends(0, &["destroy", "plan.ron", "--yes"])?;
    assert_eq!(nothing.stdout, "nothing to undo: the journal names nothing of this that Drover made\n");
    assert_eq!(world.json(&["destroy", "plan.ron", "--dry-run", "--json"])?, serde_json::json!([]));
    assert!(!world.path("state").exists(), "nothing is made to find that out");
    let unknown = world.ends(4, &["destroy", "plan.ron", "--container", "ci-arm64", "--yes"])?;
    assert!(unknown.stderr.contains("did you mean `ci-amd64`?"), "{}", unknown.stderr);
    assert!(world.ends(1, &["report"])?.stderr.contains("nothing was run yet"));
    Ok(())
}

#[test]
fn it_is_shown_and_asked_for_and_done_and_can_be_done_again() -> Result<()> {
    let world = World::new()?;
    world.ends(0, &["run", "plan.ron"])?;
    fs::write(world.path("etc/two.conf"), "b = 2\ntheirs = 3\n")?;

    let shown = world.ends(0, &["destroy", "plan.ron", "--dry-run"])?.stdout;
    assert!(shown.starts_with("to be undone, in this order:\n"), "{shown}");
    assert!(shown.contains(&format!("  - remove {}\n", world.path("etc/one.conf").display())), "{shown}");
    assert!(
        shown.contains("  - take our line out of ")
            && shown.contains("  kept: what the command mark did stays")
    );
    let refused = world.ends(1, &["destroy", "plan.ron"])?;
    assert!(refused.stdout == shown && refused.stderr.contains("`--yes`"), "{}", refused.stderr);
    assert!(world.path("etc/one.conf").exists(), "nobody has agreed");

    let done = world.ends(0, &["destroy", "plan.ron", "--yes"])?;
    assert!(
        done.stderr.contains("kept: what the command mark did stays (host/command-mark)"),
        "{}",
        done.stderr
    );
    assert!(!world.path("etc/one.conf").exists());
    assert_eq!(fs::read_to_string(world.path("etc/two.conf"))?, "theirs = 3\n");
    let report = world.json(&["report", "--json"])?;
    assert_eq!(
        (&report["undone"], &report["unchanged"], &report["code"]),
        (&2.into(), &1.into(), &0.into()),
        "{report:#}"
    );
    let text = world.ends(0, &["report"])?.stdout;
    assert!(
        text.starts_with("run 2 of files (destroy plan.ron), begun ") && text.contains("undone"),
        "{text}"
    );
    let resumed = world.ends(4, &["resume"])?.stderr;
    assert!(resumed.contains("`drover destroy") && resumed.contains("`drover run"), "{resumed}");
    // From any directory.
    assert!(resumed.contains(&format!("`drover destroy {}`", world.path("plan.ron").display())), "{resumed}");

    let again = world.ends(0, &["destroy", "plan.ron"])?;
    assert!(
        again.stdout.starts_with("nothing to undo: what Drover made of this is gone, or stays\n"),
        "{}",
        again.stdout
    );
    world.ends(0, &["run", "plan.ron"])?;
    assert_eq!(fs::read_to_string(world.path("etc/one.conf"))?, "a = 1\n");
    Ok(())
}

#[test]
fn a_mistake_on_the_command_line_is_not_taken_for_a_change() -> Result<()> {
    let world = World::new()?;
    let misspelt = world.ends(3, &["plan", "plan.ron", "--detailed-exitcod"])?;
    assert!(misspelt.stderr.contains("'--detailed-exitcode'"), "{}", misspelt.stderr);
    world.ends(3, &["run"])?;
    world.ends(3, &["pan", "plan.ron"])?;
    for (pool, told) in
        [("emulators=1", "`emulation`, `mirror`"), ("mirror=0", "from 1 on"), ("mirror", "as in")]
    {
        let wrong = world.ends(3, &["run", "plan.ron", "--pool", pool])?;
        assert!(wrong.stderr.contains(told), "{}", wrong.stderr);
    }
    world.ends(2, &["plan", "plan.ron", "--detailed-exitcode"])?;
    assert!(world.ends(0, &["--help"])?.stdout.contains("Exit codes:"));
    assert!(world.ends(0, &["--version"])?.stdout.starts_with("drover "));
    Ok(())
}

#[test]
fn a_log_is_found_by_a_pattern_that_means_one_node() -> Result<()> {
    let world = World::new()?;
    world.ends(0, &["run", "plan.ron"])?;
    for name in ["host/command-mark", "command-mark", "host/*mark", "*mark"] {
        let log = world.ends(0, &["logs", name])?.stdout;
        assert!(log.contains("touch "), "{name}: {log}");
    }
    let several = world.ends(1, &["logs", "host/*"])?.stderr;
    assert!(several.contains("host/command-mark") && several.contains("host/host-file-"), "{several}");
    let none = world.ends(1, &["logs", "mar"])?.stderr;
    assert!(none.contains("did you mean host/command-mark?"), "{none}");
    Ok(())
}

#[test]
fn what_is_resumed_keeps_its_pace_unless_another_is_asked_for() -> Result<()> {
    let world = World::new()?;
    let pace = || -> Result<Value> {
        let request: Value = serde_json::from_str(&fs::read_to_string(world.path("state/request.json"))?)?;
        Ok(serde_json::json!([
            request["pace"]["jobs"],
            request["pace"]["fail_fast"],
            request["pace"]["pools"]
        ]))
    };
    for (arguments, expected) in [
        (&["run", "plan.ron", "--jobs", "3", "--fail-fast", "--pool", "mirror=1"][..], (3, true)),
        (&["resume"], (3, true)),
        (&["resume", "--jobs", "1"], (1, true)),
        (&["resume", "--keep-going"], (1, false)),
        (&["resume"], (1, false)),
    ] {
        world.ends(0, arguments)?;
        assert_eq!(pace()?, serde_json::json!([expected.0, expected.1, [["mirror", 1]]]), "{arguments:?}");
    }
    Ok(())
}

#[test]
fn a_report_is_for_people_and_for_jenkins() -> Result<()> {
    let world = World::with(
        "Command(name: \"bad\", run: \"echo why; false\", creates: \"@/bad\"),
        Command(name: \"good\", run: \"touch @/good\", creates: \"@/good\"),",
    )?;
    world.ends(1, &["run", "plan.ron"])?;
    let xml = world.ends(0, &["report", "--junit"])?.stdout;
    for part in [
        "<testsuites name=\"files\" tests=\"2\" skipped=\"0\" failures=\"1\" errors=\"0\">",
        "<testcase name=\"command-bad\" classname=\"files.host\"",
        "exit status 1: why",
    ] {
        assert!(xml.contains(part), "{part} is not in:\n{xml}");
    }
    world.ends(3, &["report", "--junit", "--json"])?;
    Ok(())
}

/// A command of a plan that writes down what it is given: variables, umask, directory, descriptors, signals, limits.
const TELLS: &str = r#"Command(name: "tells", check: "test -e @/told/limits", run: "
    mkdir @/told; readlink /proc/$$/cwd >@/told/cwd; cd @/told
    cat /proc/$$/environ >environ; umask >umask; ls /proc/$$/fd >fds
    grep -E '^Sig(Blk|Ign)' /proc/self/status >signals; ulimit -a >limits"),
    HostFile(path: "@/made/deep/file", content: "text"),"#;

/// How Drover is started, in front of its own words.
const FRIENDLY: &[&str] = &["env", "-i", "PATH=/usr/bin:/bin", "HOME=/root"];

/// The same, by somebody who has all sorts of things set, opened, ignored, blocked and limited.
const HOSTILE: &str = "umask UMASK; exec 9</etc/passwd; ulimit -S -f 20000; ulimit -S -n 100; cd \"$0\"; \
    exec /usr/bin/env --ignore-signal=CHLD,TERM,USR1 --block-signal=INT,HUP PATH=::.:bin HOME=/nowhere TERM=vt100 \
    LANG=de_DE.UTF-8 LC_ALL=de_DE.UTF-8 LANGUAGE=de_DE:de LD_LIBRARY_PATH=/nowhere LD_BIND_NOW=1 MALLOC_ARENA_MAX=1 \
    PERL5LIB=/nowhere PERL5OPT=-w QEMU_STRACE=1 APT_CONFIG=/nowhere DPKG_ROOT=/nowhere VIRSH_DEBUG=0 \
    LIBVIRT_DEFAULT_URI=test:///default MAKEFLAGS=-n CARGO_HOME=/nowhere TMPDIR=\"$0/mine\" TOKEN=secret ENV=/nowhere \
    BASH_ENV=/nowhere IFS=x CDPATH=/ TZ=Asia/Tokyo POSIXLY_CORRECT=1 GREP_OPTIONS=-v DROVER_RUN=1-1.1 \"$@\"";

impl World {
    /// Runs Drover as `before` starts it, and answers with what it was that the plan's command was told.
    fn told(&self, before: &[&str], arguments: &[&str]) -> Result<BTreeMap<String, String>> {
        let program = [env!("CARGO_BIN_EXE_drover"), "--state", "state"];
        let words: Vec<_> = before.iter().chain(&program).chain(arguments).collect();
        let output = Command::new(words[0]).args(&words[1..]).current_dir(self.0.path()).output()?;
        ensure!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        let entries = fs::read_dir(self.path("told"))?.collect::<Result<Vec<_>, _>>()?;
        let told = entries.iter().map(|it| {
            let name = it.file_name().to_string_lossy().into_owned();
            Ok((name, fs::read_to_string(it.path())?))
        });
        told.collect()
    }

    /// All that is there with its mode, but for what is called differently each time.
    fn modes(&self) -> Result<Vec<String>> {
        let found = Command::new("find")
            .args(["state", "told", "made", "-printf", "%m %p\n"])
            .current_dir(&self.0)
            .output()?;
        let own = self.0.path().file_name().context("it has a name")?.to_string_lossy().into_owned();
        let text = String::from_utf8(found.stdout)?.replace(&own, "@");
        let mut modes: Vec<_> = text
            .lines()
            .filter(|line| !line.contains("/snap.") && !line.contains("/blobs/"))
            .map(str::to_owned)
            .collect();
        modes.sort();
        Ok(modes)
    }
}

/// The variables in a text such as `/proc/PID/environ`, without the mark of the run.
fn variables(environ: &str) -> Vec<&str> {
    let mut variables: Vec<_> =
        environ.split_terminator('\0').filter(|it| !it.starts_with("DROVER_RUN=")).collect();
    variables.sort_unstable();
    variables
}

#[test]
fn whoever_starts_it_and_from_where_commands_are_given_the_same() -> Result<()> {
    let friendly = World::with(TELLS)?;
    let mut expected = friendly.told(FRIENDLY, &["run", "plan.ron"])?;
    let environ = expected.remove("environ").context("it was told")?;
    assert_eq!(
        variables(&environ),
        [
            "HOME=/root",
            "LANGUAGE=",
            "LC_ALL=C.UTF-8",
            "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            "TERM=dumb"
        ]
    );
    assert_eq!((expected["umask"].as_str(), expected["cwd"].as_str()), ("0022\n", "/\n"));
    // 32 and 33 are the C library's own: nobody can set them.
    let masks = expected["signals"].split_whitespace().filter_map(|word| u64::from_str_radix(word, 16).ok());
    assert_eq!(masks.map(|mask| mask & !(0b11 << 31)).collect::<Vec<_>>(), [0, 0]);
    for umask in ["000", "077"] {
        let world = World::with(TELLS)?;
        // What an empty entry of PATH would find.
        fs::write(world.path("sh"), "#!/bin/false\n")?;
        fs::set_permissions(world.path("sh"), fs::Permissions::from_mode(0o755))?;
        fs::create_dir(world.path("mine"))?;
        fs::set_permissions(world.path("mine"), fs::Permissions::from_mode(0o700))?;
        let (script, place) = (HOSTILE.replace("UMASK", umask), world.0.path().display().to_string());
        let mut told = world.told(&["/bin/sh", "-c", &script, &place], &["run", "plan.ron"])?;
        let given = told.remove("environ").context("it was told")?;
        assert_eq!(variables(&given), variables(&environ), "umask {umask}");
        assert_eq!(told, expected, "umask {umask}");
        assert_eq!(world.modes()?, friendly.modes()?, "umask {umask}");
        assert_eq!(fs::read_dir(world.path("mine"))?.count(), 0, "TMPDIR was used");
    }
    // The shell's own default PATH, if it has none at all.
    let world = World::with(TELLS)?;
    let told = world.told(&["/usr/bin/env", "-i"], &["run", "plan.ron"])?;
    assert_eq!(variables(&told["environ"]), variables(&environ));
    Ok(())
}

#[test]
fn a_variable_gets_through_if_the_plan_or_the_command_line_names_it() -> Result<()> {
    let world = World::with(TELLS)?;
    let own = ["env", "-i", "PATH=/opt/own/bin:/bin", "http_proxy=http://p:1", "ALL_PROXY=http://q:1"];
    let before = [&own[..], &["PLANNED=by the plan", "ASKED=for", "OTHER=none"]].concat();
    let planned = ["--set", "env=[\"PLANNED\", \"UNSET\"]"];
    let told = world.told(&before, &[&["run", "plan.ron", "--env", "ASKED"], &planned[..]].concat())?;
    let expected = [
        "ALL_PROXY=http://q:1",
        "ASKED=for",
        "HOME=/root",
        "LANGUAGE=",
        "LC_ALL=C.UTF-8",
        "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:/opt/own/bin",
        "PLANNED=by the plan",
        "TERM=dumb",
        "http_proxy=http://p:1",
    ];
    assert_eq!(variables(&told["environ"]), expected);
    // The name is remembered, and no value.
    fs::remove_dir_all(world.path("told"))?;
    let request = fs::read_to_string(world.path("state/request.json"))?;
    assert!(request.contains("ASKED") && !request.contains("for\""), "{request}");
    let before = [&own[..], &["PLANNED=anew", "ASKED=again", "MORE=too"]].concat();
    let told = world.told(&before, &["resume", "--env", "MORE"])?;
    let environ = variables(&told["environ"]);
    for variable in ["PLANNED=anew", "ASKED=again", "MORE=too"] {
        assert!(environ.contains(&variable), "{environ:?}");
    }
    Ok(())
}

#[test]
fn variables_that_cannot_be_passed_on_are_told() -> Result<()> {
    let world = World::new()?;
    for (name, why) in
        [("A=b", "write `A` alone"), ("PATH", "always Drover's own"), ("a-b", "no name of a variable")]
    {
        for command in ["run", "plan", "destroy", "doctor"] {
            let refused = world.ends(3, &[command, "plan.ron", "--env", name])?;
            assert!(refused.stderr.contains(why), "{command}: {}", refused.stderr);
        }
    }
    let unset = world.ends(0, &["plan", "plan.ron", "--env", "NO_SUCH_VARIABLE"])?;
    assert!(unset.stderr.contains("`--env NO_SUCH_VARIABLE`: there is no such variable"), "{}", unset.stderr);
    let page = world.ends(0, &["steps", "environment"])?.stdout;
    assert!(page.starts_with("# environment\n") && page.contains("--env"), "{page}");
    assert!(world.ends(0, &["steps"])?.stdout.contains("`drover steps environment`"));
    assert!(world.ends(0, &["run", "--help"])?.stdout.contains("drover steps environment"));
    Ok(())
}

/// Whether a process with the number in this file runs.
fn runs(file: &Path) -> bool {
    let number = fs::read_to_string(file).unwrap_or_default();
    // A zombie waits for its parent, not for us.
    let stat = fs::read_to_string(format!("/proc/{}/stat", number.trim()));
    number.ends_with('\n') && stat.is_ok_and(|stat| !stat.contains(") Z "))
}

fn await_that(what: &str, is_so: impl Fn() -> bool) {
    let until = Instant::now() + Duration::from_secs(60);
    while !is_so() {
        assert!(Instant::now() < until, "{what}");
        thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn what_a_command_left_running_outlives_killed_runs_and_what_was_killed_does_not() -> Result<()> {
    let world = World::with(
        r#"Command(name: "daemon", run: "setsid sleep 300 >/dev/null 2>&1 & echo $! >@/daemon", creates: "@/daemon"),
        Command(name: "slow", run: "setsid sleep 301 >/dev/null 2>&1 & echo $! >@/stray; sleep 302",
                unless: "test -e @/enough", after: ["host/command-daemon"]),"#,
    )?;
    let (daemon, stray) = (world.path("daemon"), world.path("stray"));
    let mut run = Command::new(env!("CARGO_BIN_EXE_drover"));
    run.args(["--state", "state", "run", "plan.ron"]).current_dir(world.0.path());
    let mut run = run.stdin(Stdio::null()).stderr(Stdio::null()).spawn()?;
    await_that("the second command does not start", || runs(&stray));
    run.kill()?;
    run.wait()?;
    await_that("what the killed command started still runs", || !runs(&stray));
    assert!(runs(&daemon), "the daemon was killed with a run that came after its command");
    fs::write(world.path("enough"), "")?;
    world.ends(0, &["run", "plan.ron"])?;
    assert!(runs(&daemon), "the daemon was killed by the run after the killed one");
    assert!(Command::new("kill").arg(fs::read_to_string(&daemon)?.trim()).status()?.success());
    Ok(())
}
