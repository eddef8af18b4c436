//! What the store keeps, and what is noticed when it does not.

use super::*;

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
    assert_eq!(alice.cursor("cli").unwrap(), EventSeq::START);
    alice.acknowledge_event("cli", EventSeq::new(1)).unwrap();
    alice.acknowledge_event("cli", EventSeq::START).unwrap();
    let mut again = Engine::open(alice.into_store(), TestRng(5)).unwrap();
    assert_eq!(again.cursor("cli").unwrap(), EventSeq::new(1));
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
