//! The key schedule. Each stage is a type and yields the next.

use super::Transcript;
use crate::label;
use crate::link::LinkPsk;
use crate::primitives::aead::{self, Forged, TAG, ZERO_NONCE};
use crate::primitives::dh::DhOutput;
use crate::primitives::kdf::{self, Prk};
use crate::primitives::kem::KemSecret;
use crate::ratchet::SessionId;

secret! {
    /// Root key 32, the initiator's first header key 32, the responder's 32.
    pub(crate) struct SessionKeys(96);
}

secret! {
    struct IdentityKey(32);
}

secret! {
    struct HandshakeChain(32);
}

secret! {
    struct Concatenation(96);
}

/// After the KEM and the two exchanges that need no identity of the
/// initiator's.
pub(crate) struct Anonymous {
    prk: Prk,
    transcript: Transcript,
}

/// After the initiator's identity was added to the transcript.
pub(crate) struct Named {
    chain: HandshakeChain,
    transcript: Transcript,
}

impl SessionKeys {
    /// Root key, the initiator's header key, the responder's.
    pub(crate) fn parts(&self) -> [&[u8]; 3] {
        let (root, rest) = self.expose().split_at(32);
        let (initiator, responder) = rest.split_at(32);
        [root, initiator, responder]
    }
}

impl Anonymous {
    /// `prk = Extract(psk, ss ‖ DH(EK, PK_B) ‖ DH(EK, IK_B))`.
    /// `transcript` covers bundle, ephemeral key and ciphertext.
    pub(crate) fn new(
        psk: &LinkPsk,
        shared: &KemSecret,
        ephemeral_prekey: &DhOutput,
        ephemeral_identity: &DhOutput,
        transcript: Transcript,
    ) -> Self {
        let mut input = Concatenation::blank();
        let parts = [shared.expose(), ephemeral_prekey.expose(), ephemeral_identity.expose()];
        for (to, from) in input.expose_mut().chunks_exact_mut(32).zip(parts) {
            to.copy_from_slice(from);
        }
        let mut prk = Prk::blank();
        kdf::extract(psk.expose(), input.expose(), &mut prk);
        Self { prk, transcript }
    }

    /// Encrypts the initiator's identity in place.
    pub(crate) fn seal_identity(&self, block: &mut [u8]) -> [u8; TAG] {
        aead::seal(self.identity_key().expose(), &ZERO_NONCE, self.transcript.as_bytes(), block)
    }

    /// Decrypts the initiator's identity in place.
    pub(crate) fn open_identity(&self, block: &mut [u8], tag: &[u8; TAG]) -> Result<(), Forged> {
        let key = self.identity_key();
        aead::open(key.expose(), &ZERO_NONCE, self.transcript.as_bytes(), block, tag)
    }

    fn identity_key(&self) -> IdentityKey {
        let mut key = IdentityKey::blank();
        let info = [label::IDENTITY_KEY, self.transcript.as_bytes()];
        kdf::expand(self.prk.expose(), &info, key.expose_mut());
        key
    }

    /// Adds the encrypted identity, tag included, to the transcript.
    pub(crate) fn name(self, sealed_identity: &[u8]) -> Named {
        let transcript = self.transcript.identity(sealed_identity);
        let mut chain = HandshakeChain::blank();
        let info = [label::HANDSHAKE_CHAIN, transcript.as_bytes()];
        kdf::expand(self.prk.expose(), &info, chain.expose_mut());
        Named { chain, transcript }
    }
}

impl Named {
    /// Mixes in `DH(IK_A, PK_B)` and ends the handshake.
    pub(crate) fn finish(self, identity_prekey: &DhOutput) -> (SessionKeys, SessionId) {
        let mut prk = Prk::blank();
        kdf::extract(self.chain.expose(), identity_prekey.expose(), &mut prk);
        let mut keys = SessionKeys::blank();
        let info = [label::SESSION_KEYS, self.transcript.as_bytes()];
        kdf::expand(prk.expose(), &info, keys.expose_mut());
        (keys, SessionId::from_bytes(*self.transcript.as_bytes()))
    }
}
