//! From an error, or a panic, to a failure as data.
//!
//! It does not know what is made of the failure, nor what it looks like.

use crate::{CommandError, Interrupted};
use anyhow::{Error, Result};
use drover_state::{Failure, Phase};
use std::any::Any;
use std::io::ErrorKind;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Why a step did not come to its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Stop {
    /// It failed.
    Failed(Box<Failure>),
    /// The run was interrupted.
    Interrupted,
}

/// Does a part of a step. A panic in it is a failure of the step like any other.
pub(crate) fn guard<T>(phase: Phase, part: impl FnOnce() -> Result<T>) -> Result<T, Stop> {
    match catch_unwind(AssertUnwindSafe(part)) {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(error)) if error.is::<Interrupted>() => Err(Stop::Interrupted),
        Ok(Err(error)) => Err(Stop::Failed(Box::new(failure(phase, &error)))),
        Err(panic) => Err(Stop::Failed(Box::new(panicked(phase, panic.as_ref())))),
    }
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

fn panicked(phase: Phase, panic: &(dyn Any + Send)) -> Failure {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    let text = text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("no message");
    failure(phase, &anyhow::anyhow!("step panicked, which is a fault of drover: {text}"))
}

/// Whether the error comes from not being root.
pub(crate) fn is_denied(error: &Error) -> bool {
    let denied = |cause: &(dyn std::error::Error + 'static)| {
        let io = cause.downcast_ref::<std::io::Error>().map(std::io::Error::kind);
        let errno = cause.downcast_ref::<rustix::io::Errno>().map(|errno| errno.kind());
        io.or(errno) == Some(ErrorKind::PermissionDenied)
    };
    !rustix::process::geteuid().is_root() && error.chain().any(denied)
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
    }

    #[test]
    fn an_interrupt_is_none() {
        assert_eq!(stopped(|| Err(Interrupted).context("cannot unpack")), Stop::Interrupted);
        assert!(matches!(stopped(|| bail!("interrupted")), Stop::Failed(_)));
    }
}
