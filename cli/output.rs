//! What the program writes: results to standard output, everything else to standard error. Nothing else writes.
//!
//! Texts come with their colours; a stream that is to have none gets them without. What cannot be written to standard
//! error is no reason for anything. It does not know what is written.

use anyhow::{Context, Result};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use rustix::time::Timespec;
use std::env;
use std::fmt;
use std::fs::OpenOptions;
use std::io::{self, IsTerminal, Write};
use std::os::fd::AsFd;
use std::time::Duration;

/// One of the two streams that are written to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stream {
    Out,
    Err,
}

/// Whoever read standard output has gone, as `head` does when it has seen enough. No more than an end.
#[derive(Debug)]
pub(crate) struct ReaderGone;

impl fmt::Display for ReaderGone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("nobody reads standard output any more")
    }
}

impl std::error::Error for ReaderGone {}

/// Lets all texts be made with colours: which stream shows them is decided where they are written.
pub(crate) fn prepare() {
    console::set_colors_enabled(true);
    console::set_colors_enabled_stderr(true);
}

/// Writes a result to standard output.
///
/// # Errors
/// [`ReaderGone`]; another one when it cannot be written for another reason, such as a full disk.
pub(crate) fn print(text: &str) -> Result<()> {
    let text = format!("{}\n", text.trim_end_matches('\n'));
    print_bytes(suited(&text, Stream::Out).as_bytes())
}

/// Writes a result to standard output as JSON.
///
/// # Errors
/// As [`print()`].
pub(crate) fn print_json(value: &impl serde::Serialize) -> Result<()> {
    print_bytes(format!("{}\n", serde_json::to_string_pretty(value)?).as_bytes())
}

/// Writes bytes to standard output as they are.
///
/// # Errors
/// As [`print()`].
pub(crate) fn print_bytes(bytes: &[u8]) -> Result<()> {
    match write_all(io::stdout().lock(), bytes) {
        Err(Errno::PIPE) => Err(ReaderGone.into()),
        written => written.context("standard output cannot be written"),
    }
}

/// Says something on standard error, in lines of their own.
pub(crate) fn tell(text: &str) {
    try_to_tell(text);
}

/// As [`tell`]. Returns whether that was possible.
pub(crate) fn try_to_tell(text: &str) -> bool {
    tell_part(&format!("{}\n", text.trim_end_matches('\n')))
}

/// As [`try_to_tell`], without ending the line.
pub(crate) fn tell_part(text: &str) -> bool {
    write_all(io::stderr().lock(), suited(text, Stream::Err).as_bytes()).is_ok()
}

/// Says something to whoever sits at the terminal, where standard error leads nowhere any more.
pub(crate) fn tell_terminal(text: &str) {
    if let Ok(mut terminal) = OpenOptions::new().write(true).open("/dev/tty") {
        // There may be none. Then there is nobody to tell.
        let _ = terminal.write_all(format!("{}\n", console::strip_ansi_codes(text)).as_bytes());
    }
}

/// Waits. Ends early when whoever reads standard output has gone.
///
/// # Errors
/// [`ReaderGone`].
pub(crate) fn pause(duration: Duration) -> Result<()> {
    let out = io::stdout();
    let mut watched = [PollFd::new(&out, PollFlags::empty())];
    let patience = Timespec::try_from(duration).context("a time to wait that is too long")?;
    match poll(&mut watched, Some(&patience)) {
        Ok(0) | Err(Errno::INTR) => Ok(()),
        // Nothing was asked for: a pipe without a reader, or a terminal that hung up.
        Ok(_) => Err(ReaderGone.into()),
        Err(errno) => Err(errno).context("standard output cannot be watched"),
    }
}

/// The width of the terminal that a stream leads to, in columns; `None` if it leads to none.
pub(crate) fn width(stream: Stream) -> Option<usize> {
    size(stream).map(|(_, columns)| columns)
}

/// Rows and columns of the terminal that a stream leads to.
pub(crate) fn size(stream: Stream) -> Option<(usize, usize)> {
    let terminal = match stream {
        Stream::Out => console::Term::stdout(),
        Stream::Err => console::Term::stderr(),
    };
    terminal.size_checked().map(|(rows, columns)| (rows.into(), columns.into()))
}

/// Whether lines on standard error can be drawn over: it is a terminal that says what it is, and nobody keeps what it shows
/// as a log, as CI does.
pub(crate) fn can_draw() -> bool {
    io::stderr().is_terminal() && is_smart() && !is_set("CI")
}

/// A text as it suits the stream: with colours or without.
pub(crate) fn suited(text: &str, stream: Stream) -> std::borrow::Cow<'_, str> {
    if has_colours(stream) { text.into() } else { console::strip_ansi_codes(text) }
}

/// By the conventions of <https://no-color.org> and <https://bixense.com/clicolors>: `NO_COLOR` wins over
/// `CLICOLOR_FORCE`; without them, a terminal that is not dumb has colours.
fn has_colours(stream: Stream) -> bool {
    let is_terminal = match stream {
        Stream::Out => io::stdout().is_terminal(),
        Stream::Err => io::stderr().is_terminal(),
    };
    if env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty()) {
        false
    } else if is_set("CLICOLOR_FORCE") {
        true
    } else {
        is_terminal && is_smart() && env::var_os("CLICOLOR").is_none_or(|value| value != "0")
    }
}

/// Whether a variable is set to something that does not mean no.
fn is_set(name: &str) -> bool {
    env::var_os(name).is_some_and(|value| !value.is_empty() && value != "0" && value != "false")
}

/// Whether the terminal says what it is, and that it can do more than print.
fn is_smart() -> bool {
    env::var_os("TERM").is_some_and(|term| !term.is_empty() && term != "dumb")
}

/// Writes all of it, also where somebody else has made the stream one that does not wait.
fn write_all(stream: impl AsFd, mut bytes: &[u8]) -> Result<(), Errno> {
    while !bytes.is_empty() {
        match rustix::io::write(&stream, bytes) {
            Ok(count) => bytes = &bytes[count..],
            Err(Errno::INTR) => {}
            Err(Errno::AGAIN) => {
                // What comes of it, the next write tells.
                let _ = poll(&mut [PollFd::new(&stream, PollFlags::OUT)], None);
            }
            Err(errno) => return Err(errno),
        }
    }
    Ok(())
}
