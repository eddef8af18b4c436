//! The daemon `undertone-relay` and its operator's commands.
#![forbid(unsafe_code)]

mod cli;

use std::process::ExitCode;

fn main() -> ExitCode {
    match cli::run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("undertone-relay: {error}");
            ExitCode::FAILURE
        }
    }
}
