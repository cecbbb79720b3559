//! From an error, or a panic, to a failure as data.
//!
//! It does not know what is made of the failure, nor what it looks like.

use crate::{CommandError, Interrupted};
use anyhow::{Error, Result};
use drover_state::{Failure, Phase};
use std::any::Any;
use std::cell::RefCell;
use std::io::ErrorKind;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Once;

/// Why a step did not come to its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Stop {
    /// It failed.
    Failed(Box<Failure>),
    /// The run was interrupted.
    Interrupted,
}

thread_local! {
    /// Whether this thread does a part of a step, and where that has panicked.
    static PART: RefCell<(bool, Option<String>)> = const { RefCell::new((false, None)) };
}

/// Does a part of a step. A panic in it is a failure of the step like any other, and is not shown otherwise.
pub(crate) fn guard<T>(phase: Phase, part: impl FnOnce() -> Result<T>) -> Result<T, Stop> {
    static HOOK: Once = Once::new();
    HOOK.call_once(keep_places_of_panics);
    let was_on = PART.with_borrow_mut(|on| std::mem::replace(&mut on.0, true));
    let done = catch_unwind(AssertUnwindSafe(part));
    let place = PART.with_borrow_mut(|on| {
        on.0 = was_on;
        on.1.take()
    });
    match done {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(error)) if error.is::<Interrupted>() => Err(Stop::Interrupted),
        Ok(Err(error)) => Err(Stop::Failed(Box::new(failure(phase, &error)))),
        Err(panic) => Err(Stop::Failed(Box::new(panicked(phase, panic.as_ref(), place.as_deref())))),
    }
}

/// From here on, where a part of a step panics is kept for its failure instead of being written to standard error: that
/// belongs to whoever shows the run.
fn keep_places_of_panics() {
    let before = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        let is_kept = PART.try_with(|on| match on.try_borrow_mut() {
            Ok(mut on) if on.0 => {
                on.1 = panic.location().map(ToString::to_string);
                true
            }
            _ => false,
        });
        if !is_kept.unwrap_or(false) {
            before(panic);
        }
    }));
}

/// What is left of an error once its process has ended.
pub(crate) fn failure(phase: Phase, error: &Error) -> Failure {
    let mut chain = error.chain().map(ToString::to_string);
    let command = error.downcast_ref::<CommandError>();
    Failure {
        phase,
        message: chain.next().unwrap_or_default(),
        causes: chain.collect(),
        command: command.map(|command| command.command.clone()),
        status: command.map(|command| command.status.clone()),
        tail: command.map(|command| command.tail.clone()).unwrap_or_default(),
        log: None,
        remedy: None,
    }
}

fn panicked(phase: Phase, panic: &(dyn Any + Send), place: Option<&str>) -> Failure {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    let text = text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("no message");
    let place = place.map(|place| format!(" at {place}")).unwrap_or_default();
    failure(phase, &anyhow::anyhow!("step panicked{place}, which is a fault of drover: {text}"))
}

/// What cannot be told, if the error comes from not being root.
pub(crate) fn denied(error: &Error) -> Option<String> {
    if rustix::process::geteuid().is_root() { None } else { what_is_denied(error) }
}

/// What was being done when permission was denied, if it was: without the words of the system, which name its calls.
fn what_is_denied(error: &Error) -> Option<String> {
    let kind = |cause: &(dyn std::error::Error + 'static)| {
        let io = cause.downcast_ref::<std::io::Error>().map(std::io::Error::kind);
        io.or(cause.downcast_ref::<rustix::io::Errno>().map(|errno| errno.kind()))
    };
    // A program that is denied something says so in its own way.
    let says_so = |command: &CommandError| {
        let said = command.tail.join("\n").to_lowercase();
        ["permission denied", "operation not permitted", "must be root"]
            .iter()
            .any(|sign| said.contains(sign))
    };
    let is_denied = error.downcast_ref::<CommandError>().is_some_and(says_so)
        || error.chain().any(|cause| kind(cause) == Some(ErrorKind::PermissionDenied));
    if !is_denied {
        return None;
    }
    let is_ours = |cause: &&(dyn std::error::Error + 'static)| {
        kind(*cause).is_none() && !cause.is::<pathrs::error::Error>()
    };
    let words: Vec<_> = error.chain().take_while(is_ours).map(ToString::to_string).collect();
    let what = if words.is_empty() { "it must not be looked at".to_owned() } else { words.join(": ") };
    Some(format!("only root can tell ({what})"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use anyhow::{Context, bail};

    fn stopped(part: impl FnOnce() -> Result<()>) -> Stop {
        guard(Phase::Apply, part).expect_err("the test's part does not succeed")
    }

    fn failed(part: impl FnOnce() -> Result<()>) -> Failure {
        match stopped(part) {
            Stop::Failed(failure) => *failure,
            Stop::Interrupted => panic!("it was not interrupted"),
        }
    }

    #[test]
    fn the_chain_of_an_error_is_kept() {
        let failure =
            failed(|| Err(anyhow::anyhow!("no route")).context("mirror is silent").context("cannot fetch"));
        assert_eq!(failure.message, "cannot fetch");
        assert_eq!(failure.causes, ["mirror is silent", "no route"]);
        assert_eq!(failure.command, None);
    }

    #[test]
    fn a_command_is_found_below_its_contexts() {
        let error = CommandError {
            command: "false".into(),
            status: "exit status 1".into(),
            tail: vec!["bye".into()],
        };
        let failure = failed(|| Err(error).context("cannot unpack"));
        assert_eq!(
            (failure.command.as_deref(), failure.status.as_deref()),
            (Some("false"), Some("exit status 1"))
        );
        assert_eq!(failure.tail, ["bye"]);
    }

    #[test]
    fn a_panic_is_a_failure() {
        let failure = failed(|| panic!("index {} of 3", 7));
        assert!(failure.message.ends_with("index 7 of 3"), "{}", failure.message);
        assert!(failure.message.contains("panicked at ") && failure.message.contains("failure.rs:"));
    }

    #[test]
    fn what_is_denied_is_told_in_our_words() {
        let told = |error: Error| what_is_denied(&error);
        let denied = || Error::new(rustix::io::Errno::ACCESS);
        assert_eq!(told(denied().context("read `/x`")).as_deref(), Some("only root can tell (read `/x`)"));
        assert_eq!(told(denied()).as_deref(), Some("only root can tell (it must not be looked at)"));
        let command = CommandError {
            command: "nft list ruleset".into(),
            status: "exit status 1".into(),
            tail: vec!["Operation not permitted (you must be root)".into()],
        };
        assert!(told(command.into()).is_some_and(|why| why.contains("`nft list ruleset`: exit status 1")));
        assert_eq!(told(Error::new(rustix::io::Errno::NOENT).context("read `/x`")), None);
    }

    #[test]
    fn an_interrupt_is_none() {
        assert_eq!(stopped(|| Err(Interrupted).context("cannot unpack")), Stop::Interrupted);
        assert!(matches!(stopped(|| bail!("interrupted")), Stop::Failed(_)));
    }
}
