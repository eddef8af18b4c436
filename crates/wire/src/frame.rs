//! Requests, replies and pushes: the frames of the control stream.
//!
//! A client opens one bidirectional stream, writes the byte [`StreamKind::Control`] and then
//! [`ClientFrame`]s; the relay answers on it with [`ServerFrame`]s. Requests are pipelined: replies
//! may come in any order and carry the request's id. Deliveries into one mailbox that are sent on
//! one connection are queued in the order in which they were sent.

use serde::{Deserialize, Serialize};

use crate::bytes::{Bounded, BoundedBytes};
use crate::error::ErrorCode;
use crate::ids::{
    AdmissionToken, BlobDeleteCapability, BlobId, Day, DepotId, DepotKey, FetchCapability, Floor,
    Incarnation, MailboxId, ReadKey, RequestId, Seq, SessionKey, Signature, TakeId,
    WriteCapability, WriteCapabilityHash,
};
use crate::limits::{
    ENVELOPE_SIZES, MAX_ACKS_PER_REQUEST, MAX_BUNDLES_PER_REQUEST, MAX_CAPABILITIES_PER_REQUEST,
    MAX_CREDIT, MAX_ENVELOPE, MAX_MAILBOXES_PER_REQUEST, MAX_MAILBOXES_PER_TICKET, MAX_MESSAGE,
    MAX_PADDING, MAX_TICKET, SEALED_BUNDLE,
};
use crate::padding::Padding;
use crate::ticket::{MAX_RESUME, SignedResume};

/// The first byte of every stream that a client opens.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum StreamKind {
    /// Requests, replies and pushes; one for each connection.
    Control = 1,
    /// One blob, up or down.
    Blob = 2,
}

impl StreamKind {
    /// The kind that this byte stands for, if any (R-1104).
    #[must_use]
    pub const fn from_byte(byte: u8) -> Option<Self> {
        match byte {
            1 => Some(Self::Control),
            2 => Some(Self::Blob),
            _ => None,
        }
    }

    /// The byte.
    #[must_use]
    pub const fn byte(self) -> u8 {
        self as u8
    }
}

/// Sealed bytes of one of [`ENVELOPE_SIZES`]; the relay cannot tell them from random ones.
pub type Envelope = BoundedBytes<MAX_ENVELOPE>;

/// A sealed prekey bundle of exactly [`SEALED_BUNDLE`] bytes.
pub type SealedBundle = BoundedBytes<SEALED_BUNDLE>;

/// Whether an envelope may have that many bytes (R-1110).
#[must_use]
pub fn is_envelope_size(length: usize) -> bool {
    ENVELOPE_SIZES.contains(&length)
}

/// Whether a sealed bundle may have that many bytes (R-1111).
#[must_use]
pub const fn is_bundle_size(length: usize) -> bool {
    length == SEALED_BUNDLE
}

/// Whether a subscription may ask for that much credit (R-1115).
#[must_use]
pub const fn is_credit(credit: u32) -> bool {
    credit != 0 && credit <= MAX_CREDIT
}

/// What a client writes on the control stream.
#[derive(PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct ClientFrame {
    /// Chosen by the client, not used before on this connection.
    pub id: RequestId,
    /// What is asked.
    pub request: Request,
}

impl ClientFrame {
    /// How long a frame can be that begins with these bytes (R-1107); 0 if it is none. It is asked
    /// before a message is read, so that no more is kept for it than its kind can need.
    #[must_use]
    pub fn bound(head: &[u8]) -> usize {
        // The request id ends with the first byte that has no high bit; then comes the kind.
        let id = head.iter().take_while(|byte| **byte >= 0x80).count().saturating_add(1);
        let content = match head.get(id) {
            Some(0) => MAX_MESSAGE,
            Some(1) => 32 + LONGEST_VARINT + MAX_ENVELOPE,
            Some(2) => 32 + 16,
            Some(3) => LONGEST_VARINT + MAX_ACKS_PER_REQUEST * (32 + 16 + LONGEST_VARINT),
            Some(4) => 32 + 32,
            Some(5) => 32 + LONGEST_VARINT + 32 * MAX_MAILBOXES_PER_TICKET,
            Some(6) => LONGEST_VARINT + MAX_RESUME + 64,
            Some(7) => LONGEST_VARINT + MAX_PADDING,
            _ => return 0,
        };
        content.saturating_add(id).saturating_add(1).min(MAX_MESSAGE)
    }
}

/// Bytes of the longest varint, which a bound may take for a shorter one.
const LONGEST_VARINT: usize = 10;

/// What a client asks.
#[derive(PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Request {
    /// An owner's operation with its signatures.
    Owner(SignedRequest),
    /// Puts an envelope into the mailbox that the capability stands for. Idempotent: an envelope
    /// that is still queued, or was among the mailbox's last 64, is accepted and not queued again.
    /// Answered by [`Response::Done`] once it is on stable storage.
    Deliver {
        /// Whoever holds it may write.
        capability: WriteCapability,
        /// What is delivered; its size must be one of [`ENVELOPE_SIZES`].
        envelope: Envelope,
    },
    /// Takes a prekey bundle. Answered by [`Response::Prekey`]; the same take id gets the same
    /// answer again as long as no other take has come between.
    TakePrekey {
        /// Derived from the link's secret.
        fetch: FetchCapability,
        /// Random, and the same in every repetition of this take.
        take: TakeId,
    },
    /// Everything up to a position has been stored by the client and may go. Needs a subscription
    /// to the mailbox on this connection, which is where the owner has proved its key. Answered by
    /// [`Response::Done`] when all floors are on stable storage.
    Acknowledge(Bounded<Acknowledgement, MAX_ACKS_PER_REQUEST>),
    /// Deletes a blob. Answered by [`Response::Done`].
    DeleteBlob {
        /// The blob.
        blob: BlobId,
        /// Whoever holds it may delete.
        capability: BlobDeleteCapability,
    },
    /// Asks for a ticket for mailboxes that were subscribed to on this connection with their keys.
    /// Answered by [`Response::Ticket`].
    Ticket {
        /// What [`Request::Resume`] will be signed with; made for this ticket alone.
        session: SessionKey,
        /// The mailboxes, each once.
        mailboxes: Bounded<MailboxId, MAX_MAILBOXES_PER_TICKET>,
    },
    /// Subscribes to the mailboxes of a ticket. Answered by [`Response::Mailboxes`], in the order
    /// in which the ticket was asked for.
    Resume(SignedResume),
    /// Means nothing and is not answered: fills a record.
    Padding(Padding),
}

/// A sealed subscription ticket: only the relay that issued it can read it.
pub type SealedTicket = BoundedBytes<MAX_TICKET>;

/// An owner's operation, signed by each key that it names.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct SignedRequest {
    /// An [`OwnerRequest`], encoded. Signed as it stands and never encoded again.
    pub body: BoundedBytes<MAX_MESSAGE>,
    /// One signature for each key, in the order of [`OwnerOperation::keys`].
    pub signatures: Bounded<Signature, MAX_MAILBOXES_PER_REQUEST>,
}

/// What an owner signs.
#[derive(PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct OwnerRequest {
    /// Must be the frame's id (R-1112).
    pub id: RequestId,
    /// What is asked.
    pub operation: OwnerOperation,
}

/// What the owner of mailboxes or of a depot can ask. The index of the variant is the operation's
/// code in the signed bytes.
#[derive(PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum OwnerOperation {
    /// Makes a mailbox. If it exists already with the same owner, adds the capabilities and is
    /// answered alike, so that a repetition is harmless. Answered by [`Response::Mailboxes`].
    CreateMailbox {
        /// The owner's key; signs.
        key: ReadKey,
        /// What admits the owner to this relay.
        token: AdmissionToken,
        /// What kind of mailbox.
        kind: MailboxKind,
        /// Limits below the relay's own, if wanted.
        limits: Option<MailboxLimits>,
        /// The first write capabilities, hashed.
        capabilities: Bounded<WriteCapabilityHash, MAX_CAPABILITIES_PER_REQUEST>,
    },
    /// Changes a mailbox's limits. Answered by [`Response::Done`].
    SetLimits {
        /// The owner's key; signs.
        key: ReadKey,
        /// The new limits.
        limits: MailboxLimits,
    },
    /// Adds write capabilities; those that the mailbox has already stay. Answered by
    /// [`Response::Done`]; [`ErrorCode::Conflict`] if another mailbox has one of them.
    AddCapabilities {
        /// The owner's key; signs.
        key: ReadKey,
        /// Hashes of the new capabilities.
        capabilities: Bounded<WriteCapabilityHash, MAX_CAPABILITIES_PER_REQUEST>,
    },
    /// Revokes write capabilities; unknown ones are passed over. Answered by [`Response::Done`].
    RevokeCapabilities {
        /// The owner's key; signs.
        key: ReadKey,
        /// Hashes of the capabilities to revoke.
        capabilities: Bounded<WriteCapabilityHash, MAX_CAPABILITIES_PER_REQUEST>,
    },
    /// Has the envelopes of these mailboxes pushed on this connection, from their acknowledgement
    /// floors on, now and as they come. The last subscriber of a mailbox wins. May be repeated for
    /// more mailboxes. Answered by [`Response::Mailboxes`].
    Subscribe {
        /// The mailboxes, by their owners' keys, all of which sign.
        keys: Bounded<ReadKey, MAX_MAILBOXES_PER_REQUEST>,
        /// How many envelopes may be pushed and not yet acknowledged, in all, on this connection:
        /// 1 to [`crate::limits::MAX_CREDIT`]. The latest value holds.
        credit: u32,
    },
    /// Asks for floors and counters without subscribing. Answered by [`Response::Mailboxes`].
    Status {
        /// The mailboxes, by their owners' keys, all of which sign.
        keys: Bounded<ReadKey, MAX_MAILBOXES_PER_REQUEST>,
    },
    /// Deletes a mailbox with all it holds. Answered by [`Response::Done`].
    DeleteMailbox {
        /// The owner's key; signs.
        key: ReadKey,
    },
    /// Puts bundles into a depot, and makes it if there is none. Answered by [`Response::Depot`].
    /// Not idempotent by itself: ask for the status when an answer was lost.
    FillDepot {
        /// The owner's key; signs.
        key: DepotKey,
        /// Which depot.
        depot: DepotId,
        /// What admits the owner to this relay.
        token: AdmissionToken,
        /// How the new bundles relate to those that are there.
        mode: FillMode,
        /// One-time bundles, in the order in which they are handed out.
        one_time: Bounded<SealedBundle, MAX_BUNDLES_PER_REQUEST>,
        /// The bundle that is handed out when no one-time bundle is left. Absent for a single-use
        /// link. With [`FillMode::Add`], absent leaves the present one as it is.
        last_resort: Option<SealedBundle>,
        /// The day at whose end the depot goes; at most [`crate::limits::MAX_RETENTION_DAYS`] ahead.
        expires: Day,
    },
    /// Asks what a depot holds. Answered by [`Response::Depot`].
    DepotStatus {
        /// The owner's key; signs.
        key: DepotKey,
        /// Which depot.
        depot: DepotId,
    },
    /// Deletes a depot: its link is revoked. Answered by [`Response::Done`].
    DeleteDepot {
        /// The owner's key; signs.
        key: DepotKey,
        /// Which depot.
        depot: DepotId,
    },
}

/// What kind of mailbox. An enumeration from the start, for those to come.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub enum MailboxKind {
    /// One owner, envelopes in order, gone when acknowledged.
    Queue,
}

/// How much a mailbox may hold at a time.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct MailboxLimits {
    /// Number of envelopes; what is above the relay's limit counts as the relay's limit.
    pub envelopes: u32,
    /// Bytes of envelopes; likewise.
    pub bytes: u64,
}

/// How bundles that are put into a depot relate to those that are there.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum FillMode {
    /// Behind the one-time bundles that are there. Refused as [`ErrorCode::LimitReached`] if they
    /// would be more than [`crate::limits::DEPOT_BUNDLES`].
    Add,
    /// Instead of all that is there, the last-resort bundle included.
    Replace,
}

/// A mailbox and how far its owner has stored it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Acknowledgement {
    /// The mailbox.
    pub mailbox: MailboxId,
    /// The incarnation from which the envelopes came.
    pub incarnation: Incarnation,
    /// Everything up to here may go. A lower floor than the present one changes nothing.
    pub floor: Floor,
}

/// What a relay writes on the control stream.
#[derive(PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum ServerFrame {
    /// Answers a request.
    Reply {
        /// The request's id.
        id: RequestId,
        /// What it asked for, or why not.
        result: Result<Response, ErrorCode>,
    },
    /// Comes by itself, because of a subscription.
    Push(Push),
    /// Means nothing: fills a record.
    Padding(Padding),
}

impl ServerFrame {
    /// As [`ClientFrame::bound`], for what a relay writes.
    #[must_use]
    pub fn bound(head: &[u8]) -> usize {
        match head.first() {
            Some(0) => MAX_MESSAGE,
            Some(1) => 2 + 32 + 16 + 2 * LONGEST_VARINT + MAX_ENVELOPE,
            Some(2) => 1 + LONGEST_VARINT + MAX_PADDING,
            _ => 0,
        }
    }
}

/// What a relay answers.
#[derive(PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Response {
    /// It is done, and on stable storage where it changed anything.
    Done,
    /// One entry for each key of the request or mailbox of the ticket, in its order; `None` is a
    /// mailbox that this relay does not know (for subscribe, resume and status).
    Mailboxes(Bounded<Option<MailboxState>, MAX_MAILBOXES_PER_TICKET>),
    /// A prekey, or that there is none left.
    Prekey(PrekeyAnswer),
    /// What a depot holds.
    Depot(DepotState),
    /// A ticket, and for how many seconds it is good: at most
    /// [`crate::limits::TICKET_SECONDS`]. It ends sooner if the relay forgets its keys.
    Ticket {
        /// To be presented with [`Request::Resume`].
        ticket: SealedTicket,
        /// How long.
        seconds: u32,
    },
}

/// Floors and counters of a mailbox.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct MailboxState {
    /// What the numbers below belong to.
    pub incarnation: Incarnation,
    /// Highest position that the owner has acknowledged.
    pub acknowledged: Floor,
    /// Highest position that has expired. Positions between the acknowledged and the expired floor
    /// are lost: nobody came for them in time.
    pub expired: Floor,
    /// Position of the newest envelope that the mailbox ever had; 0 if none. Everything from the
    /// higher floor to here is in the mailbox.
    pub head: Floor,
    /// Bytes of envelopes in the mailbox.
    pub bytes: u64,
    /// The limits that hold.
    pub limits: MailboxLimits,
}

/// Answer to a holder of a link.
#[derive(PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum PrekeyAnswer {
    /// A bundle that nobody else has been or will be given.
    OneTime(SealedBundle),
    /// The bundle that everybody gets when no one-time bundle is left.
    LastResort(SealedBundle),
    /// The depot exists and is empty: for a single-use link, somebody has used it.
    UsedUp,
}

/// What a depot holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct DepotState {
    /// One-time bundles left.
    pub one_time: u32,
    /// Whether there is a last-resort bundle.
    pub last_resort: bool,
    /// The day at whose end the depot goes.
    pub expires: Day,
    /// The relay's incarnation: a restored relay has empty depots.
    pub incarnation: Incarnation,
}

/// What comes by itself.
#[derive(PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Push {
    /// An envelope; those of a mailbox come in order. Comes again on the next subscription until
    /// it is acknowledged.
    Envelope {
        /// Whose.
        mailbox: MailboxId,
        /// Scope of the position.
        incarnation: Incarnation,
        /// Its position.
        seq: Seq,
        /// The envelope.
        envelope: Envelope,
    },
    /// A stored envelope is damaged and is not served; it can be acknowledged like any other.
    Damaged {
        /// Whose.
        mailbox: MailboxId,
        /// Scope of the position.
        incarnation: Incarnation,
        /// Its position.
        seq: Seq,
    },
    /// Nothing more is pushed for this mailbox on this connection.
    Ended {
        /// Which.
        mailbox: MailboxId,
        /// Why.
        reason: EndReason,
    },
}

/// Why a subscription ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum EndReason {
    /// Another connection subscribed to the mailbox.
    Replaced,
    /// The mailbox was deleted.
    Deleted,
}
