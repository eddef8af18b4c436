//! Who sends and who receives, as clients do.

use std::sync::Arc;

use tokio::time::Instant;
use undertone_wire::client::{ClientError, Connection, Ticket};
use undertone_wire::frame::{Acknowledgement, MailboxState, Push};
use undertone_wire::{ErrorCode, Floor, MailboxId, SessionSecret};

use super::link::Network;
use super::random::Random;
use super::{Trace, options, owner, writer};

fn envelope(who: u8, number: u32) -> Vec<u8> {
    let mut bytes = vec![0; 1024];
    bytes[0] = who;
    bytes[1..5].copy_from_slice(&number.to_be_bytes());
    bytes
}

/// Delivers its envelopes to both mailboxes, one after the other, each until it is answered.
pub(super) struct Sender {
    who: u8,
    count: u32,
    chance: Random,
    network: Arc<Network>,
    trace: Arc<Trace>,
    since: Instant,
}

impl Sender {
    pub(super) fn new(
        seed: u64,
        who: u8,
        count: u32,
        network: &Arc<Network>,
        trace: &Arc<Trace>,
        since: Instant,
    ) -> Self {
        let chance = Random::new(seed, 10 + u64::from(who));
        let (network, trace) = (network.clone(), trace.clone());
        Self { who, count, chance, network, trace, since }
    }

    pub(super) async fn run(mut self) {
        let mut connection = None;
        for number in 0..self.count {
            for mailbox in 0..2 {
                self.deliver(&mut connection, mailbox, number).await;
            }
            tokio::time::sleep(self.chance.millis(60_000)).await;
        }
    }

    async fn deliver(&mut self, connection: &mut Option<Connection>, mailbox: u8, number: u32) {
        let mut tries = 0;
        loop {
            tries += 1;
            let over = match connection.take() {
                Some(over) => over,
                None => Connection::over(self.network.connect(), &options()).await.unwrap(),
            };
            match over.deliver(&writer(mailbox), envelope(self.who, number)).await {
                Ok(()) => {
                    *connection = Some(over);
                    break;
                }
                Err(ClientError::Timeout | ClientError::Closed) => over.close(),
                Err(other) => panic!("{other:?}"),
            }
            tokio::time::sleep(self.chance.millis(2000)).await;
        }
        let how = if tries > 1 { ", repeated" } else { "" };
        let what = format!("sender {} to {mailbox}: {number} answered{how}", self.who);
        self.trace.note(self.since, what);
    }
}

/// What the receiver has on its disk of one mailbox.
#[derive(Default)]
struct Stored {
    floor: u64,
    envelopes: Vec<(u8, u32)>,
}

/// Takes what comes to both mailboxes, stores it, then acknowledges.
pub(super) struct Receiver {
    expected: u32,
    chance: Random,
    network: Arc<Network>,
    trace: Arc<Trace>,
    since: Instant,
    stored: [Stored; 2],
    ticket: Option<Ticket>,
    tickets: u8,
}

impl Receiver {
    pub(super) fn new(
        seed: u64,
        expected: u32,
        network: &Arc<Network>,
        trace: &Arc<Trace>,
        since: Instant,
    ) -> Self {
        Self {
            expected,
            chance: Random::new(seed, 20),
            network: network.clone(),
            trace: trace.clone(),
            since,
            stored: Default::default(),
            ticket: None,
            tickets: 0,
        }
    }

    fn is_done(&self) -> bool {
        let expected = usize::try_from(self.expected).unwrap();
        self.stored.iter().all(|stored| stored.envelopes.len() >= expected)
    }

    pub(super) async fn run(mut self) -> [Vec<(u8, u32)>; 2] {
        while !self.is_done() {
            // Whatever went wrong, it comes again.
            let _ = self.session().await;
            tokio::time::sleep(self.chance.millis(2000)).await;
        }
        self.stored.map(|stored| stored.envelopes)
    }

    async fn session(&mut self) -> Result<(), ClientError> {
        let connection = Connection::over(self.network.connect(), &options()).await?;
        let result = self.receive(&connection).await;
        connection.close();
        result
    }

    /// With the ticket, if there is one that is good; else with the keys, and a new ticket.
    async fn subscribe(
        &mut self,
        connection: &Connection,
    ) -> Result<[MailboxState; 2], ClientError> {
        let resume = self.ticket.is_some() && self.chance.below(4) > 0;
        let credit = u32::try_from(1 + self.chance.below(8)).unwrap();
        let states = match &self.ticket {
            Some(ticket) if resume => {
                let states = connection.resume(ticket, credit).await?;
                self.trace.note(self.since, "resumed".into());
                states
            }
            _ => {
                let secrets = [owner(0), owner(1)];
                let states = connection.subscribe(&[&secrets[0], &secrets[1]], credit).await?;
                self.tickets = self.tickets.wrapping_add(1);
                let session = SessionSecret::from_seed(&[self.tickets; 32]);
                let ids = states.iter().map(|(id, _)| *id).collect();
                self.ticket = Some(connection.ticket(session, ids).await?);
                self.trace.note(self.since, "signed".into());
                states
            }
        };
        let state = |at: usize| states[at].1.unwrap_or_else(|| panic!("a mailbox is gone"));
        for (stored, state) in self.stored.iter().zip([state(0), state(1)]) {
            assert!(state.acknowledged.get() <= stored.floor, "acknowledged and never stored");
        }
        Ok([state(0), state(1)])
    }

    async fn receive(&mut self, connection: &Connection) -> Result<(), ClientError> {
        let mut pushes = connection.pushes().unwrap();
        let ids = [owner(0).mailbox(), owner(1).mailbox()];
        let states = self.subscribe(connection).await?;
        while !self.is_done() {
            // A client that hears nothing looks whether it is still connected, as QUIC's keep-alive
            // would.
            let quiet = tokio::time::timeout(core::time::Duration::from_secs(60), pushes.next());
            let push = match quiet.await {
                Ok(Some(push)) => push,
                Ok(None) => return Err(ClientError::Closed),
                Err(_) => {
                    self.acknowledge(connection, &ids, &states, 0).await?;
                    continue;
                }
            };
            let Push::Envelope { mailbox, seq, envelope, .. } = push else {
                // Replaced by a connection of its own that was slow to come.
                return Err(ClientError::Closed);
            };
            let at = ids.iter().position(|id| *id == mailbox).unwrap();
            self.store(at, seq.get(), envelope.as_slice());
            if self.chance.once_in(12) {
                self.trace.note(self.since, "crashed between storing and acknowledging".into());
                return Ok(());
            }
            self.acknowledge(connection, &ids, &states, at).await?;
        }
        Ok(())
    }

    fn store(&mut self, at: usize, seq: u64, envelope: &[u8]) {
        let stored = &mut self.stored[at];
        let number = u32::from_be_bytes(*envelope[1..].first_chunk().unwrap());
        let content = (envelope[0], number);
        if seq <= stored.floor {
            // Pushed again: the same bytes at the same place.
            let place = usize::try_from(seq - 1).unwrap();
            assert_eq!(stored.envelopes[place], content);
            self.trace.note(self.since, format!("mailbox {at}: {seq} came again"));
            return;
        }
        assert_eq!(seq, stored.floor + 1, "a gap");
        stored.floor = seq;
        stored.envelopes.push(content);
        self.trace.note(self.since, format!("mailbox {at}: {seq} is {content:?}"));
    }

    async fn acknowledge(
        &self,
        connection: &Connection,
        ids: &[MailboxId; 2],
        states: &[MailboxState; 2],
        at: usize,
    ) -> Result<(), ClientError> {
        let (mailbox, incarnation) = (ids[at], states[at].incarnation);
        let floor = Floor::new(self.stored[at].floor);
        match connection.acknowledge(vec![Acknowledgement { mailbox, incarnation, floor }]).await {
            Err(ClientError::Refused(code @ (ErrorCode::FloorAhead | ErrorCode::Unknown))) => {
                panic!("what was stored is not known: {code:?}")
            }
            result => result,
        }
    }
}
