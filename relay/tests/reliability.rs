//! The daemon as it ships, killed and on bad disks: what it answered is there, in order, once.
//!
//! `UNDERTONE_ROUNDS` says how often it is killed (10 if not said); `UNDERTONE_SEED` where chance begins.
#![cfg(target_os = "linux")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation
)]

mod common;

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Read as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use common::*;
use tokio::sync::{Notify, watch};
use undertone_wire::client::Connection;
use undertone_wire::frame::*;
use undertone_wire::*;

/// The daemon, which is killed when this is dropped.
struct Daemon {
    child: Child,
    address: RelayAddress,
    join: Option<JoinAddress>,
    _stdout: BufReader<ChildStdout>,
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Daemon {
    fn start(mut command: Command) -> Self {
        // Wherever this runs, what it prints is read here.
        command.env_remove("JOURNAL_STREAM").env_remove("container");
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        let first = !known(&command);
        let (mut address, mut join) = (None, None);
        while address.is_none() || (first && join.is_none()) {
            let mut line = String::new();
            assert_ne!(stdout.read_line(&mut line).unwrap(), 0, "the daemon did not start");
            if let Some(text) = line.strip_prefix("Address:") {
                address = Some(text.trim().parse().unwrap());
            }
            if line.starts_with("ut-join:") {
                join = Some(line.trim().parse().unwrap());
            }
        }
        Self { child, address: address.unwrap(), join, _stdout: stdout }
    }

    /// Waits for its end; what it said on standard error, if that is piped.
    fn end(mut self) -> (ExitStatus, String) {
        let mut said = String::new();
        if let Some(mut stderr) = self.child.stderr.take() {
            stderr.read_to_string(&mut said).unwrap();
        }
        (self.child.wait().unwrap(), said)
    }
}

/// Whether a relay has been in the directory that the command names.
fn known(command: &Command) -> bool {
    let arguments: Vec<_> = command.get_args().collect();
    let at = arguments.iter().position(|argument| *argument == "--dir").unwrap();
    Path::new(arguments[at + 1]).join("address").exists()
}

fn daemon(directory: &Path, listen: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_undertone-relay"));
    command.arg("--dir").arg(directory).args(["run", "--listen", listen]);
    command
}

fn again(directory: &Path, address: &RelayAddress) -> Command {
    daemon(directory, &format!("127.0.0.1:{}", address.port()))
}

struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }
}

fn from_environment(name: &str, otherwise: u64) -> u64 {
    std::env::var(name).ok().and_then(|value| value.parse().ok()).unwrap_or(otherwise)
}

const MAILBOXES: u8 = 3;

/// Delivers to one mailbox, one after the other, until the connection breaks. `next` is the first
/// that was not answered.
async fn send(connection: Connection, to: u8, next: Arc<AtomicU64>, answered: Arc<Answers>) {
    loop {
        let number = next.load(Ordering::SeqCst);
        match connection.deliver(&capability(to), envelope(number as u32)).await {
            Ok(()) => {
                next.fetch_add(1, Ordering::SeqCst);
                answered.add();
            }
            Err(client::ClientError::Refused(code)) => panic!("refused: {code:?}"),
            Err(_) => return,
        }
    }
}

struct Answers {
    count: AtomicU64,
    wanted: u64,
    enough: Notify,
}

impl Answers {
    fn add(&self) {
        if self.count.fetch_add(1, Ordering::SeqCst) + 1 == self.wanted {
            self.enough.notify_one();
        }
    }
}

/// What an owner has got: number by position, and the floor that was answered.
#[derive(Default)]
struct Received {
    by_position: BTreeMap<u64, u32>,
    floor: u64,
}

/// Takes what is pushed and acknowledges every third, until the connection breaks or, if `all`, the
/// mailbox is empty.
async fn receive(
    connection: Connection,
    n: u8,
    mut received: Received,
    all: bool,
    mut killed: watch::Receiver<bool>,
) -> Received {
    let owner = mailbox(n);
    let mut pushes = connection.pushes().unwrap();
    let Ok(states) = connection.mailboxes(subscribe(&owner, 64), &[&owner]).await else {
        return received;
    };
    let state = states[0].unwrap();
    assert!(state.acknowledged.get() >= received.floor, "an acknowledgement was forgotten");
    let head = state.head.get();
    let mut expected = state.acknowledged.get() + 1;
    while !(all && expected > head) {
        // Who only listens learns late that nobody speaks any more.
        let push = tokio::select! {
            push = pushes.next() => push,
            _ = killed.wait_for(|killed| *killed) => None,
        };
        let Some(push) = push else { return received };
        let Push::Envelope { seq, envelope, .. } = push else { panic!("{push:?}") };
        assert_eq!(seq.get(), expected, "mailbox {n}: in order");
        expected += 1;
        let number = u32::from_be_bytes(*envelope.as_slice().first_chunk().unwrap());
        let before = received.by_position.insert(seq.get(), number);
        assert!(
            before.is_none_or(|before| before == number),
            "mailbox {n}: another one at {seq:?}"
        );
        if seq.get() % 3 == 0 || seq.get() == head {
            let floor = ack(&owner, &state, seq.get());
            let answer = tokio::select! {
                answer = connection.acknowledge(floor) => answer,
                _ = killed.wait_for(|killed| *killed) => return received,
            };
            if answer.is_err() {
                return received;
            }
            received.floor = seq.get();
        }
    }
    received
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_at_any_moment_it_has_everything_that_it_answered_in_order_once() {
    let directory = tempfile::tempdir().unwrap();
    let mut random = Random(from_environment("UNDERTONE_SEED", 1));
    let rounds = from_environment("UNDERTONE_ROUNDS", 10);
    let mut relay = Daemon::start(daemon(directory.path(), "127.0.0.1:0"));
    let address = relay.address.clone();
    let token = relay.join.as_ref().unwrap().token().duplicate();
    let connection = connect(&address).await;
    let next: Vec<_> = (0..MAILBOXES).map(|_| Arc::new(AtomicU64::new(1))).collect();
    let mut received: Vec<_> = (0..MAILBOXES).map(|_| Received::default()).collect();
    for n in 0..MAILBOXES {
        let owner = mailbox(n);
        connection.owner(create(&owner, &token, &[n]), &[&owner]).await.unwrap();
    }
    drop(connection);
    for _ in 0..rounds {
        let wanted = 1 + random.below(120);
        let answers = Arc::new(Answers { count: AtomicU64::new(0), wanted, enough: Notify::new() });
        let (mut senders, mut owners) = (Vec::new(), Vec::new());
        let (kill, killed) = watch::channel(false);
        for (n, next) in (0..MAILBOXES).zip(&next) {
            let sender = connect(&address).await;
            senders.push(tokio::spawn(send(sender, n, next.clone(), answers.clone())));
            let owner = connect(&address).await;
            let so_far = std::mem::take(&mut received[usize::from(n)]);
            owners.push(tokio::spawn(receive(owner, n, so_far, false, killed.clone())));
        }
        answers.enough.notified().await;
        // SIGKILL, in the middle of whatever it does.
        drop(relay);
        kill.send(true).unwrap();
        // Only one that is there tells its clients that their connections are gone.
        relay = Daemon::start(again(directory.path(), &address));
        for sender in senders {
            sender.await.unwrap();
        }
        for (n, owner) in owners.into_iter().enumerate() {
            received[n] = owner.await.unwrap();
        }
    }
    let mut total = 0;
    for n in 0..MAILBOXES {
        // The one that was not answered is sent again, and the mailbox is emptied.
        let last = next[usize::from(n)].load(Ordering::SeqCst);
        let sender = connect(&address).await;
        sender.deliver(&capability(n), envelope(last as u32)).await.unwrap();
        let owner = connect(&address).await;
        let so_far = std::mem::take(&mut received[usize::from(n)]);
        let (_kill, killed) = watch::channel(false);
        let all = receive(owner, n, so_far, true, killed).await;
        let numbers: Vec<u64> = all.by_position.values().map(|number| u64::from(*number)).collect();
        assert!(numbers.iter().copied().eq(1..=last), "mailbox {n}: each once and in order");
        let positions: Vec<u64> = all.by_position.keys().copied().collect();
        assert!(positions.iter().copied().eq(1..=last), "mailbox {n}: no position is left out");
        total += last;
    }
    println!("{total} deliveries, killed {rounds} times");
}

/// Compiles the library that stands between a process and its disk.
fn shim(directory: &Path) -> PathBuf {
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/disk/shim.c");
    let library = directory.join("shim.so");
    let compiled = Command::new("cc")
        .args(["-shared", "-fPIC", "-O1", "-o"])
        .arg(&library)
        .args([source, "-ldl", "-lpthread"])
        .status()
        .expect("building SQLite needs a C compiler, so there is one");
    assert!(compiled.success());
    library
}

/// Serves until its disk fails: then it answers nothing more and exits, and what it had answered is
/// there when the disk is good again.
async fn fails(fault: &str) {
    let (directory, tools) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let wanted = tools.path().join("fault");
    let mut command = daemon(directory.path(), "127.0.0.1:0");
    command
        .env("LD_PRELOAD", shim(tools.path()))
        .env("DISK_ROOT", directory.path())
        .env("DISK_FAULT", &wanted)
        .stderr(Stdio::piped());
    let relay = Daemon::start(command);
    let address = relay.address.clone();
    let alice = mailbox(1);
    let connection = connect(&address).await;
    let token = relay.join.as_ref().unwrap().token().duplicate();
    connection.owner(create(&alice, &token, &[10]), &[&alice]).await.unwrap();
    for number in 0..5 {
        connection.deliver(&capability(10), envelope(number)).await.unwrap();
    }
    std::fs::write(&wanted, fault).unwrap();
    let unanswered = connection.deliver(&capability(10), envelope(5)).await;
    assert!(
        !matches!(unanswered, Ok(()) | Err(client::ClientError::Refused(_))),
        "{fault}: nothing is answered that is not stored: {unanswered:?}"
    );
    let (status, said) = tokio::task::spawn_blocking(move || relay.end()).await.unwrap();
    assert_eq!(status.code(), Some(1), "{fault}: {said}");
    assert!(said.contains("the store's database failed"), "{fault}: {said}");

    let relay = Daemon::start(again(directory.path(), &address));
    let connection = connect(&address).await;
    let mut pushes = connection.pushes().unwrap();
    let state = connection.mailboxes(subscribe(&alice, 64), &[&alice]).await.unwrap()[0].unwrap();
    assert!((5..=6).contains(&state.head.get()), "{fault}: {state:?}");
    for number in 0..5 {
        assert_eq!(next_envelope(&mut pushes, &alice).await, (u64::from(number) + 1, number));
    }
    connection.deliver(&capability(10), envelope(5)).await.unwrap();
    assert_eq!(next_envelope(&mut pushes, &alice).await, (6, 5), "{fault}: once");
    drop(relay);
}

/// R-1203
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failing_fsync_ends_it() {
    fails("fsync").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_ends_it_where_the_floor_was_not_enough() {
    fails("full").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_disk_that_becomes_read_only_ends_it() {
    fails("read-only").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_write_that_is_torn_ends_it() {
    fails("torn").await;
}

#[test]
fn on_a_read_only_disk_it_says_so_and_changes_nothing() {
    let (directory, tools) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let relay = Daemon::start(daemon(directory.path(), "127.0.0.1:0"));
    let address = relay.address.clone();
    drop(relay);
    let contents = || -> BTreeMap<PathBuf, Vec<u8>> {
        let files = std::fs::read_dir(directory.path().join("store")).unwrap();
        let paths = files.map(|entry| entry.unwrap().path());
        // The index of a WAL is memory that happens to have a name.
        paths
            .filter(|path| !path.to_str().unwrap().ends_with("-shm"))
            .map(|path| (path.clone(), std::fs::read(path).unwrap()))
            .collect()
    };
    let before = contents();
    let fault = tools.path().join("fault");
    std::fs::write(&fault, "read-only").unwrap();
    let output = again(directory.path(), &address)
        .env("LD_PRELOAD", shim(tools.path()))
        .env("DISK_ROOT", directory.path())
        .env("DISK_FAULT", &fault)
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("failed"), "{said}");
    assert_eq!(contents(), before);
    // Good again, it starts.
    drop(Daemon::start(again(directory.path(), &address)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_file_descriptors_it_serves_those_who_are_there_and_recovers() {
    use sha2::Digest as _;
    let directory = tempfile::tempdir().unwrap();
    let mut command = Command::new("sh");
    let relay = env!("CARGO_BIN_EXE_undertone-relay");
    command.args(["-c", "ulimit -n 64 && exec \"$0\" \"$@\"", relay, "--dir"]);
    command.arg(directory.path()).args(["run", "--listen", "127.0.0.1:0"]);
    let relay = Daemon::start(command);
    let address = relay.address.clone();
    let alice = mailbox(1);
    let connection = connect(&address).await;
    let token = relay.join.as_ref().unwrap().token().duplicate();
    connection.owner(create(&alice, &token, &[10]), &[&alice]).await.unwrap();
    connection.deliver(&capability(10), envelope(0)).await.unwrap();
    // More than it has descriptors for; those that it cannot accept wait in the system's queue.
    let listening: std::net::SocketAddr =
        format!("{}:{}", address.host(), address.port()).parse().unwrap();
    let flood: Vec<_> =
        (0..100).map_while(|_| std::net::TcpStream::connect(listening).ok()).collect();
    assert_eq!(flood.len(), 100);
    let open = std::fs::read_dir(format!("/proc/{}/fd", relay.child.id())).unwrap().count();
    for number in 1..20 {
        connection.deliver(&capability(10), envelope(number)).await.unwrap();
    }
    let content = [7; 5000];
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    let announce = || undertone_wire::blob::BlobAnnouncement {
        blob: BlobId::from_bytes([3; 32]),
        token: token.duplicate(),
        read: BlobReadCapability::from_bytes([4; 32]).hash(),
        delete: BlobDeleteCapability::from_bytes([5; 32]).hash(),
        length: 5000,
        hash: BlobHash::from_bytes(sha2::Sha256::digest(content).into()),
        expires: Day::from_unix_seconds(now.as_secs()).plus(9),
    };
    // A file can't be opened, or can: in any case this is answered, and harms nobody.
    let _ = connection.put_blob(announce()).await;
    println!("{open} descriptors of 64 open");
    drop(flood);
    let mut stored = false;
    for _ in 0..200 {
        if let Ok(mut upload) = connection.put_blob(announce()).await {
            upload.write(&content).await.unwrap();
            stored = upload.finish().await.is_ok();
        }
        if stored {
            break;
        }
    }
    assert!(stored, "it recovers when descriptors are free again");
    let mut pushes = connection.pushes().unwrap();
    connection.mailboxes(subscribe(&alice, 64), &[&alice]).await.unwrap();
    for number in 0..20 {
        assert_eq!(next_envelope(&mut pushes, &alice).await, (u64::from(number) + 1, number));
    }
}
