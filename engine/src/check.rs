//! The answer to "is it done already?": never a bool, always a reason.

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
    ///
    /// An absent text is `None`.
    pub fn text(name: &str, before: Option<&str>, after: &str) -> Self {
        if before == Some(after) {
            return Self::Satisfied;
        }
        let reason = match before {
            None => format!("{name} does not exist"),
            Some(_) => format!("{name} differs from what the plan says"),
        };
        let diff = similar::TextDiff::from_lines(before.unwrap_or(""), after)
            .unified_diff()
            .context_radius(2)
            .header(name, name)
            .to_string();
        Self::Needed { reason, diff: Some(diff) }
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
