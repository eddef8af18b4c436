//! A party that falls back to an older copy of its state.

use std::vec::Vec;

use proptest::prelude::*;

use super::*;
use crate::ratchet::RollbackSign;
use crate::ratchet::pq::KeyMemo;

/// Messages in both directions, some lost, so that every phase is met.
fn talk(alice: &mut Session, bob: &mut Session, count: u64, rng: &mut TestRng) {
    for _ in 0..count {
        let to_bob = below(rng, 2) == 0 || bob.inner.core.live().remote.is_none();
        let (from, to) = if to_bob { (&mut *alice, &mut *bob) } else { (&mut *bob, &mut *alice) };
        let envelope = seal(from, &[3; 200], rng);
        if below(rng, 10) != 0 {
            open(to, &envelope).unwrap();
        }
    }
}

/// Whatever the moment, nobody panics, nothing changes on a refusal, and what
/// the rolled-back party sends is either understood or refused; when the
/// peer's header key still opens it, the refusal names the rollback.
#[test]
fn at_any_moment() {
    let (mut named, mut understood) = (0, 0);
    for seed in seeds(40) {
        let mut rng = TestRng::new(3_000 + seed);
        let (mut alice, mut bob) = pair(&mut rng);
        let warm_up = below(&mut rng, 40);
        talk(&mut alice, &mut bob, warm_up, &mut rng);
        let old = copy(&alice);
        let since = 1 + below(&mut rng, 30);
        talk(&mut alice, &mut bob, since, &mut rng);
        let mut alice = old;
        for _ in 0..30 {
            let envelope = seal(&mut alice, b"from the past", &mut rng);
            match open(&mut bob, &envelope) {
                Ok(_) => understood += 1,
                Err(OpenError::PeerRolledBack(_)) => named += 1,
                // No header key opens it any more.
                Err(OpenError::NotForThisSession) => {}
                Err(error) => panic!("seed {seed}: {error:?}"),
            }
            if bob.inner.core.live().remote.is_some() {
                let envelope = seal(&mut bob, b"from the present", &mut rng);
                let _ = open(&mut alice, &envelope);
            }
        }
    }
    assert!(named > 0 && understood > 0, "{named} {understood}");
}

/// What was encrypted at the same places under the same key: how many bytes of
/// two envelopes differ by just what their contents differ by.
fn same_keystream(a: &[u8], one: &[u8], b: &[u8], two: &[u8]) -> usize {
    let body = 12 + 69 + 2;
    (0..one.len()).filter(|i| a[body + i] ^ one[*i] == b[body + i] ^ two[*i]).count()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Two copies of a state that send different content at one place share
    /// neither nonce nor key, whether each draws randomness of its own or both
    /// draw the same, as two copies of a machine do.
    #[test]
    fn two_copies_never_share_a_keystream(
        seed: u64,
        turns in 0..40_u64,
        apart: bool,
        one in prop::collection::vec(any::<u8>(), 400..500),
        changed in 0..400_usize,
    ) {
        let mut rng = TestRng::new(seed);
        let (mut alice, mut bob) = pair(&mut rng);
        talk(&mut alice, &mut bob, turns, &mut rng);
        let mut other = copy(&alice);
        let mut two = one.clone();
        two[changed] ^= 1;
        let mut others = if apart { TestRng::new(!seed) } else { rng.clone() };
        let a = seal(&mut alice, &one, &mut rng);
        let b = seal(&mut other, &two, &mut others);
        prop_assert_ne!(&a[..12], &b[..12]);
        // Two random bytes agree once in 256; under one keystream all would.
        prop_assert!(same_keystream(&a, &one, &b, &two) < 40);
        // The same content from the same randomness is the same envelope.
        let again = copy(&alice).seal(&one, &mut rng.clone()).unwrap()
            .commit(|_, _| Ok::<_, Infallible>(())).unwrap();
        let repeated = seal(&mut copy(&alice), &one, &mut rng.clone());
        prop_assert_eq!(again, repeated);
    }
}

/// Copies whose content is the same and whose pieces differ, since one took in
/// a message more.
#[test]
fn pieces_alone_make_another_nonce() {
    let mut met = 0;
    for seed in 0..40 {
        let mut rng = TestRng::new(seed);
        let (mut alice, mut bob) = pair(&mut rng);
        talk(&mut alice, &mut bob, 3 + seed % 8, &mut rng);
        let _ = seal(&mut alice, b"first of the chain", &mut rng);
        let inner = &alice.inner;
        if inner.pq.live().outgoing(alice.epoch(), &mut KeyMemo::blank()).is_none() {
            continue;
        }
        let mut other = copy(&alice);
        other.inner.core.live_mut().cursor ^= 1;
        let mut others = rng.clone();
        let a = seal(&mut alice, &[1; 200], &mut rng);
        let b = seal(&mut other, &[1; 200], &mut others);
        assert_ne!(a[..12], b[..12], "seed {seed}");
        met += 1;
    }
    assert!(met > 0, "there was nothing to send in pieces");
}

/// A peer that offers another key after a rollback is refused by its header, so
/// that no piece of that key is met. (Pieces of two keys in one assembly are in
/// the vectors: `assembly-mixed`, `assembly-restarted`.)
#[test]
fn another_key_of_a_peer_that_was_rolled_back_is_refused_by_its_header() {
    let mut rng = TestRng::new(21);
    let full = [1; 1024 - 97 - 2 - 128];
    let (alice, mut bob) = pair(&mut rng);
    // Two copies from before the key pair was made: two different keys.
    let (mut one, mut two) = (copy(&alice), alice);
    let first: Vec<_> = (0..5).map(|_| seal(&mut one, &full, &mut rng)).collect();
    let second: Vec<_> = (0..20).map(|_| seal(&mut two, &full, &mut rng)).collect();
    for envelope in &first {
        open(&mut bob, envelope).unwrap();
    }
    let sign = OpenError::PeerRolledBack(RollbackSign::ChainConstants);
    for envelope in &second {
        assert_eq!(open(&mut bob, envelope), Err(sign));
    }
    assert_eq!(bob.epoch(), 0);
}
