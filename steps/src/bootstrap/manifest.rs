//! The packages that make a base system: what `resolve` found, and what all later stages go by.
//!
//! It does not know where they come from.

use crate::archives::{Deb, hex};
use anyhow::{Context, Result};
use sha2::{Digest, Sha256};

/// The packages that make a base system, in two groups as debootstrap installs them; each sorted by name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Manifest {
    /// Those without which dpkg cannot work.
    pub(super) required: Vec<Deb>,
    /// The others.
    pub(super) base: Vec<Deb>,
}

impl Manifest {
    /// The manifest that `text` holds: a line for each package, `GROUP NAME VERSION FILE SIZE SHA256`.
    pub(super) fn parse(text: &str) -> Result<Self> {
        let mut manifest = Self::default();
        for line in text.lines() {
            let (group, deb) =
                line.split_once(' ').with_context(|| format!("`{line}` is no line of a manifest"))?;
            match group {
                "required" => manifest.required.push(deb.parse()?),
                _ => manifest.base.push(deb.parse()?),
            }
        }
        Ok(manifest)
    }

    /// As text.
    pub(super) fn text(&self) -> String {
        let required = self.required.iter().map(|deb| format!("required {deb}\n"));
        required.chain(self.base.iter().map(|deb| format!("base {deb}\n"))).collect()
    }

    /// What tells it from any other.
    pub(super) fn digest(&self) -> String {
        hex(&Sha256::digest(self.text()))
    }

    /// All packages.
    pub(super) fn debs(&self) -> Vec<Deb> {
        self.required.iter().chain(&self.base).cloned().collect()
    }

    /// The package called `name`.
    pub(super) fn deb(&self, name: &str) -> Result<&Deb> {
        let mut debs = self.required.iter().chain(&self.base);
        debs.find(|deb| deb.name == name)
            .with_context(|| format!("`{name}` is not among the packages of the system"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manifest_reads_as_it_was_written() {
        let text = "required a 1 a_1_all.deb 2 00\nbase b 1:1 b_1%3a1_all.deb 3 01\n";
        let manifest = Manifest::parse(text).expect("a manifest");
        assert_eq!(manifest.text(), text);
        assert_eq!(manifest.deb("b").expect("in it").version, "1:1");
        assert!(manifest.deb("c").is_err() && Manifest::parse("base").is_err());
        assert_ne!(manifest.digest(), Manifest::default().digest());
    }
}
