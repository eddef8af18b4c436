//! Stored sessions that were damaged: R-1001 to R-1004. Offsets are those of
//! `protocol-spec/10-state.md`, section 1.

use std::vec;

use super::*;
use crate::bounds::{MAX_OLD_CHAINS, MAX_SKIPPED_KEYS, REMEMBERED_POSITIONS};
use crate::ratchet::StateError;
use crate::ratchet::pq::Phase;

/// Offsets in a session without a handshake to repeat.
const ROLE: usize = 2;
const HANDSHAKE: usize = 35;
const CORE: usize = 36;
const HAS_REMOTE: usize = CORE + 76;
const REMOTE: usize = CORE + 77;
const SENDING_DUE: usize = CORE + 173;
const PHASE: usize = CORE + 367;

fn code(bytes: &[u8]) -> Result<(), &'static str> {
    Session::from_bytes(bytes).map(drop).map_err(StateError::code)
}

/// A stored session after `edit`.
fn with(stored: &[u8], edit: impl FnOnce(&mut Vec<u8>)) -> Result<(), &'static str> {
    let mut bytes = stored.to_vec();
    edit(&mut bytes);
    code(&bytes)
}

/// Sessions in every phase, with and without old chains, skipped keys and a
/// handshake to repeat.
fn every_phase(rng: &mut TestRng) -> Vec<Vec<u8>> {
    let (mut alice, mut bob) = pair(rng);
    let mut seen = vec![];
    let mut keep = |session: &Session| {
        let bytes = session.to_bytes().to_vec();
        assert_eq!(code(&bytes), Ok(()));
        seen.push(bytes);
    };
    for preamble in
        [crate::handshake::SEALED_HANDSHAKE_SHORT, crate::handshake::SEALED_HANDSHAKE_LONG]
    {
        alice.inner.preamble = Some(vec![7; preamble]);
        keep(&alice);
        alice.inner.preamble = None;
    }
    for _ in 0..12 {
        keep(&alice);
        keep(&bob);
        drop(seal(&mut alice, b"lost", rng));
        pass(&mut alice, &mut bob, rng);
        keep(&alice);
        keep(&bob);
        pass(&mut bob, &mut alice, rng);
    }
    for phase in 0..=5 {
        let begins = |bytes: &&Vec<u8>| bytes[HANDSHAKE] == 0 && bytes[PHASE] == phase;
        assert!(seen.iter().any(|bytes| begins(&bytes)), "phase {phase}");
    }
    seen
}

#[test]
fn r_1001_another_version() {
    let (alice, _) = talking(&mut TestRng::new(1));
    let stored = alice.to_bytes();
    for version in [0u16, 2, 0x0100, u16::MAX] {
        let edit = |bytes: &mut Vec<u8>| bytes[..2].copy_from_slice(&version.to_be_bytes());
        assert_eq!(with(&stored, edit), Err("R-1001"), "{version}");
        // Whatever follows: another version may have another layout.
        assert_eq!(code(&version.to_be_bytes()), Err("R-1001"));
    }
}

#[test]
fn r_1002_every_truncation_and_extension() {
    for stored in every_phase(&mut TestRng::new(1)) {
        for end in 0..stored.len() {
            assert_eq!(code(&stored[..end]), Err("R-1002"), "{end}");
        }
        assert_eq!(with(&stored, |bytes| bytes.push(0)), Err("R-1002"));
    }
}

#[test]
fn r_1002_flags_and_kinds() {
    for stored in every_phase(&mut TestRng::new(1)) {
        assert_eq!(with(&stored, |bytes| bytes[ROLE] = 2), Err("R-1002"));
        assert_eq!(with(&stored, |bytes| bytes[HANDSHAKE] = 3), Err("R-1002"));
        if stored[HANDSHAKE] != 0 {
            continue;
        }
        assert_eq!(with(&stored, |bytes| bytes[HAS_REMOTE] = 2), Err("R-1002"));
        assert_eq!(with(&stored, |bytes| bytes[SENDING_DUE] = 0xff), Err("R-1002"));
        assert_eq!(with(&stored, |bytes| bytes[PHASE] = 6), Err("R-1002"));
    }
}

#[test]
fn r_1002_a_remote_key_that_is_not_there() {
    let (alice, bob) = pair(&mut TestRng::new(1));
    // Alice holds Bob's prekey; the flag alone says that she does not.
    assert_eq!(with(&alice.to_bytes(), |bytes| bytes[HAS_REMOTE] = 0), Err("R-1002"));
    for at in [REMOTE, REMOTE + 31] {
        assert_eq!(with(&bob.to_bytes(), |bytes| bytes[at] = 1), Err("R-1002"));
    }
}

/// One bit would have the next message sealed under keys of zeros.
#[test]
fn r_1002_no_step_due_where_there_is_no_sending_chain() {
    let rng = &mut TestRng::new(1);
    let (mut alice, mut bob) = pair(rng);
    assert_eq!(with(&alice.to_bytes(), |bytes| bytes[SENDING_DUE] = 0), Err("R-1002"));
    let hello = seal(&mut alice, b"hello", rng);
    assert_eq!(with(&alice.to_bytes(), |bytes| bytes[SENDING_DUE] = 0), Ok(()));
    open(&mut bob, &hello).unwrap();
    assert_eq!(with(&bob.to_bytes(), |bytes| bytes[SENDING_DUE] = 0), Err("R-1002"));
}

/// Where the assembly of a session stands whose phase has one, and the bits
/// that it may have.
fn assembly(stored: &[u8]) -> Option<(usize, u64)> {
    let (at, blocks) = match stored[PHASE] {
        1 => (PHASE + 1 + 64 + 32 + 1, 34),
        3 => (PHASE + 1, 37),
        5 => (PHASE + 1 + 32 + 32 + 1088, 37),
        _ => return None,
    };
    Some((at, (1 << blocks) - 1))
}

#[test]
fn r_1002_bitmaps_of_an_assembly() {
    let (mut partial, mut empty) = (0, 0);
    for stored in every_phase(&mut TestRng::new(1)) {
        let Some((at, full)) =
            Some(&stored).filter(|s| s[HANDSHAKE] == 0).and_then(|s| assembly(s))
        else {
            continue;
        };
        assert_eq!(with(&stored, |bytes| bytes[at] = 2), Err("R-1002"));
        if stored[PHASE] == 1 {
            assert_eq!(with(&stored, |bytes| bytes[at - 1] = 2), Err("R-1002"));
        }
        // An assembly in place of the one that is there, with the blocks that
        // its bitmap names.
        let end = if stored[at] == 1 {
            partial += 1;
            let have = u64::from_be_bytes(stored[at + 9..at + 17].try_into().unwrap());
            at + 17 + 32 * have.count_ones() as usize
        } else {
            empty += 1;
            at + 1
        };
        let holding = |have: u64| {
            let blocks = vec![5; 32 * (have & full).count_ones() as usize];
            let new = [&[1][..], &[9; 8], &have.to_be_bytes(), &blocks].concat();
            code(&[&stored[..at], &new, &stored[end..]].concat())
        };
        assert_eq!(holding(full >> 1), Ok(()));
        // The largest phase: a ciphertext, and all blocks of a key but one.
        let largest = at + 17 + 32 * (full.count_ones() as usize - 1) - PHASE;
        assert!(largest <= 2_322, "{largest}");
        assert_eq!(largest == 2_322, stored[PHASE] == 5);
        assert_eq!(holding(0), Ok(()));
        assert_eq!(holding(full), Err("R-1002"));
        assert_eq!(holding(full + 1), Err("R-1002"));
        assert_eq!(holding(1 << 63), Err("R-1002"));
    }
    assert!(partial > 0 && empty > 0);
}

/// The tail of a stored session: old chains, positions and skipped keys, each
/// entry of `n` with another number.
fn tail(old: u16, positions: u16, skipped: u16) -> Vec<u8> {
    let mut tail = vec![];
    for (count, rest) in [(old, 56), (positions, 12), (skipped, 40)] {
        tail.extend(count.to_be_bytes());
        for n in 1..=u32::from(count) {
            tail.extend(n.to_be_bytes());
            tail.resize(tail.len() + rest, 5);
        }
    }
    tail
}

/// Everything before the tail, of a session whose receiving chain is the last of many.
fn far_along(stored: &[u8]) -> Vec<u8> {
    let mut head = stored[..=PHASE].to_vec();
    head[SERIAL..SERIAL + 4].fill(0xff);
    head
}

/// Where the receiving chain's serial number stands, without a sealed handshake.
const SERIAL: usize = 36 + 278;

#[test]
fn r_1002_serial_numbers_that_contradict_each_other() {
    let (alice, _) = pair(&mut TestRng::new(1));
    let stored = alice.to_bytes();
    // What has not been reached has no old chain, position or key.
    for (old, positions, skipped) in [(1, 0, 0), (0, 1, 0), (0, 0, 1)] {
        let tail = tail(old, positions, skipped);
        assert_eq!(code(&[&stored[..=PHASE], &tail].concat()), Err("R-1002"));
        assert_eq!(code(&[far_along(&stored), tail].concat()), Ok(()));
    }
    // Old chains rise.
    let mut bytes = [far_along(&stored), tail(2, 0, 0)].concat();
    bytes[PHASE + 3..PHASE + 7].copy_from_slice(&2u32.to_be_bytes());
    assert_eq!(code(&bytes), Err("R-1002"));
}

#[test]
fn r_1003_counts_over_their_bounds() {
    let (alice, _) = pair(&mut TestRng::new(1));
    // Idle, and nothing to remember.
    let stored = alice.to_bytes();
    let head = &far_along(&stored)[..];
    assert_eq!(stored[PHASE], 0);
    assert_eq!(&stored[PHASE + 1..], tail(0, 0, 0));
    let bounds = [MAX_OLD_CHAINS, REMEMBERED_POSITIONS, MAX_SKIPPED_KEYS];
    let [old, positions, skipped] = bounds.map(|bound| u16::try_from(bound).unwrap());
    let read = |a, b, c| {
        let bytes = [head, &tail(a, b, c)].concat();
        let session = Session::from_bytes(&bytes).map_err(StateError::code)?;
        assert_eq!(session.to_bytes()[..], bytes);
        Ok(session.skipped_keys())
    };
    assert_eq!(read(old, positions, skipped), Ok(MAX_SKIPPED_KEYS));
    assert_eq!(read(old + 1, 0, 0), Err("R-1003"));
    assert_eq!(read(0, positions + 1, 0), Err("R-1003"));
    assert_eq!(read(0, 0, skipped + 1), Err("R-1003"));
    // The count is refused before anything is read or made room for.
    for counts in [&[0xff, 0xff][..], &[0, 0, 0xff, 0xff], &[0, 0, 0, 0, 0xff, 0xff]] {
        assert_eq!(code(&[head, counts].concat()), Err("R-1003"));
    }
}

#[test]
fn r_1002_two_skipped_keys_at_one_place() {
    let (alice, _) = pair(&mut TestRng::new(1));
    let stored = alice.to_bytes();
    let mut bytes = [far_along(&stored), tail(0, 0, 2)].concat();
    assert_eq!(code(&bytes), Ok(()));
    // The second entry's serial becomes the first's; day and key differ.
    let second = PHASE + 1 + 6 + 44;
    bytes[second..second + 4].copy_from_slice(&1u32.to_be_bytes());
    bytes[second + 8..second + 44].fill(6);
    assert_eq!(code(&bytes), Err("R-1002"));
}

#[test]
fn r_1004_keys_that_are_none() {
    let rng = &mut TestRng::new(1);
    let (mut alice, mut bob) = pair(rng);
    let mut prime = [0xff; 32];
    (prime[0], prime[31]) = (0xed, 0x7f);
    for session in [&alice, &bob] {
        for key in [[0xff; 32], prime] {
            let edit = |bytes: &mut Vec<u8>| bytes[REMOTE..REMOTE + 32].copy_from_slice(&key);
            assert_eq!(with(&session.to_bytes(), edit), Err("R-1004"));
        }
    }
    pass(&mut alice, &mut bob, rng);
    pass(&mut alice, &mut bob, rng);
    assert!(matches!(bob.inner.pq.live().phase, Phase::Keyed(_)));
    let stored = bob.to_bytes();
    assert_eq!(stored[PHASE], 4);
    let edit = |bytes: &mut Vec<u8>| bytes[PHASE + 1..PHASE + 3].fill(0xff);
    assert_eq!(with(&stored, edit), Err("R-1004"));
    assert_eq!(code(&stored), Ok(()));
}

#[test]
fn what_is_read_is_written_in_the_same_bytes() {
    // Every byte of every phase, altered: refused, or kept as it is.
    let mut refused = 0;
    for stored in every_phase(&mut TestRng::new(1)) {
        for at in 0..stored.len() {
            let mut altered = stored.clone();
            altered[at] ^= 1 << (at % 8);
            match Session::from_bytes(&altered) {
                Ok(session) => assert_eq!(session.to_bytes()[..], altered, "{at}"),
                Err(_) => refused += 1,
            }
        }
    }
    assert!(refused > 100);
}
