//! Programs of the host, and whether they are installed yet.
//!
//! A check must not fail on a host where an earlier step has yet to install what it would ask; it asks here first.

pub(super) use crate::program::find;
use drover_engine::Check;

/// Needed, if one of these is not installed; the first one speaks.
pub(super) fn check_installed(names: &[&str]) -> Check {
    match names.iter().find(|name| find(name).is_none()) {
        Some(name) => Check::needed(format!("`{name}` is not installed yet")),
        None => Check::Satisfied,
    }
}

#[cfg(test)]
mod tests {
    use super::{check_installed, find};

    #[test]
    fn what_is_not_there_is_named() {
        assert!(find("sh").is_some());
        let check = format!("{:?}", check_installed(&["sh", "no-such-program"]));
        assert!(check.contains("`no-such-program` is not installed"), "{check}");
    }
}
