//! The first process of a container that runs, as the host sees it: what it has started, and what it has said on the console.
//!
//! It only looks, but for the console: what is read there is not there for anybody else.

use crate::container::Container;
use crate::domain;
use anyhow::{Context, Result};
use drover_engine::Cx;
use std::fs;
use std::io::{ErrorKind, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::time::{Duration, Instant};

/// The first process of a container.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct InitProcess {
    id: u32,
}

/// What a line of /proc/ID/stat says.
#[derive(Debug, PartialEq, Eq)]
struct Stat {
    state: String,
    parent: u32,
}

/// How much is read of a console, at most, and for how long.
const WORDS: usize = 1 << 18;
const READING: Duration = Duration::from_secs(3);

impl InitProcess {
    /// That of a container; `None` if it does not run: libvirt's controller of it is its parent.
    pub(super) fn of(at: &Container) -> Result<Option<Self>> {
        let controller = domain::controller(&at.name).read()?.and_then(|text| text.trim().parse().ok());
        let Some(controller) = controller else { return Ok(None) };
        Ok(children(controller)?.first().map(|&id| Self { id }))
    }

    /// Whether it sleeps, and has nothing that it started.
    pub(super) fn is_idle(self) -> Result<bool> {
        let sleeps = stat(self.id)?.is_some_and(|stat| stat.state == "S");
        Ok(sleeps && children(self.id)?.is_empty())
    }

    /// What it has started, a line each; of an emulated process, with its emulator.
    pub(super) fn started(self) -> Result<Vec<String>> {
        let shown = children(self.id)?.into_iter().map(|id| {
            let words = fs::read(format!("/proc/{id}/cmdline")).unwrap_or_default();
            let words = String::from_utf8_lossy(&words).replace('\0', " ");
            let short: String = words.trim().chars().take(100).collect();
            format!("process of its init: {short}")
        });
        Ok(shown.collect())
    }
}

/// The processes that `parent` has started and that live.
fn children(parent: u32) -> Result<Vec<u32>> {
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc").context("read /proc")? {
        let name = entry?.file_name();
        let Some(id) = name.to_str().and_then(|name| name.parse().ok()) else { continue };
        // It may have ended meanwhile, and so may a zombie.
        if stat(id)?.is_some_and(|stat| stat.parent == parent && stat.state != "Z") {
            found.push(id);
        }
    }
    found.sort_unstable();
    Ok(found)
}

/// What the kernel says of a process; `None` if there is none.
fn stat(id: u32) -> Result<Option<Stat>> {
    match fs::read_to_string(format!("/proc/{id}/stat")) {
        Ok(text) => parse(&text).map(Some).with_context(|| format!("/proc/{id}/stat says `{text}`")),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        // ESRCH: it ended while it was read.
        Err(error) if error.raw_os_error() == Some(3) => Ok(None),
        Err(error) => Err(error).with_context(|| format!("read /proc/{id}/stat")),
    }
}

/// The second word is the name in brackets, which may hold anything.
fn parse(text: &str) -> Option<Stat> {
    let mut words = text.rsplit_once(')')?.1.split_whitespace();
    Some(Stat { state: words.next()?.to_owned(), parent: words.next()?.parse().ok()? })
}

/// The last lines that a container that runs has written to its console and that nobody has read.
pub(super) fn console(cx: &Cx, at: &Container, count: usize) -> Result<Vec<String>> {
    let named = cx.probe(&domain::virsh().args(["ttyconsole", &at.name]))?;
    let path = named.stdout.trim();
    if !named.status.success() || !path.starts_with('/') {
        return Ok(Vec::new());
    }
    let flags = rustix::fs::OFlags::NONBLOCK | rustix::fs::OFlags::NOCTTY;
    let opened = fs::File::options().read(true).custom_flags(flags.bits().cast_signed()).open(path);
    let Ok(mut terminal) = opened else { return Ok(Vec::new()) };
    let (mut said, mut part, until) = (Vec::new(), [0; 4096], Instant::now() + READING);
    let mut pauses = 0;
    while said.len() < WORDS && pauses < 3 && Instant::now() < until {
        match terminal.read(&mut part) {
            Ok(0) => break,
            Ok(read) => {
                said.extend_from_slice(&part[..read]);
                pauses = 0;
            }
            // What is read makes room for more.
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                pauses += 1;
                cx.sleep(Duration::from_millis(200))?;
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error).with_context(|| format!("read the console {path}")),
        }
    }
    Ok(last_lines(&String::from_utf8_lossy(&said), count))
}

/// The last lines of what was written to a terminal, without what only moves or colours.
fn last_lines(said: &str, count: usize) -> Vec<String> {
    let plain = |line: &str| {
        let mut text = String::new();
        let mut rest = line.chars();
        while let Some(c) = rest.next() {
            if c == '\u{1b}' {
                // `ESC [ ... LETTER`, or one character.
                if rest.next() == Some('[') {
                    rest.by_ref().find(|c| c.is_ascii_alphabetic());
                }
            } else if !c.is_control() {
                text.push(c);
            }
        }
        text.trim().to_owned()
    };
    let lines: Vec<_> = said.lines().map(plain).filter(|line| !line.is_empty()).collect();
    lines[lines.len().saturating_sub(count)..].to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_and_its_children_are_seen() -> Result<()> {
        let named = parse("7 (a) S (b) S 3 7 7 0").map(|stat| (stat.state, stat.parent));
        assert_eq!(named, Some(("S".to_owned(), 3)));
        let mut child = std::process::Command::new("sleep").arg("60").spawn()?;
        let us = InitProcess { id: std::process::id() };
        assert!(children(us.id)?.contains(&child.id()) && !us.is_idle()?);
        assert!(us.started()?.contains(&"process of its init: sleep 60".to_owned()));
        child.kill()?;
        child.wait()?;
        assert!(!children(us.id)?.contains(&child.id()));
        Ok(())
    }

    #[test]
    fn a_console_is_read_without_its_colours() {
        let said = "one\r\n\u{1b}[0;32m  OK  \u{1b}[0m] two\r\n\r\n[\u{1b}[0;1;31mFAILED\u{1b}[0m] three\r\n";
        assert_eq!(last_lines(said, 2), ["OK  ] two", "[FAILED] three"]);
        assert_eq!(last_lines(said, 9).len(), 3);
    }
}
