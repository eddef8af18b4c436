//! What can be wrong with a message, and with a stored session.

use core::fmt;

/// Why an envelope was not opened. The session is unchanged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum OpenError {
    /// its length is none that an envelope can have.
    Size,
    /// no header key of this session opens it.
    NotForThisSession,
    /// its header sets a flag that is not defined.
    HeaderFlags,
    /// its ratchet key is not canonical or of low order.
    RatchetKey,
    /// it contradicts what this peer sent before.
    PeerRolledBack(RollbackSign),
    /// more than [`MAX_SKIP`](crate::bounds::MAX_SKIP) messages are
    /// missing before it.
    GapTooLarge,
    /// this very message was received before.
    Duplicate,
    /// its key is gone: received long ago, or dropped by a bound.
    KeyGone,
    /// its body does not open; anybody on the way can cause that.
    BodyAltered,
    /// its number is the last that fits, which is never sent.
    NumberExhausted,
    /// the content's length goes beyond the body.
    ContentLength,
    /// a smaller bucket would have held the content.
    NotSmallestBucket,
    /// the padding is not zero.
    Padding,
    /// a run of pieces breaks its layout.
    Piece,
    /// a complete encapsulation key fails the modulus check.
    EncapsulationKey,
}

/// How it shows that one side was rolled back to an older state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RollbackSign {
    /// a chain's ratchet key, previous length, epoch or epoch tag
    /// differs within the chain.
    ChainConstants,
    /// another header at a position that was received.
    Position,
    /// a new chain says that the previous one was shorter than what
    /// was received of it.
    PreviousLength,
    /// a position beyond the end that was announced.
    BeyondEnd,
    /// a new chain repeats the ratchet key of the current one.
    RepeatedKey,
    /// a new chain's epoch or epoch tag is none that can follow.
    Epoch,
}

impl OpenError {
    /// The number of the rule in `protocol-spec/`.
    pub const fn code(self) -> &'static str {
        match self {
            Self::Size => "R-701",
            Self::NotForThisSession => "R-501",
            Self::HeaderFlags => "R-502",
            Self::RatchetKey => "R-503",
            Self::PeerRolledBack(sign) => sign.code(),
            Self::GapTooLarge => "R-510",
            Self::Duplicate => "R-511",
            Self::KeyGone => "R-512",
            Self::BodyAltered => "R-513",
            Self::NumberExhausted => "R-514",
            Self::ContentLength => "R-702",
            Self::NotSmallestBucket => "R-703",
            Self::Padding => "R-704",
            Self::Piece => "R-601",
            Self::EncapsulationKey => "R-602",
        }
    }

    /// Whether the session should be begun anew over a reset link: for what an
    /// opened header says and a session can't recover from. Junk never gets
    /// here. Who caused it is not known: the peer, one's own loss of state, a
    /// relay that withheld messages, or the holder of an old copy of a state
    /// (`protocol-spec/05-double-ratchet.md`, section 8).
    pub const fn is_reason_for_reset(self) -> bool {
        matches!(self, Self::GapTooLarge | Self::PeerRolledBack(_))
    }

    /// Whether a header or a body opened under the session's keys before this
    /// was found, so that it is no junk: nothing to park and try again.
    /// [`BodyAltered`](Self::BodyAltered) is one of these: the header is the
    /// peer's, the body may be anybody's.
    pub const fn is_behind_a_header(self) -> bool {
        match self {
            Self::Size | Self::NotForThisSession => false,
            Self::KeyGone
            | Self::BodyAltered
            | Self::Duplicate
            | Self::HeaderFlags
            | Self::RatchetKey
            | Self::PeerRolledBack(_)
            | Self::GapTooLarge
            | Self::NumberExhausted
            | Self::ContentLength
            | Self::NotSmallestBucket
            | Self::Padding
            | Self::Piece
            | Self::EncapsulationKey => true,
        }
    }
}

impl RollbackSign {
    /// The number of the rule in `protocol-spec/05-double-ratchet.md`.
    pub const fn code(self) -> &'static str {
        match self {
            Self::ChainConstants => "R-504",
            Self::Position => "R-505",
            Self::PreviousLength => "R-506",
            Self::BeyondEnd => "R-507",
            Self::RepeatedKey => "R-508",
            Self::Epoch => "R-509",
        }
    }
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = match self {
            Self::Size => "no envelope has this length",
            Self::NotForThisSession => "the envelope is not of this session",
            Self::HeaderFlags => "the header sets an unknown flag",
            Self::RatchetKey => "the header's ratchet key is not a valid key",
            Self::PeerRolledBack(_) => "the peer was rolled back to an older state",
            Self::GapTooLarge => "too many messages are missing before this one",
            Self::Duplicate => "the message was received before",
            Self::KeyGone => "the message's key is gone: it was received, or came too late",
            Self::BodyAltered => "the message was altered on the way",
            Self::NumberExhausted => "the chain has no further number",
            Self::ContentLength => "the content is longer than the message",
            Self::NotSmallestBucket => "the message is larger than it has to be",
            Self::Padding => "the padding is not zero",
            Self::Piece => "a piece of the post-quantum ratchet is damaged",
            Self::EncapsulationKey => "the peer's encapsulation key is not a valid key",
        };
        write!(f, "{text} ({})", self.code())
    }
}

impl core::error::Error for OpenError {}

impl From<crate::codec::Unreadable> for OpenError {
    fn from(_: crate::codec::Unreadable) -> Self {
        Self::Size
    }
}

/// Why a message was not sealed. The session is unchanged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SealError {
    /// the content exceeds [`MAX_CONTENT`](crate::bounds::MAX_CONTENT)
    /// bytes: send it as an attachment.
    ContentTooLong,
    /// the chain has no further number; the peer has to answer first.
    NumberExhausted,
    /// the peer's ratchet key gave all zero.
    RatchetKey,
    /// the responder's session has received nothing yet.
    NothingReceived,
}

impl SealError {
    /// The number of the rule in `protocol-spec/`.
    pub const fn code(self) -> &'static str {
        match self {
            Self::ContentTooLong => "R-705",
            Self::NumberExhausted => "R-514",
            Self::RatchetKey => "R-503",
            Self::NothingReceived => "R-515",
        }
    }
}

impl fmt::Display for SealError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = match self {
            Self::ContentTooLong => "the content is too long for a message: send an attachment",
            Self::NumberExhausted => "too many messages without an answer",
            Self::RatchetKey => "the peer's ratchet key is not a valid key",
            Self::NothingReceived => "nothing was received in this session yet",
        };
        write!(f, "{text} ({})", self.code())
    }
}

impl core::error::Error for SealError {}

/// Why a stored session was not read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum StateError {
    /// R-1001: the stored form has a version that this code does not know.
    Version(u16),
    /// R-1002: the bytes end early, go on too long, or break the layout.
    Unreadable,
    /// R-1003: a count exceeds its bound.
    Bound,
    /// R-1004: a key in it is not a valid key.
    Key,
}

impl StateError {
    /// The number of the rule in `protocol-spec/10-state.md`.
    pub const fn code(self) -> &'static str {
        match self {
            Self::Version(_) => "R-1001",
            Self::Unreadable => "R-1002",
            Self::Bound => "R-1003",
            Self::Key => "R-1004",
        }
    }
}

impl fmt::Display for StateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Version(version) => {
                write!(f, "the session was stored by another version ({version}): update first")?;
            }
            Self::Unreadable => f.write_str("the stored session is damaged")?,
            Self::Bound => f.write_str("the stored session exceeds a bound")?,
            Self::Key => f.write_str("the stored session holds an invalid key")?,
        }
        write!(f, " ({})", self.code())
    }
}

impl core::error::Error for StateError {}

impl From<crate::codec::Unreadable> for StateError {
    fn from(_: crate::codec::Unreadable) -> Self {
        Self::Unreadable
    }
}
