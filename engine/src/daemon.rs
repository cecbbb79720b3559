//! A program that outlives the run that starts it.
//!
//! It does not know what the program serves, nor whether it is running already.

use crate::{Cmd, Environment};
use anyhow::{Context, Result};
use std::fs::File;
use std::path::Path;
use std::process::{Command, Stdio};

/// Closes what Drover itself was given open by whoever started it: the lock of a `flock` around it, the pipe by which
/// somebody waits for its end. In bash, because a plain `sh` knows no descriptor above 9.
const SCRIPT: &str = r#"
for fd in /proc/$$/fd/*; do
    fd=${fd##*/}
    [ "$fd" -le 2 ] || eval "exec $fd>&-"
done
exec "$@"
"#;

/// Starts `command` in a session of its own, its output going to the end of `log`. Returns its process id.
pub(crate) fn start(command: &Cmd, environment: &Environment, log: &Path) -> Result<u32> {
    let name = || format!("the log `{}` of a daemon", log.display());
    let out = File::options().create(true).append(true).open(log).with_context(name)?;
    let err = out.try_clone().with_context(name)?;
    let inner = command.bare()?;
    let mut process = Command::new("setsid");
    process.args(["bash", "-c", SCRIPT, "daemon"]).arg(inner.get_program()).args(inner.get_args());
    environment.give(&mut process, &command.env);
    process.current_dir(inner.get_current_dir().unwrap_or(Path::new("/")));
    let mut child = process
        .stdin(Stdio::null())
        .stdout(out)
        .stderr(err)
        .spawn()
        .map_err(|error| command.not_started(&error))?;
    let id = child.id();
    // Should it end before us, somebody has to take note, or it would look alive.
    std::thread::spawn(move || child.wait());
    Ok(id)
}
