//! Counts how programs are started, in a file that all processes of a guest share. See `layout` for what is in it.
//!
//! Nothing depends on it: where the file is not there, too short, or full of nonsense, nothing is counted, or nonsense. What
//! the counts are for it does not know.

use crate::layout::{ENVIRONMENT, KINDS, Name, PAGE, PAGES, SLOTS, WORDS, hash, variable, words};
use crate::place::COUNTS;
use crate::sys::{HERE, O_CLOEXEC, O_RDWR, call, number, openat};
use core::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};

/// A slot, as it is in the file.
#[repr(C)]
struct Slot {
    name: [AtomicU64; WORDS],
    counts: [AtomicU32; KINDS],
}

/// The counts of the programs whose names share a page with that of one.
pub(crate) struct Counts {
    page: Option<&'static [Slot; SLOTS]>,
    program: [u64; WORDS],
}

impl Counts {
    /// The counts that a program of that name is among.
    pub(crate) fn of(program: &Name) -> Self {
        let program = words(program);
        Self { page: map(hash(&program) % PAGES), program }
    }

    /// Counts a start.
    pub(crate) fn add(&self, kind: usize) {
        self.change(&self.program, kind, 1);
    }

    /// Counts a start that a variable of the environment keeps from being native.
    pub(crate) fn add_variable(&self, name: &[u8]) {
        self.add(ENVIRONMENT);
        self.change(&words(&variable(name)), ENVIRONMENT, 1);
    }

    /// What was counted as one kind is of another.
    pub(crate) fn correct(&self, from: usize, to: usize) {
        self.change(&self.program, from, 1u32.wrapping_neg());
        self.add(to);
    }

    fn change(&self, name: &[u64; WORDS], kind: usize, by: u32) {
        let Some(page) = self.page else { return };
        let first = hash(name) / PAGES;
        let slots = (0..SLOTS - 1).map(|step| &page[1 + (first + step) % (SLOTS - 1)]);
        let slot = slots.into_iter().find(|slot| slot.is_of(name)).unwrap_or(&page[0]);
        slot.counts[kind].fetch_add(by, Relaxed);
    }
}

impl Slot {
    /// Whether the slot is that name's, which takes it if it is free. Part by part: another name that begins alike may take it
    /// before the last part is there, and has it then.
    fn is_of(&self, name: &[u64; WORDS]) -> bool {
        self.name.iter().zip(name).all(|(part, &word)| {
            let found = part.load(Relaxed);
            found == word || found == 0 && part.compare_exchange(0, word, Relaxed, Relaxed).is_or(word)
        })
    }
}

trait IsOr {
    fn is_or(self, word: u64) -> bool;
}

impl IsOr for Result<u64, u64> {
    /// Whether it was done, or somebody else has just done the same.
    fn is_or(self, word: u64) -> bool {
        self.err().is_none_or(|found| found == word)
    }
}

/// Maps a page of the file, if it can be written to without fear: the kernel says so before anything is.
fn map(page: usize) -> Option<&'static [Slot; SLOTS]> {
    const READ_AND_WRITE: usize = 1 | 2;
    const SHARED: usize = 1;
    const POPULATE_WRITE: usize = 23;
    let file = usize::try_from(openat(HERE, COUNTS, O_RDWR | O_CLOEXEC)).ok()?;
    // SAFETY: the kernel chooses a place where nothing is; the page stays mapped, and is only looked at as atomic numbers.
    unsafe {
        let at = call(number::MMAP, [0, PAGE, READ_AND_WRITE, SHARED, file, page * PAGE]);
        let at = usize::try_from(at).ok()?;
        let is_there = call(number::MADVISE, [at, PAGE, POPULATE_WRITE]) == 0;
        is_there.then(|| &*(at as *const [Slot; SLOTS]))
    }
}
