//! Jails for real: what is seen inside, and that nothing is left, however they end. Needs root.

use crate::attempt::{Attempt, MINUTE, command_error, ends_soon, sh, somebody_runs};
use anyhow::{Context, Result};
use drover_engine::{Cmd, Interrupted, Jail};
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::time::{Duration, Instant};

/// Whether jails can be made here; says so if not.
fn may_jail() -> bool {
    let root = rustix::process::geteuid().is_root();
    if !root {
        println!("not tested: a jail needs root");
    }
    root
}

/// A root with the host's programs in it, bound by the jail.
fn root(attempt: &Attempt) -> Result<Jail> {
    let root = attempt.dir.path().join("root");
    for dir in ["dev", "usr", "proc", "sys", "tmp", "etc"] {
        fs::create_dir_all(root.join(dir))?;
    }
    for link in ["bin", "sbin", "lib", "lib64"] {
        if Path::new("/").join(link).exists() {
            symlink(format!("usr/{link}"), root.join(link))?;
        }
    }
    Ok(Jail::chroot(root).bind("/usr", "/usr").bind("/dev", "/dev"))
}

fn mounts() -> Result<String> {
    Ok(fs::read_to_string("/proc/self/mountinfo")?)
}

#[test]
fn a_jail_has_its_own_root_processes_and_mounts() -> Result<()> {
    if !may_jail() {
        return Ok(());
    }
    let attempt = Attempt::new(MINUTE)?;
    let jail = root(&attempt)?;
    let before = mounts()?;
    let seen =
        attempt.cx.read(&sh("cd /; echo *; set -- /proc/[0-9]*; echo $#; ls /sys/kernel").inside(&jail))?;
    let mut lines = seen.lines();
    assert_eq!(lines.next(), Some("bin dev etc lib lib64 proc sbin sys tmp usr"));
    assert_eq!(lines.next(), Some("2"), "its first process and this shell");
    assert!(lines.any(|line| line == "mm"));
    let environment = "echo $PATH $TMPDIR $X; pwd; cat";
    let command = sh(environment).inside(&jail).dir("/tmp").env("X", "y z").stdin("given\n");
    let path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
    assert_eq!(attempt.cx.read(&command)?, format!("{path} y z\n/tmp\ngiven\n"));
    attempt.cx.run(&sh("mount -t tmpfs none /tmp && touch /tmp/x").inside(&jail))?;
    attempt.cx.run(
        &sh("touch /tmp/drover-jail && mount -t tmpfs none /tmp && ! [ -e /tmp/drover-jail ]").inside(&jail),
    )?;
    assert!(attempt.dir.path().join("root/tmp/drover-jail").exists());
    assert!(attempt.log()?.contains(&format!("   # in {}/root\n", attempt.dir.path().display())));
    assert_eq!(mounts()?, before);
    Ok(())
}

#[test]
fn the_hosts_own_root_with_private_processes() -> Result<()> {
    if !may_jail() {
        return Ok(());
    }
    let attempt = Attempt::new(MINUTE)?;
    let dir = attempt.dir.path();
    fs::write(dir.join("source"), "bound\n")?;
    fs::write(dir.join("target"), "")?;
    let jail = Jail::host().bind(dir.join("source"), dir.join("target"));
    let seen = attempt.cx.read(&sh("cat target; set -- /proc/[0-9]*; echo $#").inside(&jail).dir(dir))?;
    assert_eq!(seen, "bound\n2\n");
    assert_eq!(fs::read_to_string(dir.join("target"))?, "");
    Ok(())
}

#[test]
fn the_hosts_own_root_with_its_processes() -> Result<()> {
    if !may_jail() {
        return Ok(());
    }
    let attempt = Attempt::new(MINUTE)?;
    let dir = attempt.dir.path();
    fs::write(dir.join("source"), "bound\n")?;
    fs::write(dir.join("target"), "")?;
    let jail = Jail::mounts_of_host().bind(dir.join("source"), dir.join("target"));
    let seen = attempt.cx.read(&sh("cat target; readlink /proc/self/ns/pid").inside(&jail).dir(dir))?;
    assert_eq!(seen, format!("bound\n{}\n", fs::read_link("/proc/self/ns/pid")?.display()));
    assert_eq!(fs::read_to_string(dir.join("target"))?, "");
    let error = attempt.cx.run(&sh("exit 3").inside(&jail)).expect_err("it fails");
    assert_eq!(command_error(&error)?.status, "exit status 3");
    Ok(())
}

#[test]
fn how_it_ends_is_told_and_what_is_missing_is_said() -> Result<()> {
    if !may_jail() {
        return Ok(());
    }
    let attempt = Attempt::new(MINUTE)?;
    let jail = root(&attempt)?;
    let status = |script: &str| -> Result<String> {
        let error = attempt.cx.run(&sh(script).inside(&jail)).expect_err("it fails");
        Ok(command_error(&error)?.status.clone())
    };
    assert_eq!(status("exit 3")?, "exit status 3");
    assert_eq!(status("kill -9 $$")?, "exit status 137 (as by signal 9 (killed))");
    let error = attempt.cx.run(&Cmd::new("drover-no-such").inside(&jail)).expect_err("it fails");
    assert!(error.to_string().contains("failed to execute drover-no-such"), "{error}");
    let error =
        attempt.cx.run(&sh("true").inside(&jail.clone().bind("/no/such", "/tmp"))).expect_err("it fails");
    assert_eq!(format!("{error:#}"), "bind `/no/such`: it does not exist");
    let error =
        attempt.cx.run(&sh("true").inside(&jail.clone().bind("/etc", "/no/such"))).expect_err("it fails");
    assert!(error.to_string().contains("mount over `/no/such`"), "{error}");
    // A link in the root leads a mount nowhere but into the root.
    symlink("/etc", attempt.dir.path().join("root/outside"))?;
    let seen = attempt.cx.read(&sh("ls /etc").inside(&jail.bind("/usr/lib", "/outside")))?;
    assert!(seen.contains("os-release\n"), "{seen}");
    Ok(())
}

#[test]
fn an_interrupt_ends_the_program_and_what_it_started() -> Result<()> {
    if !may_jail() {
        return Ok(());
    }
    let attempt = Attempt::new(MINUTE)?;
    let jail = root(&attempt)?;
    let before = mounts()?;
    let raised = attempt.interrupt(2, |lines| lines.have("ready"));
    let script = "setsid sleep 98765 & trap 'echo cleaned; exit 1' TERM; sleep 98765 & echo ready; wait";
    let error = attempt.cx.run(&sh(script).inside(&jail)).expect_err("it fails");
    assert!(error.is::<Interrupted>());
    assert_eq!(command_error(&error)?.tail, ["ready", "cleaned"]);
    let took = raised.join().expect("no panic").elapsed();
    assert!(took < Duration::from_secs(5), "{took:?}");
    assert!(ends_soon("98765"), "also what left the process group");
    assert_eq!(mounts()?, before);
    Ok(())
}

#[test]
fn killing_the_jail_kills_all_that_is_in_it() -> Result<()> {
    if !may_jail() {
        return Ok(());
    }
    let attempt = Attempt::new(MINUTE)?;
    let jail = root(&attempt)?;
    let before = mounts()?;
    let script = "mount -t tmpfs none /tmp; setsid sleep 98766 & sleep 98766 & sleep 98766";
    let error = std::thread::scope(|scope| -> Result<anyhow::Error> {
        let running = scope.spawn(|| attempt.cx.run(&sh(script).inside(&jail)));
        let until = Instant::now() + MINUTE;
        while !somebody_runs("98766") && Instant::now() < until {
            std::thread::sleep(Duration::from_millis(10));
        }
        assert!(somebody_runs("98766"));
        let unshare = children("unshare")?.first().copied().context("a child called unshare")?;
        let pid = rustix::process::Pid::from_raw(unshare).context("a process id")?;
        rustix::process::kill_process(pid, rustix::process::Signal::KILL)?;
        Ok(running.join().expect("it does not panic").expect_err("it fails"))
    })?;
    assert_eq!(command_error(&error)?.status, "signal 9 (killed)");
    assert!(ends_soon("98766"));
    assert_eq!(mounts()?, before);
    fs::remove_dir_all(attempt.dir.path().join("root"))?;
    Ok(())
}

/// The children of this thread's process that are called `name` and hold 98766 among their arguments.
fn children(name: &str) -> Result<Vec<i32>> {
    let mut found = Vec::new();
    for process in fs::read_dir("/proc")?.flatten() {
        let Some(pid) = process.file_name().to_str().and_then(|pid| pid.parse().ok()) else { continue };
        let stat = fs::read_to_string(process.path().join("stat")).unwrap_or_default();
        let ours = format!(" {} ", std::process::id());
        let is_child = stat.contains(&format!("({name}) "))
            && stat.split(") ").nth(1).is_some_and(|s| s[1..].starts_with(&ours));
        let arguments = fs::read_to_string(process.path().join("cmdline")).unwrap_or_default();
        if is_child && arguments.contains("98766") {
            found.push(pid);
        }
    }
    Ok(found)
}
