//! The state directory as its user meets it: who reads it, what is damaged in it, what happens when it is gone. With plans that
//! need no containers.

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// A directory with a plan and a state.
struct World(TempDir);

const SECRET: &str = "hunter2";

impl World {
    /// One whose plan has these steps of the host, in which `@` is its directory.
    fn with(steps: &str) -> Result<Self> {
        let world = Self(tempfile::tempdir()?);
        let steps = steps.replace('@', &world.0.path().display().to_string());
        let containers = "[(name: \"ci-amd64\", distribution: Debian, release: \"bookworm\", arch: amd64)]";
        let plan = format!("Plan(name: \"files\", host: [{steps}], containers: {containers}, each: [])");
        fs::write(world.path("plan.ron"), plan)?;
        Ok(world)
    }

    /// One with a file, a secret and a command.
    fn new() -> Result<Self> {
        Self::with(
            "HostFile(path: \"@/etc/one.conf\", content: \"a = 1\\n\"),
            HostFile(path: \"@/etc/secret.conf\", content: \"password = hunter2\\n\", mode: \"0600\"),
            Command(name: \"mark\", run: \"touch @/mark\", creates: \"@/mark\"),",
        )
    }

    /// One with a file, and a command that goes on until it is told to end.
    fn slow() -> Result<Self> {
        Self::with(
            "HostFile(path: \"@/etc/one.conf\", content: \"a = 1\\n\"),
            Command(name: \"slow\", creates: \"@/go\",
                run: \"touch @/begun; while [ ! -e @/go ]; do sleep 0.05; done\"),",
        )
    }

    fn path(&self, path: &str) -> PathBuf {
        self.0.path().join(path)
    }

    fn command(&self, state: &str, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_drover"));
        command.current_dir(self.0.path()).args(["--state", state]).args(arguments).stdin(Stdio::null());
        command
    }

    /// What it says, if it ends so.
    fn ends(&self, code: i32, arguments: &[&str]) -> Result<String> {
        ended(code, &mut self.command("state", arguments))
    }

    /// A run that is in the middle of its slow command.
    fn begin(&self) -> Result<Child> {
        let mut command = self.command("state", &["run", "plan.ron"]);
        let child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn()?;
        await_that("both have begun", || self.path("begun").exists() && self.path("etc/one.conf").exists())?;
        // What it has done is recorded a moment later.
        std::thread::sleep(Duration::from_millis(300));
        Ok(child)
    }

    fn flip(&self, name: &str, place: u64) -> Result<()> {
        let file = fs::File::options().read(true).write(true).open(self.path(name))?;
        let mut byte = [0];
        file.read_exact_at(&mut byte, place)?;
        Ok(file.write_all_at(&[byte[0] ^ 1], place)?)
    }
}

fn await_that(what: &str, is_so: impl Fn() -> bool) -> Result<()> {
    let until = Instant::now() + Duration::from_secs(60);
    while !is_so() {
        ensure!(Instant::now() < until, "waited in vain until {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
    Ok(())
}

/// What a command says, if it ends so and does not panic.
fn ended(code: i32, command: &mut Command) -> Result<String> {
    let output = command.output().context("the program is built")?;
    let said = said(&output);
    ensure!(
        output.status.code() == Some(code) && !said.contains("panicked"),
        "{command:?}: {}\n{said}",
        output.status
    );
    Ok(said)
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&[&output.stdout[..], &output.stderr].concat()).into_owned()
}

fn every_path(root: &Path) -> Result<Vec<PathBuf>> {
    let (mut found, mut left) = (vec![root.to_owned()], vec![root.to_owned()]);
    while let Some(directory) = left.pop() {
        for entry in fs::read_dir(&directory)? {
            let path = entry?.path();
            left.extend(path.symlink_metadata()?.is_dir().then(|| path.clone()));
            found.push(path);
        }
    }
    Ok(found)
}

#[test]
fn nobody_else_reads_what_is_remembered_whatever_the_umask() -> Result<()> {
    if !rustix::process::geteuid().is_root() {
        eprintln!("skipped: only root can be somebody else");
        return Ok(());
    }
    for umask in ["000", "022", "077"] {
        let world = World::new()?;
        fs::set_permissions(world.0.path(), fs::Permissions::from_mode(0o755))?;
        let run = |plan: &str| {
            let drover = world.command("state", &["run", plan]);
            let mut shell = Command::new("sh");
            shell.args(["-c", &format!("umask {umask}; exec \"$@\""), "sh"]).arg(drover.get_program());
            ended(0, shell.args(drover.get_args()).current_dir(world.0.path()))
        };
        run("plan.ron")?;
        // As an older one left it; the next run closes it.
        for (name, mode) in [("state", 0o711), ("state/journal", 0o755), ("state/journal/db", 0o644)] {
            fs::set_permissions(world.path(name), fs::Permissions::from_mode(mode))?;
        }
        let open = world.ends(1, &["state", "check"])?;
        ensure!(open.contains("its mode is 0711") && open.contains("others can look into it"), "{open}");
        fs::remove_file(world.path("mark"))?;
        run("plan.ron")?;
        world.ends(0, &["state", "check"])?;
        let paths = every_path(&world.path("state"))?;
        ensure!(paths.len() > 15, "{paths:?}");
        for path in &paths {
            let mode = path.metadata()?.mode();
            let is_cache = path.starts_with(world.path("state/cache"));
            ensure!(is_cache || mode & 0o077 == 0, "umask {umask}: {} has mode {mode:o}", path.display());
            let mut other = Command::new("setpriv");
            other.args(["--reuid=65534", "--regid=65534", "--clear-groups", "--", "sh", "-c"]);
            let tried =
                other.args(["test -r \"$0\" || test -x \"$0\"", &path.display().to_string()]).status()?;
            ensure!(tried.code() == Some(1), "umask {umask}: others get at {}", path.display());
        }
    }
    Ok(())
}

#[test]
fn a_secret_is_in_no_diff() -> Result<()> {
    let world = World::new()?;
    let shown = world.ends(0, &["plan", "plan.ron"])?;
    ensure!(shown.contains("+a = 1") && shown.contains("its mode 0600 hides it from others"), "{shown}");
    let mut all = shown + &world.ends(0, &["plan", "plan.ron", "--json"])?;
    all += &world.ends(0, &["run", "plan.ron"])?;
    // It was open to all, and is to be hidden; or the other way round.
    for mode in [0o644, 0o600] {
        fs::write(world.path("etc/secret.conf"), "password = hunter22\n")?;
        fs::set_permissions(world.path("etc/secret.conf"), fs::Permissions::from_mode(mode))?;
        all += &world.ends(0, &["plan", "plan.ron"])?;
        all += &world.ends(0, &["run", "plan.ron"])?;
    }
    fs::write(world.path("etc/one.conf"), "token = hunter2\n")?;
    fs::set_permissions(world.path("etc/one.conf"), fs::Permissions::from_mode(0o600))?;
    all += &world.ends(0, &["plan", "plan.ron"])?;
    for arguments in [&["status"][..], &["report"], &["report", "--json"], &["report", "--junit"]] {
        all += &world.ends(0, arguments)?;
    }
    for path in every_path(&world.path("state/runs"))?.iter().filter(|path| path.is_file()) {
        all += &fs::read_to_string(path)?;
    }
    ensure!(all.contains("secret.conf differs from what the plan says"), "{all}");
    ensure!(!all.contains(SECRET), "{all}");
    Ok(())
}

#[test]
fn what_would_be_undone_is_told_while_a_run_is_on_and_where_nothing_can_be_written() -> Result<()> {
    let world = World::slow()?;
    let mut run = world.begin()?;
    let shown = world.ends(0, &["destroy", "plan.ron", "--dry-run"])?;
    ensure!(
        shown.contains("a run is on") && shown.contains("remove ") && shown.contains("one.conf"),
        "{shown}"
    );
    ensure!(world.ends(0, &["state", "check"])?.contains("a run is on"), "it says what it did not look into");
    ensure!(world.ends(0, &["state", "export"])?.contains("\"running\":true"), "also while a run is on");
    ensure!(world.ends(6, &["destroy", "plan.ron", "--yes"])?.contains("is held by"), "that needs the lock");
    ensure!(world.ends(6, &["state", "adopt", "plan.ron", "--yes"])?.contains("is held by"), "so does this");
    fs::write(world.path("go"), "")?;
    ensure!(run.wait()?.success(), "it was not disturbed");
    let before = every_path(&world.path("state"))?.len();
    let readable = "mount --bind state state && mount -o remount,bind,ro state && exec \"$@\"";
    for arguments in [
        &["destroy", "plan.ron", "--dry-run"][..],
        &["plan", "plan.ron"],
        &["status"],
        &["state", "check"],
        &["state", "export"],
    ] {
        let drover = world.command("state", arguments);
        let mut there = Command::new("unshare");
        there.args(["--mount", "--propagation", "private", "sh", "-c", readable, "sh"]);
        there.arg(drover.get_program()).args(drover.get_args()).current_dir(world.0.path());
        let shown = ended(0, &mut there)?;
        ensure!(arguments[0] != "destroy" || shown.contains("one.conf"), "{shown}");
    }
    ensure!(every_path(&world.path("state"))?.len() == before, "nothing was made");
    Ok(())
}

#[test]
fn damage_is_told_mended_and_stops_nobody() -> Result<()> {
    let world = World::new()?;
    world.ends(0, &["run", "plan.ron"])?;
    fs::remove_file(world.path("mark"))?;
    world.ends(0, &["run", "plan.ron"])?;
    ensure!(world.ends(0, &["state", "check"])?.contains("nothing is damaged"), "nothing is");
    ensure!(world.ends(0, &["state", "repair"])?.contains("nothing was changed"), "nothing is to be mended");

    // One byte of an old run's events: the `s` of `started`.
    let events = fs::read_to_string(world.path("state/runs/0001/events.jsonl"))?;
    let place = events.find("\"started\"").context("something was started")? as u64 + 1;
    world.flip("state/runs/0001/events.jsonl", place)?;
    let plan = world.ends(0, &["plan", "plan.ron"])?;
    ensure!(
        plan.contains("1 events of the runs could not be understood") && plan.contains("state repair"),
        "{plan}"
    );
    let told = world.ends(1, &["state", "check"])?;
    ensure!(
        told.contains("1 of its lines cannot be understood") && told.contains("0001/events.jsonl"),
        "{told}"
    );
    let told: Value = serde_json::from_str(&world.ends(1, &["state", "check", "--json"])?)?;
    ensure!(told["faults"].as_array().is_some_and(|faults| faults.len() == 1), "{told}");
    let mended = world.ends(0, &["state", "repair"])?;
    ensure!(mended.contains("1 lines came back from the journal, 0 are lost"), "{mended}");
    ensure!(fs::read_to_string(world.path("state/runs/0001/events.jsonl"))? == events, "as it was");
    ensure!(!world.ends(0, &["plan", "plan.ron"])?.contains("could not be understood"), "it is mended");

    // What the database refuses for ever.
    let conf = fs::read(world.path("state/journal/conf"))?;
    for place in (0..conf.len()).step_by(4) {
        let mut damaged = conf.clone();
        damaged[place] ^= 4;
        fs::write(world.path("state/journal/conf"), damaged)?;
        world.ends(0, &["run", "plan.ron"])?;
        world.ends(0, &["state", "check"])?;
    }
    // What is remembered for the way back.
    let memory = every_path(&world.path("state/memory"))?
        .into_iter()
        .find(|path| path.is_file() && path.to_string_lossy().contains("one.conf/text"));
    let memory = memory.context("it remembers what the file read")?;
    let bytes = fs::read(&memory)?;
    fs::write(&memory, [&bytes[..bytes.len() - 9], b"x", &bytes[bytes.len() - 8..]].concat())?;
    let refused = world.ends(0, &["destroy", "plan.ron", "--dry-run"])?;
    ensure!(
        refused.contains("does not match its checksum") && refused.contains("drover state repair"),
        "{refused}"
    );
    let mended = world.ends(0, &["state", "repair"])?;
    ensure!(mended.contains("it was moved to") && mended.contains("cannot take back"), "{mended}");
    ensure!(memory.exists() || every_path(&world.path("state"))?.len() > 5, "nothing is deleted");
    world.ends(0, &["destroy", "plan.ron", "--yes"])?;
    ensure!(
        world.path("etc/one.conf").exists() && !world.path("etc/secret.conf").exists(),
        "what is known goes"
    );
    Ok(())
}

#[test]
fn a_state_that_is_deleted_during_a_run_is_noticed_and_what_was_made_can_be_taken_over() -> Result<()> {
    let world = World::slow()?;
    let mut first = world.begin()?;
    fs::remove_dir_all(world.path("state"))?;
    // The first has not had the time to end, or has not noticed yet.
    let refused = world.command("state", &["run", "plan.ron"]).output()?;
    if first.try_wait()?.is_none() {
        let said = said(&refused);
        ensure!(refused.status.code() == Some(6) && said.contains("deleted, renamed or replaced"), "{said}");
    }
    let ended = first.wait_with_output()?;
    let told = said(&ended);
    ensure!(ended.status.code() == Some(1) && told.contains("deleted or replaced while it was on"), "{told}");
    ensure!(told.contains("drover state adopt PLAN") && !told.contains("panicked"), "{told}");
    await_that("its command was stopped", || {
        let begun = fs::remove_file(world.path("begun"));
        begun.is_ok() || !world.path("begun").exists()
    })?;

    // What is found is adopted, and no journal says that it was ours.
    fs::write(world.path("go"), "")?;
    world.ends(0, &["run", "plan.ron"])?;
    ensure!(
        world.ends(0, &["destroy", "plan.ron", "--yes"])?.contains("nothing to undo"),
        "it was only found"
    );
    ensure!(world.path("etc/one.conf").exists(), "it was only found");
    let shown = world.ends(0, &["state", "adopt", "plan.ron", "--dry-run"])?;
    ensure!(shown.contains("to be taken for made by Drover") && shown.contains("host/host-file"), "{shown}");
    ensure!(shown.contains("was made by hand, cannot be told from what Drover made"), "{shown}");
    let unasked = world.ends(1, &["state", "adopt", "plan.ron"])?;
    ensure!(unasked.contains("nothing was recorded, since nobody can be asked: say `--yes`"), "{unasked}");
    ensure!(
        world.ends(0, &["destroy", "plan.ron", "--dry-run"])?.contains("nothing to undo"),
        "nobody agreed"
    );
    let done = world.ends(0, &["state", "adopt", "plan.ron", "--yes"])?;
    ensure!(done.contains("2 taken over"), "{done}");
    ensure!(
        world.ends(0, &["state", "adopt", "plan.ron", "--yes"])?.contains("nothing is found"),
        "it is ours"
    );
    ensure!(world.ends(0, &["run", "plan.ron"])?.contains("2 unchanged"), "a run finds it as it is");
    ensure!(
        world.ends(0, &["destroy", "plan.ron", "--dry-run"])?.contains("  - remove "),
        "the events say so, too"
    );
    let undone = world.ends(0, &["destroy", "plan.ron", "--yes"])?;
    ensure!(!world.path("etc/one.conf").exists(), "{undone}");
    Ok(())
}

#[test]
fn a_state_that_is_lost_between_runs_and_one_that_is_only_renamed() -> Result<()> {
    let world = World::slow()?;
    let first = world.begin()?;
    fs::rename(world.path("state"), world.path("elsewhere"))?;
    let told = said(&first.wait_with_output()?);
    ensure!(told.contains("was renamed to") && told.contains("rename it back"), "{told}");
    fs::rename(world.path("elsewhere"), world.path("state"))?;
    fs::write(world.path("go"), "")?;
    world.ends(0, &["run", "plan.ron"])?;
    ensure!(world.ends(0, &["destroy", "plan.ron", "--dry-run"])?.contains("one.conf"), "nothing was lost");
    world.ends(0, &["state", "check"])?;
    Ok(())
}

#[test]
fn doctor_leaves_the_processes_of_another_live_run_alone() -> Result<()> {
    let world = World::slow()?;
    let mut run = world.begin()?;
    let doctor = |state: &str| -> Result<Value> {
        // What the mirror of the container has is not asked: only what is left over is looked at here.
        let output = world.command(state, &["doctor", "plan.ron", "--json"]).output()?;
        serde_json::from_slice(&output.stdout).with_context(|| said(&output))
    };
    for state in ["state", "another"] {
        let told = doctor(state)?;
        let left = told["findings"].as_array().into_iter().flatten();
        let left: Vec<_> = left.filter(|it| it["about"] == "left-overs" && it["level"] != "green").collect();
        let ours = left.iter().filter(|it| it["found"].to_string().contains("sh -euc"));
        ensure!(ours.count() == 0, "{left:?}");
    }
    // A killed one's are told, until the guardian has ended them.
    let lines = BufReader::new(run.stderr.take().context("piped")?).lines();
    run.kill()?;
    run.wait()?;
    drop(lines);
    Ok(())
}
