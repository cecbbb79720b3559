//! Runs a program where programs of another processor are started by an interpreter of ours, and nowhere else.
//!
//! `enter BINFMT_MISC REGISTRATION... -- PROGRAM ARGUMENT...` makes a user namespace with all ids as they are, and a mount
//! namespace; mounts at BINFMT_MISC what since Linux 6.7 each user namespace has of its own, and registers there.
//! It does not know what is registered, nor what the program does.

#![no_std]
#![no_main]

mod sys;

use core::ffi::CStr;
use sys::{
    HERE, O_CLOEXEC, O_WRONLY, Stack, Vector, call, execve, exit, fail, number, openat, strings, write,
};

/// How it ends when it cannot do it; as of others that run a program.
const CANNOT: usize = 125;

unsafe extern "C" fn start(argc: *mut usize) -> ! {
    let stack = Stack { argc };
    // SAFETY: the kernel left it so.
    let (arguments, environment) = unsafe { (stack.arguments(1), stack.environment()) };
    if unsafe { *argc } < 5 {
        fail("usage: enter BINFMT_MISC REGISTRATION... -- PROGRAM ARGUMENT..., not", c"", 0, CANNOT);
    }
    // SAFETY: there are at least four arguments.
    let place = unsafe { CStr::from_ptr((*arguments).cast()) };
    own_namespaces();
    mount(place);
    let mut at = 1;
    // SAFETY: the strings end, and so does the vector.
    for line in unsafe { strings(arguments.add(1)) } {
        at += 1;
        if line == c"--" {
            run(unsafe { arguments.add(at) }, environment);
        }
        register(place, line);
    }
    fail("no `--` after", place, 0, CANNOT)
}

/// Makes the namespaces. The ids are mapped by a process that is still outside.
fn own_namespaces() {
    const NEWUSER_AND_NEWNS: usize = 0x1000_0000 | 0x0002_0000;
    let mut pipe = [0i32; 2];
    // SAFETY: all arguments are numbers, or live until the call returns.
    unsafe {
        let this = openat(HERE, c"/proc/self", 0o200000 | O_CLOEXEC);
        check("open", c"/proc/self", this);
        check("make", c"a pipe", call(number::PIPE2, [pipe.as_mut_ptr() as usize, O_CLOEXEC]));
        let child = call(number::FORK, []);
        check("make", c"a process", child);
        if child == 0 {
            call(number::CLOSE, [pipe[1] as usize]);
            let mut byte = 0u8;
            let count = call(number::READ, [pipe[0] as usize, &raw mut byte as usize, 1]);
            exit(if count == 1 && map(this, c"uid_map") && map(this, c"gid_map") { 0 } else { 1 });
        }
        check("make", c"a user namespace", call(number::UNSHARE, [NEWUSER_AND_NEWNS]));
        check("write to", c"a pipe", write(pipe[1] as isize, b"."));
        let mut status = 0i32;
        check(
            "wait for",
            c"a process",
            call(number::WAIT4, [child as usize, &raw mut status as usize]),
        );
        if status != 0 {
            fail("cannot map all ids in", c"a user namespace", 0, CANNOT);
        }
    }
}

fn map(process: isize, name: &CStr) -> bool {
    let line = b"0 0 4294967295\n";
    let file = openat(process, name, O_WRONLY | O_CLOEXEC);
    file >= 0 && write(file, line) == line.len() as isize
}

fn mount(place: &CStr) {
    let kind = c"binfmt_misc".as_ptr() as usize;
    // SAFETY: the strings end.
    let answer = unsafe { call(number::MOUNT, [kind, place.as_ptr() as usize, kind]) };
    check("mount binfmt_misc of a user namespace (Linux 6.7 has it) at", place, answer);
}

fn register(place: &CStr, line: &CStr) {
    let mut path = [0u8; 4096];
    let name = b"/register\0";
    let place = place.to_bytes();
    if place.len() + name.len() > path.len() {
        fail("too long:", c"the place of binfmt_misc", 0, CANNOT);
    }
    path[..place.len()].copy_from_slice(place);
    path[place.len()..place.len() + name.len()].copy_from_slice(name);
    let Ok(path) = CStr::from_bytes_until_nul(&path) else { exit(CANNOT) };
    let file = openat(HERE, path, O_WRONLY | O_CLOEXEC);
    check("open", path, file);
    check("register", line, write(file, line.to_bytes()));
}

/// Runs the program, looked up as a shell would, if its name has no slash.
fn run(arguments: Vector, environment: Vector) -> ! {
    // SAFETY: the vector holds at least one string or ends at once.
    if unsafe { (*arguments).is_null() } {
        fail("no program after", c"--", 0, CANNOT);
    }
    let program = unsafe { CStr::from_ptr((*arguments).cast()) };
    let answer = execve(program, arguments, environment);
    fail("cannot run", program, answer, if answer == -2 { 127 } else { 126 })
}

fn check(what: &str, about: &CStr, answer: isize) {
    if answer < 0 {
        fail(what, about, answer, CANNOT);
    }
}
