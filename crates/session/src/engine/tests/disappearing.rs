//! Messages that disappear, on both sides, each by its own clock.

use super::*;
use crate::content::{Body, Content};
use crate::message::Direction;

const MINUTE: u64 = 60_000;

fn at(millis: u64) -> UnixMillis {
    UnixMillis::new(NOW.get() + millis)
}

fn timer(person: &mut Person) -> u32 {
    let contact = only(person);
    person.contact(contact).unwrap().timer_seconds
}

#[test]
fn both_sides_erase_by_their_own_clocks() {
    let (mut relay, mut alice, mut bob) = acquainted();
    let (at_alice, at_bob) = (only(&mut alice), only(&mut bob));
    alice.queue_text(at_alice, "stays", NOW).unwrap();
    alice.set_timer(at_alice, 60, NOW).unwrap();
    relay.settle(&mut [&mut alice, &mut bob]);
    assert_eq!((timer(&mut alice), timer(&mut bob)), (60, 60));
    let id = alice.queue_text(at_alice, "a secret for a minute", NOW).unwrap();
    // It waits as long as it has to: nothing is erased before it has gone out.
    assert_eq!(alice.erase_due(at(90 * MINUTE)).unwrap(), 0);
    let delivery = alice.next_delivery(at_alice).unwrap().unwrap();
    relay.deliver(&delivery);
    alice.accepted(delivery.id, at(100 * MINUTE)).unwrap();
    let disappears = alice.message(id).unwrap().disappears_at;
    assert_eq!(disappears, Some(at(101 * MINUTE)));
    assert_eq!(alice.next_erasure().unwrap(), disappears);
    assert_eq!(alice.erase_due(at(101 * MINUTE - 1)).unwrap(), 0);
    assert_eq!(alice.erase_due(at(101 * MINUTE)).unwrap(), 1);
    // Gone from the history and from what is kept for sending again, acknowledged or not.
    assert_eq!(texts(&mut alice, at_alice), ["stays"]);
    assert_eq!(rows_with(&mut alice, b"a secret"), []);
    assert_eq!(alice.message(id), Err(EngineError::UnknownMessage));

    relay.push(&mut bob);
    assert_eq!(bob.received_message(at_bob, id).unwrap().disappears_at, None);
    assert_eq!(bob.erase_due(at(1000 * MINUTE)).unwrap(), 0, "not read yet");
    assert_eq!(bob.mark_read(at_bob, None, at(2000 * MINUTE)).unwrap(), 2);
    assert_eq!(bob.erase_due(at(2001 * MINUTE - 1)).unwrap(), 0);
    assert_eq!(bob.erase_due(at(2001 * MINUTE)).unwrap(), 1);
    assert_eq!(rows_with(&mut bob, b"a secret"), []);
    assert_eq!(texts(&mut bob, at_bob), ["stays"]);
    for (person, contact, direction) in
        [(&mut alice, at_alice, Direction::Outgoing), (&mut bob, at_bob, Direction::Incoming)]
    {
        let erased = EventKind::MessageErased { contact, id, direction };
        assert!(events(person).contains(&erased));
        assert_eq!(person.next_erasure().unwrap(), None);
    }
    // Sent again after all, it is known and not shown; only as long as it could still come.
    let body = Body::Text("a secret for a minute".to_owned());
    let again = Content { id, sent_at: NOW, body }.encode().unwrap();
    assert!(!take(&mut bob, at_bob, &again).message);
    bob.expire(at(2001 * MINUTE + 32 * 86_400_000)).unwrap();
    let gone = bob
        .store
        .transaction(|tx| tx.scan(Table::Gone, &[], None, crate::store::Order::Ascending, 9));
    assert!(gone.unwrap().is_empty());
    // The late acknowledgement finds nothing, and that is no fault.
    relay.settle(&mut [&mut alice, &mut bob]);
}

#[test]
fn the_contact_sets_the_timer_too_and_the_later_word_stands() {
    let (mut relay, mut alice, mut bob) = acquainted();
    let (at_alice, at_bob) = (only(&mut alice), only(&mut bob));
    alice.set_timer(at_alice, 60, NOW).unwrap();
    relay.settle(&mut [&mut alice, &mut bob]);
    // Bob's clock is behind: his word is the later one all the same, since he knew hers.
    bob.set_timer(at_bob, 0, UnixMillis::new(5)).unwrap();
    relay.settle(&mut [&mut alice, &mut bob]);
    assert_eq!((timer(&mut alice), timer(&mut bob)), (0, 0));
    let changed = |by, seconds| EventKind::TimerChanged { contact: at_alice, by, seconds };
    let told = events(&mut alice);
    assert!(told.contains(&changed(Direction::Outgoing, 60)));
    assert!(told.contains(&changed(Direction::Incoming, 0)));
    // Crossing, at different times and at the same: both come to the same.
    for (round, (hers, his)) in (1..).zip([(10, 20), (20, 10), (30, 30)]) {
        let base = round * MINUTE;
        alice.set_timer(at_alice, 100 + hers as u32, at(base + hers)).unwrap();
        bob.set_timer(at_bob, 200 + his as u32, at(base + his)).unwrap();
        relay.settle(&mut [&mut alice, &mut bob]);
        assert_eq!(timer(&mut alice), timer(&mut bob), "{hers} {his}");
        let expected = if hers > his { 100 + hers } else { 200 + his };
        if hers != his {
            assert_eq!(u64::from(timer(&mut alice)), expected);
        }
    }
    alice.block(at_alice, NOW).unwrap();
    assert_eq!(alice.set_timer(at_alice, 1, NOW), Err(EngineError::ContactBlocked));
}

#[test]
fn a_deleted_contact_leaves_nothing_that_would_be_erased() {
    let (mut relay, mut alice, mut bob) = acquainted();
    let at_alice = only(&mut alice);
    alice.set_timer(at_alice, 60, NOW).unwrap();
    alice.queue_text(at_alice, "x", NOW).unwrap();
    relay.settle(&mut [&mut alice, &mut bob]);
    assert!(alice.next_erasure().unwrap().is_some());
    alice.delete_contact(at_alice, NOW).unwrap();
    alice.erase_due(NOW).unwrap();
    assert_eq!(alice.next_erasure().unwrap(), None);
    for table in [Table::Erasures, Table::Gone, Table::Early, Table::Receipts, Table::Removals] {
        let left = alice
            .store
            .transaction(|tx| tx.scan(table, &[], None, crate::store::Order::Ascending, 9));
        assert!(left.unwrap().is_empty(), "{table:?}");
    }
}

/// Many at once are erased in several transactions, and a crash between them loses none.
#[test]
fn many_messages_disappear_whichever_transaction_breaks() {
    let (mut relay, mut alice, mut bob) = acquainted();
    let (at_alice, at_bob) = (only(&mut alice), only(&mut bob));
    alice.set_timer(at_alice, 60, NOW).unwrap();
    for n in 0..600 {
        alice.queue_text(at_alice, &format!("secret {n}"), NOW).unwrap();
    }
    relay.settle(&mut [&mut alice, &mut bob]);
    bob.mark_read(at_bob, None, NOW).unwrap();
    for n in 1..10 {
        for fault in [Fault::Before, Fault::After] {
            bob.store.once = Some((bob.store.count + n, fault));
            let _ = bob.erase_due(at(2 * MINUTE));
            bob.store.once = None;
        }
    }
    bob.erase_due(at(4 * MINUTE)).unwrap();
    assert!(texts(&mut bob, at_bob).is_empty());
    assert_eq!(rows_with(&mut bob, b"secret"), []);
    assert_eq!(bob.next_erasure().unwrap(), None);
}
