//! What can be seen from inside the relay, and what hostile peers get.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use common::*;
use quinn::crypto::rustls::QuicClientConfig;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use undertone_relay::operator::inspect;
use undertone_relay::{Config, Direction, FrameTap, Relay};
use undertone_wire::transport::{Channel as _, LEAF_NAME, Lost, client_tls, connect_quic};
use undertone_wire::*;

type Test = Result<(), Box<dyn std::error::Error>>;

#[derive(Default)]
struct Recorder(Mutex<Vec<(Direction, Vec<u8>)>>);

impl FrameTap for Recorder {
    fn frame(&self, direction: Direction, bytes: &[u8]) {
        self.0.lock().unwrap().push((direction, bytes.to_vec()));
    }
}

fn contains(bytes: &[u8], needle: &[u8]) -> bool {
    bytes.windows(needle.len()).any(|window| window == needle)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_tap_and_the_dump_show_what_the_relay_sees() -> Test {
    let directory = tempfile::tempdir()?;
    let recorder = Arc::new(Recorder::default());
    let relay =
        Relay::start(Config { tap: Some(recorder.clone()), ..config(directory.path()) }).await?;
    let alice = mailbox(1);
    let token = token(&relay);
    let connection = connect(relay.address()).await;
    connection.owner(create(&alice, &token, &[10]), &[&alice]).await?;
    let sent = envelope(0x1234_5678);
    connection.deliver(&capability(10), sent.clone()).await?;
    let mut pushes = connection.pushes().unwrap();
    connection.mailboxes(subscribe(&alice, 1), &[&alice]).await?;
    next_envelope(&mut pushes, &alice).await;
    // The dump works beside the running relay.
    let dump = inspect(directory.path())?;
    let values: Vec<&Vec<u8>> = dump
        .tables
        .iter()
        .flat_map(|t| &t.rows)
        .flat_map(|r| &r.fields)
        .map(|f| &f.bytes)
        .collect();
    let stored = |needle: &[u8]| values.iter().any(|value| contains(value, needle));
    assert!(stored(&sent), "the envelope is unwrapped");
    assert!(stored(alice.public().as_bytes()) && stored(capability(10).hash().as_bytes()));
    assert!(stored(EnvelopeHash::of(&sent).as_bytes()));
    assert!(!stored(capability(10).as_bytes()), "the capability itself is not stored");
    assert!(!stored(token.as_bytes()), "nor the token");
    assert!(!stored(&*alice.to_seed()));
    relay.shutdown().await.unwrap();
    let frames = recorder.0.lock().unwrap();
    let seen = |direction, needle: &[u8]| {
        frames.iter().any(|(d, bytes)| *d == direction && contains(bytes, needle))
    };
    assert!(seen(Direction::Received, &sent) && seen(Direction::Sent, &sent));
    assert!(!seen(Direction::Received, &*alice.to_seed()));
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_classical_key_exchange_and_another_protocol_are_refused() -> Test {
    let directory = tempfile::tempdir()?;
    let relay = start(directory.path()).await;
    let address = SocketAddr::new(relay.address().host().parse()?, relay.address().port());
    let attempt = async |change: fn(&mut rustls::ClientConfig)| {
        let (mut tls, _) = client_tls(*relay.address().root()).unwrap();
        change(&mut tls);
        let config = quinn::ClientConfig::new(Arc::new(QuicClientConfig::try_from(tls).unwrap()));
        let endpoint = quinn::Endpoint::client("127.0.0.1:0".parse().unwrap()).unwrap();
        endpoint.connect_with(config, address, LEAF_NAME).unwrap().await.map(|_| ())
    };
    attempt(|_| {}).await?;
    assert!(attempt(|tls| tls.alpn_protocols = vec![b"undertone/2".to_vec()]).await.is_err());
    let classical = attempt(|tls| {
        let provider = rustls::crypto::CryptoProvider {
            kx_groups: vec![rustls::crypto::aws_lc_rs::kx_group::X25519],
            ..rustls::crypto::aws_lc_rs::default_provider()
        };
        let roots = rustls::RootCertStore::empty();
        *tls = rustls::ClientConfig::builder_with_provider(Arc::new(provider))
            .with_protocol_versions(&[&rustls::version::TLS13])
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        tls.alpn_protocols = vec![ALPN.to_vec()];
    });
    let error = classical.await.unwrap_err().to_string();
    assert!(error.contains("handshake"), "refused before any certificate: {error}");
    relay.shutdown().await.unwrap();
    Ok(())
}

/// Sends raw bytes on a new stream of a new connection; how the connection ends, if it does.
async fn raw(address: SocketAddr, root: RootFingerprint, bytes: &[u8]) -> Option<Lost> {
    let channel = connect_quic(address, root, None).await.unwrap();
    let (mut writer, mut reader) = channel.open().await.unwrap();
    writer.write_all(bytes).await.unwrap();
    writer.shutdown().await.unwrap();
    // Either the relay closes the connection, or it answers the end of the stream with its own.
    let mut answer = Vec::new();
    match reader.read_to_end(&mut answer).await {
        Ok(_) => None,
        Err(_) => Some(channel.closed().await),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn junk_ends_its_own_connection_and_nothing_else() -> Test {
    let directory = tempfile::tempdir()?;
    let relay = start(directory.path()).await;
    let (alice, root) = (mailbox(1), *relay.address().root());
    let address = SocketAddr::new(relay.address().host().parse()?, relay.address().port());
    let honest = connect(relay.address()).await;
    honest.owner(create(&alice, &token(&relay), &[10]), &[&alice]).await?;
    let cases: [(&str, &[u8]); 6] = [
        ("unknown kind of stream", &[9]),
        ("empty message", &[1, 0, 0, 0, 0]),
        ("oversized claim", &[1, 0xff, 0xff, 0xff, 0xff, 0]),
        ("one byte too many", &[1, 0, 4, 0, 1]),
        ("not a frame", &[1, 0, 0, 0, 2, 0, 99]),
        ("something behind the frame", &[1, 0, 0, 0, 4, 0, 3, 0, 0]),
    ];
    for (name, bytes) in cases {
        assert_eq!(raw(address, root, bytes).await, Some(Lost::Protocol), "{name}");
    }
    // The same claim with nothing wrong is answered: an empty acknowledgement.
    assert_eq!(raw(address, root, &[1, 0, 0, 0, 3, 0, 3, 0]).await, None);
    // A stream that ends inside a message is no violation.
    assert_eq!(raw(address, root, &[1, 0, 0, 1, 0, 7]).await, None);
    assert_eq!(raw(address, root, &[2, 0, 0, 5, 0]).await, None, "a blob stream ends alone");
    honest.deliver(&capability(10), envelope(1)).await?;
    relay.shutdown().await.unwrap();
    Ok(())
}
