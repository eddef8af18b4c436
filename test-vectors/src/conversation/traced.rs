//! Traces of handshakes.

use serde_json::{Value, json};
use undertone_core::{LinkSecret, PrekeySecret, Session};

use super::Person;
use crate::form::{Form, Phase, Receiving, Sending};
use crate::prim::{self, Kem, x25519, x25519_public};
use crate::trace::{self, Handshake, Opened};
use crate::{Fail, Outcome};

fn part<const N: usize>(bytes: &[u8], at: usize) -> Outcome<[u8; N]> {
    let found = bytes.get(at..at + N).and_then(|bytes| bytes.try_into().ok());
    found.ok_or_else(|| Fail::wrong("a structure that ends early"))
}

fn dh_secret(me: &Person) -> Outcome<[u8; 32]> {
    part(&me.secret, 32)
}

fn demand(fits: bool, what: &str) -> Outcome<()> {
    if fits { Ok(()) } else { Err(Fail::wrong(format!("trace: {what} differs from the core's"))) }
}

/// What somebody says of itself, 04 §2.
pub(crate) fn identity_block(index: u8, list: &[u8], route: &[u8]) -> Vec<u8> {
    let length = |bytes: &[u8]| u16::try_from(bytes.len()).unwrap_or(u16::MAX).to_be_bytes();
    let mut block = [&[index][..], &length(list), list, &length(route), route].concat();
    let size = if block.len() <= 768 { 768 } else { 2400 };
    block.resize(size, 0);
    block
}

pub(super) fn initiated(
    me: &Person,
    link: &LinkSecret,
    sealed: &[u8],
    route: &[u8],
    draws: &[Vec<u8>],
    session: &Session,
) -> Outcome<Value> {
    let [ephemeral, message, nonce] = draws else { return Err(Fail::wrong("other draws")) };
    let (ephemeral, message, nonce) = (part(ephemeral, 0)?, part(message, 0)?, part(nonce, 0)?);
    let [card] = prim::keys(link.as_bytes(), "link card", &[])?;
    let [hello] = prim::keys(link.as_bytes(), "link hello", &[])?;
    let [psk] = prim::keys(link.as_bytes(), "link psk", &[])?;
    let rest = sealed.get(12..).unwrap_or_default();
    let bundle = prim::open(&card, &part(sealed, 0)?, &prim::label("card seal"), rest)
        .ok_or_else(|| Fail::wrong("the bundle does not open"))?;
    let id = part(&bundle, 1)?;
    let prekey: [u8; 32] = part(&bundle, 22)?;
    let (ciphertext, ss) = Kem::Kem1024.encapsulate(&part::<1568>(&bundle, 54)?, &message)?;
    let list_at = bundle.get(1621..).unwrap_or_default();
    // A list behind its length, read as an identity block is.
    let [index] = part(&bundle, 17)?;
    let mut like_a_block = vec![index, 0, 0];
    like_a_block.extend(list_at.get(3..).unwrap_or_default());
    let theirs = trace::device_in_block(&like_a_block).ok_or_else(|| Fail::wrong("no device"))?;
    let handshake = Handshake {
        psk,
        digest: trace::bundle_digest(&bundle),
        ephemeral: x25519_public(&ephemeral),
        ciphertext: ciphertext.clone(),
        ss,
        dh_ephemeral_prekey: x25519(&ephemeral, &prekey)?,
        dh_ephemeral_identity: x25519(&ephemeral, &theirs)?,
        dh_identity_prekey: x25519(&dh_secret(me)?, &prekey)?,
    };
    let keys = me.device.keys();
    let index = me.device.list().devices().iter().position(|device| device.keys() == keys);
    let index = index.and_then(|index| u8::try_from(index).ok()).unwrap_or(u8::MAX);
    let block = identity_block(index, me.device.list().as_bytes(), route);
    let finished = handshake.finish(&block)?;
    let opened = Opened {
        bundle: id,
        ephemeral: handshake.ephemeral,
        ciphertext,
        identity: finished.sealed_identity.clone(),
        length: 0,
    };
    let [root, hk_a, hk_b] = finished.keys;
    let form = Form {
        handshake: opened.seal(&hello, &nonce)?,
        remote: Some(prekey),
        next_sending: hk_a,
        next_receiving: hk_b,
        sending_due: 1,
        phase: Phase::Idle,
        ..fresh(0, finished.id, root)
    };
    demand(form.write() == *session.to_bytes(), "the initiator's session")?;
    Ok(finished.trace)
}

/// A session that has just come out of a handshake, without what the sides
/// have each for itself.
pub(crate) fn fresh(role: u8, id: [u8; 32], root: [u8; 32]) -> Form {
    Form {
        role,
        id,
        handshake: Vec::new(),
        root,
        epoch: 0,
        tag: trace::first_tag(&id),
        own: [0; 32],
        remote: None,
        next_sending: [0; 32],
        next_receiving: [0; 32],
        sending_due: 0,
        sending: Sending { header: [0; 32], chain: [0; 32], public: [0; 32], previous: 0, next: 0 },
        receiving: Receiving {
            serial: 0,
            header: [0; 32],
            chain: [0; 32],
            previous: 0,
            next: 0,
            epoch: 0,
            tag: [0; 8],
        },
        cursor: 0,
        phase: Phase::Waiting { assembly: None },
        old: Vec::new(),
        positions: Vec::new(),
        skipped: Vec::new(),
    }
}

pub(super) fn accepted(
    me: &Person,
    prekey: &PrekeySecret,
    link: &LinkSecret,
    envelope: &[u8],
    behind: &[u8],
    session: &Session,
) -> Outcome<Value> {
    let [hello] = prim::keys(link.as_bytes(), "link hello", &[])?;
    let [psk] = prim::keys(link.as_bytes(), "link psk", &[])?;
    let opened = Opened::of(&hello, envelope).ok_or_else(|| Fail::wrong("no handshake"))?;
    let stored = prekey.to_bytes();
    let private: [u8; 32] = part(&stored, 54)?;
    let (handshake, block) = trace::responder(
        &psk,
        prekey.digest().as_bytes(),
        &private,
        &part(&stored, 86)?,
        &dh_secret(me)?,
        &opened,
    )?;
    let finished = handshake.finish(&block)?;
    demand(finished.sealed_identity == opened.identity, "the sealed identity")?;
    let [root, hk_a, hk_b] = finished.keys;
    let before = Form {
        own: private,
        next_sending: hk_b,
        next_receiving: hk_a,
        ..fresh(1, finished.id, root)
    };
    let after = Form::read(&session.to_bytes())?;
    let mut out = trace::opened(&before, &after, behind)?;
    trace::put(&mut out, "handshake", json!(finished.trace));
    Ok(out)
}
