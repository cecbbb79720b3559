//! The journal as its users see it: written, killed, damaged, read while it is written.

mod child;
mod damage;
mod full_disk;
mod gone;
mod journal;
mod kill;
mod reader;
mod scratch;
