//! Writes the vectors, or says which of them are not what would be written.
#![forbid(unsafe_code)]

use std::process::ExitCode;

fn main() -> ExitCode {
    let check = match std::env::args().nth(1).as_deref() {
        None => false,
        Some("--check") => true,
        Some(_) => {
            eprintln!("usage: generate [--check]");
            return ExitCode::FAILURE;
        }
    };
    let result = if check {
        undertone_vectors::files::differing()
    } else {
        undertone_vectors::files::write()
    };
    match result {
        Ok(files) if files.is_empty() => ExitCode::SUCCESS,
        Ok(files) => {
            for file in &files {
                println!("{file}");
            }
            println!("{} files {}", files.len(), if check { "differ" } else { "changed" });
            if check { ExitCode::FAILURE } else { ExitCode::SUCCESS }
        }
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}
