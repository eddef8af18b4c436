//! Receiving: subscribe, take what is pushed, store it, and only then let the relay forget it.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::future::Future;
use std::task::Poll;
use std::time::Duration;

use tokio::sync::Mutex;
use undertone_session::engine::{Received, Subscription};
use undertone_wire::client::{ClientError, Connection, Pushes};
use undertone_wire::frame::{Acknowledgement, EndReason, MailboxState, OwnerOperation, Push};
use undertone_wire::limits::{MAX_MAILBOXES_PER_REQUEST, MAX_MAILBOXES_PER_TICKET};
use undertone_wire::{Bounded, MailboxId, OwnerSecret, ReadKey, RelayAddress, SessionSecret};
use zeroize::Zeroizing;

use crate::client::{Shared, SyncReport};
use crate::error::Error;
use crate::network::Role;
use crate::tickets::Held;
use crate::together::{Work, together};

/// Relays that are caught up with at a time: the home, and some that were used before.
const RELAYS_AT_A_TIME: usize = 8;

/// Envelopes in flight: keeps a connection busy, and at 64 KiB each is 16 MiB at most.
const CREDIT: u32 = 256;

/// Envelopes that are stored before the relay is told: far below the credit, so that pushing
/// does not stop meanwhile.
const ACK_BATCH: usize = 64;

/// How long a relay may take to push what it said it has.
const PATIENCE: Duration = Duration::from_secs(15);

/// The connections that subscribe, one to each relay that has mailboxes of ours: the home, and those
/// that contacts have not left yet.
#[derive(Default)]
pub(crate) struct Receiver {
    lines: HashMap<RelayAddress, Line>,
}

/// A connection that subscribes, and how far it is.
struct Line {
    relay: RelayAddress,
    connection: Connection,
    pushes: Pushes,
    subscribed: HashSet<MailboxId>,
    /// Positions that were waiting when we asked and have not come yet.
    goals: HashMap<MailboxId, u64>,
    /// Stored and not yet told.
    owed: BTreeMap<MailboxId, Acknowledgement>,
    owed_count: usize,
    /// How far each mailbox is stored, of what came over this connection.
    stored: HashMap<MailboxId, u64>,
    /// What was subscribed to with keys, and for which there is no ticket yet; each group in a phase
    /// of its own.
    proved: Vec<Vec<MailboxId>>,
}

/// Owners' keys and secrets of a batch of mailboxes.
fn keys(
    batch: &[Subscription],
) -> Result<Bounded<ReadKey, MAX_MAILBOXES_PER_REQUEST>, ClientError> {
    let keys = batch.iter().map(|one| one.secret.public()).collect();
    Bounded::new(keys).ok_or(ClientError::TooLong)
}

fn secrets(batch: &[Subscription]) -> Vec<&dyn OwnerSecret> {
    batch.iter().map(|one| -> &dyn OwnerSecret { &one.secret }).collect()
}

impl Shared {
    /// Compares the relay's floors of these mailboxes with the store, before anything is received
    /// in them or sealed for their contacts. Once for each mailbox while the profile is open.
    pub(crate) async fn check_floors(
        &self,
        connection: &Connection,
        batch: &[Subscription],
    ) -> Result<(), ClientOrLocal> {
        let unchecked = {
            let checked = self.network.checked.lock().await;
            batch.iter().any(|one| !checked.contains(&one.secret.mailbox()))
        };
        if !unchecked {
            return Ok(());
        }
        let status = OwnerOperation::Status { keys: keys(batch)? };
        let states = connection.mailboxes(status, &secrets(batch)).await?;
        for (one, state) in batch.iter().zip(states) {
            let mailbox = one.secret.mailbox();
            if self.network.checked.lock().await.contains(&mailbox) {
                continue;
            }
            self.core.change(move |e| e.check_floor(&mailbox, state.as_ref())).await?;
            self.network.checked.lock().await.insert(mailbox);
        }
        Ok(())
    }

    /// Connects if need be, subscribes to what is new, and receives until everything that was
    /// waiting is stored and told; at all relays at once, but phase by phase: what a contact put into
    /// the mailbox that they were given first comes first, wherever their others are. Only what
    /// concerns the home is an error. A relay that was used before and is away is left alone for a
    /// while by a client that runs: nobody is to wait for it each time.
    pub(crate) async fn catch_up(
        &self,
        receiver: &Mutex<Receiver>,
        report: &mut SyncReport,
    ) -> Result<(), Error> {
        let mut receiver = receiver.lock().await;
        let home = self.home();
        let (mut relays, mut phases): (Vec<RelayAddress>, Vec<u32>) = (Vec::new(), Vec::new());
        if self.background.is_running() {
            // Who stays connected does so before there is a mailbox, and learns that the relay is
            // another one, or is away.
            relays.push(home.clone());
            phases.push(0);
        }
        for one in self.core.ask(|e| e.subscriptions()).await? {
            phases.push(one.phase);
            if !relays.contains(&one.relay) {
                relays.push(one.relay);
            }
        }
        self.connections.keep(&relays);
        if self.background.is_running() {
            // Tried again aside, by `reach_again`.
            let missing = self.connections.missing();
            relays.retain(|relay| *relay == home || !missing.contains(relay));
        }
        phases.sort_unstable();
        phases.dedup();
        // A line is put back only when all is well: whatever ends this early, an error or the
        // caller going away, ends the connection, and what was not told comes again over the next.
        let mut lines = std::mem::take(&mut receiver.lines);
        lines.retain(|relay, _| relays.contains(relay));
        let mut all: Vec<CaughtUp> = relays
            .into_iter()
            .map(|relay| CaughtUp {
                line: lines.remove(&relay),
                relay,
                outcome: Ok(()),
                report: SyncReport::default(),
            })
            .collect();
        // Each to its end: what was sent before its senders heard of another mailbox comes first.
        for count in 1..=phases.len() {
            let phases = phases.get(..count).unwrap_or_default();
            let work = all
                .into_iter()
                .map(|one| -> Work<'_, CaughtUp> { Box::pin(self.catch_up_at(one, phases)) });
            all = together(RELAYS_AT_A_TIME, work.collect()).await;
        }
        // A client that does one pass does not come back.
        if self.background.is_running() {
            let work = all
                .into_iter()
                .map(|one| -> Work<'_, CaughtUp> { Box::pin(self.take_tickets(one)) });
            all = together(RELAYS_AT_A_TIME, work.collect()).await;
        }
        let mut result = Ok(());
        for CaughtUp { relay, line, outcome, report: its } in all {
            report.received = report.received.saturating_add(its.received);
            report.parked = report.parked.saturating_add(its.parked);
            if let Some(line) = line {
                receiver.lines.insert(relay.clone(), line);
            }
            let outcome = outcome.map_err(|error| error.at(&relay));
            if let Err(error) = &outcome {
                self.connections.failed(&relay, error);
            }
            match outcome {
                Ok(()) => {}
                Err(error @ (Error::Superseded | Error::Closed)) => result = Err(error),
                Err(error) if relay == home => result = result.and(Err(error)),
                Err(error) => {
                    tracing::debug!(code = error.code(), "a relay used before does not answer");
                }
            }
        }
        result
    }

    /// The last of these phases, at a relay where those before are done.
    async fn catch_up_at(&self, mut one: CaughtUp, phases: &[u32]) -> CaughtUp {
        if one.outcome.is_err() {
            return one;
        }
        let CaughtUp { relay, line, outcome, report } = &mut one;
        if line.is_none() {
            self.connections.connecting(relay);
        }
        let last = phases.get(phases.len().saturating_sub(1)..).unwrap_or_default();
        *outcome = self.catch_up_once(relay, line, last, report).await;
        // A connection that was open before may have been broken for long: once more, afresh.
        if let Err(ClientOrLocal::Client(ClientError::Closed | ClientError::Timeout)) = outcome {
            self.hang_up(line.take()).await;
            *outcome = self.catch_up_once(relay, line, phases, report).await;
        }
        match (&*outcome, &*line) {
            (Ok(()), Some(line)) => self.connections.connected(relay, line.connection.carrier()),
            (Ok(()), None) => {}
            (Err(_), _) => self.hang_up(line.take()).await,
        }
        one
    }

    async fn hang_up(&self, line: Option<Line>) {
        if let Some(line) = line {
            self.connections.connecting(&line.relay);
            self.network.forget(&line.relay, Role::Owner).await;
        }
    }

    async fn catch_up_once(
        &self,
        relay: &RelayAddress,
        line: &mut Option<Line>,
        phases: &[u32],
        report: &mut SyncReport,
    ) -> Result<(), ClientOrLocal> {
        if line.is_none() && self.background.is_running() {
            *line = Some(self.dial(relay).await?);
        }
        for phase in phases {
            self.subscribe(relay, line, *phase).await?;
            if let Some(line) = line.as_mut() {
                self.drain(line, report).await?;
            }
        }
        Ok(())
    }

    async fn take_tickets(&self, mut one: CaughtUp) -> CaughtUp {
        if let (Ok(()), Some(line)) = (&one.outcome, one.line.as_mut()) {
            one.outcome = self.ask_for_tickets(line).await;
        }
        if one.outcome.is_err() {
            self.hang_up(one.line.take()).await;
        }
        one
    }

    /// Tickets for what was subscribed to with keys: the next time they take their place.
    async fn ask_for_tickets(&self, line: &mut Line) -> Result<(), ClientOrLocal> {
        for group in std::mem::take(&mut line.proved) {
            for mailboxes in group.chunks(MAX_MAILBOXES_PER_TICKET) {
                let mut seed = Zeroizing::new([0; 32]);
                getrandom::fill(seed.as_mut_slice())
                    .map_err(|e| Error::Internal { reason: e.to_string() })?;
                let session = SessionSecret::from_seed(&seed);
                match line.connection.ticket(session, mailboxes.to_vec()).await {
                    Ok(ticket) => self.network.tickets.keep(&line.relay, Held::new(ticket)),
                    // Without one it takes more signatures, and nothing else.
                    Err(ClientError::Refused(code)) => {
                        tracing::debug!(code = code.slug(), "the relay gives no ticket");
                    }
                    Err(error) => return Err(error.into()),
                }
            }
        }
        Ok(())
    }

    /// Subscribes with tickets to what there are tickets for. Returns the rest.
    async fn resume(
        &self,
        line: &mut Line,
        new: Vec<Subscription>,
    ) -> Result<Vec<Subscription>, ClientOrLocal> {
        let wanted: HashSet<MailboxId> = {
            // What the relay says is compared with the store before anything is received.
            let checked = self.network.checked.lock().await;
            let ids = new.iter().map(|one| one.secret.mailbox());
            ids.filter(|mailbox| checked.contains(mailbox)).collect()
        };
        for held in self.network.tickets.take(&line.relay, &wanted) {
            match line.connection.resume(&held.ticket, CREDIT).await {
                Ok(states) => {
                    for (mailbox, state) in states {
                        line.note(mailbox, state);
                    }
                    self.network.tickets.keep(&line.relay, held);
                }
                Err(ClientError::Refused(code)) => {
                    tracing::debug!(code = code.slug(), "a ticket is not good any more");
                }
                Err(error) => {
                    self.network.tickets.keep(&line.relay, held);
                    return Err(error.into());
                }
            }
        }
        Ok(new.into_iter().filter(|one| !line.subscribed.contains(&one.secret.mailbox())).collect())
    }

    /// Receives until everything that was waiting has come, and tells the relay.
    async fn drain(&self, line: &mut Line, report: &mut SyncReport) -> Result<(), ClientOrLocal> {
        while !line.goals.is_empty() {
            let push = tokio::time::timeout(PATIENCE, line.pushes.next())
                .await
                .map_err(|_| ClientError::Timeout)?
                .ok_or(ClientError::Closed)?;
            self.take(line, push, report).await?;
        }
        // What came besides, without waiting for more.
        while let Some(push) = line.pushes.try_next() {
            self.take(line, push, report).await?;
        }
        line.tell().await?;
        Ok(())
    }

    /// Subscribes to all mailboxes that this connection is not subscribed to, and learns what is
    /// waiting in each.
    async fn subscribe(
        &self,
        relay: &RelayAddress,
        open: &mut Option<Line>,
        phase: u32,
    ) -> Result<(), ClientOrLocal> {
        let mut all = self.core.ask(|e| e.subscriptions()).await?;
        all.retain(|one| one.phase == phase && one.relay == *relay);
        if all.is_empty() {
            return Ok(());
        }
        if open.is_none() {
            *open = Some(self.dial(relay).await?);
        }
        let Some(line) = open.as_mut() else {
            return Ok(());
        };
        let here = all.into_iter().filter(|one| one.relay == line.relay);
        let (old, new): (Vec<_>, Vec<_>) =
            here.partition(|one| line.subscribed.contains(&one.secret.mailbox()));
        // Where we are subscribed, what is on its way is learnt by asking: a pass is complete only
        // if all that the relay had when it began has come. It also finds out that a connection
        // is dead.
        for batch in old.chunks(MAX_MAILBOXES_PER_REQUEST) {
            let operation = OwnerOperation::Status { keys: keys(batch)? };
            let states = line.connection.mailboxes(operation, &secrets(batch)).await?;
            for (one, state) in batch.iter().zip(states) {
                if state.is_none() {
                    self.lost(line, one.secret.mailbox()).await?;
                }
                line.note(one.secret.mailbox(), state);
            }
        }
        let new = self.resume(line, new).await?;
        line.proved.push(new.iter().map(|one| one.secret.mailbox()).collect());
        for batch in new.chunks(MAX_MAILBOXES_PER_REQUEST) {
            self.check_floors(&line.connection, batch).await?;
            let operation = OwnerOperation::Subscribe { keys: keys(batch)?, credit: CREDIT };
            let states = line.connection.mailboxes(operation, &secrets(batch)).await?;
            for (one, state) in batch.iter().zip(states) {
                if state.is_none() {
                    self.lost(line, one.secret.mailbox()).await?;
                }
                line.note(one.secret.mailbox(), state);
            }
        }
        Ok(())
    }

    /// The relay has a mailbox of ours no more, which it had when it was asked before: it was put back
    /// to an earlier state, or has removed it. What follows is the same as at the first comparison, also
    /// if the profile stays open for months.
    async fn lost(&self, line: &mut Line, mailbox: MailboxId) -> Result<(), Error> {
        line.leave(mailbox);
        self.network.checked.lock().await.remove(&mailbox);
        self.core.change(move |e| e.check_floor(&mailbox, None)).await?;
        // Another is to be made, and its contact told in a session that begins anew.
        self.outgoing.notify_one();
        Ok(())
    }

    /// A connection whose pushes nobody has taken yet.
    async fn dial(&self, relay: &RelayAddress) -> Result<Line, ClientOrLocal> {
        let mut connection = self.network.connection(relay, Role::Owner).await?;
        let mut pushes = connection.pushes();
        if pushes.is_none() {
            self.network.forget(relay, Role::Owner).await;
            connection = self.network.connection(relay, Role::Owner).await?;
            pushes = connection.pushes();
        }
        Ok(Line {
            relay: relay.clone(),
            pushes: pushes.ok_or(ClientError::Closed)?,
            connection,
            subscribed: HashSet::new(),
            goals: HashMap::new(),
            owed: BTreeMap::new(),
            owed_count: 0,
            stored: HashMap::new(),
            proved: Vec::new(),
        })
    }

    /// Stores what was pushed.
    async fn take(
        &self,
        line: &mut Line,
        push: Push,
        report: &mut SyncReport,
    ) -> Result<(), ClientOrLocal> {
        let now = self.core.now();
        let received = match push {
            Push::Envelope { mailbox, incarnation, seq, envelope } => {
                let bytes = envelope.into_vec();
                let store = move |e: &mut crate::profile::ProfileEngine| {
                    e.receive(&mailbox, incarnation, seq, &bytes, now)
                };
                self.core.change(store).await?
            }
            Push::Damaged { mailbox, incarnation, seq } => {
                tracing::warn!("the relay reports a damaged envelope; it can't be had");
                let store = move |e: &mut crate::profile::ProfileEngine| {
                    e.receive_damaged(&mailbox, incarnation, seq)
                };
                self.core.change(store).await?
            }
            Push::Ended { mailbox, reason } => {
                line.leave(mailbox);
                if reason == EndReason::Replaced {
                    // We subscribe on one connection only: it is another program, with a copy of
                    // this profile. Two would use the same keys.
                    self.supersede().await?;
                    return Err(Error::Superseded.into());
                }
                self.lost(line, mailbox).await?;
                None
            }
        };
        if let Some(received) = received {
            if let Some(typing) = received.typing {
                self.typing.hear(typing);
            }
            count(report, &received);
            line.owe(received.acknowledgement);
            if line.owed_count >= ACK_BATCH {
                line.tell().await?;
            }
        }
        Ok(())
    }

    /// Waits for one push; `None` if a connection is gone. Cancelling loses nothing: nothing is
    /// done with a push here.
    pub(crate) async fn next_push(
        &self,
        receiver: &Mutex<Receiver>,
    ) -> Option<(RelayAddress, Push)> {
        let mut receiver = receiver.lock().await;
        if receiver.lines.is_empty() {
            // Nothing to subscribe to: there is nothing to wait for.
            drop(receiver);
            return std::future::pending().await;
        }
        let (relay, push) = first_push(&mut receiver.lines).await;
        if push.is_none() {
            let line = receiver.lines.remove(&relay);
            self.hang_up(line).await;
        }
        push.map(|push| (relay, push))
    }

    /// Takes a push and all that are there besides, and tells the relay. After an error, or if the
    /// caller goes away meanwhile, the connection is gone and nothing behind the failed push was
    /// stored or told: it all comes again.
    pub(crate) async fn take_pushes(
        &self,
        receiver: &Mutex<Receiver>,
        (relay, push): (RelayAddress, Push),
        report: &mut SyncReport,
    ) -> Result<(), Error> {
        let mut receiver = receiver.lock().await;
        // Hung up meanwhile: what was pushed comes again.
        let Some(mut line) = receiver.lines.remove(&relay) else {
            return Ok(());
        };
        let take = async {
            self.take(&mut line, push, report).await?;
            while let Some(push) = line.pushes.try_next() {
                self.take(&mut line, push, report).await?;
            }
            line.tell().await
        };
        match take.await {
            Ok(()) => {
                receiver.lines.insert(relay, line);
                Ok(())
            }
            Err(error) => {
                self.hang_up(Some(line)).await;
                let error = error.at(&relay);
                self.connections.failed(&relay, &error);
                Err(error)
            }
        }
    }

    /// A copy of this profile runs somewhere: this one stops, and says so.
    async fn supersede(&self) -> Result<(), Error> {
        if self.network.supersede() {
            tracing::warn!("another program subscribes to this profile's mailboxes: stopping");
            self.connections.replaced();
            self.core.change(|e| e.note_superseded()).await?;
        }
        Ok(())
    }
}

/// What came of catching up at a relay.
struct CaughtUp {
    relay: RelayAddress,
    line: Option<Line>,
    outcome: Result<(), ClientOrLocal>,
    report: SyncReport,
}

/// The first push of any of these connections; `None` if one of them is gone. Safe to cancel, as
/// waiting for each of them is.
async fn first_push(lines: &mut HashMap<RelayAddress, Line>) -> (RelayAddress, Option<Push>) {
    let mut waiting: Vec<_> =
        lines.iter_mut().map(|(relay, line)| (relay, Box::pin(line.pushes.next()))).collect();
    std::future::poll_fn(|context| {
        for (relay, next) in &mut waiting {
            if let Poll::Ready(push) = next.as_mut().poll(context) {
                return Poll::Ready(((*relay).clone(), push));
            }
        }
        Poll::Pending
    })
    .await
}

fn count(report: &mut SyncReport, received: &Received) {
    report.received = report.received.saturating_add(u64::from(received.message));
    report.parked = report.parked.saturating_add(u64::from(received.parked));
}

impl Line {
    fn leave(&mut self, mailbox: MailboxId) {
        self.subscribed.remove(&mailbox);
        self.goals.remove(&mailbox);
        // Should it be made again, its numbers begin again.
        self.stored.remove(&mailbox);
    }

    fn note(&mut self, mailbox: MailboxId, state: Option<MailboxState>) {
        // Unknown to the relay: there is nothing to come.
        let Some(state) = state else { return };
        self.subscribed.insert(mailbox);
        let stored = self.stored.get(&mailbox).copied().unwrap_or(0);
        let gone = state.acknowledged.max(state.expired).get().max(stored);
        if state.head.get() > gone {
            self.goals.insert(mailbox, state.head.get());
        }
    }

    fn owe(&mut self, acknowledgement: Acknowledgement) {
        let mailbox = acknowledgement.mailbox;
        self.stored.insert(mailbox, acknowledgement.floor.get());
        if self.goals.get(&mailbox).is_some_and(|goal| acknowledgement.floor.get() >= *goal) {
            self.goals.remove(&mailbox);
        }
        self.owed.insert(mailbox, acknowledgement);
        self.owed_count = self.owed_count.saturating_add(1);
    }

    async fn tell(&mut self) -> Result<(), ClientOrLocal> {
        if !self.owed.is_empty() {
            // At most one for each batched envelope, which is fewer than a request holds.
            let floors = self.owed.values().copied().collect();
            self.connection.acknowledge(floors).await?;
            self.owed.clear();
            self.owed_count = 0;
        }
        Ok(())
    }
}

/// What stops receiving.
pub(crate) enum ClientOrLocal {
    Client(ClientError),
    Local(Error),
}

impl ClientOrLocal {
    pub(crate) fn at(self, relay: &RelayAddress) -> Error {
        match self {
            Self::Client(error) => Error::at_relay(relay, error),
            Self::Local(error) => error,
        }
    }
}

impl From<ClientError> for ClientOrLocal {
    fn from(error: ClientError) -> Self {
        Self::Client(error)
    }
}

impl From<Error> for ClientOrLocal {
    fn from(error: Error) -> Self {
        Self::Local(error)
    }
}
