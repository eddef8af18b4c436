//! Connections. The one that owns mailboxes is never the one that delivers, so that a relay can't
//! tell from a connection that sender and receiver are the same person.

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex as StdMutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Mutex;
use undertone_session::engine::FetchLimits;
use undertone_wire::client::{Carriers, ClientError, Connection, Options};
use undertone_wire::frame::MailboxLimits;
use undertone_wire::transport::Carrier;
use undertone_wire::{MailboxId, RelayAddress};

use crate::builder::Builder;
use crate::error::Error;
use crate::tickets::Tickets;

/// How long connecting and each request may take unless the application says otherwise.
/// Connecting to a host that drops packets takes all of it.
pub(crate) const TIMEOUT: Duration = Duration::from_secs(10);

/// What a connection is for.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) enum Role {
    /// Mailboxes and depots of ours, subscribing.
    Owner,
    /// Delivering, taking prekeys.
    Sender,
    /// Storing files of ours: it shows the admission token, which must not be seen on a connection
    /// that delivers.
    Uploads,
    /// Fetching files: one that fails must not break deliveries off.
    Downloads,
}

/// What the application decides about the network.
pub(crate) struct Settings {
    pub(crate) bind: Option<IpAddr>,
    pub(crate) timeout: Duration,
    pub(crate) limits: Option<MailboxLimits>,
    pub(crate) offline: bool,
    pub(crate) fetch: FetchLimits,
}

impl Settings {
    pub(crate) fn of(builder: &Builder) -> Self {
        let Builder { dir: _, secret: _, clock: _, bind, timeout, limits, offline, fetch } =
            builder;
        Self { bind: *bind, timeout: *timeout, limits: *limits, offline: *offline, fetch: *fetch }
    }
}

/// Connections that are open, by relay and role.
pub(crate) struct Network {
    options: Options,
    /// What each mailbox of ours may hold, if less than the relay allows.
    pub(crate) limits: Option<MailboxLimits>,
    /// What is fetched without being asked for.
    pub(crate) fetch: FetchLimits,
    offline: bool,
    connections: Mutex<HashMap<(RelayAddress, Role), Arc<Slot>>>,
    /// A copy of this profile runs somewhere: nothing is asked of any relay any more.
    superseded: AtomicBool,
    /// Mailboxes whose floor was compared with the store since it was opened. The store can't be
    /// rolled back while this process holds its lock, so once is enough.
    pub(crate) checked: Mutex<HashSet<MailboxId>>,
    /// What subscribes again without the mailboxes' keys.
    pub(crate) tickets: Tickets,
    /// Over what each relay was reached last,.
    carriers: StdMutex<HashMap<RelayAddress, Carrier>>,
    carriers_changed: AtomicBool,
}

/// The place of a connection.
#[derive(Default)]
struct Slot {
    state: Mutex<SlotState>,
}

#[derive(Default)]
struct SlotState {
    connection: Option<Connection>,
    /// When connecting failed last, and how.
    failed: Option<(Instant, Error)>,
}

impl Network {
    pub(crate) fn new(settings: Settings) -> Self {
        let Settings { bind, timeout, limits, offline, fetch } = settings;
        Self {
            options: Options { bind, timeout, ..Options::default() },
            limits,
            fetch,
            offline,
            connections: Mutex::new(HashMap::new()),
            superseded: AtomicBool::new(false),
            checked: Mutex::new(HashSet::new()),
            tickets: Tickets::default(),
            carriers: StdMutex::default(),
            carriers_changed: AtomicBool::new(false),
        }
    }

    pub(crate) const fn is_offline(&self) -> bool {
        self.offline
    }

    /// A connection to a relay, made if there is none.
    pub(crate) async fn connection(
        &self,
        relay: &RelayAddress,
        role: Role,
    ) -> Result<Connection, Error> {
        if self.offline {
            return Err(Error::Offline);
        }
        self.check_superseded()?;
        let asked = Instant::now();
        let slot = {
            let mut connections = self.connections.lock().await;
            connections.entry((relay.clone(), role)).or_default().clone()
        };
        // One at a time connects to a relay, and only who wants this relay waits for it.
        let mut state = slot.state.lock().await;
        if let Some(connection) = &state.connection {
            return Ok(connection.clone());
        }
        match &state.failed {
            // Somebody has found out while we waited.
            Some((when, error)) if *when >= asked => return Err(error.clone()),
            _ => {}
        }
        let options = Options { carriers: self.first_choice(relay), ..self.options.clone() };
        match Connection::connect(relay, &options).await {
            Ok(connection) => {
                self.remember(relay, connection.carrier());
                state.connection = Some(connection.clone());
                Ok(connection)
            }
            Err(error) => {
                let error = Error::at_relay(relay, error);
                state.failed = Some((Instant::now(), error.clone()));
                Err(error)
            }
        }
    }

    /// What to try first: what worked last time. The other is tried a moment later, so that a network
    /// in which that does not work any more costs half a second.
    fn first_choice(&self, relay: &RelayAddress) -> Carriers {
        let carriers = self.carriers.lock().unwrap_or_else(PoisonError::into_inner);
        match carriers.get(relay) {
            Some(Carrier::Tcp) => Carriers::TcpFirst,
            _ => Carriers::QuicFirst,
        }
    }

    fn remember(&self, relay: &RelayAddress, carrier: Carrier) {
        let mut carriers = self.carriers.lock().unwrap_or_else(PoisonError::into_inner);
        let before = carriers.insert(relay.clone(), carrier).unwrap_or(Carrier::Quic);
        if before != carrier {
            self.carriers_changed.store(true, Ordering::Relaxed);
        }
    }

    /// What was remembered when the profile was open before.
    pub(crate) fn expect_tcp(&self, relays: Vec<RelayAddress>) {
        let mut carriers = self.carriers.lock().unwrap_or_else(PoisonError::into_inner);
        carriers.extend(relays.into_iter().map(|relay| (relay, Carrier::Tcp)));
    }

    /// The relays that were reached over TCP last, if that has changed since it was asked.
    pub(crate) fn over_tcp(&self) -> Option<Vec<RelayAddress>> {
        if !self.carriers_changed.swap(false, Ordering::Relaxed) {
            return None;
        }
        let carriers = self.carriers.lock().unwrap_or_else(PoisonError::into_inner);
        let tcp = carriers.iter().filter(|(_, carrier)| **carrier == Carrier::Tcp);
        Some(tcp.map(|(relay, _)| relay.clone()).collect())
    }

    /// From now on nothing is asked of any relay. True if that is new.
    pub(crate) fn supersede(&self) -> bool {
        !self.superseded.swap(true, Ordering::SeqCst)
    }

    /// An error if a copy of this profile has taken over.
    pub(crate) fn check_superseded(&self) -> Result<(), Error> {
        if self.superseded.load(Ordering::SeqCst) { Err(Error::Superseded) } else { Ok(()) }
    }

    /// Forgets a connection that failed, so that the next request makes another.
    pub(crate) async fn forget(&self, relay: &RelayAddress, role: Role) {
        let slot = self.connections.lock().await.get(&(relay.clone(), role)).cloned();
        if let Some(slot) = slot
            && let Some(connection) = slot.state.lock().await.connection.take()
        {
            connection.close();
        }
    }

    /// Runs an idempotent request, once more over a new connection if the old one was broken.
    pub(crate) async fn request<T, F, A>(
        &self,
        relay: &RelayAddress,
        role: Role,
        request: F,
    ) -> Result<T, Failure>
    where
        F: Fn(Connection) -> A,
        A: Future<Output = Result<T, ClientError>>,
    {
        let mut result = Err(ClientError::Closed);
        for _ in 0..2 {
            let connection = self.connection(relay, role).await.map_err(Failure::Local)?;
            result = request(connection).await;
            match result {
                Err(ClientError::Closed | ClientError::Timeout | ClientError::Protocol) => {
                    self.forget(relay, role).await
                }
                _ => break,
            }
        }
        result.map_err(|error| Failure::Relay(relay.clone(), error))
    }

    /// Closes all connections.
    pub(crate) async fn close(&self) {
        let slots: Vec<_> = self.connections.lock().await.drain().map(|(_, slot)| slot).collect();
        for slot in slots {
            if let Some(connection) = slot.state.lock().await.connection.take() {
                connection.close();
            }
        }
    }
}

/// Why a request has no answer.
#[derive(Debug)]
pub(crate) enum Failure {
    /// No connection.
    Local(Error),
    /// What the relay, or the connection to it, said.
    Relay(RelayAddress, ClientError),
}

impl From<Failure> for Error {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Local(error) => error,
            Failure::Relay(relay, error) => Self::at_relay(&relay, error),
        }
    }
}
