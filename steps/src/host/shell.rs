//! Shell files such as `/etc/default/lxc-net`, as far as their assignments go: which statement of the file sets a variable, over
//! how many lines, and whether it always does.
//!
//! It is no shell: what it cannot be sure of it calls conditional, and leaves to whoever wrote it.

use anyhow::{Result, ensure};
use std::ops::Range;

/// A statement: its lines, and whether it is run whenever the file is.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Statement<'a> {
    /// Its text, with the lines that continue it, without what it is given to read (`<<EOF`).
    text: &'a str,
    /// Where all of it is in the file's.
    place: Range<usize>,
    /// The number of its first line, from 1.
    number: usize,
    /// Whether it is within `if`, a loop, a function or the like, or opens or closes one.
    is_nested: bool,
}

/// A statement that sets a variable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Setting<'a> {
    /// It does nothing else, and always does it.
    Plain {
        /// The value as it is written, without quotes.
        value: &'a str,
        /// Its lines.
        place: Range<usize>,
    },
    /// It does so on some condition, or does something else as well.
    Other {
        /// The number of its first line.
        number: usize,
        /// Its first line.
        line: &'a str,
    },
}

/// The statement that sets `key` last.
pub(super) fn last_setting<'a>(text: &'a str, key: &str) -> Option<Setting<'a>> {
    statements(text).into_iter().rev().find_map(|statement| setting(&statement, key))
}

/// Ends well if a line can be added at the end of the file: nothing is left open there.
pub(super) fn ensure_closed(text: &str) -> Result<()> {
    let all = statements(text);
    let is_open = all.last().is_some_and(|last| is_open(last.text));
    ensure!(
        !is_open && all.iter().map(|statement| depth(statement.text)).sum::<i32>() == 0,
        "its end is in the middle of something, a line that goes on, quotes, or an `if`: end that, so that something can \
         follow"
    );
    Ok(())
}

fn setting<'a>(statement: &Statement<'a>, key: &str) -> Option<Setting<'a>> {
    let content = without_comment(statement.text).trim();
    let rest = content
        .strip_prefix("export")
        .filter(|rest| rest.starts_with([' ', '\t']))
        .map_or(content, str::trim_start);
    let assigned = rest.strip_prefix(key).and_then(|rest| rest.strip_prefix('='));
    if let Some(value) = assigned.filter(|value| is_one_word(value) && !statement.is_nested) {
        let value = match value.chars().next() {
            Some(quote @ ('"' | '\'')) if value.len() > 1 && value.ends_with(quote) => {
                &value[1..value.len() - 1]
            }
            _ => value,
        };
        return Some(Setting::Plain { value, place: statement.place.clone() });
    }
    let sets = |word: &str| {
        let rest = word.trim_start_matches(['"', '\'', '(', '{', '`']).strip_prefix(key);
        rest.is_some_and(|rest| rest.starts_with('=') || rest.starts_with("+="))
    };
    let words: Vec<_> = content.split(|c: char| c.is_whitespace() || ";&|".contains(c)).collect();
    let is_unset = words.contains(&"unset") && words.contains(&key);
    let line = statement.text.lines().next().unwrap_or_default();
    (is_unset || words.iter().any(|word| sets(word)))
        .then_some(Setting::Other { number: statement.number, line })
}

/// The statements of a file, a line each, but for what goes on in the next one.
fn statements(text: &str) -> Vec<Statement<'_>> {
    let mut found = Vec::new();
    let (mut from, mut first, mut before) = (0, 1, 0);
    let mut end = 0;
    let mut heredoc: Option<(String, usize)> = None;
    for (index, line) in text.split_inclusive('\n').enumerate() {
        end += line.len();
        let is_last = end == text.len();
        let own = match &heredoc {
            Some((word, own)) if line.trim() == word || is_last => &text[from..*own],
            Some(_) => continue,
            None => &text[from..end],
        };
        if heredoc.is_none() {
            heredoc = heredoc_word(without_comment(line)).map(|word| (word, end));
            if !is_last && (heredoc.is_some() || is_open(own)) {
                continue;
            }
        }
        heredoc = None;
        let after = before + depth(own);
        let is_nested = before != 0 || after != 0;
        found.push(Statement { text: own, place: from..end, number: first, is_nested });
        (from, first, before) = (end, index + 2, after);
    }
    found
}

/// The word that ends the text that a line begins, as in `cat <<EOF`.
fn heredoc_word(line: &str) -> Option<String> {
    let (_, rest) = line.split_once("<<").filter(|(_, rest)| !rest.starts_with('<'))?;
    let word = rest.trim_start_matches('-').split_whitespace().next()?;
    Some(word.trim_matches(['"', '\'', '\\']).to_owned())
}

/// Whether a text ends within quotes, or in a backslash.
fn is_open(text: &str) -> bool {
    let mut quote = None;
    let mut characters = text.chars().peekable();
    let mut previous = '\n';
    while let Some(character) = characters.next() {
        match (quote, character) {
            (None | Some('"'), '\\') => {
                // The end of the line, or of the file, is what it hides.
                match characters.next() {
                    None => return true,
                    Some('\n') if characters.peek().is_none() => return true,
                    Some(_) => {}
                }
            }
            (None, '#') if previous.is_whitespace() || previous == ';' => {
                while characters.next_if(|next| *next != '\n').is_some() {}
            }
            (None, '"' | '\'') => quote = Some(character),
            (Some(open), _) if open == character => quote = None,
            _ => {}
        }
        previous = character;
    }
    quote.is_some()
}

/// A text without the comment at its end.
fn without_comment(text: &str) -> &str {
    let mut quote = None;
    let mut previous = '\n';
    let mut is_hidden = false;
    for (place, character) in text.char_indices() {
        match (quote, character) {
            _ if is_hidden => is_hidden = false,
            (None | Some('"'), '\\') => is_hidden = true,
            (None, '#') if previous.is_whitespace() || previous == ';' => return &text[..place],
            (None, '"' | '\'') => quote = Some(character),
            (Some(open), _) if open == character => quote = None,
            _ => {}
        }
        previous = character;
    }
    text
}

/// Whether a value ends where its word does.
fn is_one_word(value: &str) -> bool {
    let mut quote = None;
    let mut is_hidden = false;
    for character in value.chars() {
        match (quote, character) {
            _ if is_hidden => is_hidden = false,
            (None | Some('"'), '\\') => is_hidden = true,
            (None, '"' | '\'') => quote = Some(character),
            (Some(open), _) if open == character => quote = None,
            (None, ';' | '&' | '|' | '(' | ')' | '<' | '>') => return false,
            (None, character) if character.is_whitespace() => return false,
            _ => {}
        }
    }
    true
}

/// How many `if`s, loops and the like a text opens and does not close.
fn depth(text: &str) -> i32 {
    const BEGIN: [&str; 7] = ["if", "case", "for", "while", "until", "select", "{"];
    const END: [&str; 4] = ["fi", "esac", "done", "}"];
    // A command may follow these.
    const BEFORE: [&str; 8] = ["then", "else", "elif", "do", "if", "while", "until", "!"];
    let mut depth = 0;
    for line in text.lines().map(without_comment) {
        let mut is_first = true;
        for word in spaced(line).split_whitespace() {
            let ends_segment = [";", "&", "|"].contains(&word);
            if is_first && BEGIN.contains(&word)
                || word.ends_with("){")
                || word == "{" && !is_first
                || word == "("
            {
                depth += 1;
            } else if is_first && END.contains(&word) || word == ")(" {
                depth -= 1;
            }
            is_first = ends_segment || word == "{" || (is_first && BEFORE.contains(&word));
        }
        // A list in parentheses of its own lines.
        if line.trim() == ")" {
            depth -= 1;
        }
    }
    depth
}

/// A line with blanks around what separates commands.
fn spaced(line: &str) -> String {
    line.replace(';', " ; ").replace('&', " & ").replace('|', " | ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plain(text: &str) -> Option<String> {
        match last_setting(text, "A")? {
            Setting::Plain { value, place } => Some(format!("{value}@{}", &text[place])),
            Setting::Other { .. } => None,
        }
    }

    fn other(text: &str) -> Option<usize> {
        match last_setting(text, "A")? {
            Setting::Plain { .. } => None,
            Setting::Other { number, .. } => Some(number),
        }
    }

    #[test]
    fn a_plain_setting_is_found_with_all_its_lines() {
        assert_eq!(plain("A=1\n").as_deref(), Some("1@A=1\n"));
        assert_eq!(
            plain("B=2\n  export A='1 2' # two\nC=3\n").as_deref(),
            Some("1 2@  export A='1 2' # two\n")
        );
        assert_eq!(plain("A=\"1,\\\n2\"\nB=3\n").as_deref(), Some("1,\\\n2@A=\"1,\\\n2\"\n"));
        assert_eq!(plain("A='1\n2'\n").as_deref(), Some("1\n2@A='1\n2'\n"));
        assert_eq!(plain("if x; then\n A=1\nfi\nA=2\n").as_deref(), Some("2@A=2\n"));
        assert_eq!(
            plain("[ -n \"$A\" ] || { echo; }\nfor i in a b; do echo $i; done\nA=3").as_deref(),
            Some("3@A=3")
        );
        assert_eq!(
            plain("f() {\n B=1\n}\nf(){\n B=1\n}\ncase $B in\n x) C=1 ;;\nesac\nA=4\n").as_deref(),
            Some("4@A=4\n")
        );
        assert_eq!(plain("cat <<EOF\nif A=1 'it\nEOF\nA=5\n").as_deref(), Some("5@A=5\n"));
        assert_eq!(plain("# if it's so\nA=6\n").as_deref(), Some("6@A=6\n"));
        assert_eq!(plain("(\nB=1\n)\nA=7\n").as_deref(), Some("7@A=7\n"));
        assert_eq!(plain("#A=1\nBA=2\n"), None);
    }

    #[test]
    fn what_is_set_on_some_condition_is_told_with_its_line() {
        for (text, number) in [
            ("if x; then\n  A=1\nfi\n", 2),
            ("if x; then A=1; fi\n", 1),
            ("A=1\n[ -f /x ] && A=2\n", 2),
            ("B=1 A=2\n", 1),
            ("A=1; B=2\n", 1),
            ("f() {\n A=1\n}\n", 2),
            ("case x in\n y)\n  A=1 ;;\nesac\n", 3),
            ("while read x; do\nA=$x\ndone <y\n", 2),
            ("A=1\nunset A\n", 2),
            ("A+=1\n", 1),
            ("readonly A=1\n", 1),
        ] {
            assert_eq!(other(text), Some(number), "{text}");
        }
    }

    #[test]
    fn an_open_end_is_seen() {
        for open in ["A=1 \\", "A=1 \\\n", "A=\"1\n", "if x; then\nA=1\n", "echo 'it\n"] {
            assert!(ensure_closed(open).is_err(), "{open}");
        }
        for closed in ["", "A=1", "A=1\n", "# it's\n", "if x; then\nA=1\nfi\n", "echo \\\\\n"] {
            assert!(ensure_closed(closed).is_ok(), "{closed}");
        }
    }
}
