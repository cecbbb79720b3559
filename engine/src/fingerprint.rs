//! The fingerprint of a step: whether the plan still says of it what it said when it was recorded.
//!
//! It is compared, never acted upon: the world decides. When the plan says something else of a step and its check is
//! satisfied all the same, that is worth a remark and nothing else; when it says something else and the check says needed,
//! the step has not drifted, it was changed.
//!
//! A fingerprint is made from the step's named inputs and from nothing else. It does not know what they mean.

use crate::Step;
use sha2::{Digest, Sha256};
use std::fmt::Display;

/// What a step is made from: values with names, such as `memory` and `container.name`.
///
/// Only what the plan says belongs here, and of that only what this step uses: its own parameters, and facts of the place
/// where it acts. What stands in Drover's own tables does not, or else an upgrade of Drover would look like a change of the
/// plan; nor does what other steps say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Inputs(Vec<(String, String)>);

impl Inputs {
    /// These and one more.
    #[must_use]
    pub fn with(mut self, name: impl Into<String>, value: impl Display) -> Self {
        self.0.push((name.into(), value.to_string()));
        self
    }

    /// These and those.
    #[must_use]
    pub fn and(mut self, other: Self) -> Self {
        self.0.extend(other.0);
        self
    }

    /// Each name with its value, in the order in which they were declared.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }
}

/// How fingerprints are made: the upper 16 bits of each. It is raised whenever the same plan would get others. The first
/// fingerprints had no such mark; of those, one in 65,536 looks as if it had this one.
const MARK: u64 = 0xd202;

/// How many bits of a fingerprint are its digest.
const DIGEST: u32 = 48;

/// Hashes the inputs of a step.
pub fn fingerprint(step: &dyn Step) -> u64 {
    let mut hash = Sha256::new();
    for (name, value) in step.inputs().iter() {
        for text in [name, value] {
            hash.update((text.len() as u64).to_le_bytes());
            hash.update(text);
        }
    }
    let digest = hash.finalize().iter().take(6).fold(0, |number, byte| number << 8 | u64::from(*byte));
    MARK << DIGEST | digest
}

/// Whether the plan is known to say something else now than when `recorded` was written. A fingerprint that was made in
/// another way than today tells nothing of that: then only the world is left to compare with.
pub(crate) fn is_changed(recorded: Option<u64>, print: u64) -> bool {
    recorded.is_some_and(|recorded| recorded >> DIGEST == MARK && recorded != print)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_recorded_otherwise_is_compared_by_the_world_alone() {
        let now = MARK << DIGEST | 5;
        assert!(is_changed(Some(MARK << DIGEST | 6), now));
        assert!(!is_changed(Some(now), now));
        assert!(!is_changed(None, now));
        for older in [0, 5, 6, (MARK - 1) << DIGEST | 6, 0x1234_5678_9abc_def0] {
            assert!(!is_changed(Some(older), now), "{older:x}");
        }
    }
}
