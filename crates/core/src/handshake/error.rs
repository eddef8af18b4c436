//! What can be wrong with a handshake.

use core::fmt;

use crate::identity::IdentityError;
use crate::ratchet::OpenError;

/// Why a handshake was refused. Nothing has changed when this is returned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum HandshakeError {
    /// no sealed handshake of this link stands before the envelope.
    /// It may be an ordinary envelope of a session.
    NotSealedForThisLink,
    /// the ephemeral key is not canonical.
    InvalidEphemeral,
    /// an exchange gave all zero.
    LowOrder,
    /// it names another bundle than the one that was given.
    OtherBundle,
    /// the bundle expired longer ago than a relay may keep envelopes.
    Expired,
    /// the encrypted identity does not open: another bundle, another
    /// link or another transcript.
    IdentitySealed,
    /// the identity's layout is broken, or its padding is not zero.
    Unreadable,
    /// the initiator is this very device.
    Oneself,
    /// device list and reply route are larger than an identity block.
    TooLong,
    /// this very handshake was accepted before.
    Replayed,
    /// The device list is invalid, older or forked.
    Identity(IdentityError),
    /// The message inside does not open: R-501 and following.
    Message(OpenError),
}

impl HandshakeError {
    /// The number of the rule in `protocol-spec/`.
    pub const fn code(self) -> &'static str {
        match self {
            Self::NotSealedForThisLink => "R-401",
            Self::InvalidEphemeral => "R-402",
            Self::LowOrder => "R-403",
            Self::OtherBundle => "R-404",
            Self::Expired => "R-405",
            Self::IdentitySealed => "R-406",
            Self::Unreadable => "R-407",
            Self::Oneself => "R-408",
            Self::TooLong => "R-409",
            Self::Replayed => "R-410",
            Self::Identity(error) => error.code(),
            Self::Message(error) => error.code(),
        }
    }
}

impl fmt::Display for HandshakeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = match self {
            Self::NotSealedForThisLink => "no handshake of this link",
            Self::InvalidEphemeral => "the ephemeral key is not a valid key",
            Self::LowOrder => "a key of low order was offered",
            Self::OtherBundle => "the handshake names another prekey bundle",
            Self::Expired => "the prekey bundle of this handshake expired long ago",
            Self::IdentitySealed => "the initiator's identity does not open",
            Self::Unreadable => "the initiator's identity is damaged",
            Self::Oneself => "this link was made by this device: give it to somebody else",
            Self::TooLong => "device list and reply route are too long for a handshake",
            Self::Replayed => "this handshake was accepted before",
            Self::Identity(error) => return error.fmt(f),
            Self::Message(error) => return error.fmt(f),
        };
        write!(f, "{text} ({})", self.code())
    }
}

impl core::error::Error for HandshakeError {}

impl From<crate::codec::Unreadable> for HandshakeError {
    fn from(_: crate::codec::Unreadable) -> Self {
        Self::Unreadable
    }
}

impl From<IdentityError> for HandshakeError {
    fn from(error: IdentityError) -> Self {
        Self::Identity(error)
    }
}

impl From<crate::primitives::dh::LowOrder> for HandshakeError {
    fn from(_: crate::primitives::dh::LowOrder) -> Self {
        Self::LowOrder
    }
}
