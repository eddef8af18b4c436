//! The handshake: X3DH with a KEM, identity-hiding, sealed for the link
//! (`protocol-spec/04-handshake.md`).

mod error;
mod greeting;
mod identity_block;
mod initiate;
mod schedule;
#[cfg(test)]
mod tests;
mod transcript;

pub use error::HandshakeError;
pub use greeting::{Greeting, Introduction, PendingAccept, UsedBundle};
pub use initiate::initiate;

pub(crate) use schedule::SessionKeys;
pub(crate) use transcript::Transcript;

use crate::bounds::{IDENTITY_BLOCK_LONG, IDENTITY_BLOCK_SHORT};
use crate::primitives::aead::{NONCE, TAG};
use crate::primitives::dh::DhPublic;
use crate::primitives::kem::mlkem1024;

/// Bytes of a sealed handshake beside the encrypted identity: nonce, bundle
/// id, ephemeral key, KEM ciphertext, the identity's tag, the seal's tag.
const FIXED: usize = NONCE + 16 + DhPublic::LEN + mlkem1024::CIPHERTEXT + TAG + TAG;

/// Bytes of a sealed handshake with the shorter identity block.
pub(crate) const SEALED_HANDSHAKE_SHORT: usize = FIXED + IDENTITY_BLOCK_SHORT;

/// Bytes of a sealed handshake with the longer identity block.
pub(crate) const SEALED_HANDSHAKE_LONG: usize = FIXED + IDENTITY_BLOCK_LONG;
