//! The `undertone` program: what a person types, and the demonstration.
//!
//! The library holds everything, so that tests reach it; the program itself is one call of
//! [`main`]. Commands print through [`output`], fail with a [`failure::Failure`], and know nothing
//! of exit codes, which one function of [`exit`] assigns.
#![forbid(unsafe_code)]

pub mod args;
mod command;
mod demo;
pub mod exit;
pub mod failure;
mod input;
pub mod json;
pub mod output;
mod profile;
mod qr;
mod relay_process;
pub mod safe_text;
mod time;

use std::ffi::OsString;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use clap::error::ErrorKind;

use crate::args::Arguments;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::Output;

/// Runs the program with these arguments, the program's name first.
#[must_use]
pub fn main(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let arguments: Vec<OsString> = arguments.into_iter().collect();
    let exit = match Arguments::try_parse_from(&arguments) {
        Ok(parsed) => run(parsed),
        Err(error) => not_parsed(&error, arguments.iter().any(|argument| argument == "--json")),
    };
    exit.into()
}

/// How long threads have to end.
const SHUTDOWN: Duration = Duration::from_secs(2);

/// Help goes to standard output and is no error; the rest is a usage error.
fn not_parsed(error: &clap::Error, json: bool) -> Exit {
    if matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion) {
        // Nobody is left to tell if the output is closed.
        let _ = error.print();
        return Exit::Ok;
    }
    if json {
        Output::new(true).failure(&Failure::Usage(error.to_string()));
    } else {
        let _ = error.print();
    }
    Exit::Usage
}

fn run(arguments: Arguments) -> Exit {
    let output = Output::new(arguments.json);
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            let failure = Failure::Unexpected(format!("no threads can be started ({error})"));
            output.failure(&failure);
            return exit::of(&failure);
        }
    };
    let result = runtime.block_on(command::run(arguments, &output));
    // The threads that used the store have to be gone before the process ends, since OpenSSL
    // frees what it keeps for them in both places. What hangs (a name look-up, say) must not hold
    // the program back for long.
    runtime.shutdown_timeout(SHUTDOWN);
    match result {
        Ok(()) => Exit::Ok,
        // Whoever read the output has seen enough.
        Err(Failure::OutputClosed) => Exit::Ok,
        Err(failure) => {
            output.failure(&failure);
            exit::of(&failure)
        }
    }
}
