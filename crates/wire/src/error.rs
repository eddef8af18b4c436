//! Stable error codes: what a relay answers instead of a response.

use core::fmt;

use serde::de::{Deserialize, Deserializer};
use serde::ser::{Serialize, Serializer};

macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident = $number:literal, $slug:literal, $text:literal;)*) => {
        /// Why a relay refused a request. The number is stable and is what travels (a varint).
        #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
        #[non_exhaustive]
        pub enum ErrorCode {
            $($(#[$doc])* $name,)*
            /// A code that this version does not know.
            Other(u16),
        }

        impl ErrorCode {
            /// Every code that this version knows, in the order of the numbers.
            pub const ALL: &[Self] = &[$(Self::$name,)*];

            /// The stable number.
            #[must_use]
            pub const fn number(self) -> u16 {
                match self { $(Self::$name => $number,)* Self::Other(n) => n }
            }

            /// The code with that number.
            #[must_use]
            pub const fn from_number(number: u16) -> Self {
                match number { $($number => Self::$name,)* n => Self::Other(n) }
            }

            /// A stable name for programs.
            #[must_use]
            pub const fn slug(self) -> &'static str {
                match self { $(Self::$name => $slug,)* Self::Other(_) => "other" }
            }

            /// One sentence that says what to do.
            #[must_use]
            pub const fn sentence(self) -> &'static str {
                match self {
                    $(Self::$name => $text,)*
                    Self::Other(_) => "The relay refused with a code that this version does not know; update the client.",
                }
            }
        }
    };
}

codes! {
    /// The message is not a frame of this protocol. The relay closes the connection after it.
    Malformed = 1, "malformed", "The relay could not read the request; client and relay may speak different versions.";
    /// No such thing for the holder of this key or capability: never made, revoked and deleted are
    /// one and the same.
    Unknown = 2, "unknown", "The relay does not know this mailbox, capability, depot or blob; it may have been deleted.";
    /// A signature does not verify for this connection.
    BadSignature = 3, "bad-signature", "The relay refused a signature; reconnect and sign the request again.";
    /// The admission token is missing, unknown or revoked.
    NotAdmitted = 4, "not-admitted", "The relay did not accept the admission token; ask its operator for a join address.";
    /// The quota of the admission token's class is used up.
    QuotaExceeded = 5, "quota-exceeded", "The quota of this admission token is used up; delete something or ask the operator for more.";
    /// The mailbox holds as much as it may.
    MailboxFull = 6, "mailbox-full", "The recipient's mailbox is full; deliver again when the recipient has fetched messages.";
    /// The envelope's size is not one of the few that there are.
    BadSize = 7, "bad-size", "An envelope or bundle has a size that the protocol does not know.";
    /// A bound on the number of things was reached.
    LimitReached = 8, "limit-reached", "A limit of the relay was reached; use fewer capabilities, mailboxes or streams.";
    /// An acknowledgement of something that was never in the mailbox.
    FloorAhead = 9, "floor-ahead", "The acknowledgement is ahead of the mailbox; the relay may have been restored from a backup.";
    /// The request names another incarnation of the relay.
    OtherIncarnation = 10, "other-incarnation", "The relay was restored since; ask for the mailbox's status and begin again from there.";
    /// Acknowledged without having subscribed on this connection.
    NotSubscribed = 11, "not-subscribed", "Subscribe to the mailbox on this connection before acknowledging.";
    /// The same id with other content.
    Conflict = 12, "conflict", "Something else is stored under the same id; choose a new id.";
    /// The blob's bytes do not have the announced length or hash.
    BlobMismatch = 13, "blob-mismatch", "The uploaded bytes are not the announced ones; upload the blob again under a new id.";
    /// The blob is larger than this relay accepts.
    BlobTooLarge = 14, "blob-too-large", "The file is larger than this relay accepts.";
    /// The upload has not been completed.
    BlobIncomplete = 15, "blob-incomplete", "The upload is not complete yet; try again later.";
    /// Too many requests; nothing was done.
    Busy = 16, "busy", "The relay is busy; try again in a moment.";
    /// The relay is shutting down; nothing was done.
    ShuttingDown = 17, "shutting-down", "The relay is shutting down; connect again in a moment.";
    /// The relay has no room; nothing was stored.
    StorageFull = 18, "storage-full", "The relay has no room left; try again later or tell its operator.";
    /// Something failed inside the relay; nothing was done.
    Internal = 19, "internal", "The relay failed; try again later or tell its operator.";
    /// The relay found stored bytes damaged and does not serve them.
    Damaged = 20, "damaged", "The relay found this damaged in its store and does not serve it; tell its operator.";
    /// Not supported by this relay.
    Unsupported = 21, "unsupported", "This relay does not support the request.";
    /// A subscription ticket that this relay did not issue, or that is no longer good.
    TicketRefused = 22, "ticket-refused", "The subscription ticket is no longer good; subscribe with the mailboxes' keys.";
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.sentence())
    }
}

impl std::error::Error for ErrorCode {}

impl Serialize for ErrorCode {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u16(self.number())
    }
}

impl<'de> Deserialize<'de> for ErrorCode {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        u16::deserialize(deserializer).map(Self::from_number)
    }
}
