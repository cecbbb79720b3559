//! What a process inherits from whoever starts it, besides its environment: made what it is for every Drover, once, at the start.
//! What Drover starts inherits it in turn.
//!
//! It does not know what Drover is about to do.

use anyhow::{Context, Result};
use nix::sys::signal::SigSet;
use rustix::fs::Mode;
use rustix::io::Errno;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit, umask};
use signal_hook::consts::{FORBIDDEN, SIGPIPE};
use std::io::ErrorKind;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

/// Where Drover's own temporary files are, whatever TMPDIR says: accounts other than its own must be able to read some of them.
const TEMPORARY: &str = "/tmp";

/// The bits that new files and directories go without: what is to be closed to others says so itself.
const UMASK: u32 = 0o022;

/// The size of a stack, in bytes, as every login has it.
const STACK: u64 = 8 << 20;

/// How many descriptors a program may have open: enough for a thousand steps at once, and not so many that programs which close
/// all that there could be (as rpm does) take hours.
const DESCRIPTORS: u64 = 4096;

/// Signals that the C library keeps for itself: nobody else can say what becomes of them.
const OF_LIBC: [i32; 2] = [32, 33];

/// Makes umask, open descriptors, signals, limits and the place of temporary files independent of whoever started this process.
/// To be called first, while there is one thread.
///
/// # Errors
/// When the kernel refuses.
pub fn shed_inherited() -> Result<()> {
    umask(Mode::from_raw_mode(UMASK));
    // Set before, it would be what somebody else in this process wants.
    let _ = tempfile::env::override_temp_dir(Path::new(TEMPORARY));
    close_fds::set_fds_cloexec(3, &[]);
    SigSet::empty().thread_set_mask().context("cannot unblock signals")?;
    heed_ignored()?;
    limits()
}

/// Signals that the caller ignores would be ignored by every program that is started, too: SIGCHLD, so that nobody learns how its
/// children end, SIGTERM, so that nothing can be stopped. One that is caught, by doing nothing, is not inherited.
fn heed_ignored() -> Result<()> {
    let status = match std::fs::read_to_string("/proc/self/status") {
        // Without /proc nothing can be known of that, and hardly anything be run.
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        status => status.context("cannot see which signals are ignored")?,
    };
    let ignored = ignored(&status).context("the kernel does not say which signals are ignored")?;
    // Rust itself ignores SIGPIPE, and not for what it starts.
    let left = [&[SIGPIPE][..], FORBIDDEN, &OF_LIBC].concat();
    let signals = (1..=64).filter(|signal| ignored & (1 << (signal - 1)) != 0 && !left.contains(signal));
    for signal in signals {
        signal_hook::flag::register(signal, Arc::new(AtomicBool::new(false)))
            .with_context(|| format!("cannot catch signal {signal}"))?;
    }
    Ok(())
}

/// The mask of ignored signals in a text such as `/proc/self/status`: bit 0 is signal 1.
fn ignored(status: &str) -> Option<u64> {
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"))?;
    u64::from_str_radix(mask.trim(), 16).ok()
}

/// Limits as a login has them: nothing ends because somebody's shell was told to keep its files, its memory or its time small,
/// and no core file is left in a container.
fn limits() -> Result<()> {
    let unlimited =
        [Resource::Fsize, Resource::Cpu, Resource::Data, Resource::As, Resource::Rss, Resource::Nproc];
    for resource in unlimited {
        limit(resource, None)?;
    }
    limit(Resource::Core, Some(0))?;
    limit(Resource::Stack, Some(STACK))?;
    limit(Resource::Nofile, Some(DESCRIPTORS))
}

/// Sets a limit; `None` is none. Where that is more than this process may have, it is as much as it may.
fn limit(resource: Resource, wanted: Option<u64>) -> Result<()> {
    let Rlimit { current, maximum } = getrlimit(resource);
    let at_most = |limit: Option<u64>| limit.unwrap_or(u64::MAX);
    if wanted == current {
        return Ok(());
    }
    let raised = if at_most(wanted) > at_most(maximum) { wanted } else { maximum };
    let set = match setrlimit(resource, Rlimit { current: wanted, maximum: raised }) {
        Err(Errno::PERM) => {
            let current = if at_most(wanted) > at_most(maximum) { maximum } else { wanted };
            setrlimit(resource, Rlimit { current, maximum })
        }
        set => set,
    };
    set.with_context(|| format!("cannot set the limit {resource:?}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_says_which_signals_are_ignored() -> Result<()> {
        assert_eq!(ignored("Name:\tx\nSigIgn:\t0000000000001003\n"), Some(0x1003));
        // Rust ignores SIGPIPE, 13.
        let status = std::fs::read_to_string("/proc/self/status")?;
        assert_eq!(ignored(&status).map(|mask| mask & (1 << 12)), Some(1 << 12));
        Ok(())
    }
}
