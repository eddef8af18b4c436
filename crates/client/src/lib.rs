//! End-to-end encrypted messaging: the client library.
//!
//! A [`Client`] is a profile directory that is open: an identity, contacts, messages, and the
//! relay at which it is reached. Everything it is given is on disk when the call returns, and goes
//! out when the relay can be reached; everything it receives is on disk before the relay forgets it.
#![forbid(unsafe_code)]

mod background;
mod builder;
mod client;
mod clock;
mod core;
mod error;
mod events;
mod files;
mod first_contact;
mod keyslot;
mod network;
mod profile;
mod receive;
mod send;
mod store;

pub use builder::{Builder, NewProfile, Secret};
pub use client::{Client, Invitation, Me, SyncReport};
pub use clock::{Clock, SystemClock};
pub use error::Error;
pub use events::Events;

pub use undertone_session::contact::{AccountId, Contact, ContactState, SafetyNumberView};
pub use undertone_session::event::{Event, EventKind, ResetCause};
pub use undertone_session::ids::{ContactId, EventSeq, MessageId, UnixMillis};
pub use undertone_session::link::{Link, LinkError, LinkKind};
pub use undertone_session::message::{
    Direction, FileInfo, Hold, Message, MessageKind, MessageState,
};
pub use undertone_wire::{Day, JoinAddress, RelayAddress};
