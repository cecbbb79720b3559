//! An index of packages, as an archive has it, and what of it some packages need.
//!
//! The rule is debootstrap's: of alternatives the first, and only real packages. It does not know versions' order.

use crate::deb822::{Paragraph, paragraphs};
use std::collections::{BTreeSet, HashMap};

/// An index of packages.
#[derive(Debug)]
pub struct PackageIndex<'a> {
    packages: Vec<Paragraph<'a>>,
    by_name: HashMap<&'a str, Vec<usize>>,
}

impl<'a> PackageIndex<'a> {
    /// The index that `text`, a `Packages` file, holds.
    pub fn new(text: &'a str) -> Self {
        let packages: Vec<_> = paragraphs(text).collect();
        let mut by_name: HashMap<_, Vec<_>> = HashMap::with_capacity(packages.len());
        for (place, package) in packages.iter().enumerate() {
            if let Some(name) = package.field("Package") {
                by_name.entry(name).or_default().push(place);
            }
        }
        Self { packages, by_name }
    }

    /// All paragraphs, in the order of the index.
    pub fn packages(&self) -> impl Iterator<Item = Paragraph<'a>> {
        self.packages.iter().copied()
    }

    /// The paragraphs of the package called `name`, one for each version.
    pub fn versions(&self, name: &str) -> impl Iterator<Item = Paragraph<'a>> {
        self.by_name.get(name).into_iter().flatten().map(|&place| self.packages[place])
    }

    /// `roots` and all that they depend on, whatever is in `without` left out. A root that is not in the index stays, so
    /// that it is missed later; a dependency that is not is somebody's virtual package.
    pub fn closure<'b>(
        &self,
        roots: impl IntoIterator<Item = &'b str>,
        without: &[&str],
    ) -> BTreeSet<String> {
        let mut found: BTreeSet<String> = roots.into_iter().map(str::to_owned).collect();
        let mut open: Vec<String> = found.iter().cloned().collect();
        while let Some(name) = open.pop() {
            let wanted = self.versions(&name).flat_map(dependencies);
            for wanted in wanted.filter(|name| self.by_name.contains_key(name) && !without.contains(name)) {
                if found.insert(wanted.to_owned()) {
                    open.push(wanted.to_owned());
                }
            }
        }
        found
    }
}

/// The names that a package depends on, of alternatives the first.
fn dependencies<'a>(package: Paragraph<'a>) -> impl Iterator<Item = &'a str> {
    let fields = ["Pre-Depends", "Depends"].into_iter().filter_map(move |field| package.field(field));
    fields.flat_map(|field| field.split(',')).map(|choice| {
        let choice = choice.trim();
        choice.split(['|', '(', ':', ' ', '\n']).next().unwrap_or(choice)
    })
}

/// The name of the file that apt keeps a package in.
pub fn file_name(package: Paragraph<'_>) -> Option<String> {
    let field = |name| package.field(name);
    let version = field("Version")?.replace(':', "%3a");
    Some(format!("{}_{version}_{}.deb", field("Package")?, field("Architecture")?))
}

#[cfg(test)]
mod tests {
    use super::*;

    const INDEX: &str = "\
Package: a\nVersion: 1:2\nArchitecture: all\nDepends: b (>= 1) | z, virtual,\n c:any\nPre-Depends: d\n
Package: b\nVersion: 1\nArchitecture: all\nDepends: merge | merged\n
Package: c\nVersion: 1\nArchitecture: all\nDepends: a\n
Package: d\nVersion: 1\nArchitecture: all\n
Package: z\nVersion: 1\nArchitecture: all\n
Package: merge\nVersion: 1\nArchitecture: all\nDepends: z\n";

    #[test]
    fn a_closure_takes_first_alternatives_that_are_real() {
        let index = PackageIndex::new(INDEX);
        let names = |without: &[&str]| Vec::from_iter(index.closure(["a", "unknown"], without));
        assert_eq!(names(&["merge"]), ["a", "b", "c", "d", "unknown"]);
        assert_eq!(names(&[]), ["a", "b", "c", "d", "merge", "unknown", "z"]);
    }

    #[test]
    fn a_file_name_has_no_colon() {
        let index = PackageIndex::new(INDEX);
        let package = index.versions("a").next().expect("in the index");
        assert_eq!(file_name(package).as_deref(), Some("a_1%3a2_all.deb"));
    }
}
