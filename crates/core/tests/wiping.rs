//! Secrets are gone from memory after drop: read from outside, through the
//! kernel's view of this process.
#![cfg(target_os = "linux")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    unreachable_pub,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    reason = "a test may panic"
)]

mod common;

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};

use common::*;
use undertone_core::*;

/// Occurrences in this process's writable memory of the bytes whose
/// complement is given: so the needle itself is none of them.
fn occurrences(complement: &[u8]) -> usize {
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
    let mut memory = File::open("/proc/self/mem").unwrap();
    let mut found = 0;
    let mut chunk = vec![0; 1 << 16];
    for line in maps.lines().filter(|line| line.contains(" rw")) {
        let (range, _) = line.split_once(' ').unwrap();
        let (start, end) = range.split_once('-').unwrap();
        let start = u64::from_str_radix(start, 16).unwrap();
        let end = u64::from_str_radix(end, 16).unwrap();
        let mut at = start;
        while at < end {
            let len = chunk.len().min((end - at) as usize);
            if memory.seek(SeekFrom::Start(at)).is_err()
                || memory.read_exact(&mut chunk[..len]).is_err()
            {
                break;
            }
            // The chunk's own copy would count itself: it is wiped after use.
            found += chunk[..len]
                .windows(complement.len())
                .filter(|window| window.iter().zip(complement).all(|(a, b)| *a == !*b))
                .count();
            chunk[..len].fill(0);
            at += len as u64 - if at + (len as u64) < end { complement.len() as u64 } else { 0 };
        }
    }
    found
}

fn complement(secret: &[u8]) -> Vec<u8> {
    secret.iter().map(|byte| !byte).collect()
}

/// Root key, ratchet key and the like: fields of the stored form, by offset
/// (`protocol-spec/10-state.md`), of a confirmed session.
fn secrets_of(session: &Session) -> Vec<(&'static str, Vec<u8>)> {
    let state = session.to_bytes();
    let core = 2 + 1 + 32 + 1;
    [
        ("root key", core),
        ("ratchet key", core + 44),
        ("sending chain key", core + 44 + 32 + 33 + 64 + 1 + 32),
    ]
    .map(|(name, at)| (name, complement(&state[at..at + 32])))
    .into()
}

#[test]
fn secrets_are_gone_after_drop() {
    let rng = &mut TestRng::new(3);

    // The search works: what lives is found.
    let link = LinkSecret::generate(rng);
    let needle = complement(link.as_bytes());
    assert!(occurrences(&needle) >= 1);
    let held = Box::new(link);
    assert!(occurrences(&needle) >= 1);
    drop(held);

    let (mut alice, mut bob) = pair(rng);
    for _ in 0..6 {
        let envelope = seal(&mut alice, b"message", rng);
        open(&mut bob, &envelope).unwrap();
        std::mem::swap(&mut alice, &mut bob);
    }
    let secrets = secrets_of(&alice);
    for (name, needle) in &secrets {
        assert!(occurrences(needle) >= 1, "{name} is there while the session lives");
    }
    // A step replaces root and ratchet key: the old ones go at once.
    for _ in 0..2 {
        let envelope = seal(&mut alice, b"message", rng);
        open(&mut bob, &envelope).unwrap();
        let envelope = seal(&mut bob, b"message", rng);
        open(&mut alice, &envelope).unwrap();
    }
    for (name, needle) in &secrets {
        assert_eq!(occurrences(needle), 0, "{name} outlived its step");
    }
    let secrets = secrets_of(&alice);
    // Bob's session shares the root key.
    drop((alice, bob));
    for (name, needle) in &secrets {
        assert_eq!(occurrences(needle), 0, "{name} outlived the session");
    }
}

/// The complement of a session's expanded ML-KEM key, where it has one.
fn expanded_key(session: &Session) -> Option<Vec<u8>> {
    let secrets = session.dangerous_secrets();
    let vector = secrets.iter().find(|(name, _)| *name == "ML-KEM secret vector")?;
    Some(complement(&vector.1[..64]))
}

#[test]
fn the_expanded_key_goes_with_its_exchange() {
    let rng = &mut TestRng::new(4);
    let (mut alice, mut bob) = pair(rng);
    let mut turn = || {
        let envelope = seal(&mut alice, b"message", rng);
        open(&mut bob, &envelope).unwrap();
        std::mem::swap(&mut alice, &mut bob);
        expanded_key(&alice).or_else(|| expanded_key(&bob))
    };
    let needle = (0..20).find_map(|_| turn()).expect("an exchange begins");
    assert!(occurrences(&needle) >= 1, "it is there while its key is on offer");
    let gone = (0..20).find(|_| turn().as_ref() != Some(&needle));
    assert!(gone.is_some(), "the exchange ends");
    assert_eq!(occurrences(&needle), 0, "it outlived its exchange");
}
