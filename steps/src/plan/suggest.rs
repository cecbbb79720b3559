//! "Did you mean": the name that was probably meant.

/// The one of `known` that `found` is most like, if it is like any.
pub fn nearest<'a>(found: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let found = found.to_lowercase();
    let likeness = |name: &str| strsim::jaro_winkler(&found, &name.to_lowercase());
    let best = known.into_iter().map(|name| (likeness(name), name)).max_by(|a, b| a.0.total_cmp(&b.0))?;
    (best.0 > 0.75).then_some(best.1)
}

/// More names than this are no help.
const MANY: usize = 12;

/// A line of help: the name that was probably meant, else all of them if they are few.
pub(super) fn did_you_mean(found: &str, known: &[&str]) -> Option<String> {
    match nearest(found, known.iter().copied()) {
        Some(name) => Some(format!("did you mean `{name}`?")),
        None if known.is_empty() || known.len() > MANY => None,
        None => Some(format!("there is {}", and(known))),
    }
}

/// Names as a sentence has them: `` `a`, `b` and `c` ``.
pub(super) fn and(names: &[&str]) -> String {
    let quoted: Vec<_> = names.iter().map(|name| format!("`{name}`")).collect();
    match quoted.split_last() {
        Some((last, rest)) if !rest.is_empty() => format!("{} and {last}", rest.join(", ")),
        _ => quoted.concat(),
    }
}
