//! The answer to "is it done already?": never a bool, always a reason.

use crate::odd;

/// Whether a step is needed, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Check {
    /// The world is as the step would leave it.
    Satisfied,
    /// It is not.
    Needed {
        /// What is missing or different, such as "/etc/hosts has no line for jenkins-debian12-arm64".
        reason: String,
        /// What would change, as a unified diff, where that can be shown.
        diff: Option<String>,
    },
}

impl Check {
    /// Needed, for this reason.
    pub fn needed(reason: impl Into<String>) -> Self {
        Self::Needed { reason: reason.into(), diff: None }
    }

    /// Needed, because the text called `name` should read `after` and reads `before`; satisfied if they are equal.
    /// `mode` is that of the file that it stands in: if that hides it from others, the diff says that it changes, not what.
    ///
    /// An absent text is `None`.
    pub fn text(name: &str, mode: u32, before: Option<&str>, after: &str) -> Self {
        if before == Some(after) {
            return Self::Satisfied;
        }
        let reason = match before {
            None => format!("{name} does not exist"),
            Some(_) => format!("{name} differs from what the plan says"),
        };
        if mode & 0o004 == 0 {
            let mode = mode & 0o777;
            let hidden = format!("(what changes is not shown: its mode {mode:04o} hides it from others)");
            return Self::Needed { reason, diff: Some(format!("--- {name}\n+++ {name}\n{hidden}\n")) };
        }
        let diff = similar::TextDiff::from_lines(before.unwrap_or(""), after)
            .unified_diff()
            .context_radius(2)
            .header(name, name)
            .to_string();
        Self::Needed { reason, diff: Some(odd::shown(&diff)) }
    }

    /// This answer if it is `Needed`, else that of `next`: the first thing that is missing speaks.
    pub fn and_then(self, next: impl FnOnce() -> anyhow::Result<Self>) -> anyhow::Result<Self> {
        match self {
            Self::Satisfied => next(),
            needed @ Self::Needed { .. } => Ok(needed),
        }
    }

    /// Whether nothing is to be done.
    pub fn is_satisfied(&self) -> bool {
        matches!(self, Self::Satisfied)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_hidden_text_is_told_that_it_changes_and_not_what() {
        let diff = |mode| match Check::text("f", mode, Some("user = me\n"), "user = you\n") {
            Check::Needed { diff, .. } => diff.unwrap_or_default(),
            Check::Satisfied => String::new(),
        };
        assert!(diff(0o644).contains("-user = me\n+user = you\n"));
        for mode in [0o600, 0o640, 0o100_600, 0o4711, 0] {
            assert!(diff(mode).starts_with("--- f\n+++ f\n(what changes is not shown"), "{}", diff(mode));
            assert!(!diff(mode).contains("user"), "{}", diff(mode));
        }
        assert!(Check::text("f", 0o600, Some("a"), "a").is_satisfied());
    }
}
