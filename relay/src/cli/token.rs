//! `token`: who may make mailboxes.

use std::path::Path;

use clap::{Subcommand, ValueEnum};
use undertone_relay::admission::Tokens;
use undertone_relay::clock::SystemClock;
use undertone_relay::known_address;
use undertone_relay::operator::Layout;
use undertone_relay::store::{TokenClass, TokenId};

use super::{Result, never_ran, print};

#[derive(Subcommand)]
pub(super) enum TokenCommand {
    /// Make a token and print its join address, which is not shown again.
    Add {
        /// What its holders may do in a day.
        #[arg(long, value_enum, default_value = "standard")]
        class: Class,
    },
    /// List tokens.
    List,
    /// No longer admit holders of a token; what they made stays.
    Revoke {
        /// The token's number, from the list.
        id: u32,
    },
}

#[derive(Clone, Copy, ValueEnum)]
pub(super) enum Class {
    Guest,
    Standard,
    Unlimited,
}

pub(super) fn run(directory: &Path, command: TokenCommand) -> Result {
    let address = known_address(directory)?.ok_or_else(|| never_ran(directory))?;
    let store = Layout::new(directory).store();
    let mut tokens = Tokens::open(&store, address, Box::new(SystemClock))?;
    match command {
        TokenCommand::Add { class } => {
            let class = match class {
                Class::Guest => TokenClass::Guest,
                Class::Standard => TokenClass::Standard,
                Class::Unlimited => TokenClass::Unlimited,
            };
            let (_, join) = tokens.add(class)?;
            print(&format!("{}\n", join.to_text().as_str()))
        }
        TokenCommand::List => {
            let mut text =
                "number  class      mailboxes and depots  bytes of blobs (last day used)\n"
                    .to_owned();
            for token in tokens.list()? {
                text.push_str(&format!(
                    "{:<7} {:<10} {:<21} {}\n",
                    token.id.0,
                    token.class.name(),
                    token.mailboxes,
                    token.blob_bytes
                ));
            }
            print(&text)
        }
        TokenCommand::Revoke { id } => {
            if tokens.revoke(TokenId(id))? {
                print("revoked\n")
            } else {
                Err(format!("there is no token {id}; see `undertone-relay token list`").into())
            }
        }
    }
}
