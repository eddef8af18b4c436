//! End-to-end encrypted messaging: the client library.
//!
//! A [`Client`] is a profile directory that is open: an identity, contacts, messages, and the
//! relay at which it is reached. Everything it is given is on disk when the call returns, and goes
//! out when the relay can be reached; everything it receives is on disk before the relay forgets it.
//!
//! ```
//! # #[tokio::main]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let temp = tempfile::tempdir()?;
//! # let mut config = undertone_relay::Config::new(temp.path().join("relay"));
//! # config.listen = "127.0.0.1:0".parse()?;
//! # let relay = undertone_relay::Relay::start(config).await?;
//! # let join = relay.join_address().unwrap().to_text().to_string();
//! # let (ada_dir, bob_dir) = (temp.path().join("ada"), temp.path().join("bob"));
//! use undertone::{Client, Direction, EventKind, LinkKind, MessageKind, NewProfile, Secret};
//!
//! // Once: a profile in a directory, at the relay whose operator gave out a join address.
//! let profile = |name: &str| NewProfile { name: name.into(), join: join.parse().unwrap() };
//! let secret = || Secret::passphrase("correct horse battery staple");
//! let ada = Client::builder(&ada_dir).secret(secret()).create(profile("Ada")).await?;
//! let bob = Client::builder(&bob_dir).secret(secret()).create(profile("Bob")).await?;
//!
//! // A link makes a contact, who can be written to at once. (It is a text: `to_text`, `parse`.)
//! let link = bob.invite(LinkKind::SingleUse, None).await?.link;
//! let to_bob = ada.add(&link, Some("Bob".into())).await?;
//! ada.send_text(to_bob.id, "Hello").await?;
//!
//! // Stay connected, and read the durable log of events under a name.
//! ada.start()?;
//! bob.start()?;
//! let mut events = bob.events("my program");
//! loop {
//!     let event = events.next_event().await?;
//!     if let EventKind::MessageReceived { contact, id } = event.kind
//!         // None if it is gone by now: erased, or its time to disappear has come.
//!         && let Some(message) = bob.message_of(contact, id, Direction::Incoming).await?
//!     {
//!         assert_eq!(message.kind, MessageKind::Text { text: "Hello".into() });
//!         break;
//!     }
//!     // Only now it is not given again, should the program end here.
//!     events.acknowledge(&event).await?;
//! }
//! ada.close().await;
//! bob.close().await;
//! # relay.shutdown().await.unwrap();
//! # Ok(())
//! # }
//! ```
//!
//! # The parts
//!
//! | for | look at |
//! |---|---|
//! | opening and creating a profile, restoring a backup | [`Builder`] |
//! | contacts, links, messages, files | [`Client`] |
//! | what happens | [`Events`], [`EventKind`] |
//! | whether it is connected, and why not | [`Client::connection`], [`ConnectionState`] |
//! | how far a message has come, and why it waits | [`MessageState`], [`Hold`] |
//! | what went wrong | [`Error`]: one flat enumeration, with stable codes |
//! | whether the encryption works | [`Client::health`] |
//!
//! Either call [`Client::start`] and stay connected, or [`Client::sync`] now and then for one pass.
//! Without either nothing is sent or received, and nothing is lost.
//!
//! # Building
//!
//! A C compiler, make and perl are needed (for OpenSSL, which the encrypted store computes with), and
//! the first build takes minutes. Opening a profile stretches its passphrase (Argon2id), which takes
//! many seconds where it is not optimised; for debug builds, the workspace's `Cargo.toml` should say
//!
//! ```toml
//! [profile.dev.package."*"]
//! opt-level = 2
//! ```
//!
//! # Events, and what to do about them
//!
//! Also what was done by this profile comes as an event ([`EventKind::ReactionChanged`],
//! [`EventKind::MessageEdited`], [`EventKind::ContactAdded`] and others): a program that has several
//! parts hears in each of them what the others did.
//!
//! | do | on |
//! |---|---|
//! | show, or bring the screen up to date | `MessageReceived`, `MessageStateChanged`, `MessageEdited`, `MessageDeleted`, `MessageErased`, `ReactionChanged`, `TimerChanged`, `ContactAdded`, `ContactRenamed`, `FileProgress`, `FileReceived`, `FileFailed` |
//! | ask the person | `FileWaiting` ([`Client::download`]), `ResendNeedsConsent` ([`Client::consent_to_resend`]), `KeyChanged` (they ask the contact by another way; then [`Client::accept_key_change`] or [`Client::refuse_key_change`]), `ResetStalled` (meet again over a new link) |
//! | warn the person | `LinkUsedTwice` (somebody else may have had the link), `Superseded` (a copy of the profile runs elsewhere), `StoreRolledBack` (an old copy of the profile was restored), `Reset` of a contact who is verified (compare safety numbers) |
//! | read contacts and history anew | `EventsLost` |
//! | pass over, or write to a log | `EnvelopeParked`, `ContentRefused`, `Other`, other `Reset`s, and every kind that the program does not know |
//!
//! # Good to know
//!
//! * A multi-threaded tokio runtime is needed (`#[tokio::main]` makes one). A started client runs until
//!   [`Client::close`], which a program awaits before it ends. (A runtime that reads `tokio::io::stdin`
//!   does not end before the next line is typed: read the terminal in a thread of its own, as
//!   `examples/chat.rs` does.)
//! * One process at a time has a profile open; another gets [`Error::StoreLocked`]. The names in
//!   [`Client::events`] are for programs that run after each other, and for parts of one program.
//! * A text that is no address or link gives an [`AddressError`] or a [`LinkError`] when it is parsed;
//!   `?` makes an [`Error`] of either in a function that returns one, and
//!   `join.parse().map_err(undertone::Error::from)` does elsewhere. Every error's `Display` is a
//!   sentence for people; what `?` prints from `main` is its `Debug`.
//! * Events carry ids; [`Client::message_of`] has what they are about. A message may be gone by the
//!   time its event is read: it was erased, or it disappeared. There is nothing to do then but to
//!   acknowledge the event. A program that takes this for a failure, and ends before it acknowledges,
//!   is given the same event at its next start, and ends again.
//! * Links, join addresses and recovery keys are secrets: they print with `*link.to_text()`, never by
//!   accident.
//! * What contacts write (texts, names, names of files) is theirs to choose: take control
//!   characters out before you show it in a terminal, and the marks that turn the direction of writing
//!   round, and never use a name as a path.
//! * A small chat program and an echo bot are in `examples/`.
#![forbid(unsafe_code)]

mod background;
mod backup;
mod builder;
mod cancelled;
mod care;
mod client;
mod clock;
mod connection;
mod core;
mod error;
mod events;
mod files;
mod first_contact;
mod health;
#[cfg(test)]
mod isolation_tests;
mod keyslot;
mod messages;
mod network;
mod people;
mod profile;
mod receive;
mod send;
mod store;
mod tickets;
mod together;
mod typing;

pub use backup::{BackupReport, RecoveryKey, check_backup};
pub use builder::{Builder, NewProfile, Secret};
pub use client::{Client, Invitation, Me, SyncReport};
pub use clock::{Clock, SystemClock};
pub use connection::{
    Carrier, ConnectionState, ConnectionStatus, ConnectionUpdates, RelayConnection,
};
pub use error::Error;
pub use events::Events;
pub use health::{HealthReport, Latency};
pub use typing::TypingUpdates;

// Each with an example, since what comes from other crates has its own documentation only.
/// ```
/// # #[tokio::main] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let dir = tempfile::tempdir()?;
/// # let join = "ut-join:relay.example:4433:BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCVH-0go";
/// # let profile = undertone::NewProfile { name: "Ada".into(), join: join.parse()? };
/// # let builder = undertone::Client::builder(dir.path().join("profile"));
/// # let builder = builder.secret(undertone::Secret::key([7; 32])).offline();
/// # let client = builder.create(profile).await?;
/// let account = client.me().account;
/// assert!(account.to_string().starts_with(&account.short()));
/// # client.close().await;
/// # Ok(())
/// # }
/// ```
#[doc(inline)]
pub use undertone_session::contact::AccountId;
/// ```no_run
/// # async fn example(client: undertone::Client) -> Result<(), Box<dyn std::error::Error>> {
/// let bob: undertone::Contact = client.contact("Bob").await?;
/// println!("{}: {}", bob.name, if bob.verified { "verified" } else { "not verified" });
/// # Ok(())
/// # }
/// ```
#[doc(inline)]
pub use undertone_session::contact::Contact;
/// ```no_run
/// # async fn example(client: undertone::Client) -> Result<(), Box<dyn std::error::Error>> {
/// use undertone::ContactState;
///
/// if client.contact("Bob").await?.state == ContactState::Pending {
///     println!("Bob has not answered yet");
/// }
/// # Ok(())
/// # }
/// ```
#[doc(inline)]
pub use undertone_session::contact::ContactState;
/// ```no_run
/// # async fn example(client: undertone::Client) -> Result<(), Box<dyn std::error::Error>> {
/// let bob = client.contact("Bob").await?;
/// let number: undertone::SafetyNumberView = client.safety_number(bob.id).await?;
/// println!("{} (or as a QR code of {} bytes)", number.digits, number.qr.len());
/// # Ok(())
/// # }
/// ```
#[doc(inline)]
pub use undertone_session::contact::SafetyNumberView;
/// ```
/// # #[tokio::main] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let dir = tempfile::tempdir()?;
/// # let join = "ut-join:relay.example:4433:BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCVH-0go";
/// # let profile = undertone::NewProfile { name: "Ada".into(), join: join.parse()? };
/// # let builder = undertone::Client::builder(dir.path().join("profile"));
/// # let builder = builder.secret(undertone::Secret::key([7; 32])).offline();
/// # let client = builder.create(profile).await?;
/// use undertone::AuditClass;
///
/// let secrets = client.dangerous_audit_secrets().await?;
/// assert!(secrets.iter().any(|secret| secret.class == AuditClass::Capability));
/// # client.close().await;
/// # Ok(())
/// # }
/// ```
#[doc(inline)]
pub use undertone_session::engine::AuditClass;
/// ```
/// # #[tokio::main] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let dir = tempfile::tempdir()?;
/// # let join = "ut-join:relay.example:4433:BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCVH-0go";
/// # let profile = undertone::NewProfile { name: "Ada".into(), join: join.parse()? };
/// # let builder = undertone::Client::builder(dir.path().join("profile"));
/// # let builder = builder.secret(undertone::Secret::key([7; 32])).offline();
/// # let client = builder.create(profile).await?;
/// for secret in client.dangerous_audit_secrets().await? {
///     println!("{} ({:?}, {} bytes)", secret.label, secret.class, secret.bytes.len());
/// }
/// # client.close().await;
/// # Ok(())
/// # }
/// ```
#[doc(inline)]
pub use undertone_session::engine::AuditSecret;
/// ```no_run
/// # async fn example(client: undertone::Client) -> Result<(), Box<dyn std::error::Error>> {
/// for one in client.health().await?.conversations {
///     println!("{}: {} renewals, the last {:?}", one.name, one.epochs, one.healed_at);
/// }
/// # Ok(())
/// # }
/// ```
#[doc(inline)]
pub use undertone_session::engine::ConversationHealth;
/// ```
/// # #[tokio::main] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let dir = tempfile::tempdir()?;
/// # let join = "ut-join:relay.example:4433:BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCVH-0go";
/// # let profile = undertone::NewProfile { name: "Ada".into(), join: join.parse()? };
/// # let builder = undertone::Client::builder(dir.path().join("profile"));
/// # let builder = builder.secret(undertone::Secret::key([7; 32])).offline();
/// # let client = builder.create(profile).await?;
/// for link in client.links().await? {
///     println!("{} {:?}{}", link.number, link.kind, if link.revoked { ", withdrawn" } else { "" });
/// }
/// # client.close().await;
/// # Ok(())
/// # }
/// ```
#[doc(inline)]
pub use undertone_session::engine::LinkView;
/// The delay is drawn anew for each contact and batch; its bounds, in milliseconds:
///
/// ```
/// let (shortest, longest) = undertone::RECEIPT_DELAY_MILLIS;
/// assert!(shortest < longest);
/// ```
#[doc(inline)]
pub use undertone_session::engine::RECEIPT_DELAY_MILLIS;
/// ```no_run
/// # async fn example(client: undertone::Client) -> Result<(), Box<dyn std::error::Error>> {
/// for reader in client.cursors().await? {
///     println!("{} is {} events behind", reader.name, reader.behind);
/// }
/// # Ok(())
/// # }
/// ```
#[doc(inline)]
pub use undertone_session::event::CursorView;
/// ```no_run
/// # async fn example(client: undertone::Client) -> Result<(), Box<dyn std::error::Error>> {
/// let event: undertone::Event = client.events("my program").next_event().await?;
/// println!("{}: {:?}", event.seq, event.kind);
/// # Ok(())
/// # }
/// ```
#[doc(inline)]
pub use undertone_session::event::Event;
/// ```no_run
/// # async fn example(client: undertone::Client) -> Result<(), Box<dyn std::error::Error>> {
/// use undertone::{Direction, EventKind};
///
/// match client.events("my program").next_event().await?.kind {
///     EventKind::MessageReceived { contact, id } => {
///         match client.message_of(contact, id, Direction::Incoming).await? {
///             Some(message) => println!("{:?}", message.kind),
///             None => println!("a message that is gone by now"),
///         }
///     }
///     EventKind::MessageStateChanged { id, state, .. } => println!("{id} is {state:?} now"),
///     EventKind::LinkUsedTwice { .. } => println!("somebody else may have seen your link"),
///     // There will be more: what a program does not know it passes over.
///     _ => {}
/// }
/// # Ok(())
/// # }
/// ```
#[doc(inline)]
pub use undertone_session::event::EventKind;
/// ```no_run
/// # async fn example(client: undertone::Client) -> Result<(), Box<dyn std::error::Error>> {
/// use undertone::{EventKind, EventMessage};
///
/// let event = client.events("my program").next_event().await?;
/// if let (EventKind::FileProgress { done, total, .. }, Some(EventMessage { seq, .. })) =
///     (event.kind, event.message)
/// {
///     println!("the file of message {seq}: {done} of {total}");
/// }
/// # Ok(())
/// # }
/// ```
#[doc(inline)]
pub use undertone_session::event::EventMessage;
/// ```no_run
/// # async fn example(client: undertone::Client) -> Result<(), Box<dyn std::error::Error>> {
/// use undertone::{EventKind, ResetCause};
///
/// let event = client.events("my program").next_event().await?;
/// if let EventKind::Reset { cause: ResetCause::TheirStateLost, .. } = event.kind {
///     println!("they have restored a backup, or an old copy");
/// }
/// # Ok(())
/// # }
/// ```
#[doc(inline)]
pub use undertone_session::event::ResetCause;
/// ```
/// use std::time::Duration;
///
/// // A screen stops to show that somebody writes when it has not heard of it for so long.
/// assert!(Duration::from_secs(undertone::TYPING_SECONDS) > Duration::from_secs(1));
/// ```
#[doc(inline)]
pub use undertone_session::event::TYPING_SECONDS;
/// ```no_run
/// # async fn example(client: undertone::Client) -> Result<(), Box<dyn std::error::Error>> {
/// let undertone::Typing { contact, active } = client.typing().next().await?;
/// println!("contact {contact} {}", if active { "writes" } else { "has stopped" });
/// # Ok(())
/// # }
/// ```
#[doc(inline)]
pub use undertone_session::event::Typing;
/// ```
/// assert_eq!(undertone::ContactId::new(3).to_string(), "3");
/// ```
#[doc(inline)]
pub use undertone_session::ids::ContactId;
/// ```
/// use undertone::EventSeq;
///
/// assert!(EventSeq::START < EventSeq::new(1));
/// ```
#[doc(inline)]
pub use undertone_session::ids::EventSeq;
/// ```
/// use undertone::MessageId;
///
/// let id = MessageId::from_bytes([1; 16]);
/// assert_eq!(id.to_string().parse(), Ok(id));
/// ```
#[doc(inline)]
pub use undertone_session::ids::MessageId;
/// ```
/// assert_eq!(undertone::UnixMillis::new(1_700_000_000_123).seconds(), 1_700_000_000);
/// ```
#[doc(inline)]
pub use undertone_session::ids::UnixMillis;
/// ```no_run
/// # async fn example(text: &str) -> Result<(), Box<dyn std::error::Error>> {
/// let link: undertone::Link = text.parse()?;
/// println!("a link at {}", link.relay().authority());
/// # Ok(())
/// # }
/// ```
#[doc(inline)]
pub use undertone_session::link::Link;
/// ```
/// use undertone::{Link, LinkError};
///
/// assert_eq!("https://example.org".parse::<Link>(), Err(LinkError::NotALink));
/// ```
#[doc(inline)]
pub use undertone_session::link::LinkError;
/// ```no_run
/// # async fn example(client: undertone::Client) -> Result<(), Box<dyn std::error::Error>> {
/// use undertone::LinkKind;
///
/// // For a web page: every holder can write, and learns that the link is yours.
/// let link = client.invite(LinkKind::Reusable, Some("web page".into())).await?.link;
/// println!("{}", *link.to_text());
/// # Ok(())
/// # }
/// ```
#[doc(inline)]
pub use undertone_session::link::LinkKind;
/// ```no_run
/// # async fn example(client: undertone::Client) -> Result<(), Box<dyn std::error::Error>> {
/// use undertone::Direction;
///
/// let bob = client.contact("Bob").await?;
/// for message in client.history(bob.id, None, 20).await? {
///     let arrow = if message.direction == Direction::Incoming { "<" } else { ">" };
///     println!("{arrow} {:?}", message.kind);
/// }
/// # Ok(())
/// # }
/// ```
#[doc(inline)]
pub use undertone_session::message::Direction;
/// ```no_run
/// # async fn example(client: undertone::Client, id: undertone::MessageId) -> Result<(), Box<dyn std::error::Error>> {
/// use undertone::{FileInfo, MessageKind};
///
/// if let MessageKind::File(FileInfo { name, size, path, .. }) = client.message(id).await?.kind {
///     println!("{name}, {size} bytes, at {path:?}");
/// }
/// # Ok(())
/// # }
/// ```
#[doc(inline)]
pub use undertone_session::message::FileInfo;
/// ```no_run
/// # async fn example(client: undertone::Client, id: undertone::MessageId) -> Result<(), Box<dyn std::error::Error>> {
/// use undertone::Hold;
///
/// if client.message(id).await?.hold == Some(Hold::MailboxFull) {
///     println!("it goes out when they have fetched their messages");
/// }
/// # Ok(())
/// # }
/// ```
#[doc(inline)]
pub use undertone_session::message::Hold;
/// ```no_run
/// # async fn example(client: undertone::Client) -> Result<(), Box<dyn std::error::Error>> {
/// let bob = client.contact("Bob").await?;
/// let last: Option<undertone::Message> = client.history(bob.id, None, 1).await?.pop();
/// println!("{last:?}");
/// # Ok(())
/// # }
/// ```
#[doc(inline)]
pub use undertone_session::message::Message;
/// ```no_run
/// # async fn example(client: undertone::Client, id: undertone::MessageId) -> Result<(), Box<dyn std::error::Error>> {
/// use undertone::MessageKind;
///
/// match client.message(id).await?.kind {
///     MessageKind::Text { text } => println!("{text}"),
///     MessageKind::File(file) => println!("a file: {}", file.name),
///     // There will be more.
///     _ => println!("a message that this program can't show"),
/// }
/// # Ok(())
/// # }
/// ```
#[doc(inline)]
pub use undertone_session::message::MessageKind;
/// ```no_run
/// # async fn example(client: undertone::Client) -> Result<(), Box<dyn std::error::Error>> {
/// for undertone::MessageReaction { by, emoji } in client.message_at(12).await?.reactions {
///     println!("{by:?}: {emoji}");
/// }
/// # Ok(())
/// # }
/// ```
#[doc(inline)]
pub use undertone_session::message::MessageReaction;
/// ```no_run
/// # async fn example(client: undertone::Client, id: undertone::MessageId) -> Result<(), Box<dyn std::error::Error>> {
/// use undertone::MessageState;
///
/// let ticks = match client.message(id).await?.state {
///     MessageState::Queued => "on its way",
///     MessageState::Accepted => "at their relay",
///     MessageState::Delivered => "on their device",
///     MessageState::Read => "read",
///     _ => "?",
/// };
/// println!("{ticks}");
/// # Ok(())
/// # }
/// ```
#[doc(inline)]
pub use undertone_session::message::MessageState;
/// ```
/// use undertone::{AddressError, Error, JoinAddress};
///
/// let refused = "ut-relay:relay.example:4433".parse::<JoinAddress>().unwrap_err();
/// assert_eq!(refused, AddressError::LacksToken);
/// assert_eq!(Error::from(refused).code(), "address-malformed");
/// ```
#[doc(inline)]
pub use undertone_wire::AddressError;
/// ```
/// // Days since 1970-01-01 UTC.
/// assert_eq!(undertone::Day::new(20_000).get(), 20_000);
/// ```
#[doc(inline)]
pub use undertone_wire::Day;
/// ```
/// # fn main() -> Result<(), undertone::Error> {
/// # let text = "ut-join:relay.example:4433:BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCVH-0go";
/// // ut-join:relay.example:4433:..., as the relay's operator gave it out.
/// let join: undertone::JoinAddress = text.parse()?;
/// assert_eq!(join.relay().host(), "relay.example");
/// # Ok(())
/// # }
/// ```
#[doc(inline)]
pub use undertone_wire::JoinAddress;
/// ```
/// # #[tokio::main] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let dir = tempfile::tempdir()?;
/// # let join = "ut-join:relay.example:4433:BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCVH-0go";
/// # let profile = undertone::NewProfile { name: "Ada".into(), join: join.parse()? };
/// # let builder = undertone::Client::builder(dir.path().join("profile"));
/// # let builder = builder.secret(undertone::Secret::key([7; 32])).offline();
/// # let client = builder.create(profile).await?;
/// let relay: undertone::RelayAddress = client.me().relay.parse()?;
/// assert_eq!(relay.authority(), "relay.example:4433");
/// # client.close().await;
/// # Ok(())
/// # }
/// ```
#[doc(inline)]
pub use undertone_wire::RelayAddress;
