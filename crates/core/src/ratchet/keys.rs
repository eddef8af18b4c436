//! The ratchet's keys, a type for each in each direction: what belongs to a
//! chain of ours can't be used on one of the peer's.

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
    /// Feeds the messages of one chain of ours; replaced by each.
    pub(crate) struct SendingChainKey(32);
}

secret! {
    /// Feeds the messages of one chain of the peer's; replaced by each.
    pub(crate) struct ReceivingChainKey(32);
}

secret! {
    /// Belongs to one position of one chain of ours. Seals, once.
    pub(crate) struct SendingMessageKey(32);
}

secret! {
    /// Belongs to one position of one chain of the peer's. Opens, once.
    pub(crate) struct ReceivingMessageKey(32);
}

secret! {
    /// Encrypts one body, once.
    pub(crate) struct BodyKey(32);
}

secret! {
    /// Seals the headers of one chain of ours.
    pub(crate) struct SendingHeaderKey(32);
}

secret! {
    /// Opens the headers of one chain of the peer's.
    pub(crate) struct ReceivingHeaderKey(32);
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
    /// The half-step that begins a chain of ours, in place.
    pub(crate) fn step_sending(
        &mut self,
        exchange: &DhOutput,
        step: &Step<'_>,
        chain: &mut SendingChainKey,
        next_header: &mut SendingHeaderKey,
    ) {
        self.step(exchange, step, chain.expose_mut(), next_header.expose_mut());
    }

    /// The half-step that begins a chain of the peer's, in place.
    pub(crate) fn step_receiving(
        &mut self,
        exchange: &DhOutput,
        step: &Step<'_>,
        chain: &mut ReceivingChainKey,
        next_header: &mut ReceivingHeaderKey,
    ) {
        self.step(exchange, step, chain.expose_mut(), next_header.expose_mut());
    }

    /// `root ‖ chain ‖ next header = HKDF(salt = root, ikm = DH [‖ ss], info)`.
    fn step(
        &mut self,
        exchange: &DhOutput,
        step: &Step<'_>,
        chain: &mut [u8; 32],
        next_header: &mut [u8; 32],
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
        let places = [self.expose_mut(), chain, next_header];
        for (to, from) in places.into_iter().zip(output.expose().chunks_exact(32)) {
            to.copy_from_slice(from);
        }
    }
}

impl SendingChainKey {
    /// One message further, in place.
    pub(crate) fn advance(&mut self, message: &mut SendingMessageKey) {
        advance(self.expose_mut(), message.expose_mut());
    }
}

impl ReceivingChainKey {
    /// One message further, in place.
    pub(crate) fn advance(&mut self, message: &mut ReceivingMessageKey) {
        advance(self.expose_mut(), message.expose_mut());
    }
}

/// `chain ‖ message = HKDF-Expand(chain, "… chain", 64)`.
fn advance(chain: &mut [u8; 32], message: &mut [u8; 32]) {
    let mut output = ChainOutput::blank();
    kdf::expand(chain, &[label::CHAIN], output.expose_mut());
    let (next, key) = output.expose().split_at(32);
    chain.copy_from_slice(next);
    message.copy_from_slice(key);
}

impl SendingMessageKey {
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
}

impl ReceivingMessageKey {
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
