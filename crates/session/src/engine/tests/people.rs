//! What the person decides about contacts.

use super::*;

#[test]
fn r_1304_a_blocked_contact_is_let_in_over_no_link() {
    let (mut relay, mut alice, mut bob) = acquainted();
    relay.settle(&mut [&mut alice, &mut bob]);
    let (at_alice, at_bob) = (only(&mut alice), only(&mut bob));
    let link = relay.invite(&mut bob, LinkKind::Reusable);
    let before = relay.capabilities.len();
    assert_eq!(bob.block(at_bob, NOW).unwrap().state, ContactState::Blocked);
    relay.settle(&mut [&mut alice, &mut bob]);
    // Their mailbox, that of their reset link, and the bundle over which they came.
    assert!(relay.capabilities.len() < before);
    alice.queue_text(at_alice, "refused at the relay", NOW).unwrap();
    relay.settle(&mut [&mut alice, &mut bob]);
    assert_eq!(alice.queued_messages().unwrap(), 1);
    // Over a public link their envelopes reach a mailbox, and are dropped.
    relay.add(&mut alice, &link);
    relay.settle(&mut [&mut alice, &mut bob]);
    assert!(texts(&mut bob, at_bob).is_empty());
    assert_eq!(bob.contacts().unwrap().len(), 1);
    assert_eq!(
        bob.queue_text(at_bob, "not to them", NOW).unwrap_err(),
        EngineError::ContactBlocked
    );
    // Unblocked, they meet again, and what waited arrives.
    bob.unblock(at_bob, NOW).unwrap();
    relay.settle(&mut [&mut alice, &mut bob]);
    relay.add(&mut alice, &link);
    relay.settle(&mut [&mut alice, &mut bob]);
    assert_eq!(texts(&mut bob, at_bob), ["refused at the relay"]);
}

/// A handshake that stands in front again, since they have no answer, leads into a session that is here.
#[test]
fn r_1310_nothing_of_a_blocked_contact_is_opened() {
    let (mut relay, mut alice, mut bob) = (Relay::default(), person("Alice", 1), person("Bob", 2));
    let link = relay.invite(&mut bob, LinkKind::Reusable);
    let at_alice = relay.add(&mut alice, &link);
    relay.send(&mut alice);
    relay.hand_over(&mut bob);
    let at_bob = only(&mut bob);
    alice.queue_text(at_alice, "still over the link", NOW).unwrap();
    relay.send(&mut alice);
    bob.block(at_bob, NOW).unwrap();
    assert_eq!(relay.push(&mut bob).len(), 1, "it is in the link's mailbox");
    assert!(texts(&mut bob, at_bob).is_empty());
    for (day, blocked) in [(1, true), (2, false)] {
        if !blocked {
            bob.unblock(at_bob, NOW).unwrap();
        }
        bob.expire(UnixMillis::new(NOW.get() + day * 86_400_000)).unwrap();
        assert!(texts(&mut bob, at_bob).is_empty());
    }
}

#[test]
fn a_deleted_contact_leaves_no_row_behind() {
    let (mut relay, mut alice, mut bob) = acquainted();
    relay.settle(&mut [&mut alice, &mut bob]);
    let (at_alice, at_bob) = (only(&mut alice), only(&mut bob));
    for text in ["canary one", "canary two"] {
        alice.queue_text(at_alice, text, NOW).unwrap();
        bob.queue_text(at_bob, text, NOW).unwrap();
    }
    relay.settle(&mut [&mut alice, &mut bob]);
    bob.queue_text(at_bob, "canary three, queued", NOW).unwrap();
    let account = *alice.me.account().as_bytes();
    assert!(!rows_with(&mut bob, b"canary").is_empty());
    assert!(!rows_with(&mut bob, &account).is_empty());
    assert_eq!(bob.delete_contact(at_bob, NOW).unwrap().len(), 5);
    assert_eq!(rows_with(&mut bob, b"canary"), []);
    assert_eq!(rows_with(&mut bob, &account), []);
    assert_eq!(rows_with(&mut bob, b"Alice"), []);
    relay.settle(&mut [&mut alice, &mut bob]);
    // A repeat of the handshake that made them a contact does not do so again.
    for mailbox in relay.mailboxes.values_mut() {
        let again = mailbox.queue.clone();
        mailbox.queue.extend(again);
    }
    relay.push(&mut bob);
    assert!(bob.contacts().unwrap().is_empty());
}

#[test]
fn r_1311_a_flood_of_strangers_is_let_in_day_by_day() {
    let (mut relay, mut bob) = (Relay::default(), person("Bob", 2));
    let link = relay.invite(&mut bob, LinkKind::Reusable);
    // As if this many had come today.
    let today = day(NOW).get();
    let full = (today, super::super::people::STRANGERS_PER_DAY);
    bob.store.transaction(|tx| save(tx, Table::Meta, b"strangers", &full)).unwrap();
    let mut guest = person("Guest", 7);
    relay.add(&mut guest, &link);
    relay.settle(&mut [&mut guest, &mut bob]);
    assert!(bob.contacts().unwrap().is_empty());
    bob.admit_strangers(NOW).unwrap();
    // There is room now, and it was looked for today.
    bob.store.transaction(|tx| save(tx, Table::Meta, b"strangers", &(today, 0_u32))).unwrap();
    bob.admit_strangers(NOW).unwrap();
    assert!(bob.contacts().unwrap().is_empty());
    bob.admit_strangers(UnixMillis::new(NOW.get() + 86_400_000)).unwrap();
    relay.settle(&mut [&mut guest, &mut bob]);
    assert_eq!(bob.contacts().unwrap()[0].name, "Guest");
}

#[test]
fn scanned_codes_verify_the_right_one_only() {
    let (_, mut alice, mut bob) = acquainted();
    let (at_alice, at_bob) = (only(&mut alice), only(&mut bob));
    let code = bob.safety_number(at_bob).unwrap().qr;
    let mut other = code.clone();
    other[40] ^= 1;
    assert!(!alice.verify_scanned(at_alice, &other).unwrap());
    assert!(!alice.verify_scanned(at_alice, b"").unwrap());
    assert!(!alice.contact(at_alice).unwrap().verified);
    assert!(alice.verify_scanned(at_alice, &code).unwrap());
    assert!(alice.contact(at_alice).unwrap().verified);
}

#[test]
fn r_1309_a_withdrawn_link_serves_nobody_not_even_with_a_bundle_taken_before() {
    let (mut relay, mut alice, mut bob) = (Relay::default(), person("Alice", 1), person("Bob", 2));
    let link = relay.invite(&mut bob, LinkKind::Reusable);
    relay.add(&mut alice, &link);
    let links = bob.links().unwrap();
    bob.revoke_link(links[0].number, NOW).unwrap();
    relay.settle(&mut [&mut alice, &mut bob]);
    assert!(bob.contacts().unwrap().is_empty());
    assert!(events(&mut bob).is_empty(), "and nothing is told as strange");
    assert!(bob.links().unwrap()[0].revoked);
    let plan = person("Carol", 3).begin_add(&link, None).unwrap();
    assert!(relay.take(&plan).is_none());
    assert_eq!(bob.revoke_link(99, NOW), Err(EngineError::UnknownLink));
}
