//! The event log: nothing missed in silence, whoever reads how slowly.

use super::*;
use crate::content::{Attachment, BlobKeyBytes, Body, Content};
use crate::event::EventMessage;
use crate::message::Direction;

/// This many events that mean nothing else here.
fn happen(person: &mut Person, count: u64) {
    let mut left = count;
    while left > 0 {
        let batch = left.min(5_000);
        person
            .store
            .transaction(|tx| {
                for _ in 0..batch {
                    events::emit(tx, EventKind::Superseded)?;
                }
                Ok::<(), StoreError>(())
            })
            .unwrap();
        left -= batch;
    }
}

fn rows(person: &mut Person) -> Vec<u64> {
    let scan = person.store.transaction(|tx| {
        tx.scan(Table::Events, &[], None, crate::store::Order::Ascending, usize::MAX)
    });
    scan.unwrap().iter().map(|row| rows::number(&row.key, "").unwrap()).collect()
}

#[test]
fn readers_go_at_their_own_pace_and_see_again_what_they_did_not_acknowledge() {
    let mut ada = person("Ada", 1);
    happen(&mut ada, 5);
    let (screen, bot) = (ada.open_cursor("screen").unwrap(), ada.open_cursor("bot").unwrap());
    assert_eq!((screen, bot), (EventSeq::START, EventSeq::START));
    let first = ada.next_event(bot).unwrap().unwrap();
    ada.acknowledge_event("bot", first.seq).unwrap();
    let second = ada.next_event(first.seq).unwrap().unwrap();
    // The bot dies with the second in its hands.
    let mut ada = Engine::open(ada.into_store(), TestRng(2)).unwrap();
    let place = ada.open_cursor("bot").unwrap();
    assert_eq!(ada.next_event(place).unwrap().unwrap(), second);
    assert_eq!(ada.open_cursor("screen").unwrap(), EventSeq::START);
    let behind: Vec<_> =
        ada.cursors().unwrap().into_iter().map(|one| (one.name, one.behind)).collect();
    assert_eq!(behind, [("bot".to_owned(), 4), ("screen".to_owned(), 5)]);
    // Nothing that has not happened can be acknowledged, so that nothing is missed when it does.
    ada.acknowledge_event("bot", EventSeq::new(1_000)).unwrap();
    happen(&mut ada, 1);
    let place = ada.open_cursor("bot").unwrap();
    assert_eq!(ada.next_event(place).unwrap().unwrap().seq, EventSeq::new(6));
    assert!(matches!(ada.open_cursor(""), Err(EngineError::CursorInvalid { .. })));
    let long = "x".repeat(MAX_CURSOR_NAME + 1);
    assert!(matches!(ada.open_cursor(&long), Err(EngineError::CursorInvalid { .. })));
    for n in 2..MAX_CURSORS {
        ada.open_cursor(&format!("cursor {n}")).unwrap();
    }
    assert!(matches!(ada.open_cursor("one more"), Err(EngineError::CursorInvalid { .. })));
}

#[test]
fn what_every_cursor_is_behind_is_pruned_and_a_slow_one_keeps_the_rest() {
    let mut ada = person("Ada", 1);
    ada.open_cursor("fast").unwrap();
    ada.open_cursor("slow").unwrap();
    happen(&mut ada, 3_000);
    for seq in (1..=3_000).step_by(100) {
        ada.acknowledge_event("fast", EventSeq::new(seq)).unwrap();
    }
    assert_eq!(rows(&mut ada).len(), 3_000);
    ada.acknowledge_event("slow", EventSeq::new(700)).unwrap();
    for seq in 2_990..=3_000 {
        ada.acknowledge_event("fast", EventSeq::new(seq)).unwrap();
    }
    assert_eq!(rows(&mut ada).first(), Some(&701));
    let place = ada.open_cursor("slow").unwrap();
    assert_eq!(ada.next_event(place).unwrap().unwrap().seq, EventSeq::new(701));
    // A cursor that is dropped keeps nothing; the newest stay for a new one.
    assert!(ada.drop_cursor("slow").unwrap());
    assert!(!ada.drop_cursor("slow").unwrap());
    for _ in 0..10 {
        happen(&mut ada, 1);
        let newest = *rows(&mut ada).last().unwrap();
        ada.acknowledge_event("fast", EventSeq::new(newest)).unwrap();
    }
    assert_eq!(rows(&mut ada).len(), 1_000);
    let fresh = ada.open_cursor("fresh").unwrap();
    assert_eq!(fresh, EventSeq::new(2_010));
    assert_eq!(ada.next_event(fresh).unwrap().unwrap().seq, EventSeq::new(2_011));
}

#[test]
fn a_cursor_that_stays_away_too_long_is_told_what_it_missed() {
    let mut ada = person("Ada", 1);
    ada.open_cursor("away").unwrap();
    happen(&mut ada, 10);
    ada.acknowledge_event("away", EventSeq::new(4)).unwrap();
    happen(&mut ada, MAX_EVENTS - 10);
    assert_eq!(ada.next_event(EventSeq::new(4)).unwrap().unwrap().seq, EventSeq::new(5));
    happen(&mut ada, 20);
    assert_eq!(rows(&mut ada).len() as u64, MAX_EVENTS);
    let place = ada.open_cursor("away").unwrap();
    let lost = ada.next_event(place).unwrap().unwrap();
    let (first, last) = (EventSeq::new(5), EventSeq::new(20));
    assert_eq!(
        lost,
        Event { seq: last, kind: EventKind::EventsLost { first, last }, message: None }
    );
    // Told until it is acknowledged, as everything is.
    assert_eq!(ada.next_event(place).unwrap().unwrap(), lost);
    ada.acknowledge_event("away", lost.seq).unwrap();
    let place = ada.open_cursor("away").unwrap();
    assert_eq!(ada.next_event(place).unwrap().unwrap().seq, EventSeq::new(21));
    // One that is new has missed nothing.
    let fresh = ada.open_cursor("fresh").unwrap();
    assert_eq!(ada.next_event(fresh).unwrap().unwrap().seq, EventSeq::new(21));
}

/// Where the message is that the last event of this sort is about.
fn about(person: &mut Person, sort: impl Fn(&EventKind) -> bool) -> Option<EventMessage> {
    let (mut place, mut found) = (EventSeq::START, None);
    while let Some(event) = person.next_event(place).unwrap() {
        place = event.seq;
        if sort(&event.kind) {
            found = event.message;
        }
    }
    found
}

#[test]
fn an_event_says_where_its_message_is_as_long_as_it_is_there() {
    let (mut relay, mut alice, mut bob) = acquainted();
    let (at_alice, at_bob) = (only(&mut alice), only(&mut bob));
    let id = alice.queue_text(at_alice, "hello", NOW).unwrap();
    relay.settle(&mut [&mut alice, &mut bob]);
    let (sent, got) = (alice.message(id).unwrap().seq, bob.message(id).unwrap().seq);
    let received = |kind: &EventKind| matches!(kind, EventKind::MessageReceived { .. });
    let changed = |kind: &EventKind| matches!(kind, EventKind::MessageStateChanged { .. });
    let outgoing = EventMessage { contact: at_alice, direction: Direction::Outgoing, seq: sent };
    let incoming = EventMessage { contact: at_bob, direction: Direction::Incoming, seq: got };
    assert_eq!(about(&mut alice, changed), Some(outgoing));
    assert_eq!(about(&mut bob, received), Some(incoming));
    bob.react(got, Some("👍"), NOW).unwrap();
    let reacted = |kind: &EventKind| matches!(kind, EventKind::ReactionChanged { .. });
    assert_eq!(about(&mut bob, reacted), Some(incoming));
    let added = |kind: &EventKind| matches!(kind, EventKind::ContactAdded { .. });
    assert_eq!(about(&mut bob, added), None, "it is about no message");
    bob.erase_message(got, NOW).unwrap();
    assert_eq!(about(&mut bob, received), None, "it is gone");
}

#[test]
fn the_progress_of_a_file_says_whose_it_is_unless_that_is_not_certain() {
    let (mut relay, mut alice, mut bob) = acquainted();
    let (at_alice, at_bob) = (only(&mut alice), only(&mut bob));
    let id = alice.queue_file(at_alice, frozen::file(), NOW).unwrap();
    let place = alice.message(id).unwrap().seq;
    alice.uploaded(place, &relay_address()).unwrap();
    relay.settle(&mut [&mut alice, &mut bob]);
    let total = undertone_core::blob_len(frozen::file().info.size).unwrap();
    alice.file_progress(id, 1, total).unwrap();
    bob.file_progress(id, 1, total).unwrap();
    let moved = |kind: &EventKind| matches!(kind, EventKind::FileProgress { .. });
    let told = about(&mut alice, moved).unwrap();
    let expected = EventMessage { contact: at_alice, direction: Direction::Outgoing, seq: place };
    assert_eq!(told, expected);
    let told = about(&mut bob, moved).unwrap();
    assert_eq!((told.contact, told.direction), (at_bob, Direction::Incoming));
    assert_eq!(told.seq, bob.message(id).unwrap().seq);

    // Bob sends a file that has the id of Alice's: of another length, or of the same.
    for (size, certain) in [(5, true), (frozen::file().info.size, false)] {
        let mut alice = Engine::open(alice.store.snapshot(), TestRng(3)).unwrap();
        let attachment = Attachment {
            name: "mine.pdf".into(),
            media_type: String::new(),
            size,
            key: BlobKeyBytes::new([1; 32]),
            commitment: [2; 32],
            sha256: [3; 32],
            relay: relay_address().to_bytes(),
            blob: [4; 32],
            read: BlobKeyBytes::new([5; 32]),
            caption: String::new(),
        };
        let body = Body::Attachment(Box::new(attachment));
        let content = Content { id, sent_at: NOW, body }.encode().unwrap();
        assert!(take(&mut alice, at_alice, &content).message);
        assert_eq!(about(&mut alice, moved).is_some(), certain);
    }
}
