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
    if let Err(error) = drover_engine::shed_inherited() {
        return Exit::Failed.report(&error).into();
    }
    if let Some(mark) = guarded() {
        return match drover_engine::guardian::watch(&mark) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => Exit::Failed.report(&error).into(),
        };
    }
    let args = match args::Args::try_parse() {
        Ok(args) => args,
        // 2, with which `clap` would end, says that a run would change something.
        Err(error) if error.use_stderr() => {
            // With colours where they suit. Where it cannot be printed, there is nobody to tell.
            let _ = error.print();
            return Exit::Invalid.into();
        }
        Err(help) => help.exit(),
    };
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
