//! Pending values that are leaked instead of dropped, and keys that expire.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    unreachable_pub,
    reason = "a test may panic"
)]

mod common;

use std::convert::Infallible;
use std::mem::forget;

use common::*;
use undertone_core::*;

#[test]
fn a_leaked_pending_open_leaves_no_trace() {
    let rng = &mut TestRng::new(1);
    let (mut alice, mut bob) = pair(rng);
    let envelopes: Vec<_> = (0..4u8).map(|i| seal(&mut alice, &[i], rng)).collect();
    open(&mut bob, &envelopes[1]).unwrap();
    let sent = seal(&mut bob, b"s0", rng);
    let before = bob.to_bytes();
    forget(bob.open(&envelopes[2], TODAY).unwrap());
    assert_eq!(bob.to_bytes(), before);
    let again = seal(&mut bob, b"s1", rng);
    // A late message prepares no keys of its own: it must not pick up others.
    assert_eq!(open(&mut bob, &envelopes[0]).unwrap(), [0]);
    assert_eq!(open(&mut bob, &envelopes[2]).unwrap(), [2]);
    forget(bob.open(&envelopes[3], TODAY).unwrap());
    assert_eq!(open(&mut bob, &envelopes[3]).unwrap(), [3]);
    let bytes = bob.to_bytes();
    assert_eq!(Session::from_bytes(&bytes).unwrap().to_bytes(), bytes);
    for (envelope, text) in [(sent, b"s0"), (again, b"s1")] {
        assert_eq!(open(&mut alice, &envelope).unwrap(), text);
    }
}

#[test]
fn a_leaked_pending_seal_leaves_no_trace() {
    let rng = &mut TestRng::new(2);
    let (mut alice, mut bob) = pair(rng);
    for _ in 0..20 {
        let before = alice.to_bytes();
        forget(alice.seal(b"leaked", rng).unwrap());
        assert_eq!(alice.to_bytes(), before);
        let envelope = seal(&mut alice, b"sent", rng);
        forget(bob.open(&envelope, TODAY).unwrap());
        assert_eq!(open(&mut bob, &envelope).unwrap(), b"sent");
        std::mem::swap(&mut alice, &mut bob);
    }
    assert!(alice.epoch() > 1);
}

fn open_on(session: &mut Session, envelope: &[u8], day: Day) -> Result<Vec<u8>, OpenError> {
    let mut stored = None;
    let content = session
        .open(envelope, day)?
        .commit(|state| {
            stored = Some(state.to_bytes());
            Ok::<_, Infallible>(())
        })
        .unwrap();
    assert_eq!(stored.unwrap(), session.to_bytes());
    Ok(content.to_vec())
}

#[test]
fn a_quiet_session_keeps_no_key_beyond_the_retention() {
    let rng = &mut TestRng::new(3);
    let (mut alice, mut bob) = pair(rng);
    let late = seal(&mut alice, b"late", rng);
    let next = seal(&mut alice, b"next", rng);
    open(&mut bob, &next).unwrap();
    assert_eq!(bob.skipped_keys(), 1);
    let last = TODAY.plus(bounds::RETENTION_DAYS);
    assert!(!bob.has_expired(last));
    let after = last.plus(1);
    assert!(bob.has_expired(after));

    let before = bob.to_bytes();
    assert_eq!(bob.expire(after, |_| Err("disk full")), Err("disk full"));
    assert_eq!(bob.to_bytes(), before);
    let mut stored = None;
    bob.expire(after, |state| {
        stored = Some(state.to_bytes());
        Ok::<_, Infallible>(())
    })
    .unwrap();
    assert_eq!(stored.unwrap(), bob.to_bytes());
    assert_eq!(bob.skipped_keys(), 0);
    assert!(!bob.has_expired(after));
    assert_eq!(open_on(&mut bob, &late, after), Err(OpenError::KeyGone));
}

#[test]
fn a_clock_that_goes_back_does_not_keep_old_keys() {
    let rng = &mut TestRng::new(4);
    let (mut alice, mut bob) = pair(rng);
    let day = |n| TODAY.plus(n);
    let envelopes: Vec<_> = (0..8u8).map(|i| seal(&mut alice, &[i], rng)).collect();
    // Skipped on day 20, then, the clock corrected, on day 1.
    open_on(&mut bob, &envelopes[1], day(20)).unwrap();
    open_on(&mut bob, &envelopes[3], day(1)).unwrap();
    assert_eq!(bob.skipped_keys(), 2);
    open_on(&mut bob, &envelopes[4], day(40)).unwrap();
    assert_eq!(bob.skipped_keys(), 1);
    assert_eq!(open_on(&mut bob, &envelopes[0], day(40)).unwrap(), [0]);
    assert_eq!(open_on(&mut bob, &envelopes[2], day(40)), Err(OpenError::KeyGone));
}

#[test]
fn the_keys_of_a_forgotten_chain_go_with_it() {
    let rng = &mut TestRng::new(5);
    let (mut alice, mut bob) = pair(rng);
    let mut late = vec![];
    for _ in 0..bounds::MAX_OLD_CHAINS + 3 {
        late.push(seal(&mut alice, b"late", rng));
        let envelope = seal(&mut alice, b"now", rng);
        open(&mut bob, &envelope).unwrap();
        let envelope = seal(&mut bob, b"back", rng);
        open(&mut alice, &envelope).unwrap();
    }
    // The current chain and eight old ones.
    assert_eq!(bob.skipped_keys(), bounds::MAX_OLD_CHAINS + 1);
    assert!(bob.header_keys() <= bounds::MAX_OLD_CHAINS + 2);
    assert_eq!(open(&mut bob, &late[0]), Err(OpenError::NotForThisSession));
    assert_eq!(open(&mut bob, &late[3]).unwrap(), b"late");
}

#[test]
fn r_410_a_handshake_is_accepted_once() {
    let rng = &mut TestRng::new(6);
    let mut contact = first_contact(rng, BundleKind::LastResort);
    let hello = seal(&mut contact.session, b"hello", rng);
    let (bob, _) = accept(&contact, &hello).unwrap();
    let accepted = bob.id();
    drop(bob);
    let again = Greeting::open(&contact.link.hello_key(), &hello).unwrap().accept(
        &contact.bob.device,
        &contact.prekey,
        &contact.link,
        TODAY,
        |id| *id == accepted,
    );
    assert_eq!(again.err(), Some(HandshakeError::Replayed));
}

#[test]
fn r_358_a_bundle_lives_no_longer_than_it_may() {
    let rng = &mut TestRng::new(7);
    let bob = Person::new(rng);
    let link = LinkSecret::generate(rng);
    let reply = Routing::new(b"").unwrap();
    let fingerprint = bob.account.public().fingerprint();
    // Made by a device whose clock is ahead.
    let ahead = bounds::CLOCK_SLACK_DAYS;
    for (days, error) in [(ahead, None), (ahead + 1, Some(BundleError::Lifetime))] {
        let made = TODAY.plus(days);
        let (_, bundle) = generate_prekey(BundleKind::OneTime, &bob.device, made, &reply, rng);
        let sealed = bundle.seal(&link.card_key(), rng);
        assert_eq!(Bundle::open(&link.card_key(), &sealed, &fingerprint, TODAY).err(), error);
    }
}
