//! Services of the host, started by whatever the host has: systemd, a SysV script, or the service's own program.
//!
//! It does not know what the services are for.

use drover_engine::Cmd;
use std::fmt;
use std::path::{Path, PathBuf};

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

/// A call of `program` that leaves a daemon behind: without the run's mark, by which what a killed run left is ended.
pub fn lasting(program: impl AsRef<std::ffi::OsStr>) -> Cmd {
    Cmd::new(program).unmarked()
}
