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
        match guard(Phase::Apply, || step.apply(&cx())) {
            Err(Stop::Failed(failure)) if again(&failure) => {}
            Err(stop) => return Err(stop),
            Ok(()) => return guard(Phase::Verify, || step.verify(&cx())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
