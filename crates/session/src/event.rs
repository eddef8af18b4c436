//! What happens, in a durable log that applications read with named cursors.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::codec::{contact_id, event_seq, message_id};
use crate::ids::{ContactId, EventSeq, MessageId};
use crate::message::MessageState;

/// One thing that happened.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Event {
    /// Its place in the log.
    #[serde(with = "event_seq")]
    pub seq: EventSeq,
    /// What happened.
    pub kind: EventKind,
}

/// Why a session starts anew.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[non_exhaustive]
pub enum ResetCause {
    /// This profile's store is older than what it has already acknowledged.
    OwnStateLost,
    /// The contact's store is older than what it has already sent.
    PeerRolledBack,
    /// More messages are missing than can be made up for.
    GapTooLarge,
}

/// What happened.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[non_exhaustive]
pub enum EventKind {
    /// A message came and is in the history.
    MessageReceived {
        /// From whom.
        #[serde(with = "contact_id")]
        contact: ContactId,
        /// Which.
        #[serde(with = "message_id")]
        id: MessageId,
    },
    /// An outgoing message came further, or failed.
    MessageStateChanged {
        /// To whom.
        #[serde(with = "contact_id")]
        contact: ContactId,
        /// Which.
        #[serde(with = "message_id")]
        id: MessageId,
        /// Its state now.
        state: MessageState,
    },
    /// There is a new contact: they used a link of ours, or we used theirs.
    ContactAdded {
        /// Who.
        #[serde(with = "contact_id")]
        contact: ContactId,
        /// True if they wrote first.
        by_them: bool,
    },
    /// A contact changed what they call themselves.
    ContactRenamed {
        /// Who.
        #[serde(with = "contact_id")]
        contact: ContactId,
        /// The name that they give.
        name: String,
    },
    /// Somebody used a link, or one of its bundles, a second time: the link may have been
    /// intercepted. Nothing was accepted from the second user.
    LinkUsedTwice {
        /// What the link was called here.
        label: Option<String>,
    },
    /// A file is on its way.
    FileProgress {
        /// The message that it belongs to.
        #[serde(with = "message_id")]
        id: MessageId,
        /// Bytes of ciphertext done.
        done: u64,
        /// Bytes of ciphertext in all.
        total: u64,
    },
    /// A file is complete and verified.
    FileReceived {
        /// From whom.
        #[serde(with = "contact_id")]
        contact: ContactId,
        /// The message that it belongs to.
        #[serde(with = "message_id")]
        id: MessageId,
        /// Where it is.
        path: PathBuf,
    },
    /// A file can't be had: it is gone from the relay, or what came is not what was sent.
    FileFailed {
        /// From whom.
        #[serde(with = "contact_id")]
        contact: ContactId,
        /// The message that it belongs to.
        #[serde(with = "message_id")]
        id: MessageId,
        /// Why, in a sentence.
        reason: String,
    },
    /// The relay has acknowledged more than this store knows of: the store was restored from an
    /// old copy. Nothing more is sealed for this contact.
    StoreRolledBack {
        /// Whose conversation.
        #[serde(with = "contact_id")]
        contact: ContactId,
    },
    /// A session with a contact has to start anew.
    Reset {
        /// With whom.
        #[serde(with = "contact_id")]
        contact: ContactId,
        /// Why.
        cause: ResetCause,
    },
    /// An envelope came that no session opens; it is kept and tried again.
    EnvelopeParked {
        /// Whose mailbox it came in, if it is a contact's.
        contact: Option<u64>,
    },
    /// A contact sent something that opens and breaks its layout: a fault of their program.
    ContentRefused {
        /// From whom.
        #[serde(with = "contact_id")]
        contact: ContactId,
        /// The rule that it breaks (`protocol-spec/09-content.md`).
        code: String,
    },
    /// A contact is writing (true), or has stopped.
    Typing {
        /// Who.
        #[serde(with = "contact_id")]
        contact: ContactId,
        /// Whether they are.
        active: bool,
    },
    /// A contact reacted to a message, edited or deleted one: content of a kind that this version
    /// reads but keeps no state for. The bytes are those of `protocol-spec/09-content.md`.
    Other {
        /// From whom.
        #[serde(with = "contact_id")]
        contact: ContactId,
        /// The kind's number.
        kind: u32,
        /// The whole content.
        content: Vec<u8>,
    },
}
