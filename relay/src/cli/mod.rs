//! The command line.

mod config;
mod data;
mod inspect;
mod log;
mod notify;
mod owner;
mod papers;
mod root;
mod run;
mod token;

use std::error::Error;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use clap::{Parser, Subcommand};
use undertone_relay::known_address;
use undertone_relay::operator::Layout;

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
        directory: PathBuf,
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
            let address = known_address(&directory)?.ok_or_else(|| not_started(&directory))?;
            print(&format!("{address}\n"))
        }
        Command::Root { command } => match root::apart(&command) {
            Some(done) => done,
            None => root::run(&own_directory(&common)?, command),
        },
        Command::Token { command } => token::run(&own_directory(&common)?, command),
        Command::Inspect { json } => inspect::run(&own_directory(&common)?, json),
        Command::Man { directory } => papers::man(&directory),
        Command::Completions { shell } => papers::completions(shell),
        Command::Data(command) => data::run(&own_directory(&common)?, command),
    }
}

/// Where operators' commands work.
fn own_directory(common: &Common) -> Result<PathBuf> {
    let directory = common.directory()?;
    owner::check(&directory)?;
    Ok(directory)
}

/// Refuses a directory in which there is no relay. One that was just restored is a relay, though it
/// has not been started yet.
fn has_store(directory: &Path) -> Result {
    if Layout::new(directory).store().join("relay.db").try_exists()? {
        return Ok(());
    }
    Err(format!(
        "there is no relay in {}; start one with `undertone-relay run`, or give its directory with --dir",
        directory.display()
    )
    .into())
}

/// Why there is no address to show.
fn not_started(directory: &Path) -> String {
    match has_store(directory) {
        Ok(()) => format!(
            "the relay in {} was restored and has not been started, so that its address is not known yet; start it with `undertone-relay run`",
            directory.display()
        ),
        Err(none) => none.to_string(),
    }
}

/// Output that ends early because its reader left is no failure of ours.
fn print(text: &str) -> Result {
    match std::io::stdout().write_all(text.as_bytes()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => Err(error.into()),
        _ => Ok(()),
    }
}

/// A day as people write it (ISO 8601).
fn date(day: undertone_wire::Day) -> String {
    // Years of 365.2425 days that begin in March, so that the leap day is the last one.
    let days = u64::from(day.get()).saturating_add(719_468);
    let (era, of_era) = (days / 146_097, days % 146_097);
    let year = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    let year = era * 400 + year + u64::from(month <= 2);
    format!("{year:04}-{month:02}-{day:02}")
}

#[cfg(test)]
mod tests {
    use undertone_wire::Day;

    use super::date;

    #[test]
    fn days_have_dates() {
        for (day, shown) in [
            (0, "1970-01-01"),
            (58, "1970-02-28"),
            (59, "1970-03-01"),
            (11_016, "2000-02-29"),
            (11_017, "2000-03-01"),
            (20_000, "2024-10-04"),
            (47_540, "2100-02-28"),
            (47_541, "2100-03-01"),
        ] {
            assert_eq!(date(Day::new(day)), shown);
        }
    }
}
