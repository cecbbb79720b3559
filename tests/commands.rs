//! The program as one uses it, with plans that need no containers: what is shown, what is asked, what it ends with.

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};
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
    let resumed = world.ends(1, &["resume"])?.stderr;
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
