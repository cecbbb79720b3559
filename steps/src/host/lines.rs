//! Texts that are edited line by line, keeping every line that is somebody else's.
//!
//! Pure functions from text to text; they do not know which files the texts are from.

/// The value that `text` gives the shell variable `key` in the end: its last assignment counts.
pub(super) fn assigned<'a>(text: &'a str, key: &str) -> Option<&'a str> {
    text.lines().rev().find_map(|line| assignment(line, key))
}

/// `text` with the shell variable `key` set to `value`: the assignment that counts is replaced where it stands, a new
/// one goes to the end.
pub(super) fn assign(text: &str, key: &str, value: &str) -> String {
    if assigned(text, key) == Some(value) {
        return text.to_owned();
    }
    let line = format!("{key}=\"{value}\"");
    let Some(place) = text.lines().rev().position(|old| assignment(old, key).is_some()) else {
        return with_line(text, &line);
    };
    let mut lines: Vec<&str> = text.lines().collect();
    let place = lines.len() - 1 - place;
    lines[place] = &line;
    lines.join("\n") + "\n"
}

/// `text` with `line` in it: at its end, unless it is there already.
pub(super) fn with_line(text: &str, line: &str) -> String {
    if text.lines().any(|old| old.trim() == line) {
        return text.to_owned();
    }
    let gap = if text.is_empty() || text.ends_with('\n') { "" } else { "\n" };
    format!("{text}{gap}{line}\n")
}

/// What `line` assigns to `key`, if that is what it does.
fn assignment<'a>(line: &'a str, key: &str) -> Option<&'a str> {
    let line = line.trim_start();
    let line = line.strip_prefix("export ").map_or(line, str::trim_start);
    let value = line.strip_prefix(key)?.strip_prefix('=')?;
    match value.chars().next() {
        Some(quote @ ('"' | '\'')) => value[1..].split(quote).next(),
        _ => value.split([' ', '\t', ';', '#']).next(),
    }
}

#[cfg(test)]
mod tests {
    use super::{assign, assigned, with_line};

    #[test]
    fn an_assignment_is_replaced_where_it_stands() {
        let before = "# mine\nA=\"1\"\nB=2 # two\n";
        assert_eq!(assign(before, "A", "3"), "# mine\nA=\"3\"\nB=2 # two\n");
        assert_eq!(assign(before, "B", "3"), "# mine\nA=\"1\"\nB=\"3\"\n");
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
