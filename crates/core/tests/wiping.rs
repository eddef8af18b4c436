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
#[path = "common/memory.rs"]
mod memory;

use common::*;
use memory::occurrences;
use undertone_core::*;

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

/// Names and complements of what a list of secrets holds.
fn complements(secrets: &[NamedSecret]) -> Vec<(&'static str, Vec<u8>)> {
    secrets.iter().map(|(name, secret)| (*name, complement(&secret[..32]))).collect()
}

#[track_caller]
fn assert_gone(needles: &[(&'static str, Vec<u8>)], what: &str) {
    for (name, needle) in needles {
        assert_eq!(occurrences(needle), 0, "{name} outlived {what}");
    }
}

/// Root, chain, header and message keys, ratchet key, KEM seed, expanded key
/// and shared secret: all that both sides of a conversation hold, at each
/// moment of an exchange.
#[test]
fn every_kind_of_secret_goes_with_its_session() {
    let mut names = std::collections::BTreeSet::new();
    for turns in 0..8 {
        let rng = &mut TestRng::new(50 + turns);
        let (mut alice, mut bob) = pair(rng);
        for _ in 0..turns {
            let _lost = seal(&mut alice, b"never arrives", rng);
            let envelope = seal(&mut alice, b"message", rng);
            open(&mut bob, &envelope).unwrap();
            std::mem::swap(&mut alice, &mut bob);
        }
        let mut needles = complements(&alice.dangerous_secrets());
        needles.extend(complements(&bob.dangerous_secrets()));
        for (name, needle) in &needles {
            assert!(occurrences(needle) >= 1, "{name} is there while the sessions live");
            names.insert(*name);
        }
        drop((alice, bob));
        assert_gone(&needles, "its session");
    }
    let all = [
        "ML-KEM secret",
        "ML-KEM secret vector",
        "ML-KEM seed",
        "chain key",
        "header key",
        "message key",
        "ratchet key",
        "root key",
    ];
    assert_eq!(names.into_iter().collect::<Vec<_>>(), all);
}

/// What lives beside sessions: the account, a device, a file's key and a backup's
/// secret, also after they have been used.
#[test]
fn the_secrets_of_a_person_go_with_them() {
    let rng = &mut TestRng::new(71);
    let account = AccountSecret::generate(rng);
    let device = DeviceSecret::generate(rng);
    let (mut sealer, file) = FileSealer::new(3, rng).unwrap();
    let backup = BackupSecret::generate(rng);
    let needles = [
        ("account", complement(&*account.to_bytes())),
        ("signing key", complement(&device.to_bytes()[..32])),
        ("key for exchanges", complement(&device.to_bytes()[32..])),
        ("file key", complement(file.as_bytes())),
        ("backup secret", complement(backup.as_bytes())),
    ];
    let list = DeviceList::issue(&account, None, 1, &[device.public()]).unwrap();
    let local = LocalDevice::new(device, list).unwrap();
    let link = LinkSecret::generate(rng);
    let reply = Routing::new(b"mailbox").unwrap();
    let bundle = generate_prekey(BundleKind::OneTime, &local, TODAY, &reply, rng);
    sealer.seal_next(b"abc").unwrap();
    let sealing = BackupSealer::new(&backup, 1, rng);
    for (name, needle) in &needles {
        assert!(occurrences(needle) >= 1, "{name} is there while its owner lives");
    }
    drop((account, local, link, bundle, sealer, file, backup, sealing));
    assert_gone(&needles, "its owner");
}

/// What a message prepared, and nobody stored.
#[test]
fn a_candidate_goes_with_its_refusal() {
    let rng = &mut TestRng::new(5);
    let (mut alice, mut bob) = pair(rng);
    let secrets =
        |state: &StateView<'_>| secrets_of(&Session::from_bytes(&state.to_bytes()).unwrap());
    let mut needles = vec![];
    let refused = alice.seal(b"not stored", rng).unwrap().commit(|state, _| {
        needles = secrets(state);
        Err::<(), _>("disk full")
    });
    assert!(refused.is_err());
    // The first message of a chain: all three are new.
    assert_gone(&needles, "the message that was not stored");
    let envelope = seal(&mut alice, b"stored", rng);
    let refused = bob.open(&envelope, TODAY).unwrap().commit(|state| {
        needles = secrets(state);
        Err::<(), _>("disk full")
    });
    assert!(refused.is_err());
    // Only the root key is new on receipt, and Alice has it too.
    drop((alice, bob));
    assert_gone(&needles[..1], "the message that was not stored");
}

/// What a first contact is made of: the prekey's halves and the link's keys.
#[test]
fn the_secrets_of_a_first_contact_go_with_it() {
    let rng = &mut TestRng::new(6);
    let mut contact = first_contact(rng, BundleKind::OneTime);
    let mut needles = complements(&contact.prekey.dangerous_secrets());
    needles.extend(complements(&contact.link.dangerous_secrets()));
    let hello = seal(&mut contact.session, b"hello", rng);
    let (mut bob, _) = accept(&contact, &hello).unwrap();
    for (name, needle) in &needles {
        let derived = ["card key", "hello key", "link's share of the handshake"].contains(name);
        assert!(derived || occurrences(needle) >= 1, "{name} is there while it is needed");
    }
    // The prekey was Bob's first ratchet key.
    let reply = seal(&mut bob, b"hi", rng);
    open(&mut contact.session, &reply).unwrap();
    needles.extend(complements(&bob.dangerous_secrets()));
    drop((contact, bob));
    assert_gone(&needles, "the first contact");
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
