//! The account key.

use alloc::boxed::Box;
use core::fmt;

use rand_core::CryptoRng;
use zeroize::Zeroizing;

use super::IdentityError;
use crate::label;
use crate::primitives::hash::sha256;
use crate::primitives::sign::{SIGNATURE, SignPublic, SignSecret};

/// The private half of an account: signs device certificates and the device
/// list, nothing else, so that it can be kept offline.
///
/// Boxed, so that a move leaves no copy.
#[derive(Debug)]
pub struct AccountSecret(Box<SignSecret>);

/// The public half of an account, 32 bytes: what a safety number compares.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AccountKey(SignPublic);

/// The SHA-256 fingerprint of an account key, as links carry it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AccountFingerprint([u8; 32]);

impl AccountSecret {
    /// A new account.
    pub fn generate(rng: &mut impl CryptoRng) -> Self {
        Self(SignSecret::boxed(|seed| rng.fill_bytes(seed)))
    }

    /// An account from its stored 32-byte seed.
    pub fn from_bytes(seed: &[u8; 32]) -> Self {
        Self(SignSecret::boxed(|secret| secret.copy_from_slice(seed)))
    }

    /// The 32-byte seed, for the encrypted store and for backups.
    pub fn to_bytes(&self) -> Zeroizing<[u8; 32]> {
        Zeroizing::new(*self.0.expose())
    }

    /// The public half.
    pub fn public(&self) -> AccountKey {
        AccountKey(self.0.public())
    }

    pub(crate) fn sign(&self, message: &[u8]) -> [u8; SIGNATURE] {
        self.0.sign(message)
    }
}

impl AccountKey {
    /// Takes an encoded key.
    ///
    /// # Errors
    /// [`IdentityError::InvalidAccountKey`] for anything but the canonical
    /// encoding of a point of the large group.
    pub fn from_bytes(bytes: &[u8; 32]) -> Result<Self, IdentityError> {
        SignPublic::from_bytes(bytes).map(Self).map_err(|_| IdentityError::InvalidAccountKey)
    }

    /// Its bytes.
    pub fn as_bytes(&self) -> &[u8; 32] {
        self.0.as_bytes()
    }

    /// `SHA-256("… account fingerprint" ‖ key)`.
    pub fn fingerprint(&self) -> AccountFingerprint {
        AccountFingerprint(sha256(label::ACCOUNT_FINGERPRINT, &[self.as_bytes()]))
    }

    pub(crate) fn verify(&self, message: &[u8], signature: &[u8; SIGNATURE]) -> bool {
        self.0.verify(message, signature).is_ok()
    }
}

impl AccountFingerprint {
    /// A fingerprint read from a link.
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// Its bytes.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

fn hex(f: &mut fmt::Formatter<'_>, name: &str, bytes: &[u8]) -> fmt::Result {
    write!(f, "{name}(")?;
    for byte in bytes {
        write!(f, "{byte:02x}")?;
    }
    f.write_str(")")
}

impl fmt::Debug for AccountKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        hex(f, "AccountKey", self.as_bytes())
    }
}

impl fmt::Debug for AccountFingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        hex(f, "AccountFingerprint", &self.0)
    }
}
