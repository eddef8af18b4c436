//! Clients, connections and the relay in one task queue, with a clock and a network that belong to
//! the test.
//!
//! Two senders and one receiver talk to a relay through connections that lose, hold up and end as a
//! seed has it: requests that were carried out and not answered, repeated over another connection;
//! old connections whose bytes come in after the new one's; clients that are gone without a word;
//! a receiver that crashes between storing and acknowledging, and comes back with a ticket or with
//! its keys. Then: every envelope that was answered is there, in order, once.
//!
//! `UNDERTONE_SIMULATIONS=n` runs n seeds in place of the usual ones.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

mod link;
mod people;
mod random;

use core::time::Duration;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};

use tokio::sync::watch;
use undertone_wire::client::{Connection, Options};
use undertone_wire::frame::{MailboxKind, OwnerOperation};
use undertone_wire::{AdmissionToken, Bounded, Day, Incarnation, MailboxSecret, WriteCapability};

use self::link::Network;
use self::people::{Receiver, Sender};
use self::random::Random;
use super::connection::{Services, serve};
use super::{BlobDirectory, Tap};
use crate::clock::Clock;
use crate::limits::{Arrival, Deny, Gate, Limits};
use crate::mailboxes::{ConnectionId, Hub};
use crate::metrics::Metrics;
use crate::store::{
    Command, MemoryStore, Room, Store as _, SystemDisk, TokenClass, Told, simulate,
};
use crate::tickets::Tickets;

/// Seeds that every run of the tests tries.
const SEEDS: u64 = 40;

/// Envelopes of each sender. Fewer than a mailbox remembers (64), so that even a repetition that
/// was on its way for ever is recognised.
const EACH: u32 = 20;

/// Virtual time after which a simulation has failed.
const PATIENCE: Duration = Duration::from_secs(24 * 3600);

/// Midnight of a day, for ever.
struct Still;

const TODAY: Day = Day::new(20_000);

impl Clock for Still {
    fn unix_seconds(&self) -> u64 {
        u64::from(TODAY.get()) * 86_400
    }
}

/// What happened, and when: the same for the same seed.
#[derive(Default)]
pub(crate) struct Trace(Mutex<Vec<(Duration, String)>>);

impl Trace {
    pub(crate) fn note(&self, since: tokio::time::Instant, what: String) {
        self.0.lock().unwrap().push((since.elapsed(), what));
    }
}

pub(crate) fn owner(mailbox: u8) -> MailboxSecret {
    MailboxSecret::from_seed(&[mailbox + 1; 32])
}

pub(crate) fn writer(mailbox: u8) -> WriteCapability {
    WriteCapability::from_bytes([mailbox + 101; 32])
}

fn create(mailbox: u8, token: &AdmissionToken) -> OwnerOperation {
    OwnerOperation::CreateMailbox {
        key: owner(mailbox).public(),
        token: token.duplicate(),
        kind: MailboxKind::Queue,
        limits: None,
        capabilities: Bounded::one(writer(mailbox).hash()),
    }
}

/// A relay whose connections come from the network.
fn relay(seed: u64, directory: &std::path::Path, network: &Arc<Network>) -> AdmissionToken {
    let token = AdmissionToken::from_bytes([9; 32]);
    let mut store = MemoryStore::new().unwrap();
    let add = Command::AddToken(token.verifier(), TokenClass::Unlimited);
    store.commit(TODAY, &[add]).unwrap()[0].as_ref().unwrap();
    let hub = Arc::new(Hub::default());
    let wake = hub.clone();
    let told = Told {
        delivered: Box::new(move |mailbox, seq, envelope| wake.arrived(mailbox, seq, envelope)),
        committed: Box::new(|_, _| {}),
        erased: Box::new(|| {}),
        shares: Box::new(|_| {}),
    };
    let (mut commits, mut looks) = (Random::new(seed, 1), Random::new(seed, 2));
    let (handle, reader) =
        simulate(Box::new(store), TODAY, told, move || commits.millis(30), move || looks.millis(5))
            .unwrap();
    let incarnation = Incarnation::from_bytes([7; 16]);
    let room = Arc::new(Room::new(directory, Arc::new(SystemDisk)));
    let services = Services {
        store: handle,
        reader,
        hub,
        incarnation,
        blobs: BlobDirectory::open(&directory.join("blobs"), room).unwrap(),
        tickets: Arc::new(
            Tickets::open(&directory.join("tickets.key"), incarnation, TODAY).unwrap(),
        ),
        clock: Arc::new(Still),
        tap: Tap::default(),
    };
    let gate = Gate::new(Limits::default(), &Deny::default(), false, Arc::new(Metrics::default()));
    let (stop, stopped) = watch::channel(false);
    let mut arrivals = network.listen();
    tokio::spawn(async move {
        // Never stopped: the simulation ends with its runtime.
        let _stop = stop;
        let mut next = 0;
        while let Some(channel) = arrivals.recv().await {
            next += 1;
            let peer = SocketAddr::from((Ipv4Addr::LOCALHOST, 1));
            let Arrival::Accept(handshake) = gate.arrive(peer, true) else { panic!("turned away") };
            let admission = Arc::new(handshake.established());
            let id = ConnectionId(next);
            tokio::spawn(serve(id, channel, admission, services.clone(), stopped.clone()));
        }
    });
    token
}

pub(crate) fn options() -> Options {
    Options { timeout: Duration::from_secs(15), ..Options::default() }
}

/// One simulation; what happened in it.
fn simulate_one(seed: u64) -> Vec<(Duration, String)> {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    let directory = tempfile::tempdir().unwrap();
    let trace = Arc::new(Trace::default());
    runtime.unwrap().block_on(async {
        let network = Network::new(seed);
        let token = relay(seed, directory.path(), &network);
        // Nothing goes wrong until the mailboxes are there.
        let connection = Connection::over(network.connect(), &options()).await.unwrap();
        for mailbox in 0..2 {
            let secret = owner(mailbox);
            connection.owner(create(mailbox, &token), &[&secret]).await.unwrap();
        }
        connection.close();
        let since = tokio::time::Instant::now();
        let trouble = tokio::spawn(network.clone().trouble());
        let senders: Vec<_> = (0..2)
            .map(|who| Sender::new(seed, who, EACH, &network, &trace, since).run())
            .map(tokio::spawn)
            .collect();
        let receiver = Receiver::new(seed, 2 * EACH, &network, &trace, since);
        let stored = tokio::time::timeout(PATIENCE, receiver.run());
        let stored = stored.await.unwrap_or_else(|_| panic!("seed {seed}: not all came"));
        for sender in senders {
            tokio::time::timeout(PATIENCE, sender).await.unwrap().unwrap();
        }
        trouble.abort();
        for (mailbox, envelopes) in stored.iter().enumerate() {
            check(seed, mailbox, envelopes);
        }
    });
    let mut happened = trace.0.lock().unwrap();
    std::mem::take(&mut *happened)
}

/// Each sender's envelopes are there, once, in the order in which they were sent.
fn check(seed: u64, mailbox: usize, envelopes: &[(u8, u32)]) {
    for who in 0..2 {
        let of_one: Vec<u32> =
            envelopes.iter().filter(|(from, _)| *from == who).map(|(_, number)| *number).collect();
        let sent: Vec<u32> = (0..EACH).collect();
        assert_eq!(of_one, sent, "seed {seed}: sender {who} to mailbox {mailbox}");
    }
}

fn seeds() -> u64 {
    std::env::var("UNDERTONE_SIMULATIONS").ok().and_then(|n| n.parse().ok()).unwrap_or(SEEDS)
}

#[test]
fn whatever_the_network_does_every_answered_envelope_arrives_once_and_in_order() {
    for seed in 0..seeds() {
        simulate_one(seed);
    }
}

#[test]
fn the_same_seed_is_the_same_simulation() {
    for seed in [3, 1000] {
        let (first, second) = (simulate_one(seed), simulate_one(seed));
        assert!(first.len() > 50, "little happened");
        assert_eq!(first, second);
    }
}

#[test]
fn there_is_trouble_in_the_simulations() {
    // A network on which nothing goes wrong would prove nothing.
    let happened: Vec<String> = (0..8).flat_map(simulate_one).map(|(_, what)| what).collect();
    for kind in ["repeated", "came again", "resumed", "signed", "crashed"] {
        assert!(happened.iter().any(|what| what.contains(kind)), "nothing {kind}");
    }
}
