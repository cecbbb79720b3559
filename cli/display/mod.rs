//! What is shown while a run is on, and at its end. It sees events, and nothing else of the run.

mod bars;
mod elapsed;
mod failure;
mod junit;
mod lines;
mod summary;

pub(crate) use elapsed::elapsed;
pub(crate) use failure::failure;
pub(crate) use junit::junit;
pub(crate) use summary::summary;

use drover_engine::Observer;

/// The display that suits standard error: bars on a terminal, a line an event elsewhere.
pub(crate) fn observer() -> Box<dyn Observer> {
    if console::user_attended_stderr() && std::env::var_os("TERM").is_none_or(|term| term != "dumb") {
        Box::new(bars::Bars::new())
    } else {
        Box::new(lines::Lines)
    }
}

/// Says what an interrupt of this level does.
pub(crate) fn interrupted(level: u8) {
    eprintln!(
        "drover: {}",
        match level {
            1 => "interrupted: nothing new starts, running steps go on to their end; once more stops them",
            2 => "interrupted again: running steps are stopped; once more kills them",
            _ => "interrupted a third time: running steps are killed",
        }
    );
}
