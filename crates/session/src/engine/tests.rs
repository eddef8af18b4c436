#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation
)]
//! Two and more engines over stores in memory, with a relay of a few lines between them.

use std::collections::BTreeMap;
use std::convert::Infallible;

use undertone_core::rand_core::{TryCryptoRng, TryRng};
use undertone_wire::frame::{MailboxLimits, MailboxState};
use undertone_wire::{Floor, Incarnation, MailboxId, RootFingerprint, Seq, WriteCapabilityHash};

use super::*;
use crate::contact::ContactState;
use crate::event::{Event, EventKind};
use crate::ids::{ContactId, EventSeq, MessageId};
use crate::link::{Link, LinkKind};
use crate::message::{MessageKind, MessageState};
use crate::store::MemoryStore;

/// Deterministic and worthless: SplitMix64.
struct TestRng(u64);

impl TryRng for TestRng {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        Ok((self.try_next_u64()? >> 32) as u32)
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        Ok(z ^ (z >> 31))
    }

    fn try_fill_bytes(&mut self, out: &mut [u8]) -> Result<(), Infallible> {
        for byte in out {
            *byte = self.try_next_u64()? as u8;
        }
        Ok(())
    }
}

impl TryCryptoRng for TestRng {}

type Person = Engine<FaultyStore, TestRng>;

/// Where a transaction breaks.
#[derive(Clone, Copy, Debug)]
enum Fault {
    /// The process ends before the commit: nothing is kept.
    Before,
    /// It ends behind the commit: all is kept, and nobody hears of it.
    After,
}

/// A store of which every so manieth transaction breaks.
#[derive(Default)]
struct FaultyStore {
    inner: MemoryStore,
    faults: Option<(u64, Fault)>,
    count: u64,
}

const INJECTED: &str = "injected";

impl FaultyStore {
    fn snapshot(&self) -> Self {
        Self { inner: self.inner.snapshot(), ..Self::default() }
    }
}

impl Store for FaultyStore {
    fn transaction<T, E, F>(&mut self, work: F) -> Result<T, E>
    where
        E: From<StoreError>,
        F: FnOnce(&mut dyn crate::store::Transaction) -> Result<T, E>,
    {
        self.count += 1;
        let broken = || E::from(StoreError::Failed { reason: INJECTED.to_owned() });
        match self.faults {
            Some((every, Fault::Before)) if self.count % every == 0 => {
                // The work is done, and then lost.
                self.inner.transaction(|tx| work(tx).and_then(|_| Err(broken())))
            }
            Some((every, Fault::After)) if self.count % every == 0 => {
                self.inner.transaction(work)?;
                Err(broken())
            }
            _ => self.inner.transaction(work),
        }
    }
}

/// What a driver does: try again until it is heard of.
fn again<T>(mut attempt: impl FnMut() -> Result<T, EngineError>) -> T {
    for _ in 0..10 {
        match attempt() {
            Ok(value) => return value,
            Err(EngineError::Store(StoreError::Failed { reason })) if reason == INJECTED => {}
            Err(other) => panic!("{other:?}"),
        }
    }
    panic!("it never gets through");
}

const NOW: UnixMillis = UnixMillis::new(1_700_000_000_000);
const INCARNATION: Incarnation = Incarnation::from_bytes([3; 16]);

fn relay_address() -> RelayAddress {
    RelayAddress::new("relay.example", 4433, RootFingerprint::from_bytes([9; 32])).unwrap()
}

fn person(name: &str, seed: u64) -> Person {
    let join = JoinAddress::new(relay_address(), AdmissionToken::from_bytes([1; 32]));
    Engine::create(FaultyStore::default(), TestRng(seed), NOW, name, &join).unwrap()
}

#[derive(Default)]
struct Mailbox {
    queue: Vec<Vec<u8>>,
    acknowledged: u64,
}

/// What a relay does, as far as engines notice.
#[derive(Default)]
struct Relay {
    mailboxes: BTreeMap<MailboxId, Mailbox>,
    capabilities: BTreeMap<WriteCapabilityHash, MailboxId>,
    depots: BTreeMap<undertone_wire::DepotId, (Vec<Vec<u8>>, Option<Vec<u8>>)>,
}

impl Relay {
    fn make(&mut self, mailbox: MailboxId, capabilities: &[WriteCapabilityHash]) {
        self.mailboxes.entry(mailbox).or_default();
        for hash in capabilities {
            self.capabilities.insert(*hash, mailbox);
        }
    }

    fn state(&self, mailbox: &MailboxId) -> Option<MailboxState> {
        let mailbox = self.mailboxes.get(mailbox)?;
        Some(MailboxState {
            incarnation: INCARNATION,
            acknowledged: Floor::new(mailbox.acknowledged),
            expired: Floor::NONE,
            head: Floor::new(mailbox.queue.len() as u64),
            bytes: 0,
            limits: MailboxLimits { envelopes: 1, bytes: 1 },
        })
    }

    fn deliver(&mut self, delivery: &Delivery) {
        let mailbox = self.capabilities[&delivery.capability.hash()];
        let queue = &mut self.mailboxes.get_mut(&mailbox).unwrap().queue;
        if !queue.contains(&delivery.envelope) {
            queue.push(delivery.envelope.clone());
        }
    }

    /// Sends all that waits, in order.
    fn send(&mut self, from: &mut Person) -> u64 {
        for plan in again(|| from.pending_mailboxes()) {
            self.make(plan.secret.mailbox(), &plan.capabilities);
            again(|| from.mailbox_created(&plan.secret.mailbox(), NOW));
        }
        let mut sent = 0;
        for contact in again(|| from.contacts_to_send_to()) {
            while let Some(delivery) = again(|| from.next_delivery(contact)) {
                self.deliver(&delivery);
                again(|| from.accepted(contact, delivery.place, NOW));
                sent += 1;
            }
        }
        sent
    }

    /// Pushes all that waits, acknowledged or not.
    fn push(&mut self, to: &mut Person) -> Vec<Received> {
        let mut all = Vec::new();
        for subscription in again(|| to.subscriptions()) {
            let id = subscription.secret.mailbox();
            let Some(mailbox) = self.mailboxes.get_mut(&id) else { continue };
            for (at, envelope) in mailbox.queue.iter().enumerate() {
                let seq = Seq::new(at as u64 + 1);
                if Floor::new(mailbox.acknowledged).covers(seq) {
                    continue;
                }
                let received = again(|| to.receive(&id, INCARNATION, seq, envelope, NOW)).unwrap();
                mailbox.acknowledged = received.acknowledgement.floor.get();
                all.push(received);
            }
        }
        again(|| to.flush_acknowledgements(NOW));
        all
    }

    /// Until nobody has anything to say.
    fn settle(&mut self, people: &mut [&mut Person]) {
        for _ in 0..20 {
            let mut sent = 0;
            for person in people.iter_mut() {
                sent += self.send(person);
            }
            for person in people.iter_mut() {
                self.push(person);
            }
            if sent == 0 {
                return;
            }
        }
        panic!("they never stop talking");
    }

    fn invite(&mut self, person: &mut Person, kind: LinkKind) -> Link {
        let plan = person.prepare_link(kind, None, NOW).unwrap();
        self.make(plan.mailbox.mailbox(), &plan.capabilities);
        self.depots.insert(plan.depot, (plan.one_time, plan.last_resort));
        person.activate_link(plan.number).unwrap()
    }

    fn take(&mut self, plan: &AddPlan) -> Option<Vec<u8>> {
        let (one_time, last_resort) = self.depots.get_mut(&plan.fetch.depot()).unwrap();
        if one_time.is_empty() {
            return last_resort.clone();
        }
        Some(one_time.remove(0))
    }

    fn add(&mut self, person: &mut Person, link: &Link) -> ContactId {
        let plan = person.begin_add(link, None).unwrap();
        self.make(plan.mailbox.secret.mailbox(), &plan.mailbox.capabilities);
        let sealed = self.take(&plan).unwrap();
        person.finish_add(link, None, &sealed, NOW).unwrap()
    }
}

fn texts(person: &mut Person, contact: ContactId) -> Vec<String> {
    person
        .history(contact, None, 1000)
        .unwrap()
        .into_iter()
        .filter_map(|message| match message.kind {
            MessageKind::Text { text } => Some(text),
            _ => None,
        })
        .collect()
}

fn events(person: &mut Person) -> Vec<EventKind> {
    let mut place = EventSeq::START;
    let mut all = Vec::new();
    while let Some(Event { seq, kind }) = person.event_after(place).unwrap() {
        assert_eq!(seq.get(), place.get() + 1);
        place = seq;
        all.push(kind);
    }
    all
}

fn only(person: &mut Person) -> ContactId {
    let contacts = person.contacts().unwrap();
    assert_eq!(contacts.len(), 1, "{contacts:?}");
    contacts[0].id
}

fn state(person: &mut Person, id: MessageId) -> MessageState {
    person.message(id).unwrap().state
}

/// Alice has used Bob's single-use link, and both know each other.
fn acquainted() -> (Relay, Person, Person) {
    let (mut relay, mut alice, mut bob) = (Relay::default(), person("Alice", 1), person("Bob", 2));
    let link = relay.invite(&mut bob, LinkKind::SingleUse);
    relay.add(&mut alice, &link);
    relay.settle(&mut [&mut alice, &mut bob]);
    (relay, alice, bob)
}

#[test]
fn two_people_meet_over_a_link_and_talk() {
    let (mut relay, mut alice, mut bob) = acquainted();
    let (bob_at_alice, alice_at_bob) = (only(&mut alice), only(&mut bob));
    assert_eq!(alice.contact(bob_at_alice).unwrap().name, "Bob");
    assert_eq!(bob.contact(alice_at_bob).unwrap().name, "Alice");
    for contact in [alice.contact(bob_at_alice).unwrap(), bob.contact(alice_at_bob).unwrap()] {
        assert_eq!(contact.state, ContactState::Active);
    }
    assert_eq!(
        alice.safety_number(bob_at_alice).unwrap(),
        bob.safety_number(alice_at_bob).unwrap()
    );

    let mut sent = Vec::new();
    for round in 0..12 {
        sent.push(alice.queue_text(bob_at_alice, &format!("a{round}"), NOW).unwrap());
        let answer = bob.queue_text(alice_at_bob, &format!("b{round}"), NOW).unwrap();
        relay.settle(&mut [&mut alice, &mut bob]);
        assert_eq!(state(&mut bob, answer), MessageState::Delivered);
    }
    for id in sent {
        assert_eq!(state(&mut alice, id), MessageState::Delivered);
    }
    let heard = texts(&mut bob, alice_at_bob);
    assert_eq!(heard.iter().filter(|t| t.starts_with('a')).count(), 12);
    assert_eq!(texts(&mut alice, bob_at_alice).len(), 24);
}

#[test]
fn after_the_first_reply_each_writes_into_a_mailbox_of_the_others_own() {
    let (mut relay, mut alice, bob) = acquainted();
    let (contact, mut bob) = (only(&mut alice), bob);
    let link_mailbox = bob
        .subscriptions()
        .unwrap()
        .into_iter()
        .map(|s| s.secret.mailbox())
        .find(|id| relay.mailboxes[id].queue.len() > 0 && id_is_link(&mut bob, id))
        .unwrap();
    let before = relay.mailboxes[&link_mailbox].queue.len();
    alice.queue_text(contact, "to your own", NOW).unwrap();
    relay.settle(&mut [&mut alice, &mut bob]);
    assert_eq!(relay.mailboxes[&link_mailbox].queue.len(), before);
}

fn id_is_link(person: &mut Person, id: &MailboxId) -> bool {
    person
        .store
        .transaction(|tx| {
            let row: rows::MailboxRow = rows::must(tx, Table::Mailboxes, id.as_bytes())?;
            Ok::<_, StoreError>(matches!(row.purpose, rows::Purpose::Link(_)))
        })
        .unwrap()
}

#[test]
fn what_is_queued_while_the_other_is_away_comes_once_and_in_order() {
    let (mut relay, mut alice, mut bob) = acquainted();
    let contact = only(&mut alice);
    let expected: Vec<String> = (0..40).map(|n| format!("message {n}")).collect();
    for text in &expected {
        alice.queue_text(contact, text, NOW).unwrap();
    }
    relay.send(&mut alice);
    let at_bob = only(&mut bob);
    // The relay pushes everything twice, as if the first acknowledgements had been lost.
    let floors: Vec<u64> = relay.mailboxes.values().map(|m| m.acknowledged).collect();
    relay.push(&mut bob);
    for (mailbox, floor) in relay.mailboxes.values_mut().zip(floors) {
        mailbox.acknowledged = floor;
    }
    relay.push(&mut bob);
    assert_eq!(texts(&mut bob, at_bob), expected);
}

#[test]
fn repeats_under_new_positions_are_recognised_by_the_ratchet() {
    let (mut relay, mut alice, mut bob) = acquainted();
    let contact = only(&mut alice);
    alice.queue_text(contact, "once", NOW).unwrap();
    relay.send(&mut alice);
    // A restored or hostile relay puts every envelope it ever had behind the others.
    for mailbox in relay.mailboxes.values_mut() {
        let again = mailbox.queue.clone();
        mailbox.queue.extend(again);
    }
    relay.push(&mut bob);
    relay.push(&mut alice);
    let at_bob = only(&mut bob);
    assert_eq!(texts(&mut bob, at_bob), ["once"]);
    let told = events(&mut bob);
    let strange = |e: &&EventKind| {
        matches!(
            e,
            EventKind::LinkUsedTwice { .. }
                | EventKind::EnvelopeParked { .. }
                | EventKind::Reset { .. }
        )
    };
    assert_eq!(told.iter().find(strange), None);
}

#[test]
fn the_second_use_of_a_bundle_is_told_and_accepted_from_nobody() {
    let (mut relay, mut alice, mut bob) = (Relay::default(), person("Alice", 1), person("Bob", 2));
    let mut mallory = person("Mallory", 3);
    let link = relay.invite(&mut bob, LinkKind::SingleUse);
    // A relay that hands the one bundle out twice, to one who has seen the link.
    let depot = relay.depots.clone_bundles();
    relay.add(&mut alice, &link);
    relay.depots.restore(depot);
    relay.add(&mut mallory, &link);
    relay.settle(&mut [&mut alice, &mut bob, &mut mallory]);
    let used_twice = |e: &&EventKind| matches!(e, EventKind::LinkUsedTwice { .. });
    assert!(events(&mut bob).iter().any(|e| used_twice(&e)));
    assert_eq!(bob.contacts().unwrap().len(), 1);
    assert_eq!(bob.contacts().unwrap()[0].name, "Alice");
}

trait Bundles {
    fn clone_bundles(&self) -> Vec<Vec<u8>>;
    fn restore(&mut self, bundles: Vec<Vec<u8>>);
}

impl Bundles for BTreeMap<undertone_wire::DepotId, (Vec<Vec<u8>>, Option<Vec<u8>>)> {
    fn clone_bundles(&self) -> Vec<Vec<u8>> {
        self.values().next().unwrap().0.clone()
    }

    fn restore(&mut self, bundles: Vec<Vec<u8>>) {
        self.values_mut().next().unwrap().0 = bundles;
    }
}

#[test]
fn a_reusable_link_serves_many_also_from_its_last_resort() {
    let (mut relay, mut bob) = (Relay::default(), person("Bob", 2));
    let link = relay.invite(&mut bob, LinkKind::Reusable);
    for (one_time, _) in relay.depots.values_mut() {
        one_time.truncate(2);
    }
    let mut guests: Vec<Person> =
        (0..4_u64).map(|n| person(&format!("Guest {n}"), 10 + n)).collect();
    for guest in &mut guests {
        relay.add(guest, &link);
        relay.settle(&mut [guest, &mut bob]);
    }
    let names: Vec<String> = bob.contacts().unwrap().into_iter().map(|c| c.name).collect();
    assert_eq!(names, ["Guest 0", "Guest 1", "Guest 2", "Guest 3"]);
    for guest in &mut guests {
        let contact = only(guest);
        guest.queue_text(contact, "hello", NOW).unwrap();
        relay.settle(&mut [guest, &mut bob]);
    }
    for contact in bob.contacts().unwrap() {
        assert_eq!(texts(&mut bob, contact.id), ["hello"], "{}", contact.name);
    }
}

#[test]
fn both_start_at_once_and_settle_on_one_session() {
    let (mut relay, mut alice, mut bob) = (Relay::default(), person("Alice", 1), person("Bob", 2));
    let to_bob = relay.invite(&mut bob, LinkKind::SingleUse);
    let to_alice = relay.invite(&mut alice, LinkKind::SingleUse);
    let at_alice = relay.add(&mut alice, &to_bob);
    let at_bob = relay.add(&mut bob, &to_alice);
    alice.queue_text(at_alice, "a first", NOW).unwrap();
    bob.queue_text(at_bob, "b first", NOW).unwrap();
    // Both greetings cross.
    relay.send(&mut alice);
    relay.send(&mut bob);
    relay.push(&mut alice);
    relay.push(&mut bob);
    relay.settle(&mut [&mut alice, &mut bob]);
    for round in 0..5 {
        alice.queue_text(at_alice, &format!("a{round}"), NOW).unwrap();
        bob.queue_text(at_bob, &format!("b{round}"), NOW).unwrap();
        relay.settle(&mut [&mut alice, &mut bob]);
    }
    assert_eq!((only(&mut alice), only(&mut bob)), (at_alice, at_bob));
    assert_eq!(texts(&mut alice, at_alice).len(), 12);
    assert_eq!(texts(&mut bob, at_bob).len(), 12);
    let chosen = |person: &mut Person, contact| {
        person
            .store
            .transaction(|tx| {
                let row = contacts::load_contact(tx, contact)?;
                let known = row.devices[0].sessions.iter().filter(|s| s.peer_has);
                Ok::<_, EngineError>(known.map(|s| s.id).min())
            })
            .unwrap()
    };
    assert!(chosen(&mut alice, at_alice).is_some());
    assert_eq!(chosen(&mut alice, at_alice), chosen(&mut bob, at_bob));
}

#[test]
fn an_attempt_that_breaks_off_goes_on_with_the_same_take() {
    let (mut relay, mut alice, mut bob) = (Relay::default(), person("Alice", 1), person("Bob", 2));
    let link = relay.invite(&mut bob, LinkKind::SingleUse);
    let first = alice.begin_add(&link, None).unwrap();
    let again = alice.begin_add(&link, None).unwrap();
    assert_eq!(first.take, again.take);
    assert_eq!(first.mailbox.secret.mailbox(), again.mailbox.secret.mailbox());
    assert_eq!(bob.begin_add(&link, None).err(), Some(EngineError::OwnLink));
    assert!(matches!(
        alice.begin_add(&link, Some("a\u{7}b")).err(),
        Some(EngineError::NameInvalid { .. })
    ));
}

#[test]
fn a_bundle_that_is_not_the_link_makers_is_refused_and_nothing_is_kept() {
    let (mut relay, mut alice, mut bob) = (Relay::default(), person("Alice", 1), person("Bob", 2));
    let link = relay.invite(&mut bob, LinkKind::SingleUse);
    let plan = alice.begin_add(&link, None).unwrap();
    let mut sealed = relay.take(&plan).unwrap();
    sealed[100] ^= 1;
    let refused = alice.finish_add(&link, None, &sealed, NOW);
    assert!(matches!(refused, Err(EngineError::Bundle(_))), "{refused:?}");
    assert!(alice.contacts().unwrap().is_empty());
    sealed[100] ^= 1;
    alice.finish_add(&link, None, &sealed, NOW).unwrap();
}

#[test]
fn junk_is_parked_within_bounds_and_disturbs_nothing() {
    let (mut relay, mut alice, mut bob) = acquainted();
    let contact = only(&mut alice);
    let junk = |n: u64| -> Vec<u8> {
        let mut bytes = vec![0; 1024];
        TestRng(n).try_fill_bytes(&mut bytes).unwrap();
        bytes
    };
    for mailbox in relay.mailboxes.values_mut() {
        mailbox.queue.extend((0..300).map(junk));
    }
    alice.queue_text(contact, "still here", NOW).unwrap();
    relay.settle(&mut [&mut alice, &mut bob]);
    let at_bob = only(&mut bob);
    assert_eq!(texts(&mut bob, at_bob), ["still here"]);
    let parked = bob
        .store
        .transaction(|tx| tx.scan(Table::Parked, &[], None, crate::store::Order::Ascending, 9999))
        .unwrap();
    // Two mailboxes of Bob's were filled, each to its bound.
    assert_eq!(parked.len(), 2 * 256);
}

#[test]
fn a_restored_store_is_noticed_before_anything_is_sealed() {
    let (mut relay, mut alice, mut bob) = acquainted();
    let at_bob = only(&mut bob);
    let at_alice = only(&mut alice);
    let old = bob.store.snapshot();
    alice.queue_text(at_alice, "seen", NOW).unwrap();
    relay.settle(&mut [&mut alice, &mut bob]);
    let mailbox = bob.mailbox_of(at_bob).unwrap().unwrap().secret.mailbox();
    let now = relay.state(&mailbox);
    assert_eq!(bob.check_floor(&mailbox, now.as_ref()).unwrap(), FloorVerdict::Sound);

    let mut bob = Engine::open(old, TestRng(99)).unwrap();
    assert_eq!(bob.check_floor(&mailbox, now.as_ref()).unwrap(), FloorVerdict::RolledBack);
    bob.queue_text(at_bob, "must not be sealed", NOW).unwrap();
    assert!(bob.next_delivery(at_bob).unwrap().is_none());
    assert_eq!(bob.contact(at_bob).unwrap().state, ContactState::RolledBack);
    assert!(events(&mut bob).contains(&EventKind::StoreRolledBack { contact: at_bob }));
}

#[test]
fn a_retry_sends_the_same_bytes() {
    let (_, mut alice, _) = acquainted();
    let contact = only(&mut alice);
    alice.queue_text(contact, "same", NOW).unwrap();
    let first = alice.next_delivery(contact).unwrap().unwrap();
    let mut reopened = Engine::open(alice.into_store(), TestRng(1234)).unwrap();
    let again = reopened.next_delivery(contact).unwrap().unwrap();
    assert_eq!(first.envelope, again.envelope);
}

#[test]
fn an_acknowledgement_may_overtake_the_relays_answer() {
    let (mut relay, mut alice, mut bob) = acquainted();
    let contact = only(&mut alice);
    let id = alice.queue_text(contact, "quick", NOW).unwrap();
    let delivery = alice.next_delivery(contact).unwrap().unwrap();
    relay.deliver(&delivery);
    relay.push(&mut bob);
    relay.send(&mut bob);
    relay.push(&mut alice);
    assert_eq!(state(&mut alice, id), MessageState::Delivered);
    alice.accepted(contact, delivery.place, NOW).unwrap();
    assert_eq!(state(&mut alice, id), MessageState::Delivered);
    assert!(alice.next_delivery(contact).unwrap().is_none());
}

#[test]
fn what_nobody_fetched_within_the_retention_expires() {
    let (mut relay, mut alice, _) = acquainted();
    let contact = only(&mut alice);
    let id = alice.queue_text(contact, "too late", NOW).unwrap();
    relay.send(&mut alice);
    let days = |n: u64| UnixMillis::new(NOW.get() + n * 86_400_000);
    alice.expire(days(30)).unwrap();
    assert_eq!(state(&mut alice, id), MessageState::Accepted);
    alice.expire(days(31)).unwrap();
    assert_eq!(state(&mut alice, id), MessageState::Expired);
}

#[test]
fn a_damaged_row_is_reported_and_left_as_it_is() {
    let (_, mut alice, _) = acquainted();
    let contact = only(&mut alice);
    let key = rows::key1(contact.get());
    alice.store.transaction(|tx| tx.put(Table::Contacts, &key, b"\xff\xff\xff")).unwrap();
    let refused = alice.queue_text(contact, "x", NOW);
    assert!(matches!(refused, Err(EngineError::Store(StoreError::Corrupt { .. }))));
    let left = alice.store.transaction(|tx| tx.get(Table::Contacts, &key)).unwrap();
    assert_eq!(left.unwrap().as_slice(), b"\xff\xff\xff");
}

#[test]
fn contacts_are_found_by_name_number_and_fingerprint() {
    let (mut relay, mut bob) = (Relay::default(), person("Bob", 2));
    let link = relay.invite(&mut bob, LinkKind::Reusable);
    for seed in [5, 6] {
        let mut twin = person("Twin", seed);
        relay.add(&mut twin, &link);
        relay.settle(&mut [&mut twin, &mut bob]);
    }
    let contacts = bob.contacts().unwrap();
    assert!(matches!(
        bob.find_contact("twin"),
        Err(EngineError::AmbiguousContact(found)) if found.len() == 2
    ));
    bob.rename(contacts[1].id, "Other").unwrap();
    assert_eq!(bob.find_contact("TWIN").unwrap().id, contacts[0].id);
    assert_eq!(bob.find_contact("2").unwrap().id, contacts[1].id);
    let digits = contacts[0].account.short();
    assert_eq!(bob.find_contact(&digits).unwrap().id, contacts[0].id);
    assert_eq!(bob.find_contact("nobody"), Err(EngineError::UnknownContact));
    assert!(bob.rename(contacts[0].id, " ").is_err());
}

#[test]
fn cursors_are_durable_and_never_go_back() {
    let (_, mut alice, _) = acquainted();
    assert_eq!(alice.cursor("cli").unwrap(), EventSeq::START);
    alice.acknowledge_event("cli", EventSeq::new(1)).unwrap();
    alice.acknowledge_event("cli", EventSeq::START).unwrap();
    let mut again = Engine::open(alice.into_store(), TestRng(5)).unwrap();
    assert_eq!(again.cursor("cli").unwrap(), EventSeq::new(1));
    assert_eq!(again.event_after(EventSeq::new(1)).unwrap().unwrap().seq, EventSeq::new(2));
}

#[test]
fn a_profile_is_made_once_and_a_newer_store_is_refused() {
    let alice = person("Alice", 1);
    let account = alice.account();
    let mut store = alice.into_store();
    let join = JoinAddress::new(relay_address(), AdmissionToken::from_bytes([1; 32]));
    let again = Engine::create(store.snapshot(), TestRng(4), NOW, "Eve", &join);
    assert_eq!(again.err(), Some(EngineError::ProfileExists));
    assert_eq!(Engine::open(store.snapshot(), TestRng(4)).unwrap().account(), account);
    store.transaction(|tx| save(tx, Table::Meta, SCHEMA, &(SCHEMA_VERSION + 1))).unwrap();
    assert!(matches!(
        Engine::open(store, TestRng(4)).err(),
        Some(EngineError::SchemaTooNew { .. })
    ));
    assert_eq!(
        Engine::open(FaultyStore::default(), TestRng(4)).err(),
        Some(EngineError::ProfileAbsent)
    );
}

/// Whichever transaction breaks, and on whichever side of its commit: every text arrives, once, in
/// order, and is known to have arrived.
#[test]
fn no_broken_transaction_loses_or_repeats_a_message() {
    for every in 2..8 {
        for fault in [Fault::Before, Fault::After] {
            let (mut relay, mut alice, mut bob) = acquainted();
            let (at_alice, at_bob) = (only(&mut alice), only(&mut bob));
            let mut sent = Vec::new();
            for round in 0..6 {
                alice.store.faults = None;
                bob.store.faults = None;
                sent.push((format!("a{round}"), queue(&mut alice, at_alice, "a", round)));
                let answer = queue(&mut bob, at_bob, "b", round);
                alice.store.faults = Some((every, fault));
                bob.store.faults = Some((every + 1, fault));
                relay.settle(&mut [&mut alice, &mut bob]);
                bob.store.faults = None;
                assert_eq!(state(&mut bob, answer), MessageState::Delivered);
            }
            alice.store.faults = None;
            for (_, id) in &sent {
                assert_eq!(state(&mut alice, *id), MessageState::Delivered, "{every} {fault:?}");
            }
            let heard = texts(&mut bob, at_bob);
            let heard: Vec<_> = heard.into_iter().filter(|text| text.starts_with('a')).collect();
            let said: Vec<_> = sent.into_iter().map(|(text, _)| text).collect();
            assert_eq!(heard, said, "{every} {fault:?}");
            assert_eq!(texts(&mut alice, at_alice).len(), 12, "{every} {fault:?}");
        }
    }
}

fn queue(person: &mut Person, contact: ContactId, who: &str, round: u32) -> MessageId {
    person.queue_text(contact, &format!("{who}{round}"), NOW).unwrap()
}
