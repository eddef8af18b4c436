//! Manual pages and completion scripts, made from the definition of the command line itself.

use std::path::Path;

use clap::CommandFactory as _;
use clap_complete::Shell;

use super::{Cli, Result, print};

/// A page for the program and one for each command.
pub(super) fn man(directory: &Path) -> Result {
    clap_mangen::generate_to(Cli::command(), directory)
        .map_err(|error| format!("{} can't be written: {error}", directory.display()).into())
}

pub(super) fn completions(shell: Shell) -> Result {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "undertone-relay", &mut script);
    print(&String::from_utf8(script)?)
}
