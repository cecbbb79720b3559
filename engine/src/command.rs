//! A command: what to run, and what came of it.
//!
//! It does not know steps: where output goes and when to stop is told by whoever runs it (`cx`).

use crate::{Environment, Jail, MARK};
use anyhow::Result;
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::io::ErrorKind;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};

/// A program to run, with all that it is given.
///
/// It runs in a process group of its own, with no standard input unless [`Cmd::stdin`] gives one.
#[derive(Clone, Debug)]
pub struct Cmd {
    pub(crate) program: OsString,
    pub(crate) args: Vec<OsString>,
    pub(crate) env: Vec<(OsString, OsString)>,
    pub(crate) stdin: Option<Vec<u8>>,
    pub(crate) dir: Option<PathBuf>,
    pub(crate) jail: Option<Jail>,
    pub(crate) marked: bool,
}

impl Cmd {
    /// Runs `program`, looked up in [`crate::search_path`] unless it holds a slash.
    pub fn new(program: impl AsRef<OsStr>) -> Self {
        Self {
            program: program.as_ref().to_owned(),
            args: Vec::new(),
            env: Vec::new(),
            stdin: None,
            dir: None,
            jail: None,
            marked: true,
        }
    }

    /// Adds an argument.
    #[must_use]
    pub fn arg(mut self, arg: impl AsRef<OsStr>) -> Self {
        self.args.push(arg.as_ref().to_owned());
        self
    }

    /// Adds arguments.
    #[must_use]
    pub fn args(mut self, args: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Self {
        self.args.extend(args.into_iter().map(|arg| arg.as_ref().to_owned()));
        self
    }

    /// Sets an environment variable, beside those of [`Environment`].
    #[must_use]
    pub fn env(mut self, name: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> Self {
        self.env.push((name.as_ref().to_owned(), value.as_ref().to_owned()));
        self
    }

    /// Gives it these bytes on standard input.
    #[must_use]
    pub fn stdin(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.stdin = Some(bytes.into());
        self
    }

    /// Runs it in this directory (inside the jail, if there is one); in `/` if none is named.
    #[must_use]
    pub fn dir(mut self, dir: impl AsRef<Path>) -> Self {
        self.dir = Some(dir.as_ref().to_owned());
        self
    }

    /// Runs it in this jail.
    #[must_use]
    pub fn inside(mut self, jail: &Jail) -> Self {
        self.jail = Some(jail.clone());
        self
    }

    /// Leaves out the mark of the run, so that what this command leaves running on purpose, such as the daemon of a
    /// service that it starts, is not taken for something a killed run left behind.
    #[must_use]
    pub fn unmarked(mut self) -> Self {
        self.marked = false;
        self
    }
}

impl Cmd {
    /// The root that it runs in, if that is not the host's.
    pub(crate) fn place(&self) -> Option<&Path> {
        self.jail.as_ref()?.root.as_deref()
    }

    /// The process that this describes, marked with `mark`.
    pub(crate) fn process(&self, environment: &Environment, mark: &str) -> Result<Command> {
        let mut process = self.bare()?;
        environment.give(&mut process, &self.env);
        if self.marked {
            process.env(MARK, mark);
        }
        Ok(process)
    }

    /// The process that this describes, with no environment of ours yet.
    pub(crate) fn bare(&self) -> Result<Command> {
        let dir = self.dir.as_deref();
        if let Some(jail) = &self.jail {
            return jail.command(&self.program, &self.args, dir);
        }
        let mut process = Command::new(&self.program);
        process.args(&self.args).current_dir(dir.unwrap_or(Path::new("/")));
        Ok(process)
    }

    /// The error of not having been able to start it.
    pub(crate) fn not_started(&self, error: &std::io::Error) -> CommandError {
        let why = match (error.kind(), &self.dir) {
            (ErrorKind::NotFound, Some(dir)) if self.jail.is_none() && !dir.is_dir() => {
                format!("no such directory `{}`", dir.display())
            }
            (ErrorKind::NotFound, _) => "no such program".to_owned(),
            _ => error.to_string(),
        };
        let status = format!("cannot be started: {why}");
        CommandError { command: self.to_string(), status, tail: Vec::new() }
    }
}

/// As one would type it in a shell, quoted where it must be; without the jail.
impl fmt::Display for Cmd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, value) in &self.env {
            write!(f, "{}={} ", name.to_string_lossy(), quoted(value))?;
        }
        f.write_str(&quoted(&self.program))?;
        self.args.iter().try_for_each(|arg| write!(f, " {}", quoted(arg)))
    }
}

/// One word of a shell's command line.
pub(crate) fn quoted(word: &OsStr) -> String {
    let word = word.to_string_lossy();
    let bare = |char: char| char.is_alphanumeric() || "-_./:=@%+,^".contains(char);
    if !word.is_empty() && word.chars().all(bare) {
        return word.into_owned();
    }
    format!("'{}'", word.replace('\'', "'\\''"))
}

/// What a command left, however it ended.
#[derive(Clone, Debug)]
pub struct Output {
    /// How it ended.
    pub status: ExitStatus,
    /// Its standard output.
    pub stdout: String,
    /// Its standard error.
    pub stderr: String,
}

/// A command that did not end with success.
#[derive(Clone, Debug)]
pub struct CommandError {
    /// The command as one would type it.
    pub command: String,
    /// How it ended: `exit status 1`, `signal 9 (killed)`, `stopped after 600 s`, `interrupted`,
    /// `cannot be started: no such program`.
    pub status: String,
    /// The last lines of its output, 50 at the most.
    pub tail: Vec<String>,
}

impl CommandError {
    /// The command without its environment, and cut where it becomes too long for a sentence.
    fn brief(&self) -> String {
        const LONG: usize = 60;
        let is_variable =
            |word: &&str| word.split_once('=').is_some_and(|(name, _)| !name.contains(['/', '-']));
        let words: Vec<_> = self.command.split(' ').skip_while(is_variable).collect();
        let text = words.join(" ");
        match text.char_indices().nth(LONG) {
            Some((end, _)) => format!("{}…", &text[..end]),
            None => text,
        }
    }
}

impl fmt::Display for CommandError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}`: {}", self.brief(), self.status)?;
        match self.tail.iter().rfind(|line| !line.is_empty()) {
            Some(line) => write!(f, ": {line}"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for CommandError {}

/// How a process ended, in words.
pub(crate) fn status_words(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        // A shell, and a jail's first process is one, reports a signal as 128 and its number.
        (Some(code @ 129..=159), _) => format!("exit status {code} (as by {})", signal_words(code - 128)),
        (Some(code), _) => format!("exit status {code}"),
        (None, Some(signal)) => signal_words(signal),
        (None, None) => status.to_string(),
    }
}

fn signal_words(signal: i32) -> String {
    let meaning = match signal {
        1 => "hung up",
        2 => "interrupted",
        4 => "illegal instruction",
        6 => "aborted",
        7 => "bus error",
        8 => "floating point exception",
        9 => "killed",
        11 => "segmentation fault",
        13 => "broken pipe",
        15 => "terminated",
        _ => return format!("signal {signal}"),
    };
    format!("signal {signal} ({meaning})")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_is_shown_as_one_would_type_it() {
        let command = Cmd::new("sh").args(["-c", "echo it's $1", "", "a=b"]).env("LANG", "C x");
        assert_eq!(command.to_string(), r"LANG='C x' sh -c 'echo it'\''s $1' '' a=b");
    }

    #[test]
    fn the_end_of_a_process_is_told_in_words() {
        let words = |raw| status_words(ExitStatus::from_raw(raw));
        assert_eq!(words(1 << 8), "exit status 1");
        assert_eq!(words(9), "signal 9 (killed)");
        assert_eq!(words(143 << 8), "exit status 143 (as by signal 15 (terminated))");
        assert_eq!(words(35), "signal 35");
    }
}
