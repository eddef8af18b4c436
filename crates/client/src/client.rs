//! The handle that applications hold.

use std::path::Path;
use std::time::Duration;

use undertone_wire::Day;
use undertone_session::contact::{AccountId, Contact, SafetyNumberView};
use undertone_session::ids::{ContactId, MessageId};
use undertone_session::link::{Link, LinkKind};
use undertone_session::message::{Message, MessageState};

use crate::builder::{Builder, NewProfile};
use crate::error::Error;
use crate::events::Events;

/// This profile.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Me {
    /// What the person calls themselves.
    pub name: String,
    /// Fingerprint of the account key.
    pub account: AccountId,
    /// The relay's address as text.
    pub relay: String,
    /// The first 16 bytes of SHA-256 over this device's public keys, as hexadecimal digits.
    pub device: String,
}

/// A link that was just made.
#[derive(Debug)]
pub struct Invitation {
    /// The link; [`Link::to_text`] is what to hand over.
    pub link: Link,
    /// The last day on which it can be used.
    pub expires: Day,
}

/// What one pass of [`Client::sync`] did.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct SyncReport {
    /// Messages received.
    pub received: u64,
    /// Messages that relays accepted.
    pub accepted: u64,
    /// Messages that stay queued, because their relay can't be reached or refuses.
    pub queued: u64,
    /// Files fetched completely.
    pub files: u64,
    /// Envelopes that nothing opened and that were kept.
    pub parked: u64,
}

/// A profile that is open. Clones are handles to the same one.
#[derive(Clone, Debug)]
pub struct Client {
    _shared: (),
}

const fn skeleton<T>() -> Result<T, Error> {
    Err(Error::Closed)
}

impl Client {
    /// Starts to open or create the profile in this directory.
    pub fn builder(dir: impl AsRef<Path>) -> Builder {
        Builder::new(dir.as_ref())
    }

    pub(crate) async fn create(builder: Builder, profile: NewProfile) -> Result<Self, Error> {
        let _ = (builder, profile);
        skeleton()
    }

    pub(crate) async fn open(builder: Builder) -> Result<Self, Error> {
        let _ = builder;
        skeleton()
    }

    /// This profile.
    #[must_use]
    pub fn me(&self) -> Me {
        Me {
            name: String::new(),
            account: AccountId::from_bytes([0; 32]),
            relay: String::new(),
            device: String::new(),
        }
    }

    /// Makes a link, and stores what it needs at the relay before it returns.
    ///
    /// # Errors
    /// [`Error::Unreachable`], [`Error::RelayPinMismatch`], [`Error::AdmissionRefused`]: no link
    /// was made then.
    pub async fn invite(&self, kind: LinkKind, label: Option<String>) -> Result<Invitation, Error> {
        let _ = (kind, label);
        skeleton()
    }

    /// Uses somebody's link: takes what the relay keeps for it, starts a session, and queues the
    /// greeting. The contact can be written to at once.
    ///
    /// # Errors
    /// [`Error::LinkUsedUp`], [`Error::LinkUnknown`], [`Error::LinkOwn`], [`Error::LinkForged`],
    /// [`Error::Unreachable`], [`Error::RelayPinMismatch`].
    pub async fn add(&self, link: &Link, name: Option<String>) -> Result<Contact, Error> {
        let _ = (link, name);
        skeleton()
    }

    /// All contacts, in the order in which they were made.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn contacts(&self) -> Result<Vec<Contact>, Error> {
        skeleton()
    }

    /// The contact with this name, number, or beginning of an account fingerprint (at least 4 digits).
    ///
    /// # Errors
    /// [`Error::UnknownContact`], [`Error::AmbiguousContact`].
    pub async fn contact(&self, query: &str) -> Result<Contact, Error> {
        let _ = query;
        skeleton()
    }

    /// Calls a contact something else, here only.
    ///
    /// # Errors
    /// [`Error::UnknownContact`], [`Error::NameInvalid`].
    pub async fn rename(&self, contact: ContactId, name: &str) -> Result<Contact, Error> {
        let _ = (contact, name);
        skeleton()
    }

    /// Queues a text. It is on disk when this returns; no network is needed.
    ///
    /// # Errors
    /// [`Error::UnknownContact`], [`Error::MessageEmpty`], [`Error::MessageTooLong`].
    pub async fn send_text(&self, contact: ContactId, text: &str) -> Result<MessageId, Error> {
        let _ = (contact, text);
        skeleton()
    }

    /// Encrypts a file into the profile directory and queues it: the file itself is not needed
    /// any more when this returns. It is read as a stream, never held in memory.
    ///
    /// # Errors
    /// [`Error::FileUnreadable`], [`Error::FileTooLarge`], [`Error::UnknownContact`].
    pub async fn send_file(
        &self,
        contact: ContactId,
        path: impl AsRef<Path>,
    ) -> Result<MessageId, Error> {
        let _ = (contact, path.as_ref());
        skeleton()
    }

    /// A message of the history.
    ///
    /// # Errors
    /// [`Error::UnknownMessage`].
    pub async fn message(&self, id: MessageId) -> Result<Message, Error> {
        let _ = id;
        skeleton()
    }

    /// Waits until an outgoing message has come at least as far as `state`. The network has to be
    /// driven meanwhile, by [`Client::start`] or [`Client::sync`].
    ///
    /// # Errors
    /// [`Error::Timeout`]; [`Error::MailboxFull`], [`Error::AddressUnknown`] or
    /// [`Error::RelayRefused`] if a relay refused the last attempt (the message is kept and tried
    /// again); [`Error::MessageFailed`] if it can't be sent at all.
    pub async fn wait(
        &self,
        id: MessageId,
        state: MessageState,
        timeout: Duration,
    ) -> Result<Message, Error> {
        let _ = (id, state, timeout);
        skeleton()
    }

    /// One pass: connects, receives all that is waiting, sends all that is queued, and returns
    /// when there is nothing left to do.
    ///
    /// # Errors
    /// [`Error::Unreachable`], [`Error::RelayPinMismatch`] and what else concerns this profile's
    /// own relay. A contact's relay that fails is counted in the report.
    pub async fn sync(&self) -> Result<SyncReport, Error> {
        skeleton()
    }

    /// Stays connected in the background until the client is closed: receives and sends as it
    /// comes, and reconnects with growing, jittered pauses. Calling it again changes nothing.
    ///
    /// # Errors
    /// [`Error::Offline`] if the client was opened offline.
    pub fn start(&self) -> Result<(), Error> {
        skeleton()
    }

    /// Reads the event log under a name; see [`Events`].
    #[must_use]
    pub fn events(&self, cursor: &str) -> Events {
        Events::new(self.clone(), cursor.to_owned())
    }

    /// The last `limit` messages with a contact, oldest first; with `before`, the last ones before
    /// that place in the history ([`Message::seq`]).
    ///
    /// # Errors
    /// [`Error::UnknownContact`].
    pub async fn history(
        &self,
        contact: ContactId,
        before: Option<u64>,
        limit: usize,
    ) -> Result<Vec<Message>, Error> {
        let _ = (contact, before, limit);
        skeleton()
    }

    /// What to compare with a contact.
    ///
    /// # Errors
    /// [`Error::UnknownContact`].
    pub async fn safety_number(&self, contact: ContactId) -> Result<SafetyNumberView, Error> {
        let _ = contact;
        skeleton()
    }

    /// Records that the safety numbers were compared and are the same.
    ///
    /// # Errors
    /// [`Error::UnknownContact`].
    pub async fn mark_verified(&self, contact: ContactId) -> Result<Contact, Error> {
        let _ = contact;
        skeleton()
    }

    /// Ends everything that runs for this client and closes the store. Other handles answer
    /// [`Error::Closed`] from then on.
    pub async fn close(self) {}
}
