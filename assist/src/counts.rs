//! Reads what the switch has counted: how often each program was started natively, and how often not, and why.
//!
//! Guests can write to that file whatever they like. So nothing in it is believed but as numbers and names to be shown: what
//! comes out is bounded, sums cannot overflow, and a name has no character that a terminal would act upon.

use crate::layout::{
    ENVIRONMENT, FILLER, KINDS, NAME, NATIVE, PAGE, PAGES, PRELOAD, REFUSED, SET_ID, SLOT, SLOTS, UNLESS,
    UNLISTED,
};
use std::collections::BTreeMap;

/// The size of the file in which the switch counts, in bytes. All of it is zero in the beginning.
pub const SIZE: usize = PAGE * PAGES;

/// The name of those that found no place under their own.
pub const OTHERS: &str = "others";

/// How a program was started, so many times each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Starts {
    /// Natively.
    pub native: u64,
    /// Emulated: no native is offered.
    pub unlisted: u64,
    /// Emulated, though a native is offered: a variable of the environment speaks against it.
    pub environment: u64,
    /// Emulated, though a native is offered: the guest has an `/etc/ld.so.preload`.
    pub preload: u64,
    /// Emulated, though a native is offered: the program takes the rights of another.
    pub set_id: u64,
    /// Emulated, though a native is offered: the guest has something that the native would not find.
    pub unless: u64,
    /// Emulated, though a native is offered: the kernel did not run it.
    pub refused: u64,
}

impl Starts {
    fn add(&mut self, counts: [u64; KINDS]) {
        for (sum, kind) in [
            (&mut self.native, NATIVE),
            (&mut self.unlisted, UNLISTED),
            (&mut self.environment, ENVIRONMENT),
            (&mut self.preload, PRELOAD),
            (&mut self.set_id, SET_ID),
            (&mut self.unless, UNLESS),
            (&mut self.refused, REFUSED),
        ] {
            *sum += counts[kind];
        }
    }

    /// How often it was emulated.
    pub fn emulated(&self) -> u64 {
        self.unlisted + self.environment + self.preload + self.set_id + self.unless + self.refused
    }
}

/// What was counted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// By program, without its directory; a long name is cut.
    pub programs: BTreeMap<String, Starts>,
    /// How often a variable of the environment kept a program from being native: by its name, or, if it is one of a locale, with
    /// its value; cut if long.
    pub variables: BTreeMap<String, u64>,
}

impl Counts {
    /// What is in the file. Whatever that is, it is read so.
    pub fn read(file: &[u8]) -> Self {
        let mut all = Self::default();
        for (place, slot) in file.chunks_exact(SLOT).take(SLOTS * PAGES).enumerate() {
            let (name, counts) = slot.split_at(NAME);
            let counts = numbers(counts);
            if counts != [0; KINDS] {
                all.add(place.is_multiple_of(SLOTS), name, counts);
            }
        }
        all
    }

    fn add(&mut self, is_others: bool, name: &[u8], counts: [u64; KINDS]) {
        let variable = name.first() == Some(&FILLER);
        if is_others {
            self.programs.entry(OTHERS.to_owned()).or_default().add(counts);
        } else if variable {
            *self.variables.entry(text(&name[1..])).or_default() += counts[ENVIRONMENT];
        } else {
            self.programs.entry(text(name)).or_default().add(counts);
        }
    }
}

fn numbers(bytes: &[u8]) -> [u64; KINDS] {
    std::array::from_fn(|kind| u64::from(u32::from_ne_bytes(std::array::from_fn(|at| bytes[4 * kind + at]))))
}

/// A name to be shown.
fn text(name: &[u8]) -> String {
    let length = name.iter().rposition(|byte| *byte != FILLER).map_or(0, |last| last + 1);
    let shown = |byte: &u8| if byte.is_ascii_graphic() { char::from(*byte) } else { '?' };
    name[..length].iter().map(shown).collect()
}
