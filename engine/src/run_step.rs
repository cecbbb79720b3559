//! What strings the parts of a step together; nothing else does.
//!
//! A step is checked; only if that says it is needed, and once it is recorded that it starts, it is applied and verified.
//! It does not know what else is going on, nor who records what.

use crate::failure::{Stop, guard};
use crate::until::taken_apart;
use crate::{Check, Cx, Step};
use anyhow::Result;
use drover_state::{Failure, Phase};
use std::time::{Duration, Instant};

/// How a part of a step ends.
type Outcome<T> = std::result::Result<T, Stop>;

/// How long to wait before a step that has patience is checked once more.
const PAUSE: Duration = Duration::from_millis(500);

/// How often, and after what delays, an attempt is made again that failed in a way that may pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retries {
    /// How often, at the most.
    pub count: u32,
    /// The delay before the first one; each one after that waits twice as long,
    pub first: Duration,
    /// but never longer than this. What is really waited is at random between half of that and all of it, so that those
    /// who failed together do not come again together.
    pub most: Duration,
}

impl Default for Retries {
    fn default() -> Self {
        Self { count: 3, first: Duration::from_secs(2), most: Duration::from_secs(60) }
    }
}

impl Retries {
    /// How long to wait before retry number `retry`, from 0.
    pub(crate) fn delay(&self, retry: u32) -> Duration {
        let full = self.first.saturating_mul(2_u32.saturating_pow(retry)).min(self.most);
        full.mul_f64(0.5 + 0.5 * fastrand::f64())
    }
}

/// Can this host do it, now that what may have changed that is done?
pub(crate) fn ready(step: &dyn Step, cx: &Cx) -> Outcome<()> {
    guard(Phase::Precondition, || step.precondition(cx).map_err(|error| taken_apart(error).0))
}

/// Is it done already?
pub(crate) fn check(step: &dyn Step, cx: &Cx) -> Outcome<Check> {
    guard(Phase::Check, || step.check(cx))
}

/// Does it, and proves it. `again` decides whether a failed attempt is made again, and waits until it is time.
pub(crate) fn apply(
    step: &dyn Step,
    cx: impl Fn() -> Cx,
    mut again: impl FnMut(&Failure) -> bool,
) -> Outcome<()> {
    loop {
        // Others must not share what was found meanwhile; nor must the proof rest on what others found before.
        let change = cx().change();
        match guard(Phase::Apply, || step.apply(&cx())) {
            Err(Stop::Failed(failure)) => {
                drop(change);
                if !again(&failure) {
                    return Err(Stop::Failed(failure));
                }
            }
            Err(stop) => return Err(stop),
            Ok(()) => return guard(Phase::Verify, || verify(step, &cx())),
        }
    }
}

/// Ends well if the step's own check finds nothing left to do, at the latest when its patience ends.
///
/// # Errors
/// What the step says of being needed all the same; or when that cannot be found out.
pub fn verify(step: &dyn Step, cx: &Cx) -> Result<()> {
    let until = Instant::now() + step.patience();
    loop {
        match step.check(cx)? {
            Check::Satisfied => return Ok(()),
            Check::Needed { .. } if Instant::now() < until => cx.sleep(PAUSE)?,
            Check::Needed { reason, .. } => return Err(step.disproved(cx, reason)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Fails at first; then all that it does must see a world that is being changed.
    #[derive(Debug, Default)]
    struct Changing(std::sync::atomic::AtomicU32);

    impl Step for Changing {
        fn title(&self) -> String {
            "change".to_owned()
        }

        fn inputs(&self) -> crate::Inputs {
            crate::Inputs::default()
        }

        fn check(&self, cx: &Cx) -> anyhow::Result<Check> {
            assert!(!cx.is_settled(), "it is proved by what is so now, not by what others found");
            Ok(Check::Satisfied)
        }

        fn apply(&self, cx: &Cx) -> anyhow::Result<()> {
            assert!(!cx.is_settled());
            anyhow::ensure!(self.0.fetch_add(1, std::sync::atomic::Ordering::Relaxed) > 0, "not yet");
            Ok(())
        }
    }

    /// Is found done when it is looked at for the third time.
    #[derive(Debug)]
    struct Slow(std::sync::atomic::AtomicU32, Duration);

    impl Step for Slow {
        fn title(&self) -> String {
            "be slow".to_owned()
        }

        fn inputs(&self) -> crate::Inputs {
            crate::Inputs::default()
        }

        fn patience(&self) -> Duration {
            self.1
        }

        fn disproved(&self, _cx: &Cx, reason: String) -> anyhow::Error {
            anyhow::anyhow!("too slow: {reason}")
        }

        fn check(&self, _cx: &Cx) -> anyhow::Result<Check> {
            let looks = self.0.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            Ok(if looks < 2 { Check::needed(format!("look {looks}")) } else { Check::Satisfied })
        }

        fn apply(&self, _cx: &Cx) -> anyhow::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn nothing_but_the_check_proves_and_patience_ends() {
        let proof = |patience| verify(&Slow(0.into(), patience), &Cx::to_look());
        assert!(proof(Duration::from_secs(60)).is_ok());
        let error = proof(Duration::ZERO).expect_err("it is not done at once");
        assert_eq!(error.to_string(), "too slow: look 0");
    }

    #[test]
    fn what_was_known_is_forgotten_when_a_step_is_applied() {
        let cx = Cx::to_look();
        let sweep = cx.sweep();
        let known = |text: &'static str| sweep.once("what", move || Ok(text)).map(|known| *known);
        assert_eq!(known("before").expect("found"), "before");
        let step = Changing::default();
        let again = |_: &Failure| {
            assert!(sweep.is_settled(), "nothing is changed while a retry is waited for");
            assert_eq!(known("between").expect("found"), "between");
            true
        };
        assert_eq!(apply(&step, || Cx::to_look().sharing(&sweep), again), Ok(()));
        assert!(sweep.is_settled());
        assert_eq!(known("after").expect("found"), "after");
    }

    #[test]
    fn delays_double_up_to_the_most() {
        let retries = Retries { count: 9, first: Duration::from_secs(2), most: Duration::from_secs(10) };
        for (retry, full) in [(0, 2), (1, 4), (2, 8), (3, 10), (40, 10)] {
            let delay = retries.delay(retry).as_secs_f64();
            let full = f64::from(full);
            assert!((full / 2.0..=full).contains(&delay), "retry {retry}: {delay}");
        }
    }
}
