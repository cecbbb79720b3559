//! Where the parts of assist are seen in a guest, for the switch and for whoever puts them there.
//!
//! `/proc/tty/ldisc` is an empty directory of every `/proc`, kept by the kernel for programs that are long gone: so
//! nothing has to be made in the guest to mount something over it.

use core::ffi::CStr;

/// The directory of all of it. It is not longer than `/usr/lib/locale`, whose name it replaces: see `native`.
#[allow(dead_code, reason = "the switch includes this file, and needs only what is below it")]
pub const PLACE: &str = "/proc/tty/ldisc";

/// The emulator.
pub const EMULATOR: &CStr = c"/proc/tty/ldisc/qemu";

/// Where the natives that a guest is offered are, each at its own path below.
pub const NATIVES: &str = "/proc/tty/ldisc/offer";

/// Added to the path of a native: a link to what must not exist in the guest for the native to be taken.
pub const UNLESS: [&str; 2] = [".unless-0", ".unless-1"];

/// The file in which starts are counted: see `layout`.
pub const COUNTS: &CStr = c"/proc/tty/ldisc/counts";
