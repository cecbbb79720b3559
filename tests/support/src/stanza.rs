//! Debian's control format: paragraphs of `Field: value`, as in package indexes and deb822 sources.

/// One paragraph, as it was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Stanza(String);

impl Stanza {
    /// All paragraphs of a text.
    pub(crate) fn all(text: &str) -> impl Iterator<Item = Self> {
        text.split("\n\n")
            .filter(|part| !part.trim().is_empty())
            .map(|part| Self(part.trim_matches('\n').to_owned()))
    }

    /// The value of a field of one line.
    pub(crate) fn get(&self, field: &str) -> Option<&str> {
        self.0.lines().find_map(|line| Some(line.strip_prefix(field)?.strip_prefix(':')?.trim()))
    }

    /// The same with other values of these fields of one line, which it has to have.
    pub(crate) fn with(&self, fields: &[(&str, String)]) -> Self {
        let line = |line: &str| match fields.iter().find(|(name, _)| line.starts_with(&format!("{name}:"))) {
            Some((name, value)) => format!("{name}: {value}"),
            None => line.to_owned(),
        };
        Self(self.0.lines().map(line).collect::<Vec<_>>().join("\n"))
    }

    /// What apt calls the package's file in its cache.
    pub(crate) fn file_name(&self) -> Option<String> {
        let version = self.get("Version")?.replace(':', "%3a");
        Some(format!("{}_{version}_{}.deb", self.get("Package")?, self.get("Architecture")?))
    }

    /// Its text.
    pub(crate) fn text(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_found_and_replaced() {
        let text = "Package: mc\nVersion: 3:4.8\nArchitecture: arm64\nSize: 1\n\nPackage: vim\n";
        let all: Vec<_> = Stanza::all(text).collect();
        assert_eq!(all.len(), 2);
        assert_eq!(all[0].file_name().as_deref(), Some("mc_3%3a4.8_arm64.deb"));
        assert_eq!(all[0].with(&[("Size", "7".to_owned())]).get("Size"), Some("7"));
        assert_eq!(all[1].get("Version"), None);
    }
}
