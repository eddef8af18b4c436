//! Mailboxes that move: on their day, to another relay, with messages in flight.

use super::*;
use crate::message::Hold;

const DAY: u64 = 86_400_000;

fn days(n: u64) -> UnixMillis {
    UnixMillis::new(NOW.get() + n * DAY)
}

fn own_mailbox(person: &mut Person, contact: ContactId) -> MailboxId {
    person.mailbox_of(contact).unwrap().unwrap().secret.mailbox()
}

/// The relay makes what is pending; the contact is yet to be told.
fn make_pending(relay: &mut Relay, person: &mut Person, now: UnixMillis) {
    for plan in person.pending_mailboxes().unwrap() {
        relay.make(plan.secret.mailbox(), &plan.capabilities);
        person.mailbox_created(&plan.secret.mailbox(), now).unwrap();
    }
}

/// Gives up what can be given up; true if anything was.
fn close(relay: &mut Relay, person: &mut Person, now: UnixMillis) -> bool {
    let mut any = false;
    for old in person.retired_mailboxes(now).unwrap() {
        let mailbox = old.secret.mailbox();
        let state = relay.state(&mailbox);
        any |= person.close_mailbox(&mailbox, state.as_ref(), now).unwrap();
    }
    for chore in person.chores().unwrap() {
        if let ChoreRequest::DeleteMailbox(secret) = &chore.what {
            relay.delete_mailbox(secret.mailbox());
        }
        person.chore_done(chore.number).unwrap();
    }
    any
}

fn settled() -> (Relay, Person, Person, ContactId, ContactId) {
    let (mut relay, mut alice, mut bob) = acquainted();
    relay.settle(&mut [&mut alice, &mut bob]);
    let (at_alice, at_bob) = (only(&mut alice), only(&mut bob));
    (relay, alice, bob, at_alice, at_bob)
}

#[test]
fn a_mailbox_moves_on_a_day_of_its_own_between_three_and_five_weeks() {
    let mut seen = std::collections::BTreeSet::new();
    for seed in 0..24 {
        let (_, _, mut bob, _, at_bob) = settled();
        bob.rng = TestRng(500 + seed);
        // The day was drawn when the mailbox was new; it is drawn anew for the next one.
        let key = *own_mailbox(&mut bob, at_bob).as_bytes();
        bob.store
            .transaction(|tx| -> Result<(), StoreError> {
                let mut row: rows::MailboxRow = rows::must(tx, Table::Mailboxes, &key)?;
                row.move_on = 0;
                save(tx, Table::Mailboxes, &key, &row)
            })
            .unwrap();
        bob.begin_moves(NOW).unwrap();
        let mut day = 0;
        while bob.pending_mailboxes().unwrap().is_empty() {
            day += 1;
            bob.begin_moves(days(day)).unwrap();
        }
        assert!((21..=34).contains(&day), "{day}");
        // One is made, however often it is asked.
        bob.begin_moves(days(day + 1)).unwrap();
        assert_eq!(bob.pending_mailboxes().unwrap().len(), 1);
        seen.insert(day);
    }
    assert!(seen.len() > 5, "not all on the same day: {seen:?}");
}

/// Sealed for the old mailbox, and not delivered before that is gone: the very bytes go to the new one.
#[test]
fn what_was_sealed_for_a_mailbox_that_is_gone_goes_to_the_new_one_as_it_is() {
    let (mut relay, mut alice, mut bob, at_alice, at_bob) = settled();
    let old = own_mailbox(&mut bob, at_bob);
    bob.begin_moves(days(40)).unwrap();
    make_pending(&mut relay, &mut bob, NOW);
    let new = own_mailbox(&mut bob, at_bob);
    assert_ne!(old, new);
    // Alice does not know of it yet.
    alice.queue_text(at_alice, "1", NOW).unwrap();
    relay.send(&mut alice);
    alice.queue_text(at_alice, "2", NOW).unwrap();
    let sealed = alice.next_delivery(at_alice).unwrap().unwrap();
    assert_eq!(relay.capabilities[&sealed.capability.hash()], old);
    alice.refused(sealed.id, Hold::RelayUnreachable).unwrap();
    relay.push(&mut bob);
    relay.send(&mut bob);
    relay.push(&mut alice);
    alice.queue_text(at_alice, "3", NOW).unwrap();
    assert!(close(&mut relay, &mut bob, days(31)));
    let first = alice.next_delivery(at_alice).unwrap().unwrap();
    assert_eq!(first.capability.as_bytes(), sealed.capability.as_bytes());
    assert!(!relay.deliver(&first));
    assert!(alice.refused(first.id, Hold::AddressUnknown).unwrap(), "there is another address");
    let again = alice.next_delivery(at_alice).unwrap().unwrap();
    assert_eq!(again.envelope, sealed.envelope, "identical bytes");
    assert_eq!(relay.capabilities[&again.capability.hash()], new);
    relay.settle(&mut [&mut alice, &mut bob]);
    assert_eq!(texts(&mut bob, at_bob), ["1", "2", "3"]);
}

/// Before the move, between, and behind it: nothing is lost, and nothing comes out of order.
#[test]
fn what_is_in_flight_when_a_mailbox_moves_comes_whole_and_in_order() {
    let (mut relay, mut alice, mut bob, at_alice, at_bob) = settled();
    let old = own_mailbox(&mut bob, at_bob);
    alice.queue_text(at_alice, "1", NOW).unwrap();
    relay.send(&mut alice);
    bob.begin_moves(days(40)).unwrap();
    make_pending(&mut relay, &mut bob, NOW);
    alice.queue_text(at_alice, "2", NOW).unwrap();
    relay.send(&mut alice);
    relay.send(&mut bob);
    relay.push(&mut alice);
    alice.queue_text(at_alice, "3", NOW).unwrap();
    relay.send(&mut alice);
    // Two wait in the old one, one in the new: neither is given up before all is here.
    assert!(!close(&mut relay, &mut bob, NOW));
    assert!(relay.mailboxes.contains_key(&old));
    relay.push(&mut bob);
    assert_eq!(texts(&mut bob, at_bob), ["1", "2", "3"]);
    assert!(close(&mut relay, &mut bob, NOW));
    assert!(!relay.mailboxes.contains_key(&old));
    alice.queue_text(at_alice, "4", NOW).unwrap();
    relay.settle(&mut [&mut alice, &mut bob]);
    assert_eq!(texts(&mut bob, at_bob), ["1", "2", "3", "4"]);
}

#[test]
fn of_a_contact_who_is_silent_the_old_mailbox_is_kept_for_thirty_days() {
    let (mut relay, mut alice, mut bob, at_alice, at_bob) = settled();
    let old = own_mailbox(&mut bob, at_bob);
    bob.begin_moves(days(40)).unwrap();
    make_pending(&mut relay, &mut bob, NOW);
    assert!(bob.retired_mailboxes(days(30)).unwrap().is_empty());
    assert!(relay.mailboxes.contains_key(&old));
    let subscribed: Vec<MailboxId> =
        bob.subscriptions().unwrap().iter().map(|one| one.secret.mailbox()).collect();
    assert!(subscribed.contains(&old), "until then it is listened to");
    assert!(close(&mut relay, &mut bob, days(31)));
    assert!(!relay.mailboxes.contains_key(&old));
    // Alice hears "unknown"; what she has waits, and goes out when she has heard of the new one.
    alice.queue_text(at_alice, "late", NOW).unwrap();
    let sealed = alice.next_delivery(at_alice).unwrap().unwrap();
    assert!(!relay.deliver(&sealed));
    assert!(!alice.refused(sealed.id, Hold::AddressUnknown).unwrap());
    relay.settle(&mut [&mut bob, &mut alice]);
    assert_eq!(texts(&mut bob, at_bob), ["late"]);
}

/// Its relay may be gone for good, so that nobody is asked whether anything is in it.
#[test]
fn a_replaced_mailbox_at_a_relay_that_is_gone_is_given_up_after_thirty_days() {
    let (mut relay, _, mut bob, _, at_bob) = settled();
    let old = own_mailbox(&mut bob, at_bob);
    assert!(!bob.abandon_mailbox(&old, days(99)).unwrap(), "it is the one that is in use");
    bob.begin_moves(days(40)).unwrap();
    make_pending(&mut relay, &mut bob, NOW);
    let listens = |bob: &mut Person| {
        let all = bob.subscriptions().unwrap();
        all.iter().any(|one| one.secret.mailbox() == old)
    };
    assert!(!bob.abandon_mailbox(&old, days(30)).unwrap());
    assert!(listens(&mut bob));
    assert!(bob.abandon_mailbox(&old, days(31)).unwrap());
    assert!(!listens(&mut bob));
    assert!(!bob.abandon_mailbox(&old, days(31)).unwrap());
}

/// A capability for each bundle, and a mailbox for each contact: no relay sees from them that two
/// belong together, and each can be revoked alone.
#[test]
fn no_two_contacts_and_no_two_bundles_share_a_capability() {
    let (mut relay, mut bob) = (Relay::default(), person("Bob", 2));
    let plan = bob.prepare_link(LinkKind::Reusable, None, NOW).unwrap();
    let bundles = plan.one_time.len() + usize::from(plan.last_resort.is_some());
    let distinct: std::collections::BTreeSet<_> = plan.capabilities.iter().collect();
    assert_eq!((plan.capabilities.len(), distinct.len()), (bundles, bundles));
    relay.make(plan.mailbox.mailbox(), &plan.capabilities);
    relay.depots.insert(plan.depot, (plan.one_time, plan.last_resort));
    let link = bob.activate_link(plan.number, NOW).unwrap();
    let mut routes = std::collections::BTreeSet::new();
    for seed in 10..13 {
        let mut guest = person(&format!("Guest {seed}"), seed);
        relay.add(&mut guest, &link);
        relay.settle(&mut [&mut guest, &mut bob]);
        let contact = only(&mut guest);
        guest.queue_text(contact, "to your own", NOW).unwrap();
        let delivery = guest.next_delivery(contact).unwrap().unwrap();
        let mailbox = relay.capabilities[&delivery.capability.hash()];
        assert!(routes.insert((mailbox, *delivery.capability.as_bytes())));
    }
    let mailboxes: std::collections::BTreeSet<_> =
        routes.iter().map(|(mailbox, _)| mailbox).collect();
    assert_eq!(mailboxes.len(), 3);
}

fn elsewhere() -> JoinAddress {
    let relay =
        RelayAddress::new("elsewhere.example", 443, RootFingerprint::from_bytes([8; 32])).unwrap();
    JoinAddress::new(relay, AdmissionToken::from_bytes([4; 32]))
}

/// The relay ends before it has made what was asked of it, as all of them are after a restore.
#[test]
fn mailboxes_that_were_never_made_go_to_the_new_home() {
    let (mut relay, mut alice, mut bob, at_alice, at_bob) = settled();
    let link = relay.invite(&mut bob, LinkKind::Reusable);
    let mut carol = person("Carol", 3);
    let at_carol = relay.add(&mut carol, &link);
    relay.send(&mut carol);
    relay.hand_over(&mut bob);
    let to_carol = bob.find_contact("Carol").unwrap().id;
    let theirs = relay.invite(&mut alice, LinkKind::Reusable);
    let begun = carol.begin_add(&theirs, None).unwrap();
    // One for Carol, who is told of it as soon as it is there; one that takes the place of Alice's.
    bob.begin_moves(days(40)).unwrap();
    let old = bob.pending_mailboxes().unwrap();
    assert_eq!(old.len(), 2);
    for person in [&mut bob, &mut carol] {
        person.move_home(&elsewhere()).unwrap();
    }
    // The answer of the old relay, which comes too late.
    for plan in &old {
        bob.mailbox_created(&plan.secret.mailbox(), NOW).unwrap();
    }
    let new = bob.pending_mailboxes().unwrap();
    assert_eq!(new.len(), 2);
    for plan in &new {
        assert_eq!(plan.relay, *elsewhere().relay());
        assert_eq!(plan.token.as_bytes(), elsewhere().token().as_bytes());
        assert!(old.iter().all(|one| one.secret.mailbox() != plan.secret.mailbox()));
    }
    // The same take, and a mailbox that can be made.
    let again = carol.begin_add(&theirs, None).unwrap();
    assert_eq!(again.take.as_bytes(), begun.take.as_bytes());
    assert_eq!(again.mailbox.relay, *elsewhere().relay());
    // What was to be told names the new one.
    relay.settle(&mut [&mut bob, &mut carol, &mut alice]);
    for (person, contact, of) in [(&mut carol, at_carol, to_carol), (&mut alice, at_alice, at_bob)]
    {
        let text = person.queue_text(contact, "to the new home", NOW).unwrap();
        let sent = person.next_delivery(contact).unwrap().unwrap();
        assert_eq!(sent.relay, *elsewhere().relay());
        assert_eq!(relay.capabilities[&sent.capability.hash()], own_mailbox(&mut bob, of));
        relay.settle(&mut [&mut bob, person]);
        assert_eq!(state(person, text), MessageState::Delivered);
    }
}

/// What a former relay is asked for, it is asked for with its own token.
#[test]
fn a_plan_has_the_token_of_its_relay() {
    let (_, _, mut bob, _, at_bob) = settled();
    let key = *own_mailbox(&mut bob, at_bob).as_bytes();
    bob.move_home(&elsewhere()).unwrap();
    let row = bob
        .store
        .transaction(|tx| rows::must::<rows::MailboxRow>(tx, Table::Mailboxes, &key))
        .unwrap();
    let plan = bob.plan(&row).unwrap();
    assert_eq!(plan.relay, relay_address());
    assert_eq!(plan.token.as_bytes(), &[1; 32]);
}

#[test]
fn a_file_that_waits_is_looked_for_where_it_was_stored() {
    let (mut relay, mut alice, mut bob, at_alice, _) = settled();
    let queue = |alice: &mut Person, name: &str| {
        let file = OutgoingFile {
            info: crate::message::FileInfo { name: name.into(), ..super::frozen::file().info },
            ..super::frozen::file()
        };
        alice.queue_file(at_alice, file, NOW).unwrap();
    };
    queue(&mut alice, "while it moves");
    let during = alice.uploads().unwrap().pop().unwrap();
    queue(&mut alice, "before it moves");
    alice.move_home(&elsewhere()).unwrap();
    let after = alice.uploads().unwrap().pop().unwrap();
    assert_eq!(after.relay, *elsewhere().relay());
    // One was being stored at the old relay all the while.
    alice.uploaded(during.message, &during.relay).unwrap();
    alice.uploaded(after.message, &after.relay).unwrap();
    relay.settle(&mut [&mut alice, &mut bob]);
    let limits = FetchLimits { file: 1 << 20, day: 1 << 30 };
    let downloads = bob.downloads(&limits, NOW).unwrap();
    let at: Vec<_> =
        downloads.iter().map(|one| (one.attachment.name.as_str(), &one.relay)).collect();
    assert_eq!(at.len(), 2);
    assert!(at.contains(&("while it moves", &relay_address())));
    assert!(at.contains(&("before it moves", elsewhere().relay())));
}
