//! When contacts are told that something came, or was read.

use super::*;
use crate::content::{Body, Content};
use crate::engine::receipts::RECEIPT_DELAY_MILLIS;

const SHORTEST: u64 = RECEIPT_DELAY_MILLIS.0;
const LONGEST: u64 = RECEIPT_DELAY_MILLIS.1;

fn at(millis: u64) -> UnixMillis {
    UnixMillis::new(NOW.get() + millis)
}

fn text(n: u64) -> (MessageId, Vec<u8>) {
    let mut id = [7; 16];
    id[..8].copy_from_slice(&n.to_be_bytes());
    let id = MessageId::from_bytes(id);
    let content = Content { id, sent_at: NOW, body: Body::Text("probe".to_owned()) };
    (id, content.encode().unwrap().to_vec())
}

/// What waits in the outbox: acknowledgements, receipts, others.
fn waiting(person: &mut Person) -> (Vec<usize>, Vec<usize>) {
    let rows = person
        .store
        .transaction(|tx| tx.scan(Table::Outbox, &[], None, crate::store::Order::Ascending, 9999));
    let (mut acks, mut receipts) = (Vec::new(), Vec::new());
    for row in rows.unwrap() {
        let row: rows::OutRow = rows::decode(Table::Outbox, &row.value).unwrap();
        match Content::decode(row.content.bytes()).unwrap().body {
            Body::DeliveryAck(ids) => acks.push(ids.len()),
            Body::ReadReceipt(ids) => receipts.push(ids.len()),
            _ => {}
        }
    }
    (acks, receipts)
}

fn clear(person: &mut Person) {
    let contact = only(person);
    while let Some(delivery) = person.next_delivery(contact).unwrap() {
        person.accepted(delivery.id, NOW).unwrap();
    }
}

/// The bound that the specification states: a random time, from the shortest to the longest, drawn
/// anew for each batch; never earlier, never later; what comes meanwhile goes with it.
#[test]
fn acknowledgements_and_receipts_are_no_timing_probe() {
    let (_, _, mut bob) = acquainted();
    let contact = only(&mut bob);
    bob.set_read_receipts(true).unwrap();
    clear(&mut bob);
    let mut delays = [Vec::new(), Vec::new()];
    for round in 0..1_000_u64 {
        let begin = round * 10_000;
        for (kind, told) in delays.iter_mut().enumerate() {
            for n in 0..3 {
                let when = at(begin + n * 10);
                if kind == 0 {
                    take_at(&mut bob, contact, &text(round * 3 + n).1, when);
                } else {
                    // The three messages of this round, one by one.
                    let all = bob.history(contact, None, 3).unwrap();
                    let place = all[usize::try_from(n).unwrap()].seq;
                    assert_eq!(bob.mark_read(contact, Some(place), when).unwrap(), 1);
                }
            }
            let due = bob.acknowledgements_due(at(begin + 20)).unwrap().unwrap();
            let delay = due.get() - at(begin).get();
            assert!((SHORTEST..=LONGEST).contains(&delay), "{delay}");
            assert!(!bob.flush_due(at(begin + SHORTEST - 1)).unwrap());
            assert!(!bob.flush_due(UnixMillis::new(due.get() - 1)).unwrap());
            assert_eq!(waiting(&mut bob), (vec![], vec![]));
            assert!(bob.flush_due(due).unwrap());
            // Three messages, one envelope.
            let expected = if kind == 0 { (vec![3], vec![]) } else { (vec![], vec![3]) };
            assert_eq!(waiting(&mut bob), expected);
            assert_eq!(bob.acknowledgements_due(due).unwrap(), None);
            clear(&mut bob);
            told.push(delay);
        }
    }
    for mut delays in delays {
        // Spread over all of the interval: each tenth of it has its share.
        let width = (LONGEST - SHORTEST) / 10 + 1;
        for tenth in 0..10 {
            let low = SHORTEST + tenth * width;
            let share = delays.iter().filter(|delay| (low..low + width).contains(*delay)).count();
            assert!((50..=150).contains(&share), "{share} of 1000 in the tenth from {low}");
        }
        delays.sort_unstable();
        delays.dedup();
        assert!(delays.len() > 400, "{} different ones", delays.len());
    }
}

#[test]
fn each_contact_is_told_at_a_time_of_its_own() {
    let (mut relay, mut alice, mut bob) = acquainted();
    let mut carol = person("Carol", 3);
    let link = relay.invite(&mut bob, LinkKind::SingleUse);
    relay.add(&mut carol, &link);
    relay.settle(&mut [&mut alice, &mut bob, &mut carol]);
    let (of_alice, of_carol) =
        (bob.find_contact("Alice").unwrap().id, bob.find_contact("Carol").unwrap().id);
    let mut differ = 0;
    for round in 0..100_u64 {
        let begin = round * 10_000;
        for contact in [of_alice, of_carol] {
            take_at(&mut bob, contact, &text(1000 + round).1, at(begin));
        }
        let first = bob.acknowledgements_due(at(begin)).unwrap().unwrap();
        bob.flush_due(first).unwrap();
        let second = bob.acknowledgements_due(first).unwrap();
        differ += usize::from(second.is_some());
        bob.flush_acknowledgements(first).unwrap();
    }
    assert!(differ > 90, "{differ} of 100");
}

#[test]
fn a_clock_that_is_put_back_delays_nothing_for_long() {
    let (_, _, mut bob) = acquainted();
    let contact = only(&mut bob);
    clear(&mut bob);
    take_at(&mut bob, contact, &text(1).1, at(86_400_000));
    let due = bob.acknowledgements_due(NOW).unwrap();
    assert_eq!(due, Some(NOW));
    assert!(bob.flush_due(NOW).unwrap());
}

#[test]
fn read_receipts_are_sent_by_those_only_who_turn_them_on() {
    let (mut relay, mut alice, mut bob) = acquainted();
    let (at_alice, at_bob) = (only(&mut alice), only(&mut bob));
    let mut sent = Vec::new();
    let mut read = |relay: &mut Relay, alice: &mut Person, bob: &mut Person| {
        let id = alice.queue_text(at_alice, "seen?", NOW).unwrap();
        relay.settle(&mut [alice, bob]);
        assert_eq!(bob.unread(at_bob).unwrap(), 1);
        assert_eq!(bob.mark_read(at_bob, None, NOW).unwrap(), 1);
        assert_eq!(bob.mark_read(at_bob, None, NOW).unwrap(), 0);
        assert_eq!(bob.unread(at_bob).unwrap(), 0);
        let seen = bob.received_message(at_bob, id).unwrap().state;
        assert_eq!(seen, MessageState::Read);
        sent.push(id);
        id
    };
    assert!(!bob.read_receipts().unwrap());
    let first = read(&mut relay, &mut alice, &mut bob);
    bob.flush_acknowledgements(NOW).unwrap();
    relay.settle(&mut [&mut alice, &mut bob]);
    assert_eq!(state(&mut alice, first), MessageState::Delivered);
    bob.set_read_receipts(true).unwrap();
    let second = read(&mut relay, &mut alice, &mut bob);
    bob.flush_acknowledgements(NOW).unwrap();
    relay.settle(&mut [&mut alice, &mut bob]);
    assert_eq!(state(&mut alice, second), MessageState::Read);
    // What is owed when it is turned off is not told.
    let third = read(&mut relay, &mut alice, &mut bob);
    bob.set_read_receipts(false).unwrap();
    bob.flush_acknowledgements(NOW).unwrap();
    relay.settle(&mut [&mut alice, &mut bob]);
    assert_eq!(state(&mut alice, third), MessageState::Delivered);
    assert_eq!(state(&mut alice, first), MessageState::Delivered);
    // Up to a place, and not what is behind it.
    for _ in 0..3 {
        alice.queue_text(at_alice, "more", NOW).unwrap();
    }
    relay.settle(&mut [&mut alice, &mut bob]);
    let middle = bob.history(at_bob, None, 2).unwrap()[0].seq;
    assert_eq!(bob.mark_read(at_bob, Some(middle), NOW).unwrap(), 2);
    assert_eq!(bob.unread(at_bob).unwrap(), 1);
    let nobody = ContactId::new(99);
    assert_eq!(bob.mark_read(nobody, None, NOW), Err(EngineError::UnknownContact));
}
