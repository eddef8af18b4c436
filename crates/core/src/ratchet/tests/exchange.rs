//! The exchange of an epoch from close: what each phase holds, what it wipes,
//! and what a peer that keeps to no rule, or was rolled back, does to it.

use super::bodies::body;
use super::*;
use crate::primitives::hash::truncate;
use crate::primitives::kem::{KemSeed, mlkem768};
use crate::ratchet::pq::{KeyMemo, Phase, Pq, key_hash};

fn pq(session: &Session) -> &Pq {
    session.inner.pq.live()
}

fn secrets(session: &Session) -> (bool, bool) {
    let Pq { seed, shared, .. } = pq(session);
    (*seed.expose() != [0; 64], *shared.expose() != [0; 32])
}

/// Turns until `done`, which is met on the way of an honest exchange.
fn turn_until(
    alice: &mut Session,
    bob: &mut Session,
    rng: &mut TestRng,
    done: impl Fn(&Session, &Session) -> bool,
) {
    for _ in 0..40 {
        if done(alice, bob) {
            return;
        }
        pass(alice, bob, rng);
        if done(alice, bob) {
            return;
        }
        pass(bob, alice, rng);
    }
    panic!("the exchange does not come this far");
}

/// A run for epoch 1 that holds a whole object under the tag given.
fn whole(kind: u8, count: u8, tag: [u8; 8], object: &[u8]) -> Vec<u8> {
    [&[kind, 0, 0, 0, 1, 0, count][..], &tag, object].concat()
}

/// Puts a body with a run into a message of the sender's, which then has used
/// its place.
fn slip(from: &mut Session, to: &mut Session, run: &[u8]) {
    let forged = Forger::on_chain(from).seal(&body(2048 - OVERHEAD, 800, run));
    open(to, &forged).unwrap();
    drop(from.inner.core.live_mut().sending.advance().unwrap());
}

#[test]
fn each_phase_holds_its_own_secret_and_no_other() {
    let rng = &mut TestRng::new(30);
    let (mut alice, mut bob) = pair(rng);
    turn_until(&mut alice, &mut bob, rng, |alice, _| {
        matches!(pq(alice).phase, Phase::Secret { .. })
    });
    assert_eq!(secrets(&alice), (false, true), "the seed is gone once the secret is there");
    assert!(matches!(pq(&bob).phase, Phase::Answering { .. }));
    assert_eq!(secrets(&bob), (false, true));
    let raised = seal(&mut alice, b"raised", rng);
    assert!(matches!(pq(&alice).phase, Phase::Waiting { incoming: None }));
    assert_eq!(secrets(&alice), (false, false), "mixed in and gone");
    // Whatever was on its way to a place in a run begins anew.
    bob.inner.core.live_mut().cursor = 9;
    open(&mut bob, &raised).unwrap();
    assert!(matches!(pq(&bob).phase, Phase::Idle));
    assert_eq!(secrets(&bob), (false, false));
    assert_eq!(bob.inner.core.live().cursor, 0);
    assert_eq!((alice.epoch(), bob.epoch()), (1, 1));
}

#[test]
fn a_ciphertext_counts_only_whole_and_unaltered() {
    let rng = &mut TestRng::new(31);
    let (mut alice, mut bob) = pair(rng);
    turn_until(&mut alice, &mut bob, rng, |_, bob| matches!(pq(bob).phase, Phase::Keyed(_)));
    // Bob's chain begins; what it carried is lost.
    let _ = seal(&mut bob, b"lost", rng);
    let Phase::Answering { ciphertext, ciphertext_hash, .. } = pq(&bob).phase else {
        panic!("Bob answers")
    };
    // Bob's first message of the chain is needed for the header key.
    let mut altered = ciphertext;
    altered[700] ^= 1;
    let run = whole(2, 34, truncate(&ciphertext_hash), &altered);
    pass(&mut bob, &mut alice, rng);
    slip(&mut bob, &mut alice, &run);
    assert!(
        matches!(pq(&alice).phase, Phase::Offering { peer_has_key: true, incoming: None, .. }),
        "what does not hash to its tag is dropped whole"
    );
    turn_until(&mut alice, &mut bob, rng, |alice, bob| alice.epoch() == 1 && bob.epoch() == 1);
}

#[test]
fn the_answer_to_a_superseded_key_is_void() {
    let rng = &mut TestRng::new(32);
    let (mut alice, mut bob) = pair(rng);
    turn_until(&mut alice, &mut bob, rng, |_, bob| {
        matches!(pq(bob).phase, Phase::Answering { .. })
    });
    assert_eq!(secrets(&bob), (false, true));
    pass(&mut alice, &mut bob, rng);
    let mut other = mlkem768::PrivateKey::blank();
    other.expand(&KemSeed::from_array(&[5; 64]));
    let key = *other.encapsulation_key().as_bytes();
    let run = whole(1, 37, truncate(&key_hash(&key)), &key);
    let forged = Forger::on_chain(&alice).seal(&body(4096 - OVERHEAD, 1_822, &run));
    open(&mut bob, &forged).unwrap();
    assert!(matches!(pq(&bob).phase, Phase::Keyed(_)));
    assert_eq!(secrets(&bob), (false, false));
}

/// Alice's key went out; Bob answers, and then goes on without its ciphertext.
fn answered_in_part(rng: &mut TestRng) -> (Session, Session) {
    let (mut alice, mut bob) = pair(rng);
    turn_until(&mut alice, &mut bob, rng, |alice, _| {
        matches!(pq(alice).phase, Phase::Offering { peer_has_key: true, .. })
    });
    pass(&mut alice, &mut bob, rng);
    (alice, bob)
}

fn peer_has_key(session: &Session) -> bool {
    matches!(pq(session).phase, Phase::Offering { peer_has_key: true, .. })
}

#[test]
fn a_key_goes_out_again_to_a_peer_that_lost_it() {
    let rng = &mut TestRng::new(33);
    // A peer that carries nothing, and one that offers a key of its own: both
    // have lost ours.
    for lost in [Phase::Waiting { incoming: None }, Phase::Idle] {
        let (mut alice, mut bob) = answered_in_part(rng);
        assert!(peer_has_key(&alice));
        bob.inner.pq.live_mut().swap_roles(lost);
        pass(&mut bob, &mut alice, rng);
        assert!(!peer_has_key(&alice), "a new chain without blocks of a ciphertext");
        let envelope = seal(&mut alice, b"again", rng);
        open(&mut bob, &envelope).unwrap();
        assert!(pq(&alice).outgoing(0, &mut KeyMemo::blank()).is_some(), "the key goes out again");
    }
    // In the same chain it says nothing.
    let (mut alice, mut bob) = answered_in_part(rng);
    pass(&mut bob, &mut alice, rng);
    let has = peer_has_key(&alice);
    bob.inner.pq.live_mut().swap_roles(Phase::Waiting { incoming: None });
    pass(&mut bob, &mut alice, rng);
    assert_eq!(peer_has_key(&alice), has);
}

#[test]
fn the_last_epoch_makes_nothing() {
    let rng = &mut TestRng::new(34);
    let (mut alice, mut bob) = pair(rng);
    pass(&mut alice, &mut bob, rng);
    for session in [&mut alice, &mut bob] {
        let core = session.inner.core.live_mut();
        (core.epoch, core.receiving.epoch) = (u32::MAX, u32::MAX);
    }
    alice.inner.pq.live_mut().swap_roles(Phase::Idle);
    let before = rng.clone();
    drop(seal(&mut alice, b"on", rng));
    assert!(matches!(pq(&alice).phase, Phase::Idle));
    // Nothing but the nonce was drawn.
    let mut nonce = before;
    rand_core::Rng::fill_bytes(&mut nonce, &mut [0; 12]);
    assert_eq!(nonce, *rng);
}
