//! Sessions that start anew: who begins, what is sent again, and that both sides come together.

use super::super::healing::{contact_is_lost, suspect};
use super::*;
use crate::event::ResetCause;
use crate::message::Hold;
use crate::store::Order;

/// Both know each other, and each holds the other's reset link.
pub(super) fn ready() -> (Relay, Person, Person, ContactId, ContactId) {
    let (mut relay, mut alice, mut bob) = acquainted();
    relay.settle(&mut [&mut alice, &mut bob]);
    let (at_alice, at_bob) = (only(&mut alice), only(&mut bob));
    for (person, contact) in [(&mut alice, at_alice), (&mut bob, at_bob)] {
        let row = row(person, contact);
        assert!(row.reset_theirs.is_some() && row.reset_ours.is_some());
    }
    (relay, alice, bob, at_alice, at_bob)
}

fn row(person: &mut Person, contact: ContactId) -> rows::ContactRow {
    person.store.transaction(|tx| contacts::load_contact(tx, contact)).unwrap()
}

/// The session that a person sends in.
pub(super) fn current(person: &mut Person, contact: ContactId) -> [u8; 32] {
    let row = row(person, contact);
    outbox::choose(row.devices.last().unwrap(), None).unwrap().id
}

pub(super) fn resets(person: &mut Person) -> Vec<ResetCause> {
    let reset = |kind| match kind {
        EventKind::Reset { cause, .. } => Some(cause),
        _ => None,
    };
    events(person).into_iter().filter_map(reset).collect()
}

pub(super) fn reopened(store: FaultyStore, seed: u64) -> Person {
    Engine::open(store, TestRng(seed)).unwrap()
}

/// They talk both ways, in one session, without anything that is told as strange.
pub(super) fn assert_healed(
    relay: &mut Relay,
    a: (&mut Person, ContactId),
    b: (&mut Person, ContactId),
) {
    let ((alice, at_alice), (bob, at_bob)) = (a, b);
    for round in 0..3 {
        let there = alice.queue_text(at_alice, &format!("healed {round}"), NOW).unwrap();
        let back = bob.queue_text(at_bob, &format!("well {round}"), NOW).unwrap();
        relay.settle(&mut [alice, bob]);
        assert_eq!(state(alice, there), MessageState::Delivered);
        assert_eq!(state(bob, back), MessageState::Delivered);
    }
    // As soon as messages do not cross, both use the same session.
    alice.queue_text(at_alice, "one after", NOW).unwrap();
    relay.settle(&mut [alice, bob]);
    bob.queue_text(at_bob, "the other", NOW).unwrap();
    relay.settle(&mut [alice, bob]);
    assert_eq!(current(alice, at_alice), current(bob, at_bob));
    for (person, contact) in [(alice, at_alice), (bob, at_bob)] {
        assert_eq!(person.contact(contact).unwrap().state, ContactState::Active);
        assert_eq!(person.queued_messages().unwrap(), 0);
    }
}

#[test]
fn a_restored_store_heals_by_itself_and_nothing_undelivered_is_lost() {
    let (mut relay, mut alice, mut bob, at_alice, at_bob) = ready();
    let old = bob.store.snapshot();
    alice.queue_text(at_alice, "seen by the newer store", NOW).unwrap();
    relay.settle(&mut [&mut alice, &mut bob]);
    // On its way when the store is put back: in the old sessions.
    let later = alice.queue_text(at_alice, "on its way", NOW).unwrap();
    relay.send(&mut alice);
    drop(bob);

    let mut bob = reopened(old, 99);
    assert!(!relay.check(&mut bob));
    let own = bob.queue_text(at_bob, "from the old copy", NOW).unwrap();
    assert!(bob.next_delivery(at_bob).unwrap().is_none(), "nothing under an old position");
    assert_eq!(bob.contact(at_bob).unwrap().state, ContactState::RolledBack);
    assert_eq!(bob.message(own).unwrap().hold, None);
    relay.settle(&mut [&mut alice, &mut bob]);
    assert_eq!(resets(&mut bob), [ResetCause::OwnStateLost]);
    assert_eq!(resets(&mut alice), [ResetCause::TheirStateLost]);
    assert!(events(&mut bob).contains(&EventKind::StoreRolledBack { contact: at_bob }));
    for (person, id) in [(&mut alice, later), (&mut bob, own)] {
        assert_eq!(state(person, id), MessageState::Delivered);
    }
    assert_eq!(texts(&mut alice, at_alice).iter().filter(|t| *t == "from the old copy").count(), 1);
    assert_eq!(texts(&mut bob, at_bob).iter().filter(|t| *t == "on its way").count(), 1);
    assert_healed(&mut relay, (&mut alice, at_alice), (&mut bob, at_bob));
    assert!(relay.check(&mut bob));
}

/// A floor that is ahead in one mailbox proves that the store as a whole is old.
#[test]
fn one_floor_ahead_heals_with_everybody() {
    let (mut relay, mut alice, mut bob, _, at_bob) = ready();
    let link = relay.invite(&mut bob, LinkKind::Reusable);
    let mut carol = person("Carol", 3);
    relay.add(&mut carol, &link);
    relay.settle(&mut [&mut alice, &mut bob, &mut carol]);
    let to_carol = bob.find_contact("Carol").unwrap().id;
    let old = bob.store.snapshot();
    // Only Alice writes; Bob writes to Carol only.
    let at_alice = only(&mut alice);
    alice.queue_text(at_alice, "from Alice", NOW).unwrap();
    bob.queue_text(to_carol, "to Carol", NOW).unwrap();
    relay.send(&mut bob);
    relay.send(&mut alice);
    relay.push(&mut bob);
    let mut bob = reopened(old, 98);
    assert!(!relay.check(&mut bob));
    assert_eq!(bob.contact(to_carol).unwrap().state, ContactState::RolledBack);
    relay.settle(&mut [&mut alice, &mut bob, &mut carol]);
    let at_carol = only(&mut carol);
    assert_healed(&mut relay, (&mut alice, at_alice), (&mut bob, at_bob));
    assert_healed(&mut relay, (&mut carol, at_carol), (&mut bob, to_carol));
    assert_eq!(texts(&mut carol, at_carol)[0], "to Carol");
    // The depot of the public link was filled anew: whoever uses it now is welcome.
    let mut dora = person("Dora", 4);
    relay.add(&mut dora, &link);
    relay.settle(&mut [&mut dora, &mut bob]);
    assert!(bob.find_contact("Dora").is_ok());
}

/// Where nothing was received, no floor is ahead; the other side sees it in the headers.
#[test]
fn a_peer_that_was_rolled_back_is_noticed_by_what_it_sends() {
    let (mut relay, mut alice, mut bob, at_alice, at_bob) = ready();
    let old = bob.store.snapshot();
    bob.queue_text(at_bob, "one", NOW).unwrap();
    bob.queue_text(at_bob, "two", NOW).unwrap();
    relay.send(&mut bob);
    relay.push(&mut alice);
    let mut bob = reopened(old, 97);
    assert!(relay.check(&mut bob), "nothing came that it does not know of");
    let lost = bob.queue_text(at_bob, "other one", NOW).unwrap();
    bob.queue_text(at_bob, "other two", NOW).unwrap();
    bob.queue_text(at_bob, "three", NOW).unwrap();
    relay.settle(&mut [&mut alice, &mut bob]);
    assert_eq!(resets(&mut alice), [ResetCause::PeerRolledBack]);
    assert_eq!(resets(&mut bob), [ResetCause::TheySawUsRolledBack]);
    assert_eq!(state(&mut bob, lost), MessageState::Delivered);
    let heard = texts(&mut alice, at_alice);
    for text in ["one", "two", "other one", "other two", "three"] {
        assert_eq!(heard.iter().filter(|t| *t == text).count(), 1, "{text} in {heard:?}");
    }
    assert_healed(&mut relay, (&mut alice, at_alice), (&mut bob, at_bob));
}

/// The same, where a reset has retired the session before the sign comes; and a sign that comes while
/// a reset is under way.
#[test]
fn r_1305_a_sign_in_a_retired_session_or_behind_another_starts_nothing() {
    let (mut relay, mut alice, mut bob, at_alice, at_bob) = ready();
    let (old, used) = (bob.store.snapshot(), current(&mut alice, at_alice));
    bob.queue_text(at_bob, "one", NOW).unwrap();
    relay.settle(&mut [&mut alice, &mut bob]);
    let lost = |tx: &mut dyn crate::store::Transaction| contact_is_lost(tx, at_bob);
    bob.store.transaction(lost).unwrap();
    relay.settle(&mut [&mut alice, &mut bob]);
    assert_eq!(resets(&mut alice), [ResetCause::TheirStateLost]);
    // The old copy writes where the newer one has written.
    let mut copy = reopened(old, 92);
    copy.queue_text(at_bob, "another one", NOW).unwrap();
    relay.send(&mut copy);
    assert!(relay.push(&mut alice).iter().any(|received| received.parked));
    assert_eq!(resets(&mut alice), [ResetCause::TheirStateLost]);
    assert!(row(&mut alice, at_alice).sessions().any(|one| one.id == used));
    assert_eq!(row(&mut alice, at_alice).healing, rows::HealingRow::Sound);
    assert_healed(&mut relay, (&mut alice, at_alice), (&mut bob, at_bob));

    let session = current(&mut alice, at_alice);
    for cause in [ResetCause::GapTooLarge, ResetCause::PeerRolledBack] {
        let sign = |tx: &mut dyn crate::store::Transaction| suspect(tx, at_alice, &session, cause);
        alice.store.transaction(sign).unwrap();
    }
    relay.settle(&mut [&mut alice, &mut bob]);
    let all = [ResetCause::TheirStateLost, ResetCause::GapTooLarge];
    assert_eq!(resets(&mut alice), all, "the first sign counts");
}

#[test]
fn a_gap_that_nothing_makes_up_for_is_healed_by_who_sees_it() {
    let (mut relay, mut alice, mut bob, at_alice, at_bob) = ready();
    for n in 0..2002_u32 {
        alice.queue_text(at_alice, &n.to_string(), NOW).unwrap();
        let delivery = alice.next_delivery(at_alice).unwrap().unwrap();
        alice.accepted(delivery.id, NOW).unwrap();
    }
    // A relay that lost all of them: the next is the first that comes.
    alice.queue_text(at_alice, "behind the gap", NOW).unwrap();
    relay.settle(&mut [&mut alice, &mut bob]);
    assert_eq!(resets(&mut bob), [ResetCause::GapTooLarge]);
    assert_eq!(resets(&mut alice), [ResetCause::TheyMissTooMany]);
    let heard = texts(&mut bob, at_bob);
    assert_eq!(heard.len(), 2003);
    // Those that were lost and the one behind them, all in the order in which they were written.
    let expected = (0..2002).map(|n: u32| n.to_string()).chain(["behind the gap".to_owned()]);
    assert!(heard.into_iter().eq(expected));
}

#[test]
fn junk_never_resets_and_what_was_parked_is_tried_again() {
    let (mut relay, mut alice, mut bob, at_alice, at_bob) = ready();
    for mailbox in relay.mailboxes.values_mut() {
        mailbox.queue.extend((0..20).map(|n| vec![n; 4096]));
    }
    relay.settle(&mut [&mut alice, &mut bob]);
    assert!(resets(&mut alice).is_empty() && resets(&mut bob).is_empty());
    assert_healed(&mut relay, (&mut alice, at_alice), (&mut bob, at_bob));
}

#[test]
fn both_reset_at_once_and_converge() {
    for seed in 0..6 {
        let (mut relay, mut alice, mut bob, at_alice, at_bob) = ready();
        alice.rng = TestRng(1000 + seed);
        bob.rng = TestRng(2000 + seed);
        let (old_alice, old_bob) = (alice.store.snapshot(), bob.store.snapshot());
        alice.queue_text(at_alice, "a", NOW).unwrap();
        bob.queue_text(at_bob, "b", NOW).unwrap();
        relay.settle(&mut [&mut alice, &mut bob]);
        let (mut alice, mut bob) = (reopened(old_alice, 300 + seed), reopened(old_bob, 400 + seed));
        assert!(!relay.check(&mut alice) && !relay.check(&mut bob));
        alice.queue_text(at_alice, "new a", NOW).unwrap();
        bob.queue_text(at_bob, "new b", NOW).unwrap();
        // Both begin before either has heard of the other.
        relay.send(&mut alice);
        relay.send(&mut bob);
        relay.settle(&mut [&mut alice, &mut bob]);
        assert_eq!(resets(&mut alice)[0], ResetCause::OwnStateLost);
        assert_eq!(resets(&mut bob)[0], ResetCause::OwnStateLost);
        let count = |texts: Vec<String>, text: &str| texts.iter().filter(|t| *t == text).count();
        assert_eq!(count(texts(&mut bob, at_bob), "new a"), 1);
        assert_eq!(count(texts(&mut alice, at_alice), "new b"), 1);
        assert_healed(&mut relay, (&mut alice, at_alice), (&mut bob, at_bob));
    }
}

#[test]
fn to_a_verified_contact_nothing_is_sent_again_without_consent() {
    for again in [true, false] {
        let (mut relay, mut alice, mut bob, at_alice, at_bob) = ready();
        alice.mark_verified(at_alice).unwrap();
        let old = bob.store.snapshot();
        let first = alice.queue_text(at_alice, "received, then forgotten", NOW).unwrap();
        relay.send(&mut alice);
        // Received by the newer store, which never said so.
        for subscription in bob.subscriptions().unwrap() {
            let id = subscription.secret.mailbox();
            let mailbox = relay.mailboxes.get_mut(&id).unwrap();
            mailbox.acknowledged = mailbox.queue.len() as u64;
        }
        let mut bob = reopened(old, 96);
        relay.check(&mut bob);
        let second = alice.queue_text(at_alice, "written meanwhile", NOW).unwrap();
        relay.settle(&mut [&mut alice, &mut bob]);
        // What was never sent goes out; what was waits.
        assert_eq!(state(&mut alice, second), MessageState::Delivered);
        assert_eq!(state(&mut alice, first), MessageState::Accepted);
        assert_eq!(alice.message(first).unwrap().hold, Some(Hold::ConsentNeeded));
        // The other was on its way, too, when the person was asked; it is known to be there since.
        let asked = EventKind::ResendNeedsConsent { contact: at_alice, count: 2 };
        assert!(events(&mut alice).contains(&asked));
        assert_eq!(alice.consent_to_resend(at_alice, again).unwrap(), 1);
        assert_eq!(alice.consent_to_resend(at_alice, again).unwrap(), 0);
        relay.settle(&mut [&mut alice, &mut bob]);
        let heard = texts(&mut bob, at_bob).contains(&"received, then forgotten".to_owned());
        assert_eq!(heard, again);
        match state(&mut alice, first) {
            MessageState::Delivered => assert!(again),
            MessageState::Failed { .. } => assert!(!again),
            other => panic!("{other:?}"),
        }
        assert_eq!(alice.message(first).unwrap().hold, None);
    }
}

#[test]
fn without_a_reset_link_the_person_is_told_once_and_a_new_link_heals() {
    let (mut relay, mut alice, mut bob, at_alice, at_bob) = ready();
    bob.store
        .transaction(|tx| -> Result<_, EngineError> {
            let mut row = contacts::load_contact(tx, at_bob)?;
            row.reset_theirs = None;
            Ok(contacts::save_contact(tx, at_bob, &row)?)
        })
        .unwrap();
    let old = bob.store.snapshot();
    alice.queue_text(at_alice, "seen", NOW).unwrap();
    relay.settle(&mut [&mut alice, &mut bob]);
    let mut bob = reopened(old, 95);
    relay.check(&mut bob);
    relay.settle(&mut [&mut alice, &mut bob]);
    relay.settle(&mut [&mut alice, &mut bob]);
    let stalled = EventKind::ResetStalled { contact: at_bob, cause: ResetCause::OwnStateLost };
    assert_eq!(events(&mut bob).iter().filter(|e| **e == stalled).count(), 1);
    assert_eq!(bob.contact(at_bob).unwrap().state, ContactState::RolledBack);
    let link = relay.invite(&mut alice, LinkKind::SingleUse);
    assert_eq!(relay.add(&mut bob, &link), at_bob);
    relay.settle(&mut [&mut alice, &mut bob]);
    assert_healed(&mut relay, (&mut alice, at_alice), (&mut bob, at_bob));
}

/// What only one contact holds lets nobody else in.
#[test]
fn r_1303_a_reset_link_in_other_hands_is_refused_until_the_person_accepts() {
    for accept in [true, false] {
        let (mut relay, mut alice, mut bob, at_alice, at_bob) = ready();
        bob.mark_verified(at_bob).unwrap();
        let payload = row(&mut alice, at_alice).reset_theirs.unwrap();
        let link = Link::from_payload(payload.bytes()).unwrap();
        let mut other = person("Alice", 77);
        relay.add(&mut other, &link);
        relay.settle(&mut [&mut other, &mut bob]);
        assert_eq!(only(&mut bob), at_bob);
        assert!(texts(&mut bob, at_bob).is_empty());
        let told = |e: &&EventKind| matches!(e, EventKind::KeyChanged { .. });
        assert_eq!(events(&mut bob).iter().filter(told).count(), 1);
        if accept {
            let nobody = crate::contact::AccountId::from_bytes([7; 32]);
            assert_eq!(
                bob.accept_key_change(at_bob, nobody, NOW),
                Err(EngineError::NothingToDecide)
            );
            let contact = bob.accept_key_change(at_bob, other.account(), NOW).unwrap();
            assert_eq!(contact.account, other.account());
            assert!(!contact.verified);
            relay.settle(&mut [&mut other, &mut bob]);
            let at_other = only(&mut other);
            assert_healed(&mut relay, (&mut other, at_other), (&mut bob, at_bob));
        } else {
            bob.refuse_key_change(at_bob).unwrap();
            relay.settle(&mut [&mut alice, &mut other, &mut bob]);
            assert_eq!(bob.contact(at_bob).unwrap().account, alice.account());
            assert!(bob.contact(at_bob).unwrap().verified);
            assert_healed(&mut relay, (&mut alice, at_alice), (&mut bob, at_bob));
        }
    }
}

/// Nor is who is a contact already taken for another, whenever they became one.
#[test]
fn r_1303_a_contact_is_never_offered_as_the_new_account_of_another() {
    let (mut relay, mut alice, mut bob, at_alice, at_bob) = ready();
    let public = relay.invite(&mut bob, LinkKind::Reusable);
    let payload = row(&mut alice, at_alice).reset_theirs.unwrap();
    let leaked = Link::from_payload(payload.bytes()).unwrap();
    for before in [true, false] {
        let mut other = person("Other", 70 + u64::from(before));
        let links = if before { [&public, &leaked] } else { [&leaked, &public] };
        for link in links {
            relay.add(&mut other, link);
            relay.settle(&mut [&mut other, &mut bob]);
        }
        let contacts = bob.contacts().unwrap();
        let own = contacts.iter().find(|one| one.account == other.account()).unwrap().id;
        let told = |e: &EventKind| matches!(e, EventKind::KeyChanged { account, .. } if *account == other.account());
        assert_eq!(events(&mut bob).iter().any(told), !before);
        let accepted = bob.accept_key_change(at_bob, other.account(), NOW);
        assert_eq!(accepted, Err(EngineError::NothingToDecide));
        let key = other.me.account();
        let known = bob.store.transaction(|tx| contacts::contact_of(tx, &key)).unwrap();
        assert_eq!(known, Some(own));
    }
    assert_eq!(bob.contact(at_bob).unwrap().account, alice.account());
    assert_healed(&mut relay, (&mut alice, at_alice), (&mut bob, at_bob));
}

/// Its bytes still go out, and without its content it is never sealed anew.
#[test]
fn a_message_that_is_erased_when_it_is_sealed_does_not_stand_in_the_way_of_a_reset() {
    for by_us in [true, false] {
        let (mut relay, mut alice, mut bob, at_alice, at_bob) = ready();
        let id = alice.queue_text(at_alice, "not for long", NOW).unwrap();
        alice.next_delivery(at_alice).unwrap().unwrap();
        let place = alice.message(id).unwrap().seq;
        alice.erase_message(place, NOW).unwrap();
        let (person, contact) = if by_us { (&mut alice, at_alice) } else { (&mut bob, at_bob) };
        person.store.transaction(|tx| contact_is_lost(tx, contact)).unwrap();
        relay.settle(&mut [&mut bob, &mut alice]);
        assert_healed(&mut relay, (&mut alice, at_alice), (&mut bob, at_bob));
    }
}

/// The relay's answer to an envelope comes when what it was sealed of waits to be sealed anew.
#[test]
fn an_answer_that_a_reset_has_overtaken_settles_nothing() {
    let (mut relay, mut alice, mut bob, at_alice, at_bob) = ready();
    let id = alice.queue_text(at_alice, "in flight", NOW).unwrap();
    // Accepted by the relay, and never to be opened: who could is lost.
    let old = alice.next_delivery(at_alice).unwrap().unwrap();
    bob.store.transaction(|tx| contact_is_lost(tx, at_bob)).unwrap();
    relay.send(&mut bob);
    relay.hand_over(&mut alice);
    alice.accepted(old.id, NOW).unwrap();
    assert_eq!(state(&mut alice, id), MessageState::Queued);
    // Sealed anew by now, at the same place.
    while let Some(one) = alice.next_delivery(at_alice).unwrap() {
        alice.accepted(old.id, NOW).unwrap();
        assert!(alice.refused(old.id, Hold::AddressUnknown).unwrap(), "it is not about this one");
        assert!(relay.deliver(&one));
        alice.accepted(one.id, NOW).unwrap();
    }
    for _ in 0..2 {
        relay.settle(&mut [&mut bob, &mut alice]);
    }
    assert_eq!(state(&mut alice, id), MessageState::Delivered);
    assert_eq!(texts(&mut bob, at_bob), ["in flight"]);
    assert_healed(&mut relay, (&mut alice, at_alice), (&mut bob, at_bob));
}

/// A contact can lead us neither to another account nor to another kind of link.
#[test]
fn r_1301_r_1302_reset_links_that_are_none_change_nothing() {
    let (mut relay, mut alice, mut bob, at_alice, at_bob) = ready();
    let before = row(&mut alice, at_alice).reset_theirs.unwrap();
    let theirs = Link::from_payload(before.bytes()).unwrap();
    let wrong = [
        Link::new(LinkKind::Reusable, [1; 32], *theirs.account(), theirs.relay().clone()),
        Link::new(LinkKind::Reset, [1; 32], [2; 32], theirs.relay().clone()),
    ];
    for link in wrong {
        let body =
            crate::content::Body::ResetLink(crate::content::Route::from_bytes(&link.payload()));
        let id = MessageId::from_bytes(random(&mut bob.rng));
        let content = crate::content::Content { id, sent_at: NOW, body };
        bob.store.transaction(|tx| outbox::enqueue_control(tx, at_bob, &content, None)).unwrap();
    }
    relay.settle(&mut [&mut alice, &mut bob]);
    let codes: Vec<_> = events(&mut alice)
        .into_iter()
        .filter_map(|e| match e {
            EventKind::ContentRefused { code, .. } => Some(code),
            _ => None,
        })
        .collect();
    assert_eq!(codes, ["R-1301", "R-1302"]);
    assert_eq!(row(&mut alice, at_alice).reset_theirs.unwrap().bytes(), before.bytes());
}

/// A bundle behind the reset link that was made by a store that is gone is answered by nobody: the
/// reset is begun again after a while, with another one.
#[test]
fn a_reset_without_an_answer_is_begun_again() {
    let (mut relay, mut alice, mut bob, at_alice, at_bob) = ready();
    let old = bob.store.snapshot();
    alice.queue_text(at_alice, "seen", NOW).unwrap();
    relay.settle(&mut [&mut alice, &mut bob]);
    let mut bob = reopened(old, 94);
    relay.check(&mut bob);
    // Alice never gets to see the first one.
    relay.send(&mut bob);
    assert_eq!(bob.contact(at_bob).unwrap().state, ContactState::Resetting);
    let mailboxes: Vec<MailboxId> =
        alice.subscriptions().unwrap().iter().map(|s| s.secret.mailbox()).collect();
    for mailbox in mailboxes {
        let mailbox = relay.mailboxes.get_mut(&mailbox).unwrap();
        let known = mailbox.acknowledged as usize;
        mailbox.queue.iter_mut().skip(known).for_each(|envelope| envelope.fill(0));
    }
    let days = |n: u64| UnixMillis::new(NOW.get() + n * 86_400_000);
    assert!(bob.due_resets(days(6)).unwrap().is_empty());
    assert_eq!(bob.due_resets(days(7)).unwrap().len(), 1);
    relay.care(&mut bob, days(7));
    relay.settle(&mut [&mut alice, &mut bob]);
    assert_healed(&mut relay, (&mut alice, at_alice), (&mut bob, at_bob));
}

#[test]
fn a_mailbox_that_is_gone_is_replaced_and_its_contact_told() {
    let (mut relay, mut alice, mut bob, at_alice, at_bob) = ready();
    let gone = bob.mailbox_of(at_bob).unwrap().unwrap().secret.mailbox();
    relay.delete_mailbox(gone);
    assert!(!relay.check(&mut bob));
    assert_ne!(row(&mut bob, at_bob).mailbox, *gone.as_bytes());
    relay.settle(&mut [&mut alice, &mut bob]);
    assert_healed(&mut relay, (&mut alice, at_alice), (&mut bob, at_bob));
}

#[test]
fn retired_sessions_and_their_keys_are_not_kept_for_ever() {
    let (mut relay, mut alice, mut bob, at_alice, at_bob) = ready();
    let old = bob.store.snapshot();
    alice.queue_text(at_alice, "seen", NOW).unwrap();
    relay.settle(&mut [&mut alice, &mut bob]);
    let mut bob = reopened(old, 93);
    relay.check(&mut bob);
    relay.settle(&mut [&mut alice, &mut bob]);
    let sessions = |person: &mut Person| {
        let scan = |tx: &mut dyn crate::store::Transaction| {
            tx.scan(Table::Sessions, &[], None, Order::Ascending, 99)
        };
        person.store.transaction(scan).unwrap().len()
    };
    assert_eq!((sessions(&mut alice), sessions(&mut bob)), (2, 2));
    for person in [&mut alice, &mut bob] {
        person.expire(UnixMillis::new(NOW.get() + 31 * 86_400_000)).unwrap();
        assert_eq!(sessions(person), 1);
    }
    assert_healed(&mut relay, (&mut alice, at_alice), (&mut bob, at_bob));
}
