//! The daemon `undertone-relay` and its operator's commands.
#![forbid(unsafe_code)]

mod cli;

use std::process::ExitCode;

/// The command line or the configuration is not good: starting again without changing it is no use.
const USAGE: u8 = 2;

fn main() -> ExitCode {
    match cli::run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("undertone-relay: {error}");
            if error.is::<cli::BadConfiguration>() {
                ExitCode::from(USAGE)
            } else {
                ExitCode::FAILURE
            }
        }
    }
}
