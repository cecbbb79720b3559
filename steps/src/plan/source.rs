//! Where plan text comes from, and spans in it.
//!
//! It does not know RON. A `--set` argument is a source like a file is, so that its mistakes are shown the same way.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

/// A file of plan text, or a command line argument.
#[derive(PartialEq, Eq)]
pub(super) struct Source {
    /// What it is called in messages: the path as the user gave it, or `--set`.
    pub(super) name: String,
    /// The whole text.
    pub(super) text: String,
    /// The byte at which each line starts.
    lines: Vec<usize>,
}

impl Source {
    pub(super) fn new(name: impl Into<String>, text: impl Into<String>) -> Arc<Self> {
        let text = text.into();
        let lines = std::iter::once(0).chain(text.match_indices('\n').map(|(at, _)| at + 1)).collect();
        Arc::new(Self { name: name.into(), text, lines })
    }

    /// The text of a line, counted from 0, without its end.
    pub(super) fn line(&self, line: usize) -> &str {
        self.text[self.lines[line]..].lines().next().unwrap_or("")
    }

    /// Line and column of a byte, both counted from 0, the column in characters.
    pub(super) fn position(&self, offset: usize) -> (usize, usize) {
        let line = self.lines.partition_point(|start| *start <= offset) - 1;
        (line, self.text[self.lines[line]..offset].chars().count())
    }
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

/// A piece of a source.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) source: Arc<Source>,
    pub(super) range: Range<usize>,
}

impl Span {
    pub(super) fn new(source: &Arc<Source>, range: Range<usize>) -> Self {
        Self { source: source.clone(), range }
    }

    pub(super) fn text(&self) -> &str {
        &self.source.text[self.range.clone()]
    }

    /// A piece of this piece.
    pub(super) fn part(&self, range: Range<usize>) -> Self {
        let start = self.range.start;
        Self::new(&self.source, start + range.start..start + range.end)
    }

    /// The name and opening bracket of something long, or all of its first line.
    pub(super) fn head(&self) -> Self {
        let line = self.text().lines().next().unwrap_or("");
        self.part(0..line.find(['(', '[', '{']).map_or(line.len(), |at| at + 1))
    }

    /// Where `text` is in this, or all of this.
    pub(super) fn find(&self, text: &str) -> Self {
        self.text().find(text).map_or_else(|| self.clone(), |at| self.part(at..at + text.len()))
    }

    /// From where this starts to where `end` ends.
    pub(super) fn start_to(&self, end: &Self) -> Self {
        Self::new(&self.source, self.range.start..end.range.end)
    }

    /// `FILE:LINE:COLUMN`, counted from 1.
    pub(super) fn location(&self) -> String {
        let (line, column) = self.source.position(self.range.start);
        format!("{}:{}:{}", self.source.name, line + 1, column + 1)
    }
}

impl fmt::Debug for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.location())
    }
}
