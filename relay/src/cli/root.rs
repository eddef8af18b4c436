//! `root`: the key that makes this relay this relay, and how to keep it elsewhere.

use std::io::Read as _;
use std::path::{Path, PathBuf};

use clap::Subcommand;
use undertone_relay::clock::{Clock as _, SystemClock};
use undertone_relay::operator::{record, root};
use undertone_relay::store::audit::{Action, RootUse};

use super::{Result, has_store, print};

#[derive(Subcommand)]
pub(super) enum RootCommand {
    /// Show the fingerprint that clients pin, where the root key is, when the certificate ends, and which
    /// former root keys addresses may still name.
    Show {
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
    /// Make a root key in a file, for a relay that has never run: on a machine without a network.
    New {
        /// A file that is not there yet.
        file: PathBuf,
    },
    /// Copy the root key to a file.
    Export {
        /// A file that is not there yet.
        file: PathBuf,
        /// Remove it from the relay's directory, and leave a certificate there instead.
        #[arg(long)]
        remove: bool,
        /// How many days that certificate is good.
        #[arg(long, default_value_t = root::DEFAULT_DAYS, requires = "remove")]
        days: u32,
    },
    /// Put the root key back into the relay's directory.
    Import {
        /// The file.
        file: PathBuf,
    },
    /// Ask for a certificate: prints a request, to be signed where the root key is.
    Request,
    /// Sign a request, read from standard input, with the root key in a file; prints certificates.
    Sign {
        /// The file with the root key.
        #[arg(long)]
        key: PathBuf,
        /// How many days the certificate is good.
        #[arg(long, default_value_t = root::DEFAULT_DAYS)]
        days: u32,
    },
    /// Put certificates into use, read from standard input.
    Install,
    /// Replace the root key in the relay's directory by a new one. Addresses that name the old one stay
    /// good, since it signs for the new one first.
    #[command(group = clap::ArgGroup::new("old").required(true))]
    Rotate {
        /// Write the old key to a file that is not there yet: it must be kept as well as the new one, since
        /// whoever has it can pose as this relay to those whose addresses name it.
        #[arg(long, group = "old", value_name = "FILE")]
        keep: Option<PathBuf>,
        /// Destroy the old key.
        #[arg(long, group = "old")]
        destroy: bool,
    },
    /// Where root keys are kept: let a new one take the place of an old one. Prints certificates, to be
    /// installed behind the first ones that the new key signs.
    HandOver {
        /// The file with the old root key.
        #[arg(long)]
        key: PathBuf,
        /// The file with the new one, which is made if it is not there.
        #[arg(long)]
        new: PathBuf,
    },
    /// End the oldest root that addresses may still name: whoever has only such an address is lost.
    Retire,
}

/// The longest text that is read from standard input: far more than two certificates.
const LONGEST: u64 = 64 * 1024;

fn input() -> Result<String> {
    let mut text = String::new();
    std::io::stdin().lock().take(LONGEST).read_to_string(&mut text)?;
    Ok(text)
}

/// The commands that need no relay.
pub(super) fn apart(command: &RootCommand) -> Option<Result> {
    match command {
        RootCommand::New { file } => Some(new(file)),
        RootCommand::Sign { key, days } => Some(sign(key, *days)),
        RootCommand::HandOver { key, new } => Some(hand_over(key, new)),
        _ => None,
    }
}

fn new(file: &Path) -> Result {
    let fingerprint = root::create(file)?;
    print(&format!("Root key: {}\nFingerprint: {fingerprint}\n", file.display()))
}

fn sign(key: &Path, days: u32) -> Result {
    let request = input()?;
    let name = root::request_name(&request)?;
    let (fingerprint, certificates) = root::sign(key, &request, days, SystemClock.unix_seconds())?;
    eprintln!("Signed request {name} with root {fingerprint}, for {days} days.");
    print(&certificates)
}

fn hand_over(key: &Path, new: &Path) -> Result {
    let (from, to, certificates) = root::hand_over(key, new)?;
    eprintln!("{from} is followed by {to}, whose key is in {}.", new.display());
    print(&certificates)
}

pub(super) fn run(directory: &Path, command: RootCommand) -> Result {
    let now = SystemClock.unix_seconds();
    let done = match command {
        RootCommand::Show { json } => return show(directory, now, json),
        RootCommand::New { file } => return new(&file),
        RootCommand::Sign { key, days } => return sign(&key, days),
        RootCommand::HandOver { key, new } => return hand_over(&key, &new),
        RootCommand::Rotate { keep, destroy: _ } => {
            let (from, to) = root::rotate(directory, keep.as_deref())?;
            print(&format!(
                "{from} is followed by {to}.\nStart the relay anew: from then on it uses the new key, and the addresses that it prints name it. Addresses\nwith the old fingerprint stay good until `undertone-relay root retire`.\n"
            ))?;
            RootUse::Rotated
        }
        RootCommand::Retire => match root::retire(directory)? {
            Some(oldest) => {
                print(&format!(
                    "Addresses that name {oldest} are good no longer, from the relay's next reload (SIGHUP) on.\n"
                ))?;
                RootUse::Retired
            }
            None => return print("There is no root key before the present one.\n"),
        },
        RootCommand::Export { file, remove, days } => {
            root::export(directory, &file, remove.then_some(days), now)?;
            print(&format!("Root key: {}\n", file.display()))?;
            if remove {
                print(&format!(
                    "It was removed from {}. Start the relay anew, so that it forgets it. Keep at least two copies\nof the file: without it, no certificate can be made after {days} days.\n",
                    directory.display()
                ))?;
            }
            if remove { RootUse::Removed } else { RootUse::Exported }
        }
        RootCommand::Import { file } => {
            root::import(directory, &file, now)?;
            print("The relay signs its own certificates from its next start on.\n")?;
            RootUse::Imported
        }
        RootCommand::Request => {
            let request = root::request(directory)?;
            let name = root::request_name(&request)?;
            eprintln!(
                "Request {name}. Sign it where the root key is: `undertone-relay root sign --key FILE`."
            );
            print(&request)?;
            RootUse::Requested
        }
        RootCommand::Install => {
            let ends = root::install(directory, &input()?, now)?;
            print(&format!(
                "Installed; good for {} days. A running relay takes it up with its next reload (SIGHUP).\n",
                days_until(ends, now)
            ))?;
            RootUse::Installed
        }
    };
    // Before the first run there is no log to write to.
    if has_store(directory).is_ok() {
        record(directory, SystemClock.today(), Action::RootUsed(done))?;
    }
    Ok(())
}

const fn days_until(ends: u64, now: u64) -> u64 {
    ends.saturating_sub(now) / 86_400
}

fn show(directory: &Path, now: u64, json: bool) -> Result {
    let status = root::status(directory, now)?;
    if json {
        let shown = serde_json::json!({
            "fingerprint": status.fingerprint.map(|known| known.to_string()),
            "key_is_here": status.is_here,
            "certificate_ends": status.leaf_ends,
            "request_waits": status.is_waiting,
            "former": status.former.iter().map(ToString::to_string).collect::<Vec<_>>(),
        });
        return print(&(serde_json::to_string_pretty(&shown)? + "\n"));
    }
    let fingerprint =
        status.fingerprint.map_or_else(|| "none yet".to_owned(), |known| known.to_string());
    let mut text = format!("Fingerprint: {fingerprint}\n");
    text.push_str(match (status.is_here, status.fingerprint) {
        (true, _) => {
            "Root key: in the relay's directory; certificates are made from it every day.\n"
        }
        (false, Some(_)) => "Root key: elsewhere.\n",
        (false, None) => "Root key: none; the first run makes one.\n",
    });
    match status.leaf_ends {
        Some(ends) => {
            text.push_str(&format!("Certificate: good for {} days.\n", days_until(ends, now)));
        }
        None if !status.is_here && status.fingerprint.is_some() => {
            text.push_str(
                "Certificate: none that clients accept; `undertone-relay root request`.\n",
            );
        }
        None => {}
    }
    for former in &status.former {
        text.push_str(&format!("Addresses with {former} are good as well.\n"));
    }
    if status.is_waiting {
        text.push_str("A request waits for its certificate: `undertone-relay root install`.\n");
    }
    print(&text)
}
