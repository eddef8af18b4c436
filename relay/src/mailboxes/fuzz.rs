//! Subscriptions from any bytes, against a model that knows nothing but what the specification says:
//! what the fuzz target `mailbox_operations` in `relay/fuzz` runs, and what a test replays with every
//! input that was kept.
//!
//! Three connections subscribe to three mailboxes, take turns, acknowledge, change their credit, leave and
//! come again, while envelopes come in and mailboxes are deleted. What was fetched for a connection is
//! pushed only some steps later, so that everything can happen in between. The rest of the path is the real
//! one: the hub, the subscribers, the rules of a mailbox, a store and its reader.
//!
//! Compiled for tests and fuzzing only.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation
)]

use std::collections::VecDeque;
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use undertone_wire::frame::{Acknowledgement, EndReason, MailboxKind, MailboxState, Push};
use undertone_wire::limits::MAX_CREDIT;
use undertone_wire::{Day, Floor, MailboxId, ReadKey, Seq, WriteCapability};

use super::{Begun, ConnectionId, Hub, Next, Proof, Subscriber};
use crate::limits::Outgoing;
use crate::store::{Command, MemoryStore, Outcome, Queued, Reader, Store, TokenClass};

const MAILBOXES: usize = 3;
const CONNECTIONS: usize = 3;
const TOKEN: [u8; 32] = [9; 32];
const TODAY: Day = Day::new(20_000);

/// Steps in a run: what is found is found by few.
const STEPS: usize = 400;

fn key(mailbox: usize) -> ReadKey {
    ReadKey::from_bytes([mailbox as u8; 32])
}

fn id(mailbox: usize) -> MailboxId {
    key(mailbox).mailbox()
}

/// What a connection has of a mailbox, by the specification.
#[derive(Clone, Copy, Default)]
struct Reading {
    /// The subscription that it had last holds.
    holds: bool,
    /// It was subscribed to on this connection.
    ever: bool,
    pushed: u64,
    floor: u64,
    /// Pushed, and in the mailbox until it is acknowledged here: beside what others acknowledged.
    out: u64,
}

/// What was fetched and is not pushed yet.
struct Fetched {
    mailbox: usize,
    begun: Begun,
    previous: Seq,
    found: VecDeque<Queued>,
    /// There may be more than that.
    more: bool,
    /// The credit when it was fetched.
    credit: u64,
}

/// A connection with its pump, and what it should be told.
struct Client {
    subscriber: Arc<Subscriber>,
    fetched: Option<Fetched>,
    reading: [Reading; MAILBOXES],
    ended: VecDeque<(usize, EndReason)>,
    credit: u64,
}

impl Client {
    fn new(number: u64) -> Self {
        Self {
            subscriber: Arc::new(Subscriber::new(
                ConnectionId(number),
                Outgoing::default().ready(),
            )),
            fetched: None,
            reading: [Reading::default(); MAILBOXES],
            ended: VecDeque::new(),
            credit: 0,
        }
    }

    /// Pushed and not acknowledged, of what it still has.
    fn in_flight(&self) -> u64 {
        self.reading.iter().filter(|r| r.holds).map(|r| r.out).sum()
    }

    /// The same, and what others acknowledged in between.
    fn behind_floors(&self) -> u64 {
        self.reading.iter().filter(|r| r.holds).map(|r| r.pushed.saturating_sub(r.floor)).sum()
    }

    fn lose(&mut self, mailbox: usize, reason: EndReason) {
        if std::mem::take(&mut self.reading[mailbox].holds) {
            self.ended.push_back((mailbox, reason));
        }
    }
}

struct World {
    hub: Hub,
    store: MemoryStore,
    reader: Box<dyn Reader>,
    clients: Vec<Client>,
    numbers: u64,
    envelopes: u32,
}

impl World {
    fn new() -> Self {
        let mut store = MemoryStore::new().unwrap();
        store.commit(TODAY, &[Command::AddToken(TOKEN, TokenClass::Unlimited)]).unwrap();
        let reader = store.reader().unwrap();
        let clients = (1..=CONNECTIONS as u64).map(Client::new).collect();
        let numbers = CONNECTIONS as u64;
        let mut world = Self { hub: Hub::default(), store, reader, clients, numbers, envelopes: 0 };
        (0..MAILBOXES).for_each(|mailbox| world.create(mailbox));
        world
    }

    fn run(&mut self, command: Command) -> crate::store::Answer {
        self.store.commit(TODAY, &[command]).unwrap().remove(0)
    }

    fn create(&mut self, mailbox: usize) {
        let capabilities = vec![WriteCapability::from_bytes([mailbox as u8; 32]).hash()];
        let (key, kind) = (key(mailbox), MailboxKind::Queue);
        self.run(Command::CreateMailbox { key, token: TOKEN, kind, limits: None, capabilities })
            .unwrap();
    }

    fn state(&mut self, mailbox: usize) -> MailboxState {
        match self.run(Command::Status(id(mailbox))) {
            Ok(Outcome::Mailbox(state)) => state,
            other => panic!("{other:?}"),
        }
    }

    fn deliver(&mut self, mailbox: usize) {
        self.envelopes += 1;
        let envelope = self.envelopes.to_be_bytes().to_vec();
        let capability = WriteCapability::from_bytes([mailbox as u8; 32]).hash();
        // It may be full.
        let delivered = self.run(Command::Deliver { capability, envelope: envelope.clone() });
        if let Ok(Outcome::Delivered { new: Some(seq), .. }) = delivered {
            self.hub.arrived(id(mailbox), seq, envelope);
        }
    }

    fn subscribe(&mut self, client: usize, mailbox: usize, credit: u32) {
        let mark = self.hub.mark(id(mailbox));
        let state = self.state(mailbox);
        let floor = state.acknowledged.get();
        self.set_credit(client, credit);
        let subscriber = self.clients[client].subscriber.clone();
        self.hub.subscribe(&subscriber, &[(id(mailbox), state, mark)], Proof::Key);
        for (other, one) in self.clients.iter_mut().enumerate() {
            if other != client {
                one.lose(mailbox, EndReason::Replaced);
            }
        }
        let one = &mut self.clients[client];
        // What ended before is over: it has the mailbox again.
        one.ended.retain(|(ended, _)| *ended != mailbox);
        one.reading[mailbox] = Reading { holds: true, ever: true, pushed: floor, floor, out: 0 };
    }

    fn set_credit(&mut self, client: usize, credit: u32) {
        self.clients[client].subscriber.set_credit(credit);
        self.clients[client].credit = u64::from(credit.clamp(1, MAX_CREDIT));
    }

    fn acknowledge(&mut self, client: usize, mailbox: usize, floor: u64) {
        let has = self.clients[client].subscriber.has(id(mailbox));
        assert_eq!(has, self.clients[client].reading[mailbox].ever);
        if !has {
            return;
        }
        let incarnation = self.state(mailbox).incarnation;
        let floor = Floor::new(floor);
        let ack = Acknowledgement { mailbox: id(mailbox), incarnation, floor };
        if self.run(Command::Acknowledge(ack)).is_ok() {
            self.clients[client].subscriber.acknowledged(id(mailbox), floor);
            let reading = &mut self.clients[client].reading[mailbox];
            reading.floor = reading.floor.max(floor.get());
            reading.out = reading.out.min(reading.pushed.saturating_sub(reading.floor));
            reading.pushed = reading.pushed.max(reading.floor);
        }
    }

    fn delete(&mut self, mailbox: usize) {
        self.run(Command::DeleteMailbox(id(mailbox))).unwrap();
        self.hub.deleted(id(mailbox));
        self.clients.iter_mut().for_each(|one| one.lose(mailbox, EndReason::Deleted));
        self.create(mailbox);
    }

    fn leave(&mut self, client: usize) {
        self.hub.leave(&self.clients[client].subscriber);
        self.numbers += 1;
        self.clients[client] = Client::new(self.numbers);
    }

    /// The pump of a connection does one thing; `false` if there is nothing to do.
    fn pump(&mut self, client: usize) -> bool {
        let waiting = self.clients[client].fetched.as_ref().map(|fetched| fetched.mailbox);
        let gone = waiting.map_or(0, |mailbox| self.state(mailbox).acknowledged.get());
        let one = &mut self.clients[client];
        if let Some(fetched) = &mut one.fetched {
            let mailbox = fetched.mailbox;
            let next = fetched.found.pop_front().filter(|next| {
                one.subscriber.claim(id(mailbox), fetched.begun, fetched.previous, next.seq)
            });
            let Some(next) = next else {
                one.subscriber.fetched(id(mailbox), fetched.more);
                one.fetched = None;
                return true;
            };
            fetched.previous = next.seq;
            let credit = fetched.credit;
            let reading = &mut one.reading[mailbox];
            assert!(reading.holds, "pushed to one who is not the last subscriber");
            let seq = next.seq.get();
            // What is missing in between was acknowledged, here or elsewhere.
            assert!(seq > reading.pushed, "{seq} behind {}", reading.pushed);
            assert!(seq - 1 <= reading.pushed.max(gone), "{seq} behind {}", reading.pushed);
            reading.pushed = seq;
            reading.out += 1;
            assert!(one.in_flight() <= credit, "{} of {credit}", one.in_flight());
            // Unless it was acknowledged meanwhile, it is what is in the mailbox now.
            let behind = Seq::new(next.seq.get() - 1);
            let stored = self.reader.after(id(mailbox), behind, 1).unwrap();
            if let Some(stored) = stored.into_iter().find(|stored| stored.seq == next.seq) {
                assert_eq!(stored, next, "of a mailbox that was deleted");
            }
            return true;
        }
        let next = pin!(one.subscriber.next()).poll(&mut Context::from_waker(Waker::noop()));
        match next {
            Poll::Pending => return false,
            Poll::Ready(Next::Send(Push::Ended { mailbox, reason })) => {
                let expected = one.ended.pop_front().map(|(n, reason)| (id(n), reason));
                assert_eq!(expected, Some((mailbox, reason)));
            }
            Poll::Ready(Next::Send(other)) => panic!("{other:?}"),
            Poll::Ready(Next::Ready(mailbox, seq, envelope, _)) => {
                let mailbox = (0..MAILBOXES).find(|n| id(*n) == mailbox).unwrap();
                let reading = &mut one.reading[mailbox];
                assert!(reading.holds, "pushed to one who is not the last subscriber");
                // It was pushed when it came: what was acknowledged since may be beyond it.
                let seq = seq.get();
                assert_eq!(seq - 1, reading.pushed.min(seq - 1), "out of order");
                if seq > reading.pushed {
                    reading.pushed = seq;
                    reading.out += u64::from(seq > reading.floor);
                }
                let behind = Seq::new(seq - 1);
                let stored = self.reader.after(id(mailbox), behind, 1).unwrap();
                if let Some(stored) = stored.into_iter().find(|stored| stored.seq.get() == seq) {
                    assert_eq!(stored.envelope, Some(envelope), "of a mailbox that was deleted");
                }
            }
            Poll::Ready(Next::Fetch { mailbox, begun, position, count }) => {
                let found = self.reader.after(mailbox, position, count).unwrap();
                let more = found.len() == count;
                let mailbox = (0..MAILBOXES).find(|n| id(*n) == mailbox).unwrap();
                let (previous, credit) = (position, one.credit);
                one.fetched =
                    Some(Fetched { mailbox, begun, previous, found: found.into(), more, credit });
            }
        }
        true
    }

    /// When all pumps rest, everybody has what is theirs, as far as their credit goes, and knows what is
    /// not theirs any more.
    fn rest(&mut self) {
        for client in 0..CONNECTIONS {
            while self.pump(client) {}
        }
        let states: Vec<_> = (0..MAILBOXES).map(|n| self.state(n)).collect();
        for one in &self.clients {
            assert!(one.ended.is_empty(), "{:?} was not told", one.ended);
            for (reading, state) in one.reading.iter().zip(&states) {
                let (head, gone) = (state.head.get(), state.acknowledged.get());
                let stands_still = reading.holds && reading.pushed.max(gone) < head;
                assert!(
                    !stands_still || one.behind_floors() >= one.credit,
                    "{} of {head} pushed, {} of {} in flight",
                    reading.pushed,
                    one.behind_floors(),
                    one.credit
                );
            }
        }
    }
}

/// Runs what the bytes say.
///
/// # Panics
/// If anything is pushed to somebody else than the last subscriber, out of order, twice in a subscription
/// or beyond the credit; if something stands still; if somebody is told wrongly, or not at all.
pub fn run(bytes: &[u8]) {
    let mut world = World::new();
    for step in bytes.chunks_exact(2).take(STEPS) {
        let [what, n] = [step[0], step[1]];
        let (client, mailbox) = (usize::from(what >> 4) % CONNECTIONS, usize::from(n) % MAILBOXES);
        let number = n / MAILBOXES as u8;
        match what & 15 {
            0..=3 => world.deliver(mailbox),
            4..=8 => {
                world.pump(client);
            }
            9 | 10 => world.subscribe(client, mailbox, u32::from(number % 6)),
            11 | 12 => world.acknowledge(client, mailbox, u64::from(number)),
            13 => world.set_credit(client, u32::from(number % 20)),
            14 if number.is_multiple_of(4) => world.delete(mailbox),
            14 => world.leave(client),
            _ => world.rest(),
        }
    }
    world.rest();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_input_that_was_kept_runs() {
        let corpus = concat!(env!("CARGO_MANIFEST_DIR"), "/fuzz/corpus/mailbox_operations");
        let mut count = 0;
        for entry in std::fs::read_dir(corpus).unwrap() {
            run(&std::fs::read(entry.unwrap().path()).unwrap());
            count += 1;
        }
        assert!(count >= 20, "{count} inputs");
    }

    /// `UNDERTONE_FUZZ_RUNS` says how many.
    #[test]
    fn inputs_by_chance_run() {
        let runs = std::env::var("UNDERTONE_FUZZ_RUNS").ok().and_then(|runs| runs.parse().ok());
        for seed in 0..runs.unwrap_or(2_000_u64) {
            let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15).wrapping_add(1);
            let bytes: Vec<u8> = (0..2 * STEPS)
                .map(|_| {
                    state = state
                        .wrapping_mul(6_364_136_223_846_793_005)
                        .wrapping_add(1_442_695_040_888_963_407);
                    (state >> 56) as u8
                })
                .collect();
            if let Err(panic) = std::panic::catch_unwind(|| run(&bytes)) {
                println!("seed {seed}");
                std::panic::resume_unwind(panic);
            }
        }
    }

    #[test]
    fn who_has_the_mailbox_again_is_not_told_that_it_was_lost() {
        let mut world = World::new();
        world.subscribe(0, 0, 8);
        world.subscribe(1, 0, 8);
        world.subscribe(0, 0, 8);
        world.deliver(0);
        world.rest();
        assert_eq!(world.clients[0].reading[0].pushed, 1);
    }

    #[test]
    fn what_was_pushed_of_a_deleted_mailbox_takes_no_credit() {
        let mut world = World::new();
        for mailbox in [0, 1] {
            world.subscribe(0, mailbox, 2);
        }
        world.deliver(0);
        world.deliver(0);
        world.rest();
        world.delete(0);
        world.deliver(1);
        world.rest();
        assert_eq!(world.clients[0].reading[1].pushed, 1);
    }
}
