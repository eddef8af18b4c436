//! Stores of earlier versions, as they were written then: opened, migrated, and talked on with.
//!
//! `fixtures/vN/*.rows` are committed and never written again. When the version is raised, the
//! stores of the one before are made by `cargo test -p undertone-session -- --ignored freeze`
//! **before** any row changes.

use std::path::{Path, PathBuf};

use undertone_wire::limits::MAX_ENVELOPE;

use super::*;
use crate::content::BlobKeyBytes;
use crate::engine::transfers::OutgoingFile;
use crate::message::FileInfo;
use crate::store::Order;

/// Who is frozen; the first three from version 1 on, the others from version 2 on.
pub(super) const PEOPLE: [&str; 7] = ["alice", "bob", "carol", "dora", "erin", "frank", "grace"];

pub(super) fn place(version: u32, name: &str) -> PathBuf {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures");
    fixtures.join(format!("v{version}")).join(format!("{name}.rows"))
}

/// Every row: table (1), length of key (4), key, length of value (4), value; big-endian.
fn write(person: Person, version: u32, name: &str) {
    let mut store = person.into_store().inner;
    let mut bytes = Vec::new();
    for table in Table::ALL {
        for row in store
            .transaction(|tx| tx.scan(*table, &[], None, Order::Ascending, usize::MAX))
            .unwrap_or_else(|e: StoreError| panic!("{e}"))
        {
            bytes.push(table.number());
            for part in [&row.key[..], &row.value[..]] {
                bytes.extend_from_slice(&(part.len() as u32).to_be_bytes());
                bytes.extend_from_slice(part);
            }
        }
    }
    let place = place(version, name);
    std::fs::create_dir_all(place.parent().unwrap()).unwrap();
    let mut options = std::fs::OpenOptions::new();
    let file = options.write(true).create_new(true).open(&place);
    std::io::Write::write_all(&mut file.expect("frozen stores are not written twice"), &bytes)
        .unwrap();
}

fn take<'b>(bytes: &mut &'b [u8], count: usize) -> &'b [u8] {
    let (head, tail) = bytes.split_at(count);
    *bytes = tail;
    head
}

/// The store of that version.
pub(super) fn thaw(version: u32, name: &str) -> FaultyStore {
    let bytes = std::fs::read(place(version, name)).unwrap();
    let mut rest = &bytes[..];
    let mut store = FaultyStore::default();
    while !rest.is_empty() {
        let number = take(&mut rest, 1)[0];
        let table = Table::ALL.iter().find(|table| table.number() == number).unwrap();
        let mut part = || {
            let length = u32::from_be_bytes(take(&mut rest, 4).try_into().unwrap());
            take(&mut rest, length as usize).to_vec()
        };
        let (key, value) = (part(), part());
        store.transaction(|tx| tx.put(*table, &key, &value)).unwrap_or_else(|e: StoreError| {
            panic!("{e}");
        });
    }
    store
}

pub(super) fn file() -> OutgoingFile {
    OutgoingFile {
        blob: [5; 32],
        key: BlobKeyBytes::new([6; 32]),
        commitment: [7; 32],
        sha256: [8; 32],
        info: FileInfo {
            name: "plan.pdf".into(),
            size: 4711,
            media_type: "application/pdf".into(),
            path: Some("/home/bob/plan.pdf".into()),
            caption: String::new(),
        },
    }
}

/// Makes the stores of the present version: conversations in every state that a row can have.
#[test]
#[ignore = "writes the stores of the present version, once, before a row changes"]
fn freeze() {
    let mut relay = Relay::default();
    let (mut alice, mut bob, mut carol) =
        (person("Alice", 1), person("Bob", 2), person("Carol", 3));
    let single = relay.invite(&mut bob, LinkKind::SingleUse);
    let to_bob = relay.add(&mut alice, &single);
    relay.settle(&mut [&mut alice, &mut bob]);
    let public = relay.invite(&mut bob, LinkKind::Reusable);
    relay.add(&mut carol, &public);
    relay.settle(&mut [&mut carol, &mut bob]);
    let (to_alice, to_carol) =
        (bob.find_contact("Alice").unwrap().id, bob.find_contact("Carol").unwrap().id);
    bob.mark_verified(to_alice).unwrap();
    bob.rename(to_alice, "Alice from work").unwrap();
    alice.queue_text(to_bob, "delivered", NOW).unwrap();
    relay.settle(&mut [&mut alice, &mut bob]);
    // A file that came, and one that goes.
    let at_carol = only(&mut carol);
    carol.queue_file(at_carol, file(), NOW).unwrap();
    let upload = carol.uploads().unwrap().pop().unwrap();
    carol.uploaded(upload.message, &upload.relay).unwrap();
    relay.settle(&mut [&mut carol, &mut bob]);
    bob.queue_file(to_carol, file(), NOW).unwrap();
    bob.queue_text(to_carol, "behind the file", NOW).unwrap();
    // Accepted and not delivered; sealed and not accepted; queued.
    for text in ["accepted 1", "accepted 2"] {
        bob.queue_text(to_alice, text, NOW).unwrap();
        let delivery = bob.next_delivery(to_alice).unwrap().unwrap();
        bob.accepted(delivery.id, NOW).unwrap();
    }
    bob.queue_text(to_alice, "sealed", NOW).unwrap();
    let sealed = bob.next_delivery(to_alice).unwrap().unwrap();
    bob.refused(sealed.id, crate::message::Hold::MailboxFull).unwrap();
    bob.queue_text(to_alice, "queued", NOW).unwrap();
    // Something that nobody opens, a place in the events, and a link that is being used.
    let mailbox = bob.mailbox_of(to_alice).unwrap().unwrap().secret.mailbox();
    let seq = Seq::new(relay.state(&mailbox).unwrap().head.get() + 1);
    bob.receive(&mailbox, INCARNATION, seq, &vec![9; MAX_ENVELOPE / 64], NOW).unwrap();
    bob.acknowledge_event("cli", EventSeq::new(2)).unwrap();
    let link = relay.invite(&mut carol, LinkKind::SingleUse);
    bob.begin_add(&link, None).unwrap();
    let (dora, erin) = starting_anew();
    let (frank, grace) = said::much();
    let people = [alice, bob, carol, dora, erin, frank, grace];
    let mut people: Vec<_> = people.into_iter().zip(PEOPLE).collect();
    // A table of which nothing is frozen could change without being noticed.
    for table in Table::ALL {
        let has_rows = |person: &mut Person| {
            let first = |tx: &mut dyn crate::store::Transaction| {
                tx.scan(*table, &[], None, Order::Ascending, 1)
            };
            !person.store.transaction(first).unwrap().is_empty()
        };
        assert!(people.iter_mut().any(|(person, _)| has_rows(person)), "{table:?} is empty");
    }
    for (person, name) in people {
        write(person, SCHEMA_VERSION, name);
    }
}

/// A store that was put back and has begun a reset, of which nothing is sealed yet; and its contact,
/// whose mailbox moves, and of whose reset links a bundle is used.
fn starting_anew() -> (Person, Person) {
    let mut relay = Relay::default();
    let (mut dora, mut erin) = (person("Dora", 4), person("Erin", 5));
    let link = relay.invite(&mut erin, LinkKind::SingleUse);
    let to_erin = relay.add(&mut dora, &link);
    relay.settle(&mut [&mut dora, &mut erin]);
    relay.settle(&mut [&mut dora, &mut erin]);
    let old = dora.store.snapshot();
    let to_dora = only(&mut erin);
    erin.queue_text(to_dora, "seen by the newer store", NOW).unwrap();
    relay.settle(&mut [&mut dora, &mut erin]);
    let mut dora = Engine::open(old, TestRng(6)).unwrap();
    assert!(!relay.check(&mut dora));
    dora.queue_text(to_erin, "written after it was put back", NOW).unwrap();
    relay.care(&mut dora, NOW);
    assert_eq!(dora.contact(to_erin).unwrap().state, ContactState::Resetting);
    erin.begin_moves(UnixMillis::new(NOW.get() + 40 * 86_400_000)).unwrap();
    for plan in erin.pending_mailboxes().unwrap() {
        erin.mailbox_created(&plan.secret.mailbox(), NOW).unwrap();
    }
    erin.queue_text(to_dora, "in the old session", NOW).unwrap();
    (dora, erin)
}

/// The capabilities that bundles name, and the mailboxes of their links.
fn bundles(person: &mut Person) -> Vec<([u8; 32], [u8; 32])> {
    let all = person.store.transaction(|tx| -> Result<_, EngineError> {
        let mut found = Vec::new();
        contacts::for_each(tx, Table::Prekeys, &[], |key, value| {
            let row: rows::PrekeyRow = rows::decode(Table::Prekeys, value)?;
            let number = u64::from_be_bytes(key[..8].try_into().unwrap());
            found.extend(row.capability.map(|hash| (hash, number)));
            Ok(())
        })?;
        let place = |(hash, number)| Ok((hash, links::load_link(tx, number)?.mailbox));
        found.into_iter().map(place).collect()
    });
    all.unwrap()
}

/// A relay that knows the mailboxes of these people, and has nothing in them.
pub(super) fn relay_of(people: &mut [&mut Person]) -> Relay {
    let mut relay = Relay::default();
    for person in people {
        let rows: Vec<rows::MailboxRow> = person
            .store
            .transaction(|tx| -> Result<_, StoreError> {
                let mut all = Vec::new();
                contacts::for_each(tx, Table::Mailboxes, &[], |_, value| {
                    all.push(rows::decode(Table::Mailboxes, value)?);
                    Ok(())
                })?;
                Ok(all)
            })
            .unwrap();
        for row in rows.iter().filter(|row| row.live) {
            let secret = mailboxes::secret_of(row).unwrap();
            let hashes: Vec<_> =
                mailboxes::routing(row).iter().map(|route| route.capability.hash()).collect();
            relay.make(secret.mailbox(), &hashes);
            let mailbox = relay.mailboxes.get_mut(&secret.mailbox()).unwrap();
            // Positions go on where they were; what was there is acknowledged and gone.
            mailbox.queue = vec![Vec::new(); row.floor as usize];
            mailbox.acknowledged = row.floor;
        }
        for (hash, mailbox) in bundles(person) {
            let hash = WriteCapabilityHash::from_bytes(hash);
            relay.capabilities.insert(hash, MailboxId::from_bytes(mailbox));
        }
    }
    relay
}

#[test]
fn stores_of_every_version_are_migrated_and_the_conversations_go_on() {
    for version in 1..=SCHEMA_VERSION {
        if version == SCHEMA_VERSION && !place(version, "bob").exists() {
            // Its rows may still change.
            continue;
        }
        let open = |name: &str, seed| Engine::open(thaw(version, name), TestRng(seed)).unwrap();
        let (mut alice, mut bob, mut carol) =
            (open("alice", 11), open("bob", 12), open("carol", 13));
        let to_alice = bob.find_contact("Alice from work").unwrap();
        assert!(to_alice.verified);
        assert_eq!(to_alice.state, ContactState::Active);
        let to_alice = to_alice.id;
        let written = texts(&mut bob, to_alice);
        assert_eq!(written, ["delivered", "accepted 1", "accepted 2", "sealed", "queued"]);
        assert_eq!(bob.open_cursor("cli").unwrap(), EventSeq::new(2));
        assert_eq!(bob.uploads().unwrap().len(), 1);
        // Version 1 fetched every file that came, so that these are wanted; since then one is asked
        // for, unless it is small enough.
        let none = FetchLimits { file: 0, day: 0 };
        assert_eq!(bob.downloads(&none, NOW).unwrap().len(), usize::from(version == 1));
        let enough = FetchLimits { file: 4711, day: 4711 };
        assert_eq!(bob.downloads(&enough, NOW).unwrap().len(), 1);
        assert_eq!(bob.queued_messages().unwrap(), 4);
        let to_carol = bob.find_contact("Carol").unwrap().id;
        let upload = bob.uploads().unwrap().pop().unwrap();
        bob.uploaded(upload.message, &upload.relay).unwrap();

        let mut relay = relay_of(&mut [&mut alice, &mut bob, &mut carol]);
        relay.settle(&mut [&mut alice, &mut bob, &mut carol]);
        let to_bob = only(&mut alice);
        // What the relay had is not frozen with them: only what was yet to be accepted comes.
        assert_eq!(texts(&mut alice, to_bob), ["delivered", "sealed", "queued"]);
        alice.queue_text(to_bob, "and back", NOW).unwrap();
        relay.settle(&mut [&mut alice, &mut bob, &mut carol]);
        assert_eq!(texts(&mut bob, to_alice).last().unwrap(), "and back");
        assert_eq!(bob.queued_messages().unwrap(), 0);
        let at_carol = only(&mut carol);
        assert_eq!(texts(&mut carol, at_carol), ["behind the file"]);
        assert_eq!(bob.history(to_carol, None, 9).unwrap().len(), 3);
        // What was migrated is stored as such.
        let mut again = Engine::open(bob.into_store(), TestRng(14)).unwrap();
        let schema = again.store.transaction(|tx| rows::must::<u32>(tx, Table::Meta, SCHEMA));
        assert_eq!(schema.unwrap(), SCHEMA_VERSION);
    }
}

/// A reset that had begun, and a mailbox that moved.
#[test]
fn what_had_begun_in_a_store_of_an_earlier_version_is_ended_in_this_one() {
    for version in 2..=SCHEMA_VERSION {
        if version == SCHEMA_VERSION && !place(version, "dora").exists() {
            continue;
        }
        let open = |name: &str, seed| Engine::open(thaw(version, name), TestRng(seed)).unwrap();
        let (mut dora, mut erin) = (open("dora", 15), open("erin", 16));
        let (to_erin, to_dora) = (only(&mut dora), only(&mut erin));
        assert_eq!(dora.contact(to_erin).unwrap().state, ContactState::Resetting);
        let mut relay = relay_of(&mut [&mut dora, &mut erin]);
        for _ in 0..2 {
            let there = dora.queue_text(to_erin, "there", NOW).unwrap();
            let back = erin.queue_text(to_dora, "and back", NOW).unwrap();
            relay.settle(&mut [&mut dora, &mut erin]);
            assert_eq!(state(&mut dora, there), MessageState::Delivered);
            assert_eq!(state(&mut erin, back), MessageState::Delivered);
        }
        let heard = texts(&mut erin, to_dora);
        assert!(heard.contains(&"written after it was put back".to_owned()), "{heard:?}");
        let heard = texts(&mut dora, to_erin);
        assert!(heard.contains(&"in the old session".to_owned()), "{heard:?}");
    }
}
