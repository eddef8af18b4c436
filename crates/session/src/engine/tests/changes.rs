//! Reactions, edits, deletions, and what else a content can say beside a text.

use super::*;
use crate::content::{Body, Content, Reaction};
use crate::event::Typing;
use crate::message::{Direction, MessageReaction};

const ME: Direction = Direction::Outgoing;
const THEM: Direction = Direction::Incoming;

fn later(millis: u64) -> UnixMillis {
    UnixMillis::new(NOW.get() + millis)
}

/// The contact says this, at this time.
fn says(person: &mut Person, contact: ContactId, n: u8, at: u64, body: Body) -> handle::Effect {
    let id = MessageId::from_bytes([n; 16]);
    let content = Content { id, sent_at: UnixMillis::new(at), body }.encode().unwrap();
    take(person, contact, &content)
}

fn edit(target: MessageId, text: &str) -> Body {
    Body::Edit { target, text: text.to_owned() }
}

fn reaction(target: MessageId, emoji: &str, removed: bool) -> Body {
    Body::Reaction(Reaction { target, emoji: emoji.to_owned(), removed })
}

fn refusals(person: &mut Person) -> Vec<String> {
    let told = events(person).into_iter();
    told.filter_map(|event| match event {
        EventKind::ContentRefused { code, .. } => Some(code),
        _ => None,
    })
    .collect()
}

fn shown(by: Direction, emoji: &str) -> MessageReaction {
    MessageReaction { by, emoji: emoji.to_owned() }
}

/// Alice has written this to Bob. Their contacts, the message's id, and its places at both.
struct Written {
    relay: Relay,
    alice: Person,
    bob: Person,
    at_alice: ContactId,
    at_bob: ContactId,
    id: MessageId,
    sent: u64,
    got: u64,
}

fn written(text: &str) -> Written {
    let (mut relay, mut alice, mut bob) = acquainted();
    let (at_alice, at_bob) = (only(&mut alice), only(&mut bob));
    let id = alice.queue_text(at_alice, text, NOW).unwrap();
    relay.settle(&mut [&mut alice, &mut bob]);
    let sent = alice.message(id).unwrap().seq;
    let got = bob.received_message(at_bob, id).unwrap().seq;
    Written { relay, alice, bob, at_alice, at_bob, id, sent, got }
}

#[test]
fn reactions_are_set_changed_and_taken_back() {
    let Written { mut relay, mut alice, mut bob, at_alice, at_bob, id, sent, got } =
        written("shall we?");
    bob.react(got, Some("👍"), NOW).unwrap();
    alice.react(sent, Some("🎉"), NOW).unwrap();
    relay.settle(&mut [&mut alice, &mut bob]);
    let both = |person: &mut Person, place| {
        let mut reactions = person.message_at(place).unwrap().reactions;
        reactions.sort_by_key(|one| one.by == ME);
        reactions
    };
    assert_eq!(both(&mut alice, sent), [shown(THEM, "👍"), shown(ME, "🎉")]);
    assert_eq!(both(&mut bob, got), [shown(THEM, "🎉"), shown(ME, "👍")]);
    // In the same millisecond, and known as the later one all the same.
    bob.react(got, Some("👎"), NOW).unwrap();
    bob.react(got, Some("👎"), NOW).unwrap();
    alice.react(sent, None, NOW).unwrap();
    alice.react(sent, None, NOW).unwrap();
    relay.settle(&mut [&mut alice, &mut bob]);
    assert_eq!(both(&mut alice, sent), [shown(THEM, "👎")]);
    assert_eq!(both(&mut bob, got), [shown(ME, "👎")]);
    let changed = |by, emoji: Option<&str>| EventKind::ReactionChanged {
        contact: at_alice,
        id,
        direction: ME,
        by,
        emoji: emoji.map(str::to_owned),
    };
    let told: Vec<_> = events(&mut alice)
        .into_iter()
        .filter(|event| matches!(event, EventKind::ReactionChanged { .. }))
        .collect();
    assert_eq!(
        told,
        [
            changed(ME, Some("🎉")),
            changed(THEM, Some("👍")),
            changed(ME, None),
            changed(THEM, Some("👎"))
        ]
    );
    assert_eq!(bob.history(at_bob, None, 9).unwrap().len(), 1, "no message of its own");
}

#[test]
fn an_edit_replaces_the_text_on_both_sides_and_leaves_nothing_of_it() {
    let Written { mut relay, mut alice, mut bob, at_bob, id, sent, got, .. } =
        written("the old words");
    assert!(!rows_with(&mut bob, b"the old words").is_empty());
    alice.edit(sent, "the new words", later(5)).unwrap();
    relay.settle(&mut [&mut alice, &mut bob]);
    for (person, place) in [(&mut alice, sent), (&mut bob, got)] {
        let message = person.message_at(place).unwrap();
        assert_eq!(message.kind, MessageKind::Text { text: "the new words".to_owned() });
        assert_eq!(message.edited_at_claimed, Some(later(5)));
        assert_eq!(rows_with(person, b"the old words"), []);
        assert_eq!(person.next_scrub(NOW, 1).unwrap(), Some(NOW), "the files are to be cleared");
        person.scrub(NOW).unwrap();
        assert_eq!(person.next_scrub(NOW, 1).unwrap(), None);
    }
    let edited = EventKind::MessageEdited { contact: at_bob, id, direction: THEM };
    assert!(events(&mut bob).contains(&edited));
}

#[test]
fn a_deleted_message_is_gone_on_both_sides_and_is_not_sent_again() {
    let (mut relay, mut alice, mut bob) = acquainted();
    let (at_alice, at_bob) = (only(&mut alice), only(&mut bob));
    // Delivered; accepted by the relay; sealed; queued.
    let mut ids = vec![alice.queue_text(at_alice, "regretted 0", NOW).unwrap()];
    relay.settle(&mut [&mut alice, &mut bob]);
    ids.push(alice.queue_text(at_alice, "regretted 1", NOW).unwrap());
    relay.send(&mut alice);
    for text in ["regretted 2", "regretted 3"] {
        ids.push(alice.queue_text(at_alice, text, NOW).unwrap());
    }
    alice.next_delivery(at_alice).unwrap().unwrap();
    assert!(!rows_with(&mut alice, b"regretted").is_empty());
    for id in &ids {
        let place = alice.message(*id).unwrap().seq;
        alice.delete_message(place, NOW).unwrap();
        alice.delete_message(place, NOW).unwrap();
    }
    assert_eq!(rows_with(&mut alice, b"regretted"), []);
    relay.settle(&mut [&mut alice, &mut bob]);
    assert_eq!(rows_with(&mut bob, b"regretted"), []);
    // The fourth was never there.
    for id in &ids[..3] {
        assert_eq!(bob.received_message(at_bob, *id).unwrap().kind, MessageKind::Deleted);
        let told = EventKind::MessageDeleted { contact: at_bob, id: *id, direction: THEM };
        assert!(events(&mut bob).contains(&told));
    }
    assert_eq!(bob.received_message(at_bob, ids[3]).unwrap_err(), EngineError::UnknownMessage);
    assert!(refusals(&mut bob).is_empty());
    // Nothing of them waits to be sent again, and what is said of a deleted message is settled.
    let left = alice.store.transaction(|tx| {
        tx.scan(Table::Unacknowledged, &[], None, crate::store::Order::Ascending, 99)
    });
    assert!(left.unwrap().is_empty());
    let place = alice.message(ids[0]).unwrap().seq;
    assert!(matches!(alice.edit(place, "again", NOW), Err(EngineError::NotChangeable { .. })));
    let before = events(&mut bob).len();
    says(&mut bob, at_bob, 60, NOW.get() + 9, edit(ids[0], "again"));
    says(&mut bob, at_bob, 61, NOW.get() + 9, reaction(ids[0], "👍", false));
    assert_eq!(events(&mut bob).len(), before);
}

#[test]
fn r_908_nobody_changes_what_another_wrote() {
    let Written { mut alice, mut bob, at_alice, at_bob, id, sent, got, .. } = written("Alice's");
    // Bob's program claims to edit and delete Alice's message, and nothing of hers changes.
    says(&mut alice, at_alice, 50, NOW.get() + 5, edit(id, "Bob's"));
    says(&mut alice, at_alice, 51, NOW.get() + 6, Body::Delete(id));
    assert_eq!(refusals(&mut alice), ["R-908", "R-908"]);
    let message = alice.message_at(sent).unwrap();
    assert_eq!(message.kind, MessageKind::Text { text: "Alice's".to_owned() });
    assert_eq!(message.edited_at_claimed, None);
    let as_done = |event: &EventKind| {
        matches!(event, EventKind::MessageEdited { .. } | EventKind::MessageDeleted { .. })
    };
    assert!(!events(&mut alice).iter().any(as_done));
    // Nor does this side's own program offer it.
    assert_eq!(bob.edit(got, "Bob's", NOW), Err(EngineError::NotYours));
    assert_eq!(bob.delete_message(got, NOW), Err(EngineError::NotYours));
    // A third person who knows the id reaches nothing: for them it is a message that has not come.
    let stranger = ContactId::new(77);
    bob.store
        .transaction(|tx| {
            let row = contacts::load_contact(tx, at_bob)?;
            Ok::<_, EngineError>(contacts::save_contact(tx, stranger, &row)?)
        })
        .unwrap();
    says(&mut bob, stranger, 52, NOW.get() + 7, Body::Delete(id));
    says(&mut bob, stranger, 53, NOW.get() + 7, reaction(id, "👍", false));
    assert_eq!(bob.message_at(got).unwrap().kind, message.kind);
    assert!(bob.message_at(got).unwrap().reactions.is_empty());
}

#[test]
fn r_909_what_has_no_text_is_not_edited() {
    let (mut relay, mut alice, mut bob) = acquainted();
    let (at_alice, at_bob) = (only(&mut alice), only(&mut bob));
    let id = alice.queue_custom(at_alice, "com.example.poll", b"\x00\xff", NOW).unwrap();
    relay.settle(&mut [&mut alice, &mut bob]);
    let poll = MessageKind::Custom { name: "com.example.poll".to_owned(), payload: vec![0, 0xff] };
    assert_eq!(bob.received_message(at_bob, id).unwrap().kind, poll);
    says(&mut bob, at_bob, 50, NOW.get() + 5, edit(id, "text"));
    assert_eq!(refusals(&mut bob), ["R-909"]);
    assert_eq!(bob.received_message(at_bob, id).unwrap().kind, poll);
    let place = alice.message(id).unwrap().seq;
    assert_eq!(
        alice.edit(place, "text", NOW),
        Err(EngineError::NotChangeable { reason: "it has no text" })
    );
    for name in ["", " ", "a\nb"] {
        let refused = alice.queue_custom(at_alice, name, b"", NOW).unwrap_err();
        assert!(matches!(refused, EngineError::NameInvalid { .. }), "{name:?}");
    }
}

#[test]
fn r_910_a_reaction_says_something_or_takes_back() {
    let Written { mut alice, mut bob, at_bob, id, got, sent, .. } = written("hm");
    says(&mut bob, at_bob, 50, NOW.get() + 5, reaction(id, "", false));
    assert_eq!(refusals(&mut bob), ["R-910"]);
    says(&mut bob, at_bob, 51, NOW.get() + 6, reaction(id, "", true));
    assert_eq!(refusals(&mut bob).len(), 1);
    assert!(bob.message_at(got).unwrap().reactions.is_empty());
    assert_eq!(alice.react(sent, Some(""), NOW), Err(EngineError::EmptyText));
    let long = "👍".repeat(17);
    assert!(matches!(alice.react(sent, Some(&long), NOW), Err(EngineError::TooLong { .. })));
}

#[test]
fn r_911_only_the_one_to_whom_it_was_sent_acknowledges() {
    let (mut relay, mut alice, mut bob) = acquainted();
    let to_bob = only(&mut alice);
    let mut carol = person("Carol", 3);
    let link = relay.invite(&mut alice, LinkKind::SingleUse);
    relay.add(&mut carol, &link);
    relay.settle(&mut [&mut alice, &mut bob, &mut carol]);
    let to_carol = alice.find_contact("Carol").unwrap().id;
    let id = alice.queue_text(to_bob, "for Bob", NOW).unwrap();
    says(&mut alice, to_carol, 50, NOW.get(), Body::DeliveryAck(vec![id]));
    assert_eq!(state(&mut alice, id), MessageState::Queued);
    relay.send(&mut alice);
    for (n, body) in [(51, Body::DeliveryAck(vec![id])), (52, Body::ReadReceipt(vec![id]))] {
        says(&mut alice, to_carol, n, NOW.get(), body);
        assert_eq!(state(&mut alice, id), MessageState::Accepted);
    }
    relay.push(&mut bob);
    relay.settle(&mut [&mut alice, &mut bob]);
    assert_eq!(state(&mut alice, id), MessageState::Delivered);
}

/// After a reset, what was sent again may come behind what was said later.
#[test]
fn of_two_edits_or_reactions_the_later_stands_in_whichever_order_they_come() {
    let Written { mut bob, at_bob, id, got, .. } = written("zero");
    for round in 0..2_u64 {
        let base = NOW.get() + 100 * (round + 1);
        let mut order = [(base + 1, "one"), (base + 2, "two")];
        if round == 1 {
            order.reverse();
        }
        for (n, (at, text)) in order.into_iter().enumerate() {
            let n = 50 + round as u8 * 10 + n as u8 * 2;
            // Twice, as after a lost acknowledgement.
            for _ in 0..2 {
                says(&mut bob, at_bob, n, at, edit(id, text));
                says(&mut bob, at_bob, n + 1, at, reaction(id, text, false));
            }
        }
        let message = bob.message_at(got).unwrap();
        assert_eq!(message.kind, MessageKind::Text { text: "two".to_owned() }, "round {round}");
        assert_eq!(message.reactions, [shown(THEM, "two")], "round {round}");
    }
}

#[test]
fn what_refers_to_a_message_that_has_not_come_waits_for_it() {
    let (_, _, mut bob) = acquainted();
    let contact = only(&mut bob);
    let ids = |n: u8| MessageId::from_bytes([n; 16]);
    says(&mut bob, contact, 101, NOW.get() + 1, edit(ids(1), "edited"));
    says(&mut bob, contact, 102, NOW.get() + 1, reaction(ids(1), "👍", false));
    says(&mut bob, contact, 103, NOW.get() + 1, Body::Delete(ids(2)));
    assert!(bob.history(contact, None, 9).unwrap().is_empty());
    says(&mut bob, contact, 1, NOW.get(), Body::Text("as it was".to_owned()));
    says(&mut bob, contact, 2, NOW.get(), Body::Text("never shown".to_owned()));
    let first = bob.received_message(contact, ids(1)).unwrap();
    assert_eq!(first.kind, MessageKind::Text { text: "edited".to_owned() });
    assert_eq!(first.reactions, [shown(THEM, "👍")]);
    assert_eq!(bob.received_message(contact, ids(2)).unwrap().kind, MessageKind::Deleted);
    assert_eq!(rows_with(&mut bob, b"never shown"), []);
    assert_eq!(rows_with(&mut bob, b"as it was"), []);
    // A contact can fill no more than the bound, and the oldest goes first.
    for n in 0..=u8::try_from(early::MAX_EARLY).unwrap() {
        says(&mut bob, contact, 110, NOW.get() + 1, edit(ids(n + 120), "later"));
    }
    let kept = |bob: &mut Person| {
        let scan = bob.store.transaction(|tx| {
            tx.scan(Table::Early, &[], None, crate::store::Order::Ascending, 999)
        });
        scan.unwrap().len()
    };
    assert_eq!(kept(&mut bob), early::MAX_EARLY);
    for (n, text) in [(120, "at first"), (121, "later")] {
        says(&mut bob, contact, n, NOW.get(), Body::Text("at first".to_owned()));
        let kind = bob.received_message(contact, ids(n)).unwrap().kind;
        assert_eq!(kind, MessageKind::Text { text: text.to_owned() });
    }
    // Not for ever.
    bob.expire(later(29 * 86_400_000)).unwrap();
    assert_eq!(kept(&mut bob), early::MAX_EARLY - 1);
    bob.expire(later(32 * 86_400_000)).unwrap();
    assert_eq!(kept(&mut bob), 0);
}

#[test]
fn an_erased_message_is_gone_here_and_does_not_come_again() {
    let Written { mut relay, mut alice, mut bob, at_bob, id, sent, got, .. } = written("private");
    bob.erase_message(got, NOW).unwrap();
    assert_eq!(rows_with(&mut bob, b"private"), []);
    assert_eq!(bob.erase_message(got, NOW), Err(EngineError::UnknownMessage));
    // A repeat, as after a reset; and what is said of it.
    says(&mut bob, at_bob, 50, NOW.get() + 1, edit(id, "private still"));
    let again = Content { id, sent_at: NOW, body: Body::Text("private".to_owned()) };
    assert!(!take(&mut bob, at_bob, &again.encode().unwrap()).message);
    assert!(bob.history(at_bob, None, 9).unwrap().is_empty());
    assert_eq!(rows_with(&mut bob, b"private"), []);
    assert_eq!(alice.message_at(sent).unwrap().kind, MessageKind::Text { text: "private".into() });
    // One that has not gone out does not go out.
    let to_bob = only(&mut alice);
    let id = alice.queue_text(to_bob, "unsent", NOW).unwrap();
    let place = alice.message(id).unwrap().seq;
    alice.erase_message(place, NOW).unwrap();
    relay.settle(&mut [&mut alice, &mut bob]);
    assert!(texts(&mut bob, at_bob).is_empty());
}

#[test]
fn typing_is_told_and_neither_stored_nor_queued() {
    let Written { mut relay, mut alice, mut bob, at_alice, at_bob, .. } = written("hi");
    relay.settle(&mut [&mut alice, &mut bob]);
    let told = events(&mut bob).len();
    let passing = alice.seal_typing(at_alice, true, NOW).unwrap().unwrap();
    assert!(alice.next_delivery(at_alice).unwrap().is_none());
    let id = bob.mailbox_of(at_bob).unwrap().unwrap().secret.mailbox();
    let seq = Seq::new(relay.mailboxes[&id].queue.len() as u64 + 1);
    let received = bob.receive(&id, INCARNATION, seq, &passing.envelope, NOW).unwrap().unwrap();
    assert_eq!(received.typing, Some(Typing { contact: at_bob, active: true }));
    assert!(!received.message && !received.parked);
    assert_eq!(events(&mut bob).len(), told);
    assert_eq!(bob.acknowledgements_due(NOW).unwrap(), None, "nor acknowledged");
    relay.mailboxes.get_mut(&id).unwrap().queue.push(passing.envelope);
    // What was sealed and never came leaves a gap, and nothing else.
    alice.seal_typing(at_alice, false, NOW).unwrap().unwrap();
    alice.queue_text(at_alice, "here I am", NOW).unwrap();
    assert!(alice.seal_typing(at_alice, true, NOW).unwrap().is_none(), "something waits");
    relay.settle(&mut [&mut alice, &mut bob]);
    assert_eq!(texts(&mut bob, at_bob), ["hi", "here I am"]);
    alice.block(at_alice, NOW).unwrap();
    let refused = alice.seal_typing(at_alice, true, NOW).err();
    assert_eq!(refused, Some(EngineError::ContactBlocked));
}

#[test]
fn a_name_that_is_changed_reaches_all_contacts() {
    let (mut relay, mut alice, mut bob) = acquainted();
    let at_bob = only(&mut bob);
    alice.set_name("Alice Liddell", NOW).unwrap();
    assert!(matches!(alice.set_name("", NOW), Err(EngineError::NameInvalid { .. })));
    relay.settle(&mut [&mut alice, &mut bob]);
    assert_eq!(bob.contact(at_bob).unwrap().name, "Alice Liddell");
    let again = Engine::open(alice.into_store(), TestRng(9)).unwrap();
    assert_eq!(again.name(), "Alice Liddell");
}

#[test]
fn r_912_a_name_that_shows_nothing_or_stands_for_another_is_not_taken_up() {
    let (_, _, mut bob) = acquainted();
    let contact = only(&mut bob);
    let name = |name: &str| Body::Profile { name: name.to_owned() };
    let none = ["", " \t\u{7}\u{202e}\n", "17", "# 17", "Contact 17", "CONTACT #17", "ab12cd34ef"];
    for (n, none) in (0..).zip(none) {
        says(&mut bob, contact, n, NOW.get(), name(none));
        assert_eq!(bob.contact(contact).unwrap().name, "Alice", "{none:?}");
    }
    assert!(refusals(&mut bob).is_empty());
    // What can't be shown is left out of a name that has more.
    says(&mut bob, contact, 50, NOW.get(), name(" Alice\u{202e} 17 "));
    assert_eq!(bob.contact(contact).unwrap().name, "Alice 17");
}

#[test]
fn r_1312_what_is_known_by_its_id_is_not_shown_again() {
    let (_, _, mut bob) = acquainted();
    let contact = only(&mut bob);
    let text = |text: &str| Body::Text(text.to_owned());
    assert!(says(&mut bob, contact, 50, NOW.get(), text("once")).message);
    for again in ["once", "another text"] {
        assert!(!says(&mut bob, contact, 50, NOW.get(), text(again)).message);
    }
    assert_eq!(texts(&mut bob, contact), ["once"]);
    // Also when it is gone.
    let message = bob.received_message(contact, MessageId::from_bytes([50; 16])).unwrap();
    bob.erase_message(message.seq, NOW).unwrap();
    assert!(!says(&mut bob, contact, 50, NOW.get(), text("once")).message);
    assert!(texts(&mut bob, contact).is_empty());
}

#[test]
fn device_lists_are_held_against_the_one_that_is_known() {
    let (_, alice, mut bob) = acquainted();
    let contact = only(&mut bob);
    let list = alice.me.list().as_bytes().to_vec();
    says(&mut bob, contact, 50, NOW.get(), Body::DeviceList(list.clone()));
    assert!(refusals(&mut bob).is_empty());
    let mut damaged = list;
    *damaged.last_mut().unwrap() ^= 1;
    says(&mut bob, contact, 51, NOW.get(), Body::DeviceList(damaged));
    let other = person("Eve", 9).me.list().as_bytes().to_vec();
    says(&mut bob, contact, 52, NOW.get(), Body::DeviceList(other));
    let refused = refusals(&mut bob);
    assert_eq!(refused.len(), 2);
    assert!(refused[0].starts_with("R-20"), "{refused:?}");
    assert_eq!(refused[1], "R-210");
    assert_eq!(bob.contact(contact).unwrap().state, ContactState::Active);
}

#[test]
fn kinds_that_are_not_known_come_as_they_are() {
    let (_, _, mut bob) = acquainted();
    let contact = only(&mut bob);
    let body = Body::Unknown { kind: 4711, payload: vec![1, 2, 3] };
    assert!(says(&mut bob, contact, 50, NOW.get(), body).message);
    let message = bob.received_message(contact, MessageId::from_bytes([50; 16])).unwrap();
    assert_eq!(message.kind, MessageKind::Unknown { kind: 4711, payload: vec![1, 2, 3] });
    assert!(refusals(&mut bob).is_empty());
}

#[test]
fn the_history_is_searched_and_what_is_gone_is_not_found() {
    let Written { mut relay, mut alice, mut bob, at_alice, at_bob, sent, .. } =
        written("The Quick brown fox");
    alice.queue_text(at_alice, "nothing of it", NOW).unwrap();
    alice.queue_text(at_alice, "QUICKER", NOW).unwrap();
    relay.settle(&mut [&mut alice, &mut bob]);
    let find = |person: &mut Person, contact, text: &str| -> Vec<MessageKind> {
        let found = person.search(contact, text, None).unwrap();
        assert_eq!(found.next, None);
        found.messages.into_iter().map(|message| message.kind).collect()
    };
    let text = |text: &str| MessageKind::Text { text: text.to_owned() };
    let expected = [text("QUICKER"), text("The Quick brown fox")];
    assert_eq!(find(&mut bob, Some(at_bob), " quick "), expected);
    assert_eq!(find(&mut bob, None, "quick"), expected);
    assert_eq!(find(&mut bob, None, "quick brown").len(), 1);
    alice.edit(sent, "The slow fox", later(1)).unwrap();
    relay.settle(&mut [&mut alice, &mut bob]);
    assert_eq!(find(&mut bob, None, "quick"), [text("QUICKER")]);
    assert_eq!(bob.search(None, "  ", None).unwrap_err(), EngineError::EmptyText);
    let nobody = bob.search(Some(ContactId::new(9)), "x", None).unwrap_err();
    assert_eq!(nobody, EngineError::UnknownContact);
}
