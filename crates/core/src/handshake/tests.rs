//! Handshakes that no honest initiator would make, under the right keys.

use alloc::vec::Vec;
use core::convert::Infallible;
use std::vec;

use super::schedule::Anonymous;
use super::{Greeting, HandshakeError, Transcript, identity_block, initiate};
use crate::bounds::{IDENTITY_BLOCK_LONG, IDENTITY_BLOCK_SHORT, MAX_ROUTING};
use crate::day::Day;
use crate::identity::{DeviceList, DeviceSecret, ListRecord, LocalDevice, MAX_LIST};
use crate::label;
use crate::prekey::tests::Inviter;
use crate::primitives::aead::{self, NONCE, TAG};
use crate::primitives::dh::{DhPublic, DhSecret};
use crate::primitives::kem::KemSecret;
use crate::ratchet::Session;
use crate::routing::{self, Routing};
use crate::testing::{Person, TODAY, TestRng};

/// A key of low order in its canonical encoding.
const LOW_ORDER: [u8; 32] = [0; 32];

/// What an honest initiator says of itself.
fn block(me: &LocalDevice) -> Vec<u8> {
    identity_block::write(me, &Routing::new(b"mailbox").unwrap()).unwrap().to_vec()
}

/// A first-contact envelope whose identity block holds anything at all, sealed
/// under the right keys; `identity` is the private key that ends the schedule.
fn forge(bob: &Inviter, block: &[u8], identity: &DhSecret, rng: &mut TestRng) -> Vec<u8> {
    let bundle = bob.open(&bob.sealed).unwrap();
    let ephemeral = DhSecret::generate(rng);
    let public = ephemeral.public();
    let mut shared = KemSecret::blank();
    let ciphertext = bundle.kem.encapsulate(rng, &mut shared);
    let stage = Anonymous::new(
        &bob.link.psk(),
        &shared,
        &ephemeral.exchange(&bundle.dh).unwrap(),
        &ephemeral.exchange(&bundle.device().dh.0).unwrap(),
        Transcript::resume(&bundle.digest()).ephemeral(&public).ciphertext(&ciphertext),
    );
    let mut sealed = block.to_vec();
    let tag = stage.seal_identity(&mut sealed);
    sealed.extend(tag);
    let (keys, id) = stage.name(&sealed).finish(&identity.exchange(&bundle.dh).unwrap());
    let id_and_key = [&bundle.id().as_bytes()[..], public.as_bytes()].concat();
    let preamble = reseal(bob, [&id_and_key[..], &ciphertext, &sealed].concat());
    let mut session = Session::initiator(id, &keys, &bundle.dh, preamble);
    let hello = session.seal(b"hello", rng).unwrap();
    hello.commit(|_, _| Ok::<_, Infallible>(())).unwrap()
}

/// The seal over a handshake, with a nonce of no importance.
fn reseal(bob: &Inviter, mut handshake: Vec<u8>) -> Vec<u8> {
    let nonce = [9; NONCE];
    let key = bob.link.hello_key();
    let tag = aead::seal(key.expose(), &nonce, label::HELLO_SEAL, &mut handshake);
    [&nonce[..], &handshake, &tag].concat()
}

/// An honest first-contact envelope after `edit` of its open handshake.
fn edited(bob: &Inviter, hello: &[u8], edit: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let (sealed, part) = hello.split_at(super::SEALED_HANDSHAKE_SHORT);
    let (nonce, rest) = sealed.split_first_chunk::<NONCE>().unwrap();
    let (body, tag) = rest.split_last_chunk::<TAG>().unwrap();
    let mut body = body.to_vec();
    let key = bob.link.hello_key();
    aead::open(key.expose(), nonce, label::HELLO_SEAL, &mut body, tag).unwrap();
    edit(&mut body);
    [&reseal(bob, body)[..], part].concat()
}

/// What Bob makes of a first-contact envelope.
fn accept(
    bob: &Inviter,
    envelope: &[u8],
    known: Option<&ListRecord>,
) -> Result<Vec<u8>, &'static str> {
    Greeting::open(&bob.link.hello_key(), envelope)
        .and_then(|hello| {
            hello.accept(&bob.person.device, &bob.prekey, &bob.link, TODAY, |_| false)
        })
        .and_then(|introduction| introduction.open(known, TODAY))
        .map(|pending| pending.content().to_vec())
        .map_err(HandshakeError::code)
}

#[test]
fn what_is_forged_like_an_honest_handshake_is_accepted() {
    let rng = &mut TestRng::new(1);
    let (alice, bob) = (Person::new(rng), Inviter::new(rng));
    let hello = forge(&bob, &block(&alice.device), alice.secret.dh(), rng);
    assert_eq!(accept(&bob, &hello, None).unwrap(), b"hello");
    assert_eq!(accept(&bob, &edited(&bob, &hello, |_| ()), None).unwrap(), b"hello");
}

#[test]
fn r_401_what_no_handshake_stands_before() {
    let rng = &mut TestRng::new(1);
    let (alice, bob) = (Person::new(rng), Inviter::new(rng));
    let hello = forge(&bob, &block(&alice.device), alice.secret.dh(), rng);
    // No bucket's length, though the seal would open.
    for envelope in
        [&hello[..super::SEALED_HANDSHAKE_SHORT], &hello[..4095], &[&hello[..], &[0]].concat()]
    {
        assert_eq!(accept(&bob, envelope, None), Err("R-401"));
    }
    // Too short for a handshake, and an envelope of a session.
    for len in [0, 1, 1024, 2048, 4096, 65_536, 131_072] {
        assert_eq!(accept(&bob, &vec![7; len], None), Err("R-401"), "{len}");
    }
    let other = Inviter::new(rng);
    assert_eq!(accept(&other, &hello, None), Err("R-401"));
    assert!(accept(&bob, &hello, None).is_ok());
}

#[test]
fn r_402_the_ephemeral_key() {
    let rng = &mut TestRng::new(1);
    let (alice, bob) = (Person::new(rng), Inviter::new(rng));
    let hello = forge(&bob, &block(&alice.device), alice.secret.dh(), rng);
    let with = |key: &[u8; 32]| {
        accept(&bob, &edited(&bob, &hello, |h| h[16..48].copy_from_slice(key)), None)
    };
    assert_eq!(with(&[0xff; 32]), Err("R-402"));
    let mut key = [0xff; 32];
    (key[0], key[31]) = (0xed, 0x7f);
    assert_eq!(with(&key), Err("R-402"));
    // A canonical key that is not the initiator's opens nothing.
    key[0] = 0xeb;
    assert_eq!(with(&key), Err("R-406"));
    assert!(accept(&bob, &hello, None).is_ok());
}

#[test]
fn r_403_the_responder_meets_low_order() {
    let rng = &mut TestRng::new(1);
    let (alice, bob) = (Person::new(rng), Inviter::new(rng));
    // The ephemeral key.
    let hello = forge(&bob, &block(&alice.device), alice.secret.dh(), rng);
    let mut one = LOW_ORDER;
    one[0] = 1;
    for low in [LOW_ORDER, one] {
        let envelope = edited(&bob, &hello, |handshake| handshake[16..48].copy_from_slice(&low));
        assert_eq!(accept(&bob, &envelope, None), Err("R-403"));
    }
    // The device key: its account certified it, and it is on a valid list.
    let mut keys = alice.secret.public();
    keys.dh.0 = DhPublic::from_bytes(&LOW_ORDER).unwrap();
    let other = DeviceSecret::generate(rng);
    let list = DeviceList::issue(&alice.account, None, 1_000, &[other.public(), keys]).unwrap();
    let mut claim = block(&LocalDevice::new(other, list).unwrap());
    claim[0] = 1;
    let envelope = forge(&bob, &claim, alice.secret.dh(), rng);
    assert_eq!(accept(&bob, &envelope, None), Err("R-403"));
    assert!(accept(&bob, &hello, None).is_ok());
}

#[test]
fn r_403_the_initiator_meets_low_order() {
    let rng = &mut TestRng::new(1);
    let (alice, bob) = (Person::new(rng), Inviter::new(rng));
    let reply = Routing::new(b"mailbox").unwrap();
    let mut start = |bundle| initiate(&alice.device, bundle, &bob.link, &reply, rng).map(drop);
    let checked = |sealed: &[u8]| bob.open(sealed).unwrap().check(None).unwrap();
    // The prekey: canonical, so the bundle that holds it is one.
    let sealed = bob.forge(&bob.person.secret, |bundle| bundle[22..54].copy_from_slice(&LOW_ORDER));
    assert_eq!(start(checked(&sealed)).map_err(HandshakeError::code), Err("R-403"));
    // The key of the device that signed.
    let mut bundle = checked(&bob.sealed);
    bundle.0.device.dh.0 = DhPublic::from_bytes(&LOW_ORDER).unwrap();
    assert_eq!(start(bundle).map_err(HandshakeError::code), Err("R-403"));
    assert_eq!(start(checked(&bob.sealed)), Ok(()));
}

#[test]
fn r_407_broken_layouts_of_an_identity_block() {
    let rng = &mut TestRng::new(1);
    let (alice, bob) = (Person::new(rng), Inviter::new(rng));
    let honest = block(&alice.device);
    let list = alice.device.list().as_bytes().len();
    let mut with = |edit: &dyn Fn(&mut Vec<u8>)| {
        let mut block = honest.clone();
        edit(&mut block);
        accept(&bob, &forge(&bob, &block, alice.secret.dh(), rng), None).map(drop)
    };
    fn put(block: &mut [u8], at: usize, len: usize) {
        block[at..at + 2].copy_from_slice(&u16::try_from(len).unwrap().to_be_bytes());
    }
    assert_eq!(with(&|_| ()), Ok(()));
    // The initiator's index: the list has one device.
    for index in [1, 0xff] {
        assert_eq!(with(&|block| block[0] = index), Err("R-407"), "{index}");
    }
    // A list and a route that go beyond the block.
    assert_eq!(with(&|block| put(block, 1, 0xffff)), Err("R-407"));
    let route = 3 + list;
    assert_eq!(with(&|block| put(block, route, 0xffff)), Err("R-407"));
    assert_eq!(with(&|block| put(block, route, MAX_ROUTING)), Ok(()));
    assert_eq!(with(&|block| put(block, route, MAX_ROUTING + 1)), Err("R-407"));
    // The padding: a route that is cut, its first byte, its last.
    assert_eq!(with(&|block| put(block, route, 6)), Err("R-407"));
    assert_eq!(with(&|block| block[route + 2 + 7] = 1), Err("R-407"));
    assert_eq!(with(&|block| *block.last_mut().unwrap() = 0x80), Err("R-407"));
    // The longer block may hold what the shorter would.
    assert_eq!(with(&|block| block.resize(IDENTITY_BLOCK_LONG, 0)), Ok(()));
    // The list is read by its own rules.
    assert_eq!(with(&|block| put(block, 1, list - 1)), Err("R-201"));
    assert_eq!(with(&|block| block[3 + 41 + 64] ^= 1), Err("R-206"));
}

#[test]
fn r_408_the_responder_is_called_by_itself() {
    let rng = &mut TestRng::new(1);
    let bob = Inviter::new(rng);
    let envelope = forge(&bob, &block(&bob.person.device), bob.person.secret.dh(), rng);
    assert_eq!(accept(&bob, &envelope, None), Err("R-408"));
    // Anybody with the link can claim it; the answer is the same.
    let envelope = forge(&bob, &block(&bob.person.device), &DhSecret::generate(rng), rng);
    assert_eq!(accept(&bob, &envelope, None), Err("R-408"));
}

#[test]
fn r_409_more_than_an_identity_block_holds() {
    let rng = &mut TestRng::new(1);
    let (alice, bob) = (Person::new(rng), Inviter::new(rng));
    // The largest list and route fit, so nothing but a route past its own
    // bound gets here.
    const { assert!(1 + 2 + MAX_LIST + 2 + MAX_ROUTING <= IDENTITY_BLOCK_LONG) };
    let fixed = 1 + 2 + alice.device.list().as_bytes().len() + 2;
    let write = |len| {
        identity_block::write(&alice.device, &routing::tests::unchecked(len))
            .map(|block| block.len())
    };
    assert_eq!(write(IDENTITY_BLOCK_SHORT - fixed), Ok(IDENTITY_BLOCK_SHORT));
    assert_eq!(write(IDENTITY_BLOCK_SHORT - fixed + 1), Ok(IDENTITY_BLOCK_LONG));
    assert_eq!(write(IDENTITY_BLOCK_LONG - fixed), Ok(IDENTITY_BLOCK_LONG));
    assert_eq!(write(IDENTITY_BLOCK_LONG - fixed + 1), Err(HandshakeError::TooLong));
    let bundle = bob.open(&bob.sealed).unwrap().check(None).unwrap();
    let route = routing::tests::unchecked(IDENTITY_BLOCK_LONG);
    let refused = initiate(&alice.device, bundle, &bob.link, &route, rng).map(drop);
    assert_eq!(refused.map_err(HandshakeError::code), Err("R-409"));
}

#[test]
fn r_208_to_r_210_an_initiators_list_counts_once_the_message_opened() {
    let rng = &mut TestRng::new(1);
    let (alice, bob) = (Person::new(rng), Inviter::new(rng));
    let record =
        |at, devices: &[_]| DeviceList::issue(&alice.account, None, at, devices).unwrap().record();
    let own = [alice.secret.public()];
    let newer = record(1_001, &own);
    let fork = record(1_000, &[alice.secret.public(), bob.person.secret.public()]);
    let other = bob.person.device.list().record();
    let hello = forge(&bob, &block(&alice.device), alice.secret.dh(), rng);
    assert_eq!(accept(&bob, &hello, Some(&newer)), Err("R-208"));
    assert_eq!(accept(&bob, &hello, Some(&fork)), Err("R-209"));
    assert_eq!(accept(&bob, &hello, Some(&other)), Err("R-210"));
    assert!(accept(&bob, &hello, Some(&record(1_000, &own))).is_ok());
    assert!(accept(&bob, &hello, Some(&record(999, &own))).is_ok());
    // Who only has Alice's list shows nothing of hers: the message that would
    // prove it does not open, and that is all that is said.
    let envelope = forge(&bob, &block(&alice.device), &DhSecret::generate(rng), rng);
    for known in [None, Some(&newer), Some(&fork), Some(&other)] {
        assert_eq!(accept(&bob, &envelope, known), Err("R-501"));
    }
}

/// What Bob says to an honest envelope on a day, with a replay record.
fn on_day(bob: &Inviter, hello: &[u8], today: Day, seen: bool) -> Result<(), &'static str> {
    Greeting::open(&bob.link.hello_key(), hello)
        .and_then(|hello| hello.accept(&bob.person.device, &bob.prekey, &bob.link, today, |_| seen))
        .map(drop)
        .map_err(HandshakeError::code)
}

#[test]
fn r_405_the_last_day_and_behind_r_410() {
    let rng = &mut TestRng::new(1);
    let (alice, bob) = (Person::new(rng), Inviter::new(rng));
    let hello = forge(&bob, &block(&alice.device), alice.secret.dh(), rng);
    // The bundle's last day is TODAY + 30.
    let last = TODAY.plus(60);
    assert_eq!(on_day(&bob, &hello, last, false), Ok(()));
    assert_eq!(on_day(&bob, &hello, last.plus(1), false), Err("R-405"));
    assert_eq!(on_day(&bob, &hello, last.plus(1), true), Err("R-410"));
    let other = Inviter::new(rng);
    let elsewhere = Greeting::open(&bob.link.hello_key(), &hello).unwrap();
    let late = last.plus(1);
    let refused = elsewhere.accept(&bob.person.device, &other.prekey, &bob.link, late, |_| true);
    assert_eq!(refused.map(drop).map_err(HandshakeError::code), Err("R-404"));
}

#[test]
fn what_the_accepting_transaction_must_do() {
    let rng = &mut TestRng::new(1);
    let (alice, bob) = (Person::new(rng), Inviter::new(rng));
    let hello = forge(&bob, &block(&alice.device), alice.secret.dh(), rng);
    let pending = Greeting::open(&bob.link.hello_key(), &hello)
        .unwrap()
        .accept(&bob.person.device, &bob.prekey, &bob.link, TODAY, |_| false)
        .unwrap()
        .open(None, TODAY)
        .unwrap();
    let used = pending.bundle();
    assert_eq!(used.id(), bob.prekey.id());
    assert!(used.ends(), "a one-time bundle");
    assert_eq!(used.remember_until(), TODAY.plus(60));
}
