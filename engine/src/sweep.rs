//! A sweep: what was found out about the world since something was last changed in it.
//!
//! Hundreds of checks ask the same of the host: the domains, a file with a line for each container. Within a sweep the first
//! of them looks, and the others share what it found. A sweep ends when anything is applied or taken back. While that goes
//! on nothing is kept, since it may be old before it is read. It does not know what is asked, nor how it is found out.

use anyhow::Result;
use std::any::{Any, TypeId};
use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// What all who look at the same world share. Clones are the same sweep.
#[derive(Clone, Default)]
pub struct Sweep(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    /// How many changes are being made now.
    changing: usize,
    /// How often a change began or ended.
    generation: u64,
    answers: HashMap<Question, Slot>,
}

/// What is asked, and of which type the answer is.
type Question = (TypeId, String);

/// An answer, or none yet. Whoever looks for it holds the lock, and the others wait for that.
type Slot = Arc<Mutex<Option<Arc<dyn Any + Send + Sync>>>>;

/// A change of the world that is being made. When it is dropped, a new sweep begins.
#[must_use]
pub(crate) struct Change(Sweep);

impl Sweep {
    /// The answer to `question`: the one that is known, or else what `look` finds. `look` must not ask for it itself.
    pub(crate) fn once<T: Send + Sync + 'static>(
        &self,
        question: &str,
        look: impl FnOnce() -> Result<T>,
    ) -> Result<Arc<T>> {
        let Some((generation, slot)) = self.slot((TypeId::of::<T>(), question.to_owned())) else {
            return look().map(Arc::new);
        };
        // Whoever panicked while it looked has left no answer.
        let mut answer = slot.lock().unwrap_or_else(PoisonError::into_inner);
        let known = answer.clone().filter(|_| self.is_at(generation)).and_then(|it| it.downcast().ok());
        if let Some(known) = known {
            return Ok(known);
        }
        let found = Arc::new(look()?);
        if self.is_at(generation) {
            *answer = Some(found.clone());
        }
        Ok(found)
    }

    /// Whether nothing is being changed.
    pub(crate) fn is_settled(&self) -> bool {
        self.lock().changing == 0
    }

    /// From now on, and until the result is dropped, the world is being changed.
    pub(crate) fn change(&self) -> Change {
        let mut state = self.lock();
        state.changing += 1;
        state.begin();
        Change(self.clone())
    }

    /// The place of the answer to `question` in this generation; none while something is being changed.
    fn slot(&self, question: Question) -> Option<(u64, Slot)> {
        let mut state = self.lock();
        let slot = (state.changing == 0).then(|| state.answers.entry(question).or_default().clone())?;
        Some((state.generation, slot))
    }

    fn is_at(&self, generation: u64) -> bool {
        let state = self.lock();
        state.changing == 0 && state.generation == generation
    }

    /// A thread that panicked has left the state whole: it is changed by nothing that can panic.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn begin(&mut self) {
        self.generation += 1;
        self.answers.clear();
    }
}

impl Drop for Change {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        state.changing -= 1;
        state.begin();
    }
}

impl fmt::Debug for Sweep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Sweep")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use anyhow::bail;
    use std::sync::atomic::{AtomicUsize, Ordering};

    /// Asks `sweep` something that counts how often it is looked for; returns the count that was the answer.
    fn ask(sweep: &Sweep, looks: &AtomicUsize) -> usize {
        *sweep.once("how often", || Ok(looks.fetch_add(1, Ordering::SeqCst) + 1)).expect("found")
    }

    #[test]
    fn many_ask_and_one_looks() {
        let (sweep, looks) = (Sweep::default(), AtomicUsize::new(0));
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| assert_eq!(ask(&sweep, &looks), 1));
            }
        });
        assert_eq!(looks.load(Ordering::SeqCst), 1);
    }

    #[test]
    fn a_change_ends_what_is_known_when_it_begins_and_when_it_ends() {
        let (sweep, looks) = (Sweep::default(), AtomicUsize::new(0));
        assert_eq!([ask(&sweep, &looks), ask(&sweep, &looks)], [1, 1]);
        let change = sweep.change();
        assert!(!sweep.is_settled());
        assert_eq!([ask(&sweep, &looks), ask(&sweep, &looks)], [2, 3], "nothing is kept during a change");
        let other = sweep.change();
        drop(change);
        assert_eq!([ask(&sweep, &looks), ask(&sweep, &looks)], [4, 5], "nor during another one");
        drop(other);
        assert!(sweep.is_settled());
        assert_eq!([ask(&sweep, &looks), ask(&sweep, &looks)], [6, 6]);
    }

    #[test]
    fn what_was_looked_for_while_a_change_was_made_is_not_kept() {
        let sweep = Sweep::default();
        let found = sweep.once("what", || {
            drop(sweep.change());
            Ok("old")
        });
        assert_eq!(*found.expect("found"), "old");
        assert_eq!(*sweep.once("what", || Ok("new")).expect("found"), "new");
    }

    #[test]
    fn an_error_is_no_answer_and_types_are_told_apart() {
        let sweep = Sweep::default();
        assert!(sweep.once::<u8>("what", || bail!("no")).is_err());
        assert_eq!(*sweep.once("what", || Ok(1_u8)).expect("found"), 1);
        assert_eq!(*sweep.once("what", || Ok("one")).expect("found"), "one");
        assert_eq!(*sweep.once("what", || Ok(2_u8)).expect("found"), 1);
    }
}
