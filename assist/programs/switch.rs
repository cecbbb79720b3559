//! What the kernel starts in place of a guest's program: it goes on as the native twin of that program, where one is
//! offered and nothing speaks against it, else as the emulator. It counts which of the two it was, and why.
//!
//! The kernel calls it as registered with flag P: `switch PATH ARGV0 ARGUMENT...`. It allocates nothing, changes nothing that
//! the program sees, and leaves nothing open. What is offered, and why, it does not know: see `list`.

#![no_std]
#![no_main]

mod count;
#[path = "../src/layout.rs"]
mod layout;
#[path = "../src/place.rs"]
mod place;
mod sys;

use core::ffi::CStr;
use count::Counts;
use layout::{NATIVE, PRELOAD, REFUSED, SET_ID, UNLESS as UNLESS_THERE, UNLISTED, program};
use place::{EMULATOR, NATIVES, UNLESS};
use sys::{HERE, O_CLOEXEC, Stack, call, execve, fail, number, openat, strings};

/// Names libraries of the guest that all its programs are to be started with, natives too.
const PRELOADED: &[u8] = b"/etc/ld.so.preload\0";

/// The longest path that the kernel takes, twice.
const LONG: usize = 2 * 4096;

/// A path in the making: behind the place of natives, where the program is in the guest.
type Path = [u8; LONG];

unsafe extern "C" fn start(argc: *mut usize) -> ! {
    let stack = Stack { argc };
    // SAFETY: the kernel left it so.
    unsafe {
        if *argc < 3 {
            fail("this is for the kernel to run, not for", c"a shell", 0, 125);
        }
        let path = CStr::from_ptr((*stack.arguments(1)).cast());
        close_at_exec(&stack);
        go_on(&stack, path);
        emulate(&stack, path)
    }
}

/// Goes on as the native, if that is what is to be done; comes back where it is not, or the kernel does not run it.
unsafe fn go_on(stack: &Stack, path: &CStr) {
    let mut native = [0; LONG];
    let end = real_path(path, &mut native[NATIVES.len()..LONG - 16]).map(|length| NATIVES.len() + length);
    // What was opened, and has no path any more, has the name that it was called by.
    let name = end.map_or(path.to_bytes(), |end| &native[NATIVES.len()..end]);
    let counts = Counts::of(&program(name.rsplit(|&byte| byte == b'/').next().unwrap_or(name)));
    let found = end.map_or(Err(UNLISTED), |end| find_native(&mut native, end));
    // SAFETY: the environment and the arguments are as the kernel left them.
    unsafe {
        match found {
            Err(kind) => counts.add(kind),
            Ok(native) => match speaks_against(stack) {
                Some(variable) => counts.add_variable(variable),
                None if exists(PRELOADED) != Some(false) => counts.add(PRELOAD),
                None => {
                    counts.add(NATIVE);
                    // Comes back where it cannot be run: then the emulator may say why.
                    execve(native, stack.arguments(2), stack.environment());
                    counts.correct(NATIVE, REFUSED);
                }
            },
        }
    }
}

/// Goes on as the emulator: `qemu -0 ARGV0 PATH ARGUMENT...`, which is one string more than the kernel gave. There is
/// room for one where it left their number.
unsafe fn emulate(stack: &Stack, path: &CStr) -> ! {
    // SAFETY: there are at least three arguments, and their number is not needed any more.
    unsafe {
        let environment = stack.environment();
        let arguments = stack.argc.cast::<*const u8>();
        let argv0 = *stack.arguments(2);
        arguments.write(EMULATOR.as_ptr().cast());
        arguments.add(1).write(c"-0".as_ptr().cast());
        arguments.add(2).write(argv0);
        arguments.add(3).write(path.as_ptr().cast());
        let answer = execve(EMULATOR, arguments, environment);
        if answer == -2 {
            fail("no emulator in this root directory for", path, answer, 126);
        }
        // Such as too many arguments.
        fail("cannot run", path, answer, 126)
    }
}

/// The kernel may have opened the program for its interpreter, which here is none.
unsafe fn close_at_exec(stack: &Stack) {
    const AT_EXECFD: usize = 2;
    const F_SETFD: usize = 2;
    // SAFETY: pairs of numbers follow the environment; the last has the kind 0.
    unsafe {
        let mut at = stack.environment();
        while !(*at).is_null() {
            at = at.add(1);
        }
        let mut pair: *const usize = at.add(1).cast();
        while *pair != 0 {
            if *pair == AT_EXECFD {
                call(number::FCNTL, [*pair.add(1), F_SETFD, 1]);
            }
            pair = pair.add(2);
        }
    }
}

/// What in the environment asks for something that a native program would do in another way than the guest's: libraries of
/// the guest, modules of its perl (by name), its locales (with their names).
unsafe fn speaks_against<'a>(stack: &Stack) -> Option<&'a [u8]> {
    const NEVER: [&[u8]; 8] = [
        b"LD_",
        b"GCONV_PATH=",
        b"LOCPATH=",
        b"GLIBC_TUNABLES=",
        b"MALLOC_",
        b"PERL5",
        b"PERLLIB=",
        b"QEMU_",
    ];
    let (mut all, mut other) = (None, None);
    // SAFETY: the environment is as the kernel left it.
    for variable in unsafe { strings(stack.environment()) } {
        let variable = variable.to_bytes();
        match variable.first() {
            Some(b'L' | b'G' | b'M' | b'P' | b'Q') => {}
            _ => continue,
        }
        let (name, value) = halves(variable);
        if NEVER.iter().any(|start| variable.starts_with(start)) {
            return Some(name);
        }
        if value.is_empty() {
            continue;
        } else if name == b"LC_ALL" {
            all = Some((variable, value));
        } else if (name.starts_with(b"LC_") || name == b"LANG") && !is_plain(value) {
            other = Some((variable, value));
        }
    }
    all.or(other).filter(|(_, value)| !is_plain(value)).map(|(variable, _)| variable)
}

/// A variable's name and its value.
fn halves(variable: &[u8]) -> (&[u8], &[u8]) {
    match variable.iter().position(|&byte| byte == b'=') {
        Some(at) => (&variable[..at], &variable[at + 1..]),
        None => (variable, &[]),
    }
}

/// Whether that is a locale that every system has.
fn is_plain(locale: &[u8]) -> bool {
    [b"C".as_slice(), b"POSIX", b"C.UTF-8", b"C.utf8"].contains(&locale)
}

/// The native twin of the program whose path ends there, or why there is none.
fn find_native(path: &mut Path, end: usize) -> Result<&CStr, usize> {
    path[..NATIVES.len()].copy_from_slice(NATIVES.as_bytes());
    if exists(&path[..=end]) != Some(true) {
        return Err(UNLISTED);
    }
    // One that takes the rights of another is never native.
    if is_set_id(&path[NATIVES.len()..=end]) != Some(false) {
        return Err(SET_ID);
    }
    for unless in UNLESS {
        path[end..end + unless.len()].copy_from_slice(unless.as_bytes());
        path[end + unless.len()] = 0;
        if exists(&path[..=end + unless.len()]) != Some(false) {
            return Err(UNLESS_THERE);
        }
    }
    path[end] = 0;
    CStr::from_bytes_with_nul(&path[..=end]).map_err(|_| UNLISTED)
}

/// Writes where a path leads, links and all, with a zero after it; returns its length.
fn real_path(path: &CStr, buffer: &mut [u8]) -> Option<usize> {
    const O_PATH: usize = 0o10_000_000;
    let file = openat(HERE, path, O_PATH | O_CLOEXEC);
    let mut link = *b"/proc/self/fd/\0\0\0\0\0\0\0\0\0\0";
    write_number(usize::try_from(file).ok()?, &mut link[14..23])?;
    // SAFETY: the name of the link ends, and the buffer is as long as told.
    let length = unsafe {
        let room = buffer.len() - 1;
        let length =
            call(number::READLINK, [link.as_ptr() as usize, buffer.as_mut_ptr() as usize, room]);
        call(number::CLOSE, [file.unsigned_abs()]);
        usize::try_from(length).ok().filter(|&length| length < room)?
    };
    buffer[length] = 0;
    Some(length)
}

/// Writes a number in digits.
fn write_number(number: usize, digits: &mut [u8]) -> Option<()> {
    let mut length = 1;
    while number / 10usize.pow(length) > 0 {
        length += 1;
    }
    for (at, digit) in (0..length).zip(digits.get_mut(..length as usize)?) {
        *digit = b'0' + (number / 10usize.pow(length - 1 - at) % 10) as u8;
    }
    Some(())
}

fn exists(path: &[u8]) -> Option<bool> {
    let path = CStr::from_bytes_until_nul(path).ok()?;
    // SAFETY: the string ends.
    Some(unsafe { call(number::FACCESSAT, [HERE as usize, path.as_ptr() as usize]) } == 0)
}

/// Whether the file's mode has one of the bits by which a program gets another's rights.
fn is_set_id(path: &[u8]) -> Option<bool> {
    /// `struct stat`, of which the mode is the 7th word.
    const MODE: usize = 6;
    let path = CStr::from_bytes_until_nul(path).ok()?;
    let mut found = [0u32; 36];
    // SAFETY: the string ends, and `struct stat` is 144 bytes long.
    let answer =
        unsafe { call(number::STAT, [path.as_ptr() as usize, found.as_mut_ptr() as usize]) };
    (answer == 0).then_some(found[MODE] & 0o6000 != 0)
}
