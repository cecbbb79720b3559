//! The program `drover`: arguments in, terminal out.
//!
//! The only room that prints. It does not know how anything is done.

mod args;
mod command;
mod display;
mod exit;
mod output;
mod signals;

use clap::Parser;
use exit::Exit;
use std::process::ExitCode;

fn main() -> ExitCode {
    output::prepare();
    if let Err(error) = drover_engine::shed_inherited() {
        return Exit::Failed.report(&error).into();
    }
    if let Some(mark) = guarded() {
        return match drover_engine::guardian::watch(&mark) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => Exit::Failed.report(&error).into(),
        };
    }
    let args = match args::Args::try_parse().and_then(args::Args::sound) {
        Ok(args) => args,
        Err(told) => return by_clap(&told).into(),
    };
    match command::run(&args) {
        Ok(exit) => exit.into(),
        Err(error) => Exit::of(&error).report(&error).into(),
    }
}

/// Shows what the parser of arguments has to say: a mistake, or the help that was asked for.
fn by_clap(told: &clap::Error) -> Exit {
    let text = told.render().ansi().to_string();
    if told.use_stderr() {
        output::tell(&text);
        // 2, with which `clap` would end, says that a run would change something.
        return Exit::Invalid;
    }
    match output::print(&text) {
        Ok(()) => Exit::Done,
        Err(error) => Exit::of(&error).report(&error),
    }
}

/// The hidden first argument of the guardian: this program, started once more by a run.
const GUARDIAN: &str = "guard-run";

/// The mark that the guardian watches over, if that is what this process is to be.
fn guarded() -> Option<String> {
    let mut args = std::env::args_os().skip(1).map(|arg| arg.to_string_lossy().into_owned());
    (args.next()? == GUARDIAN).then(|| args.next()).flatten()
}
