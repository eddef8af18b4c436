//! First contact, from both sides and by several people.

use super::*;

#[test]
fn two_people_meet_over_a_link_and_talk() {
    let (mut relay, mut alice, mut bob) = acquainted();
    let (bob_at_alice, alice_at_bob) = (only(&mut alice), only(&mut bob));
    assert_eq!(alice.contact(bob_at_alice).unwrap().name, "Bob");
    assert_eq!(bob.contact(alice_at_bob).unwrap().name, "Alice");
    for contact in [alice.contact(bob_at_alice).unwrap(), bob.contact(alice_at_bob).unwrap()] {
        assert_eq!(contact.state, ContactState::Active);
    }
    assert_eq!(
        alice.safety_number(bob_at_alice).unwrap(),
        bob.safety_number(alice_at_bob).unwrap()
    );

    let mut sent = Vec::new();
    for round in 0..12 {
        sent.push(alice.queue_text(bob_at_alice, &format!("a{round}"), NOW).unwrap());
        let answer = bob.queue_text(alice_at_bob, &format!("b{round}"), NOW).unwrap();
        relay.settle(&mut [&mut alice, &mut bob]);
        assert_eq!(state(&mut bob, answer), MessageState::Delivered);
    }
    for id in sent {
        assert_eq!(state(&mut alice, id), MessageState::Delivered);
    }
    let heard = texts(&mut bob, alice_at_bob);
    assert_eq!(heard.iter().filter(|t| t.starts_with('a')).count(), 12);
    assert_eq!(texts(&mut alice, bob_at_alice).len(), 24);
}

#[test]
fn after_the_first_reply_each_writes_into_a_mailbox_of_the_others_own() {
    let (mut relay, mut alice, bob) = acquainted();
    let (contact, mut bob) = (only(&mut alice), bob);
    let link_mailbox = bob
        .subscriptions()
        .unwrap()
        .into_iter()
        .map(|s| s.secret.mailbox())
        .find(|id| !relay.mailboxes[id].queue.is_empty() && id_is_link(&mut bob, id))
        .unwrap();
    let before = relay.mailboxes[&link_mailbox].queue.len();
    alice.queue_text(contact, "to your own", NOW).unwrap();
    relay.settle(&mut [&mut alice, &mut bob]);
    assert_eq!(relay.mailboxes[&link_mailbox].queue.len(), before);
}

fn id_is_link(person: &mut Person, id: &MailboxId) -> bool {
    person
        .store
        .transaction(|tx| {
            let row: rows::MailboxRow = rows::must(tx, Table::Mailboxes, id.as_bytes())?;
            Ok::<_, StoreError>(matches!(row.purpose, rows::Purpose::Link(_)))
        })
        .unwrap()
}

#[test]
fn the_second_use_of_a_bundle_is_told_and_accepted_from_nobody() {
    let (mut relay, mut alice, mut bob) = (Relay::default(), person("Alice", 1), person("Bob", 2));
    let link = relay.invite(&mut bob, LinkKind::SingleUse);
    // A relay that hands the one bundle out again and again, to all who have seen the link.
    let depot = relay.depots.clone_bundles();
    relay.add(&mut alice, &link);
    relay.settle(&mut [&mut alice, &mut bob]);
    for seed in 3..6 {
        let mut mallory = person("Mallory", seed);
        relay.depots.restore(depot.clone());
        relay.add(&mut mallory, &link);
        relay.settle(&mut [&mut mallory, &mut bob]);
    }
    // Once for the bundle, however often: it can be done at will.
    let used_twice = |e: &EventKind| matches!(e, EventKind::LinkUsedTwice { .. });
    assert_eq!(events(&mut bob).into_iter().filter(used_twice).count(), 1);
    assert_eq!(bob.contacts().unwrap().len(), 1);
    assert_eq!(bob.contacts().unwrap()[0].name, "Alice");
}

trait Bundles {
    fn clone_bundles(&self) -> Vec<Vec<u8>>;
    fn restore(&mut self, bundles: Vec<Vec<u8>>);
}

impl Bundles for BTreeMap<undertone_wire::DepotId, (Vec<Vec<u8>>, Option<Vec<u8>>)> {
    fn clone_bundles(&self) -> Vec<Vec<u8>> {
        self.values().next().unwrap().0.clone()
    }

    fn restore(&mut self, bundles: Vec<Vec<u8>>) {
        self.values_mut().next().unwrap().0 = bundles;
    }
}

#[test]
fn a_reusable_link_serves_many_also_from_its_last_resort() {
    let (mut relay, mut bob) = (Relay::default(), person("Bob", 2));
    let link = relay.invite(&mut bob, LinkKind::Reusable);
    for (one_time, _) in relay.depots.values_mut() {
        one_time.truncate(2);
    }
    let mut guests: Vec<Person> =
        (0..4_u64).map(|n| person(&format!("Guest {n}"), 10 + n)).collect();
    for guest in &mut guests {
        relay.add(guest, &link);
        relay.settle(&mut [guest, &mut bob]);
    }
    let names: Vec<String> = bob.contacts().unwrap().into_iter().map(|c| c.name).collect();
    assert_eq!(names, ["Guest 0", "Guest 1", "Guest 2", "Guest 3"]);
    for guest in &mut guests {
        let contact = only(guest);
        guest.queue_text(contact, "hello", NOW).unwrap();
        relay.settle(&mut [guest, &mut bob]);
    }
    for contact in bob.contacts().unwrap() {
        assert_eq!(texts(&mut bob, contact.id), ["hello"], "{}", contact.name);
    }
}

#[test]
fn both_start_at_once_and_settle_on_one_session() {
    let (mut relay, mut alice, mut bob) = (Relay::default(), person("Alice", 1), person("Bob", 2));
    let to_bob = relay.invite(&mut bob, LinkKind::SingleUse);
    let to_alice = relay.invite(&mut alice, LinkKind::SingleUse);
    let at_alice = relay.add(&mut alice, &to_bob);
    let at_bob = relay.add(&mut bob, &to_alice);
    alice.queue_text(at_alice, "a first", NOW).unwrap();
    bob.queue_text(at_bob, "b first", NOW).unwrap();
    // Both greetings cross.
    relay.send(&mut alice);
    relay.send(&mut bob);
    relay.push(&mut alice);
    relay.push(&mut bob);
    relay.settle(&mut [&mut alice, &mut bob]);
    for round in 0..5 {
        alice.queue_text(at_alice, &format!("a{round}"), NOW).unwrap();
        bob.queue_text(at_bob, &format!("b{round}"), NOW).unwrap();
        relay.settle(&mut [&mut alice, &mut bob]);
    }
    assert_eq!((only(&mut alice), only(&mut bob)), (at_alice, at_bob));
    assert_eq!(texts(&mut alice, at_alice).len(), 12);
    assert_eq!(texts(&mut bob, at_bob).len(), 12);
    // As soon as messages do not cross.
    for (person, contact) in [(0, at_alice), (1, at_bob)] {
        let who = if person == 0 { &mut alice } else { &mut bob };
        who.queue_text(contact, "one after the other", NOW).unwrap();
        relay.settle(&mut [&mut alice, &mut bob]);
    }
    let chosen = |person: &mut Person, contact| {
        let row = person.store.transaction(|tx| contacts::load_contact(tx, contact)).unwrap();
        outbox::choose(&row.devices[0], None).map(|session| session.id)
    };
    assert!(chosen(&mut alice, at_alice).is_some());
    assert_eq!(chosen(&mut alice, at_alice), chosen(&mut bob, at_bob));
}

#[test]
fn an_attempt_that_breaks_off_goes_on_with_the_same_take() {
    let (mut relay, mut alice, mut bob) = (Relay::default(), person("Alice", 1), person("Bob", 2));
    let link = relay.invite(&mut bob, LinkKind::SingleUse);
    let first = alice.begin_add(&link, None).unwrap();
    let again = alice.begin_add(&link, None).unwrap();
    assert_eq!(first.take, again.take);
    assert_eq!(first.mailbox.secret.mailbox(), again.mailbox.secret.mailbox());
    //
    assert_eq!(bob.begin_add(&link, None).err(), Some(EngineError::OwnLink));
    assert!(matches!(
        alice.begin_add(&link, Some("a\u{7}b")).err(),
        Some(EngineError::NameInvalid { .. })
    ));
}

/// Whoever makes a contact of themselves would talk to nobody; and nothing is taken from the depot.
#[test]
fn r_307_a_link_of_ones_own_is_refused() {
    let (mut relay, mut bob) = (Relay::default(), person("Bob", 2));
    for kind in [LinkKind::SingleUse, LinkKind::Reusable] {
        let link = relay.invite(&mut bob, kind);
        let rows = bob.store.snapshot();
        assert_eq!(bob.begin_add(&link, None).err(), Some(EngineError::OwnLink));
        assert_eq!(bob.finish_add(&link, None, &[], NOW).err(), Some(EngineError::OwnLink));
        // Another device of the same account knows it by the account alone.
        let mut again = Engine::open(rows, TestRng(9)).unwrap();
        let other = Link::new(kind, [7; 32], *link.account(), link.relay().clone());
        assert_eq!(again.begin_add(&other, None).err(), Some(EngineError::OwnLink));
        assert!(again.contacts().unwrap().is_empty());
    }
}

#[test]
fn a_bundle_that_is_not_the_link_makers_is_refused_and_nothing_is_kept() {
    let (mut relay, mut alice, mut bob) = (Relay::default(), person("Alice", 1), person("Bob", 2));
    let link = relay.invite(&mut bob, LinkKind::SingleUse);
    let plan = alice.begin_add(&link, None).unwrap();
    let mut sealed = relay.take(&plan).unwrap();
    sealed[100] ^= 1;
    let refused = alice.finish_add(&link, None, &sealed, NOW);
    assert!(matches!(refused, Err(EngineError::Bundle(_))), "{refused:?}");
    assert!(alice.contacts().unwrap().is_empty());
    sealed[100] ^= 1;
    alice.finish_add(&link, None, &sealed, NOW).unwrap();
}

#[test]
fn a_depot_is_filled_once_a_day_and_not_on_demand() {
    let (mut relay, mut bob) = (Relay::default(), person("Bob", 2));
    let link = relay.invite(&mut bob, LinkKind::Reusable);
    let single = relay.invite(&mut bob, LinkKind::SingleUse);
    let tomorrow = UnixMillis::new(NOW.get() + 86_400_000);
    assert!(bob.due_refills(NOW).unwrap().is_empty());
    let due = bob.due_refills(tomorrow).unwrap();
    assert_eq!(due.len(), 1, "a single-use link is never filled again");

    let plan = bob.prepare_refill(due[0].number, 48, tomorrow).unwrap();
    assert_eq!((plan.one_time.len(), plan.capabilities.len()), (2, 3));
    assert!(plan.last_resort.is_some());
    assert_eq!(plan.depot, due[0].depot);
    assert!(bob.due_refills(tomorrow).unwrap().is_empty());

    // A guest who is given one of the new bundles is welcome like any other.
    relay.make(plan.mailbox.mailbox(), &plan.capabilities);
    relay.depots.insert(plan.depot, (plan.one_time, plan.last_resort));
    let mut guest = person("Guest", 7);
    relay.add(&mut guest, &link);
    relay.settle(&mut [&mut guest, &mut bob]);
    assert_eq!(only(&mut guest), only(&mut bob));
    drop(single);
}

#[test]
fn a_link_that_was_being_made_when_the_program_ended_is_gone() {
    let mut bob = person("Bob", 2);
    let plan = bob.prepare_link(LinkKind::Reusable, None, NOW).unwrap();
    bob.recover().unwrap();
    assert_eq!(bob.activate_link(plan.number, NOW).err(), Some(EngineError::UnknownLink));
    let left = bob
        .store
        .transaction(|tx| tx.scan(Table::Prekeys, &[], None, crate::store::Order::Ascending, 99))
        .unwrap();
    assert!(left.is_empty());
}

/// Whoever has read anything from us knows where to write.
#[test]
fn the_first_reply_tells_the_contact_its_own_mailbox_and_waits_until_that_exists() {
    let (mut relay, mut alice, mut bob) = (Relay::default(), person("Alice", 1), person("Bob", 2));
    let link = relay.invite(&mut bob, LinkKind::SingleUse);
    let at_alice = relay.add(&mut alice, &link);
    relay.send(&mut alice);
    relay.push(&mut bob);
    let at_bob = only(&mut bob);
    // The mailbox is not made yet: nothing goes out, not even the acknowledgement that is owed.
    assert!(bob.next_delivery(at_bob).unwrap().is_none());
    for plan in bob.pending_mailboxes().unwrap() {
        relay.make(plan.secret.mailbox(), &plan.capabilities);
        bob.mailbox_created(&plan.secret.mailbox(), NOW).unwrap();
    }
    let first = bob.next_delivery(at_bob).unwrap().unwrap();
    relay.deliver(&first);
    relay.push(&mut alice);
    alice.queue_text(at_alice, "to your own", NOW).unwrap();
    let delivery = alice.next_delivery(at_alice).unwrap().unwrap();
    let mailbox = relay.capabilities[&delivery.capability.hash()];
    assert_eq!(mailbox, bob.mailbox_of(at_bob).unwrap().unwrap().secret.mailbox());
}
