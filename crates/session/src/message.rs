//! Messages as a person sees them: what history shows.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::ids::{ContactId, MessageId, UnixMillis};

/// Who wrote it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Direction {
    /// The contact.
    Incoming,
    /// This profile.
    Outgoing,
}

/// How far a message has come.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[non_exhaustive]
pub enum MessageState {
    /// On this machine's disk; goes out when the relay can be reached.
    Queued,
    /// The contact's relay has it on its disk.
    Accepted,
    /// The contact's program has it on its disk.
    Delivered,
    /// Outgoing: the contact has seen it, and says so. Incoming: the person here has seen it.
    Read,
    /// It was not fetched within the relay's retention.
    Expired,
    /// It can't be sent.
    Failed {
        /// Why, in a sentence.
        reason: String,
    },
    /// An incoming message, on this machine's disk.
    Received,
}

impl MessageState {
    /// How much is known of an outgoing message: a state gives way to one of a higher rank only.
    /// That nobody fetched a message is what is supposed after the retention, so that word of its
    /// arrival overrides it, and never the other way round.
    #[must_use]
    pub const fn rank(&self) -> u8 {
        match self {
            Self::Queued => 0,
            Self::Accepted => 1,
            Self::Expired => 2,
            Self::Delivered => 3,
            Self::Read => 4,
            Self::Failed { .. } | Self::Received => 5,
        }
    }
}

/// A file that came or goes with a message.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct FileInfo {
    /// What the sender calls it; for incoming files, text to show and nothing else.
    pub name: String,
    /// Bytes of content.
    pub size: u64,
    /// What the sender says it is (RFC 6838), or empty.
    pub media_type: String,
    /// Where it is on this machine: for an incoming file once it is complete and verified, for an
    /// outgoing one the path that was given.
    pub path: Option<PathBuf>,
    /// A text beside the file, or empty.
    pub caption: String,
}

/// What a message says.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[non_exhaustive]
pub enum MessageKind {
    /// A text.
    Text {
        /// The text.
        text: String,
    },
    /// A file.
    File(FileInfo),
    /// A message of an integrator's own kind.
    Custom {
        /// The kind's name.
        name: String,
        /// Its bytes.
        payload: Vec<u8>,
    },
    /// A kind that this version does not know, kept as it came.
    Unknown {
        /// The kind's number.
        kind: u32,
        /// Its bytes.
        payload: Vec<u8>,
    },
    /// Its author has taken it back: nothing of what it said is kept.
    Deleted,
}

/// A reaction that stands beside a message.
///
/// ```
/// use undertone_session::message::{Direction, MessageReaction};
///
/// let theirs = MessageReaction { by: Direction::Incoming, emoji: "👍".into() };
/// assert_eq!(theirs.by, Direction::Incoming);
/// ```
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct MessageReaction {
    /// Whose: the contact's (incoming) or one's own (outgoing). Each has at most one.
    pub by: Direction,
    /// The emoji. What contacts send is theirs to choose: any text of at most 64 bytes.
    pub emoji: String,
}

/// A message in the history.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Message {
    /// Its place in this profile's history: larger is later, as this machine saw it.
    pub seq: u64,
    /// The id that it carries.
    pub id: MessageId,
    /// With whom.
    pub contact: ContactId,
    /// Who wrote it.
    pub direction: Direction,
    /// What it says.
    pub kind: MessageKind,
    /// When the sender says that it was written.
    pub sent_at_claimed: UnixMillis,
    /// How far it has come.
    pub state: MessageState,
    /// Why an outgoing message has not gone out yet, if the last attempt was refused. No event tells
    /// of it: look when you show the message. [`Hold::code`] is a stable name.
    pub hold: Option<Hold>,
    /// When its author says that it was last edited, if it was; what it said before is not kept.
    pub edited_at_claimed: Option<UnixMillis>,
    /// Reactions to it.
    pub reactions: Vec<MessageReaction>,
    /// Seconds after which it disappears, counted from when it was read here (incoming) or accepted
    /// by the relay (outgoing); 0 if it stays.
    pub timer_seconds: u32,
    /// When it disappears from this machine, by this machine's clock; absent as long as its timer
    /// does not run.
    pub disappears_at: Option<UnixMillis>,
}

/// Why the contact's relay did not take a message; it stays queued and is tried again.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Hold {
    /// The contact's mailbox is full until they fetch.
    MailboxFull,
    /// The relay does not know the capability (any more): the contact has to give a new one.
    AddressUnknown,
    /// The relay refuses for the moment (rate limits, no space).
    RelayBusy,
    /// The relay that stores our files refuses the upload (quota of the token).
    UploadRefused,
    /// The contact's relay can't be reached.
    RelayUnreachable,
    /// What answers at the address of the contact's relay is another one.
    RelayPinMismatch,
    /// This profile is an old copy: nothing is sealed for the contact until the session with them
    /// has started anew.
    StoreRolledBack,
    /// It was on its way to a verified contact when the session with them started anew: the person
    /// here has to agree that it is sent again.
    ConsentNeeded,
}

impl Hold {
    /// Stable name.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::MailboxFull => "mailbox-full",
            Self::AddressUnknown => "address-unknown",
            Self::RelayBusy => "relay-busy",
            Self::UploadRefused => "upload-refused",
            Self::RelayUnreachable => "relay-unreachable",
            Self::RelayPinMismatch => "relay-pin-mismatch",
            Self::StoreRolledBack => "store-rolled-back",
            Self::ConsentNeeded => "consent-needed",
        }
    }
}
