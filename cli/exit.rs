//! Exit codes: what each means, and which error ends with which.

use crate::output;
use anyhow::Error;
use drover_engine::Report;
use std::process::ExitCode;

/// How the program ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    /// All is as the plan says.
    Done,
    /// A step failed, or a command could not do what it was asked.
    Failed,
    /// `plan --detailed-exitcode`: a run would change something.
    WouldChange,
    /// The plan, or the command line, is not valid.
    Invalid,
    /// The selection selects nothing, or there is nothing to resume.
    NothingSelected,
    /// Another run holds the state directory.
    Held,
    /// This host cannot do what the plan asks.
    Unmet,
    /// Whoever read the results has gone: as if by SIGPIPE, which ends most programs then.
    ReaderGone,
    /// A run ended with this code, which is in its report as well.
    Run(u8),
}

impl Exit {
    /// The exit code.
    pub(crate) fn code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Failed => 1,
            Self::WouldChange => 2,
            Self::Invalid => 3,
            Self::NothingSelected => 4,
            Self::Held => 6,
            Self::Unmet => 7,
            Self::ReaderGone => 128 + 13,
            Self::Run(code) => code,
        }
    }

    /// How the run of this report ended.
    pub(crate) fn of_run(report: &Report) -> Self {
        report.code.map_or(Self::Failed, Self::Run)
    }

    /// What an error ends with.
    pub(crate) fn of(error: &Error) -> Self {
        if error.is::<drover_engine::NothingSelected>() || error.is::<crate::command::NothingToResume>() {
            Self::NothingSelected
        } else if error.is::<drover_state::Held>() {
            Self::Held
        } else if error.is::<drover_engine::Unmet>() || error.is::<crate::command::NotRoot>() {
            Self::Unmet
        } else if error.is::<crate::command::InvalidPlan>() {
            Self::Invalid
        } else if error.is::<output::ReaderGone>() {
            Self::ReaderGone
        } else {
            Self::Failed
        }
    }

    /// Shows the error, with what caused it.
    pub(crate) fn report(self, error: &Error) -> Self {
        match self {
            Self::ReaderGone => {}
            Self::Held => {
                let held = error.downcast_ref().map_or_else(|| format!("{error:#}"), crate::command::held);
                output::tell(&format!("drover: {held}"));
            }
            // A plan's diagnostics and the complaints of preconditions are whole texts of their own.
            Self::Invalid | Self::Unmet => output::tell(&error.to_string()),
            _ => output::tell(&format!("drover: {error:#}")),
        }
        self
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}
