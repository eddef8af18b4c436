//! The primitives, each behind the only interface that the protocol uses.

pub(crate) mod aead;
pub(crate) mod dh;
pub(crate) mod hash;
pub(crate) mod kdf;
pub(crate) mod kem;
pub(crate) mod sign;
#[cfg(test)]
mod vectors;
