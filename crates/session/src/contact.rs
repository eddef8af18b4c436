//! Contacts as a person sees them.

use core::fmt;
use core::str::FromStr;

use data_encoding::{HEXLOWER, HEXLOWER_PERMISSIVE};
use serde::{Deserialize, Serialize};

use crate::ids::ContactId;

/// How the conversation with a contact stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[non_exhaustive]
pub enum ContactState {
    /// We wrote first and have no answer yet.
    Pending,
    /// Both sides have proved that they hold the session's keys.
    Active,
    /// The relay's record is ahead of this profile's store: the store was rolled back (restored
    /// from an old copy). Nothing is sealed for this contact until the session with them has started
    /// anew, which it does by itself if they can be reached.
    RolledBack,
    /// A new session has been started in the place of one that can't go on, and has no answer yet.
    Resetting,
    /// Nothing is received from them, and nothing can be sent to them.
    Blocked,
}

/// A person this profile talks with.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Contact {
    /// Its number in this profile.
    pub id: ContactId,
    /// What the person here calls them. Unless they were given a name here, what they call
    /// themselves; before they have said so, "contact" and their number.
    pub name: String,
    /// What they call themselves, once they have said so.
    pub profile_name: Option<String>,
    /// Fingerprint of their account key.
    pub account: AccountId,
    /// Whether the safety numbers were compared.
    pub verified: bool,
    /// How the conversation stands.
    pub state: ContactState,
    /// Seconds after which new messages of this conversation disappear; 0 if they stay.
    pub timer_seconds: u32,
}

/// Fingerprint of an account key, 32 bytes, written as 64 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct AccountId([u8; 32]);

impl AccountId {
    /// From the fingerprint's bytes.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// The first 12 digits, enough to tell accounts apart on a screen, never to authenticate one.
    #[must_use]
    pub fn short(&self) -> String {
        let mut text = self.to_string();
        text.truncate(12);
        text
    }
}

impl fmt::Display for AccountId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&HEXLOWER.encode(&self.0))
    }
}

/// The text is not the fingerprint of an account: 64 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ParseAccountIdError;

impl fmt::Display for ParseAccountIdError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an account is written as 64 hexadecimal digits")
    }
}

impl core::error::Error for ParseAccountIdError {}

impl FromStr for AccountId {
    type Err = ParseAccountIdError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let bytes = HEXLOWER_PERMISSIVE.decode(text.as_bytes()).map_err(|_| ParseAccountIdError)?;
        bytes.try_into().map(Self).map_err(|_| ParseAccountIdError)
    }
}

impl fmt::Debug for AccountId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "AccountId({})", self.short())
    }
}

/// What two people compare to verify each other.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SafetyNumberView {
    /// 60 digits in 12 groups of 5.
    pub digits: String,
    /// What the QR code holds.
    pub qr: Vec<u8>,
}
