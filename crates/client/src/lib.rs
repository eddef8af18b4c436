//! End-to-end encrypted messaging: the client library.
//!
//! A [`Client`] is a profile directory that is open: an identity, contacts, messages, and the
//! relay at which it is reached. Everything it is given is on disk when the call returns, and goes
//! out when the relay can be reached; everything it receives is on disk before the relay forgets it.
//!
//! ```no_run
//! use undertone::{Client, EventKind, Link, NewProfile, Secret};
//!
//! # async fn example(join: &str, link: &str) -> Result<(), Box<dyn std::error::Error>> {
//! // Once: a profile in a directory, at the relay whose operator gave out a join address.
//! let client = Client::builder("profile")
//!     .secret(Secret::passphrase("correct horse battery staple"))
//!     .create(NewProfile { name: "Ada".into(), join: join.parse()? })
//!     .await?;
//!
//! // Somebody's link makes a contact, who can be written to at once.
//! let link: Link = link.parse()?;
//! let bob = client.add(&link, Some("Bob".into())).await?;
//! client.send_text(bob.id, "Hello").await?;
//!
//! // Stay connected, and read the durable log of events under a name.
//! client.start()?;
//! let mut events = client.events("my program");
//! loop {
//!     let event = events.next_event().await?;
//!     if let EventKind::MessageReceived { contact, id } = event.kind {
//!         println!("{:?}", client.received_message(contact, id).await?.kind);
//!     }
//!     // Only now it is not given again, should the program end here.
//!     events.acknowledge(&event).await?;
//! }
//! # }
//! ```
//!
//! Needs a multi-threaded tokio runtime. A started client runs until [`Client::close`].
#![forbid(unsafe_code)]

mod background;
mod backup;
mod builder;
mod care;
mod client;
mod clock;
mod core;
mod error;
mod events;
mod files;
mod first_contact;
mod health;
mod keyslot;
mod network;
mod people;
mod profile;
mod receive;
mod send;
mod store;
mod tickets;
mod together;

pub use backup::{BackupReport, RecoveryKey, check_backup};
pub use builder::{Builder, NewProfile, Secret};
pub use client::{Client, Invitation, Me, SyncReport};
pub use clock::{Clock, SystemClock};
pub use error::Error;
pub use events::Events;
pub use health::{HealthReport, Latency};

pub use undertone_session::contact::{AccountId, Contact, ContactState, SafetyNumberView};
pub use undertone_session::engine::{AuditClass, AuditSecret, ConversationHealth, LinkView};
pub use undertone_session::event::{Event, EventKind, ResetCause};
pub use undertone_session::ids::{ContactId, EventSeq, MessageId, UnixMillis};
pub use undertone_session::link::{Link, LinkError, LinkKind};
pub use undertone_session::message::{
    Direction, FileInfo, Hold, Message, MessageKind, MessageState,
};
pub use undertone_wire::{Day, JoinAddress, RelayAddress};
