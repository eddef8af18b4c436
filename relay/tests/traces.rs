//! A busy conversation with the daemon as it ships, at its most talkative, leaves no trace of who it
//! was: in rows, files, log, metrics and health. (The frames are in `blindness.rs`, and what people say
//! is searched for by `undertone demo`.) In each place something that is planted there must be found,
//! or the search itself has failed.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};

use common::*;
use sha2::Digest as _;
use undertone_relay::operator::{Claim, export, inspect};
use undertone_wire::blob::BlobAnnouncement;
use undertone_wire::client::{Connection, Options};
use undertone_wire::frame::*;
use undertone_wire::limits::SEALED_BUNDLE;
use undertone_wire::*;

/// Where the clients come from: not where the relay is.
const CLIENT: Ipv4Addr = Ipv4Addr::new(127, 9, 8, 7);

const CANARY: &str = "UNDERTONE_RELAY_CANARY_IN_THE_LOG";

async fn client(address: &RelayAddress) -> Connection {
    let options = Options { bind: Some(IpAddr::V4(CLIENT)), ..Options::default() };
    Connection::connect(address, &options).await.unwrap()
}

fn today() -> Day {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    Day::from_unix_seconds(now.as_secs())
}

fn secret(n: u8) -> [u8; 32] {
    sha2::Sha256::digest([n, 0x5e, 0xc2]).into()
}

/// What is asked for by HTTP.
fn get(address: &str, path: &str) -> Vec<u8> {
    let mut stream = TcpStream::connect(address).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    answer
}

fn contains(place: &[u8], needle: &[u8]) -> bool {
    place.windows(needle.len()).any(|window| window == needle)
}

/// A needle as it is, in hexadecimal and in base64url, as far as a search for a part of it goes.
fn spellings(needle: &[u8]) -> Vec<Vec<u8>> {
    let hex: String = needle.iter().map(|byte| format!("{byte:02x}")).collect();
    vec![needle.to_vec(), hex.to_uppercase().into_bytes(), hex.into_bytes()]
}

fn files(directory: &Path, into: &mut Vec<u8>) {
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        into.extend(path.to_str().unwrap().bytes());
        if path.is_dir() {
            files(&path, into);
        } else {
            into.extend(std::fs::read(path).unwrap());
        }
    }
}

/// Everything that clients do, what is refused included.
async fn busy(address: &RelayAddress, token: &AdmissionToken) {
    let owners: Vec<_> = (1..=3).map(|n| MailboxSecret::from_seed(&secret(n))).collect();
    let write = |n: u8| WriteCapability::from_bytes(secret(10 + n));
    let (one, two) = (client(address).await, client(address).await);
    for (n, owner) in (0..).zip(&owners) {
        let operation = OwnerOperation::CreateMailbox {
            key: owner.public(),
            token: token.duplicate(),
            kind: MailboxKind::Queue,
            limits: None,
            capabilities: Bounded::one(write(n).hash()),
        };
        one.owner(operation, &[owner]).await.unwrap();
    }
    for number in 0..30_u32 {
        let to = write(u8::try_from(number % 3).unwrap());
        two.deliver(&to, envelope(number)).await.unwrap();
    }
    refused(two.deliver(&write(9), envelope(1)).await, ErrorCode::Unknown);
    refused(two.deliver(&write(0), vec![0; 5]).await, ErrorCode::BadSize);
    let mut pushes = one.pushes().unwrap();
    for owner in &owners {
        let state = one.mailboxes(subscribe(owner, 64), &[owner]).await.unwrap()[0].unwrap();
        for _ in 0..5 {
            next(&mut pushes).await;
        }
        one.acknowledge(ack(owner, &state, 4)).await.unwrap();
        refused(one.acknowledge(ack(owner, &state, 99)).await, ErrorCode::FloorAhead);
    }
    let (depot_owner, fetch) =
        (DepotSecret::from_seed(&secret(20)), FetchCapability::from_bytes(secret(21)));
    let fill = OwnerOperation::FillDepot {
        key: depot_owner.public(),
        depot: fetch.depot(),
        token: token.duplicate(),
        mode: FillMode::Add,
        one_time: Bounded::one(SealedBundle::new(vec![8; SEALED_BUNDLE]).unwrap()),
        last_resort: None,
        expires: today().plus(20),
    };
    one.depot(fill, &depot_owner).await.unwrap();
    two.take_prekey(&fetch, TakeId::from_bytes([1; 16])).await.unwrap();
    let content = [7; 70_000];
    let announce = |token: &AdmissionToken| BlobAnnouncement {
        blob: BlobId::from_bytes(secret(30)),
        token: token.duplicate(),
        read: BlobReadCapability::from_bytes(secret(31)).hash(),
        delete: BlobDeleteCapability::from_bytes(secret(32)).hash(),
        length: content.len() as u64,
        hash: BlobHash::from_bytes(sha2::Sha256::digest(content).into()),
        expires: today().plus(9),
    };
    let mut upload = two.put_blob(announce(token)).await.unwrap();
    upload.write(&content).await.unwrap();
    upload.finish().await.unwrap();
    let read = BlobReadCapability::from_bytes(secret(31));
    let mut blob = one.get_blob(BlobId::from_bytes(secret(30)), &read, 0).await.unwrap();
    let mut piece = vec![0; 10_000];
    while blob.next(&mut piece).await.unwrap() > 0 {}
    let wrong = AdmissionToken::from_bytes(secret(40));
    let fourth = MailboxSecret::from_seed(&secret(4));
    let operation = create(&fourth, &wrong, &[]);
    refused(one.owner(operation, &[&fourth]).await, ErrorCode::NotAdmitted);
    let delete = OwnerOperation::DeleteMailbox { key: owners[2].public() };
    one.owner(delete, &[&owners[2]]).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_busy_conversation_leaves_no_trace_of_who_it_was() {
    let directory = tempfile::tempdir().unwrap();
    let mut child = Command::new(env!("CARGO_BIN_EXE_undertone-relay"))
        .arg("--dir")
        .arg(directory.path())
        .args(["run", "--listen", "127.0.0.1:0"])
        .env("UNDERTONE_RELAY_LOG_LEVEL", "trace")
        .env("UNDERTONE_RELAY_MONITORING_LISTEN", "127.0.0.1:0")
        .env(CANARY, "x")
        // Wherever this runs, what it prints is read here.
        .env_remove("JOURNAL_STREAM")
        .env_remove("container")
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stderr = child.stderr.take().unwrap();
    let log = std::thread::spawn(move || {
        let mut log = Vec::new();
        stderr.read_to_end(&mut log).unwrap();
        log
    });
    let mut stdout = BufReader::new(child.stdout.take().unwrap());
    let (mut address, mut metrics) = (None::<RelayAddress>, None::<String>);
    let join: JoinAddress = loop {
        let mut line = String::new();
        assert_ne!(stdout.read_line(&mut line).unwrap(), 0, "the daemon did not start");
        if let Some(text) = line.strip_prefix("Address:") {
            address = Some(text.trim().parse().unwrap());
        }
        if let Some(text) = line.trim().strip_prefix("Metrics:   http://") {
            metrics = Some(text.trim_end_matches("/metrics").to_owned());
        }
        if line.starts_with("ut-join:") {
            break line.trim().parse().unwrap();
        }
    };
    let (address, metrics) = (address.unwrap(), metrics.unwrap());
    busy(&address, join.token()).await;

    let served = ["/metrics", "/healthz", "/readyz"].map(|path| get(&metrics, path)).concat();
    let dump = inspect(directory.path()).unwrap();
    let fields = dump.tables.iter().flat_map(|t| &t.rows).flat_map(|r| &r.fields);
    let rows: Vec<u8> =
        fields.flat_map(|field| field.bytes.iter().copied().chain([b'\n'])).collect();
    // The operator's commands are part of it.
    let whose = MailboxSecret::from_seed(&secret(1)).public();
    export(directory.path(), today(), &Claim::key(&whose.to_string()).unwrap()).unwrap();
    let id = child.id().to_string();
    assert!(Command::new("kill").args(["-TERM", &id]).status().unwrap().success());
    assert!(child.wait().unwrap().success());
    let log = log.join().unwrap();
    let mut stored = Vec::new();
    files(directory.path(), &mut stored);

    // What is planted, or must be there, is found.
    let mailbox = whose.mailbox();
    assert!(contains(&log, CANARY.as_bytes()), "{}", String::from_utf8_lossy(&log));
    assert!(contains(&served, b"undertone_relay_requests_total{operation=\"deliver\"} 32"));
    assert!(contains(&rows, mailbox.as_bytes()) && contains(&rows, &envelope(27)));
    assert!(contains(&stored, mailbox.as_bytes()));

    let places = [("rows", &rows), ("files", &stored), ("log", &log), ("metrics", &served)];
    let mut secrets: Vec<Vec<u8>> = (0..50).map(|n| secret(n).to_vec()).collect();
    // A blob's id is no secret, and names its file.
    secrets.remove(30);
    secrets.push(join.token().as_bytes().to_vec());
    for (place, bytes) in places {
        for needle in &secrets {
            for spelling in spellings(&needle[..16]) {
                assert!(!contains(bytes, &spelling), "a secret of a client is in the {place}");
            }
        }
        let hex: String = CLIENT.octets().iter().map(|byte| format!("{byte:02x}")).collect();
        for spelling in [CLIENT.to_string(), hex.to_uppercase(), hex] {
            assert!(!contains(bytes, spelling.as_bytes()), "an address is in the {place}");
        }
    }
    // Who it was is stored where it must be, and nowhere told.
    let hash = WriteCapability::from_bytes(secret(10)).hash();
    let blob = BlobId::from_bytes(secret(30));
    let named: [&[u8]; 4] =
        [mailbox.as_bytes(), whose.as_bytes(), hash.as_bytes(), blob.as_bytes()];
    for (place, bytes) in [("log", &log), ("metrics", &served)] {
        for needle in named {
            for spelling in spellings(&needle[..8]) {
                assert!(!contains(bytes, &spelling), "what names somebody is in the {place}");
            }
        }
    }
}
