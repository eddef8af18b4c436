//! The offering side's expanded private key, and the encapsulation key in it:
//! kept from the making of the key pair until its ciphertext is whole, so that
//! it is made once.

use zeroize::Zeroize;

use crate::primitives::kem::{KemSeed, mlkem768};

use super::epoch::key_hash;

/// An expanded private key and the hash of its public half. No part of the
/// state: a session that was loaded does without, and expands its seed again.
pub(crate) struct KeyMemo {
    of: Option<[u8; 32]>,
    key: mlkem768::PrivateKey,
}

impl KeyMemo {
    pub(crate) fn blank() -> Self {
        Self { of: None, key: mlkem768::PrivateKey::blank() }
    }

    /// Expands a seed; returns the encapsulation key's hash.
    pub(crate) fn expand(&mut self, seed: &KemSeed) -> [u8; 32] {
        self.key.expand(seed);
        let hash = key_hash(self.key.public_bytes());
        self.of = Some(hash);
        hash
    }

    /// The private key whose public half has this hash: the one at hand, or
    /// the seed's.
    pub(crate) fn get(&mut self, hash: &[u8; 32], seed: &KemSeed) -> &mlkem768::PrivateKey {
        if self.of.as_ref() != Some(hash) {
            self.expand(seed);
        }
        &self.key
    }

    /// The secret vector of the key, blank where there is none.
    pub(crate) fn secret_vector(&self) -> &[u8] {
        self.key.secret_vector()
    }

    /// Wipes the key unless its public half has this hash.
    pub(crate) fn keep_only(&mut self, hash: Option<&[u8; 32]>) {
        if self.of.is_some() && self.of.as_ref() != hash {
            self.of = None;
            self.key.zeroize();
        }
    }
}
