//! A step's only door to the world: commands, notes, waiting.
//!
//! It knows the attempt's log and the run's interrupt; it does not know the graph.

use crate::attempt_log::AttemptLog;
use crate::daemon;
use crate::lines::{Line, Lines, Tail};
use crate::process::{Ended, Limits, Pipes, Process, Stopped, Stream, seconds};
use crate::sweep::Change;
use crate::{Cmd, CommandError, Environment, HostFile, Interrupt, Interrupted, Mark, Output, Sweep, removal};
use anyhow::{Context, Result, bail};
use drover_state::{Programs, seal_text, unseal_text};
use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// One attempt at a step, as the run sees it: who hears what it says, and where it keeps what it writes. Most checks do
/// neither, so that the places are asked for only when they are needed.
pub trait Attempt: Send + Sync {
    /// The newest line of output, without its line end and without control characters.
    fn line(&self, line: &str);

    /// How far the step is: `done` of `total` of something that can be counted.
    fn progress(&self, done: u64, total: u64);

    /// Something about how it is done that is worth keeping. It was shown as a line already.
    fn remark(&self, _text: &str) {}

    /// Something about how it is done that somebody should look at. It was shown as a line already.
    fn warning(&self, _text: &str) {}

    /// How programs of an emulated system were started, so far as that was counted.
    fn programs(&self, _programs: &Programs) {}

    /// Something that a precondition could not find out.
    fn doubt(&self, text: &str) {
        self.line(text);
    }

    /// Its log, which is made when its first line is written; none for somebody who only looks.
    fn log(&self) -> Option<PathBuf> {
        None
    }

    /// Where [`Cx::remember`] keeps what the node's undo has to know; nowhere for somebody who only looks.
    fn memory(&self) -> Option<PathBuf> {
        None
    }
}

/// Somebody who only looks. Nobody listens.
pub(crate) struct Nobody;

impl Attempt for Nobody {
    fn line(&self, _line: &str) {}

    fn progress(&self, _done: u64, _total: u64) {}
}

/// What surrounds one attempt at a step.
#[derive(Clone)]
pub struct Scope {
    /// The attempt itself.
    pub attempt: Arc<dyn Attempt>,
    /// The run's interrupt.
    pub interrupt: Interrupt,
    /// When the attempt is stopped.
    pub deadline: Instant,
    /// Where [`Cx::cache`] leads: `STATE/cache`.
    pub cache: Arc<Path>,
    /// What programs get, but for what a step sets.
    pub environment: Environment,
    /// The value of the environment variable [`MARK`] of every process started for the run, by which whatever a killed
    /// run left behind is found.
    pub mark: Mark,
    /// What others who look at the same world have found out already.
    pub sweep: Sweep,
}

/// What is remembered of a node that was taken over as made by us.
pub(crate) const TAKEN_OVER: &str = "taken-over";

/// What to say when a memory cannot be used.
const DAMAGED: &str = "what is remembered for the way back cannot be used: `drover state repair` moves it aside; what it was \
                       about is then left alone";

/// The environment variable that marks every process started for a run, but for daemons.
pub const MARK: &str = "DROVER_RUN";

/// What a step is given to look at the world and, in `apply`, to change it.
pub struct Cx {
    scope: Scope,
    begun: Instant,
    log: AttemptLog,
    /// Whether it has started a process with its mark.
    has_begun: AtomicBool,
    /// Whether a process of its was made to end, so that whatever still has its mark was not left on purpose.
    was_stopped: AtomicBool,
}

/// An attempt that ends by itself has nothing that must not outlive it.
impl Drop for Cx {
    fn drop(&mut self) {
        if *self.has_begun.get_mut() && !*self.was_stopped.get_mut() {
            self.scope.mark.end();
        }
    }
}

impl Cx {
    /// The door to the world for one attempt. Cheap: touches nothing.
    pub fn new(scope: Scope) -> Self {
        let log = AttemptLog::new(Arc::clone(&scope.attempt));
        let (has_begun, was_stopped) = (AtomicBool::default(), AtomicBool::default());
        Self { scope, begun: Instant::now(), log, has_begun, was_stopped }
    }

    /// A door for looking only, outside of any run: nobody hears what is said, nothing is logged, nothing is interrupted.
    pub fn to_look() -> Self {
        Self::looking(Environment::default())
    }

    /// As [`Cx::to_look`], with another environment for programs.
    pub fn looking(environment: Environment) -> Self {
        Self::new(Scope {
            environment,
            attempt: Arc::new(Nobody),
            interrupt: Interrupt::default(),
            deadline: Instant::now() + Duration::from_secs(3600),
            cache: Path::new("").into(),
            mark: "look".into(),
            sweep: Sweep::default(),
        })
    }

    /// The same door, with its caches in another place: for looking without leaving anything.
    #[must_use]
    pub fn with_cache(&self, cache: &Path) -> Self {
        Self::new(Scope { cache: cache.into(), ..self.scope.clone() })
    }

    /// Runs a command; its whole output goes to the attempt's log as it comes, its last line to the screen.
    ///
    /// # Errors
    /// [`CommandError`] when it cannot be started, does not end with success, runs into the step's timeout,
    /// or is stopped by an interrupt; in the last case the error is [`Interrupted`] as well.
    pub fn run(&self, command: &Cmd) -> Result<()> {
        self.watch(command, &mut |_| {})
    }

    /// As [`Cx::run`]; `seen` is told each line of output as it comes, to find out how far the command is.
    ///
    /// # Errors
    /// As [`Cx::run`].
    pub fn watch(&self, command: &Cmd, seen: &mut dyn FnMut(&str)) -> Result<()> {
        let _change = self.scope.sweep.change();
        let place = command.place().map_or(String::new(), |root| format!("   # in {}", root.display()));
        self.log.write(&format!("$ {command}{place}\n"));
        let mut lines = Lines::default();
        let mut tail = Tail::default();
        let mut show = |lines: Vec<Line>| {
            self.show(&lines, &mut tail);
            lines.iter().for_each(|line| seen(line.text()));
        };
        let ended = self.see_through(command, Pipes::Merged, &mut |_, bytes| show(lines.push(bytes)));
        show(lines.finish().into_iter().collect());
        let ended = ended?;
        match self.conclude(command, ended, tail) {
            Err(error) => {
                self.log.write(&format!("# {}\n", ended.words(self.allowed())));
                Err(error)
            }
            Ok(()) => Ok(()),
        }
    }

    /// Runs a command for what it prints on standard output. Not for changing anything; nothing is logged.
    ///
    /// # Errors
    /// As [`Cx::run`].
    pub fn read(&self, command: &Cmd) -> Result<String> {
        let (ended, stdout, stderr) = self.capture(command)?;
        self.conclude(command, ended, Tail::of(&stderr))?;
        Ok(stdout)
    }

    /// Runs a command for how it ends; only being unable to start or to finish it is an error. Nothing is logged.
    ///
    /// # Errors
    /// When it cannot be started, runs into the step's timeout, or is stopped by an interrupt.
    pub fn probe(&self, command: &Cmd) -> Result<Output> {
        let (ended, stdout, stderr) = self.capture(command)?;
        if ended.stopped.is_some() {
            self.conclude(command, ended, Tail::of(&stderr))?;
        }
        Ok(Output { status: ended.status, stdout, stderr })
    }

    /// Starts a program that is to outlive the run: in a session of its own, with nothing of ours open and without
    /// our mark on it. Its output goes to the end of `log`. Returns its process id.
    ///
    /// # Errors
    /// When `log` cannot be opened, or it cannot be started.
    pub fn start_daemon(&self, command: &Cmd, log: &Path) -> Result<u32> {
        let _change = self.scope.sweep.change();
        self.log.write(&format!("$ {command} >>{} 2>&1 &\n", log.display()));
        daemon::start(command, &self.scope.environment, log)
    }

    /// Removes what is at `path`: a tree, a file or a link, which is not followed. Nothing there is fine. What another
    /// mount shows in it is never touched.
    ///
    /// # Errors
    /// When something is mounted at `path` or below it, or something cannot be removed; when an interrupt or the step's
    /// timeout ends it early, which leaves a part.
    pub fn remove_tree(&self, path: &Path) -> Result<()> {
        let _change = self.scope.sweep.change();
        if path.symlink_metadata().is_ok() {
            self.log_line(&format!("remove {}", path.display()));
        }
        removal::remove(path, &mut || self.sleep(Duration::ZERO))
    }

    /// What `look` finds out about the world. Many may ask `question`, and the first of them looks: the others share its
    /// answer, until something is applied or taken back. While that goes on, each looks for itself. Errors are not shared.
    ///
    /// `question` says what the answer depends on, such as the path of the file that is read. `look` must not ask it again.
    ///
    /// # Errors
    /// Those of `look`.
    pub fn once<T: Send + Sync + 'static>(
        &self,
        question: &str,
        look: impl FnOnce() -> Result<T>,
    ) -> Result<Arc<T>> {
        self.scope.sweep.once(question, look)
    }

    /// Whether nothing is being changed, so that others share what [`Cx::once`] finds now: then it pays to look at more than
    /// is needed here.
    pub fn is_settled(&self) -> bool {
        self.scope.sweep.is_settled()
    }

    /// A line for the log and the screen.
    pub fn note(&self, line: &str) {
        self.scope.attempt.line(line);
        self.log_line(line);
    }

    /// Something about how it is done that is worth keeping: for the log, and for the report of the run. In `apply` only.
    pub fn remark(&self, text: &str) {
        self.note(text);
        self.scope.attempt.remark(text);
    }

    /// Something about how it is done that somebody should look at: for the log, and for the report of the run. In `apply`
    /// only.
    pub fn warn(&self, text: &str) {
        self.note(&format!("warning: {text}"));
        self.scope.attempt.warning(text);
    }

    /// How programs of an emulated system were started: for the log in words, and for the report of the run, which sums them
    /// up. In `apply` only.
    pub fn programs(&self, programs: &Programs) {
        self.note(&programs.to_string());
        self.scope.attempt.programs(programs);
    }

    /// Something that could not be found out and may yet turn out to be missing: for preconditions, which then end well.
    /// A dry run tells it.
    pub fn doubt(&self, text: &str) {
        self.scope.attempt.doubt(text);
        self.log_line(text);
    }

    /// A line for the log alone.
    fn log_line(&self, line: &str) {
        self.log.write(&format!("# {line}\n"));
    }

    /// How far it is: `done` of `total` of something that can be counted.
    pub fn progress(&self, done: u64, total: u64) {
        self.scope.attempt.progress(done, total);
    }

    /// Waits.
    ///
    /// # Errors
    /// When an interrupt or the step's timeout ends the wait early.
    pub fn sleep(&self, duration: Duration) -> Result<()> {
        let until = Instant::now() + duration;
        loop {
            match self.limits().reached() {
                Some(Stopped::Interrupted) => return Err(Interrupted.into()),
                Some(Stopped::TimedOut) => bail!("stopped waiting after {}", seconds(self.allowed())),
                None => {}
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(());
            }
            std::thread::sleep(left.min(Duration::from_millis(50)));
        }
    }

    /// Keeps a tool's own log, such as `debootstrap.log`, beside the attempt's. Absent is fine. That it
    /// cannot be copied is said, and stops nothing.
    pub fn keep_log(&self, file: &Path) {
        self.log.keep(file);
    }

    /// A directory that lives as long as the state does, for downloads and other things that can be made again:
    /// `STATE/cache/NAME`. It may not exist yet.
    pub fn cache(&self, name: &str) -> PathBuf {
        self.scope.cache.join(name)
    }

    /// Keeps `text` under `name` until the node is undone, durably: what its undo has to know and the world will not
    /// tell any more. To be called before the change that it is about.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn remember(&self, name: &str, text: &str) -> Result<()> {
        let memory = self.scope.attempt.memory().context("who only looks has nothing to remember")?;
        let made = DirBuilder::new().recursive(true).mode(0o700).create(&memory);
        made.with_context(|| format!("make `{}`", memory.display()))?;
        HostFile::new(memory.join(name)).mode(0o600).write(&seal_text(text))
    }

    /// What was kept under `name`, if anything was.
    ///
    /// # Errors
    /// When it cannot be read, or is damaged.
    pub fn remembered(&self, name: &str) -> Result<Option<String>> {
        let Some(memory) = self.scope.attempt.memory() else { return Ok(None) };
        let file = HostFile::new(memory.join(name));
        let Some(sealed) = file.read().context(DAMAGED)? else { return Ok(None) };
        let text = unseal_text(&sealed).with_context(|| format!("read `{}`", file.path().display()));
        Ok(Some(text.context(DAMAGED)?.to_owned()))
    }

    /// Whether the node has made something, as kept under `name`, or is taken to have made it: see [`Cx::is_taken_over`].
    ///
    /// # Errors
    /// As [`Cx::remembered`].
    pub fn has_made(&self, name: &str) -> Result<bool> {
        Ok(self.remembered(name)?.is_some() || self.is_taken_over()?)
    }

    /// Whether the node was [taken over](crate::take_over) as made by us: nothing is known of what was there before.
    ///
    /// # Errors
    /// As [`Cx::remembered`].
    pub fn is_taken_over(&self) -> Result<bool> {
        Ok(self.remembered(TAKEN_OVER)?.is_some())
    }

    /// Keeps `text` below [`Cx::cache`] as `name`, readable for the owner only, if this is an attempt of a run. Who only looks
    /// leaves nothing behind.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn keep(&self, name: &str, text: &str) -> Result<()> {
        if self.scope.attempt.memory().is_none() {
            return Ok(());
        }
        HostFile::new(self.cache(name)).mode(0o600).write(text)
    }

    /// What is shared with others who look at the same world.
    #[cfg(test)]
    pub(crate) fn sweep(&self) -> Sweep {
        self.scope.sweep.clone()
    }

    /// The same, sharing what these have found out.
    #[cfg(test)]
    pub(crate) fn sharing(mut self, sweep: &Sweep) -> Self {
        self.scope.sweep = sweep.clone();
        self
    }

    /// The world is being changed until the result is dropped.
    pub(crate) fn change(&self) -> Change {
        self.scope.sweep.change()
    }

    /// How long the attempt may take. That it was stopped after so long is what is told, not how long its processes then
    /// took to end.
    fn allowed(&self) -> Duration {
        self.scope.deadline.saturating_duration_since(self.begun)
    }

    fn limits(&self) -> Limits<'_> {
        Limits { interrupt: &self.scope.interrupt, deadline: self.scope.deadline }
    }

    /// Runs a process from start to end. None is started when it would be stopped at once.
    fn see_through(&self, command: &Cmd, pipes: Pipes, sink: &mut Sink<'_>) -> Result<Ended> {
        if let Some(stopped) = self.limits().reached() {
            return Ok(Ended { status: ExitStatus::default(), stopped: Some(stopped) });
        }
        let process = command.process(&self.scope.environment, self.scope.mark.text())?;
        if command.marked && !self.has_begun.swap(true, Ordering::Relaxed) {
            self.scope.mark.begin();
        }
        let ended = Process::start(process, command.stdin.as_deref(), pipes)
            .map_err(|error| command.not_started(&error))?
            .finish(&self.limits(), sink)
            .with_context(|| format!("run `{command}`"));
        // One that could not be seen through was killed as well.
        if ended.as_ref().map_or(true, |ended| ended.stopped.is_some()) {
            self.was_stopped.store(true, Ordering::Relaxed);
        }
        ended
    }

    /// Runs a process for what it prints.
    fn capture(&self, command: &Cmd) -> Result<(Ended, String, String)> {
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let ended = self.see_through(command, Pipes::Apart, &mut |stream, bytes| match stream {
            Stream::Out => out.extend_from_slice(bytes),
            Stream::Err => err.extend_from_slice(bytes),
        })?;
        Ok((ended, lossy(out), lossy(err)))
    }

    /// Whether that was a success.
    fn conclude(&self, command: &Cmd, ended: Ended, tail: Tail) -> Result<()> {
        if ended.is_success() {
            return Ok(());
        }
        let status = ended.words(self.allowed());
        let error = CommandError { command: command.to_string(), status, tail: tail.into_lines() };
        Err(match ended.stopped {
            Some(Stopped::Interrupted) => anyhow::Error::new(error).context(Interrupted),
            _ => error.into(),
        })
    }

    /// Puts lines where they belong.
    fn show(&self, lines: &[Line], tail: &mut Tail) {
        let mut text = String::new();
        for line in lines {
            if let Line::Whole(line) = line {
                text.push_str(line);
                text.push('\n');
                tail.push(line);
            }
        }
        if let Some(Line::Whole(last) | Line::Overwritten(last)) = lines.iter().rfind(|line| !line.is_blank())
        {
            self.scope.attempt.line(last);
        }
        if !text.is_empty() {
            self.log.write(&text);
        }
    }
}

/// Takes what comes out of a process.
type Sink<'a> = dyn FnMut(Stream, &[u8]) + 'a;

fn lossy(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes).unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned())
}
