//! Texts that are edited line by line, keeping every line that is somebody else's.
//!
//! Pure functions from text to text; they do not know which files the texts are from.

use super::shell::{self, Setting};
use anyhow::{Result, bail};

/// The value that `text` gives the shell variable `key` in the end, if it always gives it the same.
pub(super) fn assigned<'a>(text: &'a str, key: &str) -> Option<&'a str> {
    match shell::last_setting(text, key)? {
        Setting::Plain { value, .. } => Some(value),
        Setting::Other { .. } => None,
    }
}

/// `text` with the shell variable `key` set to `value`: the assignment that counts is replaced where it stands, with the lines
/// that continue it; a new one goes to the end.
///
/// # Errors
/// When the assignment that counts is made on some condition, or with others: it is named; or when nothing can follow the end.
pub(super) fn assign(text: &str, key: &str, value: &str) -> Result<String> {
    match shell::last_setting(text, key) {
        Some(Setting::Plain { value: old, .. }) if old == value => Ok(text.to_owned()),
        Some(Setting::Plain { place, .. }) => {
            let end = if text[place.clone()].ends_with('\n') || place.end < text.len() { "\n" } else { "" };
            Ok(format!("{}{key}=\"{value}\"{end}{}", &text[..place.start], &text[place.end..]))
        }
        Some(Setting::Other { number, line }) => bail!(
            "line {number}, `{}`, sets {key} on some condition, or together with something else: set it in a line of its own, \
             `{key}=\"{value}\"`",
            line.trim()
        ),
        None => {
            shell::ensure_closed(text)?;
            Ok(with_line(text, &format!("{key}=\"{value}\"")))
        }
    }
}

/// `text` with `line` in it: at its end, unless it is there already.
pub(super) fn with_line(text: &str, line: &str) -> String {
    if text.lines().any(|old| old.trim() == line) {
        return text.to_owned();
    }
    let gap = if text.is_empty() || text.ends_with('\n') { "" } else { "\n" };
    format!("{text}{gap}{line}\n")
}

#[cfg(test)]
mod tests {
    use super::{assigned, with_line};

    fn assign(text: &str, key: &str, value: &str) -> String {
        super::assign(text, key, value).expect("it can be set")
    }

    #[test]
    fn an_assignment_is_replaced_where_it_stands() {
        let before = "# mine\nA=\"1\"\nB=2 # two\n";
        assert_eq!(assign(before, "A", "3"), "# mine\nA=\"3\"\nB=2 # two\n");
        assert_eq!(assign(before, "B", "3"), "# mine\nA=\"1\"\nB=\"3\"\n");
    }

    #[test]
    fn a_continued_assignment_is_replaced_whole() {
        assert_eq!(assign("A=\"1,\\\n2\"\nB=3\n", "A", "4"), "A=\"4\"\nB=3\n");
        assert_eq!(assign("A='1\n2'", "A", "4"), "A=\"4\"");
        assert_eq!(assign("B=1 \\\n  # no comment\nA=2\n", "A", "4"), "B=1 \\\n  # no comment\nA=\"4\"\n");
    }

    #[test]
    fn what_cannot_be_set_safely_is_refused_with_its_line() {
        let refused = |text: &str| super::assign(text, "A", "1").expect_err("refused").to_string();
        let conditional = refused("B=1\nif [ -f /x ]; then\n  A=2\nfi\n");
        assert!(conditional.contains("line 3, `A=2`"), "{conditional}");
        assert!(refused("B=1 \\").contains("middle of something"));
    }

    #[test]
    fn a_comment_is_no_assignment() {
        let before = "#LXC_DHCP_CONFILE=/etc/dnsmasq.conf";
        assert_eq!(assign(before, "LXC_DHCP_CONFILE", "x"), format!("{before}\nLXC_DHCP_CONFILE=\"x\"\n"));
    }

    #[test]
    fn the_last_assignment_counts() {
        assert_eq!(assigned("A=1\nexport A='2 3'\n", "A"), Some("2 3"));
        assert_eq!(assign("A=1\nA=2\n", "A", "1"), "A=1\nA=\"1\"\n");
    }

    #[test]
    fn a_longer_name_is_another_variable() {
        assert_eq!(assigned("LXC_ADDR6=x\nMY_LXC_ADDR=y\n", "LXC_ADDR"), None);
    }

    #[test]
    fn what_is_there_already_is_left_alone() {
        let text = "A='1'\n\n  line  ";
        assert_eq!(assign(text, "A", "1"), text);
        assert_eq!(with_line(text, "line"), text);
    }

    #[test]
    fn a_line_goes_to_the_end() {
        assert_eq!(with_line("", "b"), "b\n");
        assert_eq!(with_line("a", "b"), "a\nb\n");
        assert_eq!(with_line("a\n", "b"), "a\nb\n");
    }
}
