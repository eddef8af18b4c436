#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation
)]
//! Two and more engines over stores in memory, with a relay of a few lines between them.

mod frozen;
mod keeping;
mod meeting;
mod routes;
mod talking;

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
use crate::store::{MemoryStore, StoreError};

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
            Some((every, Fault::Before)) if self.count.is_multiple_of(every) => {
                // The work is done, and then lost.
                self.inner.transaction(|tx| work(tx).and_then(|_| Err(broken())))
            }
            Some((every, Fault::After)) if self.count.is_multiple_of(every) => {
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

/// One-time bundles and the last resort.
type Depot = (Vec<Vec<u8>>, Option<Vec<u8>>);

/// What a relay does, as far as engines notice.
#[derive(Default)]
struct Relay {
    mailboxes: BTreeMap<MailboxId, Mailbox>,
    capabilities: BTreeMap<WriteCapabilityHash, MailboxId>,
    depots: BTreeMap<undertone_wire::DepotId, Depot>,
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
            again(|| from.mailbox_created(&plan.secret.mailbox()));
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
