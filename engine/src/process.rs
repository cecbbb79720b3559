//! A running process and its group: its pipes, its end, and how it is made to end.
//!
//! Everything is watched by one poll, so that output, exit, interrupt and deadline are all seen when they come. It does
//! not know what the process is for, nor what becomes of its output.

use crate::Interrupt;
use crate::command::status_words;
use anyhow::{Context, Result};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal, kill_process_group, pidfd_open};
use rustix::time::Timespec;
use std::io::{self, ErrorKind, PipeReader, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// How long a process group may take from SIGTERM to its end; then it gets SIGKILL.
const GRACE: Duration = Duration::from_secs(10);
/// How long output is still awaited, once the process has ended, from whatever else holds its pipe.
const DRAIN: Duration = Duration::from_millis(200);
/// How often interrupt and deadline are looked at while nothing else happens.
const TICK: Duration = Duration::from_millis(50);

/// Where the output of a process goes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pipes {
    /// Both outputs into one pipe, in the order they are written.
    Merged,
    /// Each into its own.
    Apart,
}

/// Which output something came out of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stream {
    /// Standard output, or both when they are merged.
    Out,
    /// Standard error.
    Err,
}

/// When a process is made to end.
pub(crate) struct Limits<'a> {
    /// The run's interrupt.
    pub(crate) interrupt: &'a Interrupt,
    /// The latest moment.
    pub(crate) deadline: Instant,
}

/// Why a process was made to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stopped {
    /// The run is interrupted.
    Interrupted,
    /// Its time was over.
    TimedOut,
}

/// How a process ended.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ended {
    /// What the kernel says.
    pub(crate) status: ExitStatus,
    /// Why it was made to end, if it was.
    pub(crate) stopped: Option<Stopped>,
}

impl Ended {
    /// Whether it ended by itself, and well.
    pub(crate) fn is_success(self) -> bool {
        self.stopped.is_none() && self.status.success()
    }

    /// How it ended, in words, having been allowed so much time.
    pub(crate) fn words(self, allowed: Duration) -> String {
        match self.stopped {
            Some(Stopped::Interrupted) => "interrupted".to_owned(),
            Some(Stopped::TimedOut) => format!("stopped after {}", seconds(allowed)),
            None => status_words(self.status),
        }
    }
}

/// A duration in whole seconds, if it is not shorter than ten.
pub(crate) fn seconds(duration: Duration) -> String {
    let seconds = duration.as_secs_f64();
    if seconds < 10.0 { format!("{seconds:.1} s") } else { format!("{seconds:.0} s") }
}

impl Limits<'_> {
    /// Why whatever runs is to end now, if it is.
    pub(crate) fn reached(&self) -> Option<Stopped> {
        if self.interrupt.stops_commands() {
            Some(Stopped::Interrupted)
        } else if Instant::now() >= self.deadline {
            Some(Stopped::TimedOut)
        } else {
            None
        }
    }
}

/// A process, the first of its group, with our ends of its pipes.
pub(crate) struct Process {
    child: Child,
    /// Readable once the process has ended; `None` when that is known.
    end: Option<OwnedFd>,
    stdin: Option<Input>,
    outputs: Vec<(Stream, PipeReader)>,
    reaped: bool,
}

struct Input {
    pipe: ChildStdin,
    bytes: Vec<u8>,
    written: usize,
}

/// What a poll found.
#[derive(Default)]
struct Ready {
    ended: bool,
    stdin: bool,
    outputs: Vec<bool>,
}

impl Process {
    /// Starts `command` in a process group of its own.
    pub(crate) fn start(mut command: Command, stdin: Option<&[u8]>, pipes: Pipes) -> io::Result<Self> {
        let (out, out_writer) = io::pipe()?;
        let mut outputs = vec![(Stream::Out, out)];
        if pipes == Pipes::Apart {
            let (err, err_writer) = io::pipe()?;
            outputs.push((Stream::Err, err));
            command.stderr(err_writer);
        } else {
            command.stderr(out_writer.try_clone()?);
        }
        command.stdout(out_writer);
        command.stdin(if stdin.is_some() { Stdio::piped() } else { Stdio::null() });
        let child = command.process_group(0).spawn()?;
        // Our copies of the pipes' other ends go, so that the pipes end when the process does.
        drop(command);
        let mut process = Self { child, end: None, stdin: None, outputs, reaped: false };
        process.end = Some(pidfd_open(Pid::from_child(&process.child), PidfdFlags::empty())?);
        if let (Some(pipe), Some(bytes)) = (process.child.stdin.take(), stdin) {
            fcntl_setfl(&pipe, fcntl_getfl(&pipe)? | OFlags::NONBLOCK)?;
            process.stdin = Some(Input { pipe, bytes: bytes.to_owned(), written: 0 });
        }
        Ok(process)
    }

    /// Sees it through to its end, made to end if a limit is reached. All output goes to `sink` as it comes.
    pub(crate) fn finish(
        mut self,
        limits: &Limits<'_>,
        sink: &mut dyn FnMut(Stream, &[u8]),
    ) -> Result<Ended> {
        let mut stopping: Option<(Stopped, Instant)> = None;
        loop {
            let patience = TICK.min(limits.deadline.saturating_duration_since(Instant::now()));
            let ready = self.wait(if stopping.is_some() { TICK } else { patience })?;
            self.take_output(&ready, sink)?;
            if ready.ended {
                break;
            }
            if ready.stdin {
                self.feed()?;
            }
            self.press(limits, &mut stopping)?;
        }
        self.drain(sink)?;
        if stopping.is_some() {
            self.signal(Signal::KILL)?;
        }
        let status = self.child.wait().context("wait for a process")?;
        self.reaped = true;
        Ok(Ended { status, stopped: stopping.map(|(why, _)| why) })
    }

    /// Makes it end if a limit is reached: by SIGTERM, then by SIGKILL.
    fn press(&self, limits: &Limits<'_>, stopping: &mut Option<(Stopped, Instant)>) -> Result<()> {
        if limits.interrupt.level() == Interrupt::HIGHEST {
            *stopping = Some((Stopped::Interrupted, Instant::now()));
        }
        match *stopping {
            Some((_, kill_at)) if Instant::now() >= kill_at => self.signal(Signal::KILL),
            Some(_) => Ok(()),
            None => match limits.reached() {
                None => Ok(()),
                Some(why) => {
                    *stopping = Some((why, Instant::now() + GRACE));
                    self.signal(Signal::TERM)
                }
            },
        }
    }

    /// Sends a signal to the whole group. The process has not been waited for, so the group's id is still its own.
    fn signal(&self, signal: Signal) -> Result<()> {
        match kill_process_group(Pid::from_child(&self.child), signal) {
            Ok(()) | Err(Errno::SRCH) => Ok(()),
            Err(errno) => Err(errno).context("stop a process group"),
        }
    }

    /// Waits until something can be done, or for as long as `patience`.
    fn wait(&self, patience: Duration) -> Result<Ready> {
        let mut fds: Vec<_> = self.outputs.iter().map(|(_, pipe)| PollFd::new(pipe, PollFlags::IN)).collect();
        fds.extend(self.stdin.iter().map(|input| PollFd::new(&input.pipe, PollFlags::OUT)));
        fds.extend(self.end.iter().map(|end| PollFd::new(end, PollFlags::IN)));
        let patience = Timespec::try_from(patience).context("a time to wait that is too long")?;
        match poll(&mut fds, Some(&patience)) {
            Ok(_) => {}
            Err(Errno::INTR) => return Ok(Ready::default()),
            Err(errno) => return Err(errno).context("poll a process"),
        }
        let mut ready = fds.iter().map(|fd| !fd.revents().is_empty());
        let outputs = ready.by_ref().take(self.outputs.len()).collect::<Vec<_>>();
        let stdin = self.stdin.is_some() && ready.next() == Some(true);
        let ended = self.end.is_some() && ready.next() == Some(true);
        Ok(Ready { ended, stdin, outputs })
    }

    /// Passes on what the ready pipes hold, and forgets those that have ended.
    fn take_output(&mut self, ready: &Ready, sink: &mut dyn FnMut(Stream, &[u8])) -> Result<()> {
        let mut buffer = [0; 64 * 1024];
        for index in (0..ready.outputs.len()).rev().filter(|&index| ready.outputs[index]) {
            let (stream, pipe) = &mut self.outputs[index];
            match pipe.read(&mut buffer).context("read from a process")? {
                0 => drop(self.outputs.remove(index)),
                count => sink(*stream, &buffer[..count]),
            }
        }
        Ok(())
    }

    /// Reads what is still in the pipes, without much patience for others that hold them.
    fn drain(&mut self, sink: &mut dyn FnMut(Stream, &[u8])) -> Result<()> {
        let until = Instant::now() + DRAIN;
        (self.stdin, self.end) = (None, None);
        while !self.outputs.is_empty() && Instant::now() < until {
            let ready = self.wait(until.saturating_duration_since(Instant::now()))?;
            self.take_output(&ready, sink)?;
        }
        Ok(())
    }

    /// Writes as much as the process takes. One that stops reading has had enough.
    fn feed(&mut self) -> Result<()> {
        let Some(input) = &mut self.stdin else { return Ok(()) };
        match input.pipe.write(&input.bytes[input.written..]) {
            Ok(count) => input.written += count,
            Err(error) if error.kind() == ErrorKind::BrokenPipe => input.written = input.bytes.len(),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {}
            Err(error) => return Err(error).context("write to a process"),
        }
        if input.written == input.bytes.len() {
            self.stdin = None;
        }
        Ok(())
    }
}

/// A process that nobody sees through to its end is killed with its group.
impl Drop for Process {
    fn drop(&mut self) {
        if !self.reaped && self.signal(Signal::KILL).is_ok() {
            // Its status is of no interest to whoever abandoned it.
            drop(self.child.wait());
        }
    }
}
