//! A party for live conversations over a pipe (`test-vectors/README.md`).
#![forbid(unsafe_code)]

use std::process::ExitCode;

fn main() -> ExitCode {
    match undertone_vectors::pipe::serve(std::io::stdin().lock(), std::io::stdout().lock()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}
