//! What a step is given, for tests that run commands.

use anyhow::{Context, Result};
use drover_engine::{self as engine, Cmd, CommandError, Cx, Interrupt, Scope};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// All that was reported.
pub(crate) struct Lines {
    pub(crate) said: Mutex<Vec<String>>,
    log: PathBuf,
}

impl Lines {
    /// Whether this line was reported.
    pub(crate) fn have(&self, line: &str) -> bool {
        self.said.lock().expect("nobody panics who hears").iter().any(|said| said == line)
    }
}

impl engine::Attempt for Lines {
    fn line(&self, line: &str) {
        self.said.lock().expect("nobody panics who hears").push(line.to_owned());
    }

    fn progress(&self, done: u64, total: u64) {
        self.line(&format!("{done}/{total}"));
    }

    fn log(&self) -> Option<PathBuf> {
        Some(self.log.clone())
    }
}

/// An attempt at a step, in a directory of its own.
pub(crate) struct Attempt {
    pub(crate) dir: tempfile::TempDir,
    pub(crate) lines: Arc<Lines>,
    pub(crate) interrupt: Interrupt,
    pub(crate) cx: Cx,
}

impl Attempt {
    pub(crate) fn new(timeout: Duration) -> Result<Self> {
        let dir = tempfile::tempdir()?;
        let lines = Arc::new(Lines { said: Mutex::default(), log: dir.path().join("logs/1.log") });
        let interrupt = Interrupt::default();
        let cx = Cx::new(Scope {
            attempt: lines.clone(),
            interrupt: interrupt.clone(),
            deadline: Instant::now() + timeout,
            cache: dir.path().join("cache").into(),
            environment: engine::Environment::default(),
            mark: format!("commands-{}", std::process::id()).into(),
            sweep: drover_engine::Sweep::default(),
        });
        Ok(Self { dir, lines, interrupt, cx })
    }

    pub(crate) fn log(&self) -> Result<String> {
        Ok(std::fs::read_to_string(self.dir.path().join("logs/1.log"))?)
    }

    /// Raises the interrupt to this level as soon as that is so; tells when that was.
    pub(crate) fn interrupt(
        &self,
        level: u8,
        when: impl Fn(&Lines) -> bool + Send + 'static,
    ) -> JoinHandle<Instant> {
        let (interrupt, lines) = (self.interrupt.clone(), self.lines.clone());
        std::thread::spawn(move || {
            while !when(&lines) {
                std::thread::sleep(Duration::from_millis(10));
            }
            let now = Instant::now();
            while interrupt.level() < level {
                interrupt.raise();
            }
            now
        })
    }
}

pub(crate) const MINUTE: Duration = Duration::from_secs(60);

pub(crate) fn sh(script: &str) -> Cmd {
    Cmd::new("sh").args(["-c", script])
}

pub(crate) fn command_error(error: &anyhow::Error) -> Result<&CommandError> {
    error.downcast_ref().context("a CommandError")
}

/// Whether any process has `word` as an argument of its own.
pub(crate) fn somebody_runs(word: &str) -> bool {
    let processes = std::fs::read_dir("/proc").expect("a process file system");
    processes.flatten().any(|process| {
        let arguments = std::fs::read(process.path().join("cmdline")).unwrap_or_default();
        arguments.split(|&byte| byte == 0).any(|argument| argument == word.as_bytes())
    })
}

pub(crate) fn ends_soon(word: &str) -> bool {
    let until = Instant::now() + Duration::from_secs(5);
    while somebody_runs(word) && Instant::now() < until {
        std::thread::sleep(Duration::from_millis(10));
    }
    !somebody_runs(word)
}
