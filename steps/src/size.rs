//! Amounts of memory, and sizes of what is kept on disks, as plans write them: `1 GiB`, `512 MiB`.

use serde::{Deserialize, Serialize};
use std::fmt;

const UNITS: [(&str, u64); 3] = [("GiB", 1 << 20), ("MiB", 1 << 10), ("KiB", 1)];

/// An amount of memory or of room on a disk, in whole KiB as libvirt counts it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Size {
    /// How many KiB; at least 1.
    pub kib: u64,
}

impl TryFrom<String> for Size {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let wrong = || format!("`{text}` is no size: write `512 MiB` or `1 GiB`");
        let digits = text.find(|c: char| !c.is_ascii_digit()).ok_or_else(wrong)?;
        let (number, unit) = text.split_at(digits);
        let factor = UNITS.iter().find(|(name, _)| *name == unit.trim()).ok_or_else(wrong)?.1;
        let number: u64 = number.parse().map_err(|_| wrong())?;
        match number.checked_mul(factor) {
            Some(kib) if kib > 0 => Ok(Self { kib }),
            _ => Err(wrong()),
        }
    }
}

impl From<Size> for String {
    fn from(size: Size) -> Self {
        size.to_string()
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (unit, factor) = UNITS
            .into_iter()
            .find(|(_, factor)| self.kib.is_multiple_of(*factor))
            .expect("every number of KiB divides by 1");
        write!(f, "{} {unit}", self.kib / factor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_it_writes_and_refuses_the_rest() {
        for text in ["1 GiB", "512 MiB", "1025 KiB"] {
            assert_eq!(Size::try_from(text.to_owned()).map(|size| size.to_string()), Ok(text.to_owned()));
        }
        for text in ["", "1", "GiB", "1 GB", "0 MiB", "-1 GiB", "99999999999999999999 GiB"] {
            assert!(Size::try_from(text.to_owned()).is_err(), "{text}");
        }
    }
}
