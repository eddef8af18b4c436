#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation
)]
//! Two and more engines over stores in memory, with a relay of a few lines between them.

mod backup;
mod changes;
mod disappearing;
mod frozen;
mod healing;
mod health;
mod isolation;
mod keeping;
mod layout;
mod log;
mod meeting;
mod moves;
mod people;
mod receipts;
mod replaced;
mod routes;
mod said;
mod simulation;
mod states;
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
    /// The one transaction of this number breaks.
    once: Option<(u64, Fault)>,
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
        if let Some((at, fault)) = self.once
            && self.count >= at
        {
            self.once = None;
            return match fault {
                Fault::Before => self.inner.transaction(|tx| work(tx).and_then(|_| Err(broken()))),
                Fault::After => {
                    self.inner.transaction(work)?;
                    Err(broken())
                }
            };
        }
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

    /// True if the relay knows the capability.
    fn deliver(&mut self, delivery: &Delivery) -> bool {
        let Some(mailbox) = self.capabilities.get(&delivery.capability.hash()).copied() else {
            return false;
        };
        let queue = &mut self.mailboxes.get_mut(&mailbox).unwrap().queue;
        if !queue.contains(&delivery.envelope) {
            queue.push(delivery.envelope.clone());
        }
        true
    }

    fn delete_mailbox(&mut self, mailbox: MailboxId) {
        self.mailboxes.remove(&mailbox);
        self.capabilities.retain(|_, of| *of != mailbox);
    }

    /// What a driver does beside sending and receiving: chores, moves, reset links, resets.
    fn care(&mut self, person: &mut Person, now: UnixMillis) {
        for chore in again(|| person.chores()) {
            match &chore.what {
                ChoreRequest::DeleteMailbox(secret) => self.delete_mailbox(secret.mailbox()),
                ChoreRequest::DeleteDepot(_, depot) => drop(self.depots.remove(depot)),
                ChoreRequest::Revoke(_, hash) => drop(self.capabilities.remove(hash)),
            }
            again(|| person.chore_done(chore.number));
        }
        again(|| person.begin_moves(now));
        for plan in again(|| person.pending_mailboxes()) {
            self.make(plan.secret.mailbox(), &plan.capabilities);
            again(|| person.mailbox_created(&plan.secret.mailbox(), now));
        }
        for old in again(|| person.retired_mailboxes(now)) {
            let mailbox = old.secret.mailbox();
            let state = self.state(&mailbox);
            again(|| person.close_mailbox(&mailbox, state.as_ref(), now));
        }
        for contact in again(|| person.due_reset_links()) {
            let plan = again(|| person.prepare_reset_link(contact, now));
            self.make(plan.mailbox.mailbox(), &plan.capabilities);
            self.depots.insert(plan.depot, (plan.one_time, plan.last_resort));
            again(|| person.activate_link(plan.number, now));
        }
        for due in again(|| person.due_refills(now)) {
            let left = self.depots.get(&due.depot).map_or(0, |depot| depot.0.len());
            let plan = again(|| person.prepare_refill(due.number, left, now));
            self.make(plan.mailbox.mailbox(), &plan.capabilities);
            let depot = self.depots.entry(plan.depot).or_default();
            if plan.mode == undertone_wire::frame::FillMode::Replace {
                *depot = Depot::default();
            }
            depot.0.extend(plan.one_time);
            depot.1 = plan.last_resort.or(depot.1.take());
            again(|| person.refilled(due.number));
        }
        for plan in again(|| person.due_resets(now)) {
            match self.fetch(&plan.fetch.depot()) {
                Some(sealed) => {
                    again(|| person.finish_reset(plan.contact, &sealed, now));
                }
                None => again(|| person.reset_refused(plan.contact)),
            }
        }
    }

    /// Compares all floors, as a driver does before it seals or subscribes.
    fn check(&self, person: &mut Person) -> bool {
        let mut sound = true;
        for one in again(|| person.subscriptions()) {
            let mailbox = one.secret.mailbox();
            let state = self.state(&mailbox);
            let verdict = again(|| person.check_floor(&mailbox, state.as_ref()));
            sound &= verdict == FloorVerdict::Sound;
        }
        sound
    }

    /// Sends all that waits, in order.
    fn send(&mut self, from: &mut Person) -> u64 {
        self.care(from, NOW);
        for plan in again(|| from.pending_mailboxes()) {
            self.make(plan.secret.mailbox(), &plan.capabilities);
            again(|| from.mailbox_created(&plan.secret.mailbox(), NOW));
        }
        let mut sent = 0;
        for contact in again(|| from.contacts_to_send_to()) {
            while let Some(delivery) = again(|| from.next_delivery(contact)) {
                if self.deliver(&delivery) {
                    again(|| from.accepted(delivery.id, NOW));
                    sent += 1;
                } else if !again(|| from.refused(delivery.id, crate::message::Hold::AddressUnknown))
                {
                    break;
                }
            }
        }
        sent
    }

    /// Pushes all that waits, acknowledged or not, and lets the person say at once what came.
    fn push(&mut self, to: &mut Person) -> Vec<Received> {
        let all = self.hand_over(to);
        again(|| to.flush_acknowledgements(NOW));
        all
    }

    /// Pushes all that waits; what is owed for it is still owed.
    fn hand_over(&mut self, to: &mut Person) -> Vec<Received> {
        let mut all = Vec::new();
        let mut subscriptions = again(|| to.subscriptions());
        subscriptions.sort_by_key(|one| one.phase);
        for subscription in subscriptions {
            let id = subscription.secret.mailbox();
            let Some(mailbox) = self.mailboxes.get_mut(&id) else { continue };
            for (at, envelope) in mailbox.queue.iter().enumerate() {
                let seq = Seq::new(at as u64 + 1);
                if Floor::new(mailbox.acknowledged).covers(seq) {
                    continue;
                }
                let Some(received) = again(|| to.receive(&id, INCARNATION, seq, envelope, NOW))
                else {
                    continue;
                };
                mailbox.acknowledged = received.acknowledgement.floor.get();
                all.push(received);
            }
        }
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
        person.activate_link(plan.number, NOW).unwrap()
    }

    fn take(&mut self, plan: &AddPlan) -> Option<Vec<u8>> {
        self.fetch(&plan.fetch.depot())
    }

    fn fetch(&mut self, depot: &undertone_wire::DepotId) -> Option<Vec<u8>> {
        let (one_time, last_resort) = self.depots.get_mut(depot)?;
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

/// The tables in which this stands.
fn rows_with(person: &mut Person, needle: &[u8]) -> Vec<Table> {
    let mut found = Vec::new();
    for table in Table::ALL {
        let scan = |tx: &mut dyn crate::store::Transaction| {
            tx.scan(*table, &[], None, crate::store::Order::Ascending, usize::MAX)
        };
        for row in person.store.transaction(scan).unwrap() {
            if row.value.windows(needle.len()).any(|part| part == needle) {
                found.push(*table);
            }
        }
    }
    found
}

/// As if this content of the contact had been opened.
fn take(person: &mut Person, contact: ContactId, content: &[u8]) -> handle::Effect {
    take_at(person, contact, content, NOW)
}

fn take_at(
    person: &mut Person,
    contact: ContactId,
    content: &[u8],
    now: UnixMillis,
) -> handle::Effect {
    let account = *person.me.account().as_bytes();
    let rng = &mut person.rng;
    person
        .store
        .transaction(|tx| {
            handle::handle(tx, &mut handle::Here { rng, now, account }, contact, content)
        })
        .unwrap()
}

fn texts(person: &mut Person, contact: ContactId) -> Vec<String> {
    person
        .history(contact, None, 10_000)
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
    while let Some(Event { seq, kind, .. }) = person.event_after(place).unwrap() {
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
