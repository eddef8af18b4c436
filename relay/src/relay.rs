//! A running relay.

use core::fmt;
use std::fs::{File, TryLockError};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use quinn::{Endpoint, EndpointConfig, Runtime as _};
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use undertone_wire::transport::{QuicLimits, TcpTls, server_config};
use undertone_wire::{ErrorCode, JoinAddress, RelayAddress};

use crate::admission::{OPEN_TOKEN, new_token};
use crate::clock::Clock;
use crate::config::Config;
use crate::limits::Gate;
use crate::mailboxes::Hub;
use crate::metrics::{Counter, Metrics};
use crate::operator::monitor::{Monitor, Watched};
use crate::operator::{Identity, Layout, Leaf, private_directory, read_if_there, write_private};
use crate::store::audit::Action;
use crate::store::sqlite::SqliteStore;
use crate::store::{
    Command, Outcome, ReadThread, Room, Store, StoreFailure, StoreHandle, StoreThread, TokenClass,
    Told,
};
use crate::tickets::Tickets;
use crate::transport::{
    BlobDirectory, ConnectionIds, Doors, Reading, Server, Services, Socket, Tap, listen,
};

/// How often expired things are removed. A relay that is restarted more often than this removes
/// nothing: what it is told about time is worth little.
const MAINTENANCE: Duration = Duration::from_secs(3600);

/// Mailboxes that are looked at in one job for the store.
const STATUS_AT_A_TIME: usize = 256;

/// What a day of uptime is in hours of maintenance.
const HOURS_OF_DAY: u32 = 24;

/// Starts relays.
pub struct Relay;

/// Why a relay did not start.
#[derive(Debug)]
#[non_exhaustive]
pub enum StartError {
    /// Directory or store.
    Store(StoreFailure),
    /// The address to listen on.
    Listen(SocketAddr, std::io::Error),
    /// The host to tell clients.
    Host(String),
    /// The address to serve metrics on.
    Monitoring(SocketAddr, std::io::Error),
    /// TLS could not be set up.
    Tls,
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Store(failure) => failure.fmt(f),
            Self::Listen(address, error) => {
                write!(f, "cannot listen on {address}: {error}; choose another with --listen")
            }
            Self::Host(host) => write!(
                f,
                "{host:?} is neither a host name nor an IP address; give the name that clients use with --host"
            ),
            Self::Monitoring(address, error) => write!(
                f,
                "cannot serve metrics on TCP {address}: {error}; choose another address in monitoring.listen"
            ),
            Self::Tls => f.write_str("TLS could not be set up"),
        }
    }
}

impl std::error::Error for StartError {}

impl From<StoreFailure> for StartError {
    fn from(failure: StoreFailure) -> Self {
        Self::Store(failure)
    }
}

impl From<std::io::Error> for StartError {
    fn from(error: std::io::Error) -> Self {
        Self::Store(error.into())
    }
}

impl Relay {
    /// Opens (or makes) the relay in the configured directory and serves it. Must be called inside
    /// a tokio runtime, which serves the connections.
    ///
    /// # Errors
    /// [`StartError`].
    pub async fn start(config: Config) -> Result<RunningRelay, StartError> {
        let layout = Layout::new(&config.directory);
        private_directory(&config.directory)?;
        let lock = Arc::new(lock(&layout)?);
        check_files(&layout)?;
        private_directory(&layout.store())?;
        let identity = Identity::open(&layout)?;
        let leaf = Arc::new(Leaf::new(identity.leaf(config.clock.unix_seconds())?));
        let mut store = SqliteStore::open(&layout.store(), config.retention_days)?;
        store.set_policy(&config.policy());
        if config.accept_clock {
            store.accept_clock(config.clock.today())?;
        }
        store.warn_of_clock(config.clock.today());
        let (room, removal) = (store.room(), store.removal_clock());
        let blobs = BlobDirectory::open(&layout.blobs(), room.clone())?;
        blobs.sweep(&store.blob_ids()?)?;

        let doors = doors(&config, &identity, leaf.clone()).await?;
        let address = public_address(&config, &identity, doors.quic.local_addr()?)?;
        write_private(&layout.address(), address.to_string().as_bytes())?;

        let incarnation = store.incarnation();
        let today = config.clock.today();
        let tickets = Arc::new(Tickets::open(&layout.ticket_keys(), incarnation, today)?);
        let reader = store.reader()?;
        let monitoring = match config.monitoring {
            Some(listen) => Some(
                Monitor::bind(listen)
                    .await
                    .map_err(|error| StartError::Monitoring(listen, error))?,
            ),
            None => None,
        };
        // Not before everything that the configuration can make fail: a token is shown only once.
        let first_token = first_token(&mut store, &config)?;
        let hub = Arc::new(Hub::default());
        let wake = hub.clone();
        let metrics = Arc::new(Metrics::default());
        let (commits, refusals) = (metrics.clone(), metrics.clone());
        let erased = Arc::new(Notify::new());
        let tell = erased.clone();
        let told = Told {
            delivered: Box::new(move |mailbox, seq, envelope| wake.arrived(mailbox, seq, envelope)),
            committed: Box::new(move |commands, took| commits.commit(commands, took)),
            erased: Box::new(move || tell.notify_one()),
            shares: Box::new(move |reached| refusals.add(Counter::SharesReached, reached)),
        };
        let (thread, handle) =
            StoreThread::start(Box::new(store), config.clock.clone(), told, Some(lock.clone()))?;
        let reader = ReadThread::start(reader, &handle)?;
        let services = Services {
            store: handle.clone(),
            reader,
            hub: hub.clone(),
            incarnation,
            blobs: blobs.clone(),
            tickets: tickets.clone(),
            clock: config.clock.clone(),
            tap: Tap(config.tap.clone()),
        };
        let gate = Gate::new(config.limits.clone(), &config.deny, config.open, metrics);
        let blob_files = layout.blobs();
        let watched = Arc::new(Watched {
            gate: gate.clone(),
            leaf: leaf.clone(),
            layout,
            room: room.clone(),
            removal,
            ended: thread.ended.clone(),
            started: config.clock.unix_seconds(),
            draining: AtomicBool::new(false),
        });
        let monitor = monitoring.map(|listener| Monitor::start(listener, watched.clone()));
        let monitor = monitor.transpose()?;
        if config.open {
            ensure_open_token(&handle).await;
        }
        let server = Server::start(doors, services, gate.clone());
        let (store, clock) = (handle.clone(), config.clock.clone());
        let accept_clock = config.accept_clock;
        let keeper = Arc::new(Keeper {
            identity,
            leaf,
            store,
            hub,
            erased,
            blobs,
            tickets,
            gate,
            clock,
            room,
            blob_files,
            accept_clock,
        });
        let maintenance = Maintenance(tokio::spawn(keeper.clone().keep()));
        let join = first_token.map(|token| JoinAddress::new(address.clone(), token));
        let reloadable = Mutex::new(Reloadable { drain: config.drain, open: config.open });
        Ok(RunningRelay {
            address,
            join,
            server,
            thread,
            handle,
            keeper,
            maintenance,
            watched,
            monitor,
            reloadable,
            _lock: lock,
        })
    }
}

/// The address that a relay in this directory last told its clients; `None` if it never ran.
///
/// # Errors
/// [`StoreFailure`].
pub fn known_address(directory: &Path) -> Result<Option<RelayAddress>, StoreFailure> {
    let Some(text) = read_if_there(&Layout::new(directory).address())? else { return Ok(None) };
    let text = String::from_utf8(text).map_err(|_| StoreFailure::Damaged("the file address"))?;
    let address = text.parse().map_err(|_| StoreFailure::Damaged("the file address"))?;
    Ok(Some(address))
}

/// One process at a time.
fn lock(layout: &Layout) -> Result<File, StoreFailure> {
    let file = File::options().write(true).create(true).truncate(false).open(layout.lock())?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(StoreFailure::InUse),
        Err(TryLockError::Error(error)) => Err(error.into()),
    }
}

/// A first start makes the root key, then the databases, then the address. A later one without the
/// store would forget everybody's mail, one without the key would be another relay: refused. What a
/// restore has begun may look like a first start, and has the only copy of somebody's blobs.
fn check_files(layout: &Layout) -> Result<(), StoreFailure> {
    if layout.restoring().try_exists()? {
        return Err(StoreFailure::HalfRestored);
    }
    let there = |name: &str| layout.store().join(name).try_exists();
    let root = layout.root_key().try_exists()? || layout.leaf().try_exists()?;
    let started = layout.address().try_exists()?;
    if !root && (started || there("relay.db")? || there("keys.db")?) {
        return Err(StoreFailure::Damaged("the file root.key is missing, and leaf.pem as well"));
    }
    if started && !(there("relay.db")? && there("keys.db")?) {
        return Err(StoreFailure::Damaged("relay.db or keys.db is missing"));
    }
    Ok(())
}

/// A token, if there is none yet: the first run.
fn first_token(
    store: &mut SqliteStore,
    config: &Config,
) -> Result<Option<undertone_wire::AdmissionToken>, StoreFailure> {
    let today = config.clock.today();
    match store.commit(today, &[Command::Tokens])?.pop() {
        Some(Ok(Outcome::Tokens(tokens))) if tokens.is_empty() => {}
        _ => return Ok(None),
    }
    let token = new_token()?;
    store.commit(today, &[Command::AddToken(token.verifier(), config.first_token)])?;
    Ok(Some(token))
}

/// What everybody makes without a token is counted for a token that everybody knows. If the store
/// ends meanwhile, so does the relay.
async fn ensure_open_token(store: &StoreHandle) {
    let verifier = undertone_wire::AdmissionToken::from_bytes(OPEN_TOKEN).verifier();
    let Ok(Ok(Outcome::Tokens(tokens))) = store.run(Command::Tokens).await else { return };
    if tokens.iter().all(|token| token.verifier != verifier) {
        let _ = store.run(Command::AddToken(verifier, TokenClass::Open)).await;
    }
}

fn quic_config(config: &Config, leaf: Arc<Leaf>) -> Result<quinn::ServerConfig, StartError> {
    let limits = QuicLimits { streams: config.limits.streams, ..QuicLimits::default() };
    server_config(leaf, limits).map_err(|_| StartError::Tls)
}

async fn doors(config: &Config, identity: &Identity, leaf: Arc<Leaf>) -> Result<Doors, StartError> {
    let server = quic_config(config, leaf.clone())?;
    let tls = TcpTls::new(leaf).map_err(|_| StartError::Tls)?;
    let failed = |error| StartError::Listen(config.listen, error);
    let sockets = listen(config.listen).await.map_err(failed)?;
    let keys = identity.connection_keys();
    let mut endpoint = EndpointConfig::new(Arc::new(keys.reset));
    endpoint.cid_generator(move || Box::new(ConnectionIds::new(keys.ids.clone())));
    let runtime = Arc::new(Reading::start().map_err(failed)?);
    let socket = Socket(runtime.wrap_udp_socket(sockets.udp).map_err(failed)?);
    let quic =
        Endpoint::new_with_abstract_socket(endpoint, Some(server), Arc::new(socket), runtime);
    let tcp = tokio::net::TcpListener::from_std(sockets.tcp).map_err(failed)?;
    Ok(Doors {
        quic: quic.map_err(failed)?,
        tcp,
        tls,
        #[cfg(undertone_test_transport)]
        test: crate::transport::listen_unprotected().await.map_err(failed)?,
    })
}

fn public_address(
    config: &Config,
    identity: &Identity,
    bound: SocketAddr,
) -> Result<RelayAddress, StartError> {
    let host = match &config.host {
        Some(host) => host.clone(),
        None if bound.ip().is_unspecified() => machine_address().to_string(),
        None => bound.ip().to_string(),
    };
    RelayAddress::new(&host, bound.port(), identity.fingerprint())
        .map_err(|_| StartError::Host(host))
}

/// The address from which this machine would speak to others. Connecting a UDP socket sends
/// nothing; the address is one of those reserved for documentation (RFC 5737).
fn machine_address() -> IpAddr {
    let probe = || {
        let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
        socket.connect((Ipv4Addr::new(192, 0, 2, 1), 9))?;
        socket.local_addr()
    };
    probe().map_or(IpAddr::V4(Ipv4Addr::LOCALHOST), |address: SocketAddr| address.ip())
}

/// Removes what has expired and renews the leaf.
struct Keeper {
    identity: Identity,
    leaf: Arc<Leaf>,
    store: StoreHandle,
    hub: Arc<Hub>,
    /// Something was erased by an operator's command.
    erased: Arc<Notify>,
    blobs: BlobDirectory,
    tickets: Arc<Tickets>,
    gate: Arc<Gate>,
    clock: Arc<dyn Clock>,
    room: Arc<Room>,
    blob_files: PathBuf,
    accept_clock: bool,
}

impl Keeper {
    async fn keep(self: Arc<Self>) {
        // Not at the start: then nothing is known about how right the clock is.
        if self.accept_clock {
            self.remove(0).await;
        }
        let mut next = tokio::time::Instant::now() + MAINTENANCE;
        loop {
            tokio::select! {
                () = tokio::time::sleep_until(next) => next += MAINTENANCE,
                () = self.erased.notified() => {
                    self.end_erased().await;
                    continue;
                }
            }
            self.remove(1).await;
            // By the clock and not by the uptime: a machine may have slept.
            if self.leaf.is_old(self.clock.unix_seconds()) {
                self.renew();
            }
        }
    }

    fn renew(&self) {
        match self.identity.leaf(self.clock.unix_seconds()) {
            Ok(leaf) => {
                self.leaf.change(leaf);
                self.gate.metrics().count(Counter::LeafRenewals);
                tracing::debug!("the certificate was renewed");
            }
            Err(failure) => tracing::error!(%failure, "the certificate could not be renewed"),
        }
    }

    async fn remove(&self, hours: u32) {
        if let Err(failure) = self.tickets.rotate(self.clock.today()) {
            tracing::error!(%failure, "the keys of tickets could not be renewed");
        }
        let removed = self.store.expire(hours).await.unwrap_or_default();
        for mailbox in removed.mailboxes {
            self.hub.deleted(mailbox);
        }
        for blob in removed.blobs {
            // Reported where it fails; the next start sweeps what is left.
            let _ = self.blobs.remove(&self.store, blob).await;
        }
        while self.store.shrink().await == Some(true) {}
    }

    /// Tells those who are subscribed to a mailbox that was erased, and counts what blobs are left. What
    /// comes in while they are counted may be missing from the sum, until the next start: a piece of each
    /// upload under way.
    async fn end_erased(&self) {
        let (room, files) = (self.room.clone(), self.blob_files.clone());
        let counted = tokio::task::spawn_blocking(move || count_bytes(&files)).await;
        match counted {
            Ok(Ok(bytes)) => room.set_blobs(bytes),
            Ok(Err(error)) => tracing::error!(%error, "blobs could not be counted"),
            // The relay ends.
            Err(_) => return,
        }
        for mailboxes in self.hub.mailboxes().chunks(STATUS_AT_A_TIME) {
            let commands = mailboxes.iter().copied().map(Command::Status).collect();
            let Ok(answers) = self.store.submit(commands).await else { return };
            let Ok(answers) = answers.await else { return };
            for (mailbox, answer) in mailboxes.iter().zip(answers) {
                if answer == Err(ErrorCode::Unknown) {
                    self.hub.deleted(*mailbox);
                }
            }
        }
    }
}

/// Bytes of the files in a directory.
fn count_bytes(directory: &Path) -> std::io::Result<u64> {
    let mut bytes = 0_u64;
    for entry in std::fs::read_dir(directory)? {
        // One that goes meanwhile counts for nothing.
        bytes = bytes.saturating_add(entry?.metadata().map_or(0, |file| file.len()));
    }
    Ok(bytes)
}

/// The task that maintains; it ends with the relay, since it holds the store open.
struct Maintenance(JoinHandle<()>);

impl Maintenance {
    /// Ends the task and waits for that.
    async fn end(mut self) {
        self.0.abort();
        let _ = (&mut self.0).await;
    }
}

impl Drop for Maintenance {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// A relay that serves until it is shut down or dropped.
pub struct RunningRelay {
    address: RelayAddress,
    join: Option<JoinAddress>,
    server: Server,
    thread: StoreThread,
    handle: StoreHandle,
    keeper: Arc<Keeper>,
    maintenance: Maintenance,
    watched: Arc<Watched>,
    monitor: Option<Monitor>,
    reloadable: Mutex<Reloadable>,
    _lock: Arc<File>,
}

/// What a reload changes in the relay itself.
struct Reloadable {
    drain: Duration,
    open: bool,
}

impl fmt::Debug for RunningRelay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RunningRelay({})", self.address.authority())
    }
}

impl RunningRelay {
    /// What clients need to find it.
    #[must_use]
    pub const fn address(&self) -> &RelayAddress {
        &self.address
    }

    /// The first run's join address. Not stored anywhere: on later runs there is none.
    #[must_use]
    pub const fn join_address(&self) -> Option<&JoinAddress> {
        self.join.as_ref()
    }

    /// Makes another token.
    ///
    /// # Errors
    /// [`StoreFailure`].
    pub async fn new_join_address(&self, class: TokenClass) -> Result<JoinAddress, StoreFailure> {
        let token = new_token()?;
        match self.handle.run(Command::AddToken(token.verifier(), class)).await {
            Ok(Ok(Outcome::Token(_))) => Ok(JoinAddress::new(self.address.clone(), token)),
            _ => Err(StoreFailure::Damaged("the table of tokens")),
        }
    }

    /// The address that whoever has no token gives to `undertone init`; `None` unless the relay is
    /// open.
    #[must_use]
    pub fn open_join_address(&self) -> Option<JoinAddress> {
        let token = undertone_wire::AdmissionToken::from_bytes(OPEN_TOKEN);
        self.reloadable().open.then(|| JoinAddress::new(self.address.clone(), token))
    }

    fn reloadable(&self) -> MutexGuard<'_, Reloadable> {
        self.reloadable.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Where metrics and health can be asked for.
    #[must_use]
    pub fn monitoring(&self) -> Option<SocketAddr> {
        self.monitor.as_ref().map(Monitor::address)
    }

    /// Takes over what can be changed while the relay runs (limits, deny lists, quotas, retention,
    /// openness, drain time) and renews the certificate. Connections go on.
    pub async fn reload(&self, config: &Config) {
        if config.open {
            ensure_open_token(&self.handle).await;
        }
        self.handle.set_policy(config.policy()).await;
        self.keeper.gate.change(config.limits.clone(), &config.deny, config.open);
        for mailbox in self.keeper.hub.mailboxes() {
            if self.keeper.gate.denies(mailbox) {
                self.keeper.hub.deleted(mailbox);
            }
        }
        *self.reloadable() = Reloadable { drain: config.drain, open: config.open };
        self.keeper.renew();
        // It was made once at the start, from nothing that can differ now but the limits.
        if let Ok(quic) = quic_config(config, self.keeper.leaf.clone()) {
            self.server.reconfigure(quic);
        }
        self.keeper.gate.metrics().count(Counter::ReloadDone);
        // A store that has failed is told by `failed`.
        let _ = self.handle.run(Command::Audit(Action::Reloaded)).await;
    }

    /// A reload could not be done, since the configuration is not good: the old one holds.
    pub fn reload_failed(&self) {
        self.keeper.gate.metrics().count(Counter::ReloadFailed);
    }

    /// Does now what is done in a day of uptime: removes what has expired, though not more than
    /// expires in two days, and renews the certificate.
    pub async fn maintain(&self) {
        self.keeper.renew();
        self.keeper.remove(HOURS_OF_DAY).await;
    }

    /// Waits until the store fails, which ends the relay's service: call [`Self::kill`] and exit.
    pub async fn failed(&self) -> Arc<StoreFailure> {
        let mut ended = self.thread.ended.clone();
        let failure = ended
            .wait_for(|ended| matches!(ended, Some(Err(_))))
            .await
            .ok()
            .and_then(|ended| ended.as_ref().and_then(|ended| ended.as_ref().err().cloned()));
        match failure {
            Some(failure) => failure,
            // The thread ended in order, or panicked without a report.
            None => Arc::new(StoreFailure::Damaged("the store's thread ended")),
        }
    }

    /// Takes nothing new, answers what was asked, closes the store.
    ///
    /// # Errors
    /// [`StoreFailure`] if the store failed; what was answered is durable nevertheless.
    pub async fn shutdown(self) -> Result<(), Arc<StoreFailure>> {
        self.watched.draining.store(true, Ordering::Relaxed);
        let drain = self.reloadable().drain;
        self.maintenance.end().await;
        self.server.drain(drain).await;
        let ended = self.thread.ended.clone();
        self.thread.close().await;
        match &*ended.borrow() {
            Some(Err(failure)) => Err(failure.clone()),
            _ => Ok(()),
        }
    }

    /// Ends everything at once and leaves the store as a killed process would: what is in no
    /// commit is lost, nothing is closed.
    pub async fn kill(self) {
        self.maintenance.end().await;
        self.thread.kill().await;
        self.server.kill().await;
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[tokio::test]
    async fn a_relay_that_is_dropped_closes_its_store_and_keeps_its_lock_until_then() {
        let directory = tempfile::tempdir().unwrap();
        let mut config = Config::new(directory.path().to_owned());
        config.listen = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let relay = Relay::start(config).await.unwrap();
        let mut ended = relay.thread.ended.clone();
        let layout = Layout::new(directory.path());
        drop(relay);
        // Its tasks have not run since, and some of them can still ask the store.
        assert!(matches!(lock(&layout), Err(StoreFailure::InUse)));
        let closed = ended.wait_for(Option::is_some);
        let closed = tokio::time::timeout(Duration::from_secs(60), closed).await;
        assert!(matches!(*closed.unwrap().unwrap(), Some(Ok(()))));
        assert!(lock(&layout).is_ok());
    }

    #[tokio::test]
    async fn a_blob_that_an_operator_erased_is_not_counted_any_more() {
        use undertone_wire::{
            BlobDeleteCapability, BlobHash, BlobId, WriteCapability, ids::BlobReadCapability,
        };
        let directory = tempfile::tempdir().unwrap();
        let mut config = Config::new(directory.path().to_owned());
        config.listen = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let relay = Relay::start(config).await.unwrap();
        let (secret, blob) = ([7; 32], BlobId::from_bytes([8; 32]));
        let record = crate::store::BlobRecord {
            blob,
            read: BlobReadCapability::from_bytes(secret).hash(),
            delete: BlobDeleteCapability::from_bytes([9; 32]).hash(),
            length: 1000,
            hash: BlobHash::from_bytes([0; 32]),
            expires: undertone_wire::Day::new(1_000_000),
        };
        let verifier = relay.join_address().unwrap().token().verifier();
        let announced = relay.handle.run(Command::AnnounceBlob(record, verifier)).await;
        assert!(matches!(announced, Ok(Ok(_))), "{announced:?}");
        let room = &relay.watched.room;
        let before = room.used();
        std::fs::write(relay.keeper.blob_files.join(blob.to_string()), [1; 1000]).unwrap();
        room.add_blob_bytes(1000);
        let at = directory.path().to_owned();
        let erased = tokio::task::spawn_blocking(move || {
            let claim = WriteCapability::from_bytes(secret);
            let claim = crate::operator::Claim::Capability(claim);
            crate::operator::erase(&at, undertone_wire::Day::new(20_000), &claim)
        });
        assert_eq!(erased.await.unwrap().unwrap(), crate::store::audit::Thing::Blob);
        // Whatever comes next, the relay notices.
        let _ = relay.handle.run(Command::Tokens).await;
        for _ in 0..500 {
            if room.used() < before + 1000 {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        assert!(room.used() < before + 1000);
    }
}
