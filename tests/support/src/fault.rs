//! What a mirror can be told to do wrong, and how that is written down for it.
//!
//! It does not know HTTP.

use anyhow::{Context, Result, bail};
use std::fmt;
use std::str::FromStr;

/// What goes wrong with an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// 404.
    Missing,
    /// 503.
    Unavailable,
    /// The file is shorter than the index says.
    WrongSize,
    /// As long as the index says, but with other bytes in it.
    WrongHash,
    /// Half of it, and then nothing for as long as the client waits.
    Stalled,
    /// Half of it, and then the connection is closed.
    ClosedHalfway,
}

impl Fault {
    /// All there are.
    pub const ALL: [Self; 6] = [
        Self::Missing,
        Self::Unavailable,
        Self::WrongSize,
        Self::WrongHash,
        Self::Stalled,
        Self::ClosedHalfway,
    ];

    fn word(self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::Unavailable => "unavailable",
            Self::WrongSize => "wrong-size",
            Self::WrongHash => "wrong-hash",
            Self::Stalled => "stalled",
            Self::ClosedHalfway => "closed-halfway",
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.word())
    }
}

impl FromStr for Fault {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self> {
        Self::ALL
            .into_iter()
            .find(|fault| fault.word() == text)
            .with_context(|| format!("`{text}` is no fault"))
    }
}

/// A fault, for which files, and how often.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Rule {
    pub(crate) fault: Fault,
    /// For the first so many requests that match.
    pub(crate) times: u32,
    /// Part of the path of the files meant.
    pub(crate) pattern: String,
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {}", self.fault, self.times, self.pattern)
    }
}

impl FromStr for Rule {
    type Err = anyhow::Error;

    fn from_str(line: &str) -> Result<Self> {
        let [fault, times, pattern] = line.split(' ').collect::<Vec<_>>()[..] else {
            bail!("`{line}` is no rule")
        };
        Ok(Self { fault: fault.parse()?, times: times.parse()?, pattern: pattern.to_owned() })
    }
}

/// Which fault a request for `path` meets: that of the first rule that matches and is not used up.
///
/// `used` holds, for each rule, how often it was met; it is counted on.
pub(crate) fn choose(rules: &[Rule], used: &mut [u32], path: &str) -> Option<Fault> {
    let met =
        rules.iter().zip(used).find(|(rule, used)| path.contains(&rule.pattern) && **used < rule.times)?;
    *met.1 += 1;
    Some(met.0.fault)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_is_used_up() -> Result<()> {
        let rules = ["missing 2 _arm64.deb".parse()?, "stalled 1 bash".parse::<Rule>()?];
        let mut used = [0; 2];
        let mut ask = |path| choose(&rules, &mut used, path);
        assert_eq!(ask("/pool/bash_1_arm64.deb"), Some(Fault::Missing));
        assert_eq!(ask("/pool/dash_1_amd64.deb"), None);
        assert_eq!(ask("/pool/dash_1_arm64.deb"), Some(Fault::Missing));
        assert_eq!(ask("/pool/bash_1_arm64.deb"), Some(Fault::Stalled));
        assert_eq!(ask("/pool/bash_1_arm64.deb"), None);
        Ok(())
    }

    #[test]
    fn rules_survive_being_written_down() -> Result<()> {
        for fault in Fault::ALL {
            let rule = Rule { fault, times: 3, pattern: "/pool/".to_owned() };
            assert_eq!(rule.to_string().parse::<Rule>()?, rule);
        }
        Ok(())
    }
}
