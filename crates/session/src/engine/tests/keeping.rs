//! What the store keeps, and what is noticed when it does not.

use super::*;
use crate::content::{Body, Content};
use crate::message::Direction;

#[test]
fn a_restored_store_is_noticed_before_anything_is_sealed() {
    let (mut relay, mut alice, mut bob) = acquainted();
    let at_bob = only(&mut bob);
    let at_alice = only(&mut alice);
    let old = bob.store.snapshot();
    alice.queue_text(at_alice, "seen", NOW).unwrap();
    relay.settle(&mut [&mut alice, &mut bob]);
    let mailbox = bob.mailbox_of(at_bob).unwrap().unwrap().secret.mailbox();
    let now = relay.state(&mailbox);
    assert_eq!(bob.check_floor(&mailbox, now.as_ref()).unwrap(), FloorVerdict::Sound);

    let mut bob = Engine::open(old, TestRng(99)).unwrap();
    assert_eq!(bob.check_floor(&mailbox, now.as_ref()).unwrap(), FloorVerdict::RolledBack);
    bob.queue_text(at_bob, "must not be sealed", NOW).unwrap();
    assert!(bob.next_delivery(at_bob).unwrap().is_none());
    assert_eq!(bob.contact(at_bob).unwrap().state, ContactState::RolledBack);
    assert!(events(&mut bob).contains(&EventKind::StoreRolledBack { contact: at_bob }));
}

#[test]
fn a_damaged_row_is_reported_and_left_as_it_is() {
    let (_, mut alice, _) = acquainted();
    let contact = only(&mut alice);
    let key = rows::key1(contact.get());
    alice.store.transaction(|tx| tx.put(Table::Contacts, &key, b"\xff\xff\xff")).unwrap();
    let refused = alice.queue_text(contact, "x", NOW);
    assert!(matches!(refused, Err(EngineError::Store(StoreError::Corrupt { .. }))));
    let left = alice.store.transaction(|tx| tx.get(Table::Contacts, &key)).unwrap();
    assert_eq!(left.unwrap().as_slice(), b"\xff\xff\xff");
}

#[test]
fn contacts_are_found_by_name_number_and_fingerprint() {
    let (mut relay, mut bob) = (Relay::default(), person("Bob", 2));
    let link = relay.invite(&mut bob, LinkKind::Reusable);
    for seed in [5, 6] {
        let mut twin = person("Twin", seed);
        relay.add(&mut twin, &link);
        relay.settle(&mut [&mut twin, &mut bob]);
    }
    let contacts = bob.contacts().unwrap();
    assert!(matches!(
        bob.find_contact("twin"),
        Err(EngineError::AmbiguousContact(found)) if found.len() == 2
    ));
    bob.rename(contacts[1].id, "Other").unwrap();
    assert_eq!(bob.find_contact("TWIN").unwrap().id, contacts[0].id);
    assert_eq!(bob.find_contact("2").unwrap().id, contacts[1].id);
    let digits = contacts[0].account.short();
    assert_eq!(bob.find_contact(&digits).unwrap().id, contacts[0].id);
    assert_eq!(bob.find_contact("nobody"), Err(EngineError::UnknownContact));
    assert!(bob.rename(contacts[0].id, " ").is_err());
}

#[test]
fn cursors_are_durable_and_never_go_back() {
    let (_, mut alice, _) = acquainted();
    assert_eq!(alice.open_cursor("cli").unwrap(), EventSeq::START);
    alice.acknowledge_event("cli", EventSeq::new(1)).unwrap();
    alice.acknowledge_event("cli", EventSeq::START).unwrap();
    let mut again = Engine::open(alice.into_store(), TestRng(5)).unwrap();
    assert_eq!(again.open_cursor("cli").unwrap(), EventSeq::new(1));
    assert_eq!(again.event_after(EventSeq::new(1)).unwrap().unwrap().seq, EventSeq::new(2));
}

#[test]
fn a_profile_is_made_once_and_a_newer_store_is_refused() {
    let alice = person("Alice", 1);
    let account = alice.account();
    let mut store = alice.into_store();
    let join = JoinAddress::new(relay_address(), AdmissionToken::from_bytes([1; 32]));
    let again = Engine::create(store.snapshot(), TestRng(4), NOW, "Eve", &join);
    assert_eq!(again.err(), Some(EngineError::ProfileExists));
    assert_eq!(Engine::open(store.snapshot(), TestRng(4)).unwrap().account(), account);
    store.transaction(|tx| save(tx, Table::Meta, SCHEMA, &(SCHEMA_VERSION + 1))).unwrap();
    assert!(matches!(
        Engine::open(store, TestRng(4)).err(),
        Some(EngineError::SchemaTooNew { .. })
    ));
    assert_eq!(
        Engine::open(FaultyStore::default(), TestRng(4)).err(),
        Some(EngineError::ProfileAbsent)
    );
}

/// A contact who calls themselves by another's number, fingerprint or placeholder is not taken for
/// them, and one who takes a name that the person here gave another does not come first.
#[test]
fn no_contact_takes_the_place_of_another_by_name() {
    let (mut relay, mut bob) = (Relay::default(), person("Bob", 2));
    let link = relay.invite(&mut bob, LinkKind::Reusable);
    let mut first = person("Ada", 5);
    relay.add(&mut first, &link);
    relay.settle(&mut [&mut first, &mut bob]);
    let ada = bob.find_contact("Ada").unwrap();
    assert_eq!(bob.find_contact("1").unwrap().id, ada.id);
    // A fingerprint's first digits with at least one that is no letter.
    let digits = ada.account.to_string();
    let at = digits.find(|c: char| c.is_ascii_digit()).unwrap();
    let digits = &digits[..(at + 1).max(6)];
    let names = ["1", " 1 ", "#1", "１", "contact 1", "Contact 1", digits];
    for (seed, name) in (10..).zip(names) {
        let mut other = person(name, seed);
        relay.add(&mut other, &link);
        relay.settle(&mut [&mut other, &mut bob]);
        let last = bob.contacts().unwrap().pop().unwrap();
        assert_eq!(last.name, format!("contact {}", last.id), "{name:?}");
        assert_eq!(bob.find_contact("1").unwrap().id, ada.id, "{name:?}");
        assert_eq!(bob.find_contact(digits).unwrap().id, ada.id, "{name:?}");
    }
    // Renamed here: another who takes the name comes second, and the first name is free again.
    bob.rename(ada.id, "Ada Work").unwrap();
    let mut liar = person("Ada Work", 30);
    relay.add(&mut liar, &link);
    relay.settle(&mut [&mut liar, &mut bob]);
    assert_eq!(bob.find_contact("ada work").unwrap().id, ada.id);
    // A number that the person here gave as a name, where there is no such contact.
    bob.rename(ada.id, "4711").unwrap();
    assert_eq!(bob.find_contact("4711").unwrap().id, ada.id);
    bob.rename(ada.id, "2").unwrap();
    assert_eq!(bob.find_contact("2").unwrap().id, ContactId::new(2));
}

/// The sender chooses the id of what they send.
#[test]
fn a_message_that_reuses_an_id_of_ours_is_found_as_theirs() {
    let (mut relay, mut alice, mut bob) = acquainted();
    let (at_alice, at_bob) = (only(&mut alice), only(&mut bob));
    let id = bob.queue_text(at_bob, "ours", NOW).unwrap();
    relay.settle(&mut [&mut alice, &mut bob]);
    let content = Content { id, sent_at: NOW, body: Body::Text("theirs".to_owned()) };
    let content = content.encode().unwrap();
    take(&mut bob, at_bob, &content);
    assert_eq!(bob.received_message(at_bob, id).unwrap().direction, Direction::Incoming);
    assert_eq!(bob.message(id).unwrap().direction, Direction::Outgoing);
    assert_eq!(
        bob.received_message(ContactId::new(9), id).unwrap_err(),
        EngineError::UnknownMessage
    );
    let place = bob.received_message(at_bob, id).unwrap().seq;
    assert_eq!(bob.message_at(place).unwrap().id, id);
    assert_eq!(alice.received_message(at_alice, id).unwrap().direction, Direction::Incoming);
}

/// That nobody fetched it is a guess; that they have it is known.
#[test]
fn word_of_arrival_overrides_expiry_and_never_the_other_way_round() {
    let (mut relay, mut alice, mut bob) = acquainted();
    let contact = only(&mut alice);
    let days = |n: u64| UnixMillis::new(NOW.get() + n * 86_400_000);
    let late = alice.queue_text(contact, "fetched on the last day", NOW).unwrap();
    relay.send(&mut alice);
    alice.expire(days(31)).unwrap();
    assert_eq!(state(&mut alice, late), MessageState::Expired);
    relay.push(&mut bob);
    relay.settle(&mut [&mut alice, &mut bob]);
    assert_eq!(state(&mut alice, late), MessageState::Delivered);
    let seen = alice.queue_text(contact, "seen", NOW).unwrap();
    relay.send(&mut alice);
    let body = Body::ReadReceipt(vec![seen]);
    let id = MessageId::from_bytes([8; 16]);
    let receipt = Content { id, sent_at: NOW, body }.encode().unwrap();
    take(&mut alice, contact, &receipt);
    alice.expire(days(40)).unwrap();
    assert_eq!(state(&mut alice, seen), MessageState::Read);
}
