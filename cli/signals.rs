//! Signals: those that ask a run to stop raise its interrupt, and that is said; a terminal that is closed stops nothing.
//!
//! It does not know what an interrupt does.

use crate::display::Speaker;
use anyhow::{Context, Result};
use drover_engine::Interrupt;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use signal_hook::low_level::emulate_default_handler;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

/// Listens for signals until it is dropped: from then on SIGINT and SIGTERM end the program.
pub(crate) struct Listener(Arc<AtomicBool>);

impl Listener {
    /// Makes SIGINT and SIGTERM raise the interrupt. SIGHUP, which a terminal sends that is closed, is survived: the run
    /// goes on, and `drover status` shows it.
    pub(crate) fn start(interrupt: &Interrupt, speaker: Speaker) -> Result<Self> {
        signal_hook::flag::register(SIGHUP, Arc::default()).context("listening for SIGHUP")?;
        let mut signals = Signals::new([SIGINT, SIGTERM]).context("listening for signals")?;
        let over = Arc::new(AtomicBool::new(false));
        let (interrupt, ended) = (interrupt.clone(), Arc::clone(&over));
        let listen = move || {
            for signal in signals.forever() {
                if ended.load(Ordering::SeqCst) {
                    // Should that fail, the program ends by itself soon enough.
                    let _ = emulate_default_handler(signal);
                }
                let number = u8::try_from(signal).expect("SIGINT and SIGTERM are small numbers");
                let is_first = interrupt.level() == 0;
                speaker.say_urgently(words(interrupt.signal(number), is_first));
            }
        };
        thread::Builder::new()
            .name("signals".to_owned())
            .spawn(listen)
            .context("starting the thread that listens for signals")?;
        Ok(Self(over))
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

/// What an interrupt of this level does, and what one more would do.
fn words(level: u8, is_first: bool) -> &'static str {
    match (level, is_first) {
        (1, _) => {
            "drover: interrupted: nothing new starts, running steps go on to their end; once more stops them"
        }
        (2, true) => {
            "drover: interrupted: nothing new starts, running steps are stopped; once more kills them"
        }
        (2, false) => "drover: interrupted again: running steps are stopped; once more kills them",
        _ => "drover: interrupted once more: running steps are killed",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_signal_is_not_called_another_one() {
        let interrupt = Interrupt::default();
        let told = |signal| {
            let is_first = interrupt.level() == 0;
            words(interrupt.signal(signal), is_first)
        };
        let first = told(Interrupt::SIGTERM);
        assert!(first.contains("interrupted: ") && first.contains("are stopped"), "{first}");
        assert!(!first.contains("again"), "{first}");
        assert!(told(Interrupt::SIGTERM).contains("killed"));
        assert!(words(2, false).contains("again"));
    }
}
