//! What can be wrong with a bundle.

use core::fmt;

use crate::identity::IdentityError;

/// Why a prekey bundle, or a stored prekey, was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum BundleError {
    /// the sealed bundle has not exactly 4,096 bytes.
    Length,
    /// it does not open with this link's card key.
    NotSealedForThisLink,
    /// the layout is broken, or the padding is not zero.
    Unreadable,
    /// its X25519 prekey is not canonical.
    InvalidDhKey,
    /// its ML-KEM-1024 key fails the modulus check.
    InvalidKemKey,
    /// the signature by the device key does not verify.
    Signature,
    /// it expired.
    Expired,
    /// its account is not the one that the link names.
    OtherAccount,
    /// it is valid for longer than a bundle may be.
    Lifetime,
    /// a prekey was stored by another version.
    Version,
    /// Its device list is invalid.
    Identity(IdentityError),
}

impl BundleError {
    /// The number of the rule in `protocol-spec/`.
    pub const fn code(self) -> &'static str {
        match self {
            Self::Length => "R-350",
            Self::NotSealedForThisLink => "R-351",
            Self::Unreadable => "R-352",
            Self::InvalidDhKey => "R-353",
            Self::InvalidKemKey => "R-354",
            Self::Signature => "R-355",
            Self::Expired => "R-356",
            Self::OtherAccount => "R-357",
            Self::Lifetime => "R-358",
            Self::Version => "R-359",
            Self::Identity(error) => error.code(),
        }
    }
}

impl fmt::Display for BundleError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = match self {
            Self::Length => "a prekey bundle has 4,096 bytes, this has not",
            Self::NotSealedForThisLink => "the prekey bundle was not sealed for this link",
            Self::Unreadable => "the prekey bundle is damaged",
            Self::InvalidDhKey => "the bundle's X25519 key is not a valid key",
            Self::InvalidKemKey => "the bundle's ML-KEM key is not a valid key",
            Self::Signature => "the prekey bundle is not signed by its device",
            Self::Expired => "the prekey bundle has expired: ask for a new link",
            Self::OtherAccount => "the prekey bundle is not from the account that the link names",
            Self::Lifetime => "the prekey bundle is valid for longer than 30 days",
            Self::Version => "the prekey was stored by another version: update first",
            Self::Identity(error) => return error.fmt(f),
        };
        write!(f, "{text} ({})", self.code())
    }
}

impl core::error::Error for BundleError {}

impl From<crate::codec::Unreadable> for BundleError {
    fn from(_: crate::codec::Unreadable) -> Self {
        Self::Unreadable
    }
}

impl From<IdentityError> for BundleError {
    fn from(error: IdentityError) -> Self {
        Self::Identity(error)
    }
}
