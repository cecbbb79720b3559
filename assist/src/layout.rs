//! The file in which starts of programs are counted: where what is in it. For the switch, which counts, and for `counts`,
//! which reads.
//!
//! It is a table of slots, each of a name and of numbers that only grow. A process maps one page of it, that of its program's
//! name, so that a count costs the same however many there are. There is no lock and no state between: a process that is
//! killed anywhere leaves a table that is right but for its own start.

/// The kernel's page: a multiple of the slot's size.
pub const PAGE: usize = 4096;
/// So many pages are in the file.
pub const PAGES: usize = 8;
/// So many bytes a name has; a longer one is cut.
pub const NAME: usize = 32;
/// So many kinds of starts are told apart, each with a number of 32 bits.
pub const KINDS: usize = 8;
/// The size of a slot.
pub const SLOT: usize = NAME + 4 * KINDS;
/// So many slots are in a page. The first has no name: it takes what finds no other one.
pub const SLOTS: usize = PAGE / SLOT;

/// Fills a name up. It is in no name of a program, so that no part of a slot's name is zero once it is taken. At the
/// beginning of a name it says that what follows is not a program but a variable of the environment.
pub const FILLER: u8 = b'/';

/// Runs natively.
pub const NATIVE: usize = 0;
/// Is emulated: no native is offered.
pub const UNLISTED: usize = 1;
/// Is emulated: a native is offered, but a variable of the environment speaks against it. Counted for both.
pub const ENVIRONMENT: usize = 2;
/// Is emulated: a native is offered, but `/etc/ld.so.preload` exists.
pub const PRELOAD: usize = 3;
/// Is emulated: a native is offered, but the program takes the rights of another.
pub const SET_ID: usize = 4;
/// Is emulated: a native is offered, but the guest has something that it would not find.
pub const UNLESS: usize = 5;
/// Is emulated: a native is offered, but the kernel did not run it.
pub const REFUSED: usize = 6;

/// A name as a slot has it.
pub type Name = [u8; NAME];

/// The name of a program, cut or filled up.
pub const fn program(name: &[u8]) -> Name {
    filled(name, 0)
}

/// The name of a variable, cut or filled up.
pub const fn variable(name: &[u8]) -> Name {
    filled(name, 1)
}

const fn filled(name: &[u8], from: usize) -> Name {
    let mut all = [FILLER; NAME];
    let mut at = from;
    while at < NAME && at - from < name.len() {
        all[at] = name[at - from];
        at += 1;
    }
    all
}

/// The parts of a name that are taken one after the other.
pub const WORDS: usize = NAME / 8;

/// A name in parts.
pub fn words(name: &Name) -> [u64; WORDS] {
    core::array::from_fn(|part| u64::from_ne_bytes(core::array::from_fn(|at| name[8 * part + at])))
}

/// A number that spreads names over pages and slots.
pub fn hash(name: &[u64; WORDS]) -> usize {
    let mixed =
        name.iter().fold(0u64, |sum, word| (sum.rotate_left(5) ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    (mixed >> 32) as usize
}
