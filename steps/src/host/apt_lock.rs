//! Waiting until nobody else uses the host's apt.

use anyhow::{Context, Result, bail};
use drover_engine::Cx;
use rustix::process::{Flock, FlockOffsetType, FlockType, Pid, fcntl_getlk};
use std::fs::OpenOptions;
use std::io::ErrorKind;
use std::time::Duration;

/// apt's and dpkg's locks, in the order in which they take them.
const LOCKS: [&str; 4] = [
    "/var/lib/dpkg/lock-frontend",
    "/var/lib/dpkg/lock",
    "/var/lib/apt/lists/lock",
    "/var/cache/apt/archives/lock",
];

/// How often it is looked, and how long one look lasts.
const LOOKS: u32 = 450;
const PAUSE: Duration = Duration::from_secs(2);

/// Waits until nobody holds any of them; apt itself waits for whoever comes in between.
pub(super) fn wait(cx: &Cx) -> Result<()> {
    let mut told = None;
    for _ in 0..LOOKS {
        let Some((lock, holder)) = held()? else { return Ok(()) };
        if told != Some(holder) {
            cx.note(&format!("waiting for {}, which holds {lock}", describe(holder)));
            told = Some(holder);
        }
        cx.sleep(PAUSE)?;
    }
    match held()? {
        None => Ok(()),
        Some((lock, holder)) => bail!(
            "`{lock}` is still held by {} after {} s: let it end or end it, then run again",
            describe(holder),
            LOOKS * PAUSE.as_secs() as u32
        ),
    }
}

/// The first lock that somebody holds, and who.
fn held() -> Result<Option<(&'static str, Pid)>> {
    for lock in LOCKS {
        if let Some(holder) = holder(lock)? {
            return Ok(Some((lock, holder)));
        }
    }
    Ok(None)
}

fn holder(lock: &str) -> Result<Option<Pid>> {
    let file = match OpenOptions::new().read(true).write(true).open(lock) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        file => file.with_context(|| format!("cannot open `{lock}`"))?,
    };
    let question = Flock {
        start: 0,
        length: 0,
        pid: None,
        typ: FlockType::WriteLock,
        offset_type: FlockOffsetType::Set,
    };
    let answer = fcntl_getlk(&file, &question).with_context(|| format!("cannot ask who holds `{lock}`"))?;
    Ok(answer.and_then(|lock| lock.pid))
}

fn describe(process: Pid) -> String {
    let id = process.as_raw_nonzero();
    match std::fs::read_to_string(format!("/proc/{id}/comm")) {
        Ok(name) => format!("`{}` (process {id})", name.trim()),
        // It has ended meanwhile.
        Err(_) => format!("process {id}"),
    }
}
