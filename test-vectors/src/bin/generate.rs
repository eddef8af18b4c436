//! Writes the vectors, or says which of them are not what would be written.
#![forbid(unsafe_code)]

use std::process::ExitCode;

use undertone_vectors::files;

/// Without `--all` the accumulated hashes over more conversations stay as they are.
const FEW: u64 = 100;

fn main() -> ExitCode {
    let (mut check, mut longest) = (false, FEW);
    for argument in std::env::args().skip(1) {
        match argument.as_str() {
            "--check" => check = true,
            "--all" => longest = u64::MAX,
            _ => {
                eprintln!("usage: generate [--check] [--all]");
                return ExitCode::FAILURE;
            }
        }
    }
    let result = if check { files::differing(longest) } else { files::write(longest) };
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
