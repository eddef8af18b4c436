//! The ratchet's keys, a type for each.

use crate::label;
use crate::primitives::aead::NONCE;
use crate::primitives::dh::DhOutput;
use crate::primitives::hash::sha256;
use crate::primitives::kdf::{self, Expander, Prk};
use crate::primitives::kem::KemSecret;

use super::header::HEADER;
use super::pq::EpochInfo;

secret! {
    /// Feeds every step; replaced by it.
    pub(crate) struct RootKey(32);
}

secret! {
    /// Feeds the messages of one chain; replaced by each.
    pub(crate) struct ChainKey(32);
}

secret! {
    /// Belongs to one position of one chain.
    pub(crate) struct MessageKey(32);
}

secret! {
    /// Encrypts one body, once.
    pub(crate) struct BodyKey(32);
}

secret! {
    /// Encrypts the headers of one chain.
    pub(crate) struct HeaderKey(32);
}

secret! {
    struct StepInput(64);
}

secret! {
    struct StepOutput(96);
}

secret! {
    struct ChainOutput(64);
}

/// What goes into a root step beside the root key.
pub(crate) enum Step<'a> {
    /// The exchange alone.
    Plain,
    /// The exchange and the secret of a new epoch.
    Epoch { secret: &'a KemSecret, info: &'a EpochInfo },
}

impl RootKey {
    /// One half-step, in place:
    /// `root ‖ chain ‖ next header = HKDF(salt = root, ikm = DH [‖ ss], info)`.
    pub(crate) fn step(
        &mut self,
        exchange: &DhOutput,
        step: &Step<'_>,
        chain: &mut ChainKey,
        next_header: &mut HeaderKey,
    ) {
        let mut prk = Prk::blank();
        let mut output = StepOutput::blank();
        match step {
            Step::Plain => {
                kdf::extract(self.expose(), exchange.expose(), &mut prk);
                kdf::expand(prk.expose(), &[label::STEP], output.expose_mut());
            }
            Step::Epoch { secret, info } => {
                let mut input = StepInput::blank();
                let (head, tail) = input.expose_mut().split_at_mut(32);
                head.copy_from_slice(exchange.expose());
                tail.copy_from_slice(secret.expose());
                kdf::extract(self.expose(), input.expose(), &mut prk);
                let epoch = info.epoch.to_be_bytes();
                let parts = [label::EPOCH_STEP, &epoch, &info.key_hash, &info.ciphertext_hash];
                kdf::expand(prk.expose(), &parts, output.expose_mut());
            }
        }
        let places = [self.expose_mut(), chain.expose_mut(), next_header.expose_mut()];
        for (to, from) in places.into_iter().zip(output.expose().chunks_exact(32)) {
            to.copy_from_slice(from);
        }
    }
}

impl ChainKey {
    /// One message further, in place:
    /// `chain ‖ message = HKDF-Expand(chain, "… chain", 64)`.
    pub(crate) fn advance(&mut self, message: &mut MessageKey) {
        let mut output = ChainOutput::blank();
        kdf::expand(self.expose(), &[label::CHAIN], output.expose_mut());
        let (chain, key) = output.expose().split_at(32);
        self.expose_mut().copy_from_slice(chain);
        message.expose_mut().copy_from_slice(key);
    }
}

impl MessageKey {
    /// What a message is sealed with: its nonce, and the body key under that.
    ///
    /// `HKDF-Expand(message key, "… nonce" ‖ random ‖ SHA-256("… nonce" ‖
    /// header ‖ body), 12)` is the nonce. Two copies of a state that send
    /// different things at one position have different nonces even where they
    /// draw the same random bytes, as copies of a whole machine do.
    pub(crate) fn into_sealing(
        self,
        random: &[u8; NONCE],
        header: &[u8; HEADER],
        body: &[u8],
    ) -> ([u8; NONCE], BodyKey) {
        let kdf = Expander::new(self.expose());
        let hash = sha256(label::NONCE, &[header, body]);
        let mut nonce = [0; NONCE];
        kdf.expand(&[label::NONCE, random, &hash], &mut nonce);
        (nonce, body_key(&kdf, &nonce))
    }

    /// What a message is opened with: the body key under its nonce.
    pub(crate) fn into_opening(self, nonce: &[u8; NONCE]) -> BodyKey {
        body_key(&Expander::new(self.expose()), nonce)
    }
}

/// `HKDF-Expand(message key, "… body" ‖ nonce, 32)`: another key for each
/// nonce.
fn body_key(message: &Expander, nonce: &[u8; NONCE]) -> BodyKey {
    let mut key = BodyKey::blank();
    message.expand(&[label::BODY, nonce], key.expose_mut());
    key
}
