//! Where what the program shows goes: pipes that nobody reads, full disks, closed streams, terminals of all kinds. And what
//! it ends with. Needs no containers.

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use std::fs;
use std::io::{self, Read};
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;

const DROVER: &str = env!("CARGO_BIN_EXE_drover");
/// How long something may take that is not slow.
const PATIENCE: Duration = Duration::from_secs(120);

/// A directory with a plan and a state.
struct World(TempDir);

impl World {
    /// One whose plan has these commands: a name, and what it runs in the directory; its last act makes a file of that name.
    fn new(commands: &[(&str, &str)]) -> Result<Self> {
        let world = Self(tempfile::tempdir()?);
        fs::write(world.path("plan.ron"), world.plan(commands))?;
        Ok(world)
    }

    fn plan(&self, commands: &[(&str, &str)]) -> String {
        let place = self.0.path().display();
        let steps = commands.iter().map(|(name, run)| {
            format!("Command(name: \"{name}\", run: \"cd {place}; {run}; touch {name}\", creates: \"{place}/{name}\"),\n")
        });
        let containers = "[(name: \"ci-amd64\", distribution: Debian, release: \"bookworm\", arch: amd64)]";
        let steps: String = steps.collect();
        format!("Plan(name: \"files\", host: [{steps}], containers: {containers}, each: [])")
    }

    fn path(&self, path: &str) -> PathBuf {
        self.0.path().join(path)
    }

    fn is_there(&self, path: &str) -> bool {
        self.path(path).exists()
    }

    /// The program with arguments, in the directory, with its state, and in an environment that says nothing about terminals.
    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(DROVER);
        command.args(["--state", "state"]).args(arguments);
        self.at_home(&mut command);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    fn at_home(&self, command: &mut Command) {
        command.current_dir(self.0.path()).env("TERM", "xterm").env_remove("CI");
        for name in ["NO_COLOR", "CLICOLOR", "CLICOLOR_FORCE"] {
            command.env_remove(name);
        }
    }

    fn ends(&self, code: i32, arguments: &[&str]) -> Result<(String, String)> {
        let Output { status, stdout, stderr } = self.command(arguments).output()?;
        let (stdout, stderr) = (String::from_utf8(stdout)?, String::from_utf8(stderr)?);
        ensure!(status.code() == Some(code), "{arguments:?}: {status}\n{stdout}{stderr}");
        Ok((stdout, stderr))
    }

    /// What bash writes to its standard output that runs this, where `drover` is the program with its state.
    fn bash(&self, script: &str) -> Result<String> {
        let mut bash = Command::new("bash");
        let script = format!("drover() {{ {DROVER} --state state \"$@\"; }}\n{script}");
        bash.args(["-c", &script]).stdin(Stdio::null()).stderr(Stdio::null());
        self.at_home(&mut bash);
        Ok(String::from_utf8(bash.output()?.stdout)?)
    }

    /// What the program writes to a terminal of so many columns, and what the shell in it says then.
    fn at_terminal(&self, columns: usize, environment: &str, command: &str) -> Result<String> {
        let shell = format!(
            "stty cols {columns} rows 24; env {environment} {DROVER} --state state {command}; echo code $?"
        );
        let mut script = Command::new("script");
        script.args(["-qec", &shell, "/dev/null"]).stdin(Stdio::null());
        self.at_home(&mut script);
        Ok(String::from_utf8(script.output().context("`script` is part of every Debian")?.stdout)?)
    }

    fn events(&self, run: u32) -> Vec<Value> {
        let text =
            fs::read_to_string(self.path(&format!("state/runs/{run:04}/events.jsonl"))).unwrap_or_default();
        text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
    }

    /// Waits until a run has had such an event, and returns it.
    fn await_event(&self, run: u32, is_it: impl Fn(&Value) -> bool) -> Result<Value> {
        let until = Instant::now() + PATIENCE;
        loop {
            if let Some(event) = self.events(run).into_iter().find(&is_it) {
                return Ok(event);
            }
            ensure!(Instant::now() < until, "it does not come: {:#?}", self.events(run));
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn await_code(&self, run: u32) -> Result<u64> {
        self.await_event(run, |event| event["event"] == "run-finished")?["code"].as_u64().context("no code")
    }
}

/// A child that does not outlive a test that fails.
struct Guarded(Child);

impl Drop for Guarded {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A pipe that nobody reads any more.
fn unread() -> Result<io::PipeWriter> {
    Ok(io::pipe()?.1)
}

const SLOW: &[(&str, &str)] = &[("first", "sleep 0.5; echo said"), ("bad", "echo why; false")];

#[test]
fn a_run_goes_on_whatever_becomes_of_its_output() -> Result<()> {
    for (number, script) in [
        "drover run plan.ron 2>&1 | true; echo ${PIPESTATUS[0]}",
        "drover run plan.ron 2>&1 | head -1 >/dev/null; echo ${PIPESTATUS[0]}",
        "drover run plan.ron 2>/dev/full; echo $?",
        "drover run plan.ron >/dev/full 2>&1; echo $?",
        "exec 3>&1; drover run plan.ron <&- >&- 2>&-; echo $? >&3",
    ]
    .into_iter()
    .enumerate()
    {
        let world = World::new(SLOW)?;
        assert_eq!(world.bash(script)?, "1\n", "{number}: {script}: {:#?}", world.events(1));
        assert!(world.is_there("first"), "{script}: the step was not seen through");
        assert_eq!(world.await_code(1)?, 1, "{script}");
    }
    Ok(())
}

#[test]
fn a_run_does_not_wait_for_whoever_reads_its_output() -> Result<()> {
    // More than the pipe holds, and nobody reads it.
    let words = "seq 1000 | head -c 3000 >&2; false";
    let names: Vec<_> = (0..40).map(|number| format!("n{number}")).collect();
    let world = World::new(&names.iter().map(|name| (name.as_str(), words)).collect::<Vec<_>>())?;
    let (mut reader, writer) = io::pipe()?;
    rustix::pipe::fcntl_setpipe_size(&writer, 4096)?;
    let mut run = Guarded(world.command(&["run", "plan.ron"]).stderr(writer).spawn()?);
    assert_eq!(world.await_code(1)?, 1);
    ensure!(run.0.try_wait()?.is_none(), "the pipe holds all of it: the test shows nothing");
    // Nor does the next run.
    assert!(world.ends(1, &["run", "plan.ron"])?.1.contains("40 failed"));
    let mut text = String::new();
    reader.read_to_string(&mut text)?;
    assert!(
        text.contains("40 failed in ") && text.matches("FAILED host/command-n7 (").count() == 1,
        "{text}"
    );
    assert_eq!(run.0.wait()?.code(), Some(1));
    Ok(())
}

#[test]
fn a_terminal_that_is_closed_stops_nothing() -> Result<()> {
    let world =
        World::new(&[("first", "until [ -e go ]; do sleep 0.1; done; sleep 0.3"), ("second", "true")])?;
    let mut script = Command::new("script");
    script.args(["-qec", &format!("exec {DROVER} --state state run plan.ron --jobs 1"), "/dev/null"]);
    world.at_home(&mut script);
    let mut terminal = Guarded(script.stdin(Stdio::null()).stdout(Stdio::null()).spawn()?);
    world.await_event(1, |event| event["event"] == "started")?;
    terminal.0.kill()?;
    terminal.0.wait()?;
    fs::write(world.path("go"), "")?;
    assert_eq!(world.await_code(1)?, 0);
    assert!(world.is_there("second"), "nothing new was started");
    Ok(())
}

#[test]
fn an_interrupt_is_heard_though_it_cannot_be_told() -> Result<()> {
    let world = World::new(&[("first", "sleep 100"), ("second", "true")])?;
    let mut run = world.command(&["run", "plan.ron", "--jobs", "1"]);
    let mut run = Guarded(run.stderr(unread()?).spawn()?);
    world.await_event(1, |event| event["event"] == "started")?;
    let pid = run.0.id().to_string();
    // Twice: each a signal of its own.
    for _ in 0..2 {
        Command::new("kill").args(["-INT", &pid]).status()?;
        std::thread::sleep(Duration::from_millis(300));
    }
    assert_eq!(run.0.wait()?.code(), Some(130));
    assert_eq!(world.await_code(1)?, 130);
    Ok(())
}

#[test]
fn who_only_shows_ends_quietly_when_nobody_reads() -> Result<()> {
    let world = World::new(&[("bad", "false")])?;
    world.ends(1, &["run", "plan.ron"])?;
    for arguments in [
        &["status"][..],
        &["status", "--json"],
        &["report"],
        &["report", "--json"],
        &["report", "--junit"],
        &["plan", "plan.ron"],
        &["plan", "plan.ron", "--json", "--detailed-exitcode"],
        &["graph", "plan.ron"],
        &["graph", "plan.ron", "--format", "mermaid"],
        &["graph", "plan.ron", "--format", "json"],
        &["destroy", "plan.ron", "--dry-run"],
        &["logs", "host/command-bad"],
        &["steps"],
        &["steps", "Command"],
        &["steps", "--json"],
        &["herd"],
        &["doctor", "plan.ron"],
        &["--help"],
        &["help", "run"],
        &["--version"],
    ] {
        let ended = world.command(arguments).stdout(unread()?).output()?;
        let told = String::from_utf8_lossy(&ended.stderr);
        // 141 is what a shell says of a program that SIGPIPE has ended.
        assert_eq!((ended.status.code(), &*told), (Some(141), ""), "{arguments:?}");
        let full = fs::File::options().write(true).open("/dev/full")?;
        let ended = world.command(arguments).stdout(full).output()?;
        let told = String::from_utf8_lossy(&ended.stderr);
        assert_eq!(ended.status.code(), Some(1), "{arguments:?}: {told}");
        assert!(told.contains("standard output cannot be written: No space left"), "{arguments:?}: {told}");
    }
    Ok(())
}

#[test]
fn a_log_that_is_followed_is_left_when_nobody_reads() -> Result<()> {
    let world = World::new(&[("first", "echo begun; until [ -e go ]; do sleep 0.1; done")])?;
    let mut run = Guarded(world.command(&["run", "plan.ron"]).stderr(Stdio::null()).spawn()?);
    world.await_event(1, |event| event["event"] == "started")?;
    // The step says no more: only that its reader has gone can end it.
    let told = world.bash("drover logs -f host/command-first | head -1 >/dev/null; echo ${PIPESTATUS[0]}")?;
    assert_eq!(told, "141\n");
    fs::write(world.path("go"), "")?;
    assert_eq!(run.0.wait()?.code(), Some(0));
    Ok(())
}

#[test]
fn a_stream_that_does_not_wait_is_waited_for() -> Result<()> {
    let world = World::new(&[])?;
    let (mut reader, writer) = io::pipe()?;
    rustix::pipe::fcntl_setpipe_size(&writer, 4096)?;
    rustix::io::ioctl_fionbio(&writer, true)?;
    let mut shown = Guarded(world.command(&["steps", "--json"]).stdout(writer).spawn()?);
    std::thread::sleep(Duration::from_millis(500));
    let mut text = String::new();
    reader.read_to_string(&mut text)?;
    assert_eq!(shown.0.wait()?.code(), Some(0));
    assert!(text.len() > 10_000, "it fits into a pipe: the test shows nothing");
    serde_json::from_str::<Value>(&text)?;
    Ok(())
}

#[test]
fn a_failure_is_told_whole_once() -> Result<()> {
    let world = World::new(SLOW)?;
    let (_, told) = world.ends(1, &["run", "plan.ron"])?;
    assert_eq!(told.matches("  command   sh ").count(), 1, "{told}");
    let lines: Vec<_> = told.lines().filter(|line| line.starts_with("FAILED host/command-bad")).collect();
    let [whole, brief] = lines[..] else { anyhow::bail!("{told}") };
    assert!(whole.ends_with("(while doing it)") && brief.contains(": exit status 1: why"), "{told}");
    let (report, _) = world.ends(0, &["report"])?;
    assert_eq!(report.matches("  command   sh ").count(), 1, "{report}");
    Ok(())
}

#[test]
fn colours_are_for_the_stream_that_is_written_to() -> Result<()> {
    let world = World::new(&[("good", "true"), ("bad", "false")])?;
    world.ends(1, &["run", "plan.ron"])?;
    for shown in ["status", "report", "plan plan.ron", "doctor plan.ron"] {
        let arguments: Vec<_> = shown.split(' ').collect();
        // Standard error is a terminal, and standard output is not.
        world.at_terminal(80, "", &format!("{shown} >shown"))?;
        let text = fs::read_to_string(world.path("shown"))?;
        assert!(!text.is_empty() && !text.contains('\x1b'), "{shown}: {text}");
        let at_terminal = world.at_terminal(80, "", &format!("{shown} 2>/dev/null"))?;
        assert!(at_terminal.contains("\x1b["), "{shown}: {at_terminal:?}");
        for plain in ["NO_COLOR=1", "NO_COLOR=1 CLICOLOR_FORCE=1", "CLICOLOR=0", "TERM=dumb", "-u TERM"] {
            let text = world.at_terminal(80, plain, shown)?;
            assert!(!text.contains('\x1b'), "{shown} with {plain}: {text:?}");
        }
        for (name, value, coloured) in
            [("CLICOLOR_FORCE", "1", true), ("CLICOLOR_FORCE", "0", false), ("NO_COLOR", "", false)]
        {
            let text = world.command(&arguments).env(name, value).output()?.stdout;
            assert_eq!(text.contains(&b'\x1b'), coloured, "{shown} with {name}={value}");
        }
        assert!(!world.command(&arguments).output()?.stdout.contains(&b'\x1b'), "{shown}");
    }
    let mistake = world.command(&["run"]).output()?.stderr;
    assert!(!mistake.contains(&b'\x1b'), "{}", String::from_utf8_lossy(&mistake));
    Ok(())
}

#[test]
fn a_terminal_shows_what_it_can() -> Result<()> {
    let long = "a-command-with-a-name-that-is-far-longer-than-a-narrow-terminal";
    let world = World::new(&[(
        long,
        "echo some words that make a long line of output, which has to be cut; sleep 0.5",
    )])?;
    // No bars, but a line an event, and nothing that commands the terminal.
    for environment in ["-u TERM", "TERM=", "TERM=dumb", "CI=1", "CI=true"] {
        let text = world.at_terminal(80, environment, "run plan.ron")?;
        assert!(text.contains(" changed  ") || text.contains(" drifted  "), "{environment}: {text:?}");
        assert!(
            text.contains("started  ") && text.contains(" in 0.") && text.contains("code 0"),
            "{environment}: {text:?}"
        );
        ensure!(!text.contains("\x1b[1A") && !text.contains("\x1b[2K"), "{environment}: {text:?}");
        fs::remove_file(world.path(long))?;
    }
    // As a serial console, which does not say how wide it is.
    ensure!(world.at_terminal(0, "", "run plan.ron")?.contains("\x1b[2K"), "no bars");
    fs::remove_file(world.path(long))?;
    for columns in [20, 40, 120] {
        let text = world.at_terminal(columns, "", "run plan.ron")?;
        fs::remove_file(world.path(long))?;
        ensure!(text.contains("\x1b[2K"), "no bars: {text:?}");
        let drawn = text.split("\x1b[2K").filter(|drawn| drawn.contains(" 0/1 "));
        let drawn: Vec<_> = drawn.flat_map(|drawn| drawn.split("\r\n")).collect();
        let step = drawn.iter().find(|line| line.contains("narrow-terminal") || line.contains("minal"));
        ensure!(step.is_some(), "the step is not drawn at {columns} columns: {text:?}");
        for line in text
            .split("\x1b[2K")
            .filter(|drawn| !drawn.contains("FAILED"))
            .flat_map(|drawn| drawn.split("\r\n"))
        {
            let line = console::strip_ansi_codes(line.trim_end_matches('\r'));
            // What is said above the bars breaks as any text does.
            let is_drawn = line.starts_with('⠋') || line.starts_with('⠙') || line.contains("/1 ");
            ensure!(!is_drawn || console::measure_text_width(&line) < columns, "{columns}: {line:?}");
        }
        // Below that, even what is never left out takes more.
        for table in ["status", "report", "steps"].into_iter().filter(|_| columns >= 40) {
            let text = world.at_terminal(columns, "", table)?;
            let rows = text.split("\r\n").map(console::strip_ansi_codes).filter(|line| line.starts_with(' '));
            let widest = rows.map(|line| console::measure_text_width(&line)).max();
            ensure!(table == "steps" || widest.is_some_and(|widest| widest <= columns), "{columns}: {text}");
        }
    }
    Ok(())
}

#[test]
fn one_rule_says_what_a_run_ends_with() -> Result<()> {
    let endless = [("bad", "false"), ("slow", "until [ -e go ]; do sleep 0.1; done")];
    for (signal, code, told) in [
        (
            "TERM",
            143,
            "drover: interrupted: nothing new starts, running steps are stopped; once more kills them\n",
        ),
        (
            "INT",
            1,
            "drover: interrupted: nothing new starts, running steps go on to their end; once more stops them\n",
        ),
    ] {
        let world = World::new(&endless)?;
        let run = world.command(&["run", "plan.ron"]).spawn()?;
        for node in ["host/command-bad", "host/command-slow"] {
            world.await_event(1, |event| event["event"] == "started" && event["node"] == node)?;
        }
        Command::new("kill").args([&format!("-{signal}"), &run.id().to_string()]).status()?;
        if signal == "INT" {
            std::thread::sleep(Duration::from_millis(300));
            fs::write(world.path("go"), "")?;
        }
        let ended = run.wait_with_output()?;
        let text = String::from_utf8_lossy(&ended.stderr);
        // With SIGINT, nothing was kept from its end: only a step has failed.
        assert_eq!(ended.status.code(), Some(code), "{text}");
        assert_eq!(world.await_code(1)?, u64::try_from(code)?, "{text}");
        assert!(text.contains(told) && !text.contains("again"), "{text}");
        let report: Value = serde_json::from_str(&world.ends(0, &["report", "--json"])?.0)?;
        assert_eq!(report["code"], code);
    }
    Ok(())
}

#[test]
fn options_that_contradict_each_other_are_refused() -> Result<()> {
    let world = World::new(&[("good", "true")])?;
    for (arguments, told) in [
        (
            &["run", "plan.ron", "--keep-going", "--fail-fast"][..],
            "'--keep-going' cannot be used with '--fail-fast'",
        ),
        (&["resume", "--fail-fast", "--keep-going"], "cannot be used with"),
        (
            &["run", "plan.ron", "--no-assist", "--set", "assist=On"],
            "'--no-assist' cannot be used with '--set assist=On'",
        ),
        (&["plan", "plan.ron", "--no-assist", "--set", "assist=On"], "'--no-assist' cannot be used with"),
        (&["run", "plan.ron", "--pool", "mirror=1", "--pool", "mirror=2"], "another size of the same pool"),
        (&["destroy", "plan.ron", "--container", "ci-amd64", "--disregard-others"], "cannot be used with"),
        (&["destroy", "plan.ron", "--yes", "--dry-run"], "cannot be used with"),
        (&["report", "--junit", "--json"], "cannot be used with"),
        (
            &["run", "plan.ron", "--only", "["],
            "invalid value '[' for '--only <GLOB>': `[` is no pattern for nodes",
        ),
        (&["plan", "plan.ron", "--until", "a{b"], "invalid value 'a{b' for '--until <GLOB>'"),
        (&["graph", "plan.ron", "--exclude", "["], "write `[[]`"),
        (&["logs", "["], "invalid value '[' for '<NODE>'"),
    ] {
        let (_, text) = world.ends(3, arguments)?;
        assert!(text.contains(told), "{arguments:?}: {text}");
        assert!(!world.is_there("state"), "{arguments:?} did something");
    }
    world.ends(
        0,
        &[
            "run",
            "plan.ron",
            "--no-assist",
            "--set",
            "assist=Off",
            "--pool",
            "mirror=1",
            "--pool",
            "mirror=1",
        ],
    )?;
    Ok(())
}

#[test]
fn durations_do_not_follow_the_clock() -> Result<()> {
    let world = World::new(&[("good", "true")])?;
    world.ends(0, &["run", "plan.ron"])?;
    let file = world.path("state/runs/0001/events.jsonl");
    for (days, keeps_up) in [(1, true), (-1, true), (-1, false)] {
        let mut events = world.events(1);
        let begun: jiff::Timestamp = serde_json::from_value(events[0]["at"].clone())?;
        for event in &mut events[1..] {
            event["at"] = serde_json::to_value(begun + jiff::SignedDuration::from_hours(24 * days))?;
        }
        if !keeps_up {
            // As in a state of an older version.
            events.iter_mut().filter_map(Value::as_object_mut).for_each(|event| drop(event.remove("up")));
        }
        fs::write(&file, events.iter().map(|event| format!("{event}\n")).collect::<String>())?;
        let report: Value = serde_json::from_str(&world.ends(0, &["report", "--json"])?.0)?;
        assert!(report["millis"].as_u64().is_some_and(|millis| millis < 60_000), "{days}: {report:#}");
        let text = world.ends(0, &["report"])?.0;
        assert!(!text.contains(" h ") && text.contains("1 changed in "), "{text}");
    }
    // A node that runs, after the clock was set forward by a day.
    let mut events: Vec<_> = world.events(1).into_iter().take(2).collect();
    let up = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    events[1]["at"] = serde_json::to_value(jiff::Timestamp::now() - jiff::SignedDuration::from_hours(24))?;
    events[1]["up"] = serde_json::to_value(up.tv_sec * 1000)?;
    fs::write(&file, events.iter().map(|event| format!("{event}\n")).collect::<String>())?;
    let status: Value = serde_json::from_str(&world.ends(0, &["status", "--json"])?.0)?;
    let millis = status["nodes"][0]["millis"].as_u64();
    assert!(millis.is_some_and(|millis| millis < 60_000), "{status:#}");
    Ok(())
}

#[test]
fn a_plan_may_come_by_a_pipe_and_is_resumed_all_the_same() -> Result<()> {
    let world = World::new(&[("good", "true")])?;
    let first = world.plan(&[("first", "true")]);
    // What it includes counts from where it was given.
    fs::write(world.path("base.ron"), &first)?;
    let plan = world.plan(&[("good", "true")]).replacen("Plan(", "Plan(include: [\"base.ron\"], ", 1);
    fs::write(world.path("plan.ron"), plan.replace("name: \"ci-amd64\"", "name: \"other\""))?;
    for script in [
        "drover plan - <plan.ron",
        "cat plan.ron | drover plan -",
        "cat plan.ron | drover plan /dev/stdin",
        "drover plan /dev/stdin <plan.ron",
        "drover plan <(cat plan.ron)",
        "mkfifo pipe; cat plan.ron >pipe & drover plan pipe",
        "drover graph - <plan.ron >/dev/null && drover plan - <<<\"$(cat plan.ron)\"",
    ] {
        let text = world.bash(&format!("{script}; echo $?"))?;
        assert!(text.starts_with("2 to do") && text.ends_with("\n0\n"), "{script}: {text}");
    }
    assert_eq!(world.bash("cat plan.ron | drover run -; echo $?")?, "0\n");
    let text = world.ends(0, &["report"])?.0;
    assert!(text.starts_with("run 1 of files (standard input), begun "), "{text}");
    fs::remove_file(world.path("plan.ron"))?;
    fs::remove_file(world.path("good"))?;
    fs::remove_file(world.path("first"))?;
    let state = world.path("state").display().to_string();
    let resume = || Command::new(DROVER).args(["--state", &state, "resume"]).current_dir("/").output();
    for name in ["good", "first"] {
        let resumed = resume()?;
        assert_eq!(resumed.status.code(), Some(0), "{}", String::from_utf8_lossy(&resumed.stderr));
        assert!(world.is_there(name));
        fs::remove_file(world.path(name))?;
    }
    // By name, too, as `destroy` says it.
    let kept = world.path("state/plan.ron");
    let mode = std::os::unix::fs::PermissionsExt::mode(&kept.metadata()?.permissions());
    assert_eq!(mode & 0o777, 0o600);
    world.ends(0, &["plan", &kept.display().to_string()])?;

    for (input, told) in [
        ("Plan(nam: 3)", "--> standard input:1:6"),
        ("", "there is no plan in standard input: it is empty"),
        ("\\xff", "this is not UTF-8"),
    ] {
        let told_all =
            world.bash(&format!("printf '{input}' | drover run - 2>&1; echo ${{PIPESTATUS[1]}}"))?;
        assert!(told_all.contains(told) && told_all.ends_with("\n3\n"), "{told_all}");
    }
    let endless = world.bash("drover plan /dev/zero 2>&1; echo $?; drover plan . 2>&1; echo $?")?;
    assert!(endless.contains("larger than 16 MiB\n3\n") && endless.ends_with("\n3\n"), "{endless}");
    Ok(())
}

#[test]
fn who_finds_the_state_held_is_told_by_what() -> Result<()> {
    let world = World::new(&[("good", "true"), ("slow", "until [ -e go ]; do sleep 0.1; done")])?;
    let mut run = Guarded(world.command(&["run", "plan.ron"]).spawn()?);
    world.await_event(1, |event| event["event"] == "started" && event["node"] == "host/command-slow")?;
    world.await_event(1, |event| event["event"] == "finished" && event["node"] == "host/command-good")?;
    for arguments in [&["run", "plan.ron"][..], &["resume"], &["destroy", "plan.ron", "--yes"]] {
        let (_, text) = world.ends(6, arguments)?;
        assert!(text.contains(&format!("is held by process {} ", run.0.id())), "{text}");
        assert!(
            text.contains("it is run 1 of files, on for ") && text.contains("with 1 of 2 nodes at their end"),
            "{text}"
        );
        assert!(text.contains("now: host/command-slow (for "), "{text}");
    }
    fs::write(world.path("go"), "")?;
    assert_eq!(run.0.wait()?.code(), Some(0));
    Ok(())
}

/// Starts a program, if there is one of that name.
fn is_there(program: &str) -> bool {
    Command::new(program).arg("-V").stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok()
}

/// A terminal that breaks lines anew when its width changes, as most do.
struct Tmux(PathBuf);

impl Tmux {
    fn call(&self, arguments: &[&str]) -> Result<String> {
        let output =
            Command::new("tmux").arg("-S").arg(&self.0).args(["-f", "/dev/null"]).args(arguments).output()?;
        ensure!(output.status.success(), "tmux {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        Ok(String::from_utf8(output.stdout)?)
    }

    /// Waits until all that was ever shown has this in it; answers with it.
    fn await_text(&self, text: &str) -> Result<String> {
        let until = Instant::now() + PATIENCE;
        loop {
            let shown = self.call(&["capture-pane", "-p", "-J", "-S", "-", "-t", "drover"])?;
            if shown.contains(text) {
                return Ok(shown);
            }
            ensure!(Instant::now() < until, "`{text}` is not shown:\n{shown}");
            std::thread::sleep(Duration::from_millis(100));
        }
    }
}

impl Drop for Tmux {
    fn drop(&mut self) {
        let _ = self.call(&["kill-server"]);
    }
}

#[test]
fn nothing_old_stays_after_a_resize() -> Result<()> {
    if !is_there("tmux") {
        println!("not exercised: a terminal that is resized, for want of tmux");
        return Ok(());
    }
    let long = "say=some-words-that-make-a-long-line-of-output-which-has-to-be-cut-at-every-width-there-is";
    let go = format!("until [ -e go ]; do echo {long}; sleep 0.1; done");
    let world =
        World::new(&[("a-step-with-a-long-name-that-is-one-of-many", &go), ("other", &go), ("third", &go)])?;
    let tmux = Tmux(world.path("tmux"));
    let run = format!(
        "cd {}; seq 100; {DROVER} --state state run plan.ron --jobs 8; echo all is $?; sleep 100",
        world.0.path().display()
    );
    tmux.call(&[
        "new-session",
        "-d",
        "-s",
        "drover",
        "-x",
        "120",
        "-y",
        "20",
        "env",
        "-u",
        "CI",
        "sh",
        "-c",
        &run,
    ])?;
    tmux.await_text("0/3")?;
    for width in ["40", "120", "60", "100", "40"] {
        tmux.call(&["resize-window", "-t", "drover", "-x", width])?;
        // Long enough for several drawings at the new width.
        std::thread::sleep(Duration::from_secs(1));
        let shown = tmux.await_text("0/3")?;
        assert_eq!(shown.matches("0/3").count(), 1, "at {width} columns:\n{shown}");
        assert_eq!(shown.matches("host/command-third").count(), 1, "at {width} columns:\n{shown}");
    }
    fs::write(world.path("go"), "")?;
    let shown = tmux.await_text("all is 0")?;
    assert!(!shown.contains("say=") && !shown.contains("0/3") && shown.contains("3 changed in"), "{shown}");
    Ok(())
}

#[test]
fn what_only_root_can_see_has_a_question_mark() -> Result<()> {
    use std::os::unix::fs::PermissionsExt;
    if !rustix::process::geteuid().is_root() {
        println!("not exercised: what somebody else than root sees, for want of root");
        return Ok(());
    }
    let world = World(tempfile::tempdir()?);
    let place = world.0.path().display();
    fs::set_permissions(world.0.path(), fs::Permissions::from_mode(0o755))?;
    let plan = format!(
        "Plan(name: \"files\", host: [HostFile(path: \"{place}/hidden/a\", content: \"a\"), \
         HostFile(path: \"{place}/open/b\", content: \"b\")], containers: [(name: \"ci\", \
         distribution: Debian, release: \"bookworm\", arch: amd64)], each: [])"
    );
    fs::write(world.path("plan.ron"), plan)?;
    fs::create_dir(world.path("hidden"))?;
    fs::set_permissions(world.path("hidden"), fs::Permissions::from_mode(0o700))?;
    fs::copy(DROVER, world.path("drover"))?;
    let mut plan = Command::new("setpriv");
    plan.args(["--reuid=65534", "--clear-groups"])
        .arg(world.path("drover"))
        .args(["--state", "state", "plan", "plan.ron"]);
    world.at_home(&mut plan);
    let output = plan.stdin(Stdio::null()).output()?;
    let (told, errors) = (String::from_utf8(output.stdout)?, String::from_utf8(output.stderr)?);
    assert!(told.starts_with("1 to do, 0 as the plan says, 1 that only root can tell\n"), "{told}{errors}");
    assert!(
        told.lines().any(|line| line.starts_with("? host/") && line.contains("only root can tell (")),
        "{told}"
    );
    assert!(!told.contains("openat") && !told.contains("os error"), "{told}");
    Ok(())
}
