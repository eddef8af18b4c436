//! Which mailbox an envelope goes to, whatever happens between sealing and delivery.

use super::*;
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
    alice.refused(at_alice, Hold::MailboxFull).unwrap();
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
    alice.refused(at_alice, Hold::AddressUnknown).unwrap();
    assert_eq!(alice.next_delivery(at_alice).unwrap().unwrap().envelope, first.envelope);
    relay.push(&mut bob);
    relay.send(&mut bob);
    relay.push(&mut alice);
    alice.refused(at_alice, Hold::AddressUnknown).unwrap();
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
