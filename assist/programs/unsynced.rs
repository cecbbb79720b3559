//! Runs a program, and all that it starts, for whom what is written is on the disk at once: `fsync` and its kin answer that it
//! is done, and do nothing.
//!
//! `unsynced PROGRAM ARGUMENT...`. Where the kernel has no filters of system calls, the program runs as it is: it takes longer.
//! It does not know who sees to it that all is on the disk in the end. Files that are opened for synchronous writing are.

#![no_std]
#![no_main]

#[allow(dead_code, reason = "it makes few calls")]
mod sys;

use core::ffi::CStr;
use sys::{Stack, call, execve, fail, number};

/// An instruction of a filter, as the kernel's `linux/filter.h` has it.
#[repr(C)]
struct Instruction {
    code: u16,
    /// How many instructions are left out when the comparison holds,
    then: u8,
    /// and when it does not.
    otherwise: u8,
    value: u32,
}

const LOAD: u16 = 0x20;
const IS: u16 = 0x15;
const RETURN: u16 = 0x06;
/// Where the call's number is in what a filter looks at, and where what kind of processor it is of.
const NUMBER: u32 = 0;
const KIND: u32 = 4;
const X86_64: u32 = 0xc000_003e;
const I386: u32 = 0x4000_0003;
const ALLOW: u32 = 0x7fff_0000;
/// An error of the number 0: success.
const DONE: u32 = 0x0005_0000;

const fn act(code: u16, value: u32) -> Instruction {
    Instruction { code, then: 0, otherwise: 0, value }
}

const fn is(value: u32, then: u8, otherwise: u8) -> Instruction {
    Instruction { code: IS, then, otherwise, value }
}

/// The numbers are those of `fsync`, `fdatasync`, `sync`, `syncfs` and `sync_file_range`.
static FILTER: [Instruction; 18] = [
    act(LOAD, KIND),
    is(X86_64, 2, 0),
    is(I386, 7, 0),
    act(RETURN, ALLOW),
    act(LOAD, NUMBER),
    is(74, 11, 0),
    is(75, 10, 0),
    is(162, 9, 0),
    is(306, 8, 0),
    is(277, 7, 6),
    act(LOAD, NUMBER),
    is(118, 5, 0),
    is(148, 4, 0),
    is(36, 3, 0),
    is(344, 2, 0),
    is(314, 1, 0),
    act(RETURN, ALLOW),
    act(RETURN, DONE),
];

#[repr(C)]
struct Program {
    length: u16,
    filter: *const Instruction,
}

unsafe extern "C" fn start(argc: *mut usize) -> ! {
    let stack = Stack { argc };
    // SAFETY: the kernel left it so.
    let (arguments, environment) = unsafe { (stack.arguments(1), stack.environment()) };
    if unsafe { *argc } < 2 {
        fail("usage: unsynced PROGRAM ARGUMENT..., not", c"", 0, 125);
    }
    set_filter();
    // SAFETY: there is at least one argument.
    let program = unsafe { CStr::from_ptr((*arguments).cast()) };
    let answer = execve(program, arguments, environment);
    fail("cannot run", program, answer, if answer == -2 { 127 } else { 126 })
}

/// That the kernel refuses it only costs time.
fn set_filter() {
    const SET_MODE_FILTER: usize = 1;
    let program = Program { length: FILTER.len() as u16, filter: FILTER.as_ptr() };
    // SAFETY: the kernel copies the filter.
    unsafe { call(number::SECCOMP, [SET_MODE_FILTER, 0, &raw const program as usize]) };
}
