//! The engine as a whole: toy steps that write real files, with a real journal, real processes and real kills.

mod failure;
mod farm;
mod guardian;
mod interrupt;
mod preview;
mod resume;
mod undo;
