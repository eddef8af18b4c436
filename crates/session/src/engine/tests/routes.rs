//! Which mailbox an envelope goes to, whatever happens between sealing and delivery.

use undertone_core::{AccountFingerprint, Bundle, LinkSecret, Routing as CoreRouting, initiate};

use super::*;
use crate::content::{Body, Content};
use crate::message::Hold;

/// Sealed with its handshake, refused, and by the time it goes out the contact has answered and
/// told an address of their own: in that mailbox nobody would understand a handshake.
#[test]
fn an_envelope_with_a_handshake_goes_to_the_mailbox_it_was_sealed_for() {
    let (mut relay, mut alice, mut bob) = (Relay::default(), person("Alice", 1), person("Bob", 2));
    let link = relay.invite(&mut bob, LinkKind::SingleUse);
    let at_alice = relay.add(&mut alice, &link);
    relay.send(&mut alice);
    let id = alice.queue_text(at_alice, "sealed early", NOW).unwrap();
    let first = alice.next_delivery(at_alice).unwrap().unwrap();
    alice.refused(first.id, Hold::MailboxFull).unwrap();
    relay.push(&mut bob);
    relay.send(&mut bob);
    relay.push(&mut alice);
    let again = alice.next_delivery(at_alice).unwrap().unwrap();
    assert_eq!(again.envelope, first.envelope, "identical bytes");
    assert_eq!(again.capability.as_bytes(), first.capability.as_bytes(), "to the same place");
    relay.settle(&mut [&mut alice, &mut bob]);
    let at_bob = only(&mut bob);
    assert_eq!(texts(&mut bob, at_bob), ["sealed early"]);
    assert_eq!(state(&mut alice, id), MessageState::Delivered);
}

/// The same, but the mailbox of the link is gone by then: the content is sealed anew.
#[test]
fn a_handshake_that_has_nowhere_to_go_is_sealed_anew_once_the_session_is_confirmed() {
    let (mut relay, mut alice, mut bob) = (Relay::default(), person("Alice", 1), person("Bob", 2));
    let link = relay.invite(&mut bob, LinkKind::SingleUse);
    let at_alice = relay.add(&mut alice, &link);
    relay.send(&mut alice);
    alice.queue_text(at_alice, "sealed early", NOW).unwrap();
    let first = alice.next_delivery(at_alice).unwrap().unwrap();
    // Not confirmed yet: there is nowhere else, so it is held and kept as it is.
    alice.refused(first.id, Hold::AddressUnknown).unwrap();
    assert_eq!(alice.next_delivery(at_alice).unwrap().unwrap().envelope, first.envelope);
    relay.push(&mut bob);
    relay.send(&mut bob);
    relay.push(&mut alice);
    alice.refused(first.id, Hold::AddressUnknown).unwrap();
    let anew = alice.next_delivery(at_alice).unwrap().unwrap();
    assert_ne!(anew.capability.as_bytes(), first.capability.as_bytes());
    relay.settle(&mut [&mut alice, &mut bob]);
    let at_bob = only(&mut bob);
    assert_eq!(texts(&mut bob, at_bob), ["sealed early"]);
}

/// A second use of a known contact's link starts a session by its own handshake, and never sends
/// what is not understood there into the link's mailbox.
#[test]
fn a_second_link_of_a_known_contact_loses_nothing() {
    let (mut relay, mut alice, mut bob) = (Relay::default(), person("Alice", 1), person("Bob", 2));
    let link = relay.invite(&mut bob, LinkKind::Reusable);
    let at_alice = relay.add(&mut alice, &link);
    relay.settle(&mut [&mut alice, &mut bob]);
    for guest in 0..35u64 {
        let mut guest = person(&format!("Guest {guest}"), 100 + guest);
        relay.add(&mut guest, &link);
        relay.settle(&mut [&mut guest, &mut bob]);
    }
    relay.add(&mut alice, &link);
    alice.queue_text(at_alice, "again", NOW).unwrap();
    relay.settle(&mut [&mut alice, &mut bob]);
    let at_bob = bob.find_contact("Alice").unwrap().id;
    assert_eq!(texts(&mut bob, at_bob), ["again"]);
    bob.queue_text(at_bob, "and back", NOW).unwrap();
    relay.settle(&mut [&mut alice, &mut bob]);
    assert_eq!(texts(&mut alice, at_alice), ["again", "and back"]);
}

/// A mailbox that moves is lost at its relay before the new one is there: of the two that take its
/// place, the one that is there last is the contact's, or the other, and it is not given up.
#[test]
fn a_mailbox_that_is_lost_while_it_moves_leaves_one_that_is_used() {
    for reversed in [false, true] {
        let (mut relay, mut alice, mut bob) = acquainted();
        relay.settle(&mut [&mut alice, &mut bob]);
        let (at_alice, at_bob) = (only(&mut alice), only(&mut bob));
        let later = UnixMillis::new(NOW.get() + 40 * 86_400_000);
        bob.begin_moves(later).unwrap();
        relay.delete_mailbox(bob.mailbox_of(at_bob).unwrap().unwrap().secret.mailbox());
        assert!(!relay.check(&mut bob));
        let mut plans = bob.pending_mailboxes().unwrap();
        assert_eq!(plans.len(), 2);
        if reversed {
            plans.reverse();
        }
        for plan in plans {
            relay.make(plan.secret.mailbox(), &plan.capabilities);
            bob.mailbox_created(&plan.secret.mailbox(), NOW).unwrap();
        }
        for _ in 0..3 {
            let there = alice.queue_text(at_alice, "there", NOW).unwrap();
            let back = bob.queue_text(at_bob, "and back", NOW).unwrap();
            relay.settle(&mut [&mut alice, &mut bob]);
            assert_eq!(state(&mut alice, there), MessageState::Delivered);
            assert_eq!(state(&mut bob, back), MessageState::Delivered);
        }
        assert!(bob.mailbox_of(at_bob).unwrap().is_some());
    }
}

/// A stranger who names a route that is none, in a handshake over a link of Bob's.
#[test]
fn r_306_a_handshake_that_names_no_route_is_refused_and_stops_nobody() {
    let (mut relay, mut alice, mut bob) = (Relay::default(), person("Alice", 1), person("Bob", 2));
    let link = relay.invite(&mut bob, LinkKind::Reusable);
    let at_alice = relay.add(&mut alice, &link);
    relay.settle(&mut [&mut alice, &mut bob]);

    let mut mallory = person("Mallory", 3);
    let plan = mallory.begin_add(&link, None).unwrap();
    let sealed = relay.take(&plan).unwrap();
    let secret = LinkSecret::from_bytes(link.secret());
    let inviter = AccountFingerprint::from_bytes(*link.account());
    let bundle = Bundle::open(&secret.card_key(), &sealed, &inviter, day(NOW)).unwrap();
    let answer_to = bundle.reply().as_bytes().to_vec();
    let nowhere = CoreRouting::new(b"").unwrap();
    let checked = bundle.check(None).unwrap();
    let (me, rng) = (&mallory.me, &mut mallory.rng);
    let mut session = initiate(me, checked, &secret, &nowhere, rng).unwrap();
    let content = Content {
        id: MessageId::from_bytes([9; 16]),
        sent_at: NOW,
        body: Body::Text("gotcha".into()),
    };
    let envelope = session
        .seal(&content.encode().unwrap(), rng)
        .unwrap()
        .commit(|_, _| Ok::<_, Infallible>(()))
        .unwrap();
    let capability = crate::routing::Routing::from_bytes(&answer_to).unwrap().capability;
    let mailbox = relay.capabilities[&capability.hash()];
    relay.mailboxes.get_mut(&mailbox).unwrap().queue.push(envelope);
    relay.push(&mut bob);
    assert_eq!(bob.contacts().unwrap().len(), 1, "Mallory is no contact");

    let at_bob = only(&mut bob);
    bob.queue_text(at_bob, "still here", NOW).unwrap();
    relay.settle(&mut [&mut alice, &mut bob]);
    assert_eq!(texts(&mut alice, at_alice), ["still here"]);
}

/// An inviter whose bundle names a route that is none.
#[test]
fn r_306_a_bundle_that_names_no_route_is_refused() {
    let (mut relay, mut alice, mut bob) = (Relay::default(), person("Alice", 1), person("Bob", 2));
    let link = relay.invite(&mut bob, LinkKind::SingleUse);
    let nowhere = CoreRouting::new(&[7; 40]).unwrap();
    let (me, rng) = (&bob.me, &mut bob.rng);
    let kind = undertone_core::BundleKind::OneTime;
    let (_, bundle) = undertone_core::generate_prekey(kind, me, day(NOW), &nowhere, rng);
    let sealed = bundle.seal(&LinkSecret::from_bytes(link.secret()).card_key(), rng);
    let plan = alice.begin_add(&link, None).unwrap();
    relay.make(plan.mailbox.secret.mailbox(), &plan.mailbox.capabilities);
    let refused = alice.finish_add(&link, None, &sealed, NOW);
    assert!(matches!(refused, Err(EngineError::Bundle(_))));
    assert!(alice.contacts().unwrap().is_empty());
}

/// The mailbox of a link is lost at its relay, of which nothing else is, and is made again under the
/// same name: its numbers begin again, and so does what is heard.
#[test]
fn a_links_mailbox_that_is_made_again_is_heard_from_its_first_envelope() {
    let (mut relay, mut alice, mut bob) = (Relay::default(), person("Alice", 1), person("Bob", 2));
    let link = relay.invite(&mut bob, LinkKind::Reusable);
    relay.add(&mut alice, &link);
    relay.settle(&mut [&mut alice, &mut bob]);
    let mut lost: Vec<MailboxId> =
        bob.subscriptions().unwrap().iter().map(|one| one.secret.mailbox()).collect();
    let at_bob = only(&mut bob);
    let own = bob.mailbox_of(at_bob).unwrap().unwrap().secret.mailbox();
    lost.retain(|id| *id != own && !relay.mailboxes[id].queue.is_empty());
    assert_eq!(lost.len(), 1, "the link's, into which the greeting came");
    relay.delete_mailbox(lost[0]);
    assert_eq!(bob.check_floor(&lost[0], None).unwrap(), FloorVerdict::Sound);
    relay.care(&mut bob, NOW);
    assert!(relay.mailboxes.contains_key(&lost[0]), "made again");
    let mut cyd = person("Cyd", 3);
    relay.add(&mut cyd, &link);
    relay.settle(&mut [&mut cyd, &mut bob]);
    assert!(bob.find_contact("Cyd").is_ok());
}
