//! `token`: who may make mailboxes.

use std::path::Path;

use clap::{Subcommand, ValueEnum};
use undertone_relay::admission::Tokens;
use undertone_relay::clock::SystemClock;
use undertone_relay::known_address;
use undertone_relay::operator::Layout;
use undertone_relay::store::{TokenClass, TokenId};

use super::{Result, date, has_store, not_started, print};

#[derive(Subcommand)]
pub(super) enum TokenCommand {
    /// Make a token and print its join address, which is not shown again.
    Add {
        /// What its holders may do in a day.
        #[arg(long, value_enum, default_value = "standard")]
        class: Class,
    },
    /// List tokens, with what was made with each on the last day it was used.
    List {
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
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
    has_store(directory)?;
    let mut tokens = Tokens::open(&Layout::new(directory).store(), Box::new(SystemClock))?;
    match command {
        TokenCommand::Add { class } => {
            let class = match class {
                Class::Guest => TokenClass::Guest,
                Class::Standard => TokenClass::Standard,
                Class::Unlimited => TokenClass::Unlimited,
            };
            let address = known_address(directory)?.ok_or_else(|| not_started(directory))?;
            let (_, join) = tokens.add(class, &address)?;
            print(&format!("{}\n", join.to_text().as_str()))
        }
        TokenCommand::List { json: true } => {
            let tokens = tokens.list()?;
            let rows = tokens.iter().map(|token| {
                serde_json::json!({
                    "number": token.id.0,
                    "class": token.class.name(),
                    "last_used": date(token.day),
                    "mailboxes_and_depots": token.mailboxes,
                    "blob_bytes": token.blob_bytes,
                })
            });
            let rows: Vec<_> = rows.collect();
            print(&(serde_json::to_string_pretty(&rows)? + "\n"))
        }
        TokenCommand::List { json: false } => {
            let mut text =
                "number  class      last used   mailboxes and depots  bytes of blobs (on that day)\n"
                    .to_owned();
            for token in tokens.list()? {
                text.push_str(&format!(
                    "{:<7} {:<10} {:<11} {:<21} {}\n",
                    token.id.0,
                    token.class.name(),
                    date(token.day),
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
