//! The initiator's side.

use alloc::vec::Vec;

use rand_core::CryptoRng;

use super::schedule::Anonymous;
use super::{HandshakeError, Transcript, identity_block};
use crate::identity::LocalDevice;
use crate::label;
use crate::link::LinkSecret;
use crate::prekey::CheckedBundle;
use crate::primitives::aead::{self, NONCE};
use crate::primitives::dh::DhSecret;
use crate::primitives::kem::KemSecret;
use crate::ratchet::Session;
use crate::routing::Routing;

/// Starts a session with the device whose bundle was fetched over `link`.
/// `reply` is where it may answer.
///
/// Until the first reply has been opened, every envelope that the session
/// seals repeats the handshake in identical bytes.
///
/// # Errors
/// [`HandshakeError::LowOrder`], [`HandshakeError::Oneself`],
/// [`HandshakeError::TooLong`].
pub fn initiate(
    me: &LocalDevice,
    bundle: CheckedBundle,
    link: &LinkSecret,
    reply: &Routing,
    rng: &mut impl CryptoRng,
) -> Result<Session, HandshakeError> {
    let CheckedBundle(bundle) = bundle;
    let theirs = bundle.device();
    if theirs == me.keys() {
        return Err(HandshakeError::Oneself);
    }
    let mut block = identity_block::write(me, reply)?;
    let ephemeral = DhSecret::generate(rng);
    let public = ephemeral.public();
    let mut shared = KemSecret::blank();
    let ciphertext = bundle.kem.encapsulate(rng, &mut shared);
    let transcript =
        Transcript::resume(&bundle.digest()).ephemeral(&public).ciphertext(&ciphertext);
    let stage = Anonymous::new(
        &link.psk(),
        &shared,
        &ephemeral.exchange(&bundle.dh)?,
        &ephemeral.exchange(&theirs.dh.0)?,
        transcript,
    );
    let tag = stage.seal_identity(&mut block);
    block.extend_from_slice(&tag);
    let stage = stage.name(&block);
    let (keys, id) = stage.finish(&me.secret().dh().exchange(&bundle.dh)?);

    let handshake = [&bundle.id.as_bytes()[..], public.as_bytes(), &ciphertext, &block].concat();
    let preamble = seal(link, handshake, rng);
    Ok(Session::initiator(id, &keys, &bundle.dh, preamble))
}

/// Seals the handshake for the link, so that neither a point of the curve nor
/// a KEM ciphertext is visible.
fn seal(link: &LinkSecret, mut handshake: Vec<u8>, rng: &mut impl CryptoRng) -> Vec<u8> {
    let mut nonce = [0; NONCE];
    rng.fill_bytes(&mut nonce);
    let tag = aead::seal(link.hello_key().expose(), &nonce, label::HELLO_SEAL, &mut handshake);
    [&nonce[..], &handshake, &tag].concat()
}
