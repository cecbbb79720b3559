//! Services of the host, started by whatever the host has: systemd, a SysV script, or the service's own program.
//!
//! It does not know what the services are for.

use anyhow::{Context, Result, bail};
use drover_engine::{Check, Cmd, Cx, Undo};
use std::ffi::OsStr;
use std::fmt;
use std::fs::{self, File, TryLockError};
use std::io::ErrorKind;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// What starts a service here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Starter {
    /// systemd runs, and the service is a unit of it.
    Systemd,
    /// The service's script in `/etc/init.d`.
    Script(PathBuf),
    /// Nothing does: its program has to be called.
    Nothing,
}

impl Starter {
    /// What starts the service called `name`.
    pub fn of(name: &str) -> Self {
        let script = Path::new("/etc/init.d").join(name);
        if systemd_runs() {
            Self::Systemd
        } else if script.exists() {
            Self::Script(script)
        } else {
            Self::Nothing
        }
    }
}

impl fmt::Display for Starter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Systemd => f.write_str("systemd"),
            Self::Script(script) => write!(f, "{}", script.display()),
            Self::Nothing => f.write_str("its own program"),
        }
    }
}

/// Whether systemd is the host's first process, as sd_booted(3) finds out.
pub fn systemd_runs() -> bool {
    Path::new("/run/systemd/system").is_dir()
}

/// Remembered of a unit that was not started at boot before.
const ENABLED: &str = "enabled";

/// Whether systemd, where it runs, starts the unit at boot. One that is there for others, or made as they need it, counts.
///
/// # Errors
/// When systemd cannot be asked.
pub fn check_enabled(cx: &Cx, unit: &str) -> Result<Check> {
    if !systemd_runs() {
        return Ok(Check::Satisfied);
    }
    let answer = cx.probe(&Cmd::new("systemctl").args(["is-enabled", unit]))?;
    Ok(match answer.stdout.trim() {
        "disabled" => Check::needed(format!("systemd does not start {unit} at boot")),
        "masked" => bail!("{unit} is masked, so that systemd never starts it: `systemctl unmask {unit}`"),
        _ => Check::Satisfied,
    })
}

/// Lets systemd, where it runs, start the unit at boot.
///
/// # Errors
/// When it cannot be.
pub fn enable(cx: &Cx, unit: &str) -> Result<()> {
    if check_enabled(cx, unit)?.is_satisfied() {
        return Ok(());
    }
    cx.remember(ENABLED, unit)?;
    cx.run(&Cmd::new("systemctl").args(["enable", unit]))
}

/// How it is undone that systemd starts the unit at boot.
///
/// # Errors
/// When systemd cannot be asked.
pub fn undo_enable<'a>(cx: &Cx, unit: &'a str) -> Result<Undo<'a>> {
    if cx.remembered(ENABLED)?.is_none() || !systemd_runs() || !check_enabled(cx, unit)?.is_satisfied() {
        return Ok(Undo::default());
    }
    let what = format!("let systemd start {unit} at boot no more");
    Ok(Undo::default().act(what, move |cx| cx.run(&Cmd::new("systemctl").args(["disable", unit]))))
}

/// A call of `program` that leaves the service behind: without the run's mark, by which what a killed run left is ended. It
/// holds a lock for as long as it starts, so that the next run can wait for it: see [`await_starter`].
pub fn lasting(service: &str, program: impl AsRef<OsStr>) -> Cmd {
    Cmd::new("flock").arg("--close").arg(lock(service)).arg(program).unmarked()
}

/// Where it is locked that a service is being started.
fn lock(service: &str) -> PathBuf {
    format!("/run/drover/{service}.starting").into()
}

/// Whether somebody is starting the service now. Makes nothing to find that out.
///
/// # Errors
/// When that cannot be looked at.
pub fn is_starting(service: &str) -> Result<bool> {
    let path = lock(service);
    let file = match File::open(&path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(false),
        file => file.with_context(|| format!("cannot open `{}`", path.display()))?,
    };
    is_held(&file, &path)
}

fn is_held(file: &File, path: &Path) -> Result<bool> {
    match file.try_lock() {
        Ok(()) => Ok(false),
        Err(TryLockError::WouldBlock) => Ok(true),
        Err(TryLockError::Error(error)) => {
            Err(error).with_context(|| format!("cannot lock `{}`", path.display()))
        }
    }
}

/// Waits until nobody starts the service: what a killed run called goes on, and would be in the way of another start.
///
/// # Errors
/// When it goes on for too long, or cannot be looked at.
pub fn await_starter(cx: &Cx, service: &str) -> Result<()> {
    let path = lock(service);
    let open = || {
        fs::create_dir_all("/run/drover")?;
        File::options().create(true).truncate(false).write(true).mode(0o600).open(&path)
    };
    let file = open().with_context(|| format!("cannot open `{}`", path.display()))?;
    for _ in 0..600 {
        if !is_held(&file, &path)? {
            return Ok(());
        }
        cx.sleep(Duration::from_millis(100))?;
    }
    bail!(
        "{service} is still being started, by an earlier run: `fuser -v {}` shows the process",
        path.display()
    )
}
