//! The world as steps get at it: commands, jails, and files below another system's root, all of them real.

mod attempt;
mod commands;
mod jail;
mod rootfs;
