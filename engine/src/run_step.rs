//! What strings the parts of a step together; nothing else does.
//!
//! A step is checked; only if that says it is needed, and once it is recorded that it starts, it is applied and verified.
//! It does not know what else is going on, nor who records what.

use crate::failure::{Stop, guard};
use crate::{Check, Cx, Step};
use drover_state::{Failure, Phase};
use std::time::Duration;

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

/// Is it done already?
pub(crate) fn check(step: &dyn Step, cx: &Cx) -> Result<Check, Stop> {
    guard(Phase::Check, || step.check(cx))
}

/// Does it, and proves it. `again` decides whether a failed attempt is made again, and waits until it is time.
pub(crate) fn apply(
    step: &dyn Step,
    cx: impl Fn() -> Cx,
    mut again: impl FnMut(&Failure) -> bool,
) -> Result<(), Stop> {
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
            Ok(()) => return guard(Phase::Verify, || step.verify(&cx())),
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
