//! Bytes as they come out of a program, made into lines fit for a log and a screen.
//!
//! As on a terminal, a carriage return starts a line over. What is no UTF-8 is replaced, control characters and
//! colours are left out. It does not know where the bytes come from.

use std::collections::VecDeque;

/// A line longer than this many bytes is broken.
const LONGEST: usize = 16 * 1024;

/// What has been read of the line that has not ended yet.
#[derive(Default)]
pub(crate) struct Lines {
    bytes: Vec<u8>,
    returned: bool,
}

/// A line of output.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Line {
    /// It is complete.
    Whole(String),
    /// It is about to be overwritten by another, as progress displays are.
    Overwritten(String),
}

impl Line {
    /// What it reads.
    pub(crate) fn text(&self) -> &str {
        match self {
            Self::Whole(text) | Self::Overwritten(text) => text,
        }
    }

    /// Whether there is nothing in it to see.
    pub(crate) fn is_blank(&self) -> bool {
        self.text().is_empty()
    }
}

/// The last lines of output, 50 at the most.
#[derive(Default)]
pub(crate) struct Tail(VecDeque<String>);

impl Tail {
    /// The last lines of `text`.
    pub(crate) fn of(text: &str) -> Self {
        let mut tail = Self::default();
        text.lines().for_each(|line| tail.push(line));
        tail
    }

    /// One more line.
    pub(crate) fn push(&mut self, line: &str) {
        if self.0.len() == 50 {
            self.0.pop_front();
        }
        self.0.push_back(line.to_owned());
    }

    /// All of them.
    pub(crate) fn into_lines(self) -> Vec<String> {
        self.0.into()
    }
}

impl Lines {
    /// Takes bytes in, and gives out the lines that end in them.
    pub(crate) fn push(&mut self, bytes: &[u8]) -> Vec<Line> {
        let mut lines = Vec::new();
        for &byte in bytes {
            match byte {
                b'\n' => lines.push(Line::Whole(self.take())),
                b'\r' => self.returned = true,
                _ => {
                    if self.returned && !self.bytes.is_empty() {
                        lines.push(Line::Overwritten(self.take()));
                    }
                    self.returned = false;
                    if self.bytes.len() == LONGEST {
                        lines.push(Line::Whole(self.take()));
                    }
                    self.bytes.push(byte);
                }
            }
        }
        lines
    }

    /// The last line, if it did not end.
    pub(crate) fn finish(mut self) -> Option<Line> {
        (!self.bytes.is_empty()).then(|| Line::Whole(self.take()))
    }

    fn take(&mut self) -> String {
        self.returned = false;
        let text = String::from_utf8_lossy(&self.bytes);
        let line = plain(&text);
        self.bytes.clear();
        line
    }
}

/// `text` without escape sequences, other control characters, and spaces at its end.
fn plain(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut chars = text.chars().peekable();
    while let Some(char) = chars.next() {
        if char == '\x1b' && chars.next_if_eq(&'[').is_some() {
            // A control sequence: parameters, then one letter or the like.
            chars.by_ref().find(|next| ('@'..='~').contains(next));
        } else if char == '\t' || !char.is_control() {
            plain.push(char);
        }
    }
    plain.truncate(plain.trim_end().len());
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    fn whole(line: &str) -> Line {
        Line::Whole(line.to_owned())
    }

    fn all(pieces: &[&[u8]]) -> Vec<Line> {
        let mut lines = Lines::default();
        let mut found: Vec<Line> = pieces.iter().flat_map(|piece| lines.push(piece)).collect();
        found.extend(lines.finish());
        found
    }

    #[test]
    fn lines_end_where_they_end_however_the_bytes_arrive() {
        assert_eq!(
            all(&[b"one\ntw", b"o\n\nthree"]),
            [whole("one"), whole("two"), whole(""), whole("three")]
        );
        assert_eq!(all(&[b"dos\r", b"\nend\r\n"]), [whole("dos"), whole("end")]);
        assert_eq!(all(&[b"gr\xc3", b"\xbcn\n"]), [whole("gr\u{fc}n")]);
    }

    #[test]
    fn a_carriage_return_starts_the_line_over() {
        let expected = [Line::Overwritten("10%".to_owned()), whole("100%")];
        assert_eq!(all(&[b"10%\r", b"100%\r\r\n"]), expected);
        assert_eq!(all(&[b"10%\r100%\r"]), expected);
    }

    #[test]
    fn nothing_reaches_a_terminal_that_would_command_it() {
        assert_eq!(
            all(&[b"\x1b[1;31mred\x1b[0m \x07\x1b]0;title\tof \xff \x00\n"]),
            [whole("red ]0;title\tof \u{fffd}")]
        );
    }

    #[test]
    fn a_line_without_end_is_broken() {
        let lines = all(&[&[b'x'; LONGEST + 1]]);
        assert_eq!(lines, [whole(&"x".repeat(LONGEST)), whole("x")]);
    }
}
