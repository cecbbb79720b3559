//! RON's tokens, as far as an outline needs them.
//!
//! It knows where strings and comments end, so that a bracket in them is none. What is in a leaf is for `ron`.

use super::diagnostic::Diagnostic;
use super::source::{Source, Span};
use std::sync::Arc;

/// What is next in the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Token {
    Name,
    Leaf,
    Open(char),
    Close(char),
    Comma,
    Colon,
    End,
}

pub(super) struct Lexer<'a> {
    source: &'a Arc<Source>,
    at: usize,
}

type Lexed = Result<(Token, Span), Box<Diagnostic>>;

impl<'a> Lexer<'a> {
    /// Begins at byte `at`.
    pub(super) fn new(source: &'a Arc<Source>, at: usize) -> Self {
        Self { source, at }
    }

    pub(super) fn peek(&mut self) -> Lexed {
        let before = self.at;
        let next = self.next();
        self.at = before;
        next
    }

    /// Goes back to the start of `span`.
    pub(super) fn back(&mut self, span: &Span) {
        self.at = span.range.start;
    }

    pub(super) fn next(&mut self) -> Lexed {
        self.space()?;
        let start = self.at;
        let Some(first) = self.rest().chars().next() else {
            return Ok((Token::End, self.since(start)));
        };
        let token = match first {
            '(' | '[' | '{' => self.single(Token::Open(first)),
            ')' | ']' | '}' => self.single(Token::Close(first)),
            ',' => self.single(Token::Comma),
            ':' => self.single(Token::Colon),
            '"' | '\'' => self.quoted(first)?,
            _ => self.word()?,
        };
        Ok((token, self.since(start)))
    }

    fn rest(&self) -> &'a str {
        &self.source.text[self.at..]
    }

    fn since(&self, start: usize) -> Span {
        Span::new(self.source, start..self.at)
    }

    fn single(&mut self, token: Token) -> Token {
        self.at += 1;
        token
    }

    /// Skips white space and comments.
    fn space(&mut self) -> Result<(), Box<Diagnostic>> {
        loop {
            let rest = self.rest();
            let length = if rest.starts_with("//") {
                rest.find('\n').unwrap_or(rest.len())
            } else if rest.starts_with("/*") {
                self.block_comment()?
            } else {
                rest.len() - rest.trim_start().len()
            };
            if length == 0 {
                return Ok(());
            }
            self.at += length;
        }
    }

    /// The length of the block comment that starts here; they nest.
    fn block_comment(&self) -> Result<usize, Box<Diagnostic>> {
        let bytes = self.rest().as_bytes();
        let (mut at, mut depth) = (2, 1_usize);
        while let Some(mark) = bytes.get(at..at + 2) {
            match mark {
                b"/*" => depth += 1,
                b"*/" if depth == 1 => return Ok(at + 2),
                b"*/" => depth -= 1,
                _ => {
                    at += 1;
                    continue;
                }
            }
            at += 2;
        }
        Err(Box::new(
            Diagnostic::new("this comment is never closed", &self.here(2)).help("a `*/` is missing"),
        ))
    }

    /// Text or a character, from one quote to the next that has no backslash before it.
    fn quoted(&mut self, quote: char) -> Result<Token, Box<Diagnostic>> {
        let mut escaped = true;
        for (at, c) in self.rest().char_indices() {
            match c {
                _ if escaped => escaped = false,
                '\\' => escaped = true,
                _ if c == quote => {
                    let behind = &self.rest()[at + 1..];
                    if !ends_text(behind) {
                        let line = self.rest()[..at].lines().next().unwrap_or("").len();
                        let help = format!("a `{quote}` is missing here, or one too many before it");
                        let place = self.here(line.max(1));
                        return Err(Box::new(Diagnostic::new("this text is not closed", &place).help(help)));
                    }
                    self.at += at + 1;
                    return Ok(Token::Leaf);
                }
                _ => {}
            }
        }
        let help = format!("a `{quote}` is missing");
        Err(Box::new(Diagnostic::new("this text is never closed", &self.here(1)).help(help)))
    }

    /// A name, a number, or text with a prefix: all up to the next space or mark.
    fn word(&mut self) -> Result<Token, Box<Diagnostic>> {
        let rest = self.rest();
        let is_end = |c: char| c.is_whitespace() || "()[]{},:\"'".contains(c);
        let length = rest.find(is_end).unwrap_or(rest.len());
        let word = &rest[..length];
        // A comment may follow a word without a space.
        let length = word.find("//").or_else(|| word.find("/*")).unwrap_or(length);
        let word = &word[..length];
        let hashes = word.len() - word.trim_end_matches('#').len();
        if rest[length..].starts_with('"') && matches!(&word[..length - hashes], "r" | "br") {
            return self.raw(length, hashes);
        }
        self.at += length;
        if matches!(word, "b") && self.rest().starts_with(['"', '\'']) {
            return self.quoted(if self.rest().starts_with('"') { '"' } else { '\'' });
        }
        Ok(if is_name(word) { Token::Name } else { Token::Leaf })
    }

    /// Raw text: `r#"..."#`.
    fn raw(&mut self, prefix: usize, hashes: usize) -> Result<Token, Box<Diagnostic>> {
        let end = format!("\"{}", "#".repeat(hashes));
        match self.rest()[prefix + 1..].find(&end) {
            Some(at) => {
                self.at += prefix + 1 + at + end.len();
                Ok(Token::Leaf)
            }
            None => {
                let help = format!("a `{end}` is missing");
                Err(Box::new(Diagnostic::new("this text is never closed", &self.here(prefix)).help(help)))
            }
        }
    }

    fn here(&self, length: usize) -> Span {
        Span::new(self.source, self.at..self.at + length)
    }
}

/// Whether a text may end before `behind`. Where something else follows a quote at once, the quote opens the next text: the
/// one that should have closed this is missing.
fn ends_text(behind: &str) -> bool {
    let mark = |c: char| c.is_whitespace() || ",:()[]{}".contains(c);
    behind.is_empty() || behind.starts_with(mark) || behind.starts_with("//") || behind.starts_with("/*")
}

fn is_name(word: &str) -> bool {
    let mut chars = word.chars();
    chars.next().is_some_and(|c| c.is_alphabetic() || c == '_')
        && chars.all(|c| c.is_alphanumeric() || c == '_')
}
