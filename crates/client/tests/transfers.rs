//! Files that are interrupted in the middle: by a kill of the process, or because they were cancelled.
//! With a real relay on loopback that holds a file back at a given byte, and processes that are
//! really killed.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use common::forwarder::Forwarder;
use common::{PATIENCE, all_events, contact};
use tempfile::TempDir;
use undertone::{
    Client, ContactId, EventKind, JoinAddress, LinkKind, MessageId, MessageKind, MessageState,
    NewProfile, RelayAddress, Secret,
};
use undertone_relay::{Config, Direction, FrameTap, Relay, RunningRelay};

/// More than all buffers between two ends hold.
const SIZE: usize = 6 << 20;

/// Where a file is held back: behind some pieces, and far before its end.
const HELD_AT: usize = 1 << 20;

/// Names the profile that a process of its own opens.
const PROFILE: &str = "UNDERTONE_TEST_PROFILE";

/// Sees the pieces of one blob at the relay, and holds the relay up at one of them.
#[derive(Default)]
struct Gate {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    blob: Vec<u8>,
    moved: Vec<Range<usize>>,
    /// The direction that is held up, at [`HELD_AT`].
    holds: Option<Direction>,
    reached: bool,
}

impl State {
    /// Where in the blob these bytes are, if they are a piece of it.
    fn place(&self, bytes: &[u8]) -> Option<usize> {
        let next = self.moved.last().map_or(0, |piece| piece.end);
        let fits = |at: usize| self.blob.get(at..at + bytes.len()) == Some(bytes);
        if !bytes.is_empty() && fits(next) {
            return Some(next);
        }
        let begin = bytes.get(..64)?;
        self.blob.windows(64).position(|window| window == begin).filter(|at| fits(*at))
    }
}

impl FrameTap for Gate {
    fn frame(&self, direction: Direction, bytes: &[u8]) {
        let mut state = self.state.lock().unwrap();
        let Some(at) = state.place(bytes) else { return };
        state.moved.push(at..at + bytes.len());
        if state.holds == Some(direction) && at >= HELD_AT {
            state.reached = true;
            self.changed.notify_all();
            drop(self.changed.wait_while(state, |state| state.holds.is_some()).unwrap());
        }
    }
}

impl Gate {
    fn close(&self, blob: Vec<u8>, holds: Direction) {
        *self.state.lock().unwrap() = State { blob, holds: Some(holds), ..State::default() };
    }

    async fn reached(self: &Arc<Self>) {
        let gate = self.clone();
        let wait = move || {
            let state = gate.state.lock().unwrap();
            let waited = gate.changed.wait_timeout_while(state, PATIENCE, |state| !state.reached);
            assert!(waited.unwrap().0.reached, "the file was not moved so far");
        };
        tokio::task::spawn_blocking(wait).await.unwrap();
    }

    fn open(&self) {
        self.state.lock().unwrap().holds = None;
        self.changed.notify_all();
    }

    /// What was moved since this was asked last.
    fn moved(&self) -> Vec<Range<usize>> {
        std::mem::take(&mut self.state.lock().unwrap().moved)
    }

    /// Waits until nothing is moved any more.
    async fn still(&self) {
        let mut before = usize::MAX;
        loop {
            tokio::time::sleep(Duration::from_millis(500)).await;
            let now = self.state.lock().unwrap().moved.len();
            if now == before {
                return;
            }
            before = now;
        }
    }
}

/// How people reach the relay.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Network {
    /// As they like: over QUIC. What may be on its way is little.
    Whole,
    /// UDP is blocked. The end of a process shows at once.
    WithoutUdp,
}

/// A relay that sees what is held up.
struct World {
    temp: TempDir,
    relay: RunningRelay,
    gate: Arc<Gate>,
    join: String,
}

impl World {
    async fn new(network: Network) -> Self {
        let temp = tempfile::tempdir().unwrap();
        let gate = Arc::new(Gate::default());
        let mut config = Config::new(temp.path().join("relay"));
        config.listen = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        config.tap = Some(gate.clone());
        let relay = Relay::start(config).await.unwrap();
        let join = relay.join_address().unwrap();
        let listen = SocketAddr::from((Ipv4Addr::LOCALHOST, join.relay().port()));
        let port = match network {
            Network::Whole => listen.port(),
            Network::WithoutUdp => Forwarder::to(listen).await.port,
        };
        let behind = RelayAddress::new("127.0.0.1", port, *join.relay().root()).unwrap();
        let join = JoinAddress::new(behind, join.token().duplicate()).to_text().to_string();
        Self { temp, relay, gate, join }
    }

    fn dir(&self, name: &str) -> PathBuf {
        self.temp.path().join(name)
    }

    async fn person(&self, name: &str) -> Client {
        let profile = NewProfile { name: name.to_owned(), join: self.join.parse().unwrap() };
        builder(&self.dir(name)).create(profile).await.unwrap()
    }

    async fn acquainted(&self) -> (Client, Client) {
        let (ada, bob) = (self.person("Ada").await, self.person("Bob").await);
        let link = bob.invite(LinkKind::SingleUse, None).await.unwrap().link;
        ada.add(&link, None).await.unwrap();
        common::settle(&[&ada, &bob]).await;
        (ada, bob)
    }

    /// Runs a pass of this profile in a process of its own.
    fn spawn(&self, name: &str) -> Killed {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", "a_process_of_its_own"]).env(PROFILE, self.dir(name));
        Killed(command.stdout(Stdio::null()).spawn().unwrap())
    }

    /// The ciphertexts that wait at a profile to be uploaded.
    fn blobs(&self, name: &str) -> Vec<PathBuf> {
        entries(&self.dir(name).join("blobs"))
    }

    async fn end(self) {
        self.relay.shutdown().await.unwrap();
    }
}

fn entries(dir: &Path) -> Vec<PathBuf> {
    fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect()
}

/// Killed at the latest with the test, however that ends.
struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn builder(dir: &Path) -> undertone::Builder {
    Client::builder(dir).secret(Secret::key([7; 32])).timeout(Duration::from_secs(20))
}

/// Not a test by itself: what [`World::spawn`] runs.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_of_its_own() {
    let Some(dir) = std::env::var_os(PROFILE) else { return };
    let client = builder(Path::new(&dir)).open().await.unwrap();
    client.sync().await.unwrap();
}

/// A file of which no two parts are alike.
fn content() -> Vec<u8> {
    let numbers = (0_u64..).flat_map(|n| n.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_le_bytes());
    numbers.take(SIZE).collect()
}

/// Queues a file; its ciphertext.
async fn queue(world: &World, ada: &Client, to_bob: ContactId) -> (MessageId, Vec<u8>) {
    let source = world.dir("plan.bin");
    fs::write(&source, content()).unwrap();
    let id = ada.send_file(to_bob, &source).await.unwrap();
    let blobs = world.blobs("Ada");
    assert_eq!(blobs.len(), 1);
    (id, fs::read(&blobs[0]).unwrap())
}

/// Where a file is that came.
async fn path(bob: &Client, to_ada: ContactId, id: MessageId) -> Option<PathBuf> {
    match bob.received_message(to_ada, id).await.unwrap().kind {
        MessageKind::File(file) => file.path,
        other => panic!("{other:?}"),
    }
}

/// These follow each other, from one place to another.
fn assert_contiguous(moved: &[Range<usize>], whole: Range<usize>) {
    assert_eq!(moved.first().map(|piece| piece.start), Some(whole.start));
    assert_eq!(moved.last().map(|piece| piece.end), Some(whole.end));
    for pair in moved.windows(2) {
        assert_eq!(pair[0].end, pair[1].start);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn an_upload_that_a_kill_ended_sends_only_what_the_relay_lacks() {
    let world = World::new(Network::WithoutUdp).await;
    let (ada, bob) = world.acquainted().await;
    let (to_bob, to_ada) = (contact(&ada, "Bob").await, contact(&bob, "Ada").await);
    let (id, blob) = queue(&world, &ada, to_bob).await;
    let length = blob.len();
    ada.close().await;
    world.gate.close(blob, Direction::Received);
    let killed = world.spawn("Ada");
    world.gate.reached().await;
    drop(killed);
    world.gate.open();
    // What was on its way arrives, and no more.
    world.gate.still().await;
    let before = world.gate.moved();
    let stored = before.last().unwrap().end;
    assert_contiguous(&before, 0..stored);
    assert!(stored < length, "all of it came before the process was killed");

    let ada = builder(&world.dir("Ada")).open().await.unwrap();
    assert_eq!(ada.message(id).await.unwrap().state, MessageState::Queued);
    ada.sync().await.unwrap();
    assert_eq!(ada.message(id).await.unwrap().state, MessageState::Accepted);
    assert_contiguous(&world.gate.moved(), stored..length);
    assert!(world.blobs("Ada").is_empty(), "the ciphertext is not needed any more");
    assert_eq!(bob.sync().await.unwrap().files, 1);
    let path = path(&bob, to_ada, id).await.unwrap();
    assert!(fs::read(path).unwrap() == content(), "the file differs");
    ada.close().await;
    bob.close().await;
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_download_that_a_kill_ended_fetches_only_what_is_missing() {
    let world = World::new(Network::WithoutUdp).await;
    let (ada, bob) = world.acquainted().await;
    let (to_bob, to_ada) = (contact(&ada, "Bob").await, contact(&bob, "Ada").await);
    let (id, blob) = queue(&world, &ada, to_bob).await;
    let length = blob.len();
    ada.sync().await.unwrap();
    bob.close().await;
    world.gate.close(blob, Direction::Sent);
    let killed = world.spawn("Bob");
    world.gate.reached().await;
    // Something of what the relay has sent is on the disk.
    let part = world.dir("Bob").join("files").join(format!(".{to_ada}-{id}.part"));
    let arrived = async {
        while fs::metadata(&part).map_or(0, |meta| meta.len()) == 0 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(PATIENCE, arrived).await.expect("nothing of it came");
    drop(killed);
    world.gate.open();
    world.gate.still().await;
    world.gate.moved();
    let have = usize::try_from(fs::metadata(&part).unwrap().len()).unwrap();
    assert!((1..length).contains(&have), "{have} of {length}");

    let bob = builder(&world.dir("Bob")).open().await.unwrap();
    assert_eq!(bob.sync().await.unwrap().files, 1);
    assert_contiguous(&world.gate.moved(), have..length);
    let path = path(&bob, to_ada, id).await.unwrap();
    assert!(fs::read(path).unwrap() == content(), "the file differs");
    assert_eq!(entries(&world.dir("Bob").join("files")).len(), 1, "nothing is left beside it");
    ada.close().await;
    bob.close().await;
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn an_upload_that_is_cancelled_on_its_way_leaves_nothing_anywhere() {
    let world = World::new(Network::Whole).await;
    let (ada, bob) = world.acquainted().await;
    let (to_bob, to_ada) = (contact(&ada, "Bob").await, contact(&bob, "Ada").await);
    let (id, blob) = queue(&world, &ada, to_bob).await;
    world.gate.close(blob, Direction::Received);
    ada.start().unwrap();
    world.gate.reached().await;
    let behind = ada.send_text(to_bob, "behind it").await.unwrap();
    ada.cancel_upload(id).await.unwrap();
    // Told at once, whatever the relay does.
    let state = ada.message(id).await.unwrap().state;
    assert!(matches!(&state, MessageState::Failed { reason } if reason.contains("cancelled")));
    let told = |event: &undertone::Event| {
        matches!(&event.kind, EventKind::MessageStateChanged { id: of, state: now, .. }
            if *of == id && *now == state)
    };
    assert!(all_events(&ada).await.iter().any(told));
    assert!(world.blobs("Ada").is_empty());
    ada.wait(behind, MessageState::Accepted, PATIENCE).await.unwrap();
    world.gate.open();
    // Also at the relay nothing of it stays.
    let at_relay = world.dir("relay").join("blobs");
    let gone = async {
        while !entries(&at_relay).is_empty() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(PATIENCE, gone).await.expect("a part of it stays at the relay");
    bob.sync().await.unwrap();
    assert_eq!(common::texts(&bob, to_ada).await, ["behind it"]);
    assert_eq!(bob.history(to_ada, None, 9).await.unwrap().len(), 1);

    // Sent again, it is another message.
    let (again, _) = queue(&world, &ada, to_bob).await;
    ada.wait(again, MessageState::Accepted, PATIENCE).await.unwrap();
    assert_eq!(bob.sync().await.unwrap().files, 1);
    let path = path(&bob, to_ada, again).await.unwrap();
    assert!(fs::read(path).unwrap() == content(), "the file differs");
    ada.close().await;
    bob.close().await;
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_download_that_is_cancelled_on_its_way_leaves_nothing_and_can_begin_anew() {
    let world = World::new(Network::Whole).await;
    let (ada, bob) = world.acquainted().await;
    let (to_bob, to_ada) = (contact(&ada, "Bob").await, contact(&bob, "Ada").await);
    let (id, blob) = queue(&world, &ada, to_bob).await;
    ada.sync().await.unwrap();
    let files = world.dir("Bob").join("files");
    for at_once in [false, true] {
        world.gate.close(blob.clone(), Direction::Sent);
        bob.start().unwrap();
        if at_once {
            bob.download(to_ada, id).await.unwrap();
        }
        world.gate.reached().await;
        assert_eq!(entries(&files).len(), 1, "a part of it has come");
        bob.cancel_download(to_ada, id).await.unwrap();
        assert!(entries(&files).is_empty());
        if at_once {
            // While the old transfer does not know yet that it is over.
            break;
        }
        world.gate.open();
        world.gate.still().await;
        assert!(entries(&files).is_empty());
        let told = |event: &undertone::Event| {
            matches!(event.kind, EventKind::FileReceived { .. } | EventKind::FileFailed { .. })
        };
        assert!(!all_events(&bob).await.iter().any(told), "it is neither here nor lost");
        assert_eq!(path(&bob, to_ada, id).await, None);
    }
    bob.download(to_ada, id).await.unwrap();
    world.gate.open();
    let received = async {
        let mut events = bob.events("files");
        loop {
            let event = events.next_event().await.unwrap();
            if let EventKind::FileReceived { path, .. } = event.kind {
                return path;
            }
        }
    };
    let path = tokio::time::timeout(PATIENCE, received).await.expect("it did not come");
    assert!(fs::read(path).unwrap() == content(), "the file differs");
    assert_eq!(entries(&files).len(), 1, "nothing is left beside it");
    ada.close().await;
    bob.close().await;
    world.end().await;
}
