//! Receiving: subscribe, take what is pushed, store it, and only then let the relay forget it.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::time::Duration;

use tokio::sync::Mutex;
use undertone_session::engine::{Received, Subscription};
use undertone_wire::client::{ClientError, Connection, Pushes};
use undertone_wire::frame::{Acknowledgement, EndReason, MailboxState, OwnerOperation, Push};
use undertone_wire::limits::MAX_MAILBOXES_PER_REQUEST;
use undertone_wire::{Bounded, MailboxId, OwnerSecret, ReadKey, RelayAddress};

use crate::client::{Shared, SyncReport};
use crate::error::Error;
use crate::network::Role;

/// Envelopes in flight: keeps a connection busy, and at 64 KiB each is 16 MiB at most.
const CREDIT: u32 = 256;

/// Envelopes that are stored before the relay is told: far below the credit, so that pushing
/// does not stop meanwhile.
const ACK_BATCH: usize = 64;

/// How long a relay may take to push what it said it has.
const PATIENCE: Duration = Duration::from_secs(15);

/// The connection that subscribes, and how far it is.
#[derive(Default)]
pub(crate) struct Receiver {
    /// Absent while there is no connection.
    line: Option<Line>,
}

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
    /// waiting is stored and told.
    pub(crate) async fn catch_up(
        &self,
        receiver: &Mutex<Receiver>,
        report: &mut SyncReport,
    ) -> Result<(), Error> {
        let mut receiver = receiver.lock().await;
        // The line is put back only when all is well: whatever ends this early, an error or the
        // caller going away, ends the connection, and what was not told comes again over the next.
        let mut line = receiver.line.take();
        let result = self.catch_up_once(&mut line, report).await;
        // A connection that was open before may have been broken for long: once more, afresh.
        let result = match result {
            Err(ClientOrLocal::Client(ClientError::Closed | ClientError::Timeout)) => {
                self.hang_up(line.take()).await;
                self.catch_up_once(&mut line, report).await
            }
            other => other,
        };
        if result.is_err() {
            self.hang_up(line.take()).await;
        }
        receiver.line = line;
        result.map_err(|error| error.at(&self.relay))
    }

    async fn hang_up(&self, line: Option<Line>) {
        if let Some(line) = line {
            self.network.forget(&line.relay, Role::Owner).await;
        }
    }

    async fn catch_up_once(
        &self,
        line: &mut Option<Line>,
        report: &mut SyncReport,
    ) -> Result<(), ClientOrLocal> {
        self.subscribe(line).await?;
        let Some(line) = line.as_mut() else {
            return Ok(());
        };
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
    async fn subscribe(&self, open: &mut Option<Line>) -> Result<(), ClientOrLocal> {
        let all = self.core.ask(|e| e.subscriptions()).await?;
        if all.is_empty() {
            return Ok(());
        }
        if open.is_none() {
            *open = Some(self.dial().await?);
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
                line.note(one.secret.mailbox(), state);
            }
        }
        for batch in new.chunks(MAX_MAILBOXES_PER_REQUEST) {
            self.check_floors(&line.connection, batch).await?;
            let operation = OwnerOperation::Subscribe { keys: keys(batch)?, credit: CREDIT };
            let states = line.connection.mailboxes(operation, &secrets(batch)).await?;
            for (one, state) in batch.iter().zip(states) {
                line.note(one.secret.mailbox(), state);
            }
        }
        Ok(())
    }

    /// A connection whose pushes nobody has taken yet.
    async fn dial(&self) -> Result<Line, ClientOrLocal> {
        let relay = self.relay.clone();
        let mut connection = self.network.connection(&relay, Role::Owner).await?;
        let mut pushes = connection.pushes();
        if pushes.is_none() {
            self.network.forget(&relay, Role::Owner).await;
            connection = self.network.connection(&relay, Role::Owner).await?;
            pushes = connection.pushes();
        }
        Ok(Line {
            relay,
            pushes: pushes.ok_or(ClientError::Closed)?,
            connection,
            subscribed: HashSet::new(),
            goals: HashMap::new(),
            owed: BTreeMap::new(),
            owed_count: 0,
            stored: HashMap::new(),
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
                line.subscribed.remove(&mailbox);
                line.goals.remove(&mailbox);
                if reason == EndReason::Replaced {
                    tracing::warn!("another connection subscribes to this profile's mailboxes");
                }
                None
            }
        };
        if let Some(received) = received {
            count(report, &received);
            line.owe(received.acknowledgement);
            if line.owed_count >= ACK_BATCH {
                line.tell().await?;
            }
        }
        Ok(())
    }

    /// Waits for one push; `None` if the connection is gone. Cancelling loses nothing: nothing is
    /// done with a push here.
    pub(crate) async fn next_push(&self, receiver: &Mutex<Receiver>) -> Option<Push> {
        let mut receiver = receiver.lock().await;
        let Some(line) = receiver.line.as_mut() else {
            // Nothing to subscribe to: there is nothing to wait for.
            drop(receiver);
            return std::future::pending().await;
        };
        let push = line.pushes.next().await;
        if push.is_none() {
            let line = receiver.line.take();
            self.hang_up(line).await;
        }
        push
    }

    /// Takes a push and all that are there besides, and tells the relay. After an error, or if the
    /// caller goes away meanwhile, the connection is gone and nothing behind the failed push was
    /// stored or told: it all comes again.
    pub(crate) async fn take_pushes(
        &self,
        receiver: &Mutex<Receiver>,
        push: Push,
        report: &mut SyncReport,
    ) -> Result<(), Error> {
        let mut receiver = receiver.lock().await;
        // Hung up meanwhile: what was pushed comes again.
        let Some(mut line) = receiver.line.take() else {
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
                receiver.line = Some(line);
                Ok(())
            }
            Err(error) => {
                self.hang_up(Some(line)).await;
                Err(error.at(&self.relay))
            }
        }
    }
}

fn count(report: &mut SyncReport, received: &Received) {
    report.received = report.received.saturating_add(u64::from(received.message));
    report.parked = report.parked.saturating_add(u64::from(received.parked));
}

impl Line {
    fn note(&mut self, mailbox: MailboxId, state: Option<MailboxState>) {
        // Unknown to the relay: `check_floors` has told; there is nothing to come.
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
