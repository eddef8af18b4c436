//! Messages: in order, once, whatever breaks.

use super::*;

#[test]
fn what_is_queued_while_the_other_is_away_comes_once_and_in_order() {
    let (mut relay, mut alice, mut bob) = acquainted();
    let contact = only(&mut alice);
    let expected: Vec<String> = (0..40).map(|n| format!("message {n}")).collect();
    for text in &expected {
        alice.queue_text(contact, text, NOW).unwrap();
    }
    relay.send(&mut alice);
    let at_bob = only(&mut bob);
    // The relay pushes everything twice, as if the first acknowledgements had been lost.
    let floors: Vec<u64> = relay.mailboxes.values().map(|m| m.acknowledged).collect();
    relay.push(&mut bob);
    for (mailbox, floor) in relay.mailboxes.values_mut().zip(floors) {
        mailbox.acknowledged = floor;
    }
    relay.push(&mut bob);
    assert_eq!(texts(&mut bob, at_bob), expected);
}

#[test]
fn repeats_under_new_positions_are_recognised_by_the_ratchet() {
    let (mut relay, mut alice, mut bob) = acquainted();
    let contact = only(&mut alice);
    alice.queue_text(contact, "once", NOW).unwrap();
    relay.send(&mut alice);
    // A restored or hostile relay puts every envelope it ever had behind the others.
    for mailbox in relay.mailboxes.values_mut() {
        let again = mailbox.queue.clone();
        mailbox.queue.extend(again);
    }
    relay.push(&mut bob);
    relay.push(&mut alice);
    let at_bob = only(&mut bob);
    assert_eq!(texts(&mut bob, at_bob), ["once"]);
    let told = events(&mut bob);
    let strange = |e: &&EventKind| {
        matches!(
            e,
            EventKind::LinkUsedTwice { .. }
                | EventKind::EnvelopeParked { .. }
                | EventKind::Reset { .. }
        )
    };
    assert_eq!(told.iter().find(strange), None);
}

#[test]
fn junk_is_parked_within_bounds_and_disturbs_nothing() {
    let (mut relay, mut alice, mut bob) = acquainted();
    let contact = only(&mut alice);
    let junk = |n: u64| -> Vec<u8> {
        let mut bytes = vec![0; 1024];
        TestRng(n).try_fill_bytes(&mut bytes).unwrap();
        bytes
    };
    for mailbox in relay.mailboxes.values_mut() {
        mailbox.queue.extend((0..300).map(junk));
    }
    alice.queue_text(contact, "still here", NOW).unwrap();
    relay.settle(&mut [&mut alice, &mut bob]);
    let at_bob = only(&mut bob);
    assert_eq!(texts(&mut bob, at_bob), ["still here"]);
    let parked = bob
        .store
        .transaction(|tx| tx.scan(Table::Parked, &[], None, crate::store::Order::Ascending, 9999))
        .unwrap();
    // Three mailboxes of Bob's were filled, each to its bound.
    assert_eq!(parked.len(), 3 * 256);
}

/// When it arrives, only the newest contacts' header keys are tried.
#[test]
fn an_envelope_behind_the_64th_key_is_opened_on_the_next_day_at_the_latest() {
    let (mut relay, mut alice, mut bob) = acquainted();
    let (at_alice, at_bob) = (only(&mut alice), only(&mut bob));
    let before: Vec<MailboxId> = relay.mailboxes.keys().copied().collect();
    let link = relay.invite(&mut bob, LinkKind::Reusable);
    let new = relay.mailboxes.keys().find(|mailbox| !before.contains(mailbox));
    let mailbox = *new.unwrap();
    for number in 0..33 {
        let mut stranger = person("Somebody", 100 + number);
        relay.add(&mut stranger, &link);
        relay.send(&mut stranger);
    }
    relay.push(&mut bob);
    assert_eq!(bob.contacts().unwrap().len(), 34);
    for text in ["first", "second"] {
        alice.queue_text(at_alice, text, NOW).unwrap();
        let delivery = alice.next_delivery(at_alice).unwrap().unwrap();
        let seq = relay.mailboxes[&mailbox].queue.len() as u64 + 1;
        relay.mailboxes.get_mut(&mailbox).unwrap().queue.push(delivery.envelope.clone());
        let seq = Seq::new(seq);
        let received = bob.receive(&mailbox, INCARNATION, seq, &delivery.envelope, NOW).unwrap();
        assert!(received.unwrap().parked);
        alice.accepted(delivery.id, NOW).unwrap();
    }
    assert!(texts(&mut bob, at_bob).is_empty());
    bob.expire(NOW).unwrap();
    assert_eq!(texts(&mut bob, at_bob), ["first", "second"]);
    // Once a day, however often it is asked for; also where the clock is put back.
    let count = |person: &mut Person| {
        let before = person.store.count;
        person.expire(NOW).unwrap();
        person.store.count - before
    };
    assert_eq!(count(&mut bob), 1, "it looks whether it is due");
    bob.expire(UnixMillis::new(NOW.get() + 9 * 86_400_000)).unwrap();
    assert!(count(&mut bob) > 1);
    let parked = bob
        .store
        .transaction(|tx| tx.scan(Table::Parked, &[], None, crate::store::Order::Ascending, 9))
        .unwrap();
    assert!(parked.is_empty());
    relay.settle(&mut [&mut alice, &mut bob]);
    assert_eq!(texts(&mut bob, at_bob), ["first", "second"]);
}

/// Its header is the contact's, and no later state opens a body that somebody altered.
#[test]
fn r_513_an_altered_body_is_dropped_and_neither_parked_nor_a_reason_to_reset() {
    let (mut relay, mut alice, mut bob) = acquainted();
    let (at_alice, at_bob) = (only(&mut alice), only(&mut bob));
    alice.queue_text(at_alice, "whole", NOW).unwrap();
    let delivery = alice.next_delivery(at_alice).unwrap().unwrap();
    let mailbox = relay.capabilities[&delivery.capability.hash()];
    let at = relay.mailboxes[&mailbox].queue.len() as u64;
    let end = delivery.envelope.len();
    for (seq, byte) in (at + 1..).zip([end - 1, end / 2]) {
        let mut altered = delivery.envelope.clone();
        altered[byte] ^= 1;
        let received = bob.receive(&mailbox, INCARNATION, Seq::new(seq), &altered, NOW).unwrap();
        let received = received.unwrap();
        assert!(!received.parked && !received.message);
        // In a place of its own each time: what is acknowledged does not come again.
        relay.mailboxes.get_mut(&mailbox).unwrap().queue.push(altered);
        relay.mailboxes.get_mut(&mailbox).unwrap().acknowledged += 1;
    }
    let parked = bob
        .store
        .transaction(|tx| tx.scan(Table::Parked, &[], None, crate::store::Order::Ascending, 9))
        .unwrap();
    assert!(parked.is_empty());
    relay.settle(&mut [&mut alice, &mut bob]);
    assert_eq!(texts(&mut bob, at_bob), ["whole"]);
    let strange =
        |e: &EventKind| matches!(e, EventKind::EnvelopeParked { .. } | EventKind::Reset { .. });
    assert!(!events(&mut bob).iter().any(strange));
}

#[test]
fn a_retry_sends_the_same_bytes() {
    let (_, mut alice, _) = acquainted();
    let contact = only(&mut alice);
    alice.queue_text(contact, "same", NOW).unwrap();
    let first = alice.next_delivery(contact).unwrap().unwrap();
    let mut reopened = Engine::open(alice.into_store(), TestRng(1234)).unwrap();
    let again = reopened.next_delivery(contact).unwrap().unwrap();
    assert_eq!(first.envelope, again.envelope);
}

#[test]
fn an_acknowledgement_may_overtake_the_relays_answer() {
    let (mut relay, mut alice, mut bob) = acquainted();
    let contact = only(&mut alice);
    let id = alice.queue_text(contact, "quick", NOW).unwrap();
    let delivery = alice.next_delivery(contact).unwrap().unwrap();
    relay.deliver(&delivery);
    relay.push(&mut bob);
    relay.send(&mut bob);
    relay.push(&mut alice);
    assert_eq!(state(&mut alice, id), MessageState::Delivered);
    alice.accepted(delivery.id, NOW).unwrap();
    assert_eq!(state(&mut alice, id), MessageState::Delivered);
    assert!(alice.next_delivery(contact).unwrap().is_none());
}

#[test]
fn what_nobody_fetched_within_the_retention_expires() {
    let (mut relay, mut alice, _) = acquainted();
    let contact = only(&mut alice);
    let id = alice.queue_text(contact, "too late", NOW).unwrap();
    relay.send(&mut alice);
    let days = |n: u64| UnixMillis::new(NOW.get() + n * 86_400_000);
    alice.expire(days(30)).unwrap();
    assert_eq!(state(&mut alice, id), MessageState::Accepted);
    alice.expire(days(31)).unwrap();
    assert_eq!(state(&mut alice, id), MessageState::Expired);
}

/// Whichever transaction breaks, and on whichever side of its commit: every text arrives, once, in
/// order, and is known to have arrived.
#[test]
fn no_broken_transaction_loses_or_repeats_a_message() {
    for every in 2..8 {
        for fault in [Fault::Before, Fault::After] {
            let (mut relay, mut alice, mut bob) = acquainted();
            let (at_alice, at_bob) = (only(&mut alice), only(&mut bob));
            let mut sent = Vec::new();
            for round in 0..6 {
                alice.store.faults = None;
                bob.store.faults = None;
                sent.push((format!("a{round}"), queue(&mut alice, at_alice, "a", round)));
                let answer = queue(&mut bob, at_bob, "b", round);
                alice.store.faults = Some((every, fault));
                bob.store.faults = Some((every + 1, fault));
                relay.settle(&mut [&mut alice, &mut bob]);
                bob.store.faults = None;
                assert_eq!(state(&mut bob, answer), MessageState::Delivered);
            }
            alice.store.faults = None;
            for (_, id) in &sent {
                assert_eq!(state(&mut alice, *id), MessageState::Delivered, "{every} {fault:?}");
            }
            let heard = texts(&mut bob, at_bob);
            let heard: Vec<_> = heard.into_iter().filter(|text| text.starts_with('a')).collect();
            let said: Vec<_> = sent.into_iter().map(|(text, _)| text).collect();
            assert_eq!(heard, said, "{every} {fault:?}");
            assert_eq!(texts(&mut alice, at_alice).len(), 12, "{every} {fault:?}");
        }
    }
}

fn queue(person: &mut Person, contact: ContactId, who: &str, round: u32) -> MessageId {
    person.queue_text(contact, &format!("{who}{round}"), NOW).unwrap()
}
