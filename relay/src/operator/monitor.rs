//! Metrics and health over HTTP, for this machine alone.
//!
//! `/metrics` is Prometheus' text format, `/healthz` says whether the process does its work, `/readyz`
//! whether new clients should be sent here. The responder knows `GET` and `HEAD` and nothing else; a
//! request is bounded in size and time, and so is the number of requests at a time.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;

use super::{Layout, Leaf};
use crate::limits::Gate;
use crate::metrics::{Exposition, Kind, Metric, families};
use crate::store::{Ended, Room};

/// Longest request that is read.
const REQUEST: usize = 4096;

/// How long a request and its answer may take.
const TIME: Duration = Duration::from_secs(5);

/// Requests at a time: a scraper, a health check, a curious operator.
const AT_A_TIME: usize = 16;

/// What must find room for the storage not to be full: an envelope of the largest size, 64 KiB.
const LARGEST: u64 = 65_536;

/// Pause after a connection that could not be accepted, which happens when file descriptors are
/// short.
const PAUSE: Duration = Duration::from_millis(100);

macro_rules! gauges {
    ($($variant:ident $name:literal $help:literal;)*) => {$(
        const $variant: Metric = Metric { name: $name, kind: Kind::Gauge, help: $help };)*
        /// Gauges, which are looked up when somebody asks.
        const GAUGES: &[Metric] = &[$($variant),*];
    };
}

gauges! {
    BUILD "undertone_relay_build_info" "1, with the version as a label.";
    CONNECTIONS "undertone_relay_connections" "Open connections, handshakes included.";
    HANDSHAKES "undertone_relay_handshakes" "Handshakes under way.";
    SUBSCRIPTIONS "undertone_relay_subscriptions" "Mailboxes that somebody is subscribed to.";
    TRANSFERS "undertone_relay_transfers" "Blobs that are being transferred.";
    NETWORKS "undertone_relay_counted_prefixes" "Address prefixes for which something is counted.";
    OUTGOING "undertone_relay_outgoing_bytes" "Bytes that wait to be written to clients.";
    LIMIT_CONNECTIONS "undertone_relay_limit_connections" "The limit of connections.";
    LIMIT_SUBSCRIPTIONS "undertone_relay_limit_subscriptions" "The limit of subscriptions.";
    READY "undertone_relay_ready" "1 while new clients should be sent here.";
    LEAF "undertone_relay_leaf_expiry_seconds" "When the certificate in use ends, in Unix time.";
    REMOVAL_CLOCK "undertone_relay_removal_clock_seconds" "The clock by which everything is removed, in Unix time. Ahead of the machine's it says that one of the two is wrong.";
    STORE "undertone_relay_store_bytes" "Bytes of the databases' files, without blobs.";
    DISK_FREE "undertone_relay_disk_free_bytes" "Bytes that are free on the file system, as measured by the last commits.";
    STORAGE_FULL "undertone_relay_storage_full" "1 while nothing is taken in, because of disk.quota or disk.free_floor.";
    RESIDENT "process_resident_memory_bytes" "Resident memory.";
    OPEN_FDS "process_open_fds" "Open file descriptors.";
    MAX_FDS "process_max_fds" "The most file descriptors that may be open.";
    STARTED "process_start_time_seconds" "When the relay started, in Unix time.";
}

/// Every metric that the relay has.
#[must_use]
pub fn metrics() -> Vec<Metric> {
    GAUGES.iter().copied().chain(families()).collect()
}

/// What is asked about.
pub(crate) struct Watched {
    pub(crate) gate: Arc<Gate>,
    pub(crate) leaf: Arc<Leaf>,
    pub(crate) layout: Layout,
    pub(crate) room: Arc<Room>,
    /// As the store's `removal_clock`.
    pub(crate) removal: Arc<AtomicU32>,
    pub(crate) ended: Ended,
    pub(crate) started: u64,
    pub(crate) draining: AtomicBool,
}

impl Watched {
    fn is_healthy(&self) -> bool {
        self.ended.borrow().is_none()
    }

    fn is_ready(&self) -> bool {
        self.is_healthy() && !self.draining.load(Ordering::Relaxed)
    }

    fn metrics(&self) -> String {
        let mut out = Exposition::default();
        out.family(&BUILD);
        out.line(BUILD.name, &format!("{{version=\"{}\"}}", env!("CARGO_PKG_VERSION")), &1);
        let gauges = [CONNECTIONS, HANDSHAKES, SUBSCRIPTIONS, TRANSFERS, NETWORKS];
        for (metric, value) in gauges.iter().zip(self.gate.gauges()) {
            out.single(metric, &value);
        }
        out.single(&OUTGOING, &self.gate.outgoing().held());
        let limits = self.gate.limits();
        out.single(&LIMIT_CONNECTIONS, &limits.connections);
        out.single(&LIMIT_SUBSCRIPTIONS, &limits.subscriptions);
        out.single(&READY, &u8::from(self.is_ready()));
        out.single(&LEAF, &self.leaf.ends());
        out.single(&REMOVAL_CLOCK, &self.removal_clock());
        out.single(&STORE, &store_bytes(&self.layout));
        out.single(&DISK_FREE, &self.room.free());
        out.single(&STORAGE_FULL, &u8::from(self.room.check(LARGEST).is_err()));
        self.process(&mut out);
        self.gate.metrics().write(&mut out);
        out.into_text()
    }

    /// The clock of removal, in Unix time.
    fn removal_clock(&self) -> u64 {
        u64::from(self.removal.load(Ordering::Relaxed)).saturating_mul(3600)
    }

    /// What Linux says of the process; elsewhere the lines are absent.
    fn process(&self, out: &mut Exposition) {
        if let Some(bytes) = resident() {
            out.single(&RESIDENT, &bytes);
        }
        if let Ok(open) = std::fs::read_dir("/proc/self/fd") {
            out.single(&OPEN_FDS, &open.count());
        }
        if let Some(most) = most_files() {
            out.single(&MAX_FDS, &most);
        }
        out.single(&STARTED, &self.started);
    }
}

fn store_bytes(layout: &Layout) -> u64 {
    let files = std::fs::read_dir(layout.store()).into_iter().flatten().flatten();
    // A file that goes meanwhile counts for nothing.
    files.filter_map(|file| file.metadata().ok()).map(|file| file.len()).sum()
}

/// The number in the line of a file in `/proc` that begins so.
fn proc_number(file: &str, begin: &str) -> Option<u64> {
    let text = std::fs::read_to_string(file).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix(begin))?;
    line.split_whitespace().next()?.parse().ok()
}

fn resident() -> Option<u64> {
    proc_number("/proc/self/status", "VmRSS:")?.checked_mul(1024)
}

fn most_files() -> Option<u64> {
    proc_number("/proc/self/limits", "Max open files")
}

/// Answers until it is dropped.
pub(crate) struct Monitor {
    task: JoinHandle<()>,
    address: SocketAddr,
}

impl Drop for Monitor {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Monitor {
    /// Listens on an address, which must be one of this machine alone.
    pub(crate) async fn bind(listen: SocketAddr) -> std::io::Result<TcpListener> {
        if !listen.ip().is_loopback() {
            let text = "metrics are served on loopback addresses only";
            return Err(std::io::Error::new(std::io::ErrorKind::InvalidInput, text));
        }
        TcpListener::bind(listen).await
    }

    /// Answers whoever comes to a listener that [`Self::bind`] made.
    pub(crate) fn start(listener: TcpListener, watched: Arc<Watched>) -> std::io::Result<Self> {
        let address = listener.local_addr()?;
        Ok(Self { task: tokio::spawn(accept(listener, watched)), address })
    }

    /// Where it listens.
    pub(crate) const fn address(&self) -> SocketAddr {
        self.address
    }
}

async fn accept(listener: TcpListener, watched: Arc<Watched>) {
    let room = Arc::new(Semaphore::new(AT_A_TIME));
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            tokio::time::sleep(PAUSE).await;
            continue;
        };
        // Who finds no room is hung up on.
        let Ok(permit) = room.clone().try_acquire_owned() else { continue };
        let watched = watched.clone();
        tokio::spawn(async move {
            // A client that is slow or leaves gets no answer.
            let _ = tokio::time::timeout(TIME, answer(stream, watched)).await;
            drop(permit);
        });
    }
}

async fn answer(mut stream: TcpStream, watched: Arc<Watched>) -> std::io::Result<()> {
    let mut request = Vec::new();
    let mut piece = [0; 512];
    while !is_whole(&request) {
        let count = stream.read(&mut piece).await?;
        if count == 0 || request.len().saturating_add(count) > REQUEST {
            return Ok(());
        }
        request.extend_from_slice(piece.get(..count).unwrap_or_default());
    }
    let reply = tokio::task::spawn_blocking(move || reply(&request, &watched)).await?;
    stream.write_all(reply.as_bytes()).await?;
    stream.shutdown().await
}

/// Whether the empty line behind the headers is there.
fn is_whole(request: &[u8]) -> bool {
    request.windows(4).any(|end| end == b"\r\n\r\n")
}

fn reply(request: &[u8], watched: &Watched) -> String {
    let line = request.split(|byte| *byte == b'\r').next().unwrap_or_default();
    let mut words = core::str::from_utf8(line).unwrap_or_default().split(' ');
    let (method, path) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let path = path.split('?').next().unwrap_or_default();
    let state =
        |good: bool| if good { ("200 OK", "ok\n") } else { ("503 Service Unavailable", "no\n") };
    let (status, body) = match (method, path) {
        ("GET" | "HEAD", "/metrics") => ("200 OK", watched.metrics()),
        ("GET" | "HEAD", "/healthz") => owned(state(watched.is_healthy())),
        ("GET" | "HEAD", "/readyz") => owned(state(watched.is_ready())),
        ("GET" | "HEAD", _) => {
            owned(("404 Not Found", "there are /metrics, /healthz and /readyz\n"))
        }
        _ => owned(("405 Method Not Allowed", "GET or HEAD\n")),
    };
    let length = body.len();
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Type: text/plain; version=0.0.4; charset=utf-8\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n"
    );
    if method == "HEAD" { head } else { head + &body }
}

fn owned((status, body): (&'static str, &str)) -> (&'static str, String) {
    (status, body.to_owned())
}
