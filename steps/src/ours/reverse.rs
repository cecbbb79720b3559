//! Taking an edit back out of a text that others have edited since, line by line. It knows no files.

use similar::{DiffOp, TextDiff};

/// `now` with the edit from `before` to `after` taken back, line by line, wherever its lines are now. What somebody else has
/// changed since stays.
pub(super) fn reverse(now: &str, before: &str, after: &str) -> String {
    let mut lines: Vec<&str> = now.split_inclusive('\n').collect();
    let diff = TextDiff::from_lines(after, before);
    let (ours, theirs): (Vec<&str>, Vec<&str>) =
        (after.split_inclusive('\n').collect(), before.split_inclusive('\n').collect());
    for op in diff.ops().iter().rev().filter(|op| !matches!(op, DiffOp::Equal { .. })) {
        let (old, new) = (&ours[op.old_range()], &theirs[op.new_range()]);
        let place = match old {
            [] => anchor(&lines, &ours[..op.old_range().start])
                .filter(|place| !lines[*place..].starts_with(new)),
            _ => take_out(&mut lines, old, &theirs),
        };
        if let Some(place) = place {
            lines.splice(place..place, new.iter().copied());
        }
    }
    let last = lines.len().saturating_sub(1);
    let whole = |(index, line): (usize, &&str)| match line.ends_with('\n') || index == last {
        true => (*line).to_owned(),
        false => format!("{line}\n"),
    };
    lines.iter().enumerate().map(whole).collect()
}

/// Where lines that followed `before` belong.
fn anchor(lines: &[&str], before: &[&str]) -> Option<usize> {
    match before.last() {
        None => Some(0),
        Some(line) => lines.iter().position(|known| known == line).map(|place| place + 1),
    }
}

/// Takes these lines out where they stand together, or else each where it stands, but for those that others have as well;
/// says where the first one stood.
fn take_out(lines: &mut Vec<&str>, ours: &[&str], theirs: &[&str]) -> Option<usize> {
    if let Some(place) = lines.windows(ours.len()).position(|window| window == ours) {
        lines.drain(place..place + ours.len());
        return Some(place);
    }
    let mut first = None;
    for line in ours.iter().filter(|line| !line.trim().is_empty() && !theirs.contains(line)) {
        if let Some(place) = lines.iter().position(|known| known == line) {
            lines.remove(place);
            first = first.or(Some(place));
        }
    }
    first
}

#[cfg(test)]
mod tests {
    use super::reverse;

    #[track_caller]
    fn check(before: &str, after: &str, now: &str, then: &str) {
        assert_eq!(reverse(now, before, after), then);
        assert_eq!(reverse(then, before, after), then, "a second time");
    }

    #[test]
    fn an_edit_is_taken_back_and_what_others_wrote_stays() {
        check("a\n", "a\nours\n", "a\nours\n", "a\n");
        check("a\n", "a\nours\n", "a\nours\ntheirs\n", "a\ntheirs\n");
        check("a\n", "a\nx\ny\n", "x\nbetween\na\ny\n", "between\na\n");
        check("", "ours\n", "ours\n", "");
    }

    #[test]
    fn what_was_replaced_comes_back_where_it_stood() {
        check("A=1\nB=2\n", "A=3\nB=2\n", "# new\nA=3\nB=5\n", "# new\nA=1\nB=5\n");
        check("A=1\nB=2\nC=3\n", "A=1\nC=3\n", "A=1\nC=4\n", "A=1\nB=2\nC=4\n");
    }

    #[test]
    fn lines_that_others_have_as_well_stay() {
        let before = "<a>\n<x/>\n</a>\n";
        let after = "<a>\n<x/>\n</a>\n<a>\n<ours/>\n</a>\n";
        check(before, after, after, before);
    }

    #[test]
    fn what_is_not_there_any_more_is_not_looked_for() {
        check("a\n", "a\nours\n", "changed\n", "changed\n");
        check("A=1\n", "A=2\n", "A=9\n", "A=9\n");
    }

    #[test]
    fn a_missing_end_of_line_does_not_join_lines() {
        check("a", "a\nours\n", "a\nours\n", "a");
        assert_eq!(reverse("a\nours\ntheirs\n", "a", "a\nours\n"), "a\ntheirs\n");
    }
}
