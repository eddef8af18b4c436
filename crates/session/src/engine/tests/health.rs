//! What is counted of how well the encryption works.

use super::*;

fn health(person: &mut Person) -> Health {
    person.health(NOW).unwrap()
}

#[test]
fn renewals_junk_and_verification_are_counted() {
    let (mut relay, mut alice, mut bob) = acquainted();
    let (at_alice, at_bob) = (only(&mut alice), only(&mut bob));
    let before = health(&mut bob);
    assert_eq!((before.unopenable, before.parked, before.unverified), (0, 0, 1));
    assert!(before.opened > 0);
    assert_eq!(before.conversations.len(), 1);
    assert_eq!(before.conversations[0].contact, at_bob);
    for _ in 0..8 {
        alice.queue_text(at_alice, "there", NOW).unwrap();
        relay.settle(&mut [&mut alice, &mut bob]);
        bob.queue_text(at_bob, "and back", NOW).unwrap();
        relay.settle(&mut [&mut alice, &mut bob]);
    }
    let after = health(&mut bob);
    assert!(after.conversations[0].epochs > 0);
    assert_eq!(after.conversations[0].healed_at, Some(NOW));
    assert!(after.opened >= before.opened + 16);

    // Junk in Bob's mailbox.
    let mailbox = bob.mailbox_of(at_bob).unwrap().unwrap().secret.mailbox();
    let queue = &mut relay.mailboxes.get_mut(&mailbox).unwrap().queue;
    queue.push(vec![7; 1024]);
    relay.push(&mut bob);
    bob.mark_verified(at_bob).unwrap();
    let worse = health(&mut bob);
    assert_eq!((worse.unopenable, worse.parked, worse.unverified), (1, 1, 0));
    assert_eq!(worse.opened, after.opened);
    assert!(worse.conversations[0].verified);

    // After a month nobody speaks of it any more.
    let later = UnixMillis::new(NOW.get() + 31 * 86_400_000);
    let forgotten = bob.health(later).unwrap();
    assert_eq!((forgotten.opened, forgotten.unopenable), (0, 0));
    bob.block(at_bob, NOW).unwrap();
    assert!(health(&mut bob).conversations.is_empty());
}

/// Who has not answered yet, or is restored, has no conversation that could be sound.
#[test]
fn a_conversation_is_one_in_which_both_have_written() {
    let (mut relay, mut alice, mut bob) = (Relay::default(), person("Alice", 1), person("Bob", 2));
    let link = relay.invite(&mut bob, LinkKind::SingleUse);
    relay.add(&mut alice, &link);
    let alone = health(&mut alice);
    assert!(alone.conversations.is_empty());
    assert_eq!(alone.unverified, 1);
    relay.settle(&mut [&mut alice, &mut bob]);
    assert_eq!(health(&mut alice).conversations.len(), 1);
}
