//! Connections. The one that owns mailboxes is never the one that delivers, so that a relay can't
//! tell from a connection that sender and receiver are the same person.

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;
use std::time::Duration;

use tokio::sync::Mutex;
use undertone_wire::client::{ClientError, Connection, Options};
use undertone_wire::frame::MailboxLimits;
use undertone_wire::{MailboxId, RelayAddress};

use crate::error::Error;

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
}

/// Connections that are open, by relay and role.
pub(crate) struct Network {
    options: Options,
    /// What each mailbox of ours may hold, if less than the relay allows.
    pub(crate) limits: Option<MailboxLimits>,
    offline: bool,
    connections: Mutex<HashMap<(RelayAddress, Role), Connection>>,
    /// Mailboxes whose floor was compared with the store since it was opened. The store can't be
    /// rolled back while this process holds its lock, so once is enough.
    pub(crate) checked: Mutex<HashSet<MailboxId>>,
}

impl Network {
    pub(crate) fn new(settings: Settings) -> Self {
        let Settings { bind, timeout, limits, offline } = settings;
        Self {
            options: Options { bind, timeout, ..Options::default() },
            limits,
            offline,
            connections: Mutex::new(HashMap::new()),
            checked: Mutex::new(HashSet::new()),
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
        let key = (relay.clone(), role);
        if let Some(connection) = self.connections.lock().await.get(&key) {
            return Ok(connection.clone());
        }
        // Not under the lock: one relay that does not answer must not hold up the others.
        let connection = Connection::connect(relay, &self.options)
            .await
            .map_err(|error| Error::at_relay(relay, error))?;
        let mut connections = self.connections.lock().await;
        // Another task may have been faster.
        Ok(connections.entry(key).or_insert(connection).clone())
    }

    /// Forgets a connection that failed, so that the next request makes another.
    pub(crate) async fn forget(&self, relay: &RelayAddress, role: Role) {
        let removed = self.connections.lock().await.remove(&(relay.clone(), role));
        if let Some(connection) = removed {
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
        for (_, connection) in self.connections.lock().await.drain() {
            connection.close();
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
