//! The last lines of the terminal, which are drawn over: what `indicatif` draws on.
//!
//! `indicatif` fills every line up to the last column, so that for a terminal all lines are one, which it breaks anew when
//! its width changes. Here lines end where they end, and are erased by the rows that they take at the width of that
//! moment: nothing old stays after a resize. It does not know what the lines say.

use crate::output::{self, Stream};
use indicatif::TermLike;
use std::fmt::Write;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Drawn where the terminal does not say how large it is.
const SIZE: (usize, usize) = (24, 80);

/// Clears the row of the cursor.
const CLEAR: &str = "\x1b[2K";

/// The lines that are drawn over. Clones are the same.
#[derive(Clone, Debug, Default)]
pub(super) struct Screen(Arc<Mutex<Lines>>);

#[derive(Debug, Default)]
struct Lines {
    /// What is being written: each line, and what fills it up.
    coming: Vec<String>,
    /// What is on the terminal; the cursor is at its end.
    shown: Vec<String>,
}

impl Screen {
    /// The width that lines may have, in columns: not the last one, behind which a terminal breaks the line.
    pub(super) fn width() -> usize {
        size().1.saturating_sub(1).max(1)
    }

    /// How many lines may be drawn over.
    pub(super) fn height() -> usize {
        size().0.max(2)
    }

    /// Writes above the lines that are drawn over. Returns whether that was possible.
    pub(super) fn say(&self, text: &str) -> bool {
        let lines = self.lock();
        let mut out = erase(&lines.shown, size().1);
        for line in text.trim_end_matches('\n').lines() {
            let _ = write!(out, "{line}\r\n");
        }
        out += &lines.shown.join("\r\n");
        output::tell_part(&out)
    }

    /// A thread that panicked has left the lines whole: every change to them is a single one.
    fn lock(&self) -> MutexGuard<'_, Lines> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn size() -> (usize, usize) {
    output::size(Stream::Err).unwrap_or(SIZE)
}

/// What erases these lines on a terminal of this width, where the cursor is at their end. Row by row: some terminals, as
/// tmux, keep what is cleared from the top of the screen on as if it had been scrolled away.
fn erase(lines: &[String], width: usize) -> String {
    let rows = |line: &String| console::measure_text_width(line).div_ceil(width.max(1)).max(1);
    match lines.iter().map(rows).sum::<usize>() {
        0 => String::new(),
        rows => format!("\r{}{CLEAR}", format!("{CLEAR}\x1b[1A").repeat(rows - 1)),
    }
}

/// Of what `indicatif` asks for, only the lines count: where they go is known better here.
impl TermLike for Screen {
    fn width(&self) -> u16 {
        u16::try_from(Self::width()).unwrap_or(u16::MAX)
    }

    fn height(&self) -> u16 {
        u16::try_from(Self::height()).unwrap_or(u16::MAX)
    }

    fn move_cursor_up(&self, _rows: usize) -> io::Result<()> {
        Ok(())
    }

    fn move_cursor_down(&self, _rows: usize) -> io::Result<()> {
        Ok(())
    }

    fn move_cursor_right(&self, _columns: usize) -> io::Result<()> {
        Ok(())
    }

    fn move_cursor_left(&self, _columns: usize) -> io::Result<()> {
        Ok(())
    }

    fn clear_line(&self) -> io::Result<()> {
        Ok(())
    }

    fn write_line(&self, text: &str) -> io::Result<()> {
        self.lock().coming.extend([text.to_owned(), String::new()]);
        Ok(())
    }

    fn write_str(&self, text: &str) -> io::Result<()> {
        self.lock().coming.push(text.to_owned());
        Ok(())
    }

    fn flush(&self) -> io::Result<()> {
        let mut lines = self.lock();
        let coming: Vec<_> = std::mem::take(&mut lines.coming).into_iter().step_by(2).collect();
        let shown = std::mem::replace(&mut lines.shown, coming);
        // A terminal that went away is no reason for anything.
        output::tell_part(&(erase(&shown, size().1) + &lines.shown.join("\r\n")));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_erased_by_the_rows_that_they_take_now() {
        let lines = ["x".repeat(39), format!("\x1b[2m{}\x1b[0m", "y".repeat(100)), String::new()];
        let rows = |text: String| text.matches(CLEAR).count();
        assert_eq!(erase(&[], 80), "");
        assert_eq!(erase(&lines[..1], 40), "\r\x1b[2K");
        assert_eq!(erase(&lines[..2], 120), "\r\x1b[2K\x1b[1A\x1b[2K");
        assert_eq!([erase(&lines, 120), erase(&lines, 40)].map(rows), [3, 5]);
    }

    #[test]
    fn what_fills_a_line_up_is_left_out() -> io::Result<()> {
        let screen = Screen::default();
        for text in ["one", "     ", "two", ""] {
            screen.write_str(text)?;
        }
        screen.flush()?;
        assert_eq!(screen.lock().shown, ["one", "two"]);
        screen.flush()?;
        assert!(screen.lock().shown.is_empty());
        Ok(())
    }
}
