//! The `undertone` program.
#![forbid(unsafe_code)]

use std::process::ExitCode;

fn main() -> ExitCode {
    undertone_cli::main(std::env::args_os())
}
