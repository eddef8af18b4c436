//! What happens, in a durable log that applications read with named cursors.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::codec::{contact_id, event_seq, message_id};
use crate::contact::AccountId;
use crate::ids::{ContactId, EventSeq, MessageId};
use crate::message::{Direction, MessageState};

/// One thing that happened.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Event {
    /// Its place in the log. Larger is later, and no place is used twice.
    #[serde(with = "event_seq")]
    pub seq: EventSeq,
    /// What happened.
    pub kind: EventKind,
    /// The message that it is about, as it is in the history when the event is read: not stored with
    /// it. Absent if it is about none, or the message is gone by now.
    #[serde(skip)]
    pub message: Option<EventMessage>,
}

/// Where the message is that an event is about.
///
/// ```
/// use undertone_session::event::EventMessage;
/// use undertone_session::ids::ContactId;
/// use undertone_session::message::Direction;
///
/// let about = EventMessage { contact: ContactId::new(1), direction: Direction::Outgoing, seq: 12 };
/// println!("message {} to contact {}", about.seq, about.contact);
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct EventMessage {
    /// With whom.
    pub contact: ContactId,
    /// Who wrote it.
    pub direction: Direction,
    /// Its place in the history ([`Message::seq`](crate::message::Message::seq)).
    pub seq: u64,
}

/// A reader of the log, under its name.
///
/// ```
/// use undertone_session::event::CursorView;
/// use undertone_session::ids::EventSeq;
///
/// let bot = CursorView { name: "bot".into(), place: EventSeq::new(40), behind: 2 };
/// println!("{} acknowledged event {}, {} are waiting", bot.name, bot.place, bot.behind);
/// ```
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CursorView {
    /// Its name.
    pub name: String,
    /// The last event that it acknowledged.
    pub place: EventSeq,
    /// How many events it is behind, at most: some may be gone with a contact.
    pub behind: u64,
}

/// A contact is writing, or has stopped. Not an event: it is not stored, and worth nothing a moment
/// later. Who has not said so again within [`TYPING_SECONDS`] has stopped.
///
/// ```
/// use undertone_session::event::Typing;
/// use undertone_session::ids::ContactId;
///
/// let heard = Typing { contact: ContactId::new(1), active: true };
/// println!("{} {}", heard.contact, if heard.active { "writes" } else { "has stopped" });
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Typing {
    /// Who.
    pub contact: ContactId,
    /// Whether they are writing.
    pub active: bool,
}

/// How long word that somebody is writing holds, in seconds.
pub const TYPING_SECONDS: u64 = 10;

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
    /// The contact started it, and did not say why.
    ByContact,
    /// The contact started it, because their store is older than what it has acknowledged.
    TheirStateLost,
    /// The contact started it, because this profile's store seems older than what it has sent.
    TheySawUsRolledBack,
    /// The contact started it, because too many of our messages are missing there.
    TheyMissTooMany,
    /// The person here used a new link of the contact.
    NewLink,
}

/// What happened.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[non_exhaustive]
pub enum EventKind {
    /// A message came and is in the history. It may be gone from there by the time this is read:
    /// erased, or disappeared when its time had come. There is nothing to do then but to acknowledge.
    MessageReceived {
        /// From whom.
        #[serde(with = "contact_id")]
        contact: ContactId,
        /// Which.
        #[serde(with = "message_id")]
        id: MessageId,
    },
    /// An outgoing message came further, or failed. States may be skipped (one that was read need
    /// not have been told of as delivered), and messages change in any order. That a message is held
    /// up is not told: see [`Message::hold`](crate::message::Message::hold).
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
    /// There is a new contact: they used a link of ours, or we used theirs. Also for those whom
    /// this profile added.
    ContactAdded {
        /// Who.
        #[serde(with = "contact_id")]
        contact: ContactId,
        /// True if they wrote first.
        by_them: bool,
    },
    /// A contact said what they call themselves, for the first time or anew. What the person here
    /// calls them stays, if they were given a name here.
    ContactRenamed {
        /// Who.
        #[serde(with = "contact_id")]
        contact: ContactId,
        /// The name that they give.
        name: String,
    },
    /// Somebody used a link, or one of its bundles, a second time: the link may have been
    /// intercepted. Nothing was accepted from the second user. Told once for each bundle, since
    /// whoever has the link can do it at will.
    LinkUsedTwice {
        /// What the link was called here.
        label: Option<String>,
    },
    /// A file is on its way, here or to the contact: told about every tenth part. Like all events it
    /// stays in the log, so that a program which was away is given progress that is long past; what
    /// counts is the message's state, and
    /// [`FileInfo::path`](crate::message::FileInfo::path). Whose file it is, and whether it comes or
    /// goes, is in [`Event::message`]; in the rare case that files of the same length have the same id
    /// (contacts choose those of what they send), it is absent there.
    FileProgress {
        /// The message that it belongs to.
        #[serde(with = "message_id")]
        id: MessageId,
        /// Bytes of ciphertext done.
        done: u64,
        /// Bytes of ciphertext in all: more than the file's own
        /// [`size`](crate::message::FileInfo::size). Good for a share, `done` of `total`.
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
        /// Where it is: in the profile's directory, from where it goes with its message. Copy what
        /// is to stay, and leave the file itself there.
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
    /// The session with a contact started anew: begun here, or by them. What was not known to be
    /// delivered is sent again.
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
    /// A message is gone from the history: its timer ran out, or the person here erased it.
    MessageErased {
        /// With whom.
        #[serde(with = "contact_id")]
        contact: ContactId,
        /// Which.
        #[serde(with = "message_id")]
        id: MessageId,
        /// Who had written it.
        direction: Direction,
    },
    /// Content that no state was kept for: only in logs that earlier versions wrote. The bytes are
    /// those of `protocol-spec/09-content.md`.
    Other {
        /// From whom.
        #[serde(with = "contact_id")]
        contact: ContactId,
        /// The kind's number.
        kind: u32,
        /// The whole content.
        content: Vec<u8>,
    },
    /// The session with a contact has to start anew and can't: they gave no reset link, or their
    /// relay does not have what is behind it. Meet again over a new link.
    ResetStalled {
        /// With whom.
        #[serde(with = "contact_id")]
        contact: ContactId,
        /// Why it has to.
        cause: ResetCause,
    },
    /// After a reset, messages to a verified contact wait for a word of the person here before they
    /// are sent again.
    ResendNeedsConsent {
        /// To whom.
        #[serde(with = "contact_id")]
        contact: ContactId,
        /// How many.
        count: u64,
    },
    /// Somebody with another account key calls over what only this contact was given. Nothing was
    /// accepted: ask the contact, by another way, whether they have a new account.
    KeyChanged {
        /// Whose.
        #[serde(with = "contact_id")]
        contact: ContactId,
        /// The other account's fingerprint.
        account: AccountId,
    },
    /// Another program subscribed to the mailboxes of this profile: a copy of it runs somewhere.
    /// This one has stopped.
    Superseded,
    /// A file came with a message and is not fetched by itself: it is too large, or enough was fetched
    /// today. It is fetched when it is asked for.
    FileWaiting {
        /// From whom.
        #[serde(with = "contact_id")]
        contact: ContactId,
        /// The message that it belongs to.
        #[serde(with = "message_id")]
        id: MessageId,
        /// Its size in bytes, as its sender says.
        size: u64,
    },
    /// Somebody set, changed or took back their reaction to a message. Also for reactions of this
    /// profile.
    ReactionChanged {
        /// With whom.
        #[serde(with = "contact_id")]
        contact: ContactId,
        /// The message.
        #[serde(with = "message_id")]
        id: MessageId,
        /// Who wrote that message.
        direction: Direction,
        /// Who reacted.
        by: Direction,
        /// Their reaction now; absent if they took it back.
        emoji: Option<String>,
    },
    /// A message has another text: its author edited it, who may be this profile.
    MessageEdited {
        /// With whom.
        #[serde(with = "contact_id")]
        contact: ContactId,
        /// Which.
        #[serde(with = "message_id")]
        id: MessageId,
        /// Who wrote it, and has edited it.
        direction: Direction,
    },
    /// A message's author, who may be this profile, took it back: what it said is gone, here too.
    MessageDeleted {
        /// With whom.
        #[serde(with = "contact_id")]
        contact: ContactId,
        /// Which.
        #[serde(with = "message_id")]
        id: MessageId,
        /// Who wrote it, and has deleted it.
        direction: Direction,
    },
    /// New messages of a conversation disappear after another time, or stay.
    TimerChanged {
        /// With whom.
        #[serde(with = "contact_id")]
        contact: ContactId,
        /// Who set it.
        by: Direction,
        /// Seconds; 0 if messages stay.
        seconds: u32,
    },
    /// This cursor was so far behind that events had to go before it came: those of these places,
    /// both included. What they told of is still in history and contacts. Acknowledged like any
    /// other event, which lets the cursor go on behind the gap.
    EventsLost {
        /// The first that it did not see.
        #[serde(with = "event_seq")]
        first: EventSeq,
        /// The last.
        #[serde(with = "event_seq")]
        last: EventSeq,
    },
}

impl EventKind {
    /// The message that it names, if it names one fully.
    pub(crate) const fn message(&self) -> Option<(ContactId, MessageId, Direction)> {
        match self {
            Self::MessageReceived { contact, id }
            | Self::FileReceived { contact, id, .. }
            | Self::FileFailed { contact, id, .. }
            | Self::FileWaiting { contact, id, .. } => Some((*contact, *id, Direction::Incoming)),
            Self::MessageStateChanged { contact, id, .. } => {
                Some((*contact, *id, Direction::Outgoing))
            }
            Self::MessageErased { contact, id, direction }
            | Self::ReactionChanged { contact, id, direction, .. }
            | Self::MessageEdited { contact, id, direction }
            | Self::MessageDeleted { contact, id, direction } => Some((*contact, *id, *direction)),
            _ => None,
        }
    }

    /// The contact whom it is about, if it is about one.
    #[must_use]
    pub const fn contact(&self) -> Option<ContactId> {
        match self {
            Self::MessageReceived { contact, .. }
            | Self::MessageStateChanged { contact, .. }
            | Self::ContactAdded { contact, .. }
            | Self::ContactRenamed { contact, .. }
            | Self::FileReceived { contact, .. }
            | Self::FileFailed { contact, .. }
            | Self::FileWaiting { contact, .. }
            | Self::StoreRolledBack { contact }
            | Self::Reset { contact, .. }
            | Self::ContentRefused { contact, .. }
            | Self::MessageErased { contact, .. }
            | Self::ReactionChanged { contact, .. }
            | Self::MessageEdited { contact, .. }
            | Self::MessageDeleted { contact, .. }
            | Self::TimerChanged { contact, .. }
            | Self::Other { contact, .. }
            | Self::ResetStalled { contact, .. }
            | Self::ResendNeedsConsent { contact, .. }
            | Self::KeyChanged { contact, .. } => Some(*contact),
            Self::EnvelopeParked { contact: Some(contact) } => Some(ContactId::new(*contact)),
            Self::EnvelopeParked { contact: None }
            | Self::LinkUsedTwice { .. }
            | Self::FileProgress { .. }
            | Self::EventsLost { .. }
            | Self::Superseded => None,
        }
    }
}
