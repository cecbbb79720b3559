//! From text to an outline of it: names, brackets and what is between commas, each with its place.
//!
//! `ron` stops at its first error, and names a place only. So this outlines the text first, mends what can be
//! mended (a comma that is missing), and leaves the leaves to `ron`. It does not know what a plan is.

use super::diagnostic::{Diagnostic, leave_steps};
use super::lexer::{Lexer, Token};
use super::source::{Source, Span};
use std::borrow::Cow;
use std::sync::Arc;

/// How deep brackets may be nested: as deep as `ron` allows.
const DEEPEST: usize = 100;

/// A value, outlined.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Value {
    /// All of it.
    pub(super) span: Span,
    /// What it is.
    pub(super) shape: Shape,
    /// Whether it is text as it stands.
    pub(super) quotes: Quotes,
}

/// Whether text has its quotes: on the command line they may be left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Quotes {
    /// The value is what is written.
    AsWritten,
    /// It may be text that lacks its quotes.
    MayBeMissing,
    /// It is text that lacks its quotes.
    Added,
}

/// What a value is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    /// A lone name: `Auto`.
    Name,
    /// Brackets: `[1, 2]`.
    List(Vec<Value>),
    /// Parentheses: `Bridge(name: "lxcbr0")`, or without a name.
    Call(Option<Span>, Vec<Entry>),
    /// Text, a number, a map: for `ron` to read.
    Leaf,
}

/// One of what is in parentheses: `name: value`, or a value alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) name: Option<Span>,
    pub(super) value: Value,
}

/// Outlines a whole source. What is wrong goes to `wrong`; `None` if nothing can be made of it.
pub(super) fn scan(source: &Arc<Source>, wrong: &mut Vec<Diagnostic>) -> Option<Value> {
    attempt(source, 0, wrong, |scanner| scanner.whole())
}

/// Outlines the first value from byte `start` on; what follows it is left alone.
pub(super) fn scan_from(source: &Arc<Source>, start: usize, wrong: &mut Vec<Diagnostic>) -> Option<Value> {
    attempt(source, start, wrong, |scanner| scanner.value())
}

fn attempt(
    source: &Arc<Source>,
    start: usize,
    wrong: &mut Vec<Diagnostic>,
    what: impl FnOnce(&mut Scanner) -> Scanned<Value>,
) -> Option<Value> {
    let mut scanner = Scanner { lexer: Lexer::new(source, start), wrong, depth: 0 };
    match what(&mut scanner) {
        Ok(value) => {
            value.refuse_nul(wrong);
            Some(value)
        }
        Err(diagnostic) => {
            wrong.push(*diagnostic);
            None
        }
    }
}

type Scanned<T> = Result<T, Box<Diagnostic>>;

struct Scanner<'a> {
    lexer: Lexer<'a>,
    wrong: &'a mut Vec<Diagnostic>,
    depth: usize,
}

impl Scanner<'_> {
    fn whole(&mut self) -> Scanned<Value> {
        let value = self.value()?;
        match self.lexer.peek()? {
            (Token::End, _) => Ok(value),
            (_, span) => Err(Box::new(Diagnostic::new("nothing may follow the plan", &span))),
        }
    }

    fn value(&mut self) -> Scanned<Value> {
        let (token, span) = self.lexer.next()?;
        let shape = match token {
            Token::Name => match self.lexer.peek()? {
                (Token::Open('('), _) => return self.call(Some(span)),
                _ => Shape::Name,
            },
            Token::Open('(') => {
                self.lexer.back(&span);
                return self.call(None);
            }
            Token::Open('[') => {
                let (items, end) = self.between(&span, Self::value)?;
                return Ok(value(span.start_to(&end), Shape::List(items)));
            }
            Token::Open(_) => {
                let (_, end) = self.between(&span, Self::pair)?;
                return Ok(value(span.start_to(&end), Shape::Leaf));
            }
            Token::Leaf => Shape::Leaf,
            Token::End => {
                return Err(Box::new(Diagnostic::new("the text ends where a value should be", &span)));
            }
            Token::Close(_) | Token::Comma | Token::Colon => {
                let message = format!("expected a value, found `{}`", span.text());
                return Err(Box::new(Diagnostic::new(message, &span)));
            }
        };
        Ok(value(span, shape))
    }

    fn call(&mut self, name: Option<Span>) -> Scanned<Value> {
        let (_, open) = self.lexer.next()?;
        let (entries, end) = self.between(&open, Self::entry)?;
        let span = name.as_ref().unwrap_or(&open).start_to(&end);
        Ok(value(span, Shape::Call(name, entries)))
    }

    fn entry(&mut self) -> Scanned<Entry> {
        let value = self.value()?;
        match (&value.shape, self.lexer.peek()?) {
            (Shape::Name, (Token::Colon, _)) => {
                self.lexer.next()?;
                Ok(Entry { name: Some(value.span), value: self.value()? })
            }
            _ => Ok(Entry { name: None, value }),
        }
    }

    /// A key and a value of a map.
    fn pair(&mut self) -> Scanned<()> {
        self.value()?;
        if let (Token::Colon, _) = self.lexer.peek()? {
            self.lexer.next()?;
            self.value()?;
        }
        Ok(())
    }

    /// What is between `open` and its counterpart, and that counterpart.
    fn between<T>(&mut self, open: &Span, item: fn(&mut Self) -> Scanned<T>) -> Scanned<(Vec<T>, Span)> {
        self.depth += 1;
        if self.depth > DEEPEST {
            return Err(Box::new(Diagnostic::new("brackets are nested too deep", open)));
        }
        let mut items = Vec::new();
        loop {
            if let Some(end) = self.close(open)? {
                self.depth -= 1;
                return Ok((items, end));
            }
            if let (Token::Comma, span) = self.lexer.peek()? {
                self.wrong.push(Diagnostic::new("expected a value, found `,`", &span));
                self.lexer.next()?;
                continue;
            }
            items.push(item(self)?);
            self.comma(open)?;
        }
    }

    /// The counterpart of `open`, if that is next.
    fn close(&mut self, open: &Span) -> Scanned<Option<Span>> {
        let (token, span) = self.lexer.peek()?;
        match token {
            Token::Close(c) if counterpart(open) == c => {
                self.lexer.next()?;
                Ok(Some(span))
            }
            Token::Close(c) => {
                let message = format!("`{}` is closed by `{c}`", open.text());
                Err(Box::new(
                    Diagnostic::new(message, &span)
                        .also(open, "opened here")
                        .help(format!("write `{}`", counterpart(open))),
                ))
            }
            Token::End => {
                let message = format!("`{}` is never closed", open.text());
                let help = format!("a `{}` is missing", counterpart(open));
                Err(Box::new(Diagnostic::new(message, open).also(&span, "the text ends here").help(help)))
            }
            _ => Ok(None),
        }
    }

    /// A comma, unless a closing bracket is next; a missing one is told and mended.
    fn comma(&mut self, open: &Span) -> Scanned<()> {
        match self.lexer.peek()? {
            (Token::Comma, _) => {
                self.lexer.next()?;
            }
            (Token::Close(_) | Token::End, _) => {}
            (Token::Colon, span) => {
                let message = format!("expected `,` or `{}`, found `:`", counterpart(open));
                return Err(Box::new(
                    Diagnostic::new(message, &span).also(open, "opened here, and not closed yet"),
                ));
            }
            (_, span) => {
                let message = format!("expected `,` before `{}`", first_word(span.text()));
                self.wrong.push(Diagnostic::new(message, &span));
            }
        }
        Ok(())
    }
}

fn value(span: Span, shape: Shape) -> Value {
    Value { span, shape, quotes: Quotes::AsWritten }
}

fn counterpart(open: &Span) -> char {
    match open.text() {
        "(" => ')',
        "[" => ']',
        _ => '}',
    }
}

fn holds_nul(value: &ron::Value) -> bool {
    match value {
        ron::Value::String(text) => text.contains('\0'),
        ron::Value::Char(c) => *c == '\0',
        ron::Value::Seq(items) => items.iter().any(holds_nul),
        ron::Value::Map(map) => map.iter().any(|(key, value)| holds_nul(key) || holds_nul(value)),
        ron::Value::Option(inner) => inner.as_deref().is_some_and(holds_nul),
        _ => false,
    }
}

fn first_word(text: &str) -> &str {
    text.lines().next().unwrap_or("")
}

impl Value {
    /// Tells of texts that hold a NUL: no path, no argument of a command and no variable can.
    fn refuse_nul(&self, wrong: &mut Vec<Diagnostic>) {
        match &self.shape {
            Shape::List(items) => items.iter().for_each(|item| item.refuse_nul(wrong)),
            Shape::Call(_, entries) => entries.iter().for_each(|entry| entry.value.refuse_nul(wrong)),
            Shape::Name => {}
            Shape::Leaf if !self.span.text().contains(['\\', '\0']) => {}
            Shape::Leaf => {
                if crate::registry::ron().from_str(self.span.text()).is_ok_and(|value| holds_nul(&value)) {
                    let mut told = [Diagnostic::new("this text holds a NUL", &self.span)
                        .help("no path, command or variable can: take it out")];
                    leave_steps(&mut told);
                    wrong.extend(told);
                }
            }
        }
    }

    /// Its RON.
    pub(super) fn ron(&self) -> Cow<'_, str> {
        match self.quotes {
            Quotes::Added => Cow::Owned(format!("{:?}", self.span.text())),
            Quotes::AsWritten | Quotes::MayBeMissing => Cow::Borrowed(self.span.text()),
        }
    }
}
