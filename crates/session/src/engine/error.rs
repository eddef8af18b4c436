//! What the engine refuses.

use core::fmt;

use undertone_core::{BundleError, HandshakeError, IdentityError, SealError};

use crate::backup::BackupError;
use crate::content::ContentError;
use crate::ids::ContactId;
use crate::store::StoreError;

/// Why the engine refused. Nothing was changed.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum EngineError {
    /// The store failed.
    Store(StoreError),
    /// The store has no profile.
    ProfileAbsent,
    /// The store has one already.
    ProfileExists,
    /// The store was written by a newer version.
    SchemaTooNew {
        /// Its version.
        found: u32,
        /// The newest that is known here.
        known: u32,
    },
    /// A name can't be used.
    NameInvalid {
        /// Why, in a sentence.
        reason: &'static str,
    },
    /// No contact has this name, number or fingerprint.
    UnknownContact,
    /// Several contacts fit.
    AmbiguousContact(Vec<(ContactId, String)>),
    /// The contact is blocked.
    ContactBlocked,
    /// Nothing of the kind that is to be decided about is waiting.
    NothingToDecide,
    /// No file of this message is to be fetched or stored.
    NoTransfer,
    /// No message has this id.
    UnknownMessage,
    /// The message is a contact's: its author alone may edit it or take it back.
    NotYours,
    /// The message can't be changed so.
    NotChangeable {
        /// Why, in a few words.
        reason: &'static str,
    },
    /// A cursor into the event log can't be opened.
    CursorInvalid {
        /// Why, in a sentence.
        reason: &'static str,
    },
    /// No link has this number, or it is not in the state that the call needs.
    UnknownLink,
    /// The link is this profile's own.
    OwnLink,
    /// What stands in the depot is not from the link's maker.
    Bundle(BundleError),
    /// A device list is invalid, older than a known one, or forked.
    Identity(IdentityError),
    /// A handshake failed.
    Handshake(HandshakeError),
    /// A message can't be sealed.
    Seal(SealError),
    /// Content can't be encoded.
    Content(ContentError),
    /// A backup can't be taken up.
    Backup(BackupError),
    /// A text is empty.
    EmptyText,
    /// Content is longer than an envelope holds.
    TooLong {
        /// Its length in bytes.
        length: usize,
        /// The longest.
        max: usize,
    },
    /// A file is larger than can be sent.
    FileTooLarge {
        /// Its size in bytes.
        size: u64,
        /// The largest, in bytes.
        max: u64,
    },
}

impl fmt::Display for EngineError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Store(error) => error.fmt(f),
            Self::ProfileAbsent => f.write_str("the store has no profile: create one first"),
            Self::ProfileExists => f.write_str("the store has a profile already"),
            Self::SchemaTooNew { found, known } => write!(
                f,
                "the store is of version {found}, this program knows up to {known}: update it"
            ),
            Self::NameInvalid { reason } => f.write_str(reason),
            Self::UnknownContact => f.write_str("there is no such contact"),
            Self::AmbiguousContact(_) => f.write_str("several contacts fit: use the number"),
            Self::ContactBlocked => f.write_str("the contact is blocked: unblock them first"),
            Self::NothingToDecide => f.write_str("there is nothing to decide about"),
            Self::NoTransfer => f.write_str("there is no such file on its way"),
            Self::UnknownMessage => f.write_str("there is no such message"),
            Self::NotYours => f.write_str("the message is not your own"),
            Self::NotChangeable { reason } => write!(f, "the message can't be changed: {reason}"),
            Self::CursorInvalid { reason } => f.write_str(reason),
            Self::UnknownLink => f.write_str("there is no such link"),
            Self::OwnLink => f.write_str("the link is your own: give it to somebody else"),
            Self::Bundle(error) => error.fmt(f),
            Self::Identity(error) => error.fmt(f),
            Self::Handshake(error) => error.fmt(f),
            Self::Seal(error) => error.fmt(f),
            Self::Content(error) => error.fmt(f),
            Self::Backup(error) => error.fmt(f),
            Self::EmptyText => f.write_str("the text is empty"),
            Self::TooLong { length, max } => {
                write!(f, "the message has {length} bytes, {max} can be sent")
            }
            Self::FileTooLarge { max, .. } => write!(f, "files of up to {max} bytes can be sent"),
        }
    }
}

impl core::error::Error for EngineError {}

macro_rules! from {
    ($($error:ty => $variant:ident),*) => {$(
        impl From<$error> for EngineError {
            fn from(error: $error) -> Self {
                Self::$variant(error)
            }
        }
    )*};
}

from!(
    StoreError => Store,
    BundleError => Bundle,
    IdentityError => Identity,
    HandshakeError => Handshake,
    SealError => Seal,
    ContentError => Content,
    BackupError => Backup
);
