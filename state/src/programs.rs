//! How often a step started programs of another processor natively, and how often under an emulator, as numbers and in words.
//!
//! It does not know who counted, nor how much is enough.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;

/// How programs of emulated systems were started.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Programs {
    /// So many starts were native.
    pub native: u64,
    /// So many were under the emulator.
    pub emulated: u64,
    /// Of those under the emulator: what there is a native of, and why it was not that, the most frequent reason first.
    pub held_back: Vec<HeldBack>,
    /// All of them by name, what was emulated most often first.
    pub by_name: Vec<Program>,
}

/// Starts of one program, in whatever directory it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Program {
    /// Its name.
    pub name: String,
    /// So many starts were native.
    pub native: u64,
    /// So many were under the emulator.
    pub emulated: u64,
}

/// Starts that were not native, though there is a native.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeldBack {
    /// Why.
    #[serde(flatten)]
    pub why: Why,
    /// So many.
    pub count: u64,
}

/// Why something was emulated that there is a native of.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(tag = "why", rename_all = "kebab-case")]
pub enum Why {
    /// A variable of the environment, which a native would treat otherwise.
    Environment {
        /// Its name; of a locale with its value.
        variable: String,
    },
    /// `/etc/ld.so.preload`, which a native would not read.
    Preload,
    /// The program takes the rights of another.
    SetId,
    /// The guest has libraries or modules of its own, which a native would not find.
    GuestsOwn,
    /// The kernel did not run the native.
    Refused,
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Environment { variable } => write!(f, "the environment has {variable}"),
            Self::Preload => f.write_str("there is an /etc/ld.so.preload"),
            Self::SetId => f.write_str("set-id programs"),
            Self::GuestsOwn => f.write_str("it uses modules that only the guest has"),
            Self::Refused => f.write_str("the kernel refused the native"),
        }
    }
}

impl Programs {
    /// How many starts there were.
    pub fn total(&self) -> u64 {
        self.native + self.emulated
    }

    /// How many of a hundred starts were native, rounded down; `None` if there was none.
    pub fn percent(&self) -> Option<u64> {
        (self.native * 100).checked_div(self.total())
    }

    /// Adds what others counted.
    pub fn add(&mut self, other: &Self) {
        self.native += other.native;
        self.emulated += other.emulated;
        let mut reasons: BTreeMap<Why, u64> = BTreeMap::new();
        for HeldBack { why, count } in self.held_back.drain(..).chain(other.held_back.iter().cloned()) {
            *reasons.entry(why).or_default() += count;
        }
        self.held_back = reasons.into_iter().map(|(why, count)| HeldBack { why, count }).collect();
        let mut names: BTreeMap<String, (u64, u64)> = BTreeMap::new();
        for Program { name, native, emulated } in self.by_name.drain(..).chain(other.by_name.iter().cloned())
        {
            let sum = names.entry(name).or_default();
            *sum = (sum.0 + native, sum.1 + emulated);
        }
        let names = names.into_iter().map(|(name, (native, emulated))| Program { name, native, emulated });
        self.by_name = names.collect();
        self.sort();
    }

    /// Puts the most frequent first.
    fn sort(&mut self) {
        self.held_back.sort_by_key(|held| std::cmp::Reverse(held.count));
        self.by_name.sort_by_key(|program| std::cmp::Reverse((program.emulated, program.native)));
    }

    /// What was emulated most often, as `dpkg 212, ldconfig 31, …`, at the most so many.
    pub fn emulated_most(&self, most: usize) -> String {
        let emulated = self.by_name.iter().filter(|program| program.emulated > 0);
        let told: Vec<_> = emulated
            .clone()
            .take(most)
            .map(|program| format!("{} {}", program.name, grouped(program.emulated)))
            .chain((emulated.count() > most).then(|| "…".to_owned()))
            .collect();
        told.join(", ")
    }
}

/// As `9,412 of 9,980 programs ran natively; emulated: dpkg 212, ldconfig 31, …`.
impl fmt::Display for Programs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const MOST: usize = 6;
        if self.total() == 0 {
            return f.write_str("no program was started");
        }
        write!(f, "{} of {} programs ran natively", grouped(self.native), grouped(self.total()))?;
        let emulated = self.emulated_most(MOST);
        if !emulated.is_empty() {
            write!(f, "; emulated: {emulated}")?;
        }
        Ok(())
    }
}

/// A number with its thousands apart.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn program(name: &str, native: u64, emulated: u64) -> Program {
        Program { name: name.to_owned(), native, emulated }
    }

    fn counted() -> Programs {
        Programs {
            native: 9412,
            emulated: 568,
            held_back: vec![HeldBack { why: Why::Preload, count: 3 }],
            by_name: vec![program("dpkg", 0, 212), program("bash", 0, 200), program("sed", 9412, 156)],
        }
    }

    #[test]
    fn it_is_said_in_words() {
        let many = |count: usize| Programs {
            emulated: count as u64,
            by_name: (0..count).map(|number| program(&number.to_string(), 0, 1)).collect(),
            ..Programs::default()
        };
        assert_eq!(
            counted().to_string(),
            "9,412 of 9,980 programs ran natively; emulated: dpkg 212, bash 200, sed 156"
        );
        assert_eq!(
            many(7).to_string(),
            "0 of 7 programs ran natively; emulated: 0 1, 1 1, 2 1, 3 1, 4 1, 5 1, …"
        );
        assert_eq!(Programs::default().to_string(), "no program was started");
        assert_eq!(["0", "12", "123", "1,234", "1,234,567"], [0, 12, 123, 1234, 1_234_567].map(grouped)[..]);
    }

    #[test]
    fn sums_are_by_name_and_by_reason() {
        let mut sum = counted();
        let variable = Why::Environment { variable: "PERL5LIB".to_owned() };
        sum.add(&Programs {
            native: 10,
            emulated: 400,
            held_back: vec![
                HeldBack { why: variable.clone(), count: 9 },
                HeldBack { why: Why::Preload, count: 1 },
            ],
            by_name: vec![program("bash", 0, 400), program("cat", 10, 0)],
        });
        assert_eq!((sum.native, sum.emulated, sum.total(), sum.percent()), (9422, 968, 10390, Some(90)));
        assert_eq!(
            sum.by_name,
            [
                program("bash", 0, 600),
                program("dpkg", 0, 212),
                program("sed", 9412, 156),
                program("cat", 10, 0)
            ]
        );
        assert_eq!(
            sum.held_back,
            [HeldBack { why: variable, count: 9 }, HeldBack { why: Why::Preload, count: 4 }]
        );
        assert_eq!(Programs::default().percent(), None);
    }
}
