//! The system calls that the programs make, without a C library, and the strings and vectors that they are given.
//!
//! It does not know what they are for. Included by each of the programs.

use core::arch::{asm, global_asm};
use core::ffi::CStr;

// The kernel leaves argc, the arguments and the environment on the stack: `start` is told where.
global_asm!(
    ".globl _start",
    "_start:",
    "xor %ebp, %ebp",
    "mov %rsp, %rdi",
    "and $-16, %rsp",
    "call {start}",
    "ud2",
    start = sym crate::start,
    options(att_syntax)
);

/// A vector of C strings that ends with a null pointer, as `execve` takes it.
pub(crate) type Vector = *mut *const u8;

/// The numbers of system calls, as the kernel's `arch/x86/entry/syscalls/syscall_64.tbl` has them.
#[allow(dead_code, reason = "not each program makes all of them")]
pub(crate) mod number {
    pub(crate) const READ: usize = 0;
    pub(crate) const WRITE: usize = 1;
    pub(crate) const CLOSE: usize = 3;
    pub(crate) const STAT: usize = 4;
    pub(crate) const MMAP: usize = 9;
    pub(crate) const MADVISE: usize = 28;
    pub(crate) const FORK: usize = 57;
    pub(crate) const EXECVE: usize = 59;
    pub(crate) const WAIT4: usize = 61;
    pub(crate) const FCNTL: usize = 72;
    pub(crate) const READLINK: usize = 89;
    pub(crate) const MOUNT: usize = 165;
    pub(crate) const EXIT_GROUP: usize = 231;
    pub(crate) const OPENAT: usize = 257;
    pub(crate) const FACCESSAT: usize = 269;
    pub(crate) const UNSHARE: usize = 272;
    pub(crate) const PIPE2: usize = 293;
    pub(crate) const SECCOMP: usize = 317;
}

/// A system call; what the kernel answers, an error as its negative number. Arguments that are not given are zero.
pub(crate) unsafe fn call<const GIVEN: usize>(number: usize, given: [usize; GIVEN]) -> isize {
    let mut arguments = [0; 6];
    arguments[..GIVEN].copy_from_slice(&given);
    let answer;
    // SAFETY: the caller answers for the arguments; the kernel changes no register but these.
    unsafe {
        asm!(
            "syscall",
            inlateout("rax") number as isize => answer,
            in("rdi") arguments[0],
            in("rsi") arguments[1],
            in("rdx") arguments[2],
            in("r10") arguments[3],
            in("r8") arguments[4],
            in("r9") arguments[5],
            lateout("rcx") _,
            lateout("r11") _,
            options(nostack)
        );
    }
    answer
}

/// What the kernel left on the stack.
pub(crate) struct Stack {
    /// Where the number of arguments is; the arguments follow.
    pub(crate) argc: *mut usize,
}

impl Stack {
    /// The arguments from the given one on.
    pub(crate) unsafe fn arguments(&self, from: usize) -> Vector {
        // SAFETY: there are `argc` arguments and a null pointer.
        unsafe { self.argc.add(1 + from).cast() }
    }

    /// The environment.
    pub(crate) unsafe fn environment(&self) -> Vector {
        // SAFETY: it follows the null pointer after the arguments.
        unsafe { self.arguments(*self.argc + 1) }
    }
}

/// Goes through the strings of a vector.
pub(crate) unsafe fn strings<'a>(vector: Vector) -> impl Iterator<Item = &'a CStr> {
    let mut at = vector;
    core::iter::from_fn(move || {
        // SAFETY: a vector ends with a null pointer, which is not gone beyond.
        unsafe {
            if (*at).is_null() {
                return None;
            }
            let string = CStr::from_ptr((*at).cast());
            at = at.add(1);
            Some(string)
        }
    })
}

/// Runs another program in place of this one; comes back only with an error.
pub(crate) fn execve(path: &CStr, arguments: Vector, environment: Vector) -> isize {
    // SAFETY: both are vectors as the kernel left them, or with strings of this program.
    unsafe { call(number::EXECVE, [path.as_ptr() as usize, arguments as usize, environment as usize]) }
}

/// Opens a file below a directory, or below the working one.
pub(crate) fn openat(directory: isize, path: &CStr, flags: usize) -> isize {
    // SAFETY: the string ends.
    unsafe { call(number::OPENAT, [directory as usize, path.as_ptr() as usize, flags]) }
}

/// The working directory, for [`openat`].
pub(crate) const HERE: isize = -100;
/// Flags of [`openat`].
#[allow(dead_code, reason = "not each program writes files")]
pub(crate) const O_WRONLY: usize = 0o1;
/// Flags of [`openat`].
#[allow(dead_code, reason = "not each program writes files")]
pub(crate) const O_RDWR: usize = 0o2;
/// Flags of [`openat`].
pub(crate) const O_CLOEXEC: usize = 0o2000000;

/// Writes bytes to a file in one go.
pub(crate) fn write(file: isize, bytes: &[u8]) -> isize {
    // SAFETY: the bytes are there.
    unsafe { call(number::WRITE, [file as usize, bytes.as_ptr() as usize, bytes.len()]) }
}

/// Ends the program.
pub(crate) fn exit(status: usize) -> ! {
    loop {
        // SAFETY: nothing of this program is used any more.
        unsafe { call(number::EXIT_GROUP, [status]) };
    }
}

/// Says what is wrong, and ends the program.
pub(crate) fn fail(what: &str, about: &CStr, errno: isize, status: usize) -> ! {
    let mut digits = [b' '; 5];
    let mut rest = errno.unsigned_abs();
    for digit in digits.iter_mut().skip(1).rev() {
        if rest > 0 {
            *digit = b'0' + (rest % 10) as u8;
        }
        rest /= 10;
    }
    for part in
        [b"drover-assist: ".as_slice(), what.as_bytes(), b" `", about.to_bytes(), b"`: error", &digits, b"\n"]
    {
        write(2, part);
    }
    exit(status)
}

#[panic_handler]
fn panic(_: &core::panic::PanicInfo) -> ! {
    write(2, b"drover-assist: a bug of its own\n");
    exit(125)
}

/// What the compiler takes for granted.
mod memory {
    use core::arch::asm;

    #[unsafe(no_mangle)]
    unsafe extern "C" fn memcpy(to: *mut u8, from: *const u8, count: usize) -> *mut u8 {
        // SAFETY: the compiler answers for both ranges.
        unsafe {
            asm!("rep movsb", inout("rcx") count => _, inout("rdi") to => _, inout("rsi") from => _, options(nostack));
        }
        to
    }

    #[unsafe(no_mangle)]
    unsafe extern "C" fn memset(to: *mut u8, byte: i32, count: usize) -> *mut u8 {
        // SAFETY: the compiler answers for the range.
        unsafe {
            asm!("rep stosb", inout("rcx") count => _, inout("rdi") to => _, in("al") byte as u8, options(nostack));
        }
        to
    }

    #[unsafe(no_mangle)]
    unsafe extern "C" fn bcmp(one: *const u8, other: *const u8, count: usize) -> i32 {
        // SAFETY: the compiler answers for both ranges.
        unsafe { memcmp(one, other, count) }
    }

    #[unsafe(no_mangle)]
    unsafe extern "C" fn memcmp(one: *const u8, other: *const u8, count: usize) -> i32 {
        for at in 0..count {
            // SAFETY: the compiler answers for both ranges.
            let (one, other) =
                unsafe { (core::ptr::read_volatile(one.add(at)), core::ptr::read_volatile(other.add(at))) };
            if one != other {
                return i32::from(one) - i32::from(other);
            }
        }
        0
    }

    #[unsafe(no_mangle)]
    unsafe extern "C" fn strlen(string: *const u8) -> usize {
        let mut count = 0;
        // SAFETY: the string ends.
        while unsafe { core::ptr::read_volatile(string.add(count)) } != 0 {
            count += 1;
        }
        count
    }
}

/// Named by the compiler's own library, which can unwind; nothing here does.
#[unsafe(no_mangle)]
extern "C" fn rust_eh_personality() {}
