//! The command line.

mod config;
mod data;
mod inspect;
mod log;
mod notify;
mod papers;
mod root;
mod run;
mod token;

use std::error::Error;
use std::io::Write as _;
use std::path::Path;

use clap::{Parser, Subcommand};
use undertone_relay::known_address;

pub(crate) use config::BadConfiguration;
use config::{Common, Shortcuts};

type Result<T = ()> = std::result::Result<T, Box<dyn Error>>;

/// Stores and forwards what it cannot read, for people it does not know.
#[derive(Parser)]
#[command(name = "undertone-relay", version, about)]
struct Cli {
    #[command(flatten)]
    common: Common,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Serve; needs no configuration. SIGHUP reads the configuration again, SIGTERM ends it in order.
    Run {
        #[command(flatten)]
        shortcuts: Shortcuts,
        /// The machine's clock is right, however far it is ahead of what the relay saw last: what has
        /// expired by it is removed at once, and not two days' worth in a day.
        #[arg(long)]
        accept_clock: bool,
    },
    /// Print the configuration that holds, and where each value is from. Exit code 2 if it is not good.
    CheckConfig {
        #[command(flatten)]
        shortcuts: Shortcuts,
    },
    /// Print a configuration file with every setting, its meaning and its default.
    ExampleConfig,
    /// Print the relay's address.
    Address,
    /// Manage admission tokens; the relay may be running.
    Token {
        #[command(subcommand)]
        command: token::TokenCommand,
    },
    /// Look after the root key: keep it offline, sign and install certificates.
    Root {
        #[command(subcommand)]
        command: root::RootCommand,
    },
    /// Show everything that is stored; the relay may be running.
    Inspect {
        /// As JSON, values in full.
        #[arg(long)]
        json: bool,
    },
    #[command(flatten)]
    Data(data::DataCommand),
    /// Write the manual pages to a directory.
    Man {
        /// An existing directory.
        directory: std::path::PathBuf,
    },
    /// Print a completion script for a shell.
    Completions {
        /// For which shell.
        shell: clap_complete::Shell,
    },
}

pub(crate) fn run() -> Result {
    let Cli { common, command } = Cli::parse();
    match command {
        Command::Run { shortcuts, accept_clock } => run::run(&common, &shortcuts, accept_clock),
        Command::CheckConfig { shortcuts } => config::check(&common, &shortcuts),
        Command::ExampleConfig => print(&undertone_relay::settings::example()),
        Command::Address => {
            let directory = common.directory()?;
            let address = known_address(&directory)?.ok_or_else(|| never_ran(&directory))?;
            print(&format!("{address}\n"))
        }
        Command::Root { command } => match root::apart(&command) {
            Some(done) => done,
            None => root::run(&common.directory()?, command),
        },
        Command::Token { command } => token::run(&common.directory()?, command),
        Command::Inspect { json } => inspect::run(&common.directory()?, json),
        Command::Man { directory } => papers::man(&directory),
        Command::Completions { shell } => papers::completions(shell),
        Command::Data(command) => data::run(&common.directory()?, command),
    }
}

fn never_ran(directory: &Path) -> String {
    format!(
        "there is no relay in {}; start one with `undertone-relay run`, or give its directory with --dir",
        directory.display()
    )
}

/// Output that ends early because its reader left is no failure of ours.
fn print(text: &str) -> Result {
    match std::io::stdout().write_all(text.as_bytes()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => Err(error.into()),
        _ => Ok(()),
    }
}
