//! How far a message has come: each state, and each transition as an event.

use super::*;
use crate::content::BlobKeyBytes;
use crate::message::{FileInfo, Hold};

fn transitions(person: &mut Person, message: MessageId) -> Vec<MessageState> {
    let told = events(person).into_iter();
    told.filter_map(|event| match event {
        EventKind::MessageStateChanged { id, state, .. } if id == message => Some(state),
        _ => None,
    })
    .collect()
}

fn days(n: u64) -> UnixMillis {
    UnixMillis::new(NOW.get() + n * 86_400_000)
}

#[test]
fn queued_accepted_delivered_read() {
    let (mut relay, mut alice, mut bob) = acquainted();
    let (at_alice, at_bob) = (only(&mut alice), only(&mut bob));
    bob.set_read_receipts(true).unwrap();
    let id = alice.queue_text(at_alice, "hello", NOW).unwrap();
    assert_eq!(state(&mut alice, id), MessageState::Queued);
    // What the relay does not take stays queued, and says why, and where.
    let delivery = alice.next_delivery(at_alice).unwrap().unwrap();
    assert_eq!(alice.relay_towards(at_alice).unwrap(), Some(delivery.relay.clone()));
    alice.refused(delivery.id, Hold::MailboxFull).unwrap();
    assert_eq!(state(&mut alice, id), MessageState::Queued);
    assert_eq!(alice.message(id).unwrap().hold, Some(Hold::MailboxFull));
    relay.send(&mut alice);
    assert_eq!(state(&mut alice, id), MessageState::Accepted);
    assert_eq!(alice.message(id).unwrap().hold, None);
    relay.push(&mut bob);
    relay.settle(&mut [&mut alice, &mut bob]);
    assert_eq!(state(&mut alice, id), MessageState::Delivered);
    bob.mark_read(at_bob, None, NOW).unwrap();
    bob.flush_acknowledgements(NOW).unwrap();
    relay.settle(&mut [&mut alice, &mut bob]);
    assert_eq!(state(&mut alice, id), MessageState::Read);
    let all = [MessageState::Accepted, MessageState::Delivered, MessageState::Read];
    assert_eq!(transitions(&mut alice, id), all);
}

#[test]
fn expired_when_the_retention_has_passed_without_an_acknowledgement() {
    let (mut relay, mut alice, _) = acquainted();
    let contact = only(&mut alice);
    let sent = alice.queue_text(contact, "sent", NOW).unwrap();
    relay.send(&mut alice);
    let queued = alice.queue_text(contact, "never left", NOW).unwrap();
    alice.expire(days(30)).unwrap();
    assert_eq!(state(&mut alice, sent), MessageState::Accepted);
    alice.expire(days(31)).unwrap();
    alice.expire(days(99)).unwrap();
    assert_eq!(transitions(&mut alice, sent), [MessageState::Accepted, MessageState::Expired]);
    // What never left this machine does not expire: it still can be sent.
    assert_eq!(state(&mut alice, queued), MessageState::Queued);
    assert_eq!(alice.relay_towards(contact).unwrap(), Some(relay_address()));
    relay.send(&mut alice);
    assert_eq!(state(&mut alice, queued), MessageState::Accepted);
    assert_eq!(alice.relay_towards(contact).unwrap(), None, "nothing waits");
    let nobody = alice.relay_towards(ContactId::new(9));
    assert_eq!(nobody, Err(EngineError::UnknownContact));
}

#[test]
fn failed_with_a_reason_and_what_is_behind_goes_on() {
    let (mut relay, mut alice, mut bob) = acquainted();
    let (at_alice, at_bob) = (only(&mut alice), only(&mut bob));
    let info = FileInfo {
        name: "plan.pdf".into(),
        size: 4711,
        media_type: String::new(),
        path: None,
        caption: "as agreed".into(),
    };
    let file = OutgoingFile {
        blob: [5; 32],
        key: BlobKeyBytes::new([6; 32]),
        commitment: [7; 32],
        sha256: [8; 32],
        info,
    };
    let id = alice.queue_file(at_alice, file, NOW).unwrap();
    alice.queue_text(at_alice, "behind the file", NOW).unwrap();
    relay.settle(&mut [&mut alice, &mut bob]);
    assert!(texts(&mut bob, at_bob).is_empty());
    let upload = alice.uploads().unwrap().pop().unwrap();
    alice.upload_failed(upload.message, "it is gone").unwrap();
    relay.settle(&mut [&mut alice, &mut bob]);
    let failed = MessageState::Failed { reason: "it is gone".into() };
    assert_eq!(transitions(&mut alice, id), [failed]);
    assert_eq!(texts(&mut bob, at_bob), ["behind the file"]);
    // It is not edited, since nobody has it; taken back, it is gone, and nobody is told.
    let place = alice.message(id).unwrap().seq;
    assert!(matches!(alice.edit(place, "x", NOW), Err(EngineError::NotChangeable { .. })));
    alice.delete_message(place, NOW).unwrap();
    assert!(alice.next_delivery(at_alice).unwrap().is_none());
    assert_eq!(alice.message(id).unwrap().kind, MessageKind::Deleted);
}

#[test]
fn a_file_that_is_taken_back_is_neither_fetched_nor_kept() {
    let (mut relay, mut alice, mut bob) = acquainted();
    let (at_alice, at_bob) = (only(&mut alice), only(&mut bob));
    let mut ids = Vec::new();
    for n in 0..2_u8 {
        let info = FileInfo {
            name: format!("{n}.pdf"),
            size: 4711,
            media_type: String::new(),
            path: None,
            caption: "a caption".into(),
        };
        let file = OutgoingFile {
            blob: [n; 32],
            key: BlobKeyBytes::new([6; 32]),
            commitment: [7; 32],
            sha256: [8; 32],
            info,
        };
        ids.push(alice.queue_file(at_alice, file, NOW).unwrap());
        let upload = alice.uploads().unwrap().pop().unwrap();
        alice.uploaded(upload.message, &upload.relay).unwrap();
    }
    relay.settle(&mut [&mut alice, &mut bob]);
    let limits = FetchLimits { file: 1 << 20, day: 1 << 30 };
    let downloads = bob.downloads(&limits, NOW).unwrap();
    assert_eq!(downloads.len(), 2);
    let place = std::path::Path::new("/files/0.pdf");
    assert!(bob.downloaded(downloads[0].message, place).unwrap());
    let MessageKind::File(info) = bob.message_at(downloads[0].message).unwrap().kind else {
        panic!("not a file")
    };
    assert_eq!((info.caption.as_str(), info.path.as_deref()), ("a caption", Some(place)));
    for id in &ids {
        let place = alice.message(*id).unwrap().seq;
        alice.edit(place, "another caption", NOW).unwrap();
        alice.delete_message(place, NOW).unwrap();
    }
    relay.settle(&mut [&mut alice, &mut bob]);
    assert!(bob.downloads(&limits, NOW).unwrap().is_empty());
    // The one that was just being fetched when it was taken back.
    assert!(!bob.downloaded(downloads[1].message, place).unwrap());
    bob.download_failed(downloads[1].message, "late").unwrap();
    assert_eq!(rows_with(&mut bob, b"0.pdf"), [], "the log repeats nothing of it");
    let mut files = bob.files_to_remove().unwrap();
    files.sort_unstable();
    let mut expected: Vec<_> = ids.iter().map(|id| (at_bob, *id)).collect();
    expected.sort_unstable();
    assert_eq!(files, expected);
    for (contact, id) in files {
        bob.file_removed(contact, id).unwrap();
    }
    assert!(bob.files_to_remove().unwrap().is_empty());
}

#[test]
fn what_went_to_an_account_that_is_no_more_has_failed() {
    let (mut relay, mut alice, mut bob) = acquainted();
    let contact = only(&mut alice);
    relay.settle(&mut [&mut alice, &mut bob]);
    let id = alice.queue_text(contact, "to the old one", NOW).unwrap();
    relay.send(&mut alice);
    // As if another account had called over the reset link.
    let other = *person("Bob", 77).me.account().as_bytes();
    alice
        .store
        .transaction(|tx| {
            let mut row = contacts::load_contact(tx, contact)?;
            row.offered_account = Some(other);
            Ok::<_, EngineError>(contacts::save_contact(tx, contact, &row)?)
        })
        .unwrap();
    let key = undertone_core::AccountKey::from_bytes(&other).unwrap();
    let account = crate::contact::AccountId::from_bytes(*key.fingerprint().as_bytes());
    alice.accept_key_change(contact, account, NOW).unwrap();
    assert!(matches!(state(&mut alice, id), MessageState::Failed { .. }));
    assert_eq!(transitions(&mut alice, id).len(), 2);
}
