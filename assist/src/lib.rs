//! Native assist: an emulated system runs the native twins of those of its programs whose answer does not depend on the
//! processor.
//!
//! Programs, all tiny and static. `enter` makes a user namespace, which since Linux 6.7 has a binfmt_misc of its own,
//! and registers `switch` there: so it is only there that the kernel starts the switch in place of a guest's program.
//! The switch goes on as the native twin, or as the emulator. [`list`] says which programs may be native; [`native`]
//! makes a twin's program one that runs in a guest. [`counts`] reads what the switch counts. A third, `unsynced`, keeps programs from waiting for the disk. This room knows neither Drover nor Debian's archive.

pub mod counts;
pub mod layout;
pub mod list;
pub mod native;
pub mod place;
pub mod rename;

/// The program that is registered as the interpreter. Empty where it does not exist for this processor.
pub const SWITCH: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/switch"));

/// The program that runs another one where the switch is registered. Empty where it does not exist for this processor.
pub const ENTER: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/enter"));

/// The program that runs another one for whom all that is written is on the disk at once. Empty where it does not exist for
/// this processor.
pub const UNSYNCED: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/unsynced"));
