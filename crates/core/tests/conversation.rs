//! Conversations through the public API.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    unreachable_pub,
    reason = "a test may panic"
)]

mod common;

use common::*;
use undertone_core::*;

#[test]
fn first_contact_and_replies() {
    let rng = &mut TestRng::new(1);
    let mut contact = first_contact(rng, BundleKind::OneTime);
    let hello = seal(&mut contact.session, b"hello", rng);
    let again = seal(&mut contact.session, b"are you there?", rng);
    assert_eq!((hello.len(), again.len()), (4096, 4096));

    // Any of them can establish the session; the other is then a repeat.
    let (mut bob, content) = accept(&contact, &again).unwrap();
    assert_eq!(content, b"are you there?");
    let greeting = Greeting::open(&contact.link.hello_key(), &hello).unwrap();
    assert_eq!(greeting.session_id(&contact.prekey.digest()), bob.id());
    assert_eq!(open(&mut bob, greeting.envelope()).unwrap(), b"hello");

    let reply = seal(&mut bob, b"hi", rng);
    assert_eq!(reply.len(), 1024);
    assert!(!contact.session.confirmed());
    assert_eq!(open(&mut contact.session, &reply).unwrap(), b"hi");
    assert!(contact.session.confirmed());
    assert_eq!(seal(&mut contact.session, b"now short", rng).len(), 1024);
}

#[test]
fn an_epoch_every_7_alternating_messages_and_5_for_the_first() {
    let rng = &mut TestRng::new(2);
    let mut contact = first_contact(rng, BundleKind::OneTime);
    let text = [b'x'; 280];
    let hello = seal(&mut contact.session, &text, rng);
    let (mut bob, _) = accept(&contact, &hello).unwrap();
    let mut alice = contact.session;
    let mut raised = vec![];
    for number in 2..=40 {
        let (from, to) =
            if number % 2 == 0 { (&mut bob, &mut alice) } else { (&mut alice, &mut bob) };
        let before = from.epoch();
        let envelope = seal(from, &text, rng);
        if from.epoch() > before {
            raised.push(number);
        }
        assert_eq!(open(to, &envelope).unwrap(), text);
        assert_eq!(from.epoch(), to.epoch());
    }
    assert_eq!(raised, [5, 12, 19, 26, 33, 40]);
}

#[test]
fn full_buckets_still_heal_every_49_messages() {
    let rng = &mut TestRng::new(3);
    let (mut alice, mut bob) = pair(rng);
    let full = vec![7; 1024 - 97 - 2 - 128];
    let mut raised = vec![];
    for number in 1..=160 {
        let (from, to) =
            if number % 2 == 1 { (&mut alice, &mut bob) } else { (&mut bob, &mut alice) };
        let before = from.epoch();
        let envelope = seal(from, &full, rng);
        assert_eq!(envelope.len(), 1024);
        if from.epoch() > before {
            raised.push(number);
        }
        assert_eq!(open(to, &envelope).unwrap(), full);
    }
    let gaps: Vec<_> = raised.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert!(gaps.iter().all(|gap| *gap == 49), "{raised:?}");
}

#[test]
fn out_of_order_across_steps() {
    let rng = &mut TestRng::new(4);
    let (mut alice, mut bob) = pair(rng);
    let mut late = vec![];
    for round in 0..5u8 {
        let envelopes: Vec<_> = (0..6u8).map(|i| seal(&mut alice, &[round, i], rng)).collect();
        // Only the third arrives in time.
        assert_eq!(open(&mut bob, &envelopes[2]).unwrap(), [round, 2]);
        late.extend(
            envelopes.into_iter().enumerate().filter(|(i, _)| *i != 2).map(|(i, e)| (round, i, e)),
        );
        let back = seal(&mut bob, b"ok", rng);
        open(&mut alice, &back).unwrap();
    }
    for (round, i, envelope) in late.iter().rev() {
        assert_eq!(open(&mut bob, envelope).unwrap(), [*round, *i as u8]);
    }
    assert_eq!(bob.skipped_keys(), 0);
    for (_, _, envelope) in &late {
        let error = open(&mut bob, envelope).unwrap_err();
        assert!(matches!(error, OpenError::Duplicate | OpenError::KeyGone), "{error}");
    }
}

#[test]
fn a_failed_commit_changes_nothing() {
    let rng = &mut TestRng::new(5);
    let (mut alice, mut bob) = pair(rng);
    let before = alice.to_bytes();
    let failed = alice.seal(b"lost", rng).unwrap().commit(|_, _| Err("disk full"));
    assert_eq!(failed, Err("disk full"));
    assert_eq!(alice.to_bytes(), before);
    drop(alice.seal(b"dropped", rng).unwrap());
    assert_eq!(alice.to_bytes(), before);

    let envelope = seal(&mut alice, b"message", rng);
    let before = bob.to_bytes();
    let failed = bob.open(&envelope, TODAY).unwrap().commit(|_| Err("disk full"));
    assert_eq!(failed.unwrap_err(), "disk full");
    assert_eq!(bob.to_bytes(), before);
    assert_eq!(open(&mut bob, &envelope).unwrap(), b"message");
}

#[test]
fn stored_and_read_at_every_step() {
    let rng = &mut TestRng::new(6);
    let mut contact = first_contact(rng, BundleKind::LastResort);
    let reload = |session: &mut Session| {
        let bytes = session.to_bytes();
        *session = Session::from_bytes(&bytes).unwrap();
        assert_eq!(session.to_bytes(), bytes);
    };
    reload(&mut contact.session);
    let hello = seal(&mut contact.session, b"hello", rng);
    let (mut bob, _) = accept(&contact, &hello).unwrap();
    let mut alice = contact.session;
    let mut largest = 0;
    for number in 0..60usize {
        let (from, to) =
            if number % 2 == 0 { (&mut bob, &mut alice) } else { (&mut alice, &mut bob) };
        let text = vec![1; (number * 37) % 700];
        reload(from);
        let envelope = seal(from, &text, rng);
        reload(from);
        reload(to);
        assert_eq!(open(to, &envelope).unwrap(), text);
        if number > 1 {
            largest = largest.max(from.to_bytes().len()).max(to.to_bytes().len());
        }
    }
    assert!(alice.epoch() > 4);
    assert!(largest <= 3_000, "{largest}");
    println!("largest stored session: {largest} bytes");
}

#[test]
fn r_505_a_rolled_back_peer_is_noticed() {
    let rng = &mut TestRng::new(7);
    let (mut alice, mut bob) = pair(rng);
    let old = Session::from_bytes(&alice.to_bytes()).unwrap();
    let first = seal(&mut alice, b"one", rng);
    open(&mut bob, &first).unwrap();
    let mut alice = old;
    let second = seal(&mut alice, b"two", rng);
    let error = open(&mut bob, &second).unwrap_err();
    // Alice had a step due, so the copies drew different ratchet keys.
    assert_eq!(error, OpenError::PeerRolledBack(RollbackSign::ChainConstants));
    assert!(error.is_reason_for_reset() && error.is_behind_a_header());

    let (mut alice, mut bob) = pair(rng);
    let envelope = seal(&mut alice, b"zero", rng);
    open(&mut bob, &envelope).unwrap();
    let mut copy = Session::from_bytes(&alice.to_bytes()).unwrap();
    let envelope = seal(&mut alice, b"one", rng);
    open(&mut bob, &envelope).unwrap();
    assert_eq!(open(&mut bob, &envelope), Err(OpenError::Duplicate));
    let envelope = seal(&mut copy, b"another one", rng);
    let expected = OpenError::PeerRolledBack(RollbackSign::Position);
    assert_eq!(open(&mut bob, &envelope), Err(expected));
}

#[test]
fn r_510_a_gap_over_the_bound() {
    let rng = &mut TestRng::new(8);
    let (mut alice, mut bob) = pair(rng);
    let envelopes: Vec<_> =
        (0..bounds::MAX_SKIP + 2).map(|_| seal(&mut alice, b"x", rng)).collect();
    let before = bob.to_bytes();
    let last = envelopes.last().unwrap();
    assert_eq!(open(&mut bob, last), Err(OpenError::GapTooLarge));
    assert_eq!(bob.to_bytes(), before);
    open(&mut bob, &envelopes[envelopes.len() - 2]).unwrap();
    assert_eq!(bob.skipped_keys(), bounds::MAX_SKIP as usize);
    for envelope in envelopes.iter().rev().skip(2) {
        open(&mut bob, envelope).unwrap();
    }
    open(&mut bob, last).unwrap();
    assert_eq!(bob.skipped_keys(), 0);
}

#[test]
fn every_altered_byte_is_refused_and_nothing_changes() {
    let rng = &mut TestRng::new(9);
    let (mut alice, mut bob) = pair(rng);
    let envelope = seal(&mut alice, b"message", rng);
    let before = bob.to_bytes();
    for at in 0..envelope.len() {
        let mut altered = envelope.clone();
        altered[at] ^= 1 << (at % 8);
        let error = bob.open(&altered, TODAY).err().unwrap();
        let expected = if at < 81 { OpenError::NotForThisSession } else { OpenError::BodyAltered };
        assert_eq!(error, expected, "{at}");
    }
    for len in [0, 1, 1023, 1025, 2048 - 1, 1 << 17] {
        assert_eq!(bob.open(&vec![0; len], TODAY).err(), Some(OpenError::Size));
    }
    assert_eq!(bob.to_bytes(), before);
    assert_eq!(open(&mut bob, &envelope).unwrap(), b"message");
}

#[test]
fn a_greeting_that_fails_changes_nothing() {
    let rng = &mut TestRng::new(10);
    let mut contact = first_contact(rng, BundleKind::OneTime);
    let hello = seal(&mut contact.session, b"hello", rng);
    for at in (0..hello.len()).step_by(7) {
        let mut altered = hello.clone();
        altered[at] ^= 1;
        assert!(accept(&contact, &altered).is_err(), "{at}");
    }
    let greeting = Greeting::open(&contact.link.hello_key(), &hello).unwrap();
    let introduction = greeting
        .accept(&contact.bob.device, &contact.prekey, &contact.link, TODAY, |_| false)
        .unwrap();
    let pending = introduction.open(None, TODAY).unwrap();
    assert_eq!(pending.reply().as_bytes(), b"alice's mailbox");
    assert_eq!(pending.commit(|_| Err::<(), _>("disk full")).err(), Some("disk full"));
    let (bob, _) = accept(&contact, &hello).unwrap();
    assert_eq!(bob.id(), contact.session.id());
}

#[test]
fn r_404_r_405_r_406_r_408_handshakes() {
    let rng = &mut TestRng::new(11);
    let mut contact = first_contact(rng, BundleKind::OneTime);
    let hello = seal(&mut contact.session, b"hello", rng);
    let greet = || Greeting::open(&contact.link.hello_key(), &hello).unwrap();
    let reply = Routing::new(b"").unwrap();
    let (other, _) = generate_prekey(BundleKind::OneTime, &contact.bob.device, TODAY, &reply, rng);
    let refused = greet().accept(&contact.bob.device, &other, &contact.link, TODAY, |_| false);
    assert_eq!(refused.err(), Some(HandshakeError::OtherBundle));
    let late = TODAY.plus(bounds::BUNDLE_LIFETIME_DAYS + bounds::RETENTION_DAYS + 1);
    let refused =
        greet().accept(&contact.bob.device, &contact.prekey, &contact.link, late, |_| false);
    assert_eq!(refused.err(), Some(HandshakeError::Expired));
    let stranger = Person::new(rng);
    let refused =
        greet().accept(&stranger.device, &contact.prekey, &contact.link, TODAY, |_| false);
    assert_eq!(refused.err(), Some(HandshakeError::IdentitySealed));
    let link = LinkSecret::generate(rng);
    assert_eq!(
        Greeting::open(&link.hello_key(), &hello).err(),
        Some(HandshakeError::NotSealedForThisLink)
    );
    let fingerprint = contact.bob.account.public().fingerprint();
    let bundle =
        Bundle::open(&contact.link.card_key(), &contact.sealed, &fingerprint, TODAY).unwrap();
    let checked = bundle.check(None).unwrap();
    let oneself = initiate(&contact.bob.device, checked, &contact.link, &reply, rng);
    assert_eq!(oneself.err(), Some(HandshakeError::Oneself));
}

#[test]
fn r_350_to_r_357_bundles() {
    let rng = &mut TestRng::new(12);
    let contact = first_contact(rng, BundleKind::OneTime);
    let card = contact.link.card_key();
    let fingerprint = contact.bob.account.public().fingerprint();
    let open = |sealed: &[u8], today| Bundle::open(&card, sealed, &fingerprint, today).err();
    assert_eq!(open(&contact.sealed[1..], TODAY), Some(BundleError::Length));
    let mut altered = contact.sealed.clone();
    altered[100] ^= 1;
    assert_eq!(open(&altered, TODAY), Some(BundleError::NotSealedForThisLink));
    assert_eq!(open(&contact.sealed, TODAY.plus(30)), None);
    assert_eq!(open(&contact.sealed, TODAY.plus(31)), Some(BundleError::Expired));
    let stranger = contact.alice.account.public().fingerprint();
    let other = Bundle::open(&card, &contact.sealed, &stranger, TODAY).err();
    assert_eq!(other, Some(BundleError::OtherAccount));
    let newer = DeviceList::issue(
        &contact.bob.account,
        Some(&contact.bob.device.list().record()),
        0,
        &[contact.bob.device.keys()],
    )
    .unwrap();
    let bundle = Bundle::open(&card, &contact.sealed, &fingerprint, TODAY).unwrap();
    assert_eq!(bundle.check(Some(&newer.record())).err(), Some(IdentityError::LowerCounter));
}

#[test]
fn secrets_do_not_print() {
    let rng = &mut TestRng::new(13);
    let contact = first_contact(rng, BundleKind::OneTime);
    let (account, device) = (AccountSecret::generate(rng), DeviceSecret::generate(rng));
    let list = DeviceList::issue(&account, None, 1, &[device.public()]).unwrap();
    let copy = DeviceSecret::from_bytes(&device.to_bytes());
    let local = LocalDevice::new(copy, list).unwrap();
    let (sealer, file) = FileSealer::new(1, rng).unwrap();
    let backup = BackupSecret::generate(rng);
    let sealing = BackupSealer::new(&backup, 1, rng);
    let (alice, _) = pair(rng);
    let halves: Vec<u8> =
        contact.prekey.dangerous_secrets().iter().flat_map(|(_, half)| half.to_vec()).collect();
    let cases: [(&str, String, &[u8]); 11] = [
        ("link", format!("{:?}", contact.link), contact.link.as_bytes()),
        ("prekey", format!("{:?}", contact.prekey), &halves),
        ("account", format!("{account:?}"), &*account.to_bytes()),
        ("device", format!("{device:?}"), &*device.to_bytes()),
        ("local device", format!("{local:?}"), &*device.to_bytes()),
        ("session", format!("{:?}", contact.session), &contact.session.to_bytes()[36..]),
        ("session in use", format!("{alice:?}"), &alice.to_bytes()[36..]),
        ("file", format!("{file:?}"), file.as_bytes()),
        ("file sealer", format!("{sealer:?}"), file.as_bytes()),
        ("backup", format!("{backup:?}"), backup.as_bytes()),
        ("backup sealer", format!("{sealing:?}"), backup.as_bytes()),
    ];
    for (name, text, secret) in cases {
        // Any four bytes of it that are no small numbers, as a list or in hex.
        let parts = secret.windows(4).filter(|part| part.iter().all(|byte| *byte > 15));
        let mut looked = 0;
        for part in parts {
            let list: Vec<String> = part.iter().map(u8::to_string).collect();
            let hex: String = part.iter().map(|byte| format!("{byte:02x}")).collect();
            assert!(!text.contains(&list.join(", ")), "{name}: {text}");
            assert!(!text.to_lowercase().contains(&hex), "{name}: {text}");
            looked += 1;
        }
        assert!(looked > 10, "{name}: there was nothing to look for");
    }
    // The search finds what is printed.
    let printed = format!("{:?}", contact.link.as_bytes());
    let four: Vec<String> = contact.link.as_bytes()[..4].iter().map(u8::to_string).collect();
    assert!(printed.contains(&four.join(", ")));
}

#[test]
fn content_of_every_length_up_to_the_largest() {
    let rng = &mut TestRng::new(14);
    let (mut alice, mut bob) = pair(rng);
    for len in [0, 1, 797, 798, 2000, 16_000, 61_000, bounds::MAX_CONTENT] {
        let content = vec![3; len];
        let envelope = seal(&mut alice, &content, rng);
        assert!(Bucket::of_len(envelope.len()).is_some());
        assert_eq!(open(&mut bob, &envelope).unwrap(), content);
    }
    let too_long = vec![3; bounds::MAX_CONTENT + 1];
    assert_eq!(alice.seal(&too_long, rng).err(), Some(SealError::ContentTooLong));
}

/// Both start at once: each has two sessions then, and receives on both,
/// whichever of them they go on with. Which one that is, and what a network
/// that loses does to it, is in the simulation (`simulation/start.rs`).
#[test]
fn simultaneous_start() {
    for seed in 100..110 {
        let rng = &mut TestRng::new(seed);
        let mut to_bob = first_contact(rng, BundleKind::OneTime);
        let mut to_alice = first_contact(rng, BundleKind::OneTime);
        // The same two people: Bob uses a link of Alice's.
        let link = LinkSecret::generate(rng);
        let reply = Routing::new(b"alice's mailbox").unwrap();
        let alice = &to_bob.alice.device;
        let (prekey, bundle) = generate_prekey(BundleKind::OneTime, alice, TODAY, &reply, rng);
        let sealed = bundle.seal(&link.card_key(), rng);
        let bobs = start(&to_bob.bob, &to_bob.alice, &link, &sealed, rng);
        to_alice.bob = std::mem::replace(&mut to_bob.alice, Person::new(rng));
        (to_alice.link, to_alice.prekey, to_alice.session) = (link, prekey, bobs);

        // The hellos cross.
        let hello = seal(&mut to_bob.session, b"hello from alice", rng);
        let other = seal(&mut to_alice.session, b"hello from bob", rng);
        let (bobs_second, text) = accept(&to_bob, &hello).unwrap();
        assert_eq!(text, b"hello from alice");
        let (alices_second, text) = accept(&to_alice, &other).unwrap();
        assert_eq!(text, b"hello from bob");

        let mut alices = [to_bob.session, alices_second];
        let mut bobs = [to_alice.session, bobs_second];
        alices.sort_by_key(Session::id);
        bobs.sort_by_key(Session::id);
        assert_eq!(alices[0].id(), bobs[0].id());
        assert_eq!(alices[1].id(), bobs[1].id());
        for round in 0..20u8 {
            let envelope = seal(&mut alices[0], &[round], rng);
            receive(&mut bobs, &envelope, &[round]);
            let envelope = seal(&mut bobs[0], &[round, 1], rng);
            receive(&mut alices, &envelope, &[round, 1]);
        }
        assert!(alices[0].confirmed() && bobs[0].confirmed());
        assert!(alices[0].epoch() > 2);
    }
}

/// Opens on whichever session it is for.
fn receive(sessions: &mut [Session; 2], envelope: &[u8], expected: &[u8]) {
    let opened: Vec<_> = sessions
        .iter_mut()
        .filter_map(|session| {
            // An unconfirmed session's envelopes still carry the handshake.
            let behind =
                envelope.len().checked_sub(2428).map(|len| &envelope[envelope.len() - len..]);
            open(session, envelope).or_else(|_| open(session, behind.unwrap_or(envelope))).ok()
        })
        .collect();
    assert_eq!(opened, [expected]);
}
