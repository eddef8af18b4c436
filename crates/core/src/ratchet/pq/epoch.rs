//! What names an epoch.

use crate::label;
use crate::primitives::hash::{sha256, truncate};
use crate::primitives::kem::mlkem768;
use crate::ratchet::session::SessionId;

/// Bytes of an epoch tag.
const LEN: usize = 8;

/// Eight bytes in every header that say which secret an epoch was made with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct EpochTag([u8; LEN]);

/// What a root step of a new epoch takes beside the secrets.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct EpochInfo {
    pub(crate) epoch: u32,
    pub(crate) key_hash: [u8; 32],
    pub(crate) ciphertext_hash: [u8; 32],
}

impl EpochTag {
    pub(crate) const BLANK: Self = Self([0; LEN]);

    pub(crate) const fn from_bytes(bytes: [u8; LEN]) -> Self {
        Self(bytes)
    }

    pub(crate) const fn as_bytes(&self) -> &[u8; LEN] {
        &self.0
    }

    /// The tag of epoch 0: the first 8 bytes of
    /// `SHA-256("… epoch tag" ‖ 0 ‖ session id)`.
    pub(crate) fn first(id: &SessionId) -> Self {
        Self(truncate(&sha256(label::EPOCH_TAG, &[&[0; 4], id.as_bytes()])))
    }
}

impl EpochInfo {
    /// The first 8 bytes of `SHA-256("… epoch tag" ‖ epoch ‖ H(ek) ‖ H(ct))`.
    pub(crate) fn tag(&self) -> EpochTag {
        let epoch = self.epoch.to_be_bytes();
        let hash = sha256(label::EPOCH_TAG, &[&epoch, &self.key_hash, &self.ciphertext_hash]);
        EpochTag(truncate(&hash))
    }
}

/// `H(ek) = SHA-256("… kem key" ‖ ek)`.
pub(crate) fn key_hash(key: &[u8; mlkem768::KEY]) -> [u8; 32] {
    sha256(label::KEM_KEY_HASH, &[key])
}

/// `H(ct) = SHA-256("… kem ciphertext" ‖ H(ek) ‖ ct)`: a ciphertext counts
/// only with the key it was made for.
pub(crate) fn ciphertext_hash(
    key_hash: &[u8; 32],
    ciphertext: &[u8; mlkem768::CIPHERTEXT],
) -> [u8; 32] {
    sha256(label::KEM_CIPHERTEXT_HASH, &[key_hash, ciphertext])
}
