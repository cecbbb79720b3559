//! The program `drover`: arguments in, terminal out.
//!
//! The only room that prints. It does not know how anything is done.

mod args;
mod command;
mod display;
mod exit;

use clap::Parser;
use exit::Exit;
use std::process::ExitCode;

fn main() -> ExitCode {
    if let Some(mark) = guarded() {
        return match drover_engine::guardian::watch(&mark) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => Exit::Failed.report(&error).into(),
        };
    }
    let args = args::Args::parse();
    match command::run(&args) {
        Ok(exit) => exit.into(),
        Err(error) => Exit::of(&error).report(&error).into(),
    }
}

/// The hidden first argument of the guardian: this program, started once more by a run.
const GUARDIAN: &str = "guard-run";

/// The mark that the guardian watches over, if that is what this process is to be.
fn guarded() -> Option<String> {
    let mut args = std::env::args().skip(1);
    (args.next()? == GUARDIAN).then(|| args.next()).flatten()
}
