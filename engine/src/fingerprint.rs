//! The fingerprint of a step: whether the plan still says of it what it said when it was recorded.
//!
//! It is compared, never acted upon: the world decides. When the plan's text of a step has changed and its check is
//! satisfied all the same, that is worth a remark and nothing else; when it has changed and the check says needed, the
//! step has not drifted, it was changed.

use crate::Step;
use sha2::{Digest, Sha256};
use std::fmt::{self, Write};

/// Hashes what the step says of itself: its fields, as `Debug` shows them.
pub fn fingerprint(step: &dyn Step) -> u64 {
    let mut text = Hasher(Sha256::new());
    // Neither the hasher nor derived implementations of `Debug` fail.
    let _infallible = write!(text, "{step:?}");
    let hash = text.0.finalize();
    hash.iter().take(8).fold(0, |number, byte| number << 8 | u64::from(*byte))
}

struct Hasher(Sha256);

impl Write for Hasher {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.0.update(text);
        Ok(())
    }
}
