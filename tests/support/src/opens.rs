//! Counts how often programs are started, without asking whoever starts them: the kernel reports each opening of a file.
//!
//! inotify(7) watches inodes, so a program is counted wherever it is mounted or linked. It does not know what the programs
//! are for.

use anyhow::{Context, Result};
use rustix::fs::inotify::{self, CreateFlags, ReadFlags, Reader, WatchFlags};
use rustix::io::Errno;
use std::collections::HashSet;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

/// How often what is queued is taken from the kernel, and new files are looked for. The kernel queues 16,384 events.
const TICK: Duration = Duration::from_millis(20);

/// What the kernel reports. Two equal reports in a row would become one, so what comes between two openings of the same file
/// is reported as well.
const WATCHED: WatchFlags = WatchFlags::OPEN.union(WatchFlags::ACCESS).union(WatchFlags::CLOSE);

/// A count of openings that goes on until it is asked for.
#[derive(Debug)]
pub struct Opens {
    ends: Arc<AtomicBool>,
    counter: JoinHandle<Result<u64>>,
    so_far: Arc<AtomicU64>,
}

impl Opens {
    /// Counts openings of the files that `find` finds, now and as soon as it finds more.
    ///
    /// # Errors
    /// When the kernel gives no watch.
    pub fn of(find: impl Fn() -> Vec<PathBuf> + Send + 'static) -> Result<Self> {
        let queue =
            inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK).context("no watch can be had")?;
        let (ends, so_far) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let counter =
            Counter { queue, find: Mutex::new(Box::new(find)), ends: ends.clone(), so_far: so_far.clone() };
        Ok(Self { ends, counter: std::thread::spawn(move || counter.count()), so_far })
    }

    /// How many there were until now.
    pub fn so_far(&self) -> u64 {
        self.so_far.load(Ordering::Relaxed)
    }

    /// How many there were.
    ///
    /// # Errors
    /// When some were missed, or a file could not be watched.
    pub fn end(self) -> Result<u64> {
        self.ends.store(true, Ordering::Relaxed);
        self.counter.join().map_err(|_| anyhow::anyhow!("the counter panicked"))?
    }
}

type Find = dyn Fn() -> Vec<PathBuf> + Send;

struct Counter {
    queue: OwnedFd,
    find: Mutex<Box<Find>>,
    ends: Arc<AtomicBool>,
    so_far: Arc<AtomicU64>,
}

impl Counter {
    fn count(self) -> Result<u64> {
        let mut watched = HashSet::new();
        loop {
            let is_last = self.ends.load(Ordering::Relaxed);
            self.watch(&mut watched)?;
            self.take()?;
            if is_last {
                return Ok(self.so_far.load(Ordering::Relaxed));
            }
            std::thread::sleep(TICK);
        }
    }

    fn watch(&self, watched: &mut HashSet<PathBuf>) -> Result<()> {
        let find = self.find.lock().map_err(|_| anyhow::anyhow!("the search panicked"))?;
        for file in find() {
            if watched.contains(&file) {
                continue;
            }
            match inotify::add_watch(&self.queue, &file, WATCHED) {
                Ok(_) => drop(watched.insert(file)),
                // It is gone again.
                Err(Errno::NOENT) => {}
                Err(errno) => return Err(errno).with_context(|| format!("watch `{}`", file.display())),
            }
        }
        Ok(())
    }

    fn take(&self) -> Result<()> {
        let mut buffer = [MaybeUninit::uninit(); 64 * 1024];
        let mut reader = Reader::new(&self.queue, &mut buffer);
        loop {
            match reader.next() {
                Ok(event) if event.events().contains(ReadFlags::QUEUE_OVERFLOW) => {
                    anyhow::bail!("more files were opened than could be counted")
                }
                Ok(event) if event.events().contains(ReadFlags::OPEN) => {
                    self.so_far.fetch_add(1, Ordering::Relaxed);
                }
                Ok(_) => {}
                Err(Errno::AGAIN) => return Ok(()),
                Err(errno) => return Err(errno).context("read what was opened"),
            }
        }
    }
}

/// The files in a directory and in those below it; none where there is nothing.
pub fn files_below(directory: &Path) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(directory) else { return Vec::new() };
    let (mut files, mut directories) = (Vec::new(), Vec::new());
    for entry in entries.flatten() {
        match entry.file_type() {
            Ok(kind) if kind.is_dir() => directories.push(entry.path()),
            Ok(kind) if kind.is_file() => files.push(entry.path()),
            _ => {}
        }
    }
    files.extend(directories.iter().flat_map(|directory| files_below(directory)));
    files
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn openings_are_counted_wherever_the_file_is_linked() -> Result<()> {
        let dir = tempfile::tempdir()?;
        let (file, link) = (dir.path().join("a/file"), dir.path().join("link"));
        let place = dir.path().to_owned();
        let opens = Opens::of(move || files_below(&place.join("a")))?;
        std::fs::create_dir(dir.path().join("a"))?;
        std::fs::write(&file, "")?;
        std::fs::hard_link(&file, &link)?;
        // It is watched a moment later.
        while opens.so_far() == 0 {
            std::fs::read(&link)?;
            std::thread::sleep(TICK);
        }
        let before = opens.so_far();
        for _ in 0..3 {
            std::fs::read(&link)?;
        }
        let counted = opens.end()?;
        assert!(counted >= before + 3, "{before}, then {counted}");
        Ok(())
    }
}
