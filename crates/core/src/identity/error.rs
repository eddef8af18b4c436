//! What can be wrong with an identity.

use core::fmt;

/// Why a key, a device list or a record was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum IdentityError {
    /// the bytes end early, go on too long, or break the layout.
    Unreadable,
    /// the account key is no valid Ed25519 key.
    InvalidAccountKey,
    /// no device, or more than [`MAX_DEVICES`](crate::bounds::MAX_DEVICES).
    DeviceCount,
    /// a device's signing or DH key is invalid.
    InvalidDeviceKey,
    /// one device stands twice in the list.
    DuplicateDevice,
    /// a device's certificate was not signed by the account key.
    CertificateSignature,
    /// the list was not signed by the account key.
    ListSignature,
    /// the list's counter is lower than one that was seen.
    LowerCounter,
    /// another list with the same counter was seen.
    ForkedList,
    /// the list belongs to another account than the one expected.
    OtherAccount,
    /// this device is not on the list.
    NotListed,
    /// an extension exceeds
    /// [`MAX_EXTENSION`](crate::bounds::MAX_EXTENSION) bytes.
    ExtensionTooLong,
    /// the counter can't rise any further.
    CounterExhausted,
}

impl IdentityError {
    /// The number of the rule in `protocol-spec/02-identity.md`.
    pub const fn code(self) -> &'static str {
        match self {
            Self::Unreadable => "R-201",
            Self::InvalidAccountKey => "R-202",
            Self::DeviceCount => "R-203",
            Self::InvalidDeviceKey => "R-204",
            Self::DuplicateDevice => "R-205",
            Self::CertificateSignature => "R-206",
            Self::ListSignature => "R-207",
            Self::LowerCounter => "R-208",
            Self::ForkedList => "R-209",
            Self::OtherAccount => "R-210",
            Self::NotListed => "R-211",
            Self::ExtensionTooLong => "R-212",
            Self::CounterExhausted => "R-213",
        }
    }
}

impl fmt::Display for IdentityError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = match self {
            Self::Unreadable => "the device list is damaged",
            Self::InvalidAccountKey => "the account key is not a valid key",
            Self::DeviceCount => "an account lists one to five devices",
            Self::InvalidDeviceKey => "a device key is not a valid key",
            Self::DuplicateDevice => "a device stands twice in the list",
            Self::CertificateSignature => "a device is not certified by its account",
            Self::ListSignature => "the device list is not signed by its account",
            Self::LowerCounter => "the device list is older than one already seen",
            Self::ForkedList => "two different device lists carry the same counter",
            Self::OtherAccount => "the device list belongs to another account",
            Self::NotListed => "this device is not on its account's list",
            Self::ExtensionTooLong => "a device's extension is too long",
            Self::CounterExhausted => "the device list's counter can't rise any further",
        };
        write!(f, "{text} ({})", self.code())
    }
}

impl core::error::Error for IdentityError {}

impl From<crate::codec::Unreadable> for IdentityError {
    fn from(_: crate::codec::Unreadable) -> Self {
        Self::Unreadable
    }
}
