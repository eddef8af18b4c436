//! The link secret and what comes from it
//! (`protocol-spec/03-prekeys.md`).

use alloc::boxed::Box;
use alloc::vec::Vec;

use rand_core::CryptoRng;
use zeroize::Zeroizing;

use crate::label;
use crate::primitives::kdf;

secret! {
    struct LinkBytes(32);
}

/// The 32-byte secret of a link. Whoever knows it can fetch a prekey bundle,
/// read it, and say hello.
///
/// Boxed, so that a move leaves no copy.
#[derive(PartialEq, Eq)]
pub struct LinkSecret(Box<LinkBytes>);

impl core::fmt::Debug for LinkSecret {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let Self(_) = self;
        f.write_str("LinkSecret(secret)")
    }
}

boxed_secret! {
    /// Opens a depot at the relay: presented to fetch a bundle. The relay
    /// keeps its hash.
    pub struct FetchCapability(FetchCapabilityBytes, 32);
}

boxed_secret! {
    /// Seals the bundles of a link, so that the relay that keeps them sees
    /// neither identity nor prekeys.
    pub struct CardKey(CardKeyBytes, 32);
}

boxed_secret! {
    /// Seals handshakes sent over a link, so that no public key is visible.
    pub struct HelloKey(HelloKeyBytes, 32);
}

secret! {
    /// Mixed into the handshake: whoever lacks the link can't complete it,
    /// not even with a quantum computer.
    pub(crate) struct LinkPsk(32);
}

impl LinkSecret {
    /// A new secret.
    pub fn generate(rng: &mut impl CryptoRng) -> Self {
        Self(LinkBytes::boxed(|secret| rng.fill_bytes(secret)))
    }

    /// A secret read from a link or from the store.
    pub fn from_bytes(bytes: &[u8; 32]) -> Self {
        Self(LinkBytes::boxed(|secret| secret.copy_from_slice(bytes)))
    }

    fn expose(&self) -> &[u8; 32] {
        self.0.expose()
    }

    /// Its bytes, for the link and the store: secret.
    pub fn as_bytes(&self) -> &[u8; 32] {
        self.expose()
    }

    /// `HKDF-Expand(secret, "… link fetch", 32)`.
    pub fn fetch_capability(&self) -> FetchCapability {
        FetchCapability::fill(|key| self.derive(label::LINK_FETCH, key))
    }

    /// `HKDF-Expand(secret, "… link card", 32)`.
    pub fn card_key(&self) -> CardKey {
        CardKey::fill(|key| self.derive(label::LINK_CARD, key))
    }

    /// `HKDF-Expand(secret, "… link hello", 32)`.
    pub fn hello_key(&self) -> HelloKey {
        HelloKey::fill(|key| self.derive(label::LINK_HELLO, key))
    }

    /// The link's keys that no relay may ever see, with their names. Only for
    /// tests and demonstrations that search other people's systems for what
    /// must not be there.
    pub fn dangerous_secrets(&self) -> [(&'static str, Zeroizing<Vec<u8>>); 4] {
        let copy = |key: &[u8; 32]| Zeroizing::new(key.to_vec());
        [
            ("link secret", copy(self.expose())),
            ("card key", copy(self.card_key().expose())),
            ("hello key", copy(self.hello_key().expose())),
            ("link's share of the handshake", copy(self.psk().expose())),
        ]
    }

    pub(crate) fn psk(&self) -> LinkPsk {
        let mut key = LinkPsk::blank();
        self.derive(label::LINK_PSK, key.expose_mut());
        key
    }

    fn derive(&self, label: &[u8], out: &mut [u8; 32]) {
        kdf::expand(self.expose(), &[label], out);
    }
}

impl FetchCapability {
    /// Its bytes: what is presented to the relay.
    pub fn as_bytes(&self) -> &[u8; 32] {
        self.expose()
    }
}
