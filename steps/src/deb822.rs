//! The paragraphs of fields that Debian's tools read and write: package indexes, dpkg's status, apt's sources.
//!
//! Borrowed from the text and looked up when asked, since an index has fifty megabytes of them. It does not know what
//! the fields mean.

/// A paragraph: fields, one a line, continued by lines that begin with a space or a tab.
#[derive(Clone, Copy, Debug)]
pub struct Paragraph<'a>(&'a str);

/// The paragraphs of a text, in order.
pub fn paragraphs(text: &str) -> impl Iterator<Item = Paragraph<'_>> {
    text.split("\n\n").map(|text| text.trim_matches('\n')).filter(|text| !text.is_empty()).map(Paragraph)
}

impl<'a> Paragraph<'a> {
    /// The whole text, without the empty line that ends it.
    pub fn text(self) -> &'a str {
        self.0
    }

    /// The value of the field called `name`, with the lines that continue it; case does not matter in names.
    pub fn field(self, name: &str) -> Option<&'a str> {
        let mut rest = self.0;
        while !rest.is_empty() {
            let (field, after) = split_field(rest);
            if let Some(value) = value(field, name) {
                return Some(value);
            }
            rest = after;
        }
        None
    }

    /// The words of the field called `name`; none if it is missing.
    pub fn words(self, name: &str) -> impl Iterator<Item = &'a str> {
        self.field(name).unwrap_or_default().split_whitespace()
    }
}

/// The first field with the lines that continue it, and what comes after.
fn split_field(text: &str) -> (&str, &str) {
    let mut from = 0;
    while let Some(end) = text[from..].find('\n').map(|end| from + end) {
        if !text[end + 1..].starts_with([' ', '\t']) {
            return (&text[..end], &text[end + 1..]);
        }
        from = end + 1;
    }
    (text, "")
}

fn value<'a>(field: &'a str, name: &str) -> Option<&'a str> {
    let head = field.get(..name.len())?;
    let tail = field[name.len()..].strip_prefix(':')?;
    head.eq_ignore_ascii_case(name).then(|| tail.trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str =
        "Package: a\nDepends: b,\n c\nVersion: 1\n\n\nPackage: d\nDescription: x\n Version: no\n";

    #[test]
    fn fields_are_found_with_the_lines_that_continue_them() {
        let found: Vec<_> = paragraphs(TEXT).collect();
        assert_eq!(found.len(), 2);
        assert_eq!(found[0].field("depends"), Some("b,\n c"));
        assert_eq!(found[0].field("Version"), Some("1"));
        assert_eq!(found[1].field("Version"), None);
        assert_eq!(found[1].field("Pack"), None);
        assert_eq!(found[1].words("package").collect::<Vec<_>>(), ["d"]);
    }
}
