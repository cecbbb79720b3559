//! What the kernel starts in place of a guest's program: it goes on as the native twin of that program, where one is
//! offered and nothing speaks against it, else as the emulator.
//!
//! The kernel calls it as registered with flag P: `switch PATH ARGV0 ARGUMENT...`. It allocates nothing, changes nothing that
//! the program sees, and leaves nothing open. What is offered, and why, it does not know: see `list`.

#![no_std]
#![no_main]

#[path = "../src/place.rs"]
mod place;
mod sys;

use core::ffi::CStr;
use place::{EMULATOR, NATIVES, UNLESS};
use sys::{HERE, O_CLOEXEC, Stack, call, execve, fail, number, openat, strings};

/// Names libraries of the guest that all its programs are to be started with, natives too.
const PRELOAD: &[u8] = b"/etc/ld.so.preload\0";

/// The longest path that the kernel takes, twice.
const LONG: usize = 2 * 4096;

unsafe extern "C" fn start(argc: *mut usize) -> ! {
    let stack = Stack { argc };
    // SAFETY: the kernel left it so.
    unsafe {
        if *argc < 3 {
            fail("this is for the kernel to run, not for", c"a shell", 0, 125);
        }
        let path = CStr::from_ptr((*stack.arguments(1)).cast());
        close_at_exec(&stack);
        let mut native = [0; LONG];
        if !speaks_against(&stack)
            && exists(PRELOAD) == Some(false)
            && let Some(native) = find_native(path, &mut native)
        {
            // Comes back where it cannot be run: then the emulator may say why.
            execve(native, stack.arguments(2), stack.environment());
        }
        emulate(&stack, path)
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
                call(number::FCNTL, [*pair.add(1), F_SETFD, 1, 0, 0]);
            }
            pair = pair.add(2);
        }
    }
}

/// Whether the environment asks for something that a native program would do in another way than the guest's: libraries
/// of the guest, its locales, modules of its perl.
unsafe fn speaks_against(stack: &Stack) -> bool {
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
    let (mut all, mut others) = (None, true);
    // SAFETY: the environment is as the kernel left it.
    for variable in unsafe { strings(stack.environment()) } {
        let variable = variable.to_bytes();
        match variable.first() {
            Some(b'L' | b'G' | b'M' | b'P' | b'Q') => {}
            _ => continue,
        }
        if NEVER.iter().any(|start| variable.starts_with(start)) {
            return true;
        }
        if let Some(value) = variable.strip_prefix(b"LC_ALL=") {
            all = Some(value).filter(|value| !value.is_empty());
        } else if variable.starts_with(b"LC_") || variable.starts_with(b"LANG=") {
            let value =
                variable.iter().position(|&byte| byte == b'=').map_or(variable, |at| &variable[at + 1..]);
            others = others && (value.is_empty() || is_plain(value));
        }
    }
    !all.map_or(others, is_plain)
}

/// Whether that is a locale that every system has.
fn is_plain(locale: &[u8]) -> bool {
    [b"C".as_slice(), b"POSIX", b"C.UTF-8", b"C.utf8"].contains(&locale)
}

/// The native twin of the program at `path`, if one is offered, put together in `buffer`.
fn find_native<'a>(path: &CStr, buffer: &'a mut [u8; LONG]) -> Option<&'a CStr> {
    let (root, end) =
        (NATIVES.len(), real_path(path, &mut buffer[NATIVES.len()..LONG - 16])? + NATIVES.len());
    // One that takes the rights of another is never native.
    if is_set_id(&buffer[root..=end])? {
        return None;
    }
    buffer[..root].copy_from_slice(NATIVES.as_bytes());
    if !exists(&buffer[..=end])? {
        return None;
    }
    for unless in UNLESS {
        buffer[end..end + unless.len()].copy_from_slice(unless.as_bytes());
        buffer[end + unless.len()] = 0;
        if exists(&buffer[..=end + unless.len()])? {
            return None;
        }
    }
    buffer[end] = 0;
    CStr::from_bytes_with_nul(&buffer[..=end]).ok()
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
            call(number::READLINK, [link.as_ptr() as usize, buffer.as_mut_ptr() as usize, room, 0, 0]);
        call(number::CLOSE, [file.unsigned_abs(), 0, 0, 0, 0]);
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
    Some(unsafe { call(number::FACCESSAT, [HERE as usize, path.as_ptr() as usize, 0, 0, 0]) } == 0)
}

/// Whether the file's mode has one of the bits by which a program gets another's rights.
fn is_set_id(path: &[u8]) -> Option<bool> {
    /// `struct stat`, of which the mode is the 7th word.
    const MODE: usize = 6;
    let path = CStr::from_bytes_until_nul(path).ok()?;
    let mut found = [0u32; 36];
    // SAFETY: the string ends, and `struct stat` is 144 bytes long.
    let answer =
        unsafe { call(number::STAT, [path.as_ptr() as usize, found.as_mut_ptr() as usize, 0, 0, 0]) };
    (answer == 0).then_some(found[MODE] & 0o6000 != 0)
}
