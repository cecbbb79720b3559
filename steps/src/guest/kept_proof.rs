//! Proofs that were made and are kept, each with a digest of all that it depended on. A proof that is lost is made again.
//!
//! It does not know what is proved.

use anyhow::Result;
use drover_engine::{Cx, HostFile};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// A proof is made again after so long, even if nothing that it is known to depend on has changed.
const LASTS: Duration = Duration::from_secs(24 * 3600);

/// Whether the proof `name` was made not long ago, of the same `inputs`.
///
/// # Errors
/// When what is kept of it cannot be read.
pub(super) fn holds(cx: &Cx, name: &str, inputs: &str) -> Result<bool> {
    let kept = HostFile::new(cx.cache(&file(name))).read()?.unwrap_or_default();
    Ok(is_fresh(&kept, inputs, now()))
}

/// Keeps the proof `name`, which was made of `inputs`, unless somebody only looks.
///
/// # Errors
/// When that cannot be written.
pub(super) fn keep(cx: &Cx, name: &str, inputs: &str) -> Result<()> {
    cx.keep(&file(name), &text(inputs, now()))
}

fn file(name: &str) -> String {
    format!("proofs/{name}")
}

fn text(inputs: &str, seconds: u64) -> String {
    format!("{seconds} {inputs}\n")
}

/// Whether what is `kept` is of these inputs and not old. One of the future is none: a clock was set.
fn is_fresh(kept: &str, inputs: &str, now: u64) -> bool {
    let Some((then, known)) = kept.trim_end().split_once(' ') else { return false };
    let age = then.parse().ok().and_then(|then| now.checked_sub(then));
    known == inputs && age.is_some_and(|age| age < LASTS.as_secs())
}

/// Seconds since 1970.
fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_proof_is_of_its_inputs_and_of_its_day() {
        let kept = text("abc", 1_000_000);
        assert!(is_fresh(&kept, "abc", 1_000_000) && is_fresh(&kept, "abc", 1_086_399));
        assert!(!is_fresh(&kept, "abc", 1_086_400), "it is a day old");
        assert!(!is_fresh(&kept, "abc", 999_999), "it is of tomorrow");
        assert!(!is_fresh(&kept, "abd", 1_000_000), "something has changed");
        for kept in ["", "1000000", "abc 1000000", "1000000 ab"] {
            assert!(!is_fresh(kept, "abc", 1_000_000), "{kept}");
        }
    }
}
