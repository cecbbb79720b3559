//! A command of the plan's own, with what says whether it is done already. It does not know where it runs.

use crate::words;
use anyhow::{Result, bail, ensure};
use drover_engine::{Check, Cmd, Cx};

/// A command of the plan's own.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Script<'a> {
    /// What it is called in node ids.
    pub(crate) name: &'a str,
    /// What does it, for `sh`.
    pub(crate) run: &'a str,
    /// It is done when this is there.
    pub(crate) creates: Option<&'a str>,
    /// It is done when this ends well.
    pub(crate) unless: Option<&'a str>,
    /// It is done when this ends well; else its last line says what is missing.
    pub(crate) check: Option<&'a str>,
}

impl Script<'_> {
    /// Whether the plan says enough of it.
    ///
    /// # Errors
    /// Says what is missing, and why that is needed.
    pub(crate) fn ensure_sound(&self, kind: &str) -> Result<()> {
        let Self { name, run, .. } = self;
        ensure_name(name)?;
        ensure!(!run.trim().is_empty(), "the command `{name}` runs nothing");
        let given = [self.creates, self.unless, self.check].into_iter().flatten().count();
        ensure!(
            given != 0,
            "the command `{name}` does not say when it is done: every run would run it again, and none could tell \
             whether it worked; add `creates: \"/a/file\"`, `unless: \"a command that ends well when nothing is to be \
             done\"` or `check: \"...\"` (`drover steps {kind}`)"
        );
        ensure!(
            given == 1,
            "the command `{name}` says in {given} ways when it is done: leave one of `creates`, `unless` and `check`"
        );
        if let Some(path) = self.creates {
            words::path(path, "what it creates,")?;
        }
        Ok(())
    }

    /// Whether it is done. `shell` makes a command of a script; `exists` tells whether a path is there.
    ///
    /// # Errors
    /// When that cannot be found out.
    pub(crate) fn check(
        &self,
        cx: &Cx,
        shell: impl Fn(&str) -> Cmd,
        exists: impl Fn(&str) -> Result<bool>,
    ) -> Result<Check> {
        if let Some(path) = self.creates {
            return Ok(if exists(path)? {
                Check::Satisfied
            } else {
                Check::needed(format!("`{path}` is not there"))
            });
        }
        let (word, text) = match (self.unless, self.check) {
            (Some(text), _) => ("unless", text),
            (None, text) => ("check", text.unwrap_or("false")),
        };
        let ended = cx.probe(&shell(text))?;
        if ended.status.success() {
            return Ok(Check::Satisfied);
        }
        let output = format!("{}{}", ended.stdout, ended.stderr);
        let last = output.lines().rfind(|line| !line.trim().is_empty()).unwrap_or_default().trim();
        if matches!(ended.status.code(), None | Some(126 | 127)) {
            bail!("`{word}` of the command `{}` cannot be run ({}): {last}", self.name, ended.status);
        }
        Ok(Check::needed(match last {
            "" => format!("`{word}` of the command `{}` ends with {}", self.name, ended.status),
            last => last.to_owned(),
        }))
    }
}

/// Whether `name` can be part of a node's id.
///
/// # Errors
/// Says what it may hold.
pub(crate) fn ensure_name(name: &str) -> Result<()> {
    let legal = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    ensure!(
        name.starts_with(|c: char| c.is_ascii_alphanumeric()) && name.chars().all(legal),
        "`{name}` cannot be part of a step's name: use letters, digits, `-`, `_` and `.`, a letter or digit first"
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const BARE: Script<'_> = Script { name: "a", run: "true", creates: None, unless: None, check: None };

    fn shell(text: &str) -> Cmd {
        Cmd::new("sh").args(["-euc", text])
    }

    #[test]
    fn one_that_cannot_tell_when_it_is_done_is_refused() {
        let error = BARE.ensure_sound("Command").expect_err("no check").to_string();
        assert!(error.contains("every run would run it again") && error.contains("creates:"), "{error}");
        let two = Script { creates: Some("/x"), unless: Some("true"), ..BARE };
        assert!(two.ensure_sound("Command").expect_err("two").to_string().contains("in 2 ways"));
        for bad in [
            Script { run: " ", creates: Some("/x"), ..BARE },
            Script { name: "a b", creates: Some("/x"), ..BARE },
            Script { creates: Some("x"), ..BARE },
        ] {
            assert!(bad.ensure_sound("Command").is_err(), "{bad:?}");
        }
        assert!(Script { check: Some("true"), ..BARE }.ensure_sound("Command").is_ok());
    }

    #[test]
    fn what_is_missing_is_said() -> Result<()> {
        let cx = Cx::to_look();
        let check = |script: Script<'_>| script.check(&cx, shell, |path| Ok(path == "/there"));
        assert!(check(Script { creates: Some("/there"), ..BARE })?.is_satisfied());
        assert_eq!(check(Script { creates: Some("/gone"), ..BARE })?, Check::needed("`/gone` is not there"));
        assert!(check(Script { unless: Some("true"), ..BARE })?.is_satisfied());
        let said = check(Script { check: Some("echo no cookies; exit 1"), ..BARE })?;
        assert_eq!(said, Check::needed("no cookies"));
        assert!(check(Script { unless: Some("no-such-program-here"), ..BARE }).is_err());
        Ok(())
    }
}
