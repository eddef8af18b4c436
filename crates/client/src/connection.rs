//! How it stands with the relays. For a screen: it is of the moment, and kept nowhere.

use std::collections::BTreeMap;

use tokio::sync::watch;
use undertone_session::ids::UnixMillis;
use undertone_wire::{RelayAddress, transport};

use crate::client::Client;
use crate::error::Error;

/// What carries a connection to a relay.
///
/// ```no_run
/// # fn example(client: undertone::Client) {
/// use undertone::{Carrier, ConnectionState};
///
/// if client.connection().now().state == (ConnectionState::Connected { over: Carrier::Tcp }) {
///     println!("UDP seems to be blocked in this network");
/// }
/// # }
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum Carrier {
    /// QUIC, over UDP.
    Quic,
    /// TLS over TCP, where UDP is blocked.
    Tcp,
}

impl From<transport::Carrier> for Carrier {
    fn from(carrier: transport::Carrier) -> Self {
        match carrier {
            transport::Carrier::Tcp => Self::Tcp,
            _ => Self::Quic,
        }
    }
}

/// How it stands with a relay.
///
/// ```no_run
/// # async fn example(client: undertone::Client) -> Result<(), undertone::Error> {
/// use undertone::ConnectionState;
///
/// client.start()?;
/// let mut connection = client.connection();
/// loop {
///     match connection.changed().await?.state {
///         ConnectionState::Connected { .. } => println!("connected"),
///         ConnectionState::Waiting { reason, until } => println!("{reason} (again at {until:?})"),
///         ConnectionState::Replaced => println!("a copy of this profile runs elsewhere"),
///         _ => println!("…"),
///     }
/// }
/// # }
/// ```
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum ConnectionState {
    /// [`Client::start`] was not called. What [`Client::sync`] does is not shown here: it says itself
    /// what went wrong.
    NotStarted,
    /// Being connected to; also just after a connection was lost, and until all that was waiting at
    /// the relay has come.
    Connecting,
    /// Connected: what the relay has for this profile has come, and what else arrives there comes at
    /// once. That the relay has gone without a word shows later: after at most a minute, or when
    /// something is asked of it.
    Connected {
        /// What carries it.
        over: Carrier,
    },
    /// It failed, and is tried again.
    Waiting {
        /// Why: [`Error::Unreachable`], [`Error::RelayPinMismatch`] (another relay answers),
        /// [`Error::RelayProtocol`] (also if its certificate is not valid now, or it speaks another
        /// version), [`Error::RelayRefused`], or something of this machine, like
        /// [`Error::StoreFailed`].
        reason: Error,
        /// When it is tried again, by the client's clock; at once if
        /// [`Client::network_changed`] is called.
        until: UnixMillis,
    },
    /// A copy of this profile runs elsewhere and has taken over: this client has stopped, and does not
    /// start again before the profile is opened anew.
    Replaced,
    /// The client is closed.
    Closed,
}

/// A relay, and how it stands with it.
///
/// ```no_run
/// # fn example(client: undertone::Client) {
/// for undertone::RelayConnection { relay, state } in client.connection().now().earlier {
///     println!("messages may still come over {relay}: {state:?}");
/// }
/// # }
/// ```
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RelayConnection {
    /// Host and port.
    pub relay: String,
    /// How it stands.
    pub state: ConnectionState,
}

/// How it stands with the relays of this profile.
///
/// ```
/// # #[tokio::main] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let dir = tempfile::tempdir()?;
/// # let join = "ut-join:relay.example:4433:BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCVH-0go";
/// # let profile = undertone::NewProfile { name: "Ada".into(), join: join.parse()? };
/// # let builder = undertone::Client::builder(dir.path().join("profile"));
/// # let builder = builder.secret(undertone::Secret::key([7; 32])).offline();
/// # let client = builder.create(profile).await?;
/// use undertone::ConnectionState;
///
/// let status: undertone::ConnectionStatus = client.connection().now();
/// assert_eq!(status.relay, "relay.example:4433");
/// assert_eq!(status.state, ConnectionState::NotStarted);
/// assert!(status.refused.is_none() && status.earlier.is_empty());
/// # client.close().await;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ConnectionStatus {
    /// The relay at which this profile is reached: host and port.
    pub relay: String,
    /// How it stands with it.
    pub state: ConnectionState,
    /// What a relay of this profile refused when it was asked last, although it can be reached:
    /// [`Error::AdmissionRefused`] if it does not accept the token (any more), or
    /// [`Error::RelayRefused`]. New contacts can't answer, and files are not stored, as long as that
    /// is so; it is tried again.
    pub refused: Option<Error>,
    /// Relays that were used before ([`Client::move_to`]), over which some contacts still write.
    pub earlier: Vec<RelayConnection>,
}

/// How it stands with the relays, and each change of it; from [`Client::connection`].
///
/// ```no_run
/// # async fn example(client: undertone::Client) -> Result<(), undertone::Error> {
/// let mut connection: undertone::ConnectionUpdates = client.connection();
/// println!("{:?}", connection.now());
/// loop {
///     println!("{:?}", connection.changed().await?);
/// }
/// # }
/// ```
#[derive(Debug)]
pub struct ConnectionUpdates {
    board: watch::Receiver<Board>,
}

impl ConnectionUpdates {
    /// How it stands now.
    ///
    /// ```
    /// # #[tokio::main] async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let dir = tempfile::tempdir()?;
    /// # let join = "ut-join:relay.example:4433:BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCVH-0go";
    /// # let profile = undertone::NewProfile { name: "Ada".into(), join: join.parse()? };
    /// # let builder = undertone::Client::builder(dir.path().join("profile"));
    /// # let builder = builder.secret(undertone::Secret::key([7; 32])).offline();
    /// # let client = builder.create(profile).await?;
    /// use undertone::ConnectionState;
    ///
    /// let mut connection = client.connection();
    /// assert_eq!(connection.now().state, ConnectionState::NotStarted);
    /// client.close().await;
    /// assert_eq!(connection.now().state, ConnectionState::Closed);
    /// # Ok(())
    /// # }
    /// ```
    pub fn now(&mut self) -> ConnectionStatus {
        self.board.borrow_and_update().status()
    }

    /// How it stands after the next change. A reader that takes its time is given the last of several
    /// changes. Cancelling loses nothing.
    ///
    /// # Errors
    /// [`Error::Closed`] once the client is closed.
    ///
    /// ```no_run
    /// # async fn example(client: undertone::Client) -> Result<(), undertone::Error> {
    /// use undertone::ConnectionState;
    ///
    /// let mut connection = client.connection();
    /// client.start()?;
    /// while !matches!(connection.now().state, ConnectionState::Connected { .. }) {
    ///     connection.changed().await?;
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub async fn changed(&mut self) -> Result<ConnectionStatus, Error> {
        if self.board.borrow().phase != Phase::Closed {
            self.board.changed().await.map_err(|_| Error::Closed)?;
        }
        match self.now() {
            ConnectionStatus { state: ConnectionState::Closed, .. } => Err(Error::Closed),
            status => Ok(status),
        }
    }
}

impl Client {
    /// How it stands with the relays of this profile, now and from now on: whether a started client
    /// is connected, and if not, why, and when it is tried again. It is of the moment, is told to all
    /// who listen, and is no event of the log.
    ///
    /// ```no_run
    /// # async fn example(client: undertone::Client) -> Result<(), undertone::Error> {
    /// use undertone::{ConnectionState, Error};
    ///
    /// client.start()?;
    /// let mut connection = client.connection();
    /// while let Ok(status) = connection.changed().await {
    ///     match status.state {
    ///         ConnectionState::Connected { over } => println!("connected by {over:?}"),
    ///         ConnectionState::Waiting { reason: Error::RelayPinMismatch { relay }, .. } => {
    ///             println!("what answers at {relay} is another relay: ask its operator");
    ///         }
    ///         ConnectionState::Waiting { reason, .. } => println!("not connected: {reason}"),
    ///         state => println!("{state:?}"),
    ///     }
    /// }
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn connection(&self) -> ConnectionUpdates {
        ConnectionUpdates { board: self.shared.connections.board.subscribe() }
    }
}

/// How far a client is, apart from any relay.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Phase {
    NotStarted,
    Started,
    Replaced,
    Closed,
}

/// What a task asks of this profile's relays.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Asked {
    Mailboxes,
    Storage,
}

/// What is known of all relays.
#[derive(Debug)]
struct Board {
    phase: Phase,
    home: RelayAddress,
    relays: BTreeMap<RelayAddress, ConnectionState>,
    /// Failures that do not show yet: it is not known yet when they are tried again.
    failed: BTreeMap<RelayAddress, Error>,
    refused: BTreeMap<Asked, Error>,
    /// How often the home, or what admits us there, has changed.
    moves: u64,
}

/// With whom and with what something was asked: what comes of it tells nothing about another home.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct AskedOf(u64);

impl Board {
    fn status(&self) -> ConnectionStatus {
        let whole = |state| (state, Vec::new());
        let (state, earlier) = match self.phase {
            Phase::NotStarted => whole(ConnectionState::NotStarted),
            Phase::Replaced => whole(ConnectionState::Replaced),
            Phase::Closed => whole(ConnectionState::Closed),
            Phase::Started => (self.state_of_home(), self.earlier()),
        };
        let refused = self.refused.values().next().cloned();
        ConnectionStatus { relay: self.home.authority(), state, refused, earlier }
    }

    fn state_of_home(&self) -> ConnectionState {
        self.relays.get(&self.home).cloned().unwrap_or(ConnectionState::Connecting)
    }

    fn earlier(&self) -> Vec<RelayConnection> {
        let earlier = self.relays.iter().filter(|(relay, _)| **relay != self.home);
        let shown = earlier.map(|(relay, state)| RelayConnection {
            relay: relay.authority(),
            state: state.clone(),
        });
        shown.collect()
    }
}

/// Where the tasks of a client write down how it stands.
pub(crate) struct Connections {
    board: watch::Sender<Board>,
}

impl Connections {
    pub(crate) fn new(home: RelayAddress) -> Self {
        let board = Board {
            phase: Phase::NotStarted,
            home,
            relays: BTreeMap::new(),
            failed: BTreeMap::new(),
            refused: BTreeMap::new(),
            moves: 0,
        };
        Self { board: watch::Sender::new(board) }
    }

    /// Wakes those who listen only if something shows.
    fn change(&self, change: impl FnOnce(&mut Board)) {
        self.board.send_if_modified(|board| {
            let before = board.status();
            change(board);
            board.status() != before
        });
    }

    fn enter(&self, phase: Phase) {
        self.change(|board| match (board.phase, phase) {
            // What ends a client is not undone.
            (Phase::Closed, _) | (Phase::Replaced, Phase::Started) => {}
            _ => board.phase = phase,
        });
    }

    pub(crate) fn started(&self) {
        self.enter(Phase::Started);
    }

    pub(crate) fn replaced(&self) {
        self.enter(Phase::Replaced);
    }

    pub(crate) fn closed(&self) {
        self.enter(Phase::Closed);
    }

    pub(crate) fn home_is(&self, relay: &RelayAddress) {
        self.change(|board| {
            board.home = relay.clone();
            board.refused.clear();
            board.moves = board.moves.wrapping_add(1);
        });
    }

    /// What an answer belongs to that is asked for now.
    pub(crate) fn asking(&self) -> AskedOf {
        AskedOf(self.board.borrow().moves)
    }

    /// These are all relays that concern this profile.
    pub(crate) fn keep(&self, relays: &[RelayAddress]) {
        self.change(|board| {
            board.relays.retain(|relay, _| relays.contains(relay));
            board.failed.retain(|relay, _| relays.contains(relay));
        });
    }

    pub(crate) fn connecting(&self, relay: &RelayAddress) {
        self.set(relay, ConnectionState::Connecting);
    }

    pub(crate) fn connected(&self, relay: &RelayAddress, carrier: transport::Carrier) {
        self.set(relay, ConnectionState::Connected { over: carrier.into() });
    }

    fn set(&self, relay: &RelayAddress, state: ConnectionState) {
        self.change(|board| {
            board.failed.remove(relay);
            board.relays.insert(relay.clone(), state);
        });
    }

    /// It failed; shows with [`Connections::wait_until`].
    pub(crate) fn failed(&self, relay: &RelayAddress, error: &Error) {
        if !matches!(error, Error::Superseded | Error::Closed) {
            self.change(|board| drop(board.failed.insert(relay.clone(), error.clone())));
        }
    }

    /// Something failed: at the home, unless it is known to have been another relay.
    pub(crate) fn failed_somewhere(&self, error: &Error) {
        let home = {
            let board = self.board.borrow();
            board.failed.is_empty().then(|| board.home.clone())
        };
        if let Some(home) = home {
            self.failed(&home, error);
        }
    }

    /// What failed is tried again at this time.
    pub(crate) fn wait_until(&self, until: UnixMillis) {
        self.change(|board| {
            for (relay, reason) in std::mem::take(&mut board.failed) {
                board.relays.insert(relay, ConnectionState::Waiting { reason, until });
            }
        });
    }

    /// Relays used before that are to be tried again.
    pub(crate) fn missing(&self) -> Vec<RelayAddress> {
        let board = self.board.borrow();
        let waiting = |state: &ConnectionState| matches!(state, ConnectionState::Waiting { .. });
        let earlier = board.relays.iter().filter(|(relay, _)| **relay != board.home);
        earlier.filter(|(_, state)| waiting(state)).map(|(relay, _)| relay.clone()).collect()
    }

    /// What came of asking our relays for something.
    pub(crate) fn answered<T>(&self, of: AskedOf, what: Asked, answer: &Result<T, Error>) {
        self.change(|board| match answer {
            _ if of != AskedOf(board.moves) => {}
            Ok(_) => drop(board.refused.remove(&what)),
            Err(error) if error.is_refusal() => {
                drop(board.refused.insert(what, error.clone()));
            }
            Err(_) => {}
        });
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use undertone_wire::RootFingerprint;

    use super::*;

    fn relay(port: u16) -> RelayAddress {
        RelayAddress::new("relay.example", port, RootFingerprint::from_bytes([7; 32])).unwrap()
    }

    fn refused() -> Error {
        Error::RelayRefused { relay: "relay.example:1".into(), code: "busy".into() }
    }

    fn listening(connections: &Connections) -> ConnectionUpdates {
        ConnectionUpdates { board: connections.board.subscribe() }
    }

    #[test]
    fn a_failure_shows_with_the_time_at_which_it_is_tried_again() {
        let (home, old) = (relay(1), relay(2));
        let connections = Connections::new(home.clone());
        let mut updates = listening(&connections);
        connections.started();
        connections.connecting(&old);
        connections.failed(&old, &refused());
        let connecting =
            RelayConnection { relay: "relay.example:2".into(), state: ConnectionState::Connecting };
        assert_eq!(updates.now().earlier, [connecting]);
        // The home has nothing to do with it.
        connections.failed_somewhere(&refused());
        let until = UnixMillis::new(5);
        connections.wait_until(until);
        let status = updates.now();
        assert_eq!(status.state, ConnectionState::Connecting);
        let waiting = ConnectionState::Waiting { reason: refused(), until };
        assert_eq!(status.earlier.first().unwrap().state, waiting);
        assert_eq!(connections.missing(), std::slice::from_ref(&old));
        // After this relay was left, nothing is known of it any more.
        connections.keep(&[home]);
        assert!(updates.now().earlier.is_empty() && connections.missing().is_empty());
        connections.failed_somewhere(&refused());
        connections.wait_until(until);
        assert_eq!(updates.now().state, waiting);
    }

    #[tokio::test]
    async fn who_listens_is_woken_by_what_shows_and_by_nothing_else() {
        let home = relay(1);
        let connections = Connections::new(home.clone());
        let mut updates = listening(&connections);
        // Before it is started, relays do not show.
        connections.connected(&home, transport::Carrier::Tcp);
        assert!(!updates.board.has_changed().unwrap());
        connections.started();
        let over = Carrier::Tcp;
        let status = updates.changed().await.unwrap();
        assert_eq!(status.state, ConnectionState::Connected { over });
        connections.connected(&home, transport::Carrier::Tcp);
        connections.failed(&home, &Error::Superseded);
        connections.wait_until(UnixMillis::new(1));
        assert!(!updates.board.has_changed().unwrap());
        // What a relay refuses shows until it has granted the same.
        let of = connections.asking();
        connections.answered::<()>(of, Asked::Storage, &Err(Error::AdmissionRefused));
        let away = Error::Unreachable { relay: home.authority() };
        connections.answered::<()>(of, Asked::Storage, &Err(away));
        connections.answered(of, Asked::Mailboxes, &Ok(true));
        assert_eq!(updates.changed().await.unwrap().refused, Some(Error::AdmissionRefused));
        connections.answered(of, Asked::Storage, &Ok(false));
        assert_eq!(updates.changed().await.unwrap().refused, None);
        // An answer to what was asked before the move says nothing of the new home.
        connections.home_is(&home);
        connections.answered::<()>(of, Asked::Storage, &Err(Error::AdmissionRefused));
        assert_eq!(updates.now().refused, None);
    }

    #[tokio::test]
    async fn what_ends_a_client_is_not_undone() {
        let connections = Connections::new(relay(1));
        let mut updates = listening(&connections);
        connections.replaced();
        connections.started();
        assert_eq!(updates.changed().await.unwrap().state, ConnectionState::Replaced);
        connections.closed();
        for _ in 0..2 {
            assert_eq!(updates.changed().await, Err(Error::Closed));
        }
        connections.replaced();
        assert_eq!(updates.now().state, ConnectionState::Closed);
    }
}
