//! AES-256-GCM (NIST SP 800-38D), 96-bit nonces, 128-bit tags.

use aes_gcm::aead::{AeadInOut, KeyInit};
use aes_gcm::{Aes256Gcm, Key, Nonce, Tag};

/// Bytes of a nonce.
pub(crate) const NONCE: usize = 12;
/// Bytes of a tag.
pub(crate) const TAG: usize = 16;
/// The nonce of a key that serves once.
pub(crate) const ZERO_NONCE: [u8; NONCE] = [0; NONCE];

/// The tag did not verify. The buffer is as it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Forged;

/// Encrypts `buffer` in place and returns the tag.
#[allow(clippy::expect_used, reason = "the limit of AES-GCM is 64 GiB, ours 64 KiB")]
pub(crate) fn seal(
    key: &[u8; 32],
    nonce: &[u8; NONCE],
    associated: &[u8],
    buffer: &mut [u8],
) -> [u8; TAG] {
    let cipher = Aes256Gcm::new(<&Key<Aes256Gcm>>::from(key));
    cipher
        .encrypt_inout_detached(&Nonce::from(*nonce), associated, buffer.into())
        .expect("a buffer within the limit")
        .into()
}

/// Decrypts `buffer` in place if `tag` verifies.
///
/// # Errors
/// [`Forged`]; the buffer is untouched.
pub(crate) fn open(
    key: &[u8; 32],
    nonce: &[u8; NONCE],
    associated: &[u8],
    buffer: &mut [u8],
    tag: &[u8; TAG],
) -> Result<(), Forged> {
    let cipher = Aes256Gcm::new(<&Key<Aes256Gcm>>::from(key));
    cipher
        .decrypt_inout_detached(&Nonce::from(*nonce), associated, buffer.into(), &Tag::from(*tag))
        .map_err(|_| Forged)
}
