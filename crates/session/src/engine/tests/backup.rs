//! Backups: what is in one, and a new device out of one that goes on with everybody.

use super::*;
use crate::backup::{BackupError, BackupReader, BackupWriter, Record, RecoveryKey};
use crate::event::ResetCause;
use crate::link::LinkKind;

fn recovery_key() -> RecoveryKey {
    RecoveryKey::generate(&mut TestRng(5))
}

/// A backup, and how many pages it took.
fn export(person: &mut Person) -> Vec<u8> {
    let mut writer = BackupWriter::begin(Vec::new(), &recovery_key(), &mut TestRng(6)).unwrap();
    let mut at = Export::begin();
    while let Some(records) = person.export(&mut at, NOW).unwrap() {
        for record in records {
            writer.write(&record).unwrap();
        }
    }
    let (done, total) = at.progress();
    assert_eq!(done, total);
    writer.finish().unwrap()
}

fn records(backup: &[u8]) -> Vec<Record> {
    let mut reader = BackupReader::open(backup, &recovery_key()).unwrap();
    let mut records = Vec::new();
    while let Some(record) = reader.next_record().unwrap() {
        records.push(record);
    }
    records
}

/// What a check says.
fn check(records: Vec<Record>) -> Result<Restored, EngineError> {
    let mut check = BackupCheck::new(TestRng(1), LATER);
    for record in records {
        check.put(vec![record])?;
    }
    check.finish()
}

fn restore(records: Vec<Record>, seed: u64) -> Result<(Person, Restored), EngineError> {
    let mut restorer = Restorer::new(FaultyStore::default(), TestRng(seed), LATER);
    for record in records {
        restorer.put(vec![record])?;
    }
    restorer.finish()
}

/// Some days later, so that the device list's counter rises with the time.
const LATER: UnixMillis = UnixMillis::new(NOW.get() + 3 * 86_400_000);

/// Alice and Bob know each other and hold each other's reset links.
fn ready() -> (Relay, Person, Person, ContactId, ContactId) {
    let (mut relay, mut alice, mut bob) = acquainted();
    relay.settle(&mut [&mut alice, &mut bob]);
    let (at_alice, at_bob) = (only(&mut alice), only(&mut bob));
    (relay, alice, bob, at_alice, at_bob)
}

fn resets(person: &mut Person) -> Vec<ResetCause> {
    let reset = |kind| match kind {
        EventKind::Reset { cause, .. } => Some(cause),
        _ => None,
    };
    events(person).into_iter().filter_map(reset).collect()
}

fn assert_talking(relay: &mut Relay, a: (&mut Person, ContactId), b: (&mut Person, ContactId)) {
    let ((alice, at_alice), (bob, at_bob)) = (a, b);
    for round in 0..2 {
        let there = alice.queue_text(at_alice, &format!("there {round}"), NOW).unwrap();
        let back = bob.queue_text(at_bob, &format!("back {round}"), NOW).unwrap();
        relay.settle(&mut [alice, bob]);
        assert_eq!(state(alice, there), MessageState::Delivered);
        assert_eq!(state(bob, back), MessageState::Delivered);
    }
}

#[test]
fn a_restored_device_goes_on_with_everybody_who_does_nothing_for_it() {
    let (mut relay, mut alice, mut bob, at_alice, at_bob) = ready();
    bob.queue_text(at_bob, "before", NOW).unwrap();
    alice.queue_text(at_alice, "the backup", NOW).unwrap();
    relay.settle(&mut [&mut alice, &mut bob]);
    let queued = bob.queue_text(at_bob, "queued", NOW).unwrap();
    let backup = export(&mut bob);
    let (account, old_device) = (bob.account(), bob.device_keys());
    let old_counter = bob.me.list().counter();
    // What comes behind the backup is known to Alice alone, and what she sent and nobody fetched
    // waits in a mailbox that nobody can read any more.
    bob.queue_text(at_bob, "behind the backup", NOW).unwrap();
    relay.settle(&mut [&mut alice, &mut bob]);
    let unread = alice.queue_text(at_alice, "while Bob had nothing", NOW).unwrap();
    relay.send(&mut alice);
    drop(bob);

    let (mut bob, restored) = restore(records(&backup), 99).unwrap();
    let (contacts, messages, pending) = (restored.contacts, restored.messages, restored.pending);
    assert_eq!((contacts, messages, pending), (1, 3, 1));
    assert_eq!(restored.made, NOW);
    assert_eq!(bob.account(), account);
    assert_ne!(bob.device_keys(), old_device);
    assert_eq!(bob.me.list().devices().len(), 1, "the old device is off the list");
    assert_eq!(bob.me.list().counter(), LATER.seconds().max(old_counter + 1));
    assert_eq!(only(&mut bob), at_bob);
    assert_eq!(texts(&mut bob, at_bob), ["before", "the backup", "queued"]);
    assert!(bob.next_delivery(at_bob).unwrap().is_none(), "there is no session yet");

    relay.settle(&mut [&mut bob, &mut alice]);
    assert_eq!(resets(&mut bob), [ResetCause::OwnStateLost]);
    assert_eq!(resets(&mut alice), [ResetCause::TheirStateLost]);
    assert_eq!(state(&mut bob, queued), MessageState::Delivered);
    assert_eq!(state(&mut alice, unread), MessageState::Delivered);
    let heard = texts(&mut alice, at_alice);
    assert_eq!(heard.iter().filter(|text| *text == "queued").count(), 1, "{heard:?}");
    assert_eq!(
        texts(&mut bob, at_bob),
        ["before", "the backup", "queued", "while Bob had nothing"]
    );
    // The old device is gone from Alice's store, with its sessions.
    let row = alice.store.transaction(|tx| contacts::load_contact(tx, at_alice)).unwrap();
    assert_eq!(row.devices.len(), 1);
    assert_eq!(row.devices[0].keys, bob.device_keys());
    assert_talking(&mut relay, (&mut alice, at_alice), (&mut bob, at_bob));
    assert!(relay.check(&mut bob) && relay.check(&mut alice));
}

#[test]
fn no_device_key_and_no_ratchet_is_in_a_backup() {
    let (mut relay, mut alice, mut bob, _, at_bob) = ready();
    relay.invite(&mut bob, LinkKind::Reusable);
    bob.queue_text(at_bob, "on its way", NOW).unwrap();
    relay.send(&mut bob);
    let backup = export(&mut bob);
    let mut plain = Vec::new();
    let mut reader = BackupReader::open(&backup[..], &recovery_key()).unwrap();
    while let Some(record) = reader.next_record().unwrap() {
        plain.extend_from_slice(&record.frame_for_tests());
    }
    let has = |bytes: &[u8]| plain.windows(bytes.len()).any(|window| window == bytes);
    let (mut seen, mut found) = (0, 0);
    for secret in bob.dangerous_audit_secrets().unwrap() {
        let label = secret.label.as_str();
        // What is there by intention shows that the search finds what is there.
        if label == "account key, private" || label == "link secret" {
            found += usize::from(has(&secret.bytes));
            continue;
        }
        let ratchet = ["prekey", "session", "chain", "root", "header", "ratchet", "message key"];
        let device = label.contains("device") && label.contains("private");
        let ratchet = ratchet.iter().any(|one| label.contains(one)) || label.contains("ML-KEM");
        if (device || ratchet) && secret.bytes.iter().any(|byte| *byte != 0) {
            seen += 1;
            assert!(!has(&secret.bytes), "{label}");
        }
    }
    assert!(seen > 10 && found >= 2, "{seen} {found}");
    relay.settle(&mut [&mut alice, &mut bob]);
}

#[test]
fn links_that_are_filled_up_lead_to_the_new_device_and_single_use_links_end() {
    let (mut relay, mut alice, mut bob, ..) = ready();
    let public = relay.invite(&mut bob, LinkKind::Reusable);
    let single = relay.invite(&mut bob, LinkKind::SingleUse);
    let backup = export(&mut bob);
    drop(bob);
    let (mut bob, _) = restore(records(&backup), 99).unwrap();
    relay.settle(&mut [&mut bob, &mut alice]);
    let mut carol = person("Carol", 3);
    let to_bob = relay.add(&mut carol, &public);
    relay.settle(&mut [&mut carol, &mut bob]);
    let to_carol = bob.find_contact("Carol").unwrap().id;
    assert_talking(&mut relay, (&mut carol, to_bob), (&mut bob, to_carol));
    // Nobody loses a message to a bundle whose private half is gone.
    let mut dora = person("Dora", 4);
    let plan = dora.begin_add(&single, None).unwrap();
    assert!(relay.take(&plan).is_none());
    // And the old device's mailboxes are gone with it.
    let subscribed = bob.subscriptions().unwrap().len();
    assert_eq!(relay.mailboxes.len(), subscribed + mailboxes_of(&mut [&mut alice, &mut carol]));
}

fn mailboxes_of(people: &mut [&mut Person]) -> usize {
    people.iter_mut().map(|person| person.subscriptions().unwrap().len()).sum()
}

/// Both lose everything, and both have backups.
#[test]
fn both_sides_restored_at_once_find_each_other() {
    for first in [true, false] {
        let (mut relay, mut alice, mut bob, at_alice, at_bob) = ready();
        let (of_alice, of_bob) = (export(&mut alice), export(&mut bob));
        drop((alice, bob));
        let (mut alice, _) = restore(records(&of_alice), 97).unwrap();
        let (mut bob, _) = restore(records(&of_bob), 98).unwrap();
        if first {
            relay.settle(&mut [&mut alice, &mut bob]);
        } else {
            relay.settle(&mut [&mut bob, &mut alice]);
        }
        assert_talking(&mut relay, (&mut alice, at_alice), (&mut bob, at_bob));
    }
}

#[test]
fn a_backup_of_a_restored_device_restores() {
    let (mut relay, mut alice, mut bob, at_alice, at_bob) = ready();
    for seed in 90..93 {
        let backup = export(&mut bob);
        drop(bob);
        let before = relay.mailboxes.len();
        bob = restore(records(&backup), seed).unwrap().0;
        relay.settle(&mut [&mut bob, &mut alice]);
        assert_talking(&mut relay, (&mut alice, at_alice), (&mut bob, at_bob));
        assert!(relay.mailboxes.len() <= before + 2, "mailboxes pile up");
    }
}

#[test]
fn names_verification_and_blocks_survive() {
    let (mut relay, mut alice, mut bob, at_alice, at_bob) = ready();
    bob.rename(at_bob, "My Alice").unwrap();
    bob.mark_verified(at_bob).unwrap();
    bob.block(at_bob, NOW).unwrap();
    let backup = export(&mut bob);
    drop(bob);
    let (mut bob, _) = restore(records(&backup), 99).unwrap();
    let contact = bob.contact(at_bob).unwrap();
    assert_eq!((contact.name.as_str(), contact.verified), ("My Alice", true));
    assert_eq!(contact.state, ContactState::Blocked);
    relay.settle(&mut [&mut bob, &mut alice]);
    assert!(resets(&mut bob).is_empty());
    bob.unblock(at_bob, NOW).unwrap();
    relay.settle(&mut [&mut bob, &mut alice]);
    assert_eq!(resets(&mut bob), [ResetCause::OwnStateLost]);
    assert_talking(&mut relay, (&mut alice, at_alice), (&mut bob, at_bob));
    // Numbers go on where they were: none is given twice.
    let link = relay.invite(&mut alice, LinkKind::SingleUse);
    let mut carol = person("Carol", 3);
    relay.add(&mut carol, &link);
    let of_bob = relay.invite(&mut bob, LinkKind::SingleUse);
    relay.add(&mut carol, &of_bob);
    relay.settle(&mut [&mut carol, &mut bob]);
    assert_eq!(bob.find_contact("Carol").unwrap().id.get(), at_bob.get() + 1);
}

/// What was given to the relay and not acknowledged goes out again after the restore, to a verified
/// contact with consent; what the contact has already is known to them by its id.
#[test]
fn what_is_not_known_to_have_arrived_is_sent_again_once() {
    for verified in [false, true] {
        let (mut relay, mut alice, mut bob, at_alice, at_bob) = ready();
        if verified {
            bob.mark_verified(at_bob).unwrap();
        }
        let id = bob.queue_text(at_bob, "accepted by the relay", NOW).unwrap();
        relay.send(&mut bob);
        assert_eq!(state(&mut bob, id), MessageState::Accepted);
        let backup = export(&mut bob);
        if !verified {
            // She has it, and her word of that never reaches the old device.
            relay.push(&mut alice);
        }
        drop(bob);
        let (mut bob, restored) = restore(records(&backup), 99).unwrap();
        assert_eq!(restored.pending, 1);
        relay.settle(&mut [&mut bob, &mut alice]);
        if verified {
            assert_eq!(state(&mut bob, id), MessageState::Accepted);
            assert_eq!(bob.consent_to_resend(at_bob, true).unwrap(), 1);
            relay.settle(&mut [&mut bob, &mut alice]);
        }
        assert_eq!(state(&mut bob, id), MessageState::Delivered);
        let heard = texts(&mut alice, at_alice);
        assert_eq!(heard.iter().filter(|text| *text == "accepted by the relay").count(), 1);
    }
}

/// Messages come and contacts go while pages are taken.
#[test]
fn a_backup_that_is_made_while_things_change_restores() {
    let (mut relay, mut alice, mut bob, at_alice, at_bob) = ready();
    let link = relay.invite(&mut bob, LinkKind::Reusable);
    let mut carol = person("Carol", 3);
    relay.add(&mut carol, &link);
    relay.settle(&mut [&mut carol, &mut bob]);
    let to_carol = bob.find_contact("Carol").unwrap().id;
    for at in 0..300 {
        bob.queue_text(at_bob, &format!("to Alice {at}"), NOW).unwrap();
        bob.queue_text(to_carol, &format!("to Carol {at}"), NOW).unwrap();
    }
    let mut writer = BackupWriter::begin(Vec::new(), &recovery_key(), &mut TestRng(6)).unwrap();
    let mut at = Export::begin();
    let mut pages = 0;
    while let Some(records) = bob.export(&mut at, NOW).unwrap() {
        for record in records {
            writer.write(&record).unwrap();
        }
        pages += 1;
        match pages {
            2 => relay.settle(&mut [&mut bob, &mut alice]),
            4 => {
                bob.delete_contact(to_carol, NOW).unwrap();
                alice.queue_text(at_alice, "meanwhile", NOW).unwrap();
                relay.settle(&mut [&mut bob, &mut alice]);
            }
            _ => {}
        }
    }
    assert!(pages > 5);
    let backup = writer.finish().unwrap();
    drop(bob);
    let (mut bob, _) = restore(records(&backup), 99).unwrap();
    relay.settle(&mut [&mut bob, &mut alice]);
    assert_talking(&mut relay, (&mut alice, at_alice), (&mut bob, at_bob));
    let heard = texts(&mut alice, at_alice);
    for at in 0..300 {
        let text = format!("to Alice {at}");
        assert_eq!(heard.iter().filter(|one| **one == text).count(), 1, "{text}");
    }
}

/// The first page does not know of it, so that no later one may speak of it.
#[test]
fn what_comes_when_a_backup_has_begun_is_not_in_it() {
    for accepted in [false, true] {
        let (mut relay, mut alice, mut bob, _, at_bob) = ready();
        let link = relay.invite(&mut bob, LinkKind::Reusable);
        bob.queue_text(at_bob, "before", NOW).unwrap();
        let mut at = Export::begin();
        let mut all = bob.export(&mut at, NOW).unwrap().unwrap();
        bob.queue_text(at_bob, "behind", NOW).unwrap();
        let mut carol = person("Carol", 3);
        relay.add(&mut carol, &link);
        relay.send(&mut carol);
        relay.hand_over(&mut bob);
        let to_carol = bob.find_contact("Carol").unwrap().id;
        bob.queue_text(to_carol, "to a stranger", NOW).unwrap();
        if accepted {
            relay.send(&mut bob);
        }
        while let Some(records) = bob.export(&mut at, NOW).unwrap() {
            all.extend(records);
        }
        drop(bob);
        let (mut bob, restored) = restore(all, 99).unwrap();
        assert_eq!((restored.contacts, restored.messages, restored.pending), (1, 1, 1));
        relay.settle(&mut [&mut bob, &mut alice]);
        assert_eq!(texts(&mut bob, at_bob), ["before"]);
    }
}

/// A content moves from where it waits to where its acknowledgement is awaited while both are read.
#[test]
fn what_is_sent_while_a_backup_is_made_is_in_it_once() {
    for sealed in [false, true] {
        let (mut relay, mut alice, mut bob, at_alice, at_bob) = ready();
        bob.queue_text(at_bob, "meanwhile", NOW).unwrap();
        if sealed {
            assert!(bob.next_delivery(at_bob).unwrap().is_some());
        }
        let mut writer = BackupWriter::begin(Vec::new(), &recovery_key(), &mut TestRng(6)).unwrap();
        let mut at = Export::begin();
        let mut pages = 0;
        while let Some(records) = bob.export(&mut at, NOW).unwrap() {
            for record in records {
                writer.write(&record).unwrap();
            }
            pages += 1;
            if pages == 2 {
                assert_eq!(relay.send(&mut bob), 1);
            }
        }
        let backup = writer.finish().unwrap();
        let pending = |one: &&Record| matches!(one.0, crate::backup::Kind::Pending(_));
        assert_eq!(records(&backup).iter().filter(pending).count(), 2, "as it waited, and as sent");
        drop(bob);
        let (mut bob, restored) = restore(records(&backup), 99).unwrap();
        assert_eq!(restored.pending, 1);
        relay.settle(&mut [&mut bob, &mut alice]);
        assert_talking(&mut relay, (&mut alice, at_alice), (&mut bob, at_bob));
        let heard = texts(&mut alice, at_alice);
        assert_eq!(heard.iter().filter(|text| *text == "meanwhile").count(), 1);
    }
}

#[test]
fn r_1411_whole_backups_that_contradict_themselves() {
    use crate::backup::Kind;
    let (mut relay, mut alice, mut bob, _, at_bob) = ready();
    relay.invite(&mut bob, LinkKind::Reusable);
    bob.queue_text(at_bob, "queued", NOW).unwrap();
    let backup = export(&mut bob);
    relay.settle(&mut [&mut alice, &mut bob]);
    type Change = Box<dyn Fn(&mut Vec<Record>)>;
    let change = |what: fn(&mut Kind)| -> Change {
        Box::new(move |records: &mut Vec<Record>| records.iter_mut().for_each(|r| what(&mut r.0)))
    };
    let drop_kind = |which: fn(&Kind) -> bool| -> Change {
        Box::new(move |records: &mut Vec<Record>| records.retain(|r| !which(&r.0)))
    };
    let changes: Vec<(&str, Change)> = vec![
        ("account", drop_kind(|kind| matches!(kind, Kind::Account(_)))),
        ("kind", drop_kind(|kind| matches!(kind, Kind::Contact(_)))),
        (
            "given is not in it",
            drop_kind(|kind| matches!(kind, Kind::Link(l) if l.contact.is_some())),
        ),
        (
            "not the account's",
            change(|kind| {
                if let Kind::Account(one) = kind {
                    one.secret[0] ^= 1;
                }
            }),
        ),
        (
            "not the account's",
            change(|kind| {
                if let Kind::Account(one) = kind {
                    one.device = 1;
                }
            }),
        ),
        (
            "address",
            change(|kind| {
                if let Kind::Account(one) = kind {
                    one.relay.clear();
                }
            }),
        ),
        (
            "number",
            change(|kind| {
                if let Kind::Account(one) = kind {
                    one.next_contact = 1;
                }
            }),
        ),
        (
            "account can't be",
            change(|kind| {
                if let Kind::Contact(one) = kind {
                    one.account = [0; 32];
                }
            }),
        ),
        (
            "another's",
            change(|kind| {
                if let Kind::Contact(one) = kind {
                    one.reset_theirs = Some(zeroize::Zeroizing::new(vec![1, 3]));
                }
            }),
        ),
        (
            "another's",
            change(|kind| {
                if let Kind::Contact(one) = kind {
                    one.list_record.pop();
                }
            }),
        ),
        (
            "name",
            change(|kind| {
                if let Kind::Contact(one) = kind {
                    one.name = "a\u{7}".into();
                }
            }),
        ),
        (
            "kind",
            change(|kind| {
                if let Kind::Link(one) = kind {
                    one.kind = LinkKind::SingleUse;
                }
            }),
        ),
        (
            "to be sent can't be",
            change(|kind| {
                if let Kind::Pending(one) = kind {
                    one.content.clear();
                }
            }),
        ),
        (
            "place",
            change(|kind| {
                if let Kind::Pending(one) = kind {
                    one.message = Some(u64::MAX);
                }
            }),
        ),
        (
            "place",
            change(|kind| {
                if let Kind::Message(one) = kind {
                    one.place = u64::MAX;
                }
            }),
        ),
        (
            "state",
            change(|kind| {
                if let Kind::Message(one) = kind {
                    one.state = MessageState::Received;
                }
            }),
        ),
    ];
    let (_, restored) = restore(records(&backup), 1).unwrap();
    assert_eq!(check(records(&backup)), Ok(restored));
    for (what, change) in changes {
        let mut changed = records(&backup);
        change(&mut changed);
        let mut checked = records(&backup);
        change(&mut checked);
        // Who checks it hears the same.
        match check(checked) {
            Err(EngineError::Backup(BackupError::Contradiction { what: found })) => {
                assert!(found.contains(what), "{what}: {found}");
            }
            other => panic!("{what}: {other:?}"),
        }
        match restore(changed, 1).map(|_| ()) {
            Err(EngineError::Backup(BackupError::Contradiction { what: found })) => {
                assert!(found.contains(what), "{what}: {found}");
            }
            other => panic!("{what}: {other:?}"),
        }
    }
    // Each record twice.
    for at in 0..records(&backup).len() {
        let mut twice = records(&backup);
        let mut again = records(&backup);
        let mut checked = records(&backup);
        checked.insert(at, records(&backup).swap_remove(at));
        let may = matches!(twice[at].0, Kind::Leftover(_) | Kind::Erased(_) | Kind::Pending(_));
        twice.insert(at, again.swap_remove(at));
        assert_eq!(restore(twice, 1).is_ok(), may, "record {at}");
        assert_eq!(check(checked).is_ok(), may, "record {at}");
    }
}

/// Reactions, edits, deletions and timers come back; what has disappeared does not.
#[test]
fn what_belongs_to_a_message_survives_and_what_disappeared_stays_away() {
    use crate::engine::rows::ReactionRow;
    use crate::message::Direction;
    let (_, _, mut bob, _, at_bob) = ready();
    let kept = bob.queue_text(at_bob, "kept", NOW).unwrap();
    let gone = bob.queue_text(at_bob, "disappears in the meantime", NOW).unwrap();
    for (id, erase_at) in [(kept, LATER.get() + 1), (gone, LATER.get())] {
        let place = bob.message(id).unwrap().seq;
        let change = |tx: &mut dyn crate::store::Transaction| -> Result<(), StoreError> {
            let mut row = history::must_message(tx, place)?;
            row.edited_at = 7;
            row.timer = 60;
            row.erase_at = Some(erase_at);
            row.reactions = vec![ReactionRow { by: Direction::Incoming, emoji: "+".into(), at: 9 }];
            history::save_message(tx, &row)
        };
        bob.store.transaction(change).unwrap();
    }
    let before = bob.message(kept).unwrap();
    let backup = export(&mut bob);
    let (mut bob, restored) = restore(records(&backup), 99).unwrap();
    assert_eq!(restored.messages, 1);
    assert_eq!(bob.message(kept).unwrap(), before);
    assert_eq!(bob.message(gone), Err(EngineError::UnknownMessage));
    let due = bob.store.transaction(|tx| -> Result<_, StoreError> {
        tx.scan(Table::Erasures, &[], None, crate::store::Order::Ascending, 9)
    });
    assert_eq!(due.unwrap().len(), 1, "its clock goes on running");
    assert_eq!(bob.queued_messages().unwrap(), 1);
}

#[test]
fn a_store_with_a_profile_takes_no_backup() {
    let (_, _, mut bob, ..) = ready();
    let backup = export(&mut bob);
    let store = bob.into_store();
    let mut restorer = Restorer::new(store, TestRng(1), LATER);
    assert_eq!(restorer.put(records(&backup)), Err(EngineError::ProfileExists));
}
