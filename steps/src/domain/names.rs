//! Names of XML with prefixes of namespaces, `lxc:share`, as plain ones while a definition is edited: what is written comes out
//! as it was, wherever it stands, and nobody else's element is taken for one of libvirt's own name.
//!
//! It does not know what the namespaces are.

/// What stands for the colon of a prefix, and for the name of a declaration.
const COLON: &str = ".drover-colon.";
const DECLARATION: (&str, &str) = (" xmlns", " drover-xmlns.");

/// What is no tag, though it begins as one.
const NO_TAGS: [(&str, &str); 4] = [("<!--", "-->"), ("<![CDATA[", "]]>"), ("<?", "?>"), ("<!", ">")];

/// The text with plain names.
pub(super) fn plain(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find('<') {
        plain.push_str(&rest[..start]);
        rest = &rest[start..];
        let other = NO_TAGS.iter().find(|(begin, _)| rest.starts_with(begin));
        let end = match other {
            Some((_, end)) => rest.find(end).map_or(rest.len(), |at| at + end.len()),
            None => tag_end(rest),
        };
        let (tag, after) = rest.split_at(end);
        if other.is_some() {
            plain.push_str(tag);
        } else {
            plain.push_str(&plain_tag(tag));
        }
        rest = after;
    }
    plain + rest
}

/// The text as it was before.
pub(super) fn restored(text: &str) -> String {
    text.replace(DECLARATION.1, DECLARATION.0).replace(COLON, ":")
}

/// Where the tag ends with which the text begins.
fn tag_end(text: &str) -> usize {
    let mut quote = None;
    for (place, character) in text.char_indices() {
        match (quote, character) {
            (None, '>') => return place + 1,
            (None, '"' | '\'') => quote = Some(character),
            (Some(open), _) if open == character => quote = None,
            _ => {}
        }
    }
    text.len()
}

/// A tag with plain names; values stay.
fn plain_tag(tag: &str) -> String {
    let mut plain = String::with_capacity(tag.len());
    let mut rest = tag;
    while let Some(begin) = rest.find(['"', '\'']) {
        let quote = &rest[begin..=begin];
        let end = rest[begin + 1..].find(quote).map_or(rest.len(), |end| begin + end + 2);
        plain.push_str(&plain_names(&rest[..begin]));
        plain.push_str(&rest[begin..end]);
        rest = &rest[end..];
    }
    plain + &plain_names(rest)
}

fn plain_names(text: &str) -> String {
    let blanks = text.replace(['\n', '\t', '\r'], " ");
    blanks.replace(DECLARATION.0, DECLARATION.1).replace(':', COLON)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_comes_out_as_it_was() {
        for text in [
            "<domain xmlns:lxc='http://l/1.0' a='x:y > z'><lxc:namespace><lxc:share l:x=\"1\"/></lxc:namespace></domain>",
            "<!-- <a:b c:d='e'> --><a xmlns=\"http://x\"><![CDATA[<b:c>]]> a:b </a>",
            "<?xml version='1.0'?>\n<a xml:space=\"preserve\"/>",
            "no tag at all: a > b",
        ] {
            assert_eq!(restored(&plain(text)), text);
        }
        let text = "<a b:c='d:e'> f:g <!-- h:i --></a>";
        assert_eq!(plain(text), format!("<a b{COLON}c='d:e'> f:g <!-- h:i --></a>"));
    }
}
