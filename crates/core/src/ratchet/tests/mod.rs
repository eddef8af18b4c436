//! A peer that keeps to no rule: it holds the sender's keys, and puts what it
//! likes under them.

mod bodies;
mod chains;
mod exchange;
mod sending;
mod stored;

use std::convert::Infallible;
use std::vec::Vec;

use super::header::Header;
use super::keys::{ReceivingMessageKey, SendingChainKey, SendingHeaderKey, SendingMessageKey};
use super::pq::EpochTag;
use super::seal::associated;
use super::simulation::pair;
use super::{OpenError, SealError, Session, SessionId};
use crate::day::Day;
use crate::envelope::OVERHEAD;
use crate::primitives::aead::{self, ZERO_NONCE};
use crate::primitives::dh::{DhPublic, DhSecret};
use crate::testing::{TODAY, TestRng};

/// Two sessions in which Alice has sent one message on her second chain, and
/// Bob remembers the first, of two messages, as an old one.
fn talking(rng: &mut TestRng) -> (Session, Session) {
    let (mut alice, mut bob) = pair(rng);
    pass(&mut alice, &mut bob, rng);
    pass(&mut alice, &mut bob, rng);
    pass(&mut bob, &mut alice, rng);
    pass(&mut alice, &mut bob, rng);
    (alice, bob)
}

fn pass(from: &mut Session, to: &mut Session, rng: &mut TestRng) {
    let envelope = seal(from, b"text", rng);
    assert_eq!(open(to, &envelope).unwrap(), b"text");
}

fn seal(session: &mut Session, content: &[u8], rng: &mut TestRng) -> Vec<u8> {
    let envelope = session.seal(content, rng).unwrap();
    envelope.commit(|_, _| Ok::<_, Infallible>(())).unwrap()
}

fn open(session: &mut Session, envelope: &[u8]) -> Result<Vec<u8>, OpenError> {
    let mut stored = None;
    let pending = session.open(envelope, TODAY)?;
    let content = pending
        .commit(|state| {
            stored = Some(state.to_bytes());
            Ok::<_, Infallible>(())
        })
        .unwrap();
    assert_eq!(stored.unwrap(), session.to_bytes(), "what was stored is what is");
    Ok(content.to_vec())
}

/// Demands that an envelope is refused by this rule and changes nothing.
#[track_caller]
fn refused(session: &mut Session, envelope: &[u8], rule: &str) {
    refused_on(TODAY, session, envelope, rule);
}

#[track_caller]
fn refused_on(today: Day, session: &mut Session, envelope: &[u8], rule: &str) {
    let before = session.to_bytes();
    let refused = session.open(envelope, today).map(drop).map_err(OpenError::code);
    assert_eq!(refused, Err(rule));
    assert_eq!(session.to_bytes(), before, "{rule} changed the state");
    assert_no_candidate(session);
}

/// Demands that what was prepared and refused is wiped.
#[track_caller]
fn assert_no_candidate(session: &Session) {
    let (core, pq) = (session.inner.core.next(), session.inner.pq.next());
    for key in [core.root.expose(), core.own.expose(), core.sending.chain.expose()] {
        assert_eq!(*key, [0; 32]);
    }
    assert_eq!(*core.receiving.chain.expose(), [0; 32]);
    assert_eq!((*pq.seed.expose(), *pq.shared.expose()), ([0; 64], [0; 32]));
    let delta = &session.inner.delta;
    assert!(delta.added.is_empty() && delta.ended.is_none() && delta.taken.is_none());
}

/// Demands that nothing can be sealed, by this rule, and that nothing changes.
#[track_caller]
fn refuses_to_seal(session: &mut Session, rule: &str, rng: &mut TestRng) {
    let before = session.to_bytes();
    let refused = session.seal(b"text", rng).map(drop).map_err(SealError::code);
    assert_eq!(refused, Err(rule));
    assert_eq!(session.to_bytes(), before, "{rule} changed the state");
    assert_no_candidate(session);
}

/// The keys under which one message goes out, and its header.
struct Forger {
    id: SessionId,
    header_key: SendingHeaderKey,
    /// Of the position that `header` names; blank where it is not known.
    message: SendingMessageKey,
    header: Header,
    flags: u8,
}

impl Forger {
    /// As Alice's next message on the chain that she sends on.
    fn on_chain(alice: &Session) -> Self {
        let core = alice.inner.core.live();
        let mut message = SendingMessageKey::blank();
        SendingChainKey::from_array(core.sending.chain.expose()).advance(&mut message);
        Self {
            id: alice.id(),
            header_key: SendingHeaderKey::from_array(core.sending.header.expose()),
            message,
            header: core.header(),
            flags: 0,
        }
    }

    /// As the first message of Alice's next chain, with a ratchet key of her
    /// own. What a step would make of it is not followed: the body does not
    /// open.
    fn on_next_chain(alice: &Session) -> Self {
        let core = alice.inner.core.live();
        let key = *DhSecret::from_array(&[3; 32]).public().as_bytes();
        let previous = core.sending.next;
        Self {
            header_key: SendingHeaderKey::from_array(core.next_sending.expose()),
            message: SendingMessageKey::blank(),
            header: Header { key, previous, number: 0, ..core.header() },
            ..Self::on_chain(alice)
        }
    }

    /// This header, changed.
    fn header(&mut self, edit: impl FnOnce(&mut Header)) -> Vec<u8> {
        let honest = self.header;
        edit(&mut self.header);
        let envelope = self.seal(&[0; 1024 - OVERHEAD]);
        self.header = honest;
        envelope
    }

    /// This header before any body, sealed by hand: the layout is that of
    /// `protocol-spec/05-double-ratchet.md`, section 2.
    fn seal(&self, body: &[u8]) -> Vec<u8> {
        let Header { key, previous, number, epoch, tag } = &self.header;
        let numbers = [previous, number, epoch].map(|number| number.to_be_bytes()).concat();
        let mut header = [&key[..], &numbers, tag.as_bytes(), &[self.flags]].concat();
        let nonce = [0x5a; 12];
        let tag = aead::seal(self.header_key.expose(), &nonce, self.id.as_bytes(), &mut header);
        header.extend(tag);
        let data = associated(self.id.as_bytes(), &header.clone().try_into().unwrap());
        let key = ReceivingMessageKey::from_array(self.message.expose()).into_opening(&nonce);
        let mut body = body.to_vec();
        let tag = aead::seal(key.expose(), &ZERO_NONCE, &data, &mut body);
        [&nonce[..], &header, &body, &tag].concat()
    }
}

/// Every constant of a chain, changed one at a time.
const CONSTANTS: [fn(&mut Header); 4] = [
    |header| header.key[0] ^= 1,
    |header| header.previous ^= 1,
    |header| header.epoch ^= 1,
    |header| header.tag = flipped(header.tag),
];

fn flipped(tag: EpochTag) -> EpochTag {
    let mut bytes = *tag.as_bytes();
    bytes[7] ^= 1;
    EpochTag::from_bytes(bytes)
}

/// A canonical key of low order.
fn low_order() -> DhPublic {
    DhPublic::from_bytes(&[0; 32]).unwrap()
}
