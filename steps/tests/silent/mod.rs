//! What a step is given, for tests of edits: nobody listens, and what it writes of itself is below one directory.

use drover_engine::{Attempt, Cx, Environment, Interrupt, Scope};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

struct Silent(PathBuf);

impl Attempt for Silent {
    fn line(&self, _line: &str) {}

    fn progress(&self, _done: u64, _total: u64) {}

    fn log(&self) -> Option<PathBuf> {
        Some(self.0.join("log"))
    }

    fn memory(&self) -> Option<PathBuf> {
        Some(self.0.join("memory"))
    }
}

/// A door to the world whose log, memory and cache are below `place`.
pub(crate) fn cx(place: &Path) -> Cx {
    cx_within(place, Duration::from_secs(60))
}

/// The same, for so long.
pub(crate) fn cx_within(place: &Path, time: Duration) -> Cx {
    Cx::new(Scope {
        attempt: Arc::new(Silent(place.to_owned())),
        interrupt: Interrupt::default(),
        deadline: Instant::now() + time,
        cache: place.join("cache").into(),
        environment: Environment::default(),
        mark: "test".into(),
        sweep: drover_engine::Sweep::default(),
    })
}
