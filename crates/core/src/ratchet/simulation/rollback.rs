//! A party that falls back to an older copy of its state.

use std::vec::Vec;

use super::*;
use crate::ratchet::RollbackSign;

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
    let (mut named, mut understood, mut refused) = (0, 0, 0);
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
                Err(error) => {
                    refused += 1;
                    named += u32::from(matches!(error, OpenError::PeerRolledBack(_)));
                }
            }
            if bob.inner.core.live().remote.is_some() {
                let envelope = seal(&mut bob, b"from the present", &mut rng);
                let _ = open(&mut alice, &envelope);
            }
        }
    }
    assert!(named > 0 && understood > 0 && named <= refused, "{named} {understood} {refused}");
}

/// Two copies that send different content at one place never share a body
/// key, since each draws a header nonce of its own: their keystreams differ.
#[test]
fn two_copies_never_share_a_keystream() {
    let mut rng = TestRng::new(20);
    let (mut alice, mut bob) = pair(&mut rng);
    talk(&mut alice, &mut bob, 9, &mut rng);
    // In the middle of a chain, so that both copies go on in the same one.
    let _ = seal(&mut alice, b"first of the chain", &mut rng);
    let mut other = copy(&alice);
    let (one, two) = ([0x55; 700], [0xaa; 700]);
    let a = seal(&mut alice, &one, &mut rng);
    let b = seal(&mut other, &two, &mut rng);
    let body = 12 + 69 + 2;
    let same = (0..700).filter(|i| a[body + i] ^ one[*i] == b[body + i] ^ two[*i]);
    // Two random bytes agree once in 256; a shared keystream would 700 times.
    assert!(same.count() < 30);
}

/// A peer that offers another key after a rollback: its pieces are not mixed
/// with the old key's, and a later reset is not even needed for the assembly.
#[test]
fn pieces_of_two_keys_never_mix() {
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
