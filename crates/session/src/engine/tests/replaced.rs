//! Sessions that one side has replaced and the other, whose store was put back, still uses or has
//! never heard of.

use super::super::healing::contact_is_lost;
use super::healing::{assert_healed, current, ready, reopened, resets};
use super::*;
use crate::content::{Body, Content, Route};
use crate::event::ResetCause;

/// Alice's reset is accepted by a store of Bob's that is lost again, and its answer is on its way to
/// her when the reset of the older copy comes.
fn answered_by_a_store_that_is_lost() -> (Relay, Person, Person, ContactId, ContactId) {
    let (mut relay, mut alice, mut bob, at_alice, at_bob) = ready();
    let old_alice = alice.store.snapshot();
    bob.queue_text(at_bob, "seen by the newer store", NOW).unwrap();
    relay.settle(&mut [&mut alice, &mut bob]);
    let mut alice = reopened(old_alice, 81);
    assert!(!relay.check(&mut alice));
    let old_bob = bob.store.snapshot();
    relay.send(&mut alice);
    relay.push(&mut bob);
    relay.send(&mut bob);
    assert_eq!(resets(&mut bob), [ResetCause::TheirStateLost]);
    let mut bob = reopened(old_bob, 82);
    assert!(!relay.check(&mut bob));
    (relay, alice, bob, at_alice, at_bob)
}

#[test]
fn an_answer_of_a_store_that_was_lost_leads_nobody_into_its_session() {
    let (mut relay, mut alice, mut bob, at_alice, at_bob) = answered_by_a_store_that_is_lost();
    let wrote = bob.queue_text(at_bob, "after it was put back", NOW).unwrap();
    relay.send(&mut bob);
    // Alice hears of the reset first, and then the answer of the store that is gone.
    relay.push(&mut alice);
    let answer = alice.queue_text(at_alice, "heard both", NOW).unwrap();
    relay.settle(&mut [&mut alice, &mut bob]);
    assert_eq!(state(&mut bob, wrote), MessageState::Delivered);
    assert_eq!(state(&mut alice, answer), MessageState::Delivered);
    assert_healed(&mut relay, (&mut alice, at_alice), (&mut bob, at_bob));
}

/// The relay gives the older copy, once more, the handshake that the lost one had accepted: each side
/// then has retired what the other sends in, until they tell each other.
#[test]
fn a_reset_that_comes_once_more_parts_nobody() {
    let (mut relay, mut alice, mut bob, at_alice, at_bob) = answered_by_a_store_that_is_lost();
    relay.settle(&mut [&mut alice, &mut bob]);
    assert_healed(&mut relay, (&mut alice, at_alice), (&mut bob, at_bob));
    let before = current(&mut bob, at_bob);
    for mailbox in relay.mailboxes.values_mut() {
        let again = mailbox.queue.clone();
        mailbox.queue.extend(again);
    }
    relay.push(&mut bob);
    assert_ne!(current(&mut bob, at_bob), before, "the handshake was accepted");
    relay.settle(&mut [&mut alice, &mut bob]);
    assert_healed(&mut relay, (&mut alice, at_alice), (&mut bob, at_bob));
    // Also when what they have retired is gone.
    for person in [&mut alice, &mut bob] {
        person.expire(UnixMillis::new(NOW.get() + 31 * 86_400_000)).unwrap();
    }
    assert_healed(&mut relay, (&mut alice, at_alice), (&mut bob, at_bob));
}

/// A store that was put back behind a session that it had started: nothing that it received is
/// missing, so no floor is ahead, and what it sends shows no sign in a session that is retired.
#[test]
fn a_store_that_forgot_what_it_started_is_told_by_its_contact() {
    let (mut relay, mut alice, mut bob, at_alice, at_bob) = ready();
    let link = relay.invite(&mut bob, LinkKind::SingleUse);
    let old = alice.store.snapshot();
    assert_eq!(relay.add(&mut alice, &link), at_alice);
    relay.send(&mut alice);
    relay.push(&mut bob);
    let mut alice = reopened(old, 83);
    assert!(relay.check(&mut alice), "nothing came that it does not know of");
    let wrote = alice.queue_text(at_alice, "in the old session", NOW).unwrap();
    relay.settle(&mut [&mut alice, &mut bob]);
    assert_eq!(resets(&mut alice), [ResetCause::OwnStateLost]);
    assert_eq!(state(&mut alice, wrote), MessageState::Delivered);
    let heard = texts(&mut bob, at_bob);
    assert_eq!(heard.iter().filter(|text| *text == "in the old session").count(), 1);
    assert_healed(&mut relay, (&mut alice, at_alice), (&mut bob, at_bob));
}

/// The notice counts in a session that is in use only, and says nothing of sessions that are known.
#[test]
fn a_notice_of_what_is_known_loses_nothing() {
    let (mut relay, mut alice, mut bob, at_alice, at_bob) = ready();
    let known = current(&mut bob, at_bob);
    let notice = |sessions| crate::content::Content {
        id: MessageId::from_bytes([7; 16]),
        sent_at: NOW,
        body: crate::content::Body::ResetNotice { cause: 4, sessions },
    };
    let mut say = |bob: &mut Person, sessions| {
        let content = notice(sessions);
        bob.store.transaction(|tx| outbox::enqueue_control(tx, at_bob, &content, None)).unwrap();
        relay.settle(&mut [&mut alice, bob]);
        resets(&mut alice)
    };
    assert_eq!(say(&mut bob, vec![known]), []);
    assert_eq!(say(&mut bob, vec![]), []);
    assert_eq!(say(&mut bob, vec![[9; 32]]), [ResetCause::OwnStateLost]);
    assert_healed(&mut relay, (&mut alice, at_alice), (&mut bob, at_bob));
}

/// What Bob says in this session.
fn say(bob: &mut Person, at_bob: ContactId, session: [u8; 32], n: u8, body: Body) -> MessageId {
    let id = MessageId::from_bytes([n; 16]);
    let content = Content { id, sent_at: NOW, body };
    let rng = &mut bob.rng;
    bob.store.transaction(|tx| outbox::enqueue_in(tx, rng, at_bob, &content, session)).unwrap();
    id
}

/// Both have replaced the session that is returned.
fn with_a_retired_session() -> (Relay, Person, Person, ContactId, ContactId, [u8; 32]) {
    let (mut relay, mut alice, mut bob, at_alice, at_bob) = ready();
    let retired = current(&mut bob, at_bob);
    let lost = |tx: &mut dyn crate::store::Transaction| contact_is_lost(tx, at_bob);
    bob.store.transaction(lost).unwrap();
    relay.settle(&mut [&mut alice, &mut bob]);
    assert_eq!(resets(&mut alice), [ResetCause::TheirStateLost]);
    assert_ne!(current(&mut bob, at_bob), retired);
    (relay, alice, bob, at_alice, at_bob, retired)
}

#[test]
fn r_1306_a_notice_of_another_number_says_nothing_once_the_session_has_begun() {
    let (mut relay, mut alice, mut bob, at_alice, at_bob) = ready();
    let used = current(&mut bob, at_bob);
    for cause in [0, 1, 2, 3, 5, 255] {
        let body = Body::ResetNotice { cause, sessions: vec![[9; 32], used] };
        say(&mut bob, at_bob, used, cause, body);
        relay.settle(&mut [&mut alice, &mut bob]);
    }
    assert_eq!((resets(&mut alice), resets(&mut bob)), (vec![], vec![]));
    assert_eq!(current(&mut alice, at_alice), used);
    assert_healed(&mut relay, (&mut alice, at_alice), (&mut bob, at_bob));
}

#[test]
fn r_1307_a_notice_in_a_session_that_is_retired_here_is_ignored() {
    let (mut relay, mut alice, mut bob, at_alice, at_bob, retired) = with_a_retired_session();
    let used = current(&mut alice, at_alice);
    for (n, named) in [(1, [9; 32]), (2, retired)] {
        let body = Body::ResetNotice { cause: 4, sessions: vec![named] };
        say(&mut bob, at_bob, retired, n, body);
        relay.settle(&mut [&mut alice, &mut bob]);
    }
    let before = (vec![ResetCause::TheirStateLost], vec![ResetCause::OwnStateLost]);
    assert_eq!((resets(&mut alice), resets(&mut bob)), before);
    assert_eq!(current(&mut alice, at_alice), used);
    assert_healed(&mut relay, (&mut alice, at_alice), (&mut bob, at_bob));
}

#[test]
fn r_1308_a_retired_session_says_nothing_of_where_to_write() {
    let (mut relay, mut alice, mut bob, at_alice, at_bob, retired) = with_a_retired_session();
    let row = |alice: &mut Person| {
        let row = alice.store.transaction(|tx| contacts::load_contact(tx, at_alice)).unwrap();
        let link = row.reset_theirs.map(|link| link.bytes().to_vec());
        let routes = row.devices.iter().flat_map(|device| &device.routes);
        (link, routes.map(|route| route.bytes().to_vec()).collect::<Vec<_>>())
    };
    let before = row(&mut alice);
    let (link, routes) = before.clone();
    let mut route = routes[0].clone();
    let theirs = Link::from_payload(&link.unwrap()).unwrap();
    // Another secret, and another capability.
    let link = Link::new(LinkKind::Reset, [1; 32], *theirs.account(), theirs.relay().clone());
    let link = link.payload().to_vec();
    *route.last_mut().unwrap() ^= 1;
    let ids = [
        say(&mut bob, at_bob, retired, 1, Body::MailboxMove(Route::from_bytes(&route))),
        say(&mut bob, at_bob, retired, 2, Body::ResetLink(Route::from_bytes(&link))),
    ];
    relay.settle(&mut [&mut alice, &mut bob]);
    assert_eq!(row(&mut alice), before);
    for id in ids {
        let key = rows::key2(&rows::key1(at_bob.get()), id.as_bytes());
        let waits = |tx: &mut dyn crate::store::Transaction| tx.get(Table::Unacknowledged, &key);
        assert!(bob.store.transaction(waits).unwrap().is_some(), "it was acknowledged");
    }
    // In the session that is used they count.
    let used = current(&mut bob, at_bob);
    say(&mut bob, at_bob, used, 3, Body::ResetLink(Route::from_bytes(&link)));
    relay.settle(&mut [&mut alice, &mut bob]);
    assert_eq!(row(&mut alice).0, Some(link));
    assert_healed(&mut relay, (&mut alice, at_alice), (&mut bob, at_bob));
}

/// Nothing that it received is missing, the contact's answer does not open, and its owner says
/// nothing: no sign is on either side until it tells the contact something by itself.
#[test]
fn a_store_that_was_put_back_and_says_nothing_is_noticed_a_day_later() {
    let (mut relay, mut alice, mut bob, at_alice, at_bob) = ready();
    // What Alice acknowledges makes Bob's next chain a new one, and he owes her nothing.
    bob.queue_text(at_bob, "acknowledged", NOW).unwrap();
    relay.settle(&mut [&mut alice, &mut bob]);
    let old = bob.store.snapshot();
    bob.queue_text(at_bob, "lost here", NOW).unwrap();
    relay.send(&mut bob);
    relay.push(&mut alice);
    let mut bob = reopened(old, 85);
    assert!(relay.check(&mut bob), "nothing came that it does not know of");
    let answer = alice.queue_text(at_alice, "an answer", NOW).unwrap();
    relay.settle(&mut [&mut alice, &mut bob]);
    assert_eq!(state(&mut alice, answer), MessageState::Accepted);
    assert_eq!(resets(&mut alice), []);
    bob.expire(days(1)).unwrap();
    relay.settle(&mut [&mut alice, &mut bob]);
    assert_eq!(resets(&mut alice), [ResetCause::PeerRolledBack]);
    assert_eq!(state(&mut alice, answer), MessageState::Delivered);
    assert!(texts(&mut bob, at_bob).contains(&"an answer".to_owned()));
    assert_healed(&mut relay, (&mut alice, at_alice), (&mut bob, at_bob));
}

/// However much junk comes, a contact is told one thing a day, and one who is blocked nothing.
#[test]
fn junk_in_a_mailbox_costs_one_envelope_a_day() {
    let (mut relay, mut alice, mut bob, _, at_bob) = ready();
    let junk = |relay: &mut Relay, bob: &mut Person| {
        let mailbox = bob.mailbox_of(at_bob).unwrap().unwrap().secret.mailbox();
        let queue = &mut relay.mailboxes.get_mut(&mailbox).unwrap().queue;
        queue.extend((0..5).map(|byte| vec![byte; 1024]));
        assert!(relay.push(bob).iter().all(|received| received.parked));
    };
    junk(&mut relay, &mut bob);
    for later in [0, 1, 1, 2, 9] {
        bob.expire(days(later)).unwrap();
    }
    assert_eq!(relay.send(&mut bob), 1);
    bob.expire(days(10)).unwrap();
    assert_eq!(relay.send(&mut bob), 0, "it was for all of it");
    relay.settle(&mut [&mut alice, &mut bob]);
    assert_eq!((resets(&mut alice), resets(&mut bob)), (vec![], vec![]));
    junk(&mut relay, &mut bob);
    bob.block(at_bob, NOW).unwrap();
    bob.expire(days(1)).unwrap();
    assert_eq!(relay.send(&mut bob), 0);
}

fn days(n: u64) -> UnixMillis {
    UnixMillis::new(NOW.get() + n * 86_400_000)
}

/// What waits in a store that is put back may name a mailbox that is gone since: it must not be told
/// behind the present one.
#[test]
fn a_move_that_waits_in_a_store_that_is_put_back_is_not_told() {
    let (mut relay, mut alice, mut bob, at_alice, at_bob) = ready();
    bob.begin_moves(days(40)).unwrap();
    for plan in bob.pending_mailboxes().unwrap() {
        relay.make(plan.secret.mailbox(), &plan.capabilities);
        bob.mailbox_created(&plan.secret.mailbox(), NOW).unwrap();
    }
    let old = bob.store.snapshot();
    let first = bob.mailbox_of(at_bob).unwrap().unwrap().secret.mailbox();
    // The newer store moves once more, and gives up the first.
    for later in [days(40), days(100)] {
        bob.begin_moves(later).unwrap();
        for text in ["one", "two"] {
            alice.queue_text(at_alice, text, NOW).unwrap();
            relay.settle(&mut [&mut alice, &mut bob]);
        }
    }
    assert!(!relay.mailboxes.contains_key(&first));
    let mut bob = reopened(old, 84);
    assert!(!relay.check(&mut bob));
    relay.settle(&mut [&mut alice, &mut bob]);
    assert_healed(&mut relay, (&mut alice, at_alice), (&mut bob, at_bob));
}

/// A store that was put back knows an address of its contact that the contact has left since, and that
/// the relay may still take envelopes for. Once the session is confirmed and before the contact has
/// told its present address, nothing goes there.
#[test]
fn behind_a_reset_nothing_goes_where_only_the_old_store_writes() {
    let (mut relay, mut alice, mut bob, at_alice, at_bob) = ready();
    let mailbox = |bob: &mut Person| bob.mailbox_of(at_bob).unwrap().unwrap().secret.mailbox();
    let left = mailbox(&mut bob);
    let old = alice.store.snapshot();
    bob.begin_moves(UnixMillis::new(NOW.get() + 40 * 86_400_000)).unwrap();
    bob.queue_text(at_bob, "seen by the newer store", NOW).unwrap();
    relay.settle(&mut [&mut alice, &mut bob]);
    assert_ne!(mailbox(&mut bob), left);
    let mut alice = reopened(old, 84);
    assert!(!relay.check(&mut alice));
    relay.send(&mut alice);
    relay.push(&mut bob);
    assert_eq!(resets(&mut bob), [ResetCause::TheirStateLost]);

    // The first word of the answer, which confirms the session, and not the second.
    relay.care(&mut bob, NOW);
    let notice = bob.next_delivery(at_bob).unwrap().unwrap();
    assert!(relay.deliver(&notice));
    bob.accepted(notice.id, NOW).unwrap();
    relay.hand_over(&mut alice);
    let wrote = alice.queue_text(at_alice, "in between", NOW).unwrap();
    let mut sent = 0;
    while let Some(delivery) = alice.next_delivery(at_alice).unwrap() {
        let to = relay.capabilities.get(&delivery.capability.hash()).copied();
        assert!(to.is_some_and(|to| to != left && to != mailbox(&mut bob)), "not the link's");
        assert!(relay.deliver(&delivery));
        alice.accepted(delivery.id, NOW).unwrap();
        sent += 1;
    }
    assert!(sent > 0);
    relay.settle(&mut [&mut alice, &mut bob]);
    assert_eq!(state(&mut alice, wrote), MessageState::Delivered);
    assert_healed(&mut relay, (&mut alice, at_alice), (&mut bob, at_bob));
}

/// It is told also where the contact has another device by now, and again if it could not be.
#[test]
fn a_session_is_told_what_has_replaced_it_whichever_device_it_is_with() {
    let (mut relay, mut alice, mut bob, at_alice, at_bob) = ready();
    let old = current(&mut alice, at_alice);
    bob.store.transaction(|tx| super::super::healing::contact_is_lost(tx, at_bob)).unwrap();
    relay.settle(&mut [&mut bob, &mut alice]);
    let content = crate::content::Content {
        id: MessageId::from_bytes([9; 16]),
        sent_at: NOW,
        body: crate::content::Body::Text("in the old one".into()),
    };
    let content = content.encode().unwrap();
    let rng = &mut alice.rng;
    let waiting = alice
        .store
        .transaction(|tx| {
            let mut row = contacts::load_contact(tx, at_alice)?;
            row.devices.push(rows::DeviceRow {
                keys: vec![9; 64],
                routes: Vec::new(),
                sessions: Vec::new(),
                spoken: None,
            });
            contacts::save_contact(tx, at_alice, &row)?;
            super::super::replaced::heard(tx, rng, at_alice, &old, &content, NOW)?;
            let order = crate::store::Order::Ascending;
            Ok::<_, EngineError>(tx.scan(Table::Outbox, &[], None, order, 9)?.len())
        })
        .unwrap();
    assert_eq!(waiting, 1);
    let row = alice.store.transaction(|tx| contacts::load_contact(tx, at_alice)).unwrap();
    assert!(row.sessions().any(|one| one.id == old && one.told));
}
